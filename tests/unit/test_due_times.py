"""Periods of forms and their due times: working days with 调休, the deadline's minute, months, year ends, zones (FACTS A8)."""

from datetime import UTC, date, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
import yaml

from cli.campaign_file import CampaignFileError, load
from shared.contracts.campaign import CampaignDefinition
from shared.forms.applying import form_faults
from shared.forms.periods import Due, Period, due, periods
from shared.forms.working_days import NoWorkingDay, UnknownYear, WorkingDays
from tests.support.campaigns import campaign, campaign_content, unit
from tests.support.forms import form


def over(first: str, last: str, **changes: Any) -> CampaignDefinition:
    """A campaign with a lesson on its first and on its last day."""
    lessons = [{"date": day, "title": "课"} for day in dict.fromkeys([first, last])]
    return campaign(**{"lessons": lessons, "required_days": 1} | claim_late() | changes)


def claim_late() -> dict[str, Any]:
    return {"certificate": campaign_content()["certificate"] | {"claim_from": "2099-01-01T00:00:00+08:00"}}


def all_due(rules: CampaignDefinition) -> list[tuple[Period, Due]]:
    [only] = rules.forms
    return [(period, due(only, period, rules, WorkingDays.of(rules))) for period in periods(only, rules)]


def due_texts(rules: CampaignDefinition) -> list[str]:
    return [f"{one.due_at.astimezone(rules.zone):%Y-%m-%d %H:%M}" for _, one in all_due(rules)]


SAME_DAY = {"day": "same_day"}


@pytest.mark.parametrize(
    ("lesson", "expected"),
    [
        ("2024-07-01", "2024-07-02 18:00"),  # Monday
        ("2024-07-05", "2024-07-08 18:00"),  # Friday, Saturday and Sunday are due on Monday
        ("2024-07-06", "2024-07-08 18:00"),
        ("2024-07-07", "2024-07-08 18:00"),
        ("2022-02-04", "2022-02-07 18:00"),  # in the Spring Festival
        ("2022-01-30", "2022-02-07 18:00"),  # the last working day before it, a Sunday
        ("2022-01-29", "2022-01-30 18:00"),  # a 调休 Sunday is a working day
        ("2024-02-02", "2024-02-04 18:00"),  # Friday before a 调休 Sunday
        ("2024-12-31", "2025-01-02 18:00"),  # over the year's end
    ],
)
def test_a_lesson_is_due_at_the_close_of_the_next_working_day(lesson: str, expected: str) -> None:
    assert due_texts(over(lesson, lesson, forms=[form()])) == [expected]


@pytest.mark.parametrize(
    ("first", "roll", "expected"),
    [
        ("2024-05-01", "forward", "2024-05-27 18:00"),  # the 25th is a Saturday
        ("2024-05-01", "back", "2024-05-24 18:00"),
        ("2024-05-01", "none", "2024-05-25 18:00"),
        ("2024-08-01", "forward", "2024-08-26 18:00"),  # a Sunday
        ("2024-08-01", "back", "2024-08-23 18:00"),
        ("2020-01-01", "forward", "2020-02-03 18:00"),  # in the Spring Festival, which was prolonged
        ("2020-01-01", "back", "2020-01-23 18:00"),
        ("2024-06-01", "back", "2024-06-25 18:00"),  # a Tuesday
    ],
)
def test_a_25th_that_is_no_working_day_rolls_as_the_form_says(first: str, roll: str, expected: str) -> None:
    monthly = form(every="month", by_day=25, deadline=SAME_DAY | {"roll": roll})
    assert due_texts(over(first, f"{first[:8]}28", forms=[monthly])) == [expected]


@pytest.mark.parametrize(
    ("changes", "first", "last", "expected"),
    [
        ({"every": "day"}, "2024-06-29", "2024-07-01", ["2024-06-29", "2024-06-30", "2024-07-01"]),
        ({"every": "lesson"}, "2024-06-29", "2024-07-01", ["2024-06-29", "2024-07-01"]),
        ({"every": "week", "weekday": "friday"}, "2024-12-20", "2025-01-03", ["2024-W51", "2024-W52", "2025-W01"]),
        ({"every": "week", "weekday": "sunday"}, "2024-12-27", "2025-01-04", ["2024-W52"]),
        ({"every": "month", "by_day": 25}, "2024-11-25", "2025-01-24", ["2024-11", "2024-12"]),
        ({"every": "month", "by_day": 31}, "2024-01-31", "2024-04-30", ["2024-01", "2024-02", "2024-03", "2024-04"]),
        ({"every": "once", "by": "2024-07-01"}, "2024-06-29", "2024-06-30", ["once"]),
    ],
)
def test_a_period_belongs_to_the_campaign_if_its_day_does(
    changes: dict[str, Any], first: str, last: str, expected: list[str]
) -> None:
    rules = over(first, last, forms=[form(**changes)])
    assert [period.key for period in periods(rules.forms[0], rules)] == expected


