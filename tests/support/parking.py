"""A dead-letter table for tests, kept in memory, and poisonous messages."""

from dataclasses import dataclass, field

from shared.contracts.base import Event
from shared.failures import ParkedMessage


@dataclass
class Parking:
    """The dead-letter table of a test; the first `failures` attempts to park fail."""

    parked: list[ParkedMessage] = field(default_factory=list)
    held: dict[str, ParkedMessage] = field(default_factory=dict)  # by durable
    failures: int = 0

    async def park(self, message: ParkedMessage) -> None:
        if self.failures:
            self.failures -= 1
            raise ConnectionError("database away")
        self.parked.append(message)

    async def hold(self, message: ParkedMessage) -> bool:
        self.held[message.durable] = message
        return False

    async def holds(self, durable: str) -> bool:
        return durable in self.held

    async def release(self, durable: str) -> None:
        self.held.pop(durable, None)


def parked_message(
    body: bytes,
    *,
    durable: str = "checkin-live",
    subject: str = "live.events.v1",
    stream_seq: int = 1,
    reason: str = "坏了",
    event: Event | None = None,
) -> ParkedMessage:
    return ParkedMessage(durable, subject, stream_seq, event.event_id if event else None, reason, body, event)
