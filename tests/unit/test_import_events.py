"""How a row of an export file becomes an event."""

from datetime import UTC, date, datetime, time, timedelta
from typing import Any
from zoneinfo import ZoneInfo

import pytest

from cli.import_events import Outcome, Reading, moment
from shared.sheets import cell_text
from tests.support.campaigns import campaign, campaign_content, unit

SHANGHAI = ZoneInfo("Asia/Shanghai")
AT = datetime(2024, 6, 29, 19, 31, tzinfo=SHANGHAI)


@pytest.mark.parametrize(
    "cell",
    [
        "2024/6/29 19:31",
        "2024-06-29 19:31:00",
        "2024-06-29T19:31:00+08:00",
        "2024-06-29T11:31:00Z",
        "2024.6.29 19：31",
        "2024年6月29日 19:31",
        "2024年6月29日19时31分",
        "2024/6/29 下午7:31",
        "2024/6/29 19:31:00.000",
        datetime(2024, 6, 29, 19, 31),
        datetime(2024, 6, 29, 19, 30, 59, 999_995),
        45472 + (19 * 60 + 31) / 1440,
        "45472.813194444",
        1719660660,
        "1719660660000",
    ],
)
def test_times_as_people_and_spreadsheets_write_them(cell: Any) -> None:
    reading = moment(cell, SHANGHAI)
    assert reading is not None
    assert reading.astimezone(UTC) == AT.astimezone(UTC)


@pytest.mark.parametrize(
    "cell",
    [
        "",
        "昨天",
        "2024/6/29",
        "2024-06-29",
        "2024/13/29 19:31",
        "2024/6/29 25:00",
        45472,
        1e300,
        float("inf"),
        float("nan"),
        "9" * 400,
        True,
        None,
    ],
)
def test_what_is_no_time(cell: Any) -> None:
    assert moment(cell, SHANGHAI) is None


@pytest.mark.parametrize(
    ("cell", "means"),
    [
        (datetime(2024, 6, 29, 19, 59, 59, 999_000), "19:59:59"),
        (datetime(2024, 6, 29, 19, 59, 59, 700_000), "19:59:59"),
        (45472.83333333334 - 0.2 / 86_400, "19:59:59"),
        (45472.83333333333, "20:00:00"),  # 20:00 as a spreadsheet keeps it, 0.3 microseconds less
        (datetime(2024, 6, 29, 19, 59, 59, 999_600), "19:59:59"),
        (45472.8333333287, "19:59:59"),  # 19:59:59.9996
        ("2024/6/29 19:59:59.9999999", "19:59:59"),
        ("2024-06-29T19:59:59.9999999+08:00", "19:59:59.999999"),
    ],
)
def test_no_time_is_rounded_into_the_next_window(cell: Any, means: str) -> None:
    assert moment(cell, SHANGHAI) == datetime.fromisoformat(f"2024-06-29T{means}+08:00")


@pytest.mark.parametrize(
    "day", ["2024/6/29", "2024-06-29 00:00:00", "2024/6/29 0:00", date(2024, 6, 29), datetime(2024, 6, 29), 45472.0]
)
@pytest.mark.parametrize(
    "clock", ["19:31", "下午7:31", time(19, 31), timedelta(hours=19, minutes=31), (19 * 60 + 31) / 1440]
)
def test_a_day_and_a_time_of_two_columns_are_one_time(day: Any, clock: Any) -> None:
    assert event(occurred_on=day, occurred_at=clock) == event()


@pytest.mark.parametrize("clock", [20240629193100.0, timedelta(days=10**8), -1.0])
def test_what_is_no_time_of_day_is_left_for_checkin_to_refuse(clock: Any) -> None:
    assert "时间“2024-06-29 " in (read(occurred_on=date(2024, 6, 29), occurred_at=clock).note or "")


def test_codes_that_the_campaign_does_not_have_are_told() -> None:
    reading = read("viewer.enrolled", unit_code="999", channel="QR-9999", group="学生")
    assert reading.unknown == (("unit_code", "999"), ("channel", "QR-9999"))
    assert read("viewer.enrolled", unit_code="111", channel="QR-1").unknown == ()
    assert read(unit_code="999").unknown == ()  # a check-in has no use for it


def test_noon_and_midnight_in_half_days() -> None:
    assert moment("2024/6/29 上午12:05", SHANGHAI) == datetime(2024, 6, 29, 0, 5, tzinfo=SHANGHAI)
    assert moment("2024/6/29 下午12:05", SHANGHAI) == datetime(2024, 6, 29, 12, 5, tzinfo=SHANGHAI)


def read(event_type: str = "viewer.checked_in", **fields: Any) -> Outcome:
    definition = campaign(
        units=[
            *campaign_content()["units"],
            unit("A", "111", "unit", name="局（一）"),
            unit("B", "111", "unit", name="同名"),
            unit("C", "111", "unit", name="同名"),
        ]
    )
    return Reading.of(definition, event_type).event({"viewer_id": "ks_1", "occurred_at": AT.isoformat()} | fields)


def event(*args: str, **fields: Any) -> dict[str, Any]:
    reading = read(*args, **fields).event
    assert reading is not None
    return reading


def test_the_event_is_what_the_platform_would_have_sent() -> None:
    assert event(event_id="e-1") == {
        "event_id": "e-1",
        "type": "viewer.checked_in",
        "campaign_id": "small-2024",
        "viewer_id": "ks_1",
        "occurred_at": "2024-06-29T19:31:00+08:00",
    }


def test_numbers_of_a_spreadsheet_are_codes() -> None:
    assert event(viewer_id=88120035.0)["viewer_id"] == "88120035"
    assert cell_text(13800000000.0) == "13800000000"


