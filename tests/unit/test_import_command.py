"""`fanzha import`: posts, repeats, counts, refused rows. checkin is a stand-in that answers by a rule of one line."""

import csv
import json
from collections.abc import Callable, Iterator
from datetime import datetime
from pathlib import Path
from typing import Any

import httpx
import pytest
import typer
from typer.testing import CliRunner, Result

from cli import import_command
from cli.import_events import Reading
from cli.import_file import Row, open_table
from cli.import_sending import POST_MAX_BYTES, POST_MAX_ROWS, Lost, Refused, Sender, send_rows
from cli.import_tally import REASONS_MAX, Tally
from tests.support.campaigns import campaign, campaign_content
from tests.support.json_server import JsonServer

Answer = Callable[[list[dict[str, Any]]], httpx.Response]
READING = Reading.of(campaign(), "viewer.checked_in")


class Refusals:
    def __init__(self) -> None:
        self.rows: list[tuple[int, str]] = []

    def add(self, row: Row, why: str) -> None:
        self.rows.append((row.number, why))


def result(event: dict[str, Any]) -> dict[str, Any]:
    """The answer to one event: replays are stored, invalid ids are malformed, everything else is recorded."""
    if not event["viewer_id"].isalnum():
        return {"event_id": None, "verdict": "rejected", "reason": "malformed", "field": "viewer_id"}
    if datetime.fromisoformat(event["occurred_at"]).astimezone(READING.zone).hour != 19:
        return {"event_id": event["event_id"], "verdict": "stored", "reason": "replay_not_credited"}
    return {"event_id": event["event_id"], "verdict": "recorded", "reason": None}


def verdicts(events: list[dict[str, Any]]) -> httpx.Response:
    return httpx.Response(200, json={"results": [result(event) for event in events]})


class Checkin:
    """Gives `answers` first, one to each post, and then answers as `verdicts` does."""

    def __init__(self, *answers: Answer) -> None:
        self.answers = list(answers)
        self.posts: list[list[dict[str, Any]]] = []
        self.pauses: list[float] = []

    def sender(self, give_up_after_s: float = 60) -> Sender:
        http = httpx.Client(transport=httpx.MockTransport(self._handle), base_url="http://checkin")
        return Sender(
            http, "/v1/campaigns/small-2024/imports", give_up_after_s=give_up_after_s, sleep=self.pauses.append
        )

    def _handle(self, request: httpx.Request) -> httpx.Response:
        assert len(request.content) <= POST_MAX_BYTES + 2
        events = json.loads(request.content)
        answer = self.answers.pop(0) if self.answers else verdicts
        response = answer(events)
        self.posts.append(events)
        return response


def rows(number: int, **fields: Any) -> Iterator[Row]:
    for at in range(2, number + 2):
        yield Row(at, [], {"viewer_id": f"ks{at}", "occurred_at": "2024/6/29 19:31"} | fields)


def send(checkin: Checkin, source: Iterator[Row], **more: Any) -> tuple[Tally, Refusals]:
    tally, refusals = Tally(), Refusals()
    for _ in send_rows(source, READING, checkin.sender(), refusals, tally, **more):
        pass
    return tally, refusals


def test_posts_have_at_most_500_rows_and_all_are_sent() -> None:
    checkin = Checkin()
    tally, _ = send(checkin, rows(POST_MAX_ROWS * 2 + 1))
    assert [len(post) for post in checkin.posts] == [500, 500, 1]
    assert tally.as_json() == {"rows": 1001, "verdicts": {"recorded": 1001}, "reasons": {}}


def test_posts_stay_below_the_limit_in_bytes() -> None:
    checkin = Checkin()
    tally, _ = send(checkin, rows(500, name="反" * 1000, prize="诈" * 1000))
    assert len(checkin.posts) > 1  # the stand-in asserts the bytes
    assert tally.rows == 500


def test_what_is_not_answered_2xx_is_sent_again() -> None:
    def reset(_: list[dict[str, Any]]) -> httpx.Response:
        raise httpx.ReadError("connection reset")

    def busy(_: list[dict[str, Any]]) -> httpx.Response:
        return httpx.Response(429, headers={"retry-after": "7"})

    def away(_: list[dict[str, Any]]) -> httpx.Response:
        return httpx.Response(503, json={"title": "数据库暂时不可用"})

    checkin = Checkin(reset, busy, away)
    tally, _ = send(checkin, rows(3))
    assert tally.as_json()["verdicts"] == {"recorded": 3}
    assert checkin.pauses[1] >= 7
    assert checkin.posts[-1] == checkin.posts[0]


