"""Works out indicators from reports and totals, as the asking person may see them. The caller opens the transaction."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import date, datetime
from fractions import Fraction
from typing import Literal

from services.reporting.definition import Definition
from services.reporting.indicators import domain
from services.reporting.indicators.domain import RECORDED, RESIDENTS, Number, Reported, Row
from services.reporting.obligations import usecases as obligations
from services.reporting.obligations.usecases import Known, Question
from services.reporting.totals import usecases as totals
from shared.contracts.campaign_formulas import Indicator
from shared.database import Transaction
from shared.forms.formulas import Formula
from shared.service.refusals import Refused
from shared.service.tokens import Principal

By = Literal["unit", "county", "city"]


@dataclass(frozen=True)
class Figures:
    """The rows of one indicator in the tree's order. `names`: of the rows by key."""

    indicator: Indicator
    rows: Sequence[Row]
    names: Mapping[str, str]


async def figures(
    tx: Transaction,
    known: Known,
    principal: Principal,
    campaign_id: str,
    indicator_id: str,
    *,
    by: By,
    period: str | None,
    now: datetime,
) -> Figures:
    """One indicator by unit, county or city; with `period` of that period alone. Refused as `no-such-indicator`."""
    read = await known.forms.in_force(tx, campaign_id)
    indicator = next((one for one in (read.indicators if read else ()) if one.id == indicator_id), None)
    filters = await obligations.filters_of(tx, known, principal, Question(campaign_id))
    if read is None or indicator is None:
        raise Refused("no-such-indicator", subject=indicator_id)
    definition = await known.definitions.in_force(tx, campaign_id)
    assert definition is not None  # noqa: S101 - filters_of has refused otherwise
    formula = Formula(indicator.formula)
    of_units, of_rows = domain.figure_names(formula)
    forms = {form.id: form for form in read.forms if any(name.startswith(f"{form.id}.") for name in of_units)}
    reported = await obligations.reported(tx, campaign_id, list(forms), filters.units, period)
    scope = definition.tree.codes(principal.unit)
    units = {
        code: domain.values_of_unit(
            of_units,
            {form: Reported(forms[form], periods) for form, periods in reported.get(code, {}).items()},
            unit.headcount if (unit := definition.tree.unit(code)) else None,
        )
        for code in scope
    }
    place = {code: code for code in scope} if by == "unit" else definition.tree.rolled_up(by, principal.unit)
    inside: dict[str, list[str]] = {}
    for code in scope:
        inside.setdefault(place[code], []).append(code)
    recorded = await _recorded(tx, known, principal, campaign_id, of_rows, by=by, period=period, now=now)
    rows = [
        domain.row_of(
            formula, key, [units[code] for code in codes], _of_row(definition, of_rows, recorded.get(key, {}), key, by)
        )
        for key, codes in inside.items()
    ]
    named = {key: unit.name for key in inside if (unit := definition.tree.unit(key))}
    return Figures(indicator, sorted(rows, key=lambda row: definition.tree.order(row.key)), named)


async def _recorded(
    tx: Transaction,
    known: Known,
    principal: Principal,
    campaign_id: str,
    names: Sequence[str],
    *,
    by: By,
    period: str | None,
    now: datetime,
) -> dict[str, dict[str, int | None]]:
    """The recorded totals by row: of the lesson, where the period is one; of the campaign without a period. A week or month has
    none."""
    if not any(name.startswith(RECORDED) for name in names):
        return {}
    lesson = _as_date(period)
    definition = await known.definitions.in_force(tx, campaign_id)
    if period is not None and (definition is None or lesson not in definition.lessons):
        return {}
    answer = await totals.totals(
        tx, known.definitions, principal, campaign_id, by=by, lesson=lesson, mode=None, now=now
    )
    return {row.key: row.model_dump() for row in answer.rows}


def _of_row(
    definition: Definition, names: Sequence[str], recorded: Mapping[str, int | None], key: str, by: By
) -> dict[str, Number]:
    values: dict[str, Number] = {}
    for name in names:
        if name == RESIDENTS:
            unit = definition.tree.unit(key)
            is_whole = by == "unit" or definition.tree.covers(key, by)
            values[name] = Fraction(unit.residents.count) if unit and unit.residents and is_whole else None
        else:
            figure = recorded.get(name.removeprefix(RECORDED))
            values[name] = None if figure is None else Fraction(figure)
    return values


def _as_date(period: str | None) -> date | None:
    try:
        return None if period is None else date.fromisoformat(period)
    except ValueError:
        return None  # a week, a month, once
