"""The second half of recording, pure: turns what the database knew before a batch into verdicts, counts and facts.

Every identity counts once, in whatever batch it comes; the database's answers say which were new.
"""

from collections import Counter, defaultdict
from collections.abc import Sequence
from datetime import UTC, datetime
from typing import Any, NamedTuple

import msgspec

from services.checkin.domain import LIVE_ROOM_ACTIONS, TYPES, Campaign, Lessons, Reason, Result, Verdict
from services.checkin.live_events import LiveEvent
from services.checkin.minors import Past
from services.checkin.sorting import Arrival, Digest, Enrolled, Key, Part, Refusal, Told, told_by
from shared.contracts.base import UNASSIGNED, ColumnEvent
from shared.contracts.checkin import (
    CheckinRecordedV1,
    LiveRoomActionsRecordedV1,
    ViewerEnrolledV1,
    ViewerReassignedV1,
)

ENROLMENTS_PER_EVENT_MAX = 250  # a row is at most 826 bytes with its sealed contact: 206 KB of the 256 allowed

_NONE = Lessons()  # the lessons of a viewer who was not known
_LATER_THAN_ANY = (datetime.max.replace(tzinfo=UTC), "")  # stands for a later enrolment that the database knew


# ---- what the database answers ---------------------------------------------------------------------------------------


class ViewerRow(msgspec.Struct, frozen=True, gc=False):
    """The row of a viewer whom a batch changed, `before` (None where there was none) and after (`…_after`). Lessons are bits."""

    viewer_id: str
    before: Lessons | None
    live_after: int
    replay_after: int
    made_good: int  # no batch changes it
    unit_before: str | None
    unit_after: str
    group_before: str | None
    group_after: str
    enrolled_before: tuple[datetime, str] | None  # the precedence of the enrolment that was in force


class Stored(msgspec.Struct):
    """What the database answered for a part. A viewer who is not in `viewers` had everything already. `units`: unit and group of
    the viewers whose actions are new. `replaced`: positions of files' rows that repeat an enrolment which a later one replaced.
    """

    enrolled: list[Enrolled] = []
    viewers: list[ViewerRow] = []
    new_actions: set[Key] = set()
    no_contact: set[Key] = set()  # enrolments of minors without consent: their name and phone go nowhere
    withdrawn: list[Past] = []  # stored before, their name or phone published: consumers are told to drop them
    units: dict[str, tuple[str, str]] = {}
    replaced: set[int] = set()


# ---- what is to be written -------------------------------------------------------------------------------------------


class Uncounted(NamedTuple):
    source: str
    event_key: str
    verdict: str
    reason: str
    campaign_id: str | None
    viewer_id: str | None
    type: str | None
    occurred_at: datetime | None
    received_at: datetime
    body_hmac: bytes


Counted = tuple[str, str, str, str, str, str, str]
"""What verdicts are counted by: campaign_id, type, lesson_date, mode, verdict, reason, feed; "" where it does not apply. The feed
is the source that sent it, "" for what an office imports from a file and for what is refused."""


class Fact(msgspec.Struct):
    """A column event to be published. `contacts`, to be sealed, stand beside its rows, whose first value is the viewer."""

    contract: type[ColumnEvent]
    campaign: Campaign
    rows: Sequence[Sequence[Any]]
    fields: dict[str, Any]
    contacts: list[bytes | None] | None