def test_gives_up_with_the_row_to_go_on_from() -> None:
    checkin = Checkin(verdicts, *[lambda _: httpx.Response(503)] * 1000)
    tally = Tally()
    with pytest.raises(Lost, match="503"):
        for _ in send_rows(rows(600), READING, checkin.sender(give_up_after_s=0.01), Refusals(), tally):
            pass
    assert (tally.rows, tally.next_row) == (500, 502)
    more, _ = send(Checkin(), rows(600), from_row=tally.next_row)
    assert more.rows == 100


@pytest.mark.parametrize("status", [400, 401, 403, 404, 413, 422])
def test_what_would_be_refused_again_is_not_repeated(status: int) -> None:
    checkin = Checkin(lambda _: httpx.Response(status, json={"title": "不行"}))
    with pytest.raises(Refused, match="不行"):
        send(checkin, rows(1))
    assert len(checkin.posts) == 1


def test_an_answer_of_something_else_is_told() -> None:
    with pytest.raises(Refused, match="CHECKIN_URL"):
        send(Checkin(lambda _: httpx.Response(200, text="<html>")), rows(1))


@pytest.mark.parametrize(
    ("accounts", "rounded"),
    [
        (["6912345678901230000", "6912345678901230000", "ks1"], 2),
        (["6912345678901230000", "6912345678901234567"], 0),
        (["1234567890123450"], 0),  # one in ten
        (["123456789012000", "ks0000000000000000"], 0),
    ],
)
def test_accounts_that_all_end_in_zeros_are_pointed_out(accounts: list[str], rounded: int) -> None:
    source = (
        Row(at, [], {"viewer_id": account, "occurred_at": "2024/6/29 19:31"}) for at, account in enumerate(accounts)
    )
    tally, _ = send(Checkin(), source)
    assert tally.as_json().get("rounded_ids", 0) == rounded


def test_refused_rows_are_explained_where_they_stand() -> None:
    source = [
        Row(2, [], {"viewer_id": "ks1", "occurred_at": "2024/6/29 19:31"}),
        Row(3, [], {"viewer_id": "=1+1", "occurred_at": "2024/6/29 19:31"}),
        Row(4, [], {}, "这一行不是 JSON 对象"),
        Row(5, [], {"viewer_id": "ks1", "occurred_at": "2024/6/29 19:31", "campaign_id": "other"}),
        Row(6, [], {"viewer_id": "ks1", "occurred_at": "2024/6/29 20:31"}),
    ]
    tally, refusals = send(Checkin(), iter(source))
    assert [number for number, _ in sorted(refusals.rows)] == [3, 4, 5]
    assert tally.as_json() == {
        "rows": 5,
        "verdicts": {"recorded": 1, "stored": 1, "rejected": 1, "not_sent": 2},
        "reasons": {
            "stored": {"replay_not_credited": 1},
            "rejected": {"malformed": 1},
            "not_sent": {"属于其他活动": 1, "这一行不是 JSON 对象": 1},
        },
        "refused": [
            {"verdict": "not_sent", "reason": "属于其他活动", "field": None, "rows": 1, "first_rows": [5]},
            {"verdict": "not_sent", "reason": "这一行不是 JSON 对象", "field": None, "rows": 1, "first_rows": [4]},
            {"verdict": "rejected", "reason": "malformed", "field": "viewer_id", "rows": 1, "first_rows": [3]},
        ],
    }


def test_refused_rows_are_counted_by_reason_and_field_with_the_first_lines() -> None:
    def malformed(events: list[dict[str, Any]]) -> httpx.Response:
        fields = ["phone" if event["viewer_id"] in ("ks3", "ks9") else "name" for event in events]
        results = [{"event_id": None, "verdict": "rejected", "reason": "malformed", "field": field} for field in fields]
        return httpx.Response(200, json={"results": results})

    tally, refusals = send(Checkin(malformed), rows(12))
    assert {why[-7:] for number, why in refusals.rows if number in (3, 9)} == {"（phone）"}
    refused = [(group["field"], group["rows"], group["first_rows"]) for group in tally.as_json()["refused"]]
    assert refused == [("name", 10, [2, 4, 5, 6, 7]), ("phone", 2, [3, 9])]
    assert tally.as_json()["reasons"] == {"rejected": {"malformed": 12}}


def test_reasons_that_name_what_is_in_the_cell_do_not_fill_the_screen() -> None:
    source = (
        Row(at, [], {"viewer_id": "ks1", "occurred_at": "2024/6/29 19:31", "name": f"{at}\ufffd"})
        for at in range(2, 1002)
    )
    tally, refusals = send(Checkin(), source)
    assert (len(tally.as_json()["refused"]), tally.refused, len(refusals.rows)) == (REASONS_MAX + 1, 1000, 1000)


