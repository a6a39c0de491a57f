"""`--help` says all of it at 80 columns: Rich ends long Chinese text with an ellipsis, and click long summaries."""

import re
import subprocess
from collections.abc import Iterator
from typing import Any

import pytest
import typer
from typer.testing import CliRunner

from cli.main import app
from devstack.home import REPOSITORY


def paths(command: object, path: tuple[str, ...] = ()) -> Iterator[tuple[str, ...]]:
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


@pytest.mark.parametrize("path", list(paths(typer.main.get_command(app))), ids=" ".join)
def test_help_is_chinese(path: tuple[str, ...]) -> None:
    command: Any = typer.main.get_command(app)
    for name in path:
        command = command.commands[name]
    texts = {"": command.help} | {
        parameter.name: parameter.help for parameter in command.params if hasattr(parameter, "help")
    }
    texts = {name: text for name, text in texts.items() if not str(name).endswith("_completion")}  # typer's own
    assert [name for name, text in texts.items() if not re.search("[\u4e00-\u9fff]", text or "")] == []


def test_the_version_is_the_one_that_the_changelog_begins_with() -> None:
    said = CliRunner().invoke(app, ["--version"]).output
    newest = re.search(r"^## (\S+)", (REPOSITORY / "CHANGELOG.md").read_text(), re.MULTILINE)
    assert newest is not None
    assert said == f"fanzha {newest[1]}\n"


def test_make_lists_every_target_that_says_what_it_does() -> None:
    makefile = (REPOSITORY / "Makefile").read_text()
    listed = subprocess.run(["make", "help"], cwd=REPOSITORY, capture_output=True, text=True).stdout
    described = re.findall(r"^([^\s:]+):.*## ", makefile, re.MULTILINE)
    assert "compose-test" in described
    assert [line.split()[1] for line in listed.splitlines()] == described
