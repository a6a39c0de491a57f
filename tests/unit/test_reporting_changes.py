"""What each event adds to the sums, to the last number."""

from typing import TypeVar

import pytest

from services.reporting.totals.domain import (
    Certificates,
    Change,
    Counts,
    Issue,
    LiveRoomKey,
    Move,
    Place,
    PlatformKey,
    TotalKey,
    checkin_changes,
    difference,
    folded,
    holders,
    issues,
    latest_moves,
    live_room_changes,
    made_good_changes,
    move_changes,
    platform_changes,
)
from shared.contracts.base import ColumnEvent
from tests.support.reporting_events import (
    AT,
    DAY_1,
    DAY_2,
    checkins,
    claimed,
    issued,
    live_room,
    made_good,
    moved,
    revoked,
)

C = "small-2024"


@pytest.mark.parametrize(
    ("late", "first_for_lesson", "first_for_campaign", "counts"),
    [
        (False, False, False, Counts(2, 0, 0, 0, 0)),
        (True, False, False, Counts(2, 2, 0, 0, 0)),
        (False, True, False, Counts(2, 0, 2, 0, 0)),
        (False, True, True, Counts(2, 0, 2, 2, 0)),
    ],
)
def test_a_check_in_counts_with_its_flags(
    late: bool, first_for_lesson: bool, first_for_campaign: bool, counts: Counts
) -> None:
    event = checkins(
        C,
        [("a", "g"), ("a", "g")],
        lesson=DAY_2,
        mode="replay",
        late=late,
        first_for_lesson=first_for_lesson,
        first_for_campaign=first_for_campaign,
    )
    assert checkin_changes(event) == [Change(TotalKey(DAY_2, "replay", "a", "g"), counts)]


def test_check_ins_add_up_under_who_sent_them() -> None:
    places = [("a", "g"), ("b", "g")]
    events = [
        checkins("c", places, source="kuaishou", late=True),
        checkins("c", places, first_for_lesson=False, first_for_campaign=False),
        checkins("c", places[:1], source="kuaishou"),
        checkins("c", places, mode="replay", source="kuaishou"),
    ]
    assert platform_changes(events) == [
        (PlatformKey(DAY_1, "live", "kuaishou"), Counts(3, 2, 3, 3)),
        (PlatformKey(DAY_1, "live", "unassigned"), Counts(2, 0, 0, 0)),
        (PlatformKey(DAY_1, "replay", "kuaishou"), Counts(2, 0, 2, 2)),
    ]


def test_made_good_stands_apart() -> None:
    assert made_good_changes(made_good(C, [("b", "g"), ("a", "g"), ("b", "g")], lesson=DAY_2)) == [
        Change(TotalKey(DAY_2, "made_good", "a", "g"), Counts(0, 0, 0, 0, 1)),
        Change(TotalKey(DAY_2, "made_good", "b", "g"), Counts(0, 0, 0, 0, 2)),
    ]


def test_a_move_takes_away_what_it_adds() -> None:
    event = moved(C, "v0", ("b", "g"), ("a", "h"))
    assert move_changes(event) == [
        Change(TotalKey(DAY_1, "live", "a", "h"), Counts(1, 0, 1, 1, 0)),
        Change(TotalKey(DAY_1, "live", "b", "g"), Counts(-1, 0, -1, -1, 0)),
    ]
    of_made_good = event.model_copy(update={"modes": ["made_good"]})
    assert move_changes(of_made_good) == [
        Change(TotalKey(DAY_1, "made_good", "a", "h"), Counts(made_good=1)),
        Change(TotalKey(DAY_1, "made_good", "b", "g"), Counts(made_good=-1)),
    ]
    late = event.model_copy(update={"late": [True], "first_for_lesson": [False], "first_for_campaign": [False]})
    assert move_changes(late)[0].counts == Counts(1, 1, 0, 0, 0)


@pytest.mark.parametrize("field", Counts._fields)
def test_a_change_is_left_out_only_where_every_count_is_0(field: str) -> None:
    key, other = TotalKey(DAY_1, "live", "a", "g"), TotalKey(DAY_1, "live", "b", "g")
    one, two = Counts(**{field: 1}), Counts(**{field: 2})
    assert folded([Change(key, two), Change(other, Counts()), Change(key, one.negated())]) == [Change(key, one)]
    assert folded([Change(key, one), Change(key, one.negated())]) == []


def test_moves_are_the_latest_of_each_viewer_sorted() -> None:
    of_two = together(moved(C, "v1", ("a", "g"), ("b", "g")), moved(C, "v0", ("a", "g"), ("c", "h")))
    assert latest_moves(of_two) == [
        Move("v0", "c", AT, "e-1", "h", AT, "e-1"),
        Move("v1", "b", AT, "e-1", None, None, None),
    ]


def test_certificates_are_sorted_each_once() -> None:
    event = issued(C, [("a", "g"), ("b", "h")])
    expected = [Issue("S-0", "v0", "a", "g"), Issue("S-1", "v1", "b", "h")]
    assert issues(together(event, event)) == issues(backwards(event)) == expected
    assert holders(claimed(C, 2, 0, 2)) == [("S-0", "v0"), ("S-2", "v2")]
    assert holders(revoked(C, 1, 0)) == [("S-0", "v0"), ("S-1", "v1")]


def test_what_must_be_added_place_by_place() -> None:
    a, b, c, d = (Place(unit_code, "g") for unit_code in "abcd")
    before = {b: Certificates(1, 1), c: Certificates(2, 1), d: Certificates(1, 0)}
    after = {a: Certificates(3, 1), c: Certificates(5, 3), d: Certificates(1, 0)}
    assert difference(before, after) == [
        (a, Certificates(3, 1)),
        (b, Certificates(-1, -1)),
        (c, Certificates(3, 2)),
    ]


def test_live_room_actions_are_counted_by_item() -> None:
    unnamed = live_room(C, [("b", "g"), ("a", "g"), ("b", "h")], "quiz_answered")
    assert live_room_changes(unnamed) == [
        (LiveRoomKey(DAY_1, "quiz_answered", "a", ""), 1),
        (LiveRoomKey(DAY_1, "quiz_answered", "b", ""), 2),
    ]
    named = live_room(C, [("a", "g")], "prize_won", "cup", lesson=DAY_2)
    assert live_room_changes(named) == [(LiveRoomKey(DAY_2, "prize_won", "a", "cup"), 1)]


E = TypeVar("E", bound=ColumnEvent)


def together(one: E, other: E) -> E:
    """One event with the rows of both."""
    columns = {name: [*getattr(one, name), *getattr(other, name)] for name in type(one).COLUMNS.values()}
    return one.model_copy(update=columns)


def backwards(event: E) -> E:
    return event.model_copy(update={name: getattr(event, name)[::-1] for name in type(event).COLUMNS.values()})
