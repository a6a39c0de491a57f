"""The messages that a channel is given, and what it answers."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from enum import StrEnum
from typing import NamedTuple, Protocol
from uuid import UUID


class Report(StrEnum):
    """What a channel says about one message, as an answer, a receipt or the answer to a query."""

    NOT_SENT = "not_sent"  # certainly not sent; only this allows another attempt
    UNKNOWN = "unknown"
    ACCEPTED = "accepted"
    DELIVERED = "delivered"
    FAILED = "failed"


class Reference(NamedTuple):
    """Identifies a message for a channel; every attempt to send the message has the same one."""

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
    """A way to reach people. An exception means "unknown": the messages are sent again only if `query` says that they were not
    sent."""

    async def send(self, messages: Sequence[Message]) -> Mapping[UUID, Outcome]:
        """Sends the batch and returns outcomes by notification id. Messages missing from the answer are unknown."""
        ...

    async def query(self, references: Sequence[Reference]) -> Mapping[UUID, Outcome]:
        """Returns what became of messages whose sending was not answered."""
        ...
