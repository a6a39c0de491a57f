"""The first half of recording, pure: a batch is sorted by campaign and kind, and what cannot count is refused.

The result is ready for the database and has every identity once. deciding.py goes on with what the database answers.
"""

from collections.abc import Callable, Iterable, Mapping, Sequence
from datetime import date, datetime
from typing import NamedTuple

import msgspec

from services.checkin.domain import (
    CHECKED_IN,
    ENROLLED,
    IN_FUTURE_TOLERANCE_S,
    LIVE_ROOM_ACTIONS,
    TYPES,
    Campaign,
    Lessons,
    Reason,
    Slot,
)
from services.checkin.live_events import Item, LiveEvent
from shared.contracts.base import UNASSIGNED

Digest = Callable[[bytes], bytes]

_NO_LESSONS = Lessons()


class Arrival(msgspec.Struct, frozen=True, gc=False):
    """One item of a post, with where it came from and when it was received.

    `filed_as`: the id under which an enrolment from a file is stored; "" for what comes in another way. The import gives it,
    because rows of files have no ids, or have the same ids again in a corrected file, and files must count in the order of
    their import. A file is no sign that a feed is alive.
    """

    item: Item
    source: str
    received_at: datetime
    filed_as: str = ""


class Located(msgspec.Struct, frozen=True, gc=False):
    """A check-in or live-room action that lies in a window. `fresh`: a check-in that repeats none of this batch."""

    position: int
    event: LiveEvent
    slot: Slot
    late: bool
    fresh: bool


class Enrolment(NamedTuple):
    """An enrolment as it is stored. `said`: a keyed digest of all that it says, contacts included. A second enrolment of a
    viewer with the same digest is a repeat."""

    viewer_id: str
    enrolment_id: str
    enrolled_at: datetime
    unit_code: str
    group_code: str
    channel: str | None
    received_at: datetime
    guardian_consent: bool = False
    has_contact: bool = False
    said: bytes = b""

    @property
    def precedence(self) -> tuple[datetime, str]:
        """The enrolment with the largest precedence wins, whatever the order of arrival (DESIGN §4.5)."""
        return self.enrolled_at, self.enrolment_id

    @property
    def key(self) -> tuple[str, str]:
        return self.viewer_id, self.enrolment_id


class Told(NamedTuple):
    """A viewer's latest enrolment, the latest that gives a unit, and the latest that gives a group. An enrolment without a unit
    or group does not clear the known one (DESIGN §4.5)."""

    latest: Enrolment
    unit: Enrolment | None
    group: Enrolment | None

    @classmethod
    def of(cls, enrolment: Enrolment) -> "Told":
        gives_unit, gives_group = enrolment.unit_code != UNASSIGNED, enrolment.group_code != UNASSIGNED
        return cls(enrolment, enrolment if gives_unit else None, enrolment if gives_group else None)

    def with_another(self, enrolment: Enrolment) -> "Told":
        more = Told.of(enrolment)
        return Told(
            _later(self.latest, enrolment),
            _later(self.unit, enrolment) if more.unit else self.unit,
            _later(self.group, enrolment) if more.group else self.group,
        )


class Enrolled(NamedTuple):
    """An enrolment, and the event that brought it, which has the contact data."""

    position: int
    event: LiveEvent
    enrolment: Enrolment


class Action(NamedTuple):
    viewer_id: str
    event_id: str
    lesson_date: date
    action: str
    item: str | None
    happened_at: datetime


SAID_BYTES = 16

Key = tuple[str, str]
"""(viewer, event): the identity of an enrolment or an action."""

Refusal = tuple[int, Reason]
"""A position in the batch, and why its event is refused."""


class Part(msgspec.Struct):
    """A batch's events of one campaign. The `first_…` are the first arrivals of each key, `lessons` each viewer's check-ins."""

    campaign: Campaign
    refusals: list[Refusal] = []
    checkins: list[Located] = []
    lessons: dict[str, Lessons] = {}
    enrolments: list[Enrolled] = []
    first_enrolments: dict[Key, Enrolled] = {}
    actions: list[Located] = []
    first_actions: dict[Key, Located] = {}
    deeds: set[tuple[str, str, int, str | None]] = set()

    def add_action(self, action: Located, occurred_at_s: float) -> None:
        """An action is known by its id, and by what was done: viewer, action, item and second."""
        event = action.event
        self.actions.append(action)
        key, deed = (event.viewer_id, event.event_id), (event.viewer_id, event.type, int(occurred_at_s), event.item)
        if key not in self.first_actions and deed not in self.deeds:
            self.first_actions[key] = action
        self.deeds.add(deed)

    def enrolled(self, new: set[Key]) -> list[Enrolled]:
        """The enrolments that nobody has sent before, in order of arrival."""
        return [entry for key, entry in self.first_enrolments.items() if key in new]

    def viewers(self, enrolled: list[Enrolled]) -> list[tuple[str, Lessons, Told | None]]:
        """The changes by viewer: check-ins of the batch, and what its new enrolments say."""
        told = told_by(enrolled)
        return [
            (viewer, self.lessons.get(viewer, _NO_LESSONS), told.get(viewer))
            for viewer in self.lessons.keys() | told.keys()
        ]

    def enrolment_rows(self, digest: Digest) -> list[Enrolment]:
        entries = self.first_enrolments.values()
        return [enrolment._replace(said=said(event, digest)) for _, event, enrolment in entries]

    def repeats_in_files(
        self, enrolled: list[Enrolled], arrivals: Sequence[Arrival], digest: Digest
    ) -> dict[int, tuple[str, bytes]]:
        """The enrolments from files that are not new: position → viewer and digest."""
        new = {entry.position for entry in enrolled}
        return {
            position: (event.viewer_id, said(event, digest))
            for position, event, _ in self.enrolments
            if arrivals[position].filed_as and position not in new
        }

    def action_rows(self) -> list[Action]:
        dates = self.campaign.course.lesson_dates
        return [_action(entry.event, dates[entry.slot.lesson]) for entry in self.first_actions.values()]