@pytest.mark.parametrize(
    ("changes", "expected"),
    [
        ({"every": "lesson"}, "2024-07-06T19:30:00+08:00"),  # the first window
        ({"every": "day"}, "2024-07-06T00:00:00+08:00"),
        ({"every": "week", "weekday": "sunday"}, "2024-07-01T00:00:00+08:00"),
        ({"every": "month", "by_day": 10}, "2024-07-01T00:00:00+08:00"),
        ({"every": "once", "by": "2024-07-20"}, "2024-07-06T00:00:00+08:00"),
    ],
)
def test_a_period_opens_at_its_first_midnight_and_a_lessons_with_its_first_window(
    changes: dict[str, Any], expected: str
) -> None:
    rules = over("2024-07-06", "2024-07-14", forms=[form(**changes)])
    assert periods(rules.forms[0], rules)[0].opens_at == datetime.fromisoformat(expected)


def test_the_deadlines_instant_is_on_time_and_the_grace_after_it_and_no_more() -> None:
    rules = over("2024-07-01", "2024-07-01", forms=[form(deadline={"grace_minutes": 5, "lock_after_days": 2})])
    [(_, one)] = all_due(rules)
    assert one.due_at == datetime(2024, 7, 2, 10, tzinfo=UTC)
    assert one.is_on_time(one.due_at + timedelta(minutes=5))
    assert not one.is_on_time(one.due_at + timedelta(minutes=5, microseconds=1))
    assert one.locks_at == datetime(2024, 7, 4, 10, tzinfo=UTC)
    [(_, at_once)] = all_due(over("2024-07-01", "2024-07-01", forms=[form(deadline={"lock_after_days": 0})]))
    assert at_once.locks_at == at_once.on_time_until == at_once.due_at
    [(_, graced)] = all_due(
        over("2024-07-01", "2024-07-01", forms=[form(deadline={"lock_after_days": 0, "grace_minutes": 5})])
    )
    assert graced.locks_at == graced.on_time_until


def test_the_closing_time_is_the_forms_or_the_campaigns_and_midnight_is_the_end_of_the_day() -> None:
    assert due_texts(over("2024-07-01", "2024-07-01", forms=[form()], closing_time="17:30")) == ["2024-07-02 17:30"]
    midnight = form(deadline={"at": "24:00"})
    assert due_texts(over("2024-07-01", "2024-07-01", forms=[midnight])) == ["2024-07-03 00:00"]


def test_a_campaigns_own_days_win_over_the_national_calendar() -> None:
    named = over("2024-07-05", "2024-07-05", forms=[form()], non_working_days=["2024-07-08"])
    assert due_texts(named) == ["2024-07-09 18:00"]
    named = over("2024-07-05", "2024-07-05", forms=[form()], extra_working_days=["2024-07-07"])
    assert due_texts(named) == ["2024-07-07 18:00"]


def test_a_year_that_the_calendar_does_not_have_is_known_once_one_of_its_days_is_named() -> None:
    unknown = over("2026-12-31", "2026-12-31", forms=[form()])
    with pytest.raises(UnknownYear, match="no working days are known for 2027"):
        all_due(unknown)
    named = over("2026-12-31", "2026-12-31", forms=[form()], non_working_days=["2027-01-01"])
    assert due_texts(named) == ["2027-01-04 18:00"]  # the 1st is a Friday
    named = over("2026-12-31", "2026-12-31", forms=[form()], extra_working_days=["2027-01-02"])
    assert due_texts(named) == ["2027-01-01 18:00"]
    told = form_faults(unknown)
    assert [(fault.at, "2027" in fault.message, "non_working_days" in fault.message) for fault in told] == [
        ("forms[0].deadline", True, True)
    ]
    asks_nobody = form(deadline=SAME_DAY | {"roll": "none"})
    assert form_faults(over("2027-03-01", "2027-03-01", forms=[asks_nobody])) == []


