"""What checkin decides, without a database or a clock: which lesson an event belongs to, and what became of it.

A viewer's lessons are bits: bit i is lesson i of the campaign (`LESSONS_MAX` of them in a bigint). Objects that are made for
every event are msgspec structs, which cost a quarter of a dataclass or named tuple.
"""

import math
import re
from bisect import bisect_right
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import date, datetime, timedelta
from enum import StrEnum
from functools import lru_cache
from typing import Any, Literal, NamedTuple

import msgspec

from shared.contracts.base import Mode
from shared.contracts.campaign import CampaignDefinition, CampaignRules

IN_FUTURE_TOLERANCE_S = 60
SETS_KEPT_MAX = 1_000

CHECKED_IN = "viewer.checked_in"
ENROLLED = "viewer.enrolled"
LIVE_ROOM_ACTIONS = {"quiz.answered": "quiz_answered", "prize.won": "prize_won", "account.followed": "account_followed"}
TYPES = frozenset({CHECKED_IN, ENROLLED, *LIVE_ROOM_ACTIONS})


class Verdict(StrEnum):
    RECORDED = "recorded"
    STORED = "stored"
    DUPLICATE = "duplicate"
    REJECTED = "rejected"


class Reason(StrEnum):
    """Why an event was not counted. The first six refuse it, in this precedence (DESIGN §5.1)."""

    MALFORMED = "malformed"
    UNKNOWN_TYPE = "unknown_type"
    UNKNOWN_CAMPAIGN = "unknown_campaign"
    IN_FUTURE = "in_future"
    OUTSIDE_WINDOW = "outside_window"
    NOT_OF_PLATFORM = "not_of_platform"
    REPLAY_NOT_CREDITED = "replay_not_credited"
    LATE = "late"
    SUPERSEDED = "superseded"
    NO_GUARDIAN_CONSENT = "no_guardian_consent"  # recorded, without name and phone: only in counts


class Result(msgspec.Struct, frozen=True, gc=False):
    """What became of one event. Senders get their results in the order in which they sent the events.

    `field` is set only where the event is malformed: it names the field that makes it so, or is null where none does. `dropped`
    is set only where a minor's enrolment gave name or phone without a guardian's consent: they are not kept, the enrolment is.
    """

    event_id: str | None
    verdict: Verdict
    reason: Reason | None = None
    field: str | msgspec.UnsetType | None = msgspec.UNSET
    dropped: tuple[str, ...] | msgspec.UnsetType = msgspec.UNSET


class Slot(msgspec.Struct, frozen=True):
    """The lesson and mode in whose window a time falls."""

    lesson: int
    mode: Mode
    sealed_at_s: float


class Course:
    """A campaign's timetable and credit policy, prepared once per revision for the hot path. A campaign without a course has no
    lessons, and nobody reaches its `required_days`, which are 0."""

    def __init__(self, rules: CampaignRules) -> None:
        self.rules = rules
        self.credit = frozenset(rules.credit)
        self._credited_live = -1 if "live" in self.credit else 0  # masks: all bits or none
        self._credited_replay = -1 if "replay" in self.credit else 0
        self.required_days = rules.required_days or 0
        self.lesson_dates: list[date] = [lesson.date for lesson in rules.lessons]
        self.dates = lru_cache(SETS_KEPT_MAX)(self._dates)  # bits → dates; most who complete have the same lessons
        # As seconds: comparing aware datetimes of two zones costs six times as much.
        self._opens = [window.opens_at.timestamp() for window in rules.timeline]
        self._closes = [window.closes_at.timestamp() for window in rules.timeline]
        self._slots = [
            Slot(window.lesson_index, window.mode, rules.sealed_at(window.lesson_index).timestamp())
            for window in rules.timeline
        ]

        self._hours_of = {
            platform.source: [(opens.timestamp(), closes.timestamp()) for opens, closes in rules.hours_of(platform)]
            for platform in rules.platforms
        }

    def can_come_from(self, source: str, occurred_at_s: float) -> bool:
        """Whether this source can have sent an event of this time, which lies in a window. A source that is not among the
        campaign's platforms (the bus, an import, a platform of another campaign) may send at any time."""
        hours = self._hours_of.get(source)
        if hours is None:
            return True
        position = bisect_right(hours, (occurred_at_s, math.inf)) - 1
        return position >= 0 and occurred_at_s < hours[position][1]

    def locate(self, occurred_at_s: float) -> Slot | None:
        """The lesson and mode of a time (seconds since 1970), None outside all windows, which are half-open and disjoint (FACTS
        A2)."""
        position = bisect_right(self._opens, occurred_at_s) - 1
        if position < 0 or occurred_at_s >= self._closes[position]:
            return None
        return self._slots[position]

    def uncredited(self, mode: Mode, late: bool) -> Reason | None:
        """Why a check-in does not count towards the certificate; None where it does."""
        if late:
            return Reason.LATE
        return None if mode in self.credit else Reason.REPLAY_NOT_CREDITED

    def earned(self, lessons: "Lessons", credit: Iterable[str] | None = None) -> int:
        """The lessons that check-ins earned, as bits, under this campaign's policy or another."""
        modes = self.credit if credit is None else credit
        return (lessons.live if "live" in modes else 0) | (lessons.replay if "replay" in modes else 0)

    def credited(self, lessons: "Lessons") -> int:
        """The set of credited lessons as bits: earned or made good. Its size is the credited days."""
        return self.credited_of(lessons.live, lessons.replay, lessons.made_good)

    def credited_of(self, live: int, replay: int, made_good: int) -> int:
        """As `credited`, for three bit sets."""
        return live & self._credited_live | replay & self._credited_replay | made_good

    def reaches(self, before: "Lessons", credited: int) -> bool:
        """Whether the required days are reached now and were not before."""
        return self.credited(before).bit_count() < self.required_days <= credited.bit_count()

    def is_completed_with(self, credited_days: int) -> bool:
        return bool(self.lesson_dates) and credited_days >= self.required_days

    def _dates(self, bits: int) -> Sequence[date]:
        return tuple(self.lesson_dates[index] for index in ones(bits))


