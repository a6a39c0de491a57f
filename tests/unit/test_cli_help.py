"""`--help` says all of it at 80 columns: Rich ends long Chinese text with an ellipsis, and click long summaries."""

from collections.abc import Iterator

import click
import pytest
import typer
from typer.testing import CliRunner

from cli.main import app


def paths(command: click.Command, path: tuple[str, ...] = ()) -> Iterator[tuple[str, ...]]:
    yield path
    for name, inner in getattr(command, "commands", {}).items():
        yield from paths(inner, (*path, name))


@pytest.mark.parametrize("path", list(paths(typer.main.get_command(app))), ids=" ".join)
def test_help_is_whole(path: tuple[str, ...]) -> None:
    done = CliRunner().invoke(app, [*path, "--help"], env={"COLUMNS": "80"}, terminal_width=80)
    assert done.exit_code == 0
    said = [line for line in done.output.splitlines() if not line.startswith("Usage")]
    assert len(said) > 3
    assert [line for line in said if "…" in line or "..." in line] == []
