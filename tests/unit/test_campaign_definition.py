"""The campaign definition: what it refuses and how it says so, and which time belongs to which lesson and mode."""

import json
from bisect import bisect_right
from datetime import UTC, date, datetime, time, timedelta
from typing import Any
from zoneinfo import ZoneInfo

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import ValidationError

from shared.contracts import campaign as contract
from shared.contracts.base import EVENT_MAX_BYTES
from shared.contracts.campaign import (
    CampaignDefinition,
    CampaignRules,
    Window,
    fill,
    read_rules,
    read_unit,
    unknown_messages,
)
from shared.contracts.campaign_checks import Fault, Faults
from shared.contracts.campaign_errors import Finding, explain
from shared.contracts.campaign_parts import COURSE_KEYS
from tests.support.campaigns import WITHOUT_COURSE, campaign, campaign_content, unit

SHANGHAI = ZoneInfo("Asia/Shanghai")


def findings(**changes: Any) -> list[Finding]:
    with pytest.raises(ValidationError) as refused:
        campaign(**changes)
    return explain(refused.value)


def canonical_bytes(value: Any) -> int:
    return len(json.dumps(value, ensure_ascii=False, sort_keys=True, separators=(",", ":")).encode())


def lesson_and_mode(rules: CampaignRules, instant: datetime) -> tuple[int, str] | None:
    """The lesson and mode of a time, looked up as checkin does: the last window that opened, if it is still open."""
    position = bisect_right(rules.timeline, instant, key=lambda window: window.opens_at) - 1
    if position < 0 or instant >= rules.timeline[position].closes_at:
        return None
    return rules.timeline[position].lesson_index, rules.timeline[position].mode


def shanghai(text: str) -> datetime:
    return datetime.fromisoformat(text).replace(tzinfo=SHANGHAI)


# --- what it says about a mistake -----------------------------------------------------------------------------------


def lessons(*dates: str) -> list[dict[str, str]]:
    return [{"date": day, "title": "课"} for day in dates]


def windows(live: list[Any], replay: list[Any] | None = None) -> dict[str, Any]:
    return {"live": live, "replay": replay or []}


def span(opens: str, closes: str, day: int = 0) -> dict[str, Any]:
    return {"day": day, "from": opens, "to": closes}


def certificate(**changes: Any) -> dict[str, Any]:
    return {**campaign_content()["certificate"], **changes}


def message(**changes: Any) -> list[dict[str, Any]]:
    return [campaign_content()["messages"][0] | changes]


ROOT = unit("1", None, "province")
FIRST_LESSON = lessons("2024-06-29")[0]