@dataclass(frozen=True)
class Campaign:
    """One revision of one campaign."""

    no: int
    id: str
    revision: int
    definition: CampaignDefinition
    course: Course
    lesson_texts: list[str]  # lesson dates as they stand in events
    channels: dict[str, str]
    minors: frozenset[str] = frozenset()  # groups of children under 14
    public_keys: Mapping[str, str | None] = field(default_factory=dict)  # recipient → key, None: destroyed

    @classmethod
    def of(cls, no: int, revision: int, definition: CampaignDefinition) -> "Campaign":
        course = Course(definition)
        texts = [day.isoformat() for day in course.lesson_dates]
        minors = frozenset(group.code for group in definition.groups if group.minors)
        return cls(no, definition.campaign_id, revision, definition, course, texts, dict(definition.channels), minors)


class Lessons(msgspec.Struct, gc=False):
    """One viewer's lessons as bit sets. On time and late are disjoint: an identity is one or the other, for ever.

    `replay_first`: lessons whose first check-in was a replay. `first`: the very first check-in, lesson × 2 + (1 if replay).
    """

    live: int = 0
    replay: int = 0
    late_live: int = 0
    late_replay: int = 0
    made_good: int = 0
    replay_first: int = 0
    first: int | None = None

    @property
    def any_live(self) -> int:
        return self.live | self.late_live

    @property
    def any_replay(self) -> int:
        return self.replay | self.late_replay

    @property
    def any(self) -> int:
        return self.live | self.late_live | self.replay | self.late_replay

    def take(self, lesson: int, mode: Mode, late: bool) -> bool:
        """Adds a check-in; False where (lesson, mode) was there already."""
        bit = 1 << lesson
        if (self.any_live if mode == "live" else self.any_replay) & bit:
            return False
        if mode == "replay" and not self.any & bit:
            self.replay_first |= bit
        if self.first is None:
            self.first = first_code(lesson, mode)
        match mode, late:
            case "live", False:
                self.live |= bit
            case "live", True:
                self.late_live |= bit
            case _, False:
                self.replay |= bit
            case _:
                self.late_replay |= bit
        return True

    def has(self, lesson: int, mode: Mode) -> bool:
        return bool((self.any_live if mode == "live" else self.any_replay) >> lesson & 1)

    def flags(self, lesson: int, mode: Mode, before: "Lessons") -> tuple[bool, bool]:
        """Flags of a check-in that these lessons add to `before`: whether it is the first of its lesson, the first of the
        campaign."""
        replay_first = bool(self.replay_first >> lesson & 1)
        first_for_lesson = not before.any >> lesson & 1 and replay_first == (mode == "replay")
        return first_for_lesson, before.first is None and self.first == first_code(lesson, mode)

    def checkins(self) -> Iterator["Counted"]:
        """Yields every check-in with the flags it was published with, and every lesson made good."""
        for mode, on_time, late in (("live", self.live, self.late_live), ("replay", self.replay, self.late_replay)):
            for lesson in ones(on_time | late):
                replay_first = bool(self.replay_first >> lesson & 1)
                yield Counted(
                    lesson,
                    mode,  # type: ignore[arg-type]
                    late=bool(late >> lesson & 1),
                    first_for_lesson=replay_first == (mode == "replay"),
                    first_for_campaign=self.first == first_code(lesson, mode),
                )
        for lesson in ones(self.made_good):
            yield Counted(lesson, "made_good", late=False, first_for_lesson=False, first_for_campaign=False)


class Counted(NamedTuple):
    """How one check-in (or lesson made good) stands in the totals."""

    lesson: int
    mode: Literal["live", "replay", "made_good"]
    late: bool
    first_for_lesson: bool
    first_for_campaign: bool


def first_code(lesson: int, mode: str) -> int:
    return lesson * 2 + (mode == "replay")


