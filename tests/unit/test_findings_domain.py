"""差异待核: what each rule looks at, where it begins to, and what it says."""

from datetime import UTC, datetime, timedelta
from fractions import Fraction
from typing import Any

import pytest

from services.reporting.findings.domain import (
    LOOKS,
    RULE_NAMES,
    RULES,
    Finding,
    Pictures,
    Recorded,
    Seen,
    findings_in,
    text,
)
from shared.contracts.campaign_forms import Form
from tests.support.forms import form, number

PEOPLE = {"unit": "人数"}
DAILY = Form.model_validate(
    form(
        fields=[
            number("viewers", title="个人观看", compared_with="recorded.viewers", **PEOPLE),
            number("together", title="集中观看", **PEOPLE),
            number("screenings", title="场次", unit="场"),
            {"id": "share", "title": "覆盖率", "type": "decimal", "unit": "%", "kind": "level"},
            {"id": "how", "title": "学习情况", "type": "text"},
        ]
    )
)
BEGINS = datetime(2024, 6, 29, 11, 30, tzinfo=UTC)
TITLES = {field.id: field.title for field in DAILY.fields}


def seen(values: dict[str, Any] | None = None, **more: Any) -> Seen:
    return Seen(DAILY, {"viewers": 7} if values is None else values, BEGINS, **more)


def test_nothing_is_found_in_an_ordinary_report() -> None:
    everything: dict[str, Any] = {
        "headcount": 7,
        "before": [{"viewers": 6}],
        "lesson_opened_at": BEGINS,
        "recorded": Recorded(7, Fraction(1)),
    }
    assert findings_in(seen(**everything)) == []
    assert tuple(LOOKS) == RULES == tuple(RULE_NAMES)


@pytest.mark.parametrize(
    ("values", "headcount", "over"),
    [
        ({"viewers": 100}, 100, None),
        ({"viewers": 101}, 100, {"viewers": 101}),
        ({"viewers": 101, "together": 102}, 100, {"viewers": 101, "together": 102}),
        ({"screenings": 101}, 100, None),  # no people
        ({"viewers": 1}, 0, {"viewers": 1}),
        ({"viewers": 101}, None, None),  # nobody knows how many the unit has
        ({"viewers": None, "how": "好"}, 100, None),
    ],
)
def test_more_people_than_the_unit_has(values: Any, headcount: int | None, over: Any) -> None:
    expected = [] if over is None else [Finding("over_headcount", over, {"headcount": headcount})]
    assert findings_in(seen(values, headcount=headcount)) == expected


@pytest.mark.parametrize(
    ("now", "before", "same"),
    [
        ({"viewers": 7, "screenings": 1}, [{"viewers": 7, "screenings": 1}], True),
        ({"viewers": 7, "how": "好"}, [{"viewers": 7, "how": "一般"}], True),
        ({"viewers": 7, "screenings": 0}, [{"viewers": 7, "screenings": 0}], True),
        ({"viewers": 7, "screenings": 1}, [{"viewers": 7, "screenings": 2}], False),
        ({"viewers": 7, "share": "12.5"}, [{"viewers": 7, "share": "12.6"}], False),
        ({"viewers": 0, "share": "0"}, [{"viewers": 0, "share": "0"}], False),
        ({"viewers": 7}, [{"viewers": 7, "screenings": 1}], False),
        ({"viewers": 7}, [{"viewers": 7}, {"viewers": 8}], False),  # only the last one counts
        ({"viewers": 0, "screenings": 0}, [{"viewers": 0, "screenings": 0}], False),
        ({"how": "好"}, [{"how": "好"}], False),
        ({"viewers": 7}, [], False),
    ],
)
def test_the_same_numbers_as_in_the_period_before(now: Any, before: Any, same: bool) -> None:
    numbers = {name: n for name, n in now.items() if name != "how"}
    assert findings_in(seen(now, before=before)) == ([Finding("same_as_last_period", numbers, {})] if same else [])


@pytest.mark.parametrize(("seconds_after", "minutes"), [(0, None), (1, None), (-1, 1), (-60, 1), (-61, 2), (-3600, 60)])
def test_sent_before_the_lesson_began(seconds_after: int, minutes: int | None) -> None:
    report = seen(lesson_opened_at=BEGINS - timedelta(seconds=seconds_after))
    expected = [] if minutes is None else [Finding("filed_before_lesson", {}, {"minutes": minutes})]
    assert findings_in(report) == expected


