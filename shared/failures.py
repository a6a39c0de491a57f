"""The names of failure for whoever handles a message (DESIGN §4.7).

`Poison`: no retry can fix it, the message is parked. Every other exception is transient: retried with growing delay, for ever.
"""

from dataclasses import dataclass
from uuid import UUID

from shared.contracts.base import Event


class Poison(Exception):
    """This message can never be handled. `reason` is stored, counted and shown: no names, phones or other values in it."""

    def __init__(self, reason: str) -> None:
        super().__init__(reason)
        self.reason = reason


@dataclass(frozen=True)
class ParkedMessage:
    """What the dead-letter table is told about a poisonous message."""

    durable: str
    subject: str
    stream_seq: int
    event_id: UUID | None  # None: the body is not the event its subject promises
    reason: str
    body: bytes
    event: Event | None  # the decoded body, where it satisfied its contract