@pytest.mark.parametrize(
    ("zone", "first", "deadline", "expected"),
    [
        ("Europe/Berlin", "2024-03-28", {}, "2024-03-29T17:00:00Z"),  # winter
        ("Europe/Berlin", "2024-03-29", {}, "2024-04-01T16:00:00Z"),  # summer time begins in between
        ("Europe/Berlin", "2024-03-31", SAME_DAY | {"roll": "none", "at": "02:30"}, "2024-03-31T01:30:00Z"),  # skipped
        ("Europe/Berlin", "2024-10-27", SAME_DAY | {"roll": "none", "at": "02:30"}, "2024-10-27T00:30:00Z"),  # twice
        ("Pacific/Auckland", "2024-07-05", {}, "2024-07-08T06:00:00Z"),
    ],
)
def test_due_times_are_those_of_the_campaigns_zone(
    zone: str, first: str, deadline: dict[str, Any], expected: str
) -> None:
    [(_, one)] = all_due(over(first, first, time_zone=zone, forms=[form(deadline=deadline)]))
    assert one.due_at == datetime.fromisoformat(expected)


def test_a_lock_is_at_the_same_local_time_though_the_clock_was_changed_in_between() -> None:
    rules = over("2024-03-28", "2024-03-28", time_zone="Europe/Berlin", forms=[form(deadline={"lock_after_days": 7})])
    [(_, one)] = all_due(rules)
    assert one.locks_at == datetime(2024, 4, 5, 16, tzinfo=UTC)


def test_two_months_without_a_working_day_are_a_slip() -> None:
    off = [str(date(2024, 7, 5) + timedelta(days=number)) for number in range(60)]  # to Monday, 2 September
    rules = over("2024-07-04", "2024-07-04", forms=[form()], non_working_days=off)
    with pytest.raises(NoWorkingDay):
        all_due(rules)
    assert [fault.at for fault in form_faults(rules)] == ["forms[0].deadline"]
    assert due_texts(over("2024-07-04", "2024-07-04", forms=[form()], non_working_days=off[:-1])) == [
        "2024-09-02 18:00"
    ]


# --- what only applying finds ---------------------------------------------------------------------------------------

UNITS = [unit("1", None, "city"), unit("11", "1", "county", kind="bureau", sector="police")]


@pytest.mark.parametrize(
    ("changes", "at", "remedy"),
    [
        ({"filled_by": {"units": ["1", "12"]}}, "forms[0].filled_by.units[1]", "没有单位 12；请核对 unit_code"),
        ({"filled_by": {"kinds": ["bureaux"]}}, "forms[0].filled_by.kinds[0]", "是否想写 bureau？"),
        ({"filled_by": {"sectors": ["school"]}}, "forms[0].filled_by.sectors[0]", "可用的有 police"),
        ({"filled_by": {"levels": ["city"], "kinds": ["bureau"]}}, "forms[0].filled_by", "没有一个单位符合"),
        ({"every": "month", "by_day": 25}, "forms[0].every", "没有一期"),
        ({"every": "once", "by": "2024-06-28"}, "forms[0].by", "早于活动开始的 2024-06-29"),
    ],
)
def test_a_form_that_nobody_would_ever_fill_in_is_told(changes: dict[str, Any], at: str, remedy: str) -> None:
    told = form_faults(campaign(units=UNITS, channels={}, forms=[form(**changes)]))
    assert [(fault.at, remedy in fault.message) for fault in told] == [(at, True)]


def test_a_form_for_the_first_day_is_in_time() -> None:
    once = form(every="once", by="2024-06-29", deadline=SAME_DAY)
    assert form_faults(campaign(forms=[once])) == []


def test_a_file_is_refused_with_file_and_line_of_the_form(tmp_path: Path) -> None:
    content = campaign_content(forms=[form(filled_by={"units": ["112"]})])
    path = tmp_path / "c.yaml"
    path.write_text(yaml.safe_dump(content, allow_unicode=True))
    line = 1 + next(n for n, text in enumerate(path.read_text().splitlines()) if "- '112'" in text)
    with pytest.raises(CampaignFileError) as refused:
        load(path)
    assert str(refused.value) == f"c.yaml 第 {line} 行 forms[0].filled_by.units[0]：没有单位 112；请核对 unit_code"