@pytest.mark.parametrize(
    ("viewers", "numbers"),
    [
        ([10, 20, 30, 40, 50], [10, 20, 30, 40, 50]),
        ([10, 20, 30, 40], None),
        ([5, 10, 20, 30, 40], None),
        ([10, 20, 30, 40, 45], None),
        ([10, 20, 0, 40, 50], None),  # nothing is no round number
        ([10, 20, -10, 40, 50], None),
        ([10, 20, None, 40, 50], None),
        ([7, 10, 20, 30, 40, 50], [10, 20, 30, 40, 50]),
        ([10, 20, 30, 40, 50, 60], None),  # was told a period ago
        ([10, 20, 30, 40, 50, 60, 70, 80, 90, 100], [60, 70, 80, 90, 100]),
    ],
)
def test_five_round_numbers_running(viewers: list[int], numbers: list[int] | None) -> None:
    *before, last = [{"viewers": n, "screenings": 1} for n in viewers]
    expected = [] if numbers is None else [Finding("five_round_numbers", {"viewers": numbers}, {})]
    assert findings_in(seen(last, before=before)) == expected


@pytest.mark.parametrize(
    ("reported", "recorded", "attributed", "far"),
    [
        (200, 100, 1, False),
        (201, 100, 1, True),
        (50, 100, 1, False),
        (49, 100, 1, True),
        (400, 100, Fraction(1, 2), False),  # 200 would be recorded if everybody were attributed
        (401, 100, Fraction(1, 2), True),
        (49, 100, Fraction(1, 2), True),
        (401, 100, Fraction(49, 100), False),  # too few are attributed to say anything
        (20, 0, 1, False),  # up to 20 more or fewer are near
        (21, 0, 1, True),
        (0, 20, 1, False),
        (0, 21, 1, True),
        (999, 0, None, False),  # nobody was recorded anywhere
    ],
)
def test_far_from_what_is_recorded(reported: int, recorded: int, attributed: Any, far: bool) -> None:
    share = None if attributed is None else Fraction(attributed)
    values = {"viewers": reported, "together": 10**6, "screenings": 10**6}  # neither of these is compared
    found = findings_in(seen(values, recorded=Recorded(recorded, share)))
    against = {"recorded": recorded, "attributed": float(attributed or 0)}
    assert found == ([Finding("far_from_recorded", {"viewers": reported}, against)] if far else [])


@pytest.mark.parametrize("pictures", [Pictures(), Pictures(1, 0), Pictures(0, 1)])
def test_a_picture_that_another_report_has(pictures: Pictures) -> None:
    expected = [Finding("picture_seen_before", {}, pictures._asdict())] if any(pictures) else []
    assert findings_in(seen(pictures=pictures)) == expected


@pytest.mark.parametrize(
    ("finding", "said"),
    [
        (Finding("over_headcount", {"viewers": 101}, {"headcount": 100}), "个人观看 101，超过单位人数 100，待核"),
        (
            Finding("same_as_last_period", {"viewers": 7, "screenings": 1}, {}),
            "各项数字与上一期完全相同：个人观看 7、场次 1，待核",
        ),
        (Finding("filed_before_lesson", {}, {"minutes": 35}), "在开课前 35 分钟报送，待核"),
        (
            Finding("five_round_numbers", {"viewers": [10, 20, 30, 40, 50]}, {}),
            "连续 5 期是 10 的整倍数：个人观看 10、20、30、40、50，待核",
        ),
        (
            Finding("far_from_recorded", {"viewers": 300}, {"recorded": 100, "attributed": 0.8125}),
            "上报 个人观看 300，系统记录 100 人（全活动归属率 81.2%），待核",
        ),
        (
            Finding("far_from_recorded", {"viewers": 300}, {"recorded": 100}),  # for those who may not see the rate
            "上报 个人观看 300，系统记录 100 人，待核",
        ),
        (
            Finding("picture_seen_before", {}, {"same": 2, "near": 1}),
            "有 2 张图片与别的报表相同，1 张相近，待核",
        ),
        (Finding("over_headcount", {"gone": 101}, {"headcount": 100}), "gone 101，超过单位人数 100，待核"),
    ],
)
def test_what_is_said_of_it_says_what_was_seen(finding: Finding, said: str) -> None:
    assert text(finding, TITLES) == said
