"""The use case that everything arrives at: a batch of events becomes verdicts, rows and facts in one transaction.

The same for all three ways in (webhook, bus, import). Arrival order decides who was first; every identity counts once,
whatever the batch it came in. Nothing here waits for the bus: facts go into the outbox.
"""

import hmac
from collections import Counter, defaultdict
from collections.abc import Callable, Iterable, Sequence
from datetime import UTC, datetime
from typing import Any

import msgspec

from services.checkin import store
from services.checkin.campaigns import Campaign
from services.checkin.domain import (
    CHECKED_IN,
    ENROLLED,
    IN_FUTURE_TOLERANCE_S,
    LIVE_ROOM_ACTIONS,
    TYPES,
    Lessons,
    Reason,
    Result,
    Slot,
    Verdict,
)
from services.checkin.live_platform import Item, LiveEvent
from shared.bus import outbox
from shared.bus.outgoing import Outgoing, column_events
from shared.contracts.base import UNASSIGNED, ColumnEvent, SealedColumn
from shared.contracts.checkin import (
    CheckinRecordedV1,
    LiveRoomActionsRecordedV1,
    ViewerEnrolledV1,
    ViewerReassignedV1,
)
from shared.database import Transaction
from shared.people.campaign_keys import PublicKeys

Seal = Callable[[PublicKeys, Sequence[bytes | None], Sequence[str]], SealedColumn | None]
Digest = Callable[[bytes], bytes]


ENROLMENTS_PER_EVENT_MAX = 250  # a row is at most 826 bytes with its sealed contact: 206 KB of the 256 allowed

_NO_LESSONS = Lessons()
_LATER_THAN_ANY = (datetime.max.replace(tzinfo=UTC), "")  # the database knew a later enrolment and changed nothing


def body_digest(link_key: str) -> Digest:
    """HMAC-SHA256 of an event's bytes under a key of the deployment, without which nobody can try phones on it."""
    key = hmac.digest(link_key.encode(), b"bodies of refused events", "sha256")
    return lambda raw: hmac.digest(key, raw, "sha256")


class Arrival(msgspec.Struct, frozen=True, gc=False):
    """One item of a post, with where it came from and when it was received."""

    item: Item
    source: str
    received_at: datetime


class _Located(msgspec.Struct, frozen=True, gc=False):
    """A check-in or live-room action that lies in a window."""

    position: int
    event: LiveEvent
    slot: Slot
    late: bool


