"""`fanzha liaison`: codes in JSON, slips to print, and a list over all pages."""

import json
import stat
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner, Result

from cli import liaison_commands
from tests.support.json_server import JsonServer

PATH = "/v1/campaigns/small-2024"
SLIP = {"unit_code": "111", "name": "县", "code": "7K3M-9QXV-2HDN", "url": "https://r.test/r#7K3M-9QXV-2HDN"}
ROW = {
    "unit_name": "县",
    "liaison": {"name": "刘*亮", "phone": "138****5678"},
    "deputy": None,
    "leader": None,
    "has_code": True,
    "devices": 1,
}


def listed(query: dict[str, list[str]]) -> dict[str, Any]:
    """In two pages."""
    counts = {"units": 2, "missing": 1}
    if query.get("cursor") == ["next"]:
        return {"counts": counts, "rows": [ROW | {"unit_code": "112", "liaison": None}], "next_cursor": None}
    return {"counts": counts, "rows": [ROW | {"unit_code": "111"}], "next_cursor": "next"}


@pytest.fixture
def reporting(monkeypatch: pytest.MonkeyPatch) -> Iterator[JsonServer]:
    server = JsonServer()
    server.routes["POST", f"{PATH}/slips"] = lambda _: (200, {"rows": [SLIP]})
    server.routes["GET", f"{PATH}/liaisons"] = lambda _: (200, listed(server.calls[-1][2]))
    server.routes["POST", f"{PATH}/units/111/liaison/revoke"] = lambda _: (200, {"devices_revoked": 2})
    with server.running() as url:
        monkeypatch.setenv("REPORTING_URL", url)
        monkeypatch.setenv("ADMIN_TOKEN", "t")
        monkeypatch.setenv("COLUMNS", "200")
        yield server


def run(*arguments: str) -> Result:
    return CliRunner().invoke(liaison_commands.app, [*arguments, "--campaign", "small-2024"])


def test_slips_are_codes_in_json_or_a_page_that_only_its_owner_reads(reporting: JsonServer, tmp_path: Path) -> None:
    done = run("slips", "--unit", "111", "--json")
    assert json.loads(done.stdout) == [{key: SLIP[key] for key in ("unit_code", "code", "url")}]
    page = tmp_path / "slips.html"
    assert run("slips", "--html", str(page)).exit_code == 0
    assert SLIP["code"] in page.read_text()
    assert stat.S_IMODE(page.stat().st_mode) == 0o600
    failed = run("slips", "--html", str(tmp_path / "missing" / "slips.html"))
    assert (failed.exit_code, "写不了" in failed.output) == (1, True)


def test_liaisons_of_all_pages_are_listed_masked_and_revoked(reporting: JsonServer) -> None:
    done = run("list", "--missing")
    assert all(says in done.output for says in ("111", "112", "刘*亮 138****5678", "还没有联络员的 1 个")), done.output
    done = run("revoke", "--unit", "111", "--reason", "手机丢失")
    assert (done.exit_code, "2 部手机" in done.output) == (0, True), done.output
