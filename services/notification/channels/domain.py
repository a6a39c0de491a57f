"""What a channel is given, and what it answers."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from enum import StrEnum
from typing import NamedTuple, Protocol
from uuid import UUID


class Report(StrEnum):
    """What a channel says about one message, as an answer, a receipt or the answer to a query."""

    NOT_SENT = "not_sent"  # certainly; the only thing that allows another attempt
    UNKNOWN = "unknown"
    ACCEPTED = "accepted"
    DELIVERED = "delivered"
    FAILED = "failed"


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