@pytest.mark.parametrize(
    ("event_type", "fields", "unused"),
    [
        ("viewer.checked_in", {"unit_code": "111", "name": "李四", "quiz": "第1题"}, {"unit_code", "name", "quiz"}),
        ("viewer.enrolled", {"unit_code": "111", "name": "李四", "prize": "杯子"}, {"prize"}),
        ("prize.won", {"prize": "杯子", "quiz": "第1题", "phone": "13800001111"}, {"quiz", "phone"}),
        ("viewer.checked_in", {"unit_code": "NULL", "event_id": "e-1"}, set()),
    ],
)
def test_what_a_type_has_no_use_for_is_told(event_type: str, fields: dict[str, str], unused: set[str]) -> None:
    tally, _ = send(Checkin(), rows(2, type=event_type, **fields))
    expected = {event_type: dict.fromkeys(unused, 2)} if unused else {}
    assert tally.as_json().get("unused_fields", {}) == expected


@pytest.mark.parametrize(
    ("event_type", "times", "without"),
    [
        ("quiz.answered", ("19:31", "19:32", "19:32"), 3),
        ("quiz.answered", ("19:31", "19:32", "19:32:01"), 0),
        ("quiz.answered", ("19:31", "19:32"), 0),
        ("viewer.checked_in", ("19:31", "19:32", "19:32"), 0),
    ],
)
def test_actions_without_seconds_are_pointed_out(event_type: str, times: tuple[str, ...], without: int) -> None:
    source = (
        Row(at, [], {"viewer_id": "ks1", "occurred_at": f"2024/6/29 {time}", "type": event_type})
        for at, time in enumerate(times)
    )
    tally, _ = send(Checkin(), source)
    assert tally.as_json().get("without_seconds", 0) == without


# ---- the command, against a real socket ------------------------------------------------------------------------------


@pytest.fixture
def checkin(monkeypatch: pytest.MonkeyPatch) -> Iterator[JsonServer]:
    server = JsonServer()
    server.routes["GET", "/v1/campaigns/small-2024"] = lambda _: (200, campaign_content())
    server.routes["POST", "/v1/campaigns/small-2024/imports"] = lambda events: (
        200,
        {"results": [result(event) for event in events]},
    )
    with server.running() as url:
        monkeypatch.setenv("CHECKIN_URL", url)
        monkeypatch.setenv("ADMIN_TOKEN", "t")
        yield server


def run(*arguments: object) -> Result:
    app = typer.Typer()
    app.command("import")(import_command.import_file)
    return CliRunner().invoke(app, [str(argument) for argument in arguments])


FILE = "账号,时间,姓名\nks1,2024/6/29 19:31,张三\n=HYPERLINK(1),2024/6/29 19:31,=1+1\nks2,2024/6/29 20:31,李四\n"


def test_import_counts_and_writes_refused_rows_that_no_spreadsheet_runs(checkin: JsonServer, tmp_path: Path) -> None:
    source, refused = tmp_path / "a.csv", tmp_path / "拒收.csv"
    source.write_text(FILE, encoding="gb18030")
    done = run(source, "--campaign", "small-2024", "--rejected", refused)
    assert done.exit_code == 0, done.output
    for words in (
        "已记录",
        "重播签到，本活动不计入",
        "有 1 行被拒收",
        "内容格式不对：账号",
        "签到用不到这些列，没有记：姓名",
    ):
        assert words in done.output
    assert checkin.tokens == {"Bearer t"}
    with refused.open(encoding="utf-8-sig", newline="") as file:
        header, row = csv.reader(file)
    assert header == ["账号", "时间", "姓名", "行号", "错误原因"]
    assert row[:4] == ["'=HYPERLINK(1)", "2024/6/29 19:31", "'=1+1", "3"]
    assert "账号“=HYPERLINK(1)”不是代码" in row[4]
    assert refused.stat().st_mode & 0o077 == 0
    with open_table(refused, {}) as again:
        assert next(again.rows).fields["viewer_id"] == "=HYPERLINK(1)"


def test_a_refused_row_keeps_the_cells_that_no_column_has(checkin: JsonServer, tmp_path: Path) -> None:
    source, refused = tmp_path / "a.csv", tmp_path / "拒收.csv"
    source.write_text("账号,时间,姓名\nks1,2024/6/29 19:31,大,=山\n")
    run(source, "--campaign", "small-2024", "--rejected", refused)
    with refused.open(encoding="utf-8-sig", newline="") as file:
        _, row = csv.reader(file)
    assert row[:4] == ["ks1", "2024/6/29 19:31", "大", "2"]
    assert row[5:] == ["'=山"]


