"""What is sent: steps in time, and in each of them posts, bus messages, export files and decisions.

A `Step` is what arrives while the clock stands at one time. Inside a step everything is sent at once and in no order, so
nothing in it may depend on order: a viewer has at most one new enrolment in a step, and no live-room action beside it.
"""

from collections.abc import Iterable
from dataclasses import dataclass, field
from datetime import date, datetime
from typing import Any, Literal, NamedTuple

import msgspec

Fault = Literal["wrong_signature", "not_utf8", "truncated", "too_many", "too_large", "empty", "not_json"]


class Item(NamedTuple):
    """One event as a value and as the bytes that are sent."""

    value: Any
    raw: bytes


@dataclass
class Answer:
    """The webhook's answer. If `tries` is above 1, the effect of earlier tries is unknown."""

    status: int
    results: list[dict[str, Any]]
    counts: dict[str, int]
    kind: str
    tries: int


@dataclass
class Post:
    """A webhook post of a source. One with a fault must be refused as a whole."""

    items: list[Item]
    body: bytes
    fault: Fault | None = None
    source: str = "standard"
    answer: Answer | None = None


@dataclass
class BusMessage:
    items: list[Item]  # empty: the payload is no JSON and will be parked
    payload: bytes


@dataclass
class Export:
    """An export file for `fanzha import`. Rows without `event_id` are known by viewer and time alone."""

    name: str
    rows: list[Item]
    with_ids: bool = True
    source: str = "import"  # whose file it is
    by_command: bool = False  # True: with the command itself, else with its code in this process
    answer: dict[str, Any] | None = None


@dataclass(frozen=True)
class MakeGood:
    """The office grants a lesson to those of the listed viewers who checked in on all the named days."""

    id: str
    lesson_date: date
    viewer_ids: list[str]
    checked_in_on: list[date]
    reason: str


@dataclass
class Step:
    at: datetime
    title: str
    posts: list[Post] = field(default_factory=list)
    bus: list[BusMessage] = field(default_factory=list)
    exports: list[Export] = field(default_factory=list)
    make_goods: list[MakeGood] = field(default_factory=list)
    claims: bool = False  # viewers claim, the office corrects and revokes

    @property
    def events(self) -> int:
        return (
            sum(len(post.items) for post in self.posts)
            + sum(len(message.items) for message in self.bus)
            + sum(len(export.rows) for export in self.exports)
        )


def item_of(value: Any) -> Item:
    return Item(value, msgspec.json.encode(value))


def body_of(items: Iterable[Item]) -> bytes:
    return b"[%b]" % b",".join(item.raw for item in items)
