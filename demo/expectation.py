"""Computes what must come of the traffic in the slow and obvious way: one event after the other, with sets and dictionaries.

It knows what was sent, when the clock stood where, and the rules as the design states them. It shares no code with the services.
"""

import hashlib
import re
from collections import Counter, defaultdict
from collections.abc import Iterator
from dataclasses import dataclass, field
from datetime import UTC, date, datetime, timedelta
from typing import Any, NamedTuple

from demo.campaign import UNASSIGNED, Campaign
from demo.deliveries import Fault, Item, MakeGood, Step

CHECKED_IN, ENROLLED = "viewer.checked_in", "viewer.enrolled"
ACTIONS = {"quiz.answered": "quiz", "prize.won": "prize", "account.followed": "account"}
KNOWN_TYPES = {CHECKED_IN, ENROLLED, *ACTIONS}
STATUS_OF_FAULT: dict[Fault, int] = {
    "wrong_signature": 401,
    "not_utf8": 400,
    "truncated": 400,
    "too_many": 413,
    "too_large": 413,
    "empty": 400,
    "not_json": 400,
}
AHEAD = timedelta(seconds=60)
SEND_FOR = timedelta(days=7)

_ID = re.compile(r"[A-Za-z0-9._:-]{1,64}")
_CONTROL = re.compile(r"[\x00-\x1f\x7f]")
_NEEDED = {
    ENROLLED: ("unit_code", "channel", "group", "name", "phone"),
    **{kind: (item,) for kind, item in ACTIONS.items()},
}
_TEXTS = {"name": 50, "phone": 32, "quiz": 100, "prize": 100, "account": 100}


class Expected(NamedTuple):
    """The answer that one event must get. Of several events with the same `identity` in a step any may be the first; the others
    are `duplicate`. Without an identity (None) the verdict does not depend on others. `known`: the identity existed before the
    step; `repeated`: the reason beside `duplicate`."""

    identity: tuple[str, ...] | None
    verdict: str
    reason: str | None
    known: bool = False
    repeated: str = ""


FILED = "out of a file"


@dataclass(slots=True)
class Enrolment:
    """`id` is `FILED` where it came in a file: then it counts as later than what the platform sent of that second."""

    at: datetime
    id: str
    unit: str
    group: str
    channel: str | None
    name: str | None
    phone: str | None

    @property
    def order(self) -> tuple[datetime, bool, str]:
        return self.at, self.id == FILED, self.id


@dataclass(slots=True)
class Viewer:
    """What is known of a viewer. Lessons are keyed by index; the value says whether the check-in came late."""

    live: dict[int, bool] = field(default_factory=dict)
    replay: dict[int, bool] = field(default_factory=dict)
    sources: dict[tuple[int, str], str] = field(default_factory=dict)  # (lesson, mode) → who sent it, first come first
    made_good: set[int] = field(default_factory=set)
    enrolments: dict[str, Enrolment] = field(default_factory=dict)

    def checkins(self, mode: str) -> dict[int, bool]:
        return self.live if mode == "live" else self.replay

    def seen(self) -> set[int]:
        return self.live.keys() | self.replay.keys()

    def credited(self, credit: list[str]) -> set[int]:
        earned = {lesson for mode in credit for lesson, late in self.checkins(mode).items() if not late}
        return earned | self.made_good

    def latest(self) -> Enrolment | None:
        return max(self.enrolments.values(), key=lambda enrolment: enrolment.order, default=None)

    @property
    def unit(self) -> str:
        """The last unit told, by code or by a channel that is known."""
        told = [enrolment for enrolment in self.enrolments.values() if enrolment.unit != UNASSIGNED]
        latest = max(told, key=lambda enrolment: enrolment.order, default=None)
        return latest.unit if latest else UNASSIGNED

    @property
    def group(self) -> str:
        """The last group told."""
        told = [enrolment for enrolment in self.enrolments.values() if enrolment.group != UNASSIGNED]
        latest = max(told, key=lambda enrolment: enrolment.order, default=None)
        return latest.group if latest else UNASSIGNED

    def name(self) -> str | None:
        """The latest name; an enrolment without a name never clears it."""
        told = [enrolment for enrolment in self.enrolments.values() if enrolment.name]
        latest = max(told, key=lambda enrolment: enrolment.order, default=None)
        return printed(latest.name) if latest and latest.name else None

    def phone(self) -> str | None:
        """The latest phone; an enrolment without a phone never clears it."""
        told = [enrolment for enrolment in self.enrolments.values() if enrolment.phone]
        latest = max(told, key=lambda enrolment: enrolment.order, default=None)
        return plain_phone(latest.phone) if latest and latest.phone else None