@pytest.mark.parametrize(
    ("written", "meant"),
    [
        ("13800001111.0", "13800001111"),
        ('="0138"', "0138"),
        ("'0138", "0138"),
        ("13,800,001,111", "13800001111"),
        (140902.0, "140902"),
        ("140902.00", "140902"),
        ("1.5", "1.5"),
    ],
)
@pytest.mark.parametrize("field", ["viewer_id", "unit_code", "phone"])
def test_a_code_is_freed_from_what_spreadsheets_put_around_it(written: Any, meant: str, field: str) -> None:
    assert event("viewer.enrolled", **{field: written})[field] == meant


@pytest.mark.parametrize("field", ["viewer_id", "event_id", "unit_code", "channel", "phone", "prize", "account"])
@pytest.mark.parametrize(
    ("written", "why"),
    [("1.38E+10", "后几位已丢失"), (6.91e18, "后几位已丢失"), (datetime(2024, 1, 2), "日期"), (True, "是非")],
)
def test_a_code_that_a_spreadsheet_has_spoilt_is_not_sent(field: str, written: Any, why: str) -> None:
    reading = read("viewer.enrolled", **{field: written})
    assert reading.event is None
    assert why in (reading.refusal or "")


@pytest.mark.parametrize(
    "word", ["NULL", "nan", "NaN", "None", "N/A", "#N/A", r"\N", "-", "——", "无", "\u200b", "\u3000"]
)
def test_words_that_mean_nothing_are_as_an_empty_cell(word: str) -> None:
    given = event("viewer.enrolled", unit_code=word, channel="QR-0001", group=word, name=word, phone=word)
    assert given == event("viewer.enrolled", channel="QR-0001")
    for field, why in (("viewer_id", "没有账号"), ("occurred_at", "没有时间")):
        assert why in (read(**{field: word}).note or "")


def test_a_word_that_the_campaign_has_a_code_for_means_that() -> None:
    definition = campaign(units=[*campaign_content()["units"], unit("NA", "111", "unit", name="无")])
    reading = Reading.of(definition, "viewer.enrolled")
    for written in ("NA", "无"):
        answered = reading.event({"viewer_id": "ks_1", "occurred_at": AT.isoformat(), "unit_code": written}).event
        assert answered is not None
        assert answered["unit_code"] == "NA"


def test_chinese_names_of_types_groups_and_units_become_codes() -> None:
    reading = event(type="报名", group="学生", unit_code="局(一)")
    assert (reading["type"], reading["group"], reading["unit_code"]) == ("viewer.enrolled", "student", "A")


def test_a_unit_name_that_two_units_share_is_not_guessed() -> None:
    reading = read(unit_code="同名")
    assert reading.event is not None
    assert reading.event["unit_code"] == "同名"
    assert "单位“同名”不是代码" in (reading.note or "")


def test_the_same_row_has_the_same_id_however_it_is_written() -> None:
    assert event()["event_id"] == event(occurred_at="2024/6/29 19:31")["event_id"]
    assert event()["event_id"] == event(name="张三", phone="13800000000", unit_code="111")["event_id"]
    assert event()["event_id"] != event(viewer_id="ks_2")["event_id"]


def test_two_enrolments_or_prizes_of_one_second_are_two() -> None:
    assert event("viewer.enrolled", unit_code="111")["event_id"] != event("viewer.enrolled", unit_code="A")["event_id"]
    assert event("prize.won", prize="警察熊")["event_id"] != event("prize.won", prize="保温杯")["event_id"]


def test_contacts_are_sent_with_enrolments_only() -> None:
    contacts = {"name": "张三", "phone": "13800000000"}
    assert contacts.items() <= event("viewer.enrolled", **contacts).items()
    assert not contacts.keys() & event("viewer.checked_in", **contacts).keys()


def test_an_id_tells_nothing_of_name_and_phone() -> None:
    first = event("viewer.enrolled", name="张三", phone="13800000000")
    assert first["event_id"] == event("viewer.enrolled", name="李四", phone="13900000000")["event_id"]


@pytest.mark.parametrize(
    ("fields", "why"),
    [
        ({"campaign_id": "other"}, "其他活动"),
        ({"viewer_id": 1234567890123456789.0}, "后几位已丢失"),
        ({"viewer_id": "1.23457E+18"}, "后几位已丢失"),
        ({"name": "x" * 1001}, "超过 1000"),
        ({"name": ["x"]}, "name 不是"),
        ({"name": "李\ufffd"}, "损坏"),
        ({"name": "锟斤拷"}, "损坏"),
    ],
)
def test_what_checkin_would_misunderstand_is_not_sent(fields: dict[str, Any], why: str) -> None:
    reading = read(**fields)
    assert reading.event is None
    assert why in (reading.refusal or "")


@pytest.mark.parametrize(
    ("fields", "why"),
    [
        ({"occurred_at": "昨天晚上"}, "昨天晚上"),
        ({"occurred_at": ""}, "没有时间"),
        ({"occurred_at": "19:31"}, "--map occurred_at=日期列名+时间列名"),
        ({"occurred_at": "2024/6/29"}, "--map occurred_at=日期列名+时间列名"),
        ({"viewer_id": "张 三"}, "账号“张 三”不是代码"),
        ({"viewer_id": "=HYPERLINK(1)"}, "账号"),
        ({"type": "报名", "name": "x" * 60}, "50"),
    ],
)
def test_what_is_merely_wrong_is_sent_and_explained(fields: dict[str, Any], why: str) -> None:
    reading = read(**fields)
    assert reading.event is not None
    assert why in (reading.note or "")
