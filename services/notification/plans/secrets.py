"""The keys of plans, which decrypt phones and claim codes and make the ids of messages."""

import json
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import TypeVar
from uuid import UUID

from services.notification.plans.domain import Key, UnreadableSecret
from shared.contracts.base import SealedColumn
from shared.failures import Poison
from shared.people.at_rest import lookup_hash
from shared.people.campaign_keys import CampaignKeys, Recipient
from shared.people.sealing import CannotOpen

T = TypeVar("T")


@dataclass(frozen=True)
class Secrets:
    recipient: Recipient  # phones and claim codes, by campaign
    lookup_key: str = field(repr=False)

    def notification_id(self, key: Key) -> UUID:
        """The id of a message. It is the same in any database, so that a channel recognises the message, and it does not lead
        back to the viewer."""
        return UUID(bytes=lookup_hash(self.lookup_key, json.dumps(key))[:16])


def opened(column: SealedColumn | None, viewer_ids: list[str], campaign_keys: CampaignKeys) -> list[bytes | None]:
    """What was sealed for notification, opened, row by row; None for a row without. Raises `Poison` where no key opens it."""
    try:
        return campaign_keys.open(column, viewer_ids)
    except CannotOpen as error:
        raise Poison(str(error)) from None


def readable(read: Callable[[bytes], T], secret: bytes) -> T:
    """Reads a secret. Raises `Poison` where it is not what its contract promises."""
    try:
        return read(secret)
    except UnreadableSecret as error:
        raise Poison(str(error)) from None