MISTAKES: dict[str, tuple[dict[str, Any], str, str]] = {
    "a typo is named": ({"requird_days": 2}, "requird_days", "不认识的键；是否想写 required_days？"),
    "a strange key": ({"zzz": 2}, "zzz", "不认识的键；请删除，或核对拼写"),
    "a nested typo": ({"windows": {"live": [span("19:30", "20:00")], "reply": []}}, "windows.reply", "是否想写 replay"),
    "a missing key": ({"windows": {}}, "windows.live", "缺少这一项；请补上"),
    "an unquoted time": (
        {"windows": windows([{"from": 1170, "to": "20:00"}])},
        "windows.live[0].from",
        '引号："19:30"',
    ),
    "an unquoted closing time": ({"closing_time": 1080}, "closing_time", '"18:00"'),
    "an impossible time": ({"windows": windows([span("19:60", "20:00")])}, "windows.live[0].from", "如 19:30"),
    "24:00 as a beginning": ({"windows": windows([span("24:00", "24:00")])}, "windows.live[0].from", "如 19:30"),
    "25:00 as an end": ({"windows": windows([span("20:00", "25:00")])}, "windows.live[0].to", "结束时间可写 24:00"),
    "a window past midnight": ({"windows": windows([span("23:00", "01:00")])}, "windows.live[0]", "请拆成两段"),
    "a window on day 2": ({"windows": windows([span("10:00", "11:00", day=2)])}, "windows.live[0].day", "只能是 0、1"),
    "no live window": ({"windows": windows([])}, "windows.live", "至少要有 1 项"),
    "an unknown zone": ({"time_zone": "Asia/Taiyuan"}, "time_zone", "请写 Asia/Shanghai"),
    "a zone that is a path": ({"time_zone": "../../etc/passwd"}, "time_zone", "请写 Asia/Shanghai"),
    "a zone that is a folder": ({"time_zone": "Asia"}, "time_zone", "请写 Asia/Shanghai"),
    "no lessons": ({"lessons": []}, "lessons", "至少要有 1 项"),
    "a lesson twice": ({"lessons": lessons("2024-06-29", "2024-06-29")}, "lessons[1].date", "一节课可以有多个首播时段"),
    "own hours that overlap": (
        {"lessons": [FIRST_LESSON | {"windows": windows([span("19:00", "20:00", 1)])}, *lessons("2024-06-30")]},
        "windows",
        "2024-06-29 的 live （含宽限至 06-30 20:00）与 2024-06-30 的 live （06-30 19:30 起）重叠",
    ),
    "own hours without a live window": (
        {"lessons": [FIRST_LESSON | {"windows": {"live": []}}]},
        "lessons[0].windows.live",
        "1",
    ),
    "a platform twice": (
        {"platforms": [{"source": "ks", "title": "快手"}, {"source": "ks", "title": "快手"}]},
        "platforms[1].source",
        "重复",
    ),
    "a platform that never broadcasts": (
        {"platforms": [{"source": "ks", "title": "快手", "modes": ["live"], "windows": [span("08:00", "09:00")]}]},
        "platforms[0].windows",
        "没有交集",
    ),
    "a replay nobody can see": (
        {"credit": ["replay"], "windows": windows([span("19:30", "20:00")])},
        "credit",
        "replay",
    ),
    "unsorted lessons": ({"lessons": lessons("2024-06-30", "2024-06-29")}, "lessons[1].date", "请按日期先后排列"),
    "no date": ({"lessons": lessons("2024-06-31", "2024-07-01")}, "lessons[0].date", "请写成 2024-06-29"),
    "a lesson at the end of time": ({"lessons": lessons("9999-12-31")}, "lessons[0].date", "不能晚于 2099-12-31"),
    "a lesson before time": ({"lessons": lessons("0001-01-01")}, "lessons[0].date", "不能早于 2000-01-01"),
    "a claim time at the end of time": (
        {"certificate": certificate(claim_from="9999-12-31T23:59:59-10:00")},
        "certificate.claim_from",
        "不能晚于 2099-12-31",
    ),
    "half a character": ({"title": "\ud800"}, "title", "无效字符"),
    "too many lessons": (
        {"lessons": lessons(*(str(date(2024, 1, 1) + timedelta(days=i)) for i in range(63)))},
        "lessons",
        "最多 62 项",
    ),
    "unreachable days": ({"required_days": 3}, "required_days", "3 多于课程数 2；请写 1 到 2 之间的数"),
    "no required days": ({"required_days": 0}, "required_days", "不能小于 1"),
    "days as a word": ({"required_days": "十六"}, "required_days", "应为整数"),
    "nothing credited": ({"credit": []}, "credit", "至少要有 1 项"),
    "an unknown mode": ({"credit": ["liev"]}, "credit[0]", "只能是 'live'、'replay' 之一"),
    "a mode twice": ({"credit": ["live", "live"]}, "credit[1]", "重复"),
    "replay credited without windows": (
        {"credit": ["replay"], "windows": windows([span("19:30", "20:00")])},
        "credit",
        "windows.replay 为空",
    ),
    "grace beyond its limit": ({"live_grace_s": 3601}, "live_grace_s", "不能大于 3600"),
    "live and replay overlap": (
        {"windows": windows([span("19:30", "20:00")], [span("19:59", "21:00")])},
        "windows",
        "2024-06-29 的 live （含宽限至 06-29 20:00）与 2024-06-29 的 replay （06-29 19:59 起）重叠",
    ),
    "replay runs into the next lesson": (
        {"windows": windows([span("19:30", "20:00")], [span("08:00", "19:31", day=1)])},
        "windows",
        "2024-06-29 的 replay （含宽限至 06-30 19:31）与 2024-06-30 的 live （06-30 19:30 起）重叠",
    ),
    "grace runs into another live window": (
        {"windows": windows([span("19:30", "20:00"), span("20:01", "20:30")]), "live_grace_s": 90},
        "windows",
        "重叠",
    ),
    "grace swallows a replay": (
        {"windows": windows([span("19:30", "20:00")], [span("20:00", "20:01")]), "live_grace_s": 60},
        "live_grace_s",
        "请缩短宽限",
    ),
    "an hour that does not exist": (
        {"time_zone": "Europe/Berlin", "lessons": lessons("2024-03-31"), "required_days": 1}
        | {"windows": windows([span("02:30", "04:00")])},
        "windows.live[0].from",
        "夏令时",
    ),
    "a group twice": ({"groups": [{"code": "a", "name": "a"}, {"code": "a", "name": "b"}]}, "groups[1].code", "重复"),
    "a reserved group": ({"groups": [{"code": "unassigned", "name": "a"}]}, "groups[0].code", "系统保留"),
    "a control character": ({"title": "活动\x00"}, "title", "控制字符"),
    "a line break in a title": ({"title": "活\n动"}, "title", "换行"),
    "a NUL in prose": ({"help": [{"title": "a", "text": "\x00"}]}, "help[0].text", "控制字符"),
    "an empty title": ({"title": " "}, "title", "不能为空"),
    "a long title": ({"title": "长" * 101}, "title", "最长 100 个字符"),
    "a number as a title": ({"title": 96110}, "title", '请加引号："96110"'),
    "a list as a title": ({"title": []}, "title", "应为文字"),
    "a bad id": ({"campaign_id": "金山 2024"}, "campaign_id", "只能用英文字母、数字"),
    "claim time without zone": (
        {"certificate": certificate(claim_from="2024-07-14T20:00:00")},
        "certificate.claim_from",
        "缺少时区",
    ),
    "claim time that is none": ({"certificate": certificate(claim_from="月底")}, "certificate.claim_from", "+08:00"),
    "claim time before the first lesson": (
        {"certificate": certificate(claim_from="2024-06-29T19:29:00+08:00")},
        "certificate.claim_from",
        "早于第一节课开始 06-29 19:30",
    ),
    "a placeholder nobody fills": ({"certificate": certificate(body="{nmae}")}, "certificate", "{nmae}；可用的有"),
    "a message placeholder nobody fills": ({"messages": message(template="{x} 96110")}, "messages[0]", "{x}"),
    "a message without the hotline": ({"messages": message(template="领证")}, "messages[0]", "96110"),
    "an unknown channel": ({"messages": message(channel="fax")}, "messages[0].channel", "只能是 'file'"),
    "an unknown event": ({"messages": message(event="lunch")}, "messages[0].event", "只能是 'certificate_ready'"),
    "a message twice": ({"messages": message() * 2}, "messages[1]", "重复"),
    "a send window backwards": (
        {"messages": message(send_window={"from": "22:00", "to": "08:00"})},
        "messages[0].send_window",
        "不早于",
    ),
    "a day off and on": (
        {"non_working_days": ["2024-06-10"], "extra_working_days": ["2024-06-10"]},
        "extra_working_days",
        "请只保留一处",
    ),
    "a day off twice": ({"non_working_days": ["2024-06-10"] * 2}, "non_working_days[1]", "重复"),
    "a scalar for a list": ({"lessons": "明天"}, "lessons", "应为列表"),
    "a scalar for a mapping": ({"windows": "晚上"}, "windows", "应为键与值的对照"),
    "no root": ({"units": [unit("1", "2", "unit"), unit("2", "1", "unit")], "channels": {}}, "units", "没有根单位"),
    "two roots": ({"units": [ROOT, unit("2", None, "city")], "channels": {}}, "units[1].parent_code", "根单位已有 1"),
    "no parent": ({"units": [ROOT, unit("2", "9", "city")], "channels": {}}, "units[1].parent_code", "9 不存在"),
    "a cycle": (
        {"units": [ROOT, unit("2", "3", "unit"), unit("3", "2", "unit")], "channels": {}},
        "units[1].parent_code",
        "成环",
    ),
    "a unit of itself": ({"units": [ROOT, unit("2", "2", "unit")], "channels": {}}, "units[1].parent_code", "成环"),
    "a unit twice": ({"units": [ROOT, ROOT | {"parent_code": "1"}], "channels": {}}, "units[1].unit_code", "重复"),
    "a county above a city": (
        {"units": [ROOT, unit("2", "1", "county"), unit("3", "2", "city")], "channels": {}},
        "units[2].level",
        "3 的级别 city 不低于上级 2 的级别 county",
    ),
    "a county in a county": (
        {"units": [ROOT, unit("2", "1", "county"), unit("3", "2", "county")], "channels": {}},
        "units[2].level",
        "不低于",
    ),
    "an unknown level": ({"units": [unit("1", None, "village")], "channels": {}}, "units[0].level", "'county'"),
    "a kind in capitals": ({"units": [ROOT | {"kind": "Bureau"}], "channels": {}}, "units[0].kind", "小写英文字母"),
    "a reserved unit": ({"units": [unit("unassigned", None, "city")], "channels": {}}, "units[0].unit_code", "保留"),
    "an unquoted code": ({"units": [ROOT | {"unit_code": 140000}]}, "units[0].unit_code", '请加引号："140000"'),
    "nobody lives there": (
        {"units": [ROOT | {"residents": {"count": 0, "year": 2020, "source": "x"}}]},
        "units[0].residents.count",
        "不能小于 1",
    ),
    "a channel to nowhere": ({"channels": {"QR-1": "999"}}, "channels.QR-1", "不存在的单位 999"),
    "a bad channel code": ({"channels": {"QR 1": "1"}}, "channels.QR 1", "只能用英文字母"),
    "half a course": (
        {"windows": None, "certificate": None},
        "windows",
        "缺少这一项；lessons、windows、credit、required_days、certificate 要写齐",
    ),
    "a course without lessons": ({"lessons": None}, "lessons", "没有课程的活动一项也不写，改写 starts_on 和 ends_on"),
    "a course with days of its own": ({"starts_on": "2024-06-29"}, "starts_on", "请删除"),
    "no course and no days": (WITHOUT_COURSE | {"ends_on": None}, "ends_on", "要写 starts_on 和 ends_on"),
    "an end before the beginning": (WITHOUT_COURSE | {"ends_on": "2024-06-28"}, "ends_on", "早于 starts_on"),
    "four years": (WITHOUT_COURSE | {"ends_on": "2027-07-04"}, "ends_on", "最长 1100 天"),
    "a platform without a course": (
        WITHOUT_COURSE | {"platforms": [{"source": "ks", "title": "快手"}]},
        "platforms",
        "没有播出平台",
    ),
    "rules too large for a page": (
        {"help": [{"title": "a", "text": "长" * 2000}] * 20},
        "",
        "超过 65536 字节",
    ),
}


