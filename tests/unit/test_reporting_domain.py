"""Folding events, rolling units up, and withholding small groups."""

from datetime import timedelta
from typing import Any

from hypothesis import given
from hypothesis import strategies as st

from services.reporting.totals.answers import GROUP_MIN_VIEWERS, TotalsRow, without_small_groups
from services.reporting.totals.domain import Change, Counts, TotalKey, checkin_changes, latest_moves, move_changes
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
    columns = {field: [*getattr(there, field), *getattr(back, field)] for field in ViewerReassignedV1.COLUMNS.values()}
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
    assert latest.unit_code == "latest"


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
    rows = [
        TotalsRow(
            key=key,
            name=None,
            checkins=viewers,
            late=0,
            made_good=0,
            credited=viewers,
            viewers=viewers,
            certificates_issued=0,
            certificates_claimed=0,
            per_10k=None,
            residents=None,
        )
        for key, viewers in groups.items()
    ]
    return {row.key for row in without_small_groups(rows)}