class Decisions:
    """What became of a batch: results by position, facts in order, rows to keep, and counts."""

    def __init__(self, arrivals: Sequence[Arrival], digest: Digest) -> None:
        self.arrivals = arrivals
        self._digest = digest
        self._results: list[Result | None] = [None] * len(arrivals)
        self.facts: list[Fact] = []
        self.uncounted: list[Uncounted] = []
        self.counts: Counter[Counted] = Counter()
        self.days: Counter[tuple[str, int]] = Counter()  # (campaign_id, credited days) → change in viewers

    @property
    def results(self) -> list[Result]:
        return [result for result in self._results if result is not None]

    def decide(
        self,
        position: int,
        event: LiveEvent,
        verdict: Verdict,
        reason: Reason | None = None,
        lesson_date: str = "",
        mode: str = "",
    ) -> None:
        self._results[position] = Result(event.event_id, verdict, reason)
        arrival = self.arrivals[position]
        feed = "" if arrival.filed_as else arrival.source
        self.counts[event.campaign_id, event.type, lesson_date, mode, verdict, reason or "", feed] += 1

    def decide_without_contact(self, position: int, event: LiveEvent, verdict: Verdict, reason: Reason | None) -> None:
        """As `decide`, for a minor's enrolment whose name and phone are dropped."""
        dropped = tuple(field for field in ("name", "phone") if getattr(event, field))
        self.decide(position, event, verdict, reason or Reason.NO_GUARDIAN_CONSENT)
        self._results[position] = Result(event.event_id, verdict, reason, dropped=dropped)

    def refuse(self, refusals: list[Refusal]) -> None:
        """Refuses events. They are counted later, where their row is new: an event that is refused twice counts once."""
        for position, reason in refusals:
            item = self.arrivals[position].item
            field = item.fault if reason is Reason.MALFORMED else msgspec.UNSET
            self._results[position] = Result(item.event_id, Verdict.REJECTED, reason, field)
            self.keep(position, Verdict.REJECTED, reason)

    def keep(self, position: int, verdict: Verdict, reason: Reason) -> None:
        """Keeps a row that says why an event was not counted."""
        arrival = self.arrivals[position]
        item, event = arrival.item, arrival.item.event
        digest = self._digest(bytes(item.raw))
        self.uncounted.append(
            Uncounted(
                arrival.source,
                item.event_id or digest.hex(),
                verdict,
                reason,
                event.campaign_id if event else None,
                event.viewer_id if event else None,
                event.type if event and event.type in TYPES else None,
                event.occurred_at if event else None,
                arrival.received_at,
                digest,
            )
        )

    def publish(
        self,
        contract: type[ColumnEvent],
        campaign: Campaign,
        rows: Sequence[Sequence[Any]],
        fields: dict[str, Any] | None = None,
        contacts: list[bytes | None] | None = None,
    ) -> None:
        if rows:
            self.facts.append(Fact(contract, campaign, rows, fields or {}, contacts))

    def count_refusals(self, new: set[tuple[str, str]]) -> None:
        """Counts the refusals that are new. `new`: (source, key) of the rows of `uncounted` that were not known."""
        left = set(new)
        for row in self.uncounted:
            if row.verdict == Verdict.REJECTED and (row.source, row.event_key) in left:
                left.discard((row.source, row.event_key))
                known = row.reason in (Reason.IN_FUTURE, Reason.OUTSIDE_WINDOW, Reason.NOT_OF_PLATFORM)
                campaign_id = (row.campaign_id or "") if known else ""  # a sender must not invent metric labels
                self.counts[campaign_id, row.type or "", "", "", row.verdict, row.reason, ""] += 1


# ---- the decision ----------------------------------------------------------------------------------------------------


class _Change(msgspec.Struct, frozen=True, gc=False):
    """A viewer's changed row and what follows from it: `credited_…` are the credited lessons as bits."""

    row: ViewerRow
    before: Lessons
    credited_before: int
    credited_after: int


def decide(
    arrivals: Sequence[Arrival], refusals: list[Refusal], parts: Sequence[tuple[Part, Stored]], digest: Digest
) -> Decisions:
    """Decides what becomes of each arrival. `refusals`: arrivals that belong to no campaign; `parts`: each campaign's, with the
    database's answers."""
    decisions = Decisions(arrivals, digest)
    decisions.refuse(refusals)
    for part, stored in parts:
        changes = _changes(part.campaign, stored)
        decisions.refuse(part.refusals)
        _count_days(decisions, part.campaign, changes)
        _decide_enrolments(decisions, part, stored)
        _publish_enrolments(decisions, part.campaign, stored)
        _publish_reassignments(decisions, part.campaign, changes, stored)
        _decide_checkins(decisions, part, changes)
        _decide_actions(decisions, part, stored)
    return decisions


