"""Which days are working days: the national calendar with its 调休, and what a campaign says beside it (FACTS A8)."""

from collections.abc import Iterable
from datetime import date, timedelta
from functools import lru_cache
from typing import Self

import chinese_calendar

from shared.contracts.campaign import CampaignRules
from shared.contracts.campaign_forms import Roll

SEARCH_MAX_DAYS = 60  # the longest holidays of schools; a longer gap is a slip in the campaign's lists
ONE_DAY = timedelta(days=1)


class UnknownYear(Exception):
    """Neither the national calendar nor the campaign knows the working days of this year."""

    def __init__(self, year: int) -> None:
        super().__init__(f"no working days are known for {year}")
        self.year = year


class NoWorkingDay(Exception):
    """No working day within `SEARCH_MAX_DAYS`."""


class WorkingDays:
    """The campaign's own days win over the national calendar. Of a year that this calendar does not have, and of which the
    campaign names a day, the working days are Monday to Friday but for the days that are named."""

    def __init__(self, non_working: Iterable[date] = (), extra: Iterable[date] = ()) -> None:
        self._named = dict.fromkeys(non_working, False) | dict.fromkeys(extra, True)
        self._years = {day.year for day in self._named}

    @classmethod
    def of(cls, rules: CampaignRules) -> Self:
        return cls(rules.non_working_days, rules.extra_working_days)

    def is_working(self, day: date) -> bool:
        """Raises `UnknownYear`."""
        if day in self._named:
            return self._named[day]
        if (national := _national(day)) is not None:
            return national
        if day.year not in self._years:
            raise UnknownYear(day.year)
        return day.weekday() < 5

    def after(self, day: date) -> date:
        """The first working day after `day`. Raises `UnknownYear`, `NoWorkingDay`."""
        return self._first(day + ONE_DAY, ONE_DAY)

    def rolled(self, day: date, roll: Roll) -> date:
        """The day itself where it is a working day or `roll` is none, else the next or the last one before. Raises as `after`."""
        match roll:
            case "none":
                return day
            case "forward":
                return self._first(day, ONE_DAY)
            case "back":
                return self._first(day, -ONE_DAY)

    def _first(self, day: date, step: timedelta) -> date:
        for number in range(SEARCH_MAX_DAYS):
            if self.is_working(day + number * step):
                return day + number * step
        raise NoWorkingDay


@lru_cache(maxsize=4096)  # eleven years; the library looks through all of its holidays at each call
def _national(day: date) -> bool | None:
    """Whether it is a working day by the national calendar, None for a year that the library does not have."""
    try:
        return bool(chinese_calendar.is_workday(day))
    except NotImplementedError:
        return None
