"""`fanzha totals`: what the office reads, and what a script gets."""

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import typer
from typer.testing import CliRunner, Result

from cli import totals_command
from tests.support.json_server import JsonServer

FIGURES = {"checkins": 12_345, "credited": 12_000, "late": 3, "made_good": 0, "viewers": 9_876}
ANSWER: dict[str, Any] = {
    "as_of": "2024-06-29T12:00:00Z",
    "rows": [
        FIGURES
        | {"key": "140902", "name": "忻府区", "per_10k": 12.5, "certificates_issued": 7, "certificates_claimed": 0},
        FIGURES
        | {"key": "X", "name": None, "per_10k": None, "certificates_issued": None, "certificates_claimed": None},
    ],
    "sum": FIGURES | {"attributed_share": 0.875, "certificates_issued": 7, "certificates_claimed": 0},
    "withheld": 2,
}


@pytest.fixture
def reporting(monkeypatch: pytest.MonkeyPatch) -> Iterator[JsonServer]:
    server = JsonServer()
    server.routes["GET", "/v1/campaigns/small-2024/totals"] = lambda _: (200, ANSWER)
    with server.running() as url:
        monkeypatch.setenv("REPORTING_URL", url)
        monkeypatch.setenv("ADMIN_TOKEN", "t")
        monkeypatch.setenv("COLUMNS", "200")
        yield server


def run(*arguments: str) -> Result:
    app = typer.Typer()
    app.command()(totals_command.totals)
    return CliRunner().invoke(app, ["--campaign", "small-2024", *arguments])


def test_unknown_is_a_dash_and_zero_is_a_number(reporting: JsonServer) -> None:
    done = run("--by", "county", "--lesson", "2024-06-29", "--mode", "live")
    assert done.exit_code == 0, done.output
    assert reporting.calls[-1][2] == {"by": ["county"], "lesson": ["2024-06-29"], "mode": ["live"]}
    first = next(line for line in done.output.splitlines() if "忻府区" in line)
    second = next(line for line in done.output.splitlines() if "X" in line)
    assert first.split()[2:] == [
        "12,345",
        "12,000",
        "3",
        "0",
        "9,876",
        "12.50",
        "7",
        "0",
    ]
    assert second.split()[-3:] == ["—", "—", "—"]
    assert "87.5%" in done.output
    assert "2 个人群" in done.output


def test_json_is_the_services_answer(reporting: JsonServer) -> None:
    assert json.loads(run("--json").stdout) == ANSWER


def test_a_refusal_is_told(reporting: JsonServer) -> None:
    reporting.routes["GET", "/v1/campaigns/small-2024/totals"] = lambda _: (404, {"title": "没有找到该活动"})
    done = run()
    assert done.exit_code == 1
    assert "没有找到该活动" in done.output


def test_a_terminal_of_80_columns_shows_codes_and_names_whole(
    reporting: JsonServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("COLUMNS", "80")
    row = ANSWER["rows"][0] | {"key": "2024-06-29", "name": "孝亲敬老百善当先，电信诈骗防范为首", "checkins": 625_000}
    answer = ANSWER | {"rows": [row], "sum": ANSWER["sum"] | {"checkins": 625_000}}
    reporting.routes["GET", "/v1/campaigns/small-2024/totals"] = lambda _: (200, answer)
    output = run("--by", "lesson").output
    assert "…" not in output
    assert "2024-06-29" in output
    assert "625,000" in output


def test_sheets_are_written_as_they_came(reporting: JsonServer, tmp_path: Path) -> None:
    reporting.routes["GET", "/v1/campaigns/small-2024/totals"] = lambda _: (200, b"\xef\xbb\xbfsheet")
    for option in ("--csv", "--xlsx"):
        path = tmp_path / option
        done = run(option, str(path), "--by", "subtree")
        assert (done.exit_code, path.read_bytes()) == (0, b"\xef\xbb\xbfsheet"), done.output
        assert reporting.calls[-1][2] == {"by": ["subtree"]}
    assert run("--csv", "-").stdout_bytes == b"\xef\xbb\xbfsheet"
    refused = run("--csv", str(tmp_path / "none" / "a.csv"))
    assert (refused.exit_code, "写不了" in refused.output) == (1, True)


def test_a_service_that_makes_no_sheets_writes_no_file(reporting: JsonServer, tmp_path: Path) -> None:
    done = run("--csv", str(tmp_path / "a.csv"))
    assert (done.exit_code, "版本" in done.output) == (1, True)
    assert not (tmp_path / "a.csv").exists()


def test_the_time_is_the_campaigns(reporting: JsonServer) -> None:
    reporting.routes["GET", "/v1/campaigns/small-2024/totals"] = lambda _: (
        200,
        ANSWER | {"as_of": "2024-06-29T20:00:00.123456+08:00"},
    )
    assert "数据截至 2024-06-29 20:00:00+08:00" in run().output


def test_the_live_room_is_a_table(reporting: JsonServer) -> None:
    rows = [{"key": "", "name": "未注明", "quiz_answered": 1_200, "prize_won": 0, "account_followed": 3}]
    reporting.routes["GET", "/v1/campaigns/small-2024/live-room"] = lambda _: (
        200,
        {"as_of": "2024-06-29T20:00:00+08:00", "rows": rows},
    )
    app = typer.Typer()
    app.command()(totals_command.live_room)
    done = CliRunner().invoke(app, ["--campaign", "small-2024", "--by", "item"])
    assert next(line.split() for line in done.output.splitlines() if "未注明" in line) == ["未注明", "1,200", "0", "3"]
