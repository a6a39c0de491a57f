"""The latest enrolment wins, in whatever order they come."""

from datetime import UTC, datetime, timedelta
from itertools import permutations
from typing import NamedTuple

from shared.people.enrolments import latest_enrolments

NOON = datetime(2024, 6, 29, 12, tzinfo=UTC)


class Enrolment(NamedTuple):
    viewer_id: str
    enrolled_at: datetime
    enrolment_id: str


def test_the_latest_wins_and_of_two_at_once_the_larger_id_in_any_order() -> None:
    first, second = Enrolment("a", NOON, "e-9"), Enrolment("a", NOON + timedelta(seconds=1), "e-1")
    tied, other = Enrolment("a", second.enrolled_at, "e-2"), Enrolment("b", NOON, "e-0")
    for rows in permutations([first, second, tied, other]):
        assert latest_enrolments(rows, key=lambda row: row.viewer_id) == {"a": tied, "b": other}