@pytest.mark.parametrize("mistake", MISTAKES)
def test_a_mistake_is_told_with_key_and_remedy(mistake: str) -> None:
    changes, at, remedy = MISTAKES[mistake]
    complaints = findings(**changes)
    assert any(finding.at == at and remedy in finding.message for finding in complaints), complaints


def test_no_more_mistakes_are_told_than_anybody_reads() -> None:
    faults = [Fault(f"units[{index}]", "重复") for index in range(150)]
    assert Faults(faults).faults == faults[:100]
    assert str(Faults([*faults[:1], Fault("", "太长")])) == "units[0]: 重复；太长"


def test_of_windows_that_overlap_on_every_day_three_are_told_and_nothing_that_may_follow_from_it() -> None:
    overlapping = windows([span("19:30", "20:00")], [span("19:45", "21:00")])
    dates = lessons(*(f"2024-06-{day}" for day in range(20, 30)))
    early = certificate(claim_from="2024-06-01T00:00:00+08:00")
    assert [finding.at for finding in findings(windows=overlapping, lessons=dates, certificate=early)] == [
        "windows"
    ] * 3


@pytest.mark.parametrize(
    ("live", "replay", "at"),
    [
        (span("02:30", "04:00"), [], "windows.live[0].from"),
        (span("01:30", "02:30"), [], "windows.live[0].to"),
        (span("19:30", "20:00"), [span("02:30", "04:00", 1)], "windows.replay[0].from"),
    ],
)
def test_no_window_begins_or_ends_in_an_hour_that_summer_time_skips(live: Any, replay: list[Any], at: str) -> None:
    first = "2024-03-09" if replay else "2024-03-10"
    told = findings(
        time_zone="America/New_York",
        lessons=lessons(first, "2024-03-20"),
        windows=windows([live], replay),
        required_days=1,
    )
    assert [finding.at for finding in told] == [at]