class _Batch:
    """One batch on its way: results by position, what is to be published, what is to be counted."""

    def __init__(self, arrivals: Sequence[Arrival], now: datetime, digest: Digest) -> None:
        self.arrivals = arrivals
        self.now = now
        self.digest = digest
        self.results: list[Result | None] = [None] * len(arrivals)
        self.outgoing: list[Outgoing] = []
        self.uncounted: list[store.Uncounted] = []
        self.counts: Counter[store.Counted] = Counter()
        self.days: Counter[tuple[str, int]] = Counter()

    def decide(
        self, position: int, verdict: Verdict, reason: Reason | None = None, lesson_date: str = "", mode: str = ""
    ) -> None:
        event = self.arrivals[position].item.event
        assert event is not None  # noqa: S101 - malformed items are refused, never decided
        self.results[position] = Result(event.event_id, verdict, reason)
        self.counts[event.campaign_id, event.type, lesson_date, mode, verdict, reason or ""] += 1

    def refuse(self, position: int, reason: Reason) -> None:
        """Counted later, and only if the row is new: a refused event sent twice was refused once."""
        self.results[position] = Result(self.arrivals[position].item.event_id, Verdict.REJECTED, reason)
        self.keep(position, Verdict.REJECTED, reason)

    def keep(self, position: int, verdict: Verdict, reason: Reason) -> None:
        arrival = self.arrivals[position]
        item, event = arrival.item, arrival.item.event
        digest = self.digest(bytes(item.raw))
        self.uncounted.append(
            store.Uncounted(
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
        self, contract: type[ColumnEvent], campaign: Campaign, rows: Sequence[Sequence[Any]], **fields: Any
    ) -> None:
        self.outgoing.extend(column_events(contract, campaign.id, self.now, rows, **fields))


async def record(
    tx: Transaction,
    arrivals: Sequence[Arrival],
    campaigns: dict[str, Campaign],
    now: datetime,
    seal: Seal,
    digest: Digest,
    slot: int,
) -> list[Result]:
    """Applies a batch and returns each arrival's result, in order. `campaigns`: the definitions held by `tx`."""
    batch = _Batch(arrivals, now, digest)
    for campaign, positions in _by_campaign(batch, campaigns):
        await _record_campaign(tx, batch, campaign, positions, seal)
    if batch.uncounted:
        new = await store.keep_uncounted(tx, batch.uncounted)
        _count_refusals(batch, new)
    if batch.counts:
        await store.count_verdicts(tx, slot, batch.counts)
    await store.count_credited_days(tx, slot, batch.days)
    await outbox.add_outgoing(tx, batch.outgoing)
    return [result for result in batch.results if result is not None]


def _by_campaign(batch: _Batch, campaigns: dict[str, Campaign]) -> list[tuple[Campaign, list[int]]]:
    """Positions of well-formed events of known type, by campaign in a fixed order; the rest is refused."""
    found: dict[str, list[int]] = defaultdict(list)
    for position, arrival in enumerate(batch.arrivals):
        event = arrival.item.event
        if event is None:
            batch.refuse(position, Reason.MALFORMED)
        elif event.type not in TYPES:
            batch.refuse(position, Reason.UNKNOWN_TYPE)
        elif event.campaign_id not in campaigns:
            batch.refuse(position, Reason.UNKNOWN_CAMPAIGN)
        else:
            found[event.campaign_id].append(position)
    return [(campaigns[campaign_id], found[campaign_id]) for campaign_id in sorted(found)]


async def _record_campaign(
    tx: Transaction, batch: _Batch, campaign: Campaign, positions: list[int], seal: Seal
) -> None:
    checkins, actions, enrolments = _sort_out(batch, campaign, positions)
    lessons, fresh = _fold(checkins)
    new_enrolments = await _add_enrolments(tx, batch, campaign, enrolments)
    latest = _latest(enrolment for _, enrolment in new_enrolments)
    changes = [
        (viewer, lessons.get(viewer, _NO_LESSONS), latest.get(viewer)) for viewer in lessons.keys() | latest.keys()
    ]
    credit = campaign.course.credited
    changed = await store.upsert_viewers(tx, campaign.no, changes, credit) if changes else {}
    _count_days(batch, campaign, changed)
    _decide_enrolments(batch, changed, new_enrolments)
    _publish_enrolments(batch, campaign, new_enrolments, seal)
    _publish_reassignments(batch, campaign, changed, latest)
    _decide_checkins(batch, campaign, checkins, fresh, lessons, changed)
    await _record_actions(tx, batch, campaign, actions)


def _sort_out(
    batch: _Batch, campaign: Campaign, positions: list[int]
) -> tuple[list[_Located], list[_Located], list[tuple[int, store.Enrolment]]]:
    """Check-ins, live-room actions and enrolments; what lies in the future or outside every window is refused."""
    checkins: list[_Located] = []
    actions: list[_Located] = []
    enrolments: list[tuple[int, store.Enrolment]] = []
    course = campaign.course
    for position in positions:
        arrival = batch.arrivals[position]
        event = arrival.item.event
        assert event is not None  # noqa: S101 - _by_campaign lets only events through
        occurred_at_s, received_at_s = event.occurred_at.timestamp(), arrival.received_at.timestamp()
        if occurred_at_s > received_at_s + IN_FUTURE_TOLERANCE_S:
            batch.refuse(position, Reason.IN_FUTURE)
        elif event.type == ENROLLED:
            enrolments.append((position, _enrolment(campaign, event, arrival.received_at)))
        elif (slot := course.locate(occurred_at_s)) is None:
            batch.refuse(position, Reason.OUTSIDE_WINDOW)
        else:
            located = _Located(position, event, slot, received_at_s >= slot.sealed_at_s)
            (checkins if event.type == CHECKED_IN else actions).append(located)
    return checkins, actions, enrolments


def _enrolment(campaign: Campaign, event: LiveEvent, received_at: datetime) -> store.Enrolment:
    """Unit as given, else by channel, else unassigned (DESIGN §5.1). A code is kept as sent, known or not."""
    unit_code = event.unit_code or campaign.channels.get(event.channel or "", UNASSIGNED)
    return store.Enrolment(
        event.viewer_id,
        event.event_id,
        event.occurred_at,
        unit_code,
        event.group or UNASSIGNED,
        event.channel,
        received_at,
    )


# ---- check-ins -------------------------------------------------------------------------------------------------------


def _fold(checkins: list[_Located]) -> tuple[dict[str, Lessons], list[bool]]:
    """Each viewer's lessons in this batch, and which check-ins were not repeats within it."""
    lessons: dict[str, Lessons] = {}
    fresh = []
    for checkin in checkins:
        viewer_id, slot = checkin.event.viewer_id, checkin.slot
        if (found := lessons.get(viewer_id)) is None:
            found = lessons[viewer_id] = Lessons()
        fresh.append(found.take(slot.lesson, slot.mode, checkin.late))
    return lessons, fresh


def _decide_checkins(
    batch: _Batch,
    campaign: Campaign,
    checkins: list[_Located],
    fresh: list[bool],
    lessons: dict[str, Lessons],
    changed: dict[str, store.ViewerChange],
) -> None:
    """Recorded or stored where the database had no such bit before, else duplicate. New ones are published."""
    course = campaign.course
    rows: dict[tuple[int, str], list[tuple[Any, ...]]] = defaultdict(list)
    completed: set[str] = set()
    for checkin, is_fresh in zip(checkins, fresh, strict=True):
        position, event, slot = checkin.position, checkin.event, checkin.slot
        lesson_date = campaign.lesson_texts[slot.lesson]
        change = changed.get(event.viewer_id) if is_fresh else None
        if change is None or change.before.has(slot.lesson, slot.mode):
            batch.decide(position, Verdict.DUPLICATE, None, lesson_date, slot.mode)
            continue
        reason = course.uncredited(slot.mode, checkin.late)
        batch.decide(position, Verdict.STORED if reason else Verdict.RECORDED, reason, lesson_date, slot.mode)
        if reason:
            batch.keep(position, Verdict.STORED, reason)
        days = change.credited_after.bit_count()
        reached = change.credited_before.bit_count() < course.required_days <= days and event.viewer_id not in completed
        if reached:
            completed.add(event.viewer_id)
        flags = lessons[event.viewer_id].flags(slot.lesson, slot.mode, change.before)
        rows[slot.lesson, slot.mode].append(
            (
                event.viewer_id,
                change.unit_after,
                change.group_after,
                event.occurred_at,
                checkin.late,
                *flags,
                days,
                course.dates(change.credited_after) if reached else None,
            )
        )
    for (lesson, mode), found in sorted(rows.items()):
        batch.publish(CheckinRecordedV1, campaign, found, lesson_date=campaign.lesson_texts[lesson], mode=mode)


# ---- enrolments ------------------------------------------------------------------------------------------------------


_Enrolled = tuple[int, store.Enrolment]


async def _add_enrolments(
    tx: Transaction, batch: _Batch, campaign: Campaign, enrolments: list[_Enrolled]
) -> list[_Enrolled]:
    """The enrolments that nobody has sent before, in order of arrival; the others are duplicates."""
    if not enrolments:
        return []
    first: dict[tuple[str, str], _Enrolled] = {}
    for position, enrolment in enrolments:
        first.setdefault((enrolment.viewer_id, enrolment.enrolment_id), (position, enrolment))
    new = await store.add_enrolments(tx, campaign.no, [enrolment for _, enrolment in first.values()])
    taken = {first[key][0] for key in new}
    for position, _ in enrolments:
        if position not in taken:
            batch.decide(position, Verdict.DUPLICATE)
    return [entry for entry in enrolments if entry[0] in taken]


def _latest(enrolments: Iterable[store.Enrolment]) -> dict[str, store.Enrolment]:
    latest: dict[str, store.Enrolment] = {}
    for enrolment in enrolments:
        known = latest.get(enrolment.viewer_id)
        if known is None or enrolment.precedence > known.precedence:
            latest[enrolment.viewer_id] = enrolment
    return latest


def _decide_enrolments(batch: _Batch, changed: dict[str, store.ViewerChange], enrolments: list[_Enrolled]) -> None:
    """Applied if it was the latest known when it arrived, else superseded: as if the batch had come one by one."""
    known: dict[str, tuple[datetime, str] | None] = {}
    for position, enrolment in enrolments:
        viewer = enrolment.viewer_id
        if viewer not in known:
            change = changed.get(viewer)
            known[viewer] = change.enrolled_before if change else _LATER_THAN_ANY
        before = known[viewer]
        if before is None or enrolment.precedence > before:
            known[viewer] = enrolment.precedence
            batch.decide(position, Verdict.RECORDED)
        else:
            batch.decide(position, Verdict.STORED, Reason.SUPERSEDED)
            batch.keep(position, Verdict.STORED, Reason.SUPERSEDED)


def _publish_enrolments(batch: _Batch, campaign: Campaign, enrolments: list[_Enrolled], seal: Seal) -> None:
    """Every new enrolment, superseded ones too: their contact data may be the latest there is."""
    for start in range(0, len(enrolments), ENROLMENTS_PER_EVENT_MAX):
        page = enrolments[start : start + ENROLMENTS_PER_EVENT_MAX]
        contacts = [_contact(batch.arrivals[position].item.event) for position, _ in page]
        viewer_ids = [enrolment.viewer_id for _, enrolment in page]
        sealed = seal(campaign.public_keys, contacts, viewer_ids) if any(contacts) else None
        rows = [
            (
                enrolment.viewer_id,
                enrolment.enrolment_id,
                enrolment.enrolled_at,
                enrolment.unit_code,
                enrolment.group_code,
            )
            for _, enrolment in page
        ]
        batch.publish(ViewerEnrolledV1, campaign, rows, contacts=sealed and sealed.model_dump())


def _contact(event: LiveEvent | None) -> bytes | None:
    if event is None or not (event.name or event.phone):
        return None
    return msgspec.json.encode({"name": event.name or None, "phone": event.phone or None})


def _publish_reassignments(
    batch: _Batch, campaign: Campaign, changed: dict[str, store.ViewerChange], latest: dict[str, store.Enrolment]
) -> None:
    """What a viewer had before this batch moves with them, so that totals do not depend on arrival order."""
    dates = campaign.lesson_texts
    rows = [
        (
            change.viewer_id, dates[was.lesson], was.mode, was.late, was.first_for_lesson, was.first_for_campaign,
            change.unit_before, change.group_before, change.unit_after, change.group_after,
            *latest[change.viewer_id].precedence,
        )
        for change in changed.values()
        if change.unit_before is not None
        and (change.unit_before, change.group_before) != (change.unit_after, change.group_after)
        for was in change.before.checkins()
    ]  # fmt: skip
    batch.publish(ViewerReassignedV1, campaign, rows)


# ---- live-room actions -----------------------------------------------------------------------------------------------


async def _record_actions(tx: Transaction, batch: _Batch, campaign: Campaign, located: list[_Located]) -> None:
    if not located:
        return
    first: dict[tuple[str, str], _Located] = {}
    for entry in located:
        first.setdefault((entry.event.viewer_id, entry.event.event_id), entry)
    new = await store.add_actions(tx, campaign.no, (_action(campaign, entry) for entry in first.values()))
    units = await store.attribution(tx, campaign.no, {viewer for viewer, _ in new})
    rows: dict[tuple[int, str], list[tuple[Any, ...]]] = defaultdict(list)
    for entry in located:
        event, lesson_date = entry.event, campaign.lesson_texts[entry.slot.lesson]
        key = (event.viewer_id, event.event_id)
        if key not in new or first[key] is not entry:
            batch.decide(entry.position, Verdict.DUPLICATE, None, lesson_date, entry.slot.mode)
            continue
        batch.decide(entry.position, Verdict.RECORDED, None, lesson_date, entry.slot.mode)
        unit, group = units.get(event.viewer_id, (UNASSIGNED, UNASSIGNED))
        action = LIVE_ROOM_ACTIONS[event.type]
        rows[entry.slot.lesson, action].append((event.viewer_id, unit, group, event.occurred_at, event.item))
    for (lesson, action), found in sorted(rows.items()):
        lesson_date = campaign.lesson_texts[lesson]
        batch.publish(LiveRoomActionsRecordedV1, campaign, found, lesson_date=lesson_date, action=action)


def _action(campaign: Campaign, entry: _Located) -> store.Action:
    event = entry.event
    return store.Action(
        event.viewer_id,
        event.event_id,
        campaign.course.lesson_dates[entry.slot.lesson],
        LIVE_ROOM_ACTIONS[event.type],
        event.item,
        event.occurred_at,
    )


# ---- counting --------------------------------------------------------------------------------------------------------


def _count_days(batch: _Batch, campaign: Campaign, changed: dict[str, store.ViewerChange]) -> None:
    for change in changed.values():
        before, after = change.credited_before.bit_count(), change.credited_after.bit_count()
        if before != after:
            batch.days[campaign.id, before] -= 1
            batch.days[campaign.id, after] += 1


def _count_refusals(batch: _Batch, new: set[tuple[str, str]]) -> None:
    for row in batch.uncounted:
        if row.verdict == Verdict.REJECTED and (row.source, row.event_key) in new:
            new.discard((row.source, row.event_key))
            known = row.reason in (Reason.IN_FUTURE, Reason.OUTSIDE_WINDOW)
            campaign_id = (row.campaign_id or "") if known else ""  # else anything a sender makes up would be a label
            batch.counts[campaign_id, row.type or "", "", "", row.verdict, row.reason] += 1
