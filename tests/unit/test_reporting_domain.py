"""Folding events, rolling units up, and withholding small groups."""

from datetime import timedelta
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from services.reporting.totals.domain import (
    GROUP_MIN_VIEWERS,
    Certificates,
    Change,
    Counts,
    Tally,
    TotalKey,
    TotalMode,
    TotalsLine,
    checkin_changes,
    credited,
    latest_moves,
    move_changes,
    people,
    per_10k,
    share,
    small_groups,
)
from shared.contracts.base import Mode
from shared.contracts.campaign import read_unit
from shared.contracts.checkin import ViewerReassignedV1
from shared.tree import Tree
from tests.support.reporting_events import AT, DAY_1, TREE, checkins, meta, moved

C = "small-2024"


def test_equal_rows_are_one_change_and_changes_are_sorted() -> None:
    event = checkins(C, [("b", "g"), ("a", "g"), ("b", "g")], late=True, first_for_campaign=False)
    assert checkin_changes(event) == [
        Change(TotalKey(DAY_1, "live", "a", "g"), Counts(1, 1, 1, 0)),
        Change(TotalKey(DAY_1, "live", "b", "g"), Counts(2, 2, 2, 0)),
    ]


def test_a_move_there_and_back_changes_nothing() -> None:
    there, back = moved(C, "v0", ("a", "g"), ("b", "g")), moved(C, "v0", ("b", "g"), ("a", "g"))
    columns: dict[str, Any] = {
        field: [*getattr(there, field), *getattr(back, field)] for field in ViewerReassignedV1.COLUMNS.values()
    }
    assert move_changes(ViewerReassignedV1(**meta(C), **columns)) == []


@given(st.permutations([(0, "e9", "old"), (1, "e1", "tied"), (1, "e2", "latest")]))
def test_the_latest_enrolment_of_an_event_wins(enrolments: list[tuple[int, str, str]]) -> None:
    count = len(enrolments)
    one = moved(C, "v0", ("a", "g"), ("b", "g"))
    columns: dict[str, Any] = {field: getattr(one, field) * count for field in ViewerReassignedV1.COLUMNS.values()}
    columns["enrolled_at"] = [AT + timedelta(seconds=seconds) for seconds, _, _ in enrolments]
    columns["enrolment_ids"] = [enrolment_id for _, enrolment_id, _ in enrolments]
    columns["to_unit_codes"] = [unit_code for _, _, unit_code in enrolments]
    (latest,) = latest_moves(ViewerReassignedV1(**meta(C), **columns))
    assert (latest.unit_code, latest.group) == ("latest", None)


def test_unit_and_group_are_moved_apart_and_what_stayed_was_not_moved() -> None:
    unit, group = moved(C, "v0", ("a", "g"), ("b", "g")), moved(C, "v0", ("b", "g"), ("b", "h"))
    columns: dict[str, Any] = {
        field: [*getattr(group, field), *getattr(unit, field)] for field in ViewerReassignedV1.COLUMNS.values()
    }
    columns["enrolled_at"] = [AT, AT + timedelta(seconds=1)]
    (latest,) = latest_moves(ViewerReassignedV1(**meta(C), **columns))
    assert latest == ("v0", "b", AT + timedelta(seconds=1), "e-1", "h", AT, "e-1")


class TestTree:
    tree = Tree(read_unit(unit) for unit in TREE)

    def test_rolls_up_to_the_level_or_what_is_above_it(self) -> None:
        rolled_up = self.tree.rolled_up("county")
        assert rolled_up["140902-EDU-1"] == "140902"
        assert rolled_up["1409-DEP"] == "1409"
        assert rolled_up["14"] == "14"

    def test_never_above_the_root(self) -> None:
        assert self.tree.rolled_up("city", "140902-EDU")["140902-EDU-1"] == "140902-EDU"

    def test_subtree(self) -> None:
        assert self.tree.subtree("140902") == {"140902", "140902-EDU", "140902-EDU-1"}
        assert self.tree.subtree("14") == {unit["unit_code"] for unit in TREE}


class TestSmallGroups:
    def test_all_is_shown_where_all_are_large(self) -> None:
        assert shown({"a": 10, "b": 300}) == {"a", "b"}

    def test_one_small_group_takes_the_next_smallest_along(self) -> None:
        assert shown({"a": 9, "b": 12, "c": 30}) == {"c"}

    def test_two_that_come_to_ten_hide_each_other(self) -> None:
        assert shown({"a": 5, "b": 5, "c": 30}) == {"c"}

    def test_several_that_come_to_fewer_than_ten_take_one_along(self) -> None:
        assert shown({"a": 1, "b": 2, "c": 30, "d": 40}) == {"d"}

    @given(st.dictionaries(st.text(min_size=1, max_size=3), st.integers(0, 40), max_size=8))
    def test_the_sum_never_tells_a_small_group(self, groups: dict[str, int]) -> None:
        seen = shown(groups)
        hidden = groups.keys() - seen
        assert all(groups[key] >= GROUP_MIN_VIEWERS for key in seen)
        if hidden and seen:
            assert len(hidden) > 1
            assert sum(groups[key] for key in hidden) >= GROUP_MIN_VIEWERS


def shown(groups: dict[str, int]) -> set[str]:
    return groups.keys() - small_groups(groups)


@pytest.mark.parametrize(
    ("mode", "credit", "counts"),
    [("live", {"live"}, 7), ("live", {"replay"}, 0), ("replay", {"live", "replay"}, 7), ("live", set(), 0)],
)
def test_late_checkins_and_other_modes_are_not_credited(mode: TotalMode, credit: set[Mode], counts: int) -> None:
    assert credited(TotalsLine("a", mode, Counts(checkins=9, late=2)), frozenset(credit)) == counts


def test_a_tally_adds_lines_and_what_of_them_is_credited() -> None:
    lines = [TotalsLine("a", "live", Counts(9, 2, 3, 4)), TotalsLine("a", "made_good", Counts(made_good=5))]
    under_policy, without = Tally(), Tally()
    assert (under_policy.counts, under_policy.credited) == (Counts(), 0)
    for line in lines:
        under_policy.add(line, frozenset({"live"}))
        without.add(line, None)
    assert under_policy.counts == without.counts == Counts(9, 2, 3, 4, 5)
    assert (under_policy.credited, without.credited) == (7 + 5, 5)


def test_certificates_add_up() -> None:
    assert Certificates(5, 2).plus(Certificates(3, 1)) == Certificates(8, 3)


def test_of_groups_of_one_size_the_first_by_name_is_hidden_along() -> None:
    assert small_groups({"b": 10, "a": 10, "c": 3}) == small_groups({"a": 10, "b": 10, "c": 3}) == {"a", "c"}


def test_what_the_office_granted_is_credited_under_every_policy() -> None:
    assert credited(TotalsLine("a", "made_good", Counts(made_good=3)), frozenset()) == 3


@pytest.mark.parametrize(
    ("lesson", "mode", "number"), [(False, False, 2), (True, False, 4), (False, True, 5), (True, True, 5)]
)
def test_people_are_counted_once_in_what_was_asked(lesson: bool, mode: bool, number: int) -> None:
    counts = Counts(checkins=5, late=1, first_for_lesson=4, first_for_campaign=2, made_good=9)
    assert people(counts, lesson=lesson, mode=mode) == number


def test_rates_are_rounded_and_nothing_has_no_share() -> None:
    assert (per_10k(2, 3), per_10k(0, 3)) == (6666.67, 0.0)
    assert (share(2, 3), share(0, 3), share(0, 0)) == (0.6667, 0.0, None)
