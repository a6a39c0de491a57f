"""What stands behind an indicator: which reports count, and what is never added up."""

from fractions import Fraction
from typing import Any

import pytest

from services.reporting.indicators.domain import Reported, figure_names, ranks, row_of, values_of_unit
from shared.contracts.campaign_forms import Form
from shared.forms.formulas import Formula
from tests.support.forms import form, number

FORM = Form.model_validate(
    form(
        fields=[
            number("leaflets", unit="份"),
            number("viewers", unit="人数"),
            number("posts", kind="running_total", unit="篇"),
            number("told", kind="level", unit="人数"),
            {"id": "area", "title": "面积", "type": "decimal", "unit": "亩", "kind": "increment", "decimals": 1},
            {"id": "note", "title": "备注", "type": "text"},
            {
                "id": "sites",
                "title": "点位",
                "type": "table",
                "rows": "free",
                "columns": [number("posters", unit="份"), number("staff", unit="人数", kind="level")],
            },
        ]
    )
)
TWO = {
    "2024-06-29": {
        "leaflets": 3,
        "viewers": 10,
        "posts": 5,
        "told": 7,
        "area": "1.5",
        "sites": [{"posters": 1, "staff": 4}, {"posters": 2}],
    },
    "2024-06-30": {
        "leaflets": 4,
        "viewers": 20,
        "posts": 9,
        "told": 6,
        "area": "0.1",
        "sites": [{"posters": 5, "staff": 3}],
    },
}


@pytest.mark.parametrize(
    ("name", "two", "one"),
    [
        ("daily.leaflets", 7, 3),
        ("daily.viewers", None, 10),
        ("daily.posts", 9, 5),
        ("daily.told", 6, 7),
        ("daily.area", Fraction(8, 5), Fraction(3, 2)),
        ("daily.note", None, None),
        ("daily.gone", None, None),
        ("other.leaflets", None, None),
        ("headcount", 100, 100),
        ("daily.sites.posters", (1, 2, 5), (1, 2)),
        ("daily.sites.staff", (3,), (4, None)),
        ("daily.sites.gone", None, None),
    ],
)
def test_a_number_is_added_up_over_periods_only_where_that_means_something(name: str, two: Any, one: Any) -> None:
    first = {"2024-06-29": TWO["2024-06-29"]}
    assert values_of_unit([name], {"daily": Reported(FORM, TWO)}, 100) == {name: two}
    assert values_of_unit([name], {"daily": Reported(FORM, first)}, 100) == {name: one}
    assert values_of_unit([name], {"daily": Reported(FORM, {})}, None) == {name: None}


def test_names_are_of_each_unit_or_of_the_whole_row() -> None:
    formula = Formula("per_10k(daily.leaflets) + recorded.viewers / headcount")
    assert figure_names(formula) == (["daily.leaflets", "headcount"], ["recorded.viewers", "residents"])


@pytest.mark.parametrize(
    ("units", "value", "numerator", "denominator", "counted"),
    [
        ([(5, 10), (5, 30)], Fraction(1, 4), 10, 40, 2),
        ([(5, 10), (None, 1000)], Fraction(1, 2), 5, 10, 1),  # who has not reported takes the headcount along
        ([(5, 10), (7, None)], Fraction(1, 2), 5, 10, 1),
        ([(0, 10)], 0, 0, 10, 1),
        ([(5, 0)], None, 5, 0, 1),
        ([(None, 10)], None, None, None, 0),
        ([], None, None, None, 0),
    ],
)
def test_what_is_missing_is_never_taken_for_zero(
    units: Any, value: Any, numerator: Any, denominator: Any, counted: int
) -> None:
    given = [{"daily.told": fraction(told), "headcount": fraction(people)} for told, people in units]
    row = row_of(Formula("daily.told / headcount"), "111", given, {})
    assert row == ("111", value, numerator, denominator, counted)


def fraction(number: int | None) -> Fraction | None:
    return None if number is None else Fraction(number)


def test_tables_of_several_units_are_one_column_and_a_row_without_its_number_leaves_its_unit_out() -> None:
    given: list[Any] = [
        {"daily.sites.posters": (Fraction(1), Fraction(2))},
        {"daily.sites.posters": (Fraction(4), None)},
    ]
    given.append({"daily.sites.posters": (Fraction(8),)})
    row = row_of(Formula("sum(daily.sites.posters)"), "x", given, {})
    assert (row.value, row.denominator, row.units) == (Fraction(11), None, 2)


def test_what_the_row_has_stands_beside_what_its_units_have() -> None:
    row = row_of(
        Formula("recorded.viewers / headcount"), "x", [{"headcount": Fraction(4)}], {"recorded.viewers": Fraction(3)}
    )
    assert (row.value, row.numerator, row.denominator) == (Fraction(3, 4), Fraction(3), Fraction(4))
    assert row_of(Formula("recorded.viewers"), "x", [], {"recorded.viewers": Fraction(3)}).value == 3


def test_equal_values_share_a_rank_and_the_next_is_left_out() -> None:
    values = {"a": Fraction(2), "b": Fraction(5), "c": Fraction(2), "d": None, "e": Fraction(1)}
    assert ranks(values) == {"b": 1, "a": 2, "c": 2, "e": 4}


@pytest.mark.parametrize(
    ("text", "parts"),
    [("a.b / c.d", True), ("(a.b + 1) / (c.d - 2)", True), ("a.b * 2", False), ("per_10k(a.b)", False)],
)
def test_a_division_has_a_numerator_and_a_denominator(text: str, parts: bool) -> None:
    found = Formula(text).fraction()
    assert (found is not None) is parts
    if found:
        values = {"a.b": 5, "c.d": 7}
        assert Formula(text).value(values) == found[0].value(values) / found[1].value(values)  # type: ignore[operator]