def test_certificates_may_be_claimed_from_the_first_lessons_beginning() -> None:
    at_once = campaign(certificate=certificate(claim_from="2024-06-29T19:30:00+08:00"))
    assert at_once.certificate is not None
    assert at_once.certificate.claim_from == at_once.opened_at(0)
    too_early = certificate(claim_from="2024-06-29T19:29:59+08:00")
    assert [finding.at for finding in findings(certificate=too_early)] == ["certificate.claim_from"]


def test_names_and_phones_are_kept_for_a_month_to_three_years() -> None:
    assert [campaign(retain_days=days).retain_days for days in (30, 1095)] == [30, 1095]
    for days in (29, 1096):
        assert [finding.at for finding in findings(retain_days=days)] == ["retain_days"]


def test_names_and_phones_are_kept_for_180_days_where_the_campaign_does_not_say() -> None:
    assert campaign().retain_days == 180


def test_days_off_and_extra_days_are_days_of_their_own() -> None:
    named = campaign(non_working_days=["2024-07-01"], extra_working_days=["2024-07-06"])
    assert (named.non_working_days, named.extra_working_days) == ((date(2024, 7, 1),), (date(2024, 7, 6),))
    twice = findings(extra_working_days=["2024-07-06", "2024-07-06"])
    assert [(finding.at, "重复" in finding.message) for finding in twice] == [("extra_working_days[1]", True)]


