"""Which enrolment of a viewer counts (DESIGN §4.5): `enrolled_at` decides, and where two are equal the larger `enrolment_id`."""

from collections.abc import Callable, Hashable, Iterable
from datetime import datetime
from typing import Protocol, TypeVar


class Enrolled(Protocol):
    @property
    def enrolled_at(self) -> datetime: ...

    @property
    def enrolment_id(self) -> str: ...


K = TypeVar("K", bound=Hashable)
R = TypeVar("R", bound=Enrolled)


def latest_enrolments(rows: Iterable[R], key: Callable[[R], K]) -> dict[K, R]:
    """The row of the latest enrolment for each key, such as a viewer. In no order."""
    latest: dict[K, R] = {}
    for row in rows:
        known = latest.get(key(row))
        if known is None or _precedence(known) < _precedence(row):
            latest[key(row)] = row
    return latest


def _precedence(row: Enrolled) -> tuple[datetime, str]:
    return row.enrolled_at, row.enrolment_id
