"""How long pictures are kept, how many there may be, and which one resembles another. Pure."""

from datetime import datetime, timedelta
from typing import NamedTuple
from uuid import UUID

from shared.contracts.campaign import RETAIN_DAYS, CampaignRules

MIB = 1024 * 1024
UPLOAD_MAX_BYTES = 8 * MIB
UNIT_PICTURES_MAX_BYTES = 100 * MIB  # about 300 pictures, as they are kept
UNUSED_KEPT_FOR = timedelta(days=7)  # longer than a line is gone; a draft older than that asks for its pictures again
NEAR_BITS_MAX = (
    5  # of 64, measured on 60 generated scenes: made smaller and recompressed 0–2, cut by 2 % 0–6, others 18 and more
)


class Reencoded(NamedTuple):
    """An uploaded picture as it is kept."""

    jpeg: bytes
    thumbnail: bytes
    near_hash: int | None  # None: next to one colour, which resembles every other one


class Resemblance(NamedTuple):
    """A picture of the campaign that was uploaded before another one and is the same, or nearly."""

    picture_id: UUID
    earlier_id: UUID
    earlier_unit_code: str
    earlier_uploaded_at: datetime
    exact: bool  # byte for byte, as they were uploaded
    bits: int | None  # how many of the 64 bits of their near-hashes differ; None where one of them has none


def full(unit_bytes: int, campaign_bytes: int, campaign_max_bytes: int) -> str | None:
    """The refusal of one more picture where the unit or the campaign has as much as it may; None where there is room."""
    if unit_bytes >= UNIT_PICTURES_MAX_BYTES:
        return "unit-pictures-full"
    return "campaign-pictures-full" if campaign_bytes >= campaign_max_bytes else None


def unused_until(now: datetime) -> datetime:
    """Until when a picture that no report uses is kept."""
    return now + UNUSED_KEPT_FOR


def used_until(now: datetime, rules: CampaignRules | None) -> datetime:
    """Until when a picture in a report is kept: for the campaign's `retain_days` after its last day, or after a later report.
    `rules`: None before they have arrived."""
    if rules is None:
        return now + timedelta(days=RETAIN_DAYS)
    return max(now, rules.at(rules.last_day, "24:00")) + timedelta(days=rules.retain_days)
