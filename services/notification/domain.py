"""What a notification is: its plan, its statuses, its text, and how much of a person it shows.

Pure: time comes in as an argument, nothing is read or written. Rules come from DESIGN §5.3 and FACTS ("Texting in China",
"Viewers and the law").
"""

import json
import re
import unicodedata
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from enum import StrEnum
from typing import Final, NamedTuple, Protocol
from uuid import UUID

from shared.contracts.campaign import CampaignRules, MessageRule, SendWindow, fill

CERTIFICATE_READY: Final = "certificate_ready"
SEND_FOR: Final = timedelta(days=7)  # a contact that comes later than this after `due_at` is not texted any more
RETAIN_FOR: Final = timedelta(days=180)  # after the enrolment or issue, and after the campaign's last lesson

# --- statuses ---------------------------------------------------------------------------------------------------------


class Status(StrEnum):
    QUEUED = "queued"  # nothing was sent
    SENDING = "sending"  # the intent is stored, the channel is being called
    UNKNOWN = "unknown"  # the channel was called and nobody knows; only a query or a receipt resolves it
    ACCEPTED = "accepted"  # the channel has taken it over
    DELIVERED = "delivered"
    FAILED = "failed"
    SUPPRESSED = "suppressed"  # was not sent in time, or must not be
    CANCELLED = "cancelled"  # its cause is gone


class Report(StrEnum):
    """What a channel says about one message, as an answer, a receipt or the answer to a query."""

    NOT_SENT = "not_sent"  # certainly; the only thing that allows another attempt
    UNKNOWN = "unknown"
    ACCEPTED = "accepted"
    DELIVERED = "delivered"
    FAILED = "failed"


_FORWARD: Final[dict[Status, tuple[Report, ...]]] = {
    Status.SENDING: (Report.UNKNOWN, Report.ACCEPTED, Report.DELIVERED, Report.FAILED),
    Status.UNKNOWN: (Report.ACCEPTED, Report.DELIVERED, Report.FAILED),
    Status.ACCEPTED: (Report.DELIVERED, Report.FAILED),
}


def after(status: Status, report: Report) -> Status:
    """The status once the channel has reported. Statuses only move forward: queued, sending, unknown, accepted, then final.

    So a final receipt that overtakes "accepted" holds. The one way back is the channel's word that nothing was sent.
    """
    if report is Report.NOT_SENT:
        return Status.QUEUED if status in (Status.SENDING, Status.UNKNOWN) else status
    return Status(report) if report in _FORWARD.get(status, ()) else status


_RETRY_DELAYS_S: Final = (0, 0, 0, 60, 300, 900, 3600)


def retry_delay(attempts: int) -> timedelta:
    """How long to wait after the n-th attempt that certainly sent nothing. The first three times it was us who crashed."""
    return timedelta(seconds=_RETRY_DELAYS_S[min(attempts, len(_RETRY_DELAYS_S)) - 1])


# --- plans ------------------------------------------------------------------------------------------------------------


class Key(NamedTuple):
    """There is one notification per key, for ever."""

    campaign_id: str
    kind: str
    period: str
    recipient: str


@dataclass(frozen=True)
class Certificate:
    """What is known about one certificate. `revoked` may be known before `issued_at`."""

    campaign_id: str
    viewer_id: str
    serial: str
    issued_at: datetime
    revoked: bool
    has_claim_code: bool
    has_phone: bool

    @property
    def key(self) -> Key:
        """The serial is the period: a reissued certificate has a new claim code, which its holder must be told."""
        return Key(self.campaign_id, CERTIFICATE_READY, self.serial, self.viewer_id)


class Plan(NamedTuple):
    """What a notification that was not sent should look like, given the facts and the definition in force."""

    key: Key
    channel: str
    status: Status  # queued or cancelled
    reason: str | None  # queued: what it waits for
    due_at: datetime
    send_until: datetime


def plan(certificate: Certificate, rules: CampaignRules) -> Plan | None:
    """A function of facts and definition alone, so that no order of arrival matters. None: the campaign sends no such text."""
    rule = rule_for(rules, CERTIFICATE_READY)
    if rule is None:
        return None
    due_at = next_opening(certificate.issued_at, rules, rule.send_window)
    status = Status.CANCELLED if certificate.revoked else Status.QUEUED
    reason = "revoked" if certificate.revoked else _waits_for(certificate, rule)
    return Plan(certificate.key, rule.channel, status, reason, due_at, due_at + SEND_FOR)


