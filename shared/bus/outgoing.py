"""Events on their way out: what the outbox stores and the relay publishes."""

from collections.abc import Iterator, Sequence
from datetime import datetime
from typing import Any, NamedTuple
from uuid import UUID

import msgspec

from shared.contracts.base import EVENT_MAX_BYTES, ROWS_MAX, ColumnEvent, Event
from shared.ids import new_event_id


class Outgoing(NamedTuple):
    event_id: UUID
    subject: str
    campaign_id: str
    occurred_at: datetime
    payload: bytes

    @classmethod
    def of(cls, event: Event) -> "Outgoing":
        payload = event.model_dump_json().encode()
        return cls(event.event_id, event.subject(), event.campaign_id, event.occurred_at, payload)


def column_events(
    contract: type[ColumnEvent], campaign_id: str, occurred_at: datetime, rows: Sequence[Sequence[Any]], **fields: Any
) -> Iterator[Outgoing]:
    """Rows, in the order of `contract.COLUMNS`, as events of at most `ROWS_MAX` rows and `EVENT_MAX_BYTES` each.

    msgspec writes what the pydantic contract describes, at a fifth of the cost; contract tests hold the two together.
    """
    for start in range(0, len(rows), ROWS_MAX):
        yield from _fitting(contract, campaign_id, occurred_at, rows[start : start + ROWS_MAX], fields)


def _fitting(
    contract: type[ColumnEvent],
    campaign_id: str,
    occurred_at: datetime,
    rows: Sequence[Sequence[Any]],
    fields: dict[str, Any],
) -> Iterator[Outgoing]:
    event_id = new_event_id()
    head = {"event_id": event_id, "occurred_at": occurred_at, "campaign_id": campaign_id, **fields}
    columns = zip(contract.COLUMNS.values(), zip(*rows, strict=True), strict=True)
    payload = msgspec.json.encode(head | dict(columns))
    if len(payload) <= EVENT_MAX_BYTES or len(rows) == 1:
        yield Outgoing(event_id, contract.subject(), campaign_id, occurred_at, payload)
        return
    middle = len(rows) // 2
    yield from _fitting(contract, campaign_id, occurred_at, rows[:middle], fields)
    yield from _fitting(contract, campaign_id, occurred_at, rows[middle:], fields)
