"""What a campaign definition is made of: its kinds of values, its parts, and the times that follow from them.

Each part refuses what is wrong inside it; what must hold between parts is in campaign_checks.py.
"""

import re
from datetime import UTC, date, datetime, time, timedelta
from functools import cached_property
from typing import Annotated, Any, Literal, NamedTuple, Self
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

from pydantic import AfterValidator, AwareDatetime, BaseModel, ConfigDict, Field, StringConstraints, model_validator

from shared.contracts.base import UNASSIGNED, Id, Mode

LESSONS_MAX = 62  # a viewer's lessons are the bits of a bigint; the sign bit and one spare stay unused
GROUPS_MAX = 50
WINDOWS_PER_MODE_MAX = 8
PLATFORMS_MAX = 20
LIVE_GRACE_MAX_S = 3600
CAMPAIGN_MAX_DAYS = 1_100  # three years
COURSE_KEYS = ("lessons", "windows", "credit", "required_days", "certificate")
SEAL_AFTER_MAX_HOURS = 24 * 30
RETAIN_DAYS, RETAIN_MIN_DAYS, RETAIN_MAX_DAYS = 180, 30, 1095

CONTROL_CHARACTER = re.compile(r"[\x00-\x1f\x7f]")
CONTROL_CHARACTER_IN_PROSE = re.compile(r"[\x00-\x08\x0b-\x1f\x7f]")  # prose may have line breaks and tabs
PLACEHOLDER = re.compile(r"\{([^{}｛｝﹛﹜]*)\}")

Level = Literal["country", "province", "city", "county", "unit"]
LEVELS: tuple[Level, ...] = ("country", "province", "city", "county", "unit")

# The kinds of message that this version knows, each with the placeholders of its template; and the channels that it knows. A
# writer of definitions may name no others; a reader leaves out rules that do (`read_rules`).
MESSAGE_PLACEHOLDERS: dict[str, frozenset[str]] = {
    "certificate_ready": frozenset({"campaign_title", "serial", "claim_code", "claim_page"}),
}
MESSAGE_EVENTS: tuple[str, ...] = tuple(MESSAGE_PLACEHOLDERS)
CHANNELS: tuple[str, ...] = ("file",)
CERTIFICATE_PLACEHOLDERS = frozenset({"name", "credited_days", "campaign_title", "first_date", "last_date"})
HOTLINE = "96110"  # every message to the public names it (FACTS, "Viewers and the law")


def _one_line(text: str) -> str:
    if CONTROL_CHARACTER.search(text):
        raise ValueError("含有控制字符或换行；请删除不可见字符")
    return text


def _prose(text: str) -> str:
    if CONTROL_CHARACTER_IN_PROSE.search(text):
        raise ValueError("含有控制字符；请删除不可见字符")
    return text


def _known_zone(name: str) -> str:
    try:
        ZoneInfo(name)
    except (ZoneInfoNotFoundError, ValueError, OSError):
        raise ValueError("不是 IANA 时区名；中国大陆请写 Asia/Shanghai") from None
    return name


def _not_reserved(code: str) -> str:
    if code == UNASSIGNED:
        raise ValueError(f"{code} 是系统保留的代码（表示未归属）；请换一个代码")
    return code


def _one_of(known: tuple[str, ...]) -> Any:
    """Annotates a text that must be one of these. A `Literal` would not do: readers look into the list."""

    def check(text: str) -> str:
        if text not in known:
            raise ValueError(f"只能是 {'、'.join(map(repr, known))} 之一")
        return text

    return AfterValidator(check)


def _sorted(modes: tuple[Mode, ...]) -> tuple[Mode, ...]:
    return tuple(sorted(modes))


Day = Annotated[date, Field(ge=date(2000, 1, 1), le=date(2099, 12, 31))]  # far ends of the calendar overflow
Moment = Annotated[AwareDatetime, Field(ge=datetime(2000, 1, 1, tzinfo=UTC), le=datetime(2099, 12, 31, tzinfo=UTC))]
Line = Annotated[str, StringConstraints(strip_whitespace=True, min_length=1, max_length=100), AfterValidator(_one_line)]
Prose = Annotated[str, StringConstraints(strip_whitespace=True, min_length=1, max_length=2000), AfterValidator(_prose)]
Code = Annotated[Id, AfterValidator(_not_reserved)]
Slug = Annotated[str, StringConstraints(pattern=r"^[a-z][a-z0-9_]{0,31}$")]
TimeZone = Annotated[str, StringConstraints(min_length=1, max_length=64), AfterValidator(_known_zone)]
ClockTime = Annotated[str, StringConstraints(pattern=r"^([01][0-9]|2[0-3]):[0-5][0-9]$")]
ClosingTime = Annotated[str, StringConstraints(pattern=r"^(([01][0-9]|2[0-3]):[0-5][0-9]|24:00)$")]
MessageEvent = Annotated[str, _one_of(MESSAGE_EVENTS), Field(json_schema_extra={"enum": [*MESSAGE_EVENTS]})]
Channel = Annotated[str, _one_of(CHANNELS), Field(json_schema_extra={"enum": [*CHANNELS]})]