def sort_out(arrivals: Sequence[Arrival], campaigns: Mapping[str, Campaign]) -> tuple[list[Refusal], list[Part]]:
    """Refuses what belongs to no campaign or is no event, and sorts the rest by campaign, in the order of campaign ids."""
    refusals: list[Refusal] = []
    parts: dict[str, list[int]] = {}
    for position, arrival in enumerate(arrivals):
        event = arrival.item.event
        if event is None:
            refusals.append((position, Reason.MALFORMED))
        elif event.type not in TYPES:
            refusals.append((position, Reason.UNKNOWN_TYPE))
        elif (positions := parts.get(event.campaign_id)) is not None:
            positions.append(position)
        elif event.campaign_id in campaigns:
            parts[event.campaign_id] = [position]
        else:
            refusals.append((position, Reason.UNKNOWN_CAMPAIGN))
    return refusals, [
        _sort_out_campaign(arrivals, campaigns[campaign_id], parts[campaign_id]) for campaign_id in sorted(parts)
    ]


def _sort_out_campaign(arrivals: Sequence[Arrival], campaign: Campaign, positions: list[int]) -> Part:
    """Sorts a campaign's events by kind; refuses those in the future, outside every window, or where their source broadcasts
    nothing."""
    part = Part(campaign)
    locate, can_come_from = campaign.course.locate, campaign.course.can_come_from
    received_at, received_at_s = None, 0.0
    for position in positions:
        arrival = arrivals[position]
        event = arrival.item.event
        assert event is not None  # noqa: S101 - sort_out lets only events through
        if arrival.received_at is not received_at:  # all items of a post have the same
            received_at, received_at_s = arrival.received_at, arrival.received_at.timestamp()
        occurred_at_s = event.occurred_at.timestamp()
        if occurred_at_s > received_at_s + IN_FUTURE_TOLERANCE_S:
            part.refusals.append((position, Reason.IN_FUTURE))
        elif event.type == ENROLLED:
            _add_enrolment(part, position, event, arrival)
        elif (slot := locate(occurred_at_s)) is None:
            part.refusals.append((position, Reason.OUTSIDE_WINDOW))
        elif not can_come_from(arrival.source, occurred_at_s):
            part.refusals.append((position, Reason.NOT_OF_PLATFORM))
        elif event.type == CHECKED_IN:
            late = received_at_s >= slot.sealed_at_s
            if (lessons := part.lessons.get(event.viewer_id)) is None:
                lessons = part.lessons[event.viewer_id] = Lessons()
            fresh = lessons.take(slot.lesson, slot.mode, late)
            part.checkins.append(Located(position, event, slot, late, fresh))
        else:
            part.add_action(Located(position, event, slot, received_at_s >= slot.sealed_at_s, False), occurred_at_s)
    return part


def _add_enrolment(part: Part, position: int, event: LiveEvent, arrival: Arrival) -> None:
    """Adds an enrolment. Its unit is the one given, else the channel's, else none (DESIGN §5.1); codes are kept as sent."""
    enrolment_id = arrival.filed_as or event.event_id
    enrolment = Enrolment(
        event.viewer_id,
        enrolment_id,
        event.occurred_at,
        event.unit_code or part.campaign.channels.get(event.channel or "", UNASSIGNED),
        event.group or UNASSIGNED,
        event.channel or None,
        arrival.received_at,
        event.guardian_consent is True,
        bool(event.name or event.phone),
    )
    enrolled = Enrolled(position, event, enrolment)
    part.enrolments.append(enrolled)
    part.first_enrolments.setdefault((event.viewer_id, enrolment_id), enrolled)


def said(event: LiveEvent, digest: Digest) -> bytes:
    """A digest of all that an enrolment says. Its time counts in whole seconds, because files have no fractions and platforms
    send them."""
    second = int(event.occurred_at.timestamp())
    consent = event.guardian_consent is True
    fields = (event.campaign_id, second, event.unit_code, event.channel, event.group, event.name, event.phone, consent)
    return digest(b"enrolment" + msgspec.json.encode([value or None for value in fields]))[:SAID_BYTES]


def _action(event: LiveEvent, lesson_date: date) -> Action:
    return Action(
        event.viewer_id, event.event_id, lesson_date, LIVE_ROOM_ACTIONS[event.type], event.item, event.occurred_at
    )


def told_by(enrolled: Iterable[Enrolled]) -> dict[str, Told]:
    """What each viewer's enrolments say together."""
    told: dict[str, Told] = {}
    for _, _, enrolment in enrolled:
        known = told.get(enrolment.viewer_id)
        told[enrolment.viewer_id] = Told.of(enrolment) if known is None else known.with_another(enrolment)
    return told


def _later(one: Enrolment | None, other: Enrolment) -> Enrolment:
    return other if one is None or other.precedence > one.precedence else one