def test_a_campaign_without_a_course_has_its_own_days_and_says_nothing_of_lessons() -> None:
    plain = campaign(**WITHOUT_COURSE)
    assert (plain.first_day, plain.last_day, plain.timeline) == (date(2024, 6, 29), date(2024, 7, 2), ())
    assert plain.rules().keys().isdisjoint(COURSE_KEYS)
    assert read_rules(plain.rules()).last_day == plain.last_day
    assert CampaignDefinition.model_validate_json(plain.model_dump_json()) == plain
    assert campaign(**WITHOUT_COURSE | {"ends_on": "2027-07-03"}).last_day == date(2027, 7, 3)
    with_course = campaign()
    assert (with_course.first_day, with_course.last_day) == (date(2024, 6, 29), date(2024, 6, 30))


def test_every_message_is_chinese() -> None:
    for changes, _, _ in MISTAKES.values():
        for finding in findings(**changes):
            assert "不符合要求：" not in finding.message, finding


def test_all_findings_of_one_kind_come_together() -> None:
    complaints = findings(title=1, credit=[], live_grace_s="x", zzz=1)
    assert {finding.at for finding in complaints} == {"title", "credit", "live_grace_s", "zzz"}


def test_a_hostile_key_is_told_shortly_and_can_be_sent() -> None:
    for finding in findings(**{"\ud800": 1, "k" * 1_000_000: 1, "title": "长" * 1_000_000}):
        assert len(str(finding).encode()) < 1000


# --- what is allowed ------------------------------------------------------------------------------------------------


def test_levels_may_be_skipped_and_units_may_have_units() -> None:
    units = [ROOT, unit("2", "1", "county"), unit("3", "1", "unit"), unit("4", "3", "unit"), unit("5", "2", "unit")]
    tree = campaign(units=units, channels={})
    assert tree.county_of == {"2": "2", "5": "2"}


def test_a_country_stands_above_provinces() -> None:
    units = [unit("0", None, "country"), unit("1", "0", "province"), unit("2", "1", "county")]
    assert campaign(units=units, channels={}).county_of == {"2": "2"}


def test_units_lie_in_units_no_deeper_than_the_limit() -> None:
    """Thirteen steps up from the deepest unit reach the root, fourteen would not."""
    tree = [ROOT, *(unit(str(n), str(n - 1), "unit") for n in range(2, 16))]
    assert len(campaign(units=tree[:14], channels={}).units) == 14
    [spans] = findings(units=tree, channels={})
    assert (spans.at, "深于 12 级" in spans.message) == ("units[14].parent_code", True)


def test_the_order_of_units_does_not_matter_to_the_tree() -> None:
    units = campaign_content()["units"]
    assert campaign(units=units[::-1]).county_of == campaign(units=units).county_of == {"111": "111", "111-EDU": "111"}


def test_it_survives_json() -> None:
    whole = campaign()
    assert CampaignDefinition.model_validate_json(whole.model_dump_json()) == whole


def test_equal_content_has_an_equal_hash_however_it_is_spelled() -> None:
    content = campaign_content()
    spelled_out = dict(reversed((content | {"seal_after_hours": 48, "live_grace_s": 0}).items()))
    assert campaign(**spelled_out).content_hash() == campaign().content_hash()
    both, reverse = campaign(credit=["live", "replay"]), campaign(credit=["replay", "live"])
    assert both.content_hash() == reverse.content_hash() != campaign().content_hash()


def test_rules_leave_out_units_and_channels() -> None:
    rules = campaign().rules()
    assert set(rules) == set(CampaignRules.model_fields) - {
        "platforms",
        "retain_days",
        "starts_on",
        "ends_on",
    }  # later keys, at their default
    assert read_rules(rules).timeline == campaign().timeline


def test_a_reader_on_the_bus_ignores_keys_of_a_newer_version() -> None:
    rules = campaign().rules()
    rules["new_in_v9"] = 1
    rules["windows"]["live"][0]["new_in_v9"] = 1
    assert read_rules(rules) == read_rules(campaign().rules())
    assert read_unit(ROOT | {"new_in_v9": 1}).unit_code == "1"


NEWER = [
    *message(event="bulletin_published", template="{unheard_of}"),
    *message(channel="carrier_pigeon"),
    {"event": "lesson_begins", "audience": 5},
]


def test_a_reader_on_the_bus_leaves_out_message_rules_of_a_newer_version() -> None:
    rules = campaign().rules()
    newer = rules | {"messages": [*NEWER, *rules["messages"]]}
    assert unknown_messages(newer) == [
        "bulletin_published/file",
        "certificate_ready/carrier_pigeon",
        "lesson_begins/None",
    ]
    assert read_rules(newer) == read_rules(rules)
    assert unknown_messages(rules) == []
    assert len(newer["messages"]) == 4  # the event is as it came


