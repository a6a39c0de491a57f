"""What stands behind an indicator's value: which reports count, what is added up and what never is. Pure (DESIGN §5.2).

A figure of several units is worked out from those units that have all it needs: a unit that has not reported takes its headcount
with it, so what is missing is never taken for zero.
"""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from fractions import Fraction
from typing import Any, NamedTuple

from shared.contracts.campaign_forms import NUMBERS, PEOPLE, Column, Form
from shared.contracts.campaign_formulas import NAMES_OF_UNIT
from shared.forms.formulas import Formula

Number = Fraction | None
Given = Number | tuple[Number, ...]
RECORDED = "recorded."
RESIDENTS = NAMES_OF_UNIT[0]


@dataclass(frozen=True)
class Reported:
    """What one unit reported in one form: values by period, the earliest first."""

    form: Form
    periods: Mapping[str, Mapping[str, Any]]


class Row(NamedTuple):
    """`numerator` and `denominator` of a formula that divides; else the value and None. `units`: whose reports are in it."""

    key: str
    value: Number
    numerator: Number
    denominator: Number
    units: int


def figure_names(formula: Formula) -> tuple[list[str], list[str]]:
    """The names that each unit has for itself, and those that only the whole row has: recorded totals, residents."""
    whole = [name for name in formula.names if name.startswith(RECORDED) or name == RESIDENTS]
    return [name for name in formula.names if name not in whole], whole


def values_of_unit(names: Iterable[str], reported: Mapping[str, Reported], headcount: int | None) -> dict[str, Given]:
    """The unit's own names: `headcount`, `form.field` and `form.table.column`, which has a number per row."""
    values: dict[str, Given] = {}
    for name in names:
        form_id, _, path = name.partition(".")
        if not path:
            values[name] = None if headcount is None else Fraction(headcount)
        elif (known := reported.get(form_id)) is None:
            values[name] = None
        else:
            values[name] = _reported(known, path)
    return values


def _reported(reported: Reported, path: str) -> Given:
    table, _, column_id = path.partition(".")
    field = next((one for one in reported.form.fields if one.id == table), None)
    if field is None:
        return None
    if column_id:
        column = next((one for one in field.columns if one.id == column_id), None)
        lists = [values[table] for values in reported.periods.values() if table in values]
        if column is None or not lists:
            return None
        kept = lists if _adds_up(column) else lists[-1:]
        return tuple(_number(row.get(column_id)) for rows in kept for row in rows)
    numbers = [_number(values[table]) for values in reported.periods.values() if table in values]
    if field.type not in NUMBERS or not numbers:
        return None
    if field.kind != "increment" or len(numbers) == 1:
        return numbers[-1]
    return sum((number for number in numbers if number is not None), Fraction(0)) if _adds_up(field) else None


def _adds_up(column: Column) -> bool:
    """Whether a number may be added up over periods: the same people may come again."""
    return column.kind == "increment" and column.unit != PEOPLE


def _number(value: Any) -> Number:
    return None if value is None else Fraction(str(value))


def row_of(formula: Formula, key: str, units: Sequence[Mapping[str, Given]], whole: Mapping[str, Number]) -> Row:
    """The indicator of one unit, county or city. `units`: the own values of each unit in it; `whole`: those of the row."""
    complete = [values for values in units if all(_is_known(value) for value in values.values())]
    together: dict[str, Given] = dict(whole)
    for name in complete[0] if complete else ():
        together[name] = _together([values[name] for values in complete])
    value = formula.value(together)
    parts = formula.fraction()
    if parts is None:
        return Row(key, value, value, None, len(complete))
    return Row(key, value, parts[0].value(together), parts[1].value(together), len(complete))


def _is_known(value: Given) -> bool:
    return value is not None and not (isinstance(value, tuple) and None in value)


def _together(values: Sequence[Given]) -> Given:
    if isinstance(values[0], tuple):
        return tuple(number for column in values if isinstance(column, tuple) for number in column)
    return sum((value for value in values if isinstance(value, Fraction)), Fraction(0))


def ranks(values: Mapping[str, Number]) -> dict[str, int]:
    """The rank of each that has a value, the largest first; equal ones share a rank and the next are left out (1, 1, 3)."""
    known = {key: value for key, value in values.items() if value is not None}
    return {key: 1 + sum(other > value for other in known.values()) for key, value in known.items()}
