"""Rows as the arrays that `unnest` takes: a batch is one statement."""

from collections.abc import Iterable, Sequence
from typing import Any


def columns(rows: Iterable[Sequence[Any]], width: int) -> list[list[Any]]:
    """`width` arrays, empty ones where there are no rows. Raises ValueError for rows that are not `width` wide."""
    arrays = [list(column) for column in zip(*rows, strict=True)] or [[] for _ in range(width)]
    if len(arrays) != width:
        raise ValueError(f"rows of {len(arrays)} values; {width} are wanted")
    return arrays
