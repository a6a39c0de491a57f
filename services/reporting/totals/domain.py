"""What is summed, what each fact changes in it, and which figures follow from the sums. Pure.

An event's changes are folded for one sorted statement. Changes only add, or only move forward, so the order in which events are
applied does not matter (DESIGN §4.5).
"""

from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from datetime import date, datetime
from typing import Literal, NamedTuple

from shared.contracts.base import UNASSIGNED, Mode
from shared.contracts.certificate import CertificateClaimedV1, CertificateIssuedV1, CertificateRevokedV1
from shared.contracts.checkin import (
    CheckinRecordedV1,
    LessonMadeGoodV1,
    LiveRoomAction,
    LiveRoomActionsRecordedV1,
    ViewerReassignedV1,
)
from shared.people.enrolments import latest_enrolments

TotalMode = Literal["live", "replay", "made_good"]

GROUP_MIN_VIEWERS = 10  # smaller groups are not shown outside the office (FACTS, "Viewers and the law")


class TotalKey(NamedTuple):
    """A row of the totals, inside its campaign."""

    lesson_date: date
    mode: TotalMode
    unit_code: str
    group: str


class PlatformKey(NamedTuple):
    """A row of the totals by platform, inside its campaign. `source`: who sent the check-ins."""

    lesson_date: date
    mode: TotalMode
    source: str


class Counts(NamedTuple):
    """What is summed. `made_good` counts neither check-ins nor viewers, so it stands apart."""

    checkins: int = 0
    late: int = 0
    first_for_lesson: int = 0
    first_for_campaign: int = 0
    made_good: int = 0

    def plus(self, other: "Counts") -> "Counts":
        return Counts(  # spelled out: a generator would take a quarter of the time that a check-in may cost here
            self.checkins + other.checkins,
            self.late + other.late,
            self.first_for_lesson + other.first_for_lesson,
            self.first_for_campaign + other.first_for_campaign,
            self.made_good + other.made_good,
        )

    def negated(self) -> "Counts":
        return Counts(*(-count for count in self))


class Change(NamedTuple):
    key: TotalKey
    counts: Counts


class Moved(NamedTuple):
    """To which unit, or group, an enrolment moved a viewer."""

    viewer_id: str
    to: str
    enrolled_at: datetime
    enrolment_id: str


class Move(NamedTuple):
    """Where a viewer belongs after enrolments: unit and group, each with the enrolment that moved it; None where none did."""

    viewer_id: str
    unit_code: str | None
    enrolled_at: datetime | None
    enrolment_id: str | None
    group: str | None
    group_enrolled_at: datetime | None
    group_enrolment_id: str | None


class Place(NamedTuple):
    """The unit and group under which a certificate is counted."""

    unit_code: str
    group: str


class Issue(NamedTuple):
    serial: str
    viewer_id: str
    unit_code: str
    group: str


class LiveRoomKey(NamedTuple):
    lesson_date: date
    action: LiveRoomAction
    unit_code: str
    item: str  # '' where the platform did not say


class TotalsLine(NamedTuple):
    """The sums of one mode under one key."""

    key: str
    mode: TotalMode
    counts: Counts


class Certificates(NamedTuple):
    """Issued and not revoked; of those, claimed."""

    issued: int = 0
    claimed: int = 0

    def plus(self, other: "Certificates") -> "Certificates":
        return Certificates(self.issued + other.issued, self.claimed + other.claimed)


class CountyLine(NamedTuple):
    lesson_date: date
    mode: TotalMode
    county: str
    counts: Counts


@dataclass
class Tally:
    """The sums of several lines, and how much of them counts towards the certificate."""

    counts: Counts = Counts()  # noqa: RUF009 - frozen
    credited: int = 0

    def add(self, line: TotalsLine, credit: frozenset[Mode] | None) -> None:
        """`credit`: None before the definition has arrived; then only what the office granted is credited."""
        self.counts = self.counts.plus(line.counts)
        self.credited += credited(line, credit or frozenset())


# ---- what an event changes -------------------------------------------------------------------------------------------


def checkin_changes(event: CheckinRecordedV1) -> list[Change]:
    """Changes by check-ins. Equal rows are counted first: 500 rows are of a few dozen kinds."""
    columns = (event.unit_codes, event.groups, event.late, event.first_for_lesson, event.first_for_campaign)
    kinds = Counter(zip(*columns, strict=True))
    return folded(
        Change(
            TotalKey(event.lesson_date, event.mode, unit_code, group),
            Counts(rows, rows * late, rows * first_for_lesson, rows * first_for_campaign),
        )
        for (unit_code, group, late, first_for_lesson, first_for_campaign), rows in kinds.items()
    )


def platform_changes(events: Iterable[CheckinRecordedV1]) -> list[tuple[PlatformKey, Counts]]:
    """One per key, sorted by key. An event is of one lesson, mode and source."""
    sums: dict[PlatformKey, Counts] = {}
    for event in events:
        key = PlatformKey(event.lesson_date, event.mode, event.source or UNASSIGNED)
        counts = Counts(len(event), sum(event.late), sum(event.first_for_lesson), sum(event.first_for_campaign))
        sums[key] = sums[key].plus(counts) if key in sums else counts
    return sorted(sums.items())


