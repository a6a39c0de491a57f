"""`fanzha viewer`: links into a file that only its owner reads; a unit's viewers. checkin is a stand-in."""

import csv
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner, Result

from cli import viewer_commands
from tests.support.json_server import JsonServer

LINKS = "/v1/campaigns/small-2024/viewer-links"


@pytest.fixture
def checkin(monkeypatch: pytest.MonkeyPatch) -> Iterator[JsonServer]:
    """Has three viewers, in pages of two."""
    server = JsonServer()

    def links(body: dict[str, Any]) -> tuple[int, Any]:
        listed = body.get("viewer_ids")
        if listed is None:
            viewers, cursor = (["c"], None) if body["cursor"] else (["a", "b"], "b")
        else:
            viewers, cursor = listed, None
        rows = [
            {"viewer_id": viewer, "unit_code": None if listed else "111", "url": f"u/{viewer}"} for viewer in viewers
        ]
        return 200, {"rows": rows, "next_cursor": cursor}

    server.routes["POST", LINKS] = links
    with server.running() as url:
        monkeypatch.setenv("CHECKIN_URL", url)
        monkeypatch.setenv("ADMIN_TOKEN", "t")
        yield server


def run(*arguments: object) -> Result:
    return CliRunner().invoke(viewer_commands.app, [*map(str, arguments), "--campaign", "small-2024"])


def rows_of(path: Path) -> list[list[str]]:
    with path.open(encoding="utf-8-sig", newline="") as file:
        return list(csv.reader(file))


def test_a_whole_campaigns_links_go_page_by_page_into_a_private_file(checkin: JsonServer, tmp_path: Path) -> None:
    out = tmp_path / "links.csv"
    done = run("links", "--out", out)
    assert (done.exit_code, "3 个个人链接" in done.output) == (0, True)
    assert rows_of(out) == [["账号", "单位代码", "个人链接"], *([viewer, "111", f"u/{viewer}"] for viewer in "abc")]
    assert out.stat().st_mode & 0o777 == 0o600
    again = run("links", "--out", out)
    assert (again.exit_code, "不覆盖" in again.output) == (1, True)


@pytest.mark.parametrize(
    "text", ["ks_1\nks_2\nks_1\n", "昵称,账号\n甲,ks_1\n乙,ks_2\n", "\ufeff用户ID\nks_1\n\nks_2\n"]
)
def test_a_files_accounts_each_get_a_link(checkin: JsonServer, tmp_path: Path, text: str) -> None:
    ids = tmp_path / "ids.csv"
    ids.write_text(text)
    assert run("links", "--out", tmp_path / "links.csv", "--ids", ids).exit_code == 0
    assert [row[0] for row in rows_of(tmp_path / "links.csv")[1:]] == ["ks_1", "ks_2"]


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("", "没有账号"),
        ("昵称,手机\n甲,1\n", "没有“账号”一列"),
        ("ks_1\n张 三\n", "第 2 行"),
        ("账号\n=1+1\n", "第 2 行"),
    ],
)
def test_a_file_that_is_no_list_of_accounts_makes_nothing(
    checkin: JsonServer, tmp_path: Path, text: str, says: str
) -> None:
    ids, out = tmp_path / "ids.csv", tmp_path / "links.csv"
    ids.write_text(text)
    done = run("links", "--out", out, "--ids", ids)
    assert (done.exit_code, says in done.output, out.exists()) == (1, True, False)


def test_links_that_were_not_all_made_leave_no_file(checkin: JsonServer, tmp_path: Path) -> None:
    checkin.routes["POST", LINKS] = lambda _: (503, {"title": "数据库暂时不可用"})
    assert run("links", "--out", tmp_path / "links.csv").exit_code == 1
    assert not (tmp_path / "links.csv").exists()


def test_a_units_viewers_are_listed_with_their_days(checkin: JsonServer) -> None:
    row = {
        "viewer_id": "ks_1",
        "unit_code": "111",
        "credited_days": 3,
        "reachable_days": 15,
        "not_credited": ["2024-07-01"],
    }
    answer = {"required_days": 16, "rows": [row], "next_cursor": None}
    checkin.routes["GET", "/v1/campaigns/small-2024/units/111/viewers"] = lambda _: (200, answer)
    done = run("list", "--unit", "111")
    for shown in ("ks_1", "15", "07-01", "共 1 人；结课需要 16 天"):
        assert shown in done.output


def test_one_viewers_lessons_are_shown_with_the_reason(checkin: JsonServer) -> None:
    lessons = [{"lesson_date": "2024-06-29", "title": "第一课", "state": "not_credited", "reason": "late"}]
    answer = {"credited_days": 0, "reachable_days": 1, "required_days": 2, "certificate": None, "lessons": lessons}
    checkin.routes["GET", "/v1/campaigns/small-2024/units/111/viewers/ks_1"] = lambda _: (200, answer)
    done = run("show", "ks_1", "--unit", "111")
    for shown in ("第一课", "未计入", "逾期", "最多可达 1 天"):
        assert shown in done.output