def test_json_for_scripts_and_strict(checkin: JsonServer, tmp_path: Path) -> None:
    source = tmp_path / "a.csv"
    source.write_text(FILE)
    done = run(source, "--campaign", "small-2024", "--json", "--strict")
    assert done.exit_code == 1
    answer = json.loads(done.stdout)
    assert answer["complete"] is True
    assert answer["verdicts"] == {"recorded": 1, "stored": 1, "rejected": 1}


def test_times_of_another_zone_are_converted_and_unused_columns_named(checkin: JsonServer, tmp_path: Path) -> None:
    source = tmp_path / "a.csv"
    source.write_text("账号,签到时间（UTC）,昵称\nks1,2024/6/29 11:31,x\n")
    done = run(source, "--campaign", "small-2024")
    assert "没有用到的列：昵称" in done.output
    assert "已记录" in done.output  # by the stand-in only between 19:00 and 20:00 in Beijing


def test_unknown_codes_are_counted_and_named(checkin: JsonServer, tmp_path: Path) -> None:
    source = tmp_path / "a.csv"
    source.write_text(
        "账号,时间,渠道码\nks1,2024/6/29 19:31,QR-9999\nks2,2024/6/29 19:31,QR-9999\nks3,2024/6/29 19:31,QR-1\n"
    )
    done = run(source, "--campaign", "small-2024", "--type", "报名")
    assert "活动里没有的渠道码，没有给出单位：QR-9999（2 行）。" in done.output.replace("\n", "")
    done = run(source, "--campaign", "small-2024", "--type", "报名", "--json")
    assert json.loads(done.stdout)["unknown_codes"] == {"channel": {"QR-9999": 2}}


def test_a_minors_contact_that_was_dropped_is_counted_and_the_remedy_named(checkin: JsonServer, tmp_path: Path) -> None:
    source = tmp_path / "a.csv"
    source.write_text(
        "账号,时间,姓名,监护人同意\nks1,2024/6/29 19:31,甲,是\nks2,2024/6/29 19:31,乙,\nks3,2024/6/29 19:31,丙,否\n"
    )
    sent: list[Any] = []

    def answer(events: list[dict[str, Any]]) -> tuple[int, Any]:
        sent.extend(event.get("guardian_consent") for event in events)
        dropped = [{} if event.get("guardian_consent") else {"dropped": ["name"]} for event in events]
        return 200, {"results": [result(event) | more for event, more in zip(events, dropped, strict=True)]}

    checkin.routes["POST", "/v1/campaigns/small-2024/imports"] = answer
    done = run(source, "--campaign", "small-2024", "--type", "报名")
    assert sent == [True, None, False]
    assert "2 行报名属于未满 14 周岁的人群" in done.output.replace("\n", "")
    assert (
        json.loads(run(source, "--campaign", "small-2024", "--type", "报名", "--json").stdout)["contacts_dropped"] == 2
    )


def test_rounded_accounts_are_a_warning_and_a_fault_where_asked(checkin: JsonServer, tmp_path: Path) -> None:
    source = tmp_path / "a.csv"
    source.write_text("账号,时间\n6912345678901230000,2024/6/29 19:31\n6912345678901230000,2024/6/29 19:32\n")
    done = run(source, "--campaign", "small-2024")
    assert (done.exit_code, "丢掉了后几位" in done.output) == (0, True)
    assert run(source, "--campaign", "small-2024", "--strict").exit_code == 1


def test_a_stopped_import_says_how_to_go_on(checkin: JsonServer, tmp_path: Path) -> None:
    source = tmp_path / "a.csv"
    source.write_text(FILE)
    checkin.routes["POST", "/v1/campaigns/small-2024/imports"] = lambda _: (503, {"title": "数据库暂时不可用"})
    done = run(source, "--campaign", "small-2024", "--give-up-after-s", "1")
    assert done.exit_code == 1
    assert "数据库暂时不可用" in done.output
    assert "--from-row 2" in done.output


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        (["--type", "打卡"], "可用的有：签到、报名、答题、中奖、关注"),
        (["--map", "viewer_id"], "字段=列名"),
        (["--map", "viewer_id=昵称"], "没有“昵称”"),
        (["--campaign", "none"], "没有活动 none"),
    ],
)
def test_mistakes_are_explained(checkin: JsonServer, tmp_path: Path, arguments: list[str], says: str) -> None:
    source = tmp_path / "a.csv"
    source.write_text(FILE)
    done = run(source, "--campaign", "small-2024", *arguments)
    assert done.exit_code == 1
    assert says in done.output
