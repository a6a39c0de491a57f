"""When the holder of a certificate is texted, and what a claim code looks like. Pure."""

import re
from dataclasses import dataclass
from datetime import datetime
from typing import Final, NamedTuple

from services.notification.plans.domain import SEND_FOR, Key, Plan, UnreadableSecret, next_opening, rule_for
from shared.contracts.campaign import CampaignRules, MessageRule

CERTIFICATE_READY: Final = "certificate_ready"


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


class Text(NamedTuple):
    """A text about a certificate that was sent or may still be sent. Pages are ordered by these fields."""

    campaign_id: str
    serial: str
    viewer_id: str
    status: str


def plan(certificate: Certificate, rules: CampaignRules) -> Plan | None:
    """The plan for a certificate's text; None where the campaign sends none. It depends only on facts and definition, so the
    order in which events arrive does not matter."""
    rule = rule_for(rules, CERTIFICATE_READY)
    if rule is None:
        return None
    due_at = next_opening(certificate.issued_at, rules, rule.send_window)
    reason = "revoked" if certificate.revoked else _waits_for(certificate, rule)
    return Plan(
        certificate.key,
        rule.channel,
        "cancelled" if certificate.revoked else "queued",
        reason,
        due_at,
        due_at + SEND_FOR,
    )


def _waits_for(certificate: Certificate, rule: MessageRule) -> str | None:
    """What is missing before the text can be sent, as a stable slug; None where nothing is."""
    if not certificate.has_phone:
        return "no_contact"
    if "{claim_code}" in rule.template and not certificate.has_claim_code:
        return "no_claim_code"
    return None


def claim_code_in(secret: bytes) -> str:
    """The claim code in an opened secret. Raises `UnreadableSecret`."""
    try:
        code = secret.decode("ascii")
    except UnicodeDecodeError:
        raise UnreadableSecret("a claim code is not ASCII") from None
    if not re.fullmatch(r"[A-Z0-9-]{4,32}", code):
        raise UnreadableSecret("a claim code has other characters than A-Z and 0-9")
    return code