def _changes(campaign: Campaign, stored: Stored) -> dict[str, _Change]:
    course = campaign.course
    return {
        row.viewer_id: _Change(
            row,
            row.before or _NONE,
            course.credited(row.before) if row.before else 0,
            course.credited_of(row.live_after, row.replay_after, row.made_good),
        )
        for row in stored.viewers
    }


def _count_days(decisions: Decisions, campaign: Campaign, changes: dict[str, _Change]) -> None:
    for change in changes.values():
        before, after = change.credited_before.bit_count(), change.credited_after.bit_count()
        if before != after:
            decisions.days[campaign.id, before] -= 1
            decisions.days[campaign.id, after] += 1


# ---- check-ins -------------------------------------------------------------------------------------------------------


def _decide_checkins(decisions: Decisions, part: Part, changes: dict[str, _Change]) -> None:
    """A check-in is recorded or stored where the database did not have its bit, else it is a duplicate. New ones are
    published."""
    campaign, course = part.campaign, part.campaign.course
    rows: dict[tuple[int, str, str], list[tuple[Any, ...]]] = defaultdict(list)
    completed: set[str] = set()
    for checkin in part.checkins:
        event, slot = checkin.event, checkin.slot
        lesson_date = campaign.lesson_texts[slot.lesson]
        change = changes.get(event.viewer_id) if checkin.fresh else None
        if change is None or change.before.has(slot.lesson, slot.mode):
            decisions.decide(checkin.position, event, Verdict.DUPLICATE, None, lesson_date, slot.mode)
            continue
        reason = course.uncredited(slot.mode, checkin.late)
        verdict = Verdict.STORED if reason else Verdict.RECORDED
        decisions.decide(checkin.position, event, verdict, reason, lesson_date, slot.mode)
        if reason:
            decisions.keep(checkin.position, verdict, reason)
        days = change.credited_after.bit_count()
        reached = change.credited_before.bit_count() < course.required_days <= days and event.viewer_id not in completed
        if reached:
            completed.add(event.viewer_id)
        flags = part.lessons[event.viewer_id].flags(slot.lesson, slot.mode, change.before)
        rows[slot.lesson, slot.mode, decisions.arrivals[checkin.position].source].append(
            (
                event.viewer_id,
                change.row.unit_after,
                change.row.group_after,
                event.occurred_at,
                checkin.late,
                *flags,
                days,
                course.dates(change.credited_after) if reached else None,
            )
        )
    for (lesson, mode, source), recorded in sorted(rows.items()):
        fields = {"lesson_date": campaign.lesson_texts[lesson], "mode": mode, "source": source}
        decisions.publish(CheckinRecordedV1, campaign, recorded, fields)


# ---- enrolments ------------------------------------------------------------------------------------------------------


def _decide_enrolments(decisions: Decisions, part: Part, stored: Stored) -> None:
    """A new enrolment is applied if it was the latest known when it arrived, else superseded, as if events had come one by
    one."""
    new = {enrolled.position for enrolled in stored.enrolled}
    known = {row.viewer_id: row.enrolled_before for row in stored.viewers} if new else {}
    for position, event, enrolment in part.enrolments:
        if position not in new:
            reason = Reason.SUPERSEDED if position in stored.replaced else None
            decisions.decide(position, event, Verdict.DUPLICATE, reason)
            continue
        before = known.get(event.viewer_id, _LATER_THAN_ANY)
        dropped = enrolment.has_contact and enrolment.key in stored.no_contact
        tell = decisions.decide_without_contact if dropped else decisions.decide
        if before is None or enrolment.precedence > before:
            known[event.viewer_id] = enrolment.precedence
            tell(position, event, Verdict.RECORDED, None)
        else:
            tell(position, event, Verdict.STORED, Reason.SUPERSEDED)
            decisions.keep(position, Verdict.STORED, Reason.SUPERSEDED)