def rule_for(rules: CampaignRules, kind: str) -> MessageRule | None:
    return next((rule for rule in rules.messages if rule.event == kind), None)


def _waits_for(certificate: Certificate, rule: MessageRule) -> str | None:
    if not certificate.has_phone:
        return "no_contact"
    if "{claim_code}" in rule.template and not certificate.has_claim_code:
        return "no_claim_code"
    return None


def next_opening(at: datetime, rules: CampaignRules, window: SendWindow | None) -> datetime:
    """`at` where the send window is open, else when it opens next (FACTS, "Texting in China": 08:00–22:00 local time)."""
    if window is None:
        return at
    today = at.astimezone(rules.zone).date()
    for day in (today, today + timedelta(days=1)):
        if at < rules.at(day, window.closes):
            return max(at, rules.at(day, window.opens))
    raise AssertionError("a window opens every day")


def may_send(now: datetime, rules: CampaignRules, kind: str, channel: str) -> bool:
    """Whether a text of this kind may go out now through this channel."""
    rule = rule_for(rules, kind)
    return rule is not None and rule.channel == channel and next_opening(now, rules, rule.send_window) == now


def forget_at(rules: CampaignRules) -> datetime:
    """Until then the campaign's phones and claim codes are kept, however early the viewer enrolled."""
    return rules.at(rules.lessons[-1].date, "24:00") + RETAIN_FOR


# --- messages and channels --------------------------------------------------------------------------------------------


class Reference(NamedTuple):
    """How a channel knows a message: the same in every attempt."""

    campaign_id: str
    kind: str
    notification_id: UUID


@dataclass(frozen=True)
class Message:
    reference: Reference
    to: str = field(repr=False)  # the phone: never in a log
    text: str = field(repr=False)


class Outcome(NamedTuple):
    report: Report
    reason: str | None = None  # a stable slug, shown to the office; never a phone or a text


class Channel(Protocol):
    """A way to people. Whatever it raises is "unknown": the messages are not sent again before `query` says they were not."""

    async def send(self, messages: Sequence[Message]) -> Mapping[UUID, Outcome]:
        """Sends the batch; outcome by notification id. What is missing in the answer is unknown."""
        ...

    async def query(self, references: Sequence[Reference]) -> Mapping[UUID, Outcome]:
        """What became of messages whose sending was not answered."""
        ...


def text(rule: MessageRule, *, campaign_title: str, serial: str, claim_code: str | None) -> str:
    """What the recipient reads. The template names 96110 (the contract refuses one that does not) and holds no personal link."""
    return fill(rule.template, {"campaign_title": campaign_title, "serial": serial, "claim_code": claim_code or ""})


# --- people -----------------------------------------------------------------------------------------------------------

_PHONE: Final = re.compile(r"\+?[0-9]{7,15}")
_FILLERS: Final = re.compile(r"[\s\-‐‑–—().]+")


class UnreadableSecret(ValueError):
    """A sealed value that opened is not what its contract promises. Does not repeat the value."""


def phone_in(contact: bytes) -> str | None:
    """The phone in a sealed contact (`{"name": str|null, "phone": str|null}`), normalised; the name is not kept here."""
    try:
        phone = json.loads(contact)["phone"]
    except (ValueError, TypeError, KeyError):
        raise UnreadableSecret("a contact is not JSON with a phone") from None
    return normalise_phone(phone) if isinstance(phone, str) else None


def normalise_phone(typed: str) -> str | None:
    """`+86 138-1234-5678`, full-width digits and the like as one spelling; None for what is no phone number."""
    digits = _FILLERS.sub("", unicodedata.normalize("NFKC", typed))
    digits = re.sub(r"^(\+86|0086)(?=1[0-9]{10}$)", "", digits)
    return digits if _PHONE.fullmatch(digits) else None


def claim_code_in(secret: bytes) -> str:
    try:
        code = secret.decode("ascii")
    except UnicodeDecodeError:
        raise UnreadableSecret("a claim code is not ASCII") from None
    if not re.fullmatch(r"[A-Z0-9-]{4,32}", code):
        raise UnreadableSecret("a claim code has other characters than A-Z and 0-9")
    return code


def mask_phone(phone: str) -> str:
    """138****5678"""
    return f"{phone[:3]}****{phone[-4:]}" if len(phone) >= 11 else f"****{phone[-2:]}"
