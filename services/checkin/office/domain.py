"""Where a lesson stands, and whom a lesson is made good for. Pure."""

import hashlib
import json
import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import date, datetime
from enum import StrEnum
from typing import Any, NamedTuple

from shared.contracts.base import ID_PATTERN
from shared.contracts.campaign import CampaignRules

ACCOUNTS_MAX = 10_000  # of one list
MATCHED_MAX = 100_000  # whom one decision reaches: the decision keeps their accounts
REASON_MIN_CHARS, REASON_MAX_CHARS = 4, 500

_SEPARATORS = re.compile(r"[\s,;，；、]+")
_ACCOUNT = re.compile(ID_PATTERN)
_ACCOUNT_TITLE = re.compile(
    r".*账号.*|(?:用户|观众)\s*ID|快手号|抖音号|uid|(?:viewer|user)[_ ]?id|account", re.IGNORECASE
)


# ---- where a lesson stands -------------------------------------------------------------------------------------------


class Stage(StrEnum):
    UPCOMING = "upcoming"
    OPEN = "open"  # a live window is open
    REPLAY = "replay"  # the live windows are over, a replay window is open or comes
    WAITING = "waiting"  # no window comes any more, and the platform's list may still bring check-ins
    SEALED = "sealed"


def stage(rules: CampaignRules, lesson: int, now: datetime) -> Stage:
    """Between two windows of the same lesson the stage is that of the next one."""
    windows = rules.opens_closes(lesson)
    if now < windows[0].opens_at:
        return Stage.UPCOMING
    ahead = next((window for window in windows if now < window.closes_at), None)
    if ahead is not None:
        return Stage.OPEN if ahead.mode == "live" else Stage.REPLAY
    return Stage.SEALED if now >= rules.sealed_at(lesson) else Stage.WAITING


class LessonFigures(NamedTuple):
    """Check-ins of one lesson (人次). `late` are in neither `live` nor `replay`."""

    live: int = 0
    replay: int = 0
    late: int = 0
    made_good: int = 0

    def uncredited(self, credit: Iterable[str]) -> int:
        modes = {"live": self.live, "replay": self.replay}
        return self.late + sum(number for mode, number in modes.items() if mode not in credit)


class ViewerFigures(NamedTuple):
    known: int
    unassigned: int
    credited: int  # with one credited day and more
    completed: int


# ---- accounts as people hand them in ---------------------------------------------------------------------------------


class Accounts(NamedTuple):
    """A list of accounts: each once and sorted; and what cannot be an account, as it was typed."""

    good: tuple[str, ...]
    malformed: tuple[str, ...]

    @classmethod
    def of(cls, typed: Iterable[str]) -> "Accounts":
        entries = {entry for entry in (text.strip() for text in typed) if entry}
        good = sorted(entry for entry in entries if _ACCOUNT.fullmatch(entry))
        return cls(tuple(good), tuple(sorted(entries - set(good))))


def split(pasted: str) -> list[str]:
    """Accounts pasted from a sheet or a message: one a line, or between commas, blanks and tabs."""
    return [entry for entry in _SEPARATORS.split(pasted.replace("\0", "")) if entry]


def account_column(header: Sequence[str]) -> int | None:
    """The place of the column that has the accounts, by its title; None where no title says so and there are several columns."""
    named = next((place for place, title in enumerate(header) if _ACCOUNT_TITLE.fullmatch(title.strip())), None)
    return 0 if named is None and len(header) == 1 else named


def is_account_title(title: str) -> bool:
    return bool(_ACCOUNT_TITLE.fullmatch(title.strip()))


# ---- whom a lesson is made good for ----------------------------------------------------------------------------------


@dataclass(frozen=True)
class Scope:
    """Those hit by an outage. Whatever is given must hold together; with nothing given it is nobody.

    `accounts`: a list, sorted. `unit`: enrolled in this unit or below it. `from_at`, `until`: with a check-in of that time that
    was refused or not credited (`until` itself not included). `days`: checked in on all these lessons, in whatever mode.
    """

    accounts: tuple[str, ...] | None = None
    unit: str | None = None
    from_at: datetime | None = None
    until: datetime | None = None
    days: tuple[date, ...] = ()

    @property
    def is_nobody(self) -> bool:
        return self.accounts is None and self.unit is None and self.from_at is None and not self.days

    def told(self) -> dict[str, Any]:
        """JSON-ready, without the accounts themselves: what the record says of how the viewers were chosen."""
        return {
            "listed": None if self.accounts is None else len(self.accounts),
            "unit": self.unit,
            "from": None if self.from_at is None else self.from_at.isoformat(),
            "until": None if self.until is None else self.until.isoformat(),
            "days": [day.isoformat() for day in self.days],
        }


class Matched(NamedTuple):
    """A viewer whom the scope reaches. `credited`: has the lesson already, by check-in or made good."""

    viewer_id: str
    credited: bool


@dataclass(frozen=True)
class Preview:
    """Whom a decision would reach, as things stand. `unmatched`: listed accounts that it does not reach."""

    lesson_date: date
    reason: str
    scope: Scope
    matched: list[Matched]

    @property
    def already(self) -> list[str]:
        return [viewer.viewer_id for viewer in self.matched if viewer.credited]

    @property
    def to_grant(self) -> list[str]:
        return [viewer.viewer_id for viewer in self.matched if not viewer.credited]

    @property
    def unmatched(self) -> list[str]:
        reached = {viewer.viewer_id for viewer in self.matched}
        return [account for account in self.scope.accounts or () if account not in reached]

    @property
    def digest(self) -> str:
        """Changes with anything that the preview shows: with whom it reaches, and with who has the lesson already."""
        shown = [
            self.lesson_date.isoformat(),
            self.reason,
            self.scope.told(),
            self.scope.accounts,
            self.already,
            self.to_grant,
        ]
        return hashlib.sha256(json.dumps(shown).encode()).hexdigest()


# ---- lessons made good, as the record has them -----------------------------------------------------------------------


class Decision(NamedTuple):
    """A decision to make a lesson good. `told`: how the viewers were chosen (JSON); `listed`: how many accounts it names."""

    make_good_id: str
    lesson_date: date
    reason: str
    actor: str
    decided_at: datetime
    granted: int
    listed: int | None
    checked_in_on: tuple[date, ...]
    scope: dict[str, Any] | None


def reaches(decision: Decision, lesson_dates: Sequence[date], lessons: int) -> bool:
    """Whether the decision, which names the viewer or has no list, reaches who checked in on these lessons (bits)."""
    checked_in = {day for place, day in enumerate(lesson_dates) if lessons >> place & 1}
    return set(decision.checked_in_on) <= checked_in


# ---- who opened a viewer's page --------------------------------------------------------------------------------------


class LinkGiven(NamedTuple):
    """Somebody of the office was given the link to a viewer's own page."""

    actor: str
    reason: str
    given_at: datetime