def _publish_enrolments(decisions: Decisions, campaign: Campaign, stored: Stored) -> None:
    """Publishes every new enrolment, superseded ones too: their contact data may be the latest there is."""
    for start in range(0, len(stored.enrolled), ENROLMENTS_PER_EVENT_MAX):
        page = stored.enrolled[start : start + ENROLMENTS_PER_EVENT_MAX]
        rows = [(new.viewer_id, new.enrolment_id, new.enrolled_at, new.unit_code, new.group_code) for _, _, new in page]
        contacts = [None if new.key in stored.no_contact else _contact(event) for _, event, new in page]
        decisions.publish(ViewerEnrolledV1, campaign, rows, {"contacts_withdrawn": False}, contacts)
    decisions.publish(ViewerEnrolledV1, campaign, withdrawals(stored.withdrawn), WITHDRAWN)


WITHDRAWN: dict[str, Any] = {"contacts": None, "contacts_withdrawn": True}


def withdrawals(enrolments: Sequence[Past]) -> list[tuple[Any, ...]]:
    """The rows of a `ViewerEnrolledV1` that withdraws contacts."""
    return [
        (past.viewer_id, past.enrolment_id, past.enrolled_at, past.unit_code, past.group_code) for past in enrolments
    ]


def _contact(event: LiveEvent) -> bytes | None:
    if not (event.name or event.phone):
        return None
    return msgspec.json.encode({"name": event.name or None, "phone": event.phone or None})


def _publish_reassignments(
    decisions: Decisions, campaign: Campaign, changes: dict[str, _Change], stored: Stored
) -> None:
    """Publishes the move of what a viewer had before this batch, so that totals do not depend on the order of arrival."""
    if not (told := told_by(stored.enrolled)):
        return
    dates = campaign.lesson_texts
    rows = [
        (viewer_id, dates[was.lesson], was.mode, was.late, was.first_for_lesson, was.first_for_campaign, *move)
        for viewer_id, change in changes.items()
        if viewer_id in told and change.row.unit_before is not None
        for move in _moves(change.row, told[viewer_id])
        for was in change.before.checkins()
    ]  # fmt: skip
    decisions.publish(ViewerReassignedV1, campaign, rows)


def _moves(row: ViewerRow, told: Told) -> list[tuple[Any, ...]]:
    """The moves of a viewer: unit and group before, unit and group after, and the precedence of the enrolment that caused the
    move. Where one enrolment gave the unit and another the group there are two moves, so that readers can tell for each whether
    they know a later one."""
    assert row.unit_before is not None and row.group_before is not None  # noqa: S101, PT018 - both or none
    was, now = (row.unit_before, row.group_before), (row.unit_after, row.group_after)
    moved_unit = told.unit if was[0] != now[0] else None
    moved_group = told.group if was[1] != now[1] else None
    if moved_unit and moved_group and moved_unit is not moved_group:
        between = (now[0], was[1])
        return [(*was, *between, *moved_unit.precedence), (*between, *now, *moved_group.precedence)]
    mover = moved_unit or moved_group
    return [(*was, *now, *mover.precedence)] if mover else []


# ---- live-room actions -----------------------------------------------------------------------------------------------


def _decide_actions(decisions: Decisions, part: Part, stored: Stored) -> None:
    """An action is recorded where nobody has sent it before, under the unit that the viewer has now."""
    campaign = part.campaign
    rows: dict[tuple[int, str], list[tuple[Any, ...]]] = defaultdict(list)
    for entry in part.actions:
        event, slot = entry.event, entry.slot
        lesson_date, key = campaign.lesson_texts[slot.lesson], (event.viewer_id, event.event_id)
        is_new = key in stored.new_actions and part.first_actions.get(key) is entry
        verdict = Verdict.RECORDED if is_new else Verdict.DUPLICATE
        decisions.decide(entry.position, event, verdict, None, lesson_date, slot.mode)
        if is_new:
            unit, group = stored.units.get(event.viewer_id, (UNASSIGNED, UNASSIGNED))
            action = LIVE_ROOM_ACTIONS[event.type]
            rows[slot.lesson, action].append((event.viewer_id, unit, group, event.occurred_at, event.item))
    for (lesson, action), recorded in sorted(rows.items()):
        fields = {"lesson_date": campaign.lesson_texts[lesson], "action": action}
        decisions.publish(LiveRoomActionsRecordedV1, campaign, recorded, fields)
