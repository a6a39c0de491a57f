"""Lists in pages (DESIGN §5): how many rows one may ask for, and the cursor that says where the next page begins.

A cursor is the last row's position: the values that the rows are sorted by, as JSON in base64. A made-up cursor is answered with
`invalid-cursor`; no cursor leads to rows that the query would not show.

    async def rows(limit: Limit = 100, cursor: Cursor = None) -> Page:
        rows = await store.page(tx, after=position_in(cursor, tuple[datetime, UUID]), limit=limit)
        return Page(rows=rows, next_cursor=next_cursor(rows, limit, lambda row: (row.due_at, row.id)))
"""

import base64
from collections.abc import Callable, Sequence
from datetime import UTC, datetime
from typing import Annotated, Any, TypeVar

import msgspec
from fastapi import Query

from shared.service.problems import Problem

LIMIT_MAX = 500
CURSOR_MAX_CHARS = 400  # two ids of 64 characters and a time are 260

Limit = Annotated[int, Query(ge=1, le=LIMIT_MAX)]
Cursor = Annotated[str | None, Query(max_length=CURSOR_MAX_CHARS)]

RowT = TypeVar("RowT")
PositionT = TypeVar("PositionT", bound=tuple[Any, ...])


def next_cursor(rows: Sequence[RowT], limit: int, position: Callable[[RowT], tuple[Any, ...]]) -> str | None:
    """Where the next page begins; None where this one is not full. `position` gives a row's texts, whole numbers, times or
    UUIDs."""
    if len(rows) < limit:
        return None
    return base64.urlsafe_b64encode(msgspec.json.encode(position(rows[-1]))).decode()


def position_in(cursor: str | None, kind: type[PositionT]) -> PositionT | None:
    """The position after which the page begins; None for the first page. `kind`: `tuple[datetime, UUID]`, or a `NamedTuple`.
    Raises a 422 problem for a cursor that holds no such position, or a value that Postgres would not take."""
    if cursor is None:
        return None
    try:
        position: PositionT = msgspec.json.decode(base64.urlsafe_b64decode(cursor), type=kind)
        if not all(map(_is_storable, position)):
            raise ValueError("outside what a column holds")
    except (ValueError, OverflowError):  # those of base64, UTF-8 and JSON are ValueErrors
        raise Problem(422, "invalid-cursor", "cursor 无效，请使用上一页返回的 next_cursor") from None
    return position


def _is_storable(value: Any) -> bool:
    """Raises OverflowError for a time before or after all time in UTC, as 0001-01-01T00:00:00+14:00 is."""
    match value:
        case datetime():
            return value.tzinfo is not None and value.astimezone(UTC) is not None
        case str():
            return "\0" not in value
        case int():
            return -(2**63) <= value < 2**63
    return True