class Part(BaseModel):
    """A frozen piece of the definition. Dumps and loads by alias, because `from` is a Python word."""

    model_config = ConfigDict(frozen=True, extra="forbid", serialize_by_alias=True)


def added_later(default: Any) -> Any:
    """A key that came after definitions were first hashed, such as `forms: tuple[Form, ...] = added_later(())`.

    At its default it is left out of every dump, so `content_hash` of a definition without it stays what it was. For good:
    whoever changes the default changes what older definitions mean.
    """
    return Field(default=default, exclude_if=lambda value: bool(value == default))


def of_course(default: Any, **limits: Any) -> Any:
    """A key that a campaign with a course has, and one without has not (DESIGN §5.2). What is not given is in no dump."""
    return Field(default=default, exclude_if=lambda value: bool(value == default), **limits)


class Window(Part):
    """A half-open stretch of local time; `day` 0 is the lesson's date, 1 the next day. `to` may be 24:00 (FACTS A2)."""

    day: Literal[0, 1] = 0
    opens: ClockTime = Field(alias="from")
    closes: ClosingTime = Field(alias="to")

    @model_validator(mode="after")
    def _opens_before_it_closes(self) -> Self:
        if self.opens >= self.closes:
            raise ValueError(f"from {self.opens} 不早于 to {self.closes}；跨过零点的时段请拆成两段（day: 0 与 day: 1）")
        return self


class Windows(Part):
    live: tuple[Window, ...] = Field(min_length=1, max_length=WINDOWS_PER_MODE_MAX)
    replay: tuple[Window, ...] = Field(default=(), max_length=WINDOWS_PER_MODE_MAX)


class Lesson(Part):
    """One dated broadcast. Its position in `lessons` is its bit in checkin, so positions of past lessons never move.

    `windows`: its own hours, live and replay, in place of the campaign's.
    """

    date: Day
    title: Line
    windows: Windows | None = added_later(None)


class LessonWindow(NamedTuple):
    """When a check-in counts for a lesson in a mode: `opens_at` included, `closes_at` not, both UTC, grace included."""

    opens_at: datetime
    closes_at: datetime
    lesson_index: int
    mode: Mode


class Platform(Part):
    """A platform that broadcasts the course. `source`: the name under which this deployment verifies its posts, and imports bring
    its files. It sends events of its modes and, where it has `windows`, of these hours."""

    source: Id
    title: Line
    modes: Annotated[tuple[Mode, ...], AfterValidator(_sorted)] = Field(
        default=("live", "replay"), min_length=1, max_length=2
    )
    windows: tuple[Window, ...] = Field(default=(), max_length=2 * WINDOWS_PER_MODE_MAX)


class OpenWindow(NamedTuple):
    mode: Mode
    opens_at: datetime
    closes_at: datetime


class Group(Part):
    """A group that gets special attention (重点人群, FACTS A11).

    `minors`: children under 14. No name or phone is kept for them without a guardian's consent (FACTS, "Viewers and the law").
    """

    code: Code
    name: Line
    minors: bool = added_later(False)


class HelpText(Part):
    """What viewers are told, in the words of the notice (FACTS A3)."""

    title: Line
    text: Prose


class Residents(Part):
    """A population with its year and source, which are shown beside every figure derived from it."""

    count: int = Field(ge=1, le=2_000_000_000)
    year: int = Field(ge=1949, le=2100)
    source: Line


class Unit(Part):
    """A node of the unit tree. `joins_on`: nothing is expected of it before (FACTS A9); `leaves_on`: nor from that day
    on, and it stays in the tree with what it reported. No residents: per 10,000 is "—"."""

    unit_code: Code
    name: Line
    parent_code: Id | None
    level: Level
    kind: Slug = Field(description="country, province, city, county, bureau, branch, department, member, …")
    sector: Slug | None = Field(default=None, description="education, finance, telecom, …")
    residents: Residents | None = None
    headcount: int | None = Field(default=None, ge=0, le=10_000_000)
    joins_on: Day | None = None
    leaves_on: Day | None = added_later(None)

    @model_validator(mode="after")
    def _joins_before_it_leaves(self) -> Self:
        if self.joins_on and self.leaves_on and self.leaves_on < self.joins_on:
            raise ValueError(f"leaves_on {self.leaves_on} 早于 joins_on {self.joins_on}；请改正其中一个")
        return self