@dataclass
class Message:
    due_at: datetime
    status: str = "queued"
    reason: str | None = None
    to: str | None = None


@dataclass
class Certificate:
    viewer_id: str
    issued_at: datetime
    message: Message
    claimed: bool = False
    revoked: bool = False
    name: str | None = None  # as printed; fixed once claimed or corrected
    corrected: bool = False


class Expectation:
    def __init__(self, campaign: Campaign) -> None:
        self.campaign = campaign
        self._sealed_at = [campaign.sealed_at(lesson) for lesson in range(len(campaign.days))]
        self.viewers: dict[str, Viewer] = defaultdict(Viewer)
        self.verdicts: Counter[tuple[str, str, str, str, str, str]] = Counter()
        self.uncounted: Counter[tuple[Any, ...]] = Counter()
        self.actions: dict[tuple[str, ...], tuple[str, str, str, str]] = {}  # → lesson, action, unit, item
        self.granted: Counter[str] = Counter()
        self.certificates: list[Certificate] = []
        self.dead_letters = 0
        self.attempts_refused: Counter[int] = Counter()
        self._refused: set[tuple[str, str]] = set()
        self._certified: set[str] = set()
        self._completed: set[str] = set()
        self._touched: set[str] = set()

    # ---- events ------------------------------------------------------------------------------------------------------

    def take(self, step: Step) -> dict[int, list[Expected]]:
        """Applies a step; returns what each post (by `id()`) and export (by `id()`) must have been answered."""
        before = _Before()
        answers: dict[int, list[Expected]] = {}
        for post in step.posts:
            if post.fault:
                self.attempts_refused[STATUS_OF_FAULT[post.fault]] += 1
            answers[id(post)] = [self._event(post.source, item, step.at, before) for item in post.items]
        for message in step.bus:
            self.dead_letters += not message.items
            for item in message.items:
                self._event("bus", item, step.at, before)
        before.by_file = True
        for export in step.exports:
            answers[id(export)] = [self._event(export.source, item, step.at, before) for item in export.rows]
        self._settle_actions(before)
        return answers

    def _event(self, source: str, item: Item, now: datetime, before: "_Before") -> Expected:
        event = item.value
        at = _well_formed(event)
        if at is None:
            return self._refuse(source, item, "malformed", now, None)
        if event["type"] not in KNOWN_TYPES:
            return self._refuse(source, item, "unknown_type", now, at)
        if event["campaign_id"] != self.campaign.id:
            return self._refuse(source, item, "unknown_campaign", now, at)
        if at > now + AHEAD:
            return self._refuse(source, item, "in_future", now, at)
        if event["type"] == ENROLLED:
            return self._enrol(event, at, before)
        window = self.campaign.locate(at)
        if window is None:
            return self._refuse(source, item, "outside_window", now, at)
        if not self.campaign.can_send(source, window):
            return self._refuse(source, item, "not_of_platform", now, at)
        if event["type"] == CHECKED_IN:
            return self._check_in(source, event["viewer_id"], now, window.lesson, window.mode, before)
        return self._act(event, at, window.lesson, window.mode, before)

    def _refuse(self, source: str, item: Item, reason: str, now: datetime, at: datetime | None) -> Expected:
        event = item.value if at is not None else {}
        event_id = item.value.get("event_id") if isinstance(item.value, dict) else None
        has_id = isinstance(event_id, str) and _ID.fullmatch(event_id)
        key = str(event_id) if has_id else hashlib.sha256(item.raw).hexdigest()
        if (source, key) not in self._refused:
            self._refused.add((source, key))
            kind = event.get("type") if event.get("type") in KNOWN_TYPES else None
            told = reason in ("in_future", "outside_window", "not_of_platform")
            self.verdicts[self.campaign.id if told else "", kind or "", "", "", "rejected", reason] += 1
            row = (
                source,
                "rejected",
                reason,
                event.get("campaign_id"),
                event.get("viewer_id"),
                kind,
                at and at.astimezone(UTC),
            )
            self.uncounted[*row, now.astimezone(UTC)] += 1
        return Expected(None, "rejected", reason)

    def _check_in(
        self, source: str, viewer_id: str, now: datetime, lesson: int, mode: str, before: "_Before"
    ) -> Expected:
        late = now >= self._sealed_at[lesson]
        reason = "late" if late else None if mode in self.campaign.credit else "replay_not_credited"
        verdict = "stored" if reason else "recorded"
        identity = (CHECKED_IN, viewer_id, str(lesson), mode)
        checkins = self.viewers[viewer_id].checkins(mode)
        first = lesson not in checkins
        if first:
            checkins[lesson] = late
            self.viewers[viewer_id].sources[lesson, mode] = source
            before.fresh[identity] = (verdict, reason)
            self._touched.add(viewer_id)
            if reason:
                # Any of the step's repeats may be the one that is stored, so time and source of the row are not compared.
                self.uncounted["stored", reason, viewer_id, CHECKED_IN, lesson, mode] += 1
        self._count(CHECKED_IN, lesson, mode, verdict, reason if first else None, first=first)
        return Expected(identity, verdict, reason, known=identity not in before.fresh)

    def _enrol(self, event: dict[str, Any], at: datetime, before: "_Before") -> Expected:
        viewer = self.viewers[event["viewer_id"]]
        identity = (ENROLLED, event["viewer_id"], event["event_id"])
        known = viewer.latest()
        if known is not None and event["event_id"] in viewer.enrolments:
            replaced = before.by_file and viewer.enrolments[event["event_id"]].order < known.order
            repeated = "superseded" if replaced else ""
            self._count(ENROLLED, None, "", "", repeated, first=False)
            first = before.fresh.get(identity, ("duplicate", None))
            return Expected(identity, *first, known=identity not in before.fresh, repeated=repeated)
        unit = event.get("unit_code") or self.campaign.channels.get(event.get("channel") or "", UNASSIGNED)
        group, channel = event.get("group") or UNASSIGNED, event.get("channel")
        kept_as = FILED if before.by_file else event["event_id"]
        enrolment = Enrolment(at, kept_as, unit, group, channel, event.get("name"), event.get("phone"))
        viewer.enrolments[event["event_id"]] = enrolment
        superseded = known is not None and enrolment.order < known.order
        verdict, reason = ("stored", "superseded") if superseded else ("recorded", None)
        before.fresh[identity] = (verdict, reason)
        if superseded:
            self.uncounted["stored", "superseded", event["viewer_id"], ENROLLED, None, ""] += 1
        self._count(ENROLLED, None, "", verdict, reason, first=True)
        return Expected(identity, verdict, reason)

    def _act(self, event: dict[str, Any], at: datetime, lesson: int, mode: str, before: "_Before") -> Expected:
        """An action is the same where viewer, second and item are, whatever its id."""
        item = event.get(ACTIONS[event["type"]]) or ""
        key = (event["viewer_id"], event["type"], str(int(at.timestamp())), item)
        identity = (event["type"], *key)
        first = key not in self.actions
        if first:
            before.fresh[identity] = ("recorded", None)
            action = event["type"].replace(".", "_")
            self.actions[key] = (self.campaign.days[lesson].isoformat(), action, "", item)
            before.acted.append(key)
        self._count(event["type"], lesson, mode, "recorded", None, first=first)
        return Expected(identity, "recorded", None, known=identity not in before.fresh)

    def _settle_actions(self, before: "_Before") -> None:
        """Counts actions under the viewer's unit at that moment; the traffic never has an enrolment and an action in one step."""
        for key in before.acted:
            lesson, action, _, item = self.actions[key]
            unit = self.viewers[key[0]].unit if key[0] in self.viewers else UNASSIGNED
            self.actions[key] = (lesson, action, unit, item)

    def _count(
        self, kind: str, lesson: int | None, mode: str, verdict: str, reason: str | None, *, first: bool
    ) -> None:
        day = "" if lesson is None else self.campaign.days[lesson].isoformat()
        outcome = (verdict if first else "duplicate", reason or "")
        self.verdicts[self.campaign.id, kind, day, mode, *outcome] += 1

    # ---- decisions, certificates, messages ---------------------------------------------------------------------------

    def make_good(self, decision: MakeGood) -> None:
        lesson = self.campaign.days.index(decision.lesson_date)
        also = {self.campaign.days.index(day) for day in decision.checked_in_on}
        for viewer_id in decision.viewer_ids:
            viewer = (
                self.viewers[viewer_id] if not also else self.viewers.get(viewer_id)
            )  # listed viewers are granted the lesson, seen or not
            if viewer is not None and also <= viewer.seen() and lesson not in viewer.credited(self.campaign.credit):
                viewer.made_good.add(lesson)
                self._touched.add(viewer_id)
                self.granted[decision.id] += 1

    def settle(self, now: datetime) -> None:
        """Does what is due at `now`: issues certificates, sends messages."""
        for viewer_id in self._touched:
            if len(self.viewers[viewer_id].credited(self.campaign.credit)) >= self.campaign.required_days:
                self._completed.add(viewer_id)
        self._touched.clear()
        if now >= self.campaign.claim_from:
            for viewer_id in sorted(self._completed - self._certified):
                self._certified.add(viewer_id)
                self._issue(viewer_id, now)
        for certificate in self.certificates:
            self._send(certificate, now)
            if not (certificate.claimed or certificate.revoked or certificate.corrected):
                certificate.name = self.viewers[certificate.viewer_id].name()

    def _issue(self, viewer_id: str, now: datetime, name: str | None = None, *, claimed: bool = False) -> None:
        message = Message(self._next_opening(now))
        self.certificates.append(Certificate(viewer_id, now, message, claimed, name=name, corrected=name is not None))

    def _send(self, certificate: Certificate, now: datetime) -> None:
        message = certificate.message
        if message.status != "queued":
            return
        phone = self.viewers[certificate.viewer_id].phone()
        message.reason = None if phone else "no_contact"
        if certificate.revoked:
            message.status, message.reason = "cancelled", "revoked"
        elif now >= message.due_at + SEND_FOR:
            message.status, message.reason = "suppressed", message.reason or "expired"
        elif phone and now >= message.due_at and self._next_opening(now) == now:
            message.status, message.to = "delivered", phone

    def _next_opening(self, at: datetime) -> datetime:
        today = at.astimezone(self.campaign.zone).date()
        for day in (today, today + timedelta(days=1)):
            if at < self.campaign.at(day, self.campaign.send_to):
                return max(at, self.campaign.at(day, self.campaign.send_from))
        raise AssertionError("a window opens every day")

    def valid(self) -> dict[str, Certificate]:
        return {certificate.viewer_id: certificate for certificate in self.certificates if not certificate.revoked}

    def claimed(self, viewer_id: str) -> None:
        self.valid()[viewer_id].claimed = True

    def revoked(self, viewer_id: str) -> None:
        self.valid()[viewer_id].revoked = True

    def reissued(self, viewer_id: str, name: str, now: datetime) -> None:
        old = self.valid()[viewer_id]
        old.revoked = True
        self._issue(viewer_id, now, printed(name), claimed=old.claimed)

    def phone_tail(self, viewer_id: str) -> str | None:
        phone = self.viewers[viewer_id].phone()
        return phone and phone[-4:]

    # ---- sums --------------------------------------------------------------------------------------------------------

    def checkins(self) -> Iterator["CheckinRow"]:
        """Every check-in and every lesson made good, under the viewer's last unit and group."""
        for viewer_id, viewer in self.viewers.items():
            unit, group = viewer.unit, viewer.group
            for mode in ("live", "replay"):
                for lesson, late in viewer.checkins(mode).items():
                    source = viewer.sources[lesson, mode]
                    yield CheckinRow(viewer_id, lesson, self.campaign.days[lesson], mode, unit, group, late, source)
            for lesson in viewer.made_good:
                yield CheckinRow(viewer_id, lesson, self.campaign.days[lesson], "made_good", unit, group, False, "")


