"""Moments and days as people read them on a page: 今天 18:00, 7月1日 18:00, 7月1日 周一. Pure."""

from dataclasses import dataclass
from datetime import date, datetime, timedelta, tzinfo

WEEKDAYS = "一二三四五六日"


@dataclass(frozen=True)
class Times:
    """Times in the words of the place: 今天, 明天, or the date."""

    zone: tzinfo
    now: datetime

    def day(self, at: datetime) -> date:
        return at.astimezone(self.zone).date()

    def clock(self, at: datetime, *, ends: bool = False) -> str:
        """The time of day. `ends`: midnight is shown as the end of the day before, 24:00."""
        clock = f"{at.astimezone(self.zone):%H:%M}"
        return "24:00" if ends and clock == "00:00" else clock

    def moment(self, at: datetime, *, ends: bool = False) -> str:
        local, clock = at.astimezone(self.zone), self.clock(at, ends=ends)
        if clock == "24:00":
            local -= timedelta(days=1)
        near = {0: "今天", 1: "明天", -1: "昨天"}.get((local.date() - self.day(self.now)).days)
        return f"{near or f'{local.month}月{local.day}日'} {clock}"


def day_text(day: date) -> str:
    return f"{day.month}月{day.day}日 周{WEEKDAYS[day.weekday()]}"