@pytest.mark.parametrize(
    "messages", [5, None, ["x"], [None], [{}], message(channel=5), message(event=None), message(template="领证")]
)
def test_a_message_rule_that_is_none_is_no_newer_one(messages: Any) -> None:
    with pytest.raises(ValidationError):
        read_rules(campaign().rules() | {"messages": messages})


def test_pages_hold_every_unit_once_and_fit_an_event() -> None:
    many = [ROOT] + [unit(f"u{i}", "1", "unit", name="𠮷" * 100) for i in range(1200)]
    definition = campaign(units=many, channels={})
    pages = definition.unit_pages()
    assert [row["unit_code"] for page in pages for row in page] == [row["unit_code"] for row in many]
    assert max(map(len, pages)) <= 500
    assert contract.RULES_MAX_BYTES + contract.UNIT_PAGE_MAX_BYTES < EVENT_MAX_BYTES - 16 * 1024
    assert len(pages) > 3  # by bytes, not only by count
    assert len(campaign().unit_pages()) == 1


def test_a_page_is_full_with_500_units_or_160_kib() -> None:
    small = [ROOT] + [unit(f"u{i:04}", "1", "unit") for i in range(1000)]
    assert [len(page) for page in campaign(units=small, channels={}).unit_pages()] == [500, 500, 1]
    one = campaign(units=[ROOT, unit("u0000", "1", "unit", name="a")], channels={}).unit_pages()[0][1]
    name_bytes = 512 - (canonical_bytes(one) - 1)
    name = "𠮷" * (name_bytes // 4) + "a" * (name_bytes % 4)
    large = [ROOT] + [unit(f"u{i:04}", "1", "unit", name=name) for i in range(1000)]
    pages = campaign(units=large, channels={}).unit_pages()
    assert canonical_bytes(pages[1][0]) == 512
    assert [len(page) for page in pages[1:3]] == [320, 320], "160 KiB to the byte"


def test_a_page_may_hold_exactly_160_kib() -> None:
    """Rows of 160 and of 164 bytes. 1,024 rows of 160 bytes would fill a page exactly, if it were not limited to 500 rows."""
    root = canonical_bytes(campaign(units=[ROOT], channels={}).unit_pages()[0][0])
    wanted, rows = contract.UNIT_PAGE_MAX_BYTES - root, 399
    base = canonical_bytes(campaign(units=[ROOT, unit("u0000", "1", "unit", name="a")], channels={}).unit_pages()[0][1])
    letters = [(wanted - rows * (base - 1)) // rows] * rows
    letters[0] += wanted - rows * (base - 1) - sum(letters)
    names = ["𠮷" * (n // 4) + "a" * (n % 4) for n in letters]
    units = [ROOT] + [unit(f"u{i:04}", "1", "unit", name=name) for i, name in enumerate(names)]
    assert [len(page) for page in campaign(units=units, channels={}).unit_pages()] == [rows + 1]
    units.append(unit("u9999", "1", "unit", name="a"))
    assert [len(page) for page in campaign(units=units, channels={}).unit_pages()] == [rows + 1, 1]


def test_rules_have_64_kib_and_what_else_is_wrong_is_told_first() -> None:
    full = [{"title": "a", "text": "𠮷" * 2000}] * 8

    def with_text(size: int) -> dict[str, Any]:
        return {"help": [*full, {"title": "a", "text": "𠮷" * (size // 4) + "a" * (size % 4)}]}

    fits = contract.RULES_MAX_BYTES - canonical_bytes(campaign(**with_text(1)).rules()) + 1
    assert canonical_bytes(campaign(**with_text(fits)).rules()) == contract.RULES_MAX_BYTES
    too_long = with_text(fits + 1)
    assert [finding.message for finding in findings(**too_long)] == [
        "除 units 和 channels 外的内容超过 65536 字节；请缩短文字"
    ]
    assert not any("65536" in finding.message for finding in findings(**too_long, required_days=9))


def test_limits_are_those_of_the_documents() -> None:
    assert contract.DEFINITION_MAX_BYTES == 8_388_608
    assert (contract.RULES_MAX_BYTES, contract.UNIT_PAGE_MAX_BYTES) == (65_536, 163_840)
    assert (contract.UNITS_MAX, contract.CHANNELS_MAX) == (20_000, 50_000)
    assert campaign(units=[ROOT], channels={}).units[0].unit_code == ROOT["unit_code"]


def test_values_are_not_read_as_placeholders() -> None:
    assert fill("{name}：{serial}", {"name": "{serial}", "serial": "S1"}) == "{serial}：S1"


# --- which time belongs to which lesson -------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("at", "expected"),
    [
        ("2024-06-29T19:29:59.999999", None),
        ("2024-06-29T19:30:00", (0, "live")),
        ("2024-06-29T19:59:59.999999", (0, "live")),
        ("2024-06-29T20:00:00", (0, "replay")),
        ("2024-06-29T23:59:59.999999", (0, "replay")),
        ("2024-06-30T00:00:00", None),
        ("2024-06-30T07:59:59", None),
        ("2024-06-30T09:00:00", (0, "replay")),
        ("2024-06-30T18:59:59", (0, "replay")),
        ("2024-06-30T19:00:00", None),
        ("2024-06-30T19:30:00", (1, "live")),
        ("2024-07-01T18:59:59", (1, "replay")),
        ("2024-07-01T19:30:00", None),
    ],
)
def test_the_windows_of_the_notice(at: str, expected: tuple[int, str] | None) -> None:
    assert lesson_and_mode(campaign(), shanghai(at)) == expected


def test_the_hours_of_a_platform_are_those_of_the_course_in_its_modes_and_hours() -> None:
    rules = campaign(
        live_grace_s=60,
        platforms=[
            {"source": "a", "title": "甲", "modes": ["live"]},
            {"source": "b", "title": "乙", "windows": [span("19:00", "19:50"), span("19:40", "20:30")]},
        ],
    )
    both = [[(o.astimezone(SHANGHAI).strftime("%d %H:%M"), c.astimezone(SHANGHAI).strftime("%H:%M")) for o, c in hours]
            for hours in map(rules.hours_of, rules.platforms)]  # fmt: skip
    assert both == [
        [("29 19:30", "20:01"), ("30 19:30", "20:01")],
        [("29 19:30", "20:31"), ("30 19:30", "20:31")],
    ]
    assert "platforms" not in campaign().model_dump(mode="json")


def test_a_lesson_may_have_hours_of_its_own() -> None:
    extra_windows = windows([span("09:00", "10:00"), span("15:00", "16:00")], [span("10:00", "12:00")])
    small = campaign(lessons=[FIRST_LESSON | {"windows": extra_windows}, *lessons("2024-06-30")])
    expected = {
        "2024-06-29T09:00:00": (0, "live"),
        "2024-06-29T11:59:59": (0, "replay"),
        "2024-06-29T15:30:00": (0, "live"),
        "2024-06-29T19:30:00": None,
        "2024-06-30T09:30:00": None,
        "2024-06-30T19:30:00": (1, "live"),
    }
    assert {at: lesson_and_mode(small, shanghai(at)) for at in expected} == expected
    assert (small.opened_at(0), small.sealed_at(0)) == (
        shanghai("2024-06-29T09:00:00"),
        shanghai("2024-07-01T16:00:00"),
    )
    with_replay = small.model_dump(mode="json") | {"credit": ["replay"], "windows": windows([span("19:30", "20:00")])}
    assert CampaignDefinition.model_validate(with_replay).credit == ("replay",)  # one lesson has a replay
    assert "windows" not in campaign().model_dump(mode="json")["lessons"][0]


@pytest.mark.parametrize(
    ("at", "expected"),
    [("20:00:00", "live"), ("20:01:29", "live"), ("20:01:30", "replay"), ("19:29:59", None)],
)
def test_live_takes_precedence_inside_the_grace(at: str, expected: str | None) -> None:
    lesson = lesson_and_mode(campaign(live_grace_s=90), shanghai(f"2024-06-29T{at}"))
    assert (lesson and lesson[1]) == expected


def test_opens_closes_and_seal_of_a_lesson() -> None:
    small = campaign(live_grace_s=60)
    assert small.opens_closes(1) == [
        ("live", shanghai("2024-06-30T19:30:00"), shanghai("2024-06-30T20:01:00")),
        ("replay", shanghai("2024-06-30T20:01:00"), shanghai("2024-07-01T00:00:00")),
        ("replay", shanghai("2024-07-01T08:00:00"), shanghai("2024-07-01T19:00:00")),
    ]
    assert small.opened_at(1) == shanghai("2024-06-30T19:30:00")
    assert small.sealed_at(1) == shanghai("2024-07-03T19:00:00")
    assert small.index_of == {date(2024, 6, 29): 0, date(2024, 6, 30): 1}


@pytest.mark.parametrize(
    ("hours", "sealed_at"),
    [
        (1, "2024-06-30T20:00:00"),
        (24, "2024-07-01T19:00:00"),
        (49, "2024-07-02T20:00:00"),
        (720, "2024-07-30T19:00:00"),
    ],
)
def test_a_lesson_is_sealed_so_many_hours_after_its_last_window(hours: int, sealed_at: str) -> None:
    assert campaign(seal_after_hours=hours).sealed_at(0) == shanghai(sealed_at)


@pytest.mark.parametrize("hours", [0, 721])
def test_a_seal_is_an_hour_to_thirty_days_later(hours: int) -> None:
    assert [finding.at for finding in findings(seal_after_hours=hours)] == ["seal_after_hours"]


def test_windows_follow_the_clock_on_the_wall_through_a_time_change() -> None:
    """Berlin, 2024-10-27: the hour from 02:00 comes twice, so the day has 25 hours."""
    autumn = campaign(
        time_zone="Europe/Berlin",
        lessons=lessons("2024-10-27"),
        required_days=1,
        windows=windows([span("00:00", "24:00")]),
        certificate=certificate(claim_from="2024-10-28T20:00:00+01:00"),
    )
    [(_, opens, closes)] = autumn.opens_closes(0)
    assert closes - opens == timedelta(hours=25)


def wall_windows() -> st.SearchStrategy[dict[str, Any]]:
    """One to five windows on a grid of half hours, none overlapping, modes at random."""
    edges = st.lists(st.integers(0, 96), min_size=2, max_size=10, unique=True).map(sorted)

    @st.composite
    def build(draw: st.DrawFn) -> dict[str, Any]:
        grid = draw(edges)
        spans: dict[str, Any] = {"live": [], "replay": []}
        for opens, closes in zip(grid[::2], grid[1::2], strict=False):
            if opens // 48 == (closes - 1) // 48:  # a window stays within its day
                mode = draw(st.sampled_from(["live", "replay"])) if spans["live"] else "live"
                spans[mode].append(span(clock(opens % 48), clock(closes - opens // 48 * 48), opens // 48))
        return spans

    return build().filter(lambda spans: bool(spans["live"]))


def clock(half_hours: int) -> str:
    return f"{half_hours // 2:02}:{half_hours % 2 * 30:02}"


@given(layout=wall_windows(), grace=st.integers(0, 1799), offset_s=st.integers(0, 3 * 86400))
def test_a_time_has_at_most_one_lesson_and_mode_and_it_is_the_one_on_the_wall(
    layout: dict[str, Any], grace: int, offset_s: int
) -> None:
    """Compared with a slow reading of the rule. Lessons are two days apart, so that day 1 of a lesson has no windows of the
    next."""
    rules = campaign_content(
        lessons=lessons("2024-06-01", "2024-06-03"),
        windows=layout,
        certificate=certificate(claim_from="2025-01-01T00:00Z"),
    )
    try:
        small = CampaignDefinition.model_validate(rules | {"live_grace_s": grace})
    except ValidationError:  # the grace reaches another live window: refused, so there is nothing to look up
        small, grace = CampaignDefinition.model_validate(rules), 0
    instant = shanghai("2024-06-01T00:00:00") + timedelta(seconds=offset_s)
    assert lesson_and_mode(small, instant) == by_hand(small, instant, grace)
    assert all(a.closes_at <= b.opens_at for a, b in zip(small.timeline, small.timeline[1:], strict=False))


def by_hand(rules: CampaignRules, instant: datetime, grace: int) -> tuple[int, str] | None:
    def inside(window: Window, index: int, more_s: int) -> bool:
        midnight = datetime.combine(rules.lessons[index].date, time(), SHANGHAI) + timedelta(days=window.day)
        opens = midnight + timedelta(minutes=minutes(window.opens))
        return opens <= instant < midnight + timedelta(minutes=minutes(window.closes), seconds=more_s)

    hours = rules.windows
    assert hours is not None
    for index in range(len(rules.lessons)):
        if any(inside(window, index, grace) for window in hours.live):
            return index, "live"
        if any(inside(window, index, 0) for window in hours.replay):
            return index, "replay"
    return None


def minutes(clock_time: str) -> int:
    return int(clock_time[:2]) * 60 + int(clock_time[3:])


@given(
    st.datetimes(datetime(2024, 1, 1), datetime(2024, 12, 30)), st.sampled_from(["Asia/Shanghai", "America/New_York"])
)
def test_a_local_time_reads_back_as_itself_unless_it_does_not_exist(local: datetime, zone: str) -> None:
    small = campaign(time_zone=zone, certificate=certificate(claim_from="2025-01-01T00:00Z"))
    instant = small.at(local.date(), local.strftime("%H:%M"))
    assert instant.tzinfo is UTC
    back = instant.astimezone(ZoneInfo(zone))
    skipped = local.date() == date(2024, 3, 10) and local.hour == 2 and zone == "America/New_York"
    assert skipped or back.strftime("%F %H:%M") == local.strftime("%F %H:%M")
