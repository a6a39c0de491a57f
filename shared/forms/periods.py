"""The periods of a form, and when each opens, is due, and locks (DESIGN §5.2, FACTS A8). Times are UTC; days are local."""

import calendar
from collections.abc import Iterator
from datetime import date, datetime, timedelta
from typing import NamedTuple, cast

from shared.contracts.campaign import CampaignRules
from shared.contracts.campaign_forms import WEEKDAYS, Form
from shared.forms.working_days import WorkingDays

ONCE = "once"


class Period(NamedTuple):
    """One period of a form. `key`: `2024-06-29`, `2024-W27`, `2024-07` or `once`; `day`: that from which the due time counts."""

    key: str
    day: date
    opens_at: datetime


class Due(NamedTuple):
    """When a period's report is due. What arrives until `on_time_until` (grace included, that instant too) is on time; from
    `locks_at` on nothing is taken."""

    due_at: datetime
    on_time_until: datetime
    locks_at: datetime

    def is_on_time(self, submitted_at: datetime) -> bool:
        return submitted_at <= self.on_time_until


def periods(form: Form, rules: CampaignRules) -> list[Period]:
    """All periods of the form by time. A week or month belongs to the campaign if its day does."""
    match form.every:
        case "lesson":
            return [Period(str(one.date), one.date, rules.opened_at(n)) for n, one in enumerate(rules.lessons)]
        case "day":
            return [Period(str(day), day, rules.at(day, "00:00")) for day in _days(rules)]
        case "week":
            return [_week(day, rules) for day in _days(rules) if WEEKDAYS[day.weekday()] == form.weekday]
        case "month":
            by_day = cast(int, form.by_day)  # Form has it where it needs it; so with `by`
            return [_month(day, rules) for day in _days(rules) if day.day == min(by_day, _length_of_month(day))]
        case "once":
            return [Period(ONCE, cast(date, form.by), rules.at(rules.first_day, "00:00"))]


def due(form: Form, period: Period, rules: CampaignRules, working_days: WorkingDays) -> Due:
    """When the period's report is due. Raises `UnknownYear`, `NoWorkingDay`.

    A closing time that the change to summer time skips is as much later as the clock was put forward.
    """
    deadline, day = form.deadline, period.day
    same_day = deadline.day == "same_day"
    day = working_days.rolled(day, deadline.roll) if same_day else working_days.after(day)
    clock = deadline.at or rules.closing_time
    due_at = rules.at(day, clock)
    on_time_until = due_at + timedelta(minutes=deadline.grace_minutes)
    locks_at = rules.at(day + timedelta(days=deadline.lock_after_days), clock)
    return Due(due_at, on_time_until, max(locks_at, on_time_until))


def _days(rules: CampaignRules) -> Iterator[date]:
    count = (rules.last_day - rules.first_day).days + 1
    return (rules.first_day + timedelta(days=number) for number in range(count))


def _week(day: date, rules: CampaignRules) -> Period:
    year, week, weekday = day.isocalendar()
    monday = day - timedelta(days=weekday - 1)
    return Period(f"{year}-W{week:02}", day, rules.at(monday, "00:00"))


def _month(day: date, rules: CampaignRules) -> Period:
    return Period(f"{day:%Y-%m}", day, rules.at(day.replace(day=1), "00:00"))


def _length_of_month(day: date) -> int:
    return calendar.monthrange(day.year, day.month)[1]