def ones(bits: int) -> Iterator[int]:
    """Positions of the set bits, ascending."""
    while bits:
        lowest = bits & -bits
        yield lowest.bit_length() - 1
        bits ^= lowest


class LessonState(StrEnum):
    """What a viewer is told about one lesson."""

    CREDITED = "credited"
    MADE_GOOD = "made_good"
    NOT_CREDITED = "not_credited"
    UPCOMING = "upcoming"
    OPEN = "open"
    NOT_SEEN = "not_seen"  # windows are over, but an export file may still bring a check-in: the lesson is not sealed
    MISSED = "missed"


@dataclass(frozen=True, slots=True)
class LessonView:
    """One lesson of one viewer: its state, the reason for it, and until when it can still be earned.

    `final`: nothing that the platform still sends changes it. Until a lesson is sealed a check-in may be on its way.
    """

    lesson: int
    state: LessonState
    reason: Reason | None
    earn_until: datetime | None
    final: bool


def lesson_view(course: Course, lessons: Lessons, lesson: int, now: datetime) -> LessonView:
    """Says why a lesson counts, or not. `earn_until` is set while a check-in from now on would still be credited."""
    bit = 1 << lesson
    if course.earned(lessons) & bit:
        return LessonView(lesson, LessonState.CREDITED, None, None, True)
    if lessons.made_good & bit:
        return LessonView(lesson, LessonState.MADE_GOOD, None, None, True)
    windows = [window for window in course.rules.opens_closes(lesson) if window.mode in course.credit]
    ahead = [window for window in windows if now < window.closes_at]
    earn_until = max((window.closes_at for window in ahead), default=None)
    sealed = now >= course.rules.sealed_at(lesson)
    if lessons.any & bit:
        late = bool((lessons.late_live | lessons.late_replay) & bit)
        reason = Reason.LATE if late else Reason.REPLAY_NOT_CREDITED
        return LessonView(lesson, LessonState.NOT_CREDITED, reason, earn_until, sealed)
    if any(window.opens_at <= now for window in ahead):
        return LessonView(lesson, LessonState.OPEN, None, earn_until, False)
    if ahead:
        return LessonView(lesson, LessonState.UPCOMING, None, earn_until, False)
    return LessonView(lesson, LessonState.MISSED if sealed else LessonState.NOT_SEEN, None, None, sealed)


CURRENT_AFTER_END = timedelta(days=30)  # how long boards show the last lesson after it is sealed


def current_lesson(rules: CampaignRules, now: datetime) -> int | None:
    """The lesson whose first window opened last: at 09:00 on D+1 it is still lesson D. None before and long after the course."""
    opened = [window.lesson_index for window in rules.timeline if window.opens_at <= now]
    if not opened or now >= rules.sealed_at(len(rules.lessons) - 1) + CURRENT_AFTER_END:
        return None
    return max(opened)


def open_window(rules: CampaignRules, now: datetime) -> tuple[int, Mode] | None:
    """The lesson and mode whose window is open; windows are disjoint."""
    return next(
        ((window.lesson_index, window.mode) for window in rules.timeline if window.opens_at <= now < window.closes_at),
        None,
    )


# ---- what a unit sees of its campaign --------------------------------------------------------------------------------


def subtree_of_definition(definition: str, unit_code: str) -> bytes | None:
    """The definition (JSON) with the unit's subtree only, and the unit as root; None where it has no such unit."""
    content: dict[str, Any] = msgspec.json.decode(definition)
    parents: dict[str, str | None] = {unit["unit_code"]: unit["parent_code"] for unit in content["units"]}
    if unit_code not in parents:
        return None

    def is_within(code: str | None) -> bool:
        while code is not None and code != unit_code:
            code = parents[code]
        return code is not None

    content["units"] = [
        unit | {"parent_code": None} if unit["unit_code"] == unit_code else unit
        for unit in content["units"]
        if is_within(unit["unit_code"])
    ]
    content["channels"] = {channel: code for channel, code in content["channels"].items() if is_within(code)}
    return msgspec.json.encode(content | _forms_within(content, is_within))


def _forms_within(content: dict[str, Any], is_within: Callable[[str], bool]) -> dict[str, Any]:
    """The forms without the units outside of the subtree. Forms that only such units fill in are left out, and so are the
    indicators that use these forms."""
    if "forms" not in content:
        return {}
    forms: list[dict[str, Any]] = []
    gone: list[str] = []
    for form in content["forms"]:
        filled_by = {
            key: [code for code in listed if key != "units" or is_within(code)]
            for key, listed in form["filled_by"].items()
        }
        if any(filled_by.values()):
            forms.append(form | {"filled_by": filled_by})
        else:
            gone.append(form["id"])
    needed = [re.compile(rf"\b{form_id}\.") for form_id in gone]
    indicators = [
        indicator
        for indicator in content.get("indicators", ())
        if not any(name.search(indicator["formula"]) for name in needed)
    ]
    return {"forms": forms, "indicators": indicators}
