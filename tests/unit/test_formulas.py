"""Formulas of indicators: exact, bounded, and "—" where a number is missing."""

import ast
import operator
from decimal import ROUND_HALF_UP, Decimal
from fractions import Fraction
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from shared.forms.formulas import Formula, compiled, rounded, shown
from tests.support.campaigns import campaign
from tests.support.forms import form, indicator

NAMES = ("daily.viewers", "daily.told", "headcount", "residents", "recorded.viewers")
VALUES = st.one_of(st.none(), st.integers(-(10**12), 10**12), st.decimals(-1000, 1000, places=3))


def value(formula: str, **values: Any) -> Fraction | None:
    return Formula(formula).value({name.replace("__", "."): given for name, given in values.items()})


@pytest.mark.parametrize(
    ("formula", "expected"),
    [
        ("7 / 2 * headcount", Fraction(35)),
        ("headcount / 3", Fraction(10, 3)),
        ("0.1 + 0.2 - 0.3 + headcount * 0", Fraction(0)),
        ("-(headcount - 12) * 2", Fraction(4)),
        ("per_10k(headcount)", Fraction(10 * 10_000, 2500)),
        ("sum(headcount, 1, 2)", Fraction(13)),
        ("min(headcount, 3) + max(headcount, 3)", Fraction(13)),
        ("sum(daily.sites.posters)", Fraction(6)),
        ("max(daily.sites.posters) / sum(daily.sites.posters, headcount)", Fraction(3, 16)),
        ("sum(daily.nothing) + headcount", Fraction(10)),
    ],
)
def test_a_formula_is_worked_out_exactly(formula: str, expected: Fraction) -> None:
    values = {"headcount": 10, "residents": 2500, "daily__sites__posters": [1, 2, 3], "daily__nothing": []}
    assert value(formula, **values) == expected


@pytest.mark.parametrize(
    ("formula", "values"),
    [
        ("daily.viewers / headcount", {"headcount": 10}),
        ("daily.viewers / headcount", {"daily__viewers": 0, "headcount": 0}),
        ("daily.viewers / headcount", {"daily__viewers": 5, "headcount": None}),
        ("0 * daily.viewers", {}),
        ("-daily.viewers", {}),
        ("per_10k(daily.viewers)", {"daily__viewers": 5}),
        ("per_10k(daily.viewers)", {"residents": 5}),
        ("sum(daily.viewers, 1)", {}),
        ("sum(daily.sites.posters)", {"daily__sites__posters": [1, None]}),
        ("max(daily.sites.posters)", {"daily__sites__posters": []}),
        ("1 / (headcount - headcount)", {"headcount": 3}),
    ],
)
def test_what_is_missing_or_divided_by_nothing_has_no_value(formula: str, values: dict[str, Any]) -> None:
    assert value(formula, **values) is None
    assert shown(value(formula, **values), 2) == "—"


def trees() -> st.SearchStrategy[str]:
    leaves = st.one_of(st.sampled_from(NAMES), st.integers(0, 10**6).map(str), st.sampled_from(["0.5", "0.125"]))
    return st.recursive(
        leaves,
        lambda inner: st.one_of(
            st.tuples(inner, st.sampled_from("+-*/"), inner).map(lambda t: f"({t[0]} {t[1]} {t[2]})"),
            st.tuples(st.sampled_from(["sum", "min", "max"]), inner, inner).map(lambda t: f"{t[0]}({t[1]}, {t[2]})"),
            inner.map(lambda t: f"-{t}"),
        ),
        max_leaves=12,
    )


def by_hand(node: ast.expr, values: dict[str, Any]) -> Fraction | None:
    """The value by plain recursion, to compare with."""
    match node:
        case ast.Constant(value=number):
            return Fraction(str(number))
        case ast.UnaryOp(operand=inner):
            below = by_hand(inner, values)
            return None if below is None else -below
        case ast.Call(func=ast.Name(id=name), args=args):
            parts = [by_hand(part, values) for part in args]
            return None if None in parts else {"sum": sum, "min": min, "max": max}[name](parts)  # type: ignore[operator]
        case ast.BinOp(left=left, op=op, right=right):
            first, second = by_hand(left, values), by_hand(right, values)
            if first is None or second is None or (isinstance(op, ast.Div) and second == 0):
                return None
            signs: dict[type, Any] = {ast.Add: operator.add, ast.Sub: operator.sub, ast.Mult: operator.mul}
            return Fraction(signs.get(type(op), operator.truediv)(first, second))
    value = values[ast.unparse(node)]
    return None if value is None else Fraction(value)


@given(formula=trees(), values=st.fixed_dictionaries(dict.fromkeys(NAMES, VALUES)))
def test_any_formula_is_what_plain_fractions_make_of_it(formula: str, values: dict[str, Any]) -> None:
    assert Formula(formula).value(values) == by_hand(ast.parse(formula, mode="eval").body, values)


@given(
    value=st.fractions(max_denominator=10**6).filter(lambda f: abs(f) < 10**9),
    decimals=st.integers(0, 6),
)
def test_half_is_rounded_up_as_people_do(value: Fraction, decimals: int) -> None:
    ours = rounded(value, decimals)
    assert abs(Fraction(ours) - value) * 2 <= Fraction(1, 10**decimals)
    tenth = Fraction(round(value * 10 ** (decimals + 1)), 10 ** (decimals + 1))  # ends in one more digit, often a 5
    exact = Decimal(tenth.numerator) / Decimal(tenth.denominator)
    assert rounded(tenth, decimals) == exact.quantize(Decimal(1).scaleb(-decimals), ROUND_HALF_UP)


@pytest.mark.parametrize(
    ("value", "decimals", "text"),
    [
        (Fraction(1, 8), 2, "0.13"),
        (Fraction(-1, 8), 2, "-0.13"),
        (Fraction(5, 2), 0, "3"),
        (Fraction(-1, 1000), 2, "0.00"),
        (Fraction(10**9), 2, "1000000000.00"),
    ],
)
def test_a_value_is_shown_with_its_decimals(value: Fraction, decimals: int, text: str) -> None:
    assert shown(value, decimals) == text


def test_a_campaigns_indicators_are_compiled_once_under_their_ids() -> None:
    formulas = compiled(campaign(forms=[form()], indicators=[indicator("daily.viewers / headcount")]).indicators)
    assert formulas["rate"].names == ["daily.viewers", "headcount"]
    assert formulas["rate"].value({"daily.viewers": 1, "headcount": 8}) == Fraction(1, 8)
