"""Rows as the arrays of a statement: as many as it has parameters, whatever the rows."""

import pytest

from shared.database.columns import columns


def test_rows_become_columns() -> None:
    assert columns([("ks_1", 1), ("ks_2", 2)], 2) == [["ks_1", "ks_2"], [1, 2]]
    assert columns(iter([("ks_1", 1)]), 2) == [["ks_1"], [1]]


def test_no_rows_are_empty_columns_each_of_its_own() -> None:
    lists = columns([], 3)
    assert lists == [[], [], []]
    lists[0].append("ks_1")
    assert lists == [["ks_1"], [], []]


def test_rows_of_another_width_are_refused() -> None:
    with pytest.raises(ValueError, match="rows of 2 values; 3 are wanted"):
        columns([("ks_1", 1)], 3)
    with pytest.raises(ValueError, match="zip"):
        columns([("ks_1", 1), ("ks_2",)], 2)