class CheckinRow(NamedTuple):
    viewer_id: str
    lesson: int
    day: date
    mode: str
    unit: str
    group: str
    late: bool
    source: str  # "" where the office granted the lesson


class _Before:
    """What the current step brought for the first time."""

    def __init__(self) -> None:
        self.fresh: dict[tuple[str, ...], tuple[str, str | None]] = {}  # identity → verdict and reason of the first
        self.acted: list[tuple[str, ...]] = []
        self.by_file = False  # whether what is being taken stands in a file


def _well_formed(event: Any) -> datetime | None:
    """The event's time, or None where it is malformed."""
    if not isinstance(event, dict) or not all(
        _is_id(event.get(key)) for key in ("event_id", "campaign_id", "viewer_id")
    ):
        return None
    if not isinstance(event.get("type"), str) or len(event["type"]) > 64:
        return None
    for key in _NEEDED.get(event["type"], ()):
        value = event.get(key)
        if value not in (None, "") and not (_is_text(value, _TEXTS[key]) if key in _TEXTS else _is_id(value)):
            return None
    return _moment(event.get("occurred_at"))


def _is_text(value: Any, max_chars: int) -> bool:
    return isinstance(value, str) and len(value) <= max_chars and not _CONTROL.search(value)


def _is_id(value: Any) -> bool:
    return isinstance(value, str) and _ID.fullmatch(value) is not None


def _moment(text: Any) -> datetime | None:
    try:
        at = datetime.fromisoformat(text)
    except (ValueError, TypeError):
        return None
    return at if at.tzinfo and 2000 <= at.year < 2200 else None


def printed(name: str) -> str:
    """Middle dots in one spelling."""
    return re.sub(r"\s*[·•・]\s*", "·", name).strip()


def plain_phone(phone: str) -> str:
    return re.sub(r"[ \-]", "", phone).removeprefix("+86")
