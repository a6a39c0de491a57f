"""What a plan is, when its message may go out, how long people are kept, and how a phone is read.

Pure: time comes in as an argument, nothing is read or written. Rules come from DESIGN §5.3 and FACTS ("Texting in China",
"Viewers and the law").
"""

import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Final, Literal, NamedTuple

from shared.contracts.campaign import RETAIN_DAYS, CampaignRules, MessageRule, SendWindow, fill
from shared.people.phones import normalise_phone

SEND_FOR: Final = timedelta(days=7)  # after `due_at`; a phone that arrives later is not texted any more
RETAIN_FOR: Final = timedelta(
    days=RETAIN_DAYS
)  # after the enrolment or issue, where the campaign does not say `retain_days`

# --- plans ------------------------------------------------------------------------------------------------------------


class Key(NamedTuple):
    """Identifies a notification: for each key there is one, for ever."""

    campaign_id: str
    kind: str
    period: str
    recipient: str


class Plan(NamedTuple):
    """What a notification that has not been sent must look like, given the facts and the definition in force."""

    key: Key
    channel: str
    status: Literal["queued", "cancelled"]
    reason: str | None  # queued: what it waits for; cancelled: why
    due_at: datetime
    send_until: datetime


def rule_for(rules: CampaignRules, kind: str) -> MessageRule | None:
    """The campaign's rule for a kind of message; None where it sends none."""
    return next((rule for rule in rules.messages if rule.event == kind), None)


def next_opening(at: datetime, rules: CampaignRules, window: SendWindow | None) -> datetime:
    """`at` itself where the send window is open, else the time when it next opens (FACTS, "Texting in China": 08:00–22:00 local
    time)."""
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
    """The time until which the campaign's phones and claim codes are kept, however early a viewer enrolled."""
    return rules.at(rules.last_day, "24:00") + timedelta(days=rules.retain_days)


# --- texts ------------------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Content:
    """What one message is made of, as its kind says. `values`: texts for the kind's placeholders."""

    phone: str = field(repr=False)  # never in a log
    values: Mapping[str, str] = field(repr=False)


def text(rules: CampaignRules, kind: str, values: Mapping[str, str]) -> str:
    """What the recipient reads. The template names 96110 (the contract refuses one that does not) and holds no personal link:
    {claim_page} is the same address for everybody, and signs nobody in."""
    rule = rule_for(rules, kind)
    assert rule is not None  # noqa: S101 - only what `may_send` allowed is rendered
    return fill(rule.template, {"campaign_title": rules.title, **values})


# --- people -----------------------------------------------------------------------------------------------------------


class UnreadableSecret(ValueError):
    """An opened secret is not what its contract promises. The error's text does not repeat it."""


def phone_in(contact: bytes) -> str | None:
    """The phone in a sealed contact (`{"name": str|null, "phone": str|null}`), normalised; the name is not kept here."""
    try:
        phone = json.loads(contact)["phone"]
    except (ValueError, TypeError, KeyError):
        raise UnreadableSecret("a contact is not JSON with a phone") from None
    return normalise_phone(phone) if isinstance(phone, str) else None