class SendWindow(Part):
    """Local time of day in which a message may go out; outside it waits."""

    opens: ClockTime = Field(alias="from")
    closes: ClosingTime = Field(alias="to")

    @model_validator(mode="after")
    def _opens_before_it_closes(self) -> Self:
        if self.opens >= self.closes:
            raise ValueError(f"from {self.opens} 不早于 to {self.closes}")
        return self


class MessageRule(Part):
    """When `event` happens, send `template` through `channel`. Placeholders: `MESSAGE_PLACEHOLDERS[event]`."""

    event: MessageEvent
    channel: Channel
    template: Prose
    send_window: SendWindow | None = None

    @model_validator(mode="after")
    def _template_can_be_filled(self) -> Self:
        _require_placeholders("template", self.template, MESSAGE_PLACEHOLDERS[self.event])
        if HOTLINE not in self.template:
            raise ValueError(f"template 没有写明 {HOTLINE}；发给公众的每条消息都要写明反诈专线 {HOTLINE}")
        return self


class CertificateRules(Part):
    """`body` is the wording between name and date, with `CERTIFICATE_PLACEHOLDERS`. Nothing is issued before `claim_from`."""

    claim_from: Moment
    title: Line
    body: Prose
    issuer: Line

    @model_validator(mode="after")
    def _body_can_be_filled(self) -> Self:
        _require_placeholders("body", self.body, CERTIFICATE_PLACEHOLDERS)
        return self


def fill(template: str, values: dict[str, str]) -> str:
    """The template with its `{placeholders}` replaced. Values are text and never read as placeholders themselves."""
    return PLACEHOLDER.sub(lambda match: values[match[1]], template)


def _require_placeholders(key: str, template: str, known: frozenset[str]) -> None:
    unknown = sorted(set(PLACEHOLDER.findall(template)) - known)
    if unknown:
        choices = "、".join(f"{{{name}}}" for name in sorted(known))
        raise ValueError(f"{key} 里有不认识的占位符 {{{unknown[0]}}}；可用的有 {choices}")