def made_good_changes(event: LessonMadeGoodV1) -> list[Change]:
    kinds = Counter(zip(event.unit_codes, event.groups, strict=True))
    return folded(
        Change(TotalKey(event.lesson_date, "made_good", unit_code, group), Counts(made_good=rows))
        for (unit_code, group), rows in kinds.items()
    )


def move_changes(event: ViewerReassignedV1) -> list[Change]:
    """Changes by moves: they take from one place exactly what they add to the other, by the flags that check-ins were published
    with."""
    changes = []
    for row in event.rows():
        counts = (
            Counts(made_good=1)
            if row.mode == "made_good"
            else Counts(1, row.late, row.first_for_lesson, row.first_for_campaign)
        )
        came_from = TotalKey(row.lesson_date, row.mode, row.from_unit_code, row.from_group)
        goes_to = TotalKey(row.lesson_date, row.mode, row.to_unit_code, row.to_group)
        changes += [Change(came_from, counts.negated()), Change(goes_to, counts)]
    return folded(changes)


def folded(changes: Iterable[Change]) -> list[Change]:
    """One change per key, sorted by key, without those that cancel out."""
    sums: dict[TotalKey, Counts] = {}
    for key, counts in changes:
        sums[key] = sums[key].plus(counts) if key in sums else counts
    return [Change(key, sums[key]) for key in sorted(sums) if any(sums[key])]


def latest_moves(event: ViewerReassignedV1) -> list[Move]:
    """Each viewer's latest move to a unit and to a group in the event (tie: larger enrolment id), sorted by viewer."""
    units, groups = [], []
    for row in event.rows():
        if row.from_unit_code != row.to_unit_code:
            units.append(Moved(row.viewer_id, row.to_unit_code, row.enrolled_at, row.enrolment_id))
        if row.from_group != row.to_group:
            groups.append(Moved(row.viewer_id, row.to_group, row.enrolled_at, row.enrolment_id))
    to_unit = latest_enrolments(units, key=lambda moved: moved.viewer_id)
    to_group = latest_enrolments(groups, key=lambda moved: moved.viewer_id)
    return [
        Move(viewer_id, *_of(to_unit.get(viewer_id)), *_of(to_group.get(viewer_id)))
        for viewer_id in sorted(to_unit.keys() | to_group.keys())
    ]


def _of(moved: Moved | None) -> tuple[str | None, datetime | None, str | None]:
    return (moved.to, moved.enrolled_at, moved.enrolment_id) if moved else (None, None, None)


def issues(event: CertificateIssuedV1) -> list[Issue]:
    """The event's certificates, sorted by serial, each once."""
    return sorted(
        {row.serial: Issue(row.serial, row.viewer_id, row.unit_code, row.group) for row in event.rows()}.values()
    )


def holders(event: CertificateClaimedV1 | CertificateRevokedV1) -> list[tuple[str, str]]:
    """(serial, viewer_id), sorted by serial, each once."""
    return sorted(dict(zip(event.serials, event.viewer_ids, strict=True)).items())


def difference(
    before: Mapping[Place, Certificates], after: Mapping[Place, Certificates]
) -> list[tuple[Place, Certificates]]:
    """What must be added to each place, sorted, to get from `before` to `after`."""
    changes = []
    for place in sorted(before.keys() | after.keys()):
        was, became = before.get(place, Certificates()), after.get(place, Certificates())
        if was != became:
            changes.append((place, Certificates(became.issued - was.issued, became.claimed - was.claimed)))
    return changes


def live_room_changes(event: LiveRoomActionsRecordedV1) -> list[tuple[LiveRoomKey, int]]:
    """Actions by key, sorted."""
    actions = Counter(
        LiveRoomKey(event.lesson_date, event.action, row.unit_code, row.item or "") for row in event.rows()
    )
    return sorted(actions.items())


# ---- which figures follow --------------------------------------------------------------------------------------------


def credited(line: TotalsLine, credit: frozenset[Mode]) -> int:
    """How many of these check-ins count towards the certificate under the credit policy in force (FACTS A4)."""
    counts = line.counts
    return counts.made_good + (counts.checkins - counts.late if line.mode in credit else 0)


def people(counts: Counts, *, lesson: bool, mode: bool) -> int:
    """Viewers behind the counts: inside one mode a viewer checks in once a lesson, so check-ins are people there."""
    if mode:
        return counts.checkins
    return counts.first_for_lesson if lesson else counts.first_for_campaign


def per_10k(viewers: int, residents: int) -> float:
    """Viewers per 10,000 residents (at least one), to two places."""
    return round(viewers * 10_000 / residents, 2)


def share(part: int, whole: int) -> float | None:
    """`part` of `whole`, from 0 to 1, to four places; None where `whole` is 0."""
    return round(part / whole, 4) if whole else None


def small_groups(viewers: Mapping[str, int]) -> set[str]:
    """Which groups (key → viewers) must not be shown. These are the groups of fewer than 10 viewers. While all hidden groups
    together have fewer than 10 viewers, the next smallest group is hidden too. Otherwise the total minus the shown groups would
    give the number of hidden viewers away."""
    smallest_first = sorted(viewers, key=lambda key: (viewers[key], key))
    withheld = [key for key in smallest_first if viewers[key] < GROUP_MIN_VIEWERS]
    for key in smallest_first[len(withheld) :]:
        if not withheld or sum(viewers[group] for group in withheld) >= GROUP_MIN_VIEWERS:
            break
        withheld.append(key)
    return set(withheld)
