"""Reads the campaign file a second time, as plain YAML and CSV, without the code that is being checked."""

import csv
from dataclasses import dataclass
from datetime import UTC, date, datetime, time, timedelta
from pathlib import Path
from typing import Any
from zoneinfo import ZoneInfo

import yaml

UNASSIGNED = "unassigned"


@dataclass(frozen=True)
class Window:
    """Half-open, in UTC."""

    opens: datetime
    closes: datetime
    lesson: int
    mode: str


@dataclass(frozen=True)
class Unit:
    code: str
    parent: str | None
    level: str
    residents: int | None
    kind: str
    joins_on: date | None


@dataclass(frozen=True)
class Form:
    """What units of these kinds report: for every lesson, or once by a date."""

    id: str
    kinds: list[str]
    by: date | None  # None: for every lesson
    same_day: bool  # due on that day, otherwise on the next working day
    fields: list[dict[str, Any]]
    checks: list[dict[str, Any]]


@dataclass(frozen=True)
class Campaign:
    id: str
    title: str
    zone: ZoneInfo
    days: list[date]
    windows: list[Window]
    seal_after: timedelta
    credit: list[str]
    required_days: int
    groups: dict[str, str]  # code → name
    units: dict[str, Unit]
    channels: dict[str, str]
    platforms: dict[str, list[str]]  # source → modes
    claim_from: datetime
    template: str
    send_from: str
    send_to: str
    closing_time: str
    forms: list[Form]

    def locate(self, at: datetime) -> Window | None:
        moment = at.astimezone(UTC)
        for window in self.windows:
            if window.opens <= moment < window.closes:
                return window
        return None

    def can_send(self, source: str, window: Window) -> bool:
        """Whether this source broadcasts the mode of this window. A source that is no platform (the bus, a file) has both."""
        return window.mode in self.platforms.get(source, [window.mode])

    def sealed_at(self, lesson: int) -> datetime:
        return max(window.closes for window in self.windows if window.lesson == lesson) + self.seal_after

    def at(self, day: date, clock: str) -> datetime:
        if clock == "24:00":
            day, clock = day + timedelta(days=1), "00:00"
        return datetime.combine(day, time.fromisoformat(clock), self.zone)

    def up_to(self, code: str, levels: tuple[str, ...]) -> str:
        """The nearest unit, itself included, at one of `levels`; `unassigned` for a code the tree does not have."""
        if code not in self.units:
            return UNASSIGNED
        while self.units[code].level not in levels:
            parent = self.units[code].parent
            if parent is None:
                break
            code = parent
        return code

    def working_day(self, day: date) -> date:
        """The day itself or the next one that is no Saturday or Sunday: no holiday falls into these weeks (FACTS A8)."""
        while day.weekday() >= 5:
            day += timedelta(days=1)
        return day

    def county(self, code: str) -> str:
        return self.up_to(code, ("county", "city", "province"))

    def city(self, code: str) -> str:
        return self.up_to(code, ("city", "province"))

    def below(self, root: str) -> set[str]:
        """A unit and everything under it."""
        return {code for code in self.units if root in self.path(code)}

    def path(self, code: str) -> list[str]:
        """A code and every unit above it."""
        ancestors = [code]
        while code in self.units and (parent := self.units[code].parent):
            ancestors.append(parent)
            code = parent
        return ancestors


def read(path: Path) -> Campaign:
    content = yaml.safe_load(path.read_text(encoding="utf-8"))
    zone = ZoneInfo(content["time_zone"])
    days = [date.fromisoformat(str(lesson["date"])) for lesson in content["lessons"]]
    if any("windows" in platform for platform in content["platforms"]):
        raise ValueError("this reader knows no platform with hours of its own")
    message = next(rule for rule in content["messages"] if rule["event"] == "certificate_ready")
    campaign = Campaign(
        id=content["campaign_id"],
        title=content["title"],
        zone=zone,
        days=days,
        windows=[],
        seal_after=timedelta(hours=content["seal_after_hours"]),
        credit=list(content["credit"]),
        required_days=content["required_days"],
        groups={group["code"]: group["name"] for group in content["groups"]},
        units=_units(path.parent / content["units_file"]),
        channels={row["channel"]: row["unit_code"] for row in _rows(path.parent / content["channels_file"])},
        platforms={platform["source"]: platform.get("modes", ["live", "replay"]) for platform in content["platforms"]},
        claim_from=datetime.fromisoformat(content["certificate"]["claim_from"]),
        template=message["template"],
        send_from=message["send_window"]["from"],
        send_to=message["send_window"]["to"],
        closing_time=content["closing_time"],
        forms=[_form(form) for form in content["forms"]],
    )
    for lesson, day in enumerate(days):
        for mode in ("live", "replay"):
            for window in content["windows"][mode]:
                on = day + timedelta(days=window.get("day", 0))
                opens, closes = campaign.at(on, window["from"]), campaign.at(on, window["to"])
                campaign.windows.append(Window(opens.astimezone(UTC), closes.astimezone(UTC), lesson, mode))
    return campaign


def _units(path: Path) -> dict[str, Unit]:
    return {
        row["unit_code"]: Unit(
            row["unit_code"],
            row["parent_code"] or None,
            row["level"],
            int(row["residents"]) if row["residents"] else None,
            row["kind"],
            date.fromisoformat(row["joins_on"]) if row["joins_on"] else None,
        )
        for row in _rows(path)
    }


def _form(content: dict[str, Any]) -> Form:
    if content["every"] not in ("lesson", "once") or content["filled_by"].keys() != {"kinds"}:
        raise ValueError("this reader knows forms of lessons and of once, filled in by kinds of units")
    return Form(
        content["id"],
        content["filled_by"]["kinds"],
        date.fromisoformat(content["by"]) if content["every"] == "once" else None,
        content["deadline"]["day"] == "same_day",
        content["fields"],
        content.get("checks", []),
    )


def _rows(path: Path) -> list[dict[str, str]]:
    with path.open(encoding="utf-8-sig", newline="") as file:
        return list(csv.DictReader(file))