class RulesContent(Part):
    """The definition's keys without units and channels, and the times that follow from them. Everybody reads the subclass
    `CampaignRules`, which also checks what must hold between keys: a campaign has a course (`COURSE_KEYS`), or it has `starts_on`
    and `ends_on`."""

    campaign_id: Id
    title: Line
    organiser: Line
    help: tuple[HelpText, ...] = Field(default=(), max_length=20)
    time_zone: TimeZone
    starts_on: Day | None = added_later(None)
    ends_on: Day | None = added_later(None)
    lessons: tuple[Lesson, ...] = of_course((), min_length=1, max_length=LESSONS_MAX)
    windows: Windows | None = of_course(None)
    live_grace_s: int = Field(default=0, ge=0, le=LIVE_GRACE_MAX_S)
    credit: Annotated[tuple[Mode, ...], AfterValidator(_sorted)] = of_course(
        (), min_length=1, max_length=2, description="modes that count towards the certificate"
    )
    required_days: Annotated[int, Field(ge=1, le=LESSONS_MAX)] | None = of_course(None)
    seal_after_hours: int = Field(default=48, ge=1, le=SEAL_AFTER_MAX_HOURS)
    groups: tuple[Group, ...] = Field(default=(), max_length=GROUPS_MAX)
    certificate: CertificateRules | None = of_course(None)
    messages: tuple[MessageRule, ...] = Field(default=(), max_length=20)
    closing_time: ClockTime = "18:00"
    non_working_days: tuple[Day, ...] = Field(default=(), max_length=400)
    extra_working_days: tuple[Day, ...] = Field(default=(), max_length=400)
    platforms: Annotated[tuple[Platform, ...], Field(max_length=PLATFORMS_MAX)] = added_later(())
    retain_days: Annotated[
        int,
        Field(
            ge=RETAIN_MIN_DAYS,
            le=RETAIN_MAX_DAYS,
            description="how long names and phones are kept after the enrolment, and phones after the course",
        ),
    ] = added_later(RETAIN_DAYS)

    @cached_property
    def zone(self) -> ZoneInfo:
        return ZoneInfo(self.time_zone)

    @property
    def first_day(self) -> date:
        """The first lesson's date; without a course, `starts_on`."""
        day = self.lessons[0].date if self.lessons else self.starts_on
        assert day is not None  # noqa: S101 - one of the two is given
        return day

    @property
    def last_day(self) -> date:
        """The last lesson's date; without a course, `ends_on`."""
        day = self.lessons[-1].date if self.lessons else self.ends_on
        assert day is not None  # noqa: S101 - one of the two is given
        return day

    def at(self, day: date, clock: str) -> datetime:
        """The UTC instant of a local `HH:MM` (24:00: the next midnight). When a local hour comes twice, the first one is
        meant."""
        if clock == "24:00":
            day, clock = day + timedelta(days=1), "00:00"
        return datetime.combine(day, time.fromisoformat(clock), self.zone).astimezone(UTC)

    @cached_property
    def timeline(self) -> tuple[LessonWindow, ...]:
        """All windows of all lessons by time, disjoint: a time has at most one lesson and mode. Built once.

        The grace prolongs live windows and cuts the same lesson's replay, so live takes precedence inside it.
        """
        grace = timedelta(seconds=self.live_grace_s)
        windows: list[LessonWindow] = []
        for index, lesson in enumerate(self.lessons):
            hours = lesson.windows or self.windows
            assert hours is not None  # noqa: S101 - whoever has lessons has windows
            live = self._instants(lesson, hours.live)
            windows += [LessonWindow(opens, closes + grace, index, "live") for opens, closes in live]
            for opens, closes in self._instants(lesson, hours.replay):
                cut = [end + grace for _, end in live if end <= opens < end + grace]
                windows.append(LessonWindow(max([opens, *cut]), closes, index, "replay"))
        return tuple(sorted(windows))

    def _instants(self, lesson: Lesson, windows: tuple[Window, ...]) -> list[tuple[datetime, datetime]]:
        days = [lesson.date + timedelta(days=window.day) for window in windows]
        return [
            (self.at(day, window.opens), self.at(day, window.closes)) for day, window in zip(days, windows, strict=True)
        ]

    def windows_of(self, platform: Platform) -> list[LessonWindow]:
        """The timeline's windows of the platform's modes, cut to its own hours, which the grace prolongs too. Hours of its own
        that overlap give windows that do."""
        grace = timedelta(seconds=self.live_grace_s)
        windows: list[LessonWindow] = []
        for window in self.timeline:
            if window.mode not in platform.modes:
                continue
            hours = self._instants(self.lessons[window.lesson_index], platform.windows)
            spans = [(opens, closes + grace) for opens, closes in hours] or [(window.opens_at, window.closes_at)]
            for opens, closes in spans:
                cut = window._replace(opens_at=max(opens, window.opens_at), closes_at=min(closes, window.closes_at))
                if cut.opens_at < cut.closes_at:
                    windows.append(cut)
        return windows

    def hours_of(self, platform: Platform) -> list[tuple[datetime, datetime]]:
        """When events that this platform sends can be: its windows, half-open, by time, disjoint."""
        merged: list[tuple[datetime, datetime]] = []
        for opens, closes in sorted((window.opens_at, window.closes_at) for window in self.windows_of(platform)):
            if merged and opens <= merged[-1][1]:
                merged[-1] = merged[-1][0], max(merged[-1][1], closes)
            else:
                merged.append((opens, closes))
        return merged

    def opens_closes(self, lesson_index: int) -> list[OpenWindow]:
        """The windows of one lesson by time, as (mode, opens_at, closes_at) in UTC, grace included."""
        return [OpenWindow(w.mode, w.opens_at, w.closes_at) for w in self.timeline if w.lesson_index == lesson_index]

    def opened_at(self, lesson_index: int) -> datetime:
        """When the lesson's first window opens."""
        return min(window.opens_at for window in self.timeline if window.lesson_index == lesson_index)

    def sealed_at(self, lesson_index: int) -> datetime:
        """What is received at or after this is late (逾期): the last window's end plus `seal_after_hours`."""
        ends = [window.closes_at for window in self.timeline if window.lesson_index == lesson_index]
        return max(ends) + timedelta(hours=self.seal_after_hours)

    @cached_property
    def index_of(self) -> dict[date, int]:
        """lesson_date → position in `lessons`."""
        return {lesson.date: index for index, lesson in enumerate(self.lessons)}
