"""Cursors: what one says is what the next page begins after, and whoever makes one up is told so."""

import base64
from datetime import UTC, datetime
from typing import Any, NamedTuple
from uuid import UUID

import pytest

from shared.paging import CURSOR_MAX_CHARS, LIMIT_MAX, next_cursor, position_in
from shared.service.problems import Problem

AT = datetime(2024, 7, 14, 12, 0, 0, 123456, UTC)


class Position(NamedTuple):
    at: datetime
    last: UUID


ANY_ID = str(UUID(int=0))


def test_a_cursor_is_the_last_row_of_a_full_page() -> None:
    rows = [(AT, UUID(int=1), "first"), (AT, UUID(int=2), "last")]
    cursor = next_cursor(rows, 2, lambda row: Position(row[0], row[1]))
    assert position_in(cursor, Position) == (AT, UUID(int=2))


def test_a_page_that_is_not_full_is_the_last() -> None:
    assert next_cursor([(AT, UUID(int=1))], 2, lambda row: row) is None
    assert next_cursor([], 1, lambda row: row) is None
    assert position_in(None, Position) is None


def test_a_position_of_long_ids_is_no_longer_than_a_cursor_may_be() -> None:
    cursor = next_cursor([("u" * 64, "v" * 64, AT)], 1, lambda row: row)
    assert cursor is not None
    assert len(cursor) <= CURSOR_MAX_CHARS
    assert position_in(cursor, tuple[str, str, datetime]) == ("u" * 64, "v" * 64, AT)
    assert LIMIT_MAX == 500  # DESIGN §5 says so


@pytest.mark.parametrize(
    ("json", "kind"),
    [
        ("", Position),
        ("nonsense", Position),
        ("\xff", Position),
        ("{}", Position),
        ('["2024-07-14T20:00:00+08:00","x"]', Position),
        ('["2024-07-14T20:00:00+08:00"]', Position),
        (f'["2024-07-14T20:00:00","{ANY_ID}"]', Position),
        (f'["0001-01-01T00:00:00+14:00","{ANY_ID}"]', Position),
        (f'["9999-12-31T23:59:59-14:00","{ANY_ID}"]', Position),
        ('["a\\u0000"]', tuple[str]),
        ("[9223372036854775808]", tuple[int]),
    ],
)
def test_what_is_no_position_is_an_invalid_cursor(json: str, kind: Any) -> None:
    for cursor in (base64.urlsafe_b64encode(json.encode("latin-1")).decode(), json):
        with pytest.raises(Problem) as refused:
            position_in(cursor, kind)
        assert (refused.value.status_code, refused.value.body["type"]) == (422, "/problems/invalid-cursor")
