"""`fanzha person`: the code is all that stands on standard output, and a name is looked up over all pages."""

from collections.abc import Iterator
from typing import Any

import pytest
from typer.testing import CliRunner, Result

from cli import person_commands
from tests.support.json_server import JsonServer

PATH = "/v1/campaigns/small-2024/people"
ROW = {"role": "office", "unit": None, "state": "active", "sessions": 1, "seen_at": "2024-06-29T12:00:00Z"}
INVITED = {"name": "王芳", "code": "7K3M-9QXV-2HDN-P4RT", "page": "/invitation", "valid_until": "2024-07-02T12:00:00Z"}


def people(query: dict[str, list[str]]) -> dict[str, Any]:
    """A list of people in two pages."""
    if query.get("cursor") == ["next"]:
        return {"rows": [ROW | {"name": "王芳", "person_id": "p-2"}], "next_cursor": None}
    return {"rows": [ROW | {"name": "李强", "person_id": "p-1"}], "next_cursor": "next"}


@pytest.fixture
def reporting(monkeypatch: pytest.MonkeyPatch) -> Iterator[JsonServer]:
    server = JsonServer()
    server.routes["POST", PATH] = lambda _: (200, INVITED)
    server.routes["GET", PATH] = lambda _: (200, people(server.calls[-1][2]))
    server.routes["POST", f"{PATH}/p-2/revoke"] = lambda _: (200, {"name": "王芳"})
    with server.running() as url:
        monkeypatch.setenv("REPORTING_URL", url)
        monkeypatch.setenv("ADMIN_TOKEN", "t")
        monkeypatch.setenv("COLUMNS", "200")
        yield server


def run(*arguments: str) -> Result:
    return CliRunner().invoke(person_commands.app, [*arguments, "--campaign", "small-2024"])


def test_an_invitation_writes_the_code_and_nothing_else_to_standard_output(reporting: JsonServer) -> None:
    done = run("invite", "王芳", "--role", "office")
    assert (done.exit_code, done.stdout) == (0, "7K3M-9QXV-2HDN-P4RT\n"), done.output
    assert "/invitation" in done.stderr


def test_a_person_on_the_second_page_is_listed_and_revoked(reporting: JsonServer) -> None:
    listed = run("list")
    assert (listed.exit_code, "李强" in listed.output, "王芳" in listed.output) == (0, True, True), listed.output
    done = run("revoke", "王芳", "--reason", "调离")
    assert done.exit_code == 0, done.output
    assert run("revoke", "赵六", "--reason", "调离").exit_code == 1
