"""What the desk shows, gathered from obligations and totals (DESIGN §5.5). The caller opens the transaction.

Everything is asked for as the person who looks: obligations and totals leave out what lies outside of the person's subtree.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, tzinfo
from typing import Literal, NamedTuple

from services.reporting.definition import Definition
from services.reporting.desk import domain, findings
from services.reporting.desk.domain import Todo
from services.reporting.liaisons import usecases as liaisons
from services.reporting.obligations import usecases as obligations
from services.reporting.obligations.domain import Figure, Obligation, Tally
from services.reporting.obligations.usecases import Known, Question
from shared.contracts.campaign import Unit
from shared.database import Transaction
from shared.service.refusals import Refused
from shared.service.tokens import Principal

By = Literal["county", "unit", "form", "period"]


class Position(NamedTuple):
    """Where a page of obligations ends."""

    due_at: datetime
    form: str
    period: str
    unit_code: str


@dataclass(frozen=True)
class Asked:
    """What a table is about. `row`: only what the table by unit or county counts in the row of `unit`. `today`: only what is due
    until midnight."""

    form: str | None = None
    period: str | None = None
    unit: str | None = None
    row: Literal["unit", "county"] | None = None
    today: bool = False

    def question(self, campaign_id: str) -> Question:
        return Question(campaign_id, self.unit, self.form, self.period, self.row)


@dataclass(frozen=True)
class Choices:
    """What a table can be filtered by: titles of forms by id, periods, counties and cities by code."""

    forms: dict[str, str]
    periods: list[str]
    places: dict[str, str]


@dataclass(frozen=True)
class Row:
    """One row of the table of rates. `key`: a unit's code, a form's id or a period."""

    key: str
    name: str
    tally: Tally


@dataclass(frozen=True)
class Owing:
    """An obligation with the names of its unit and form."""

    obligation: Obligation
    unit: str
    form: str


async def zone_of(tx: Transaction, known: Known, campaign_id: str) -> tzinfo:
    definition = await known.definitions.in_force(tx, campaign_id)
    return definition.zone if definition else UTC


async def today(
    tx: Transaction, known: Known, principal: Principal, now: datetime
) -> tuple[list[Todo], list[Row], Tally]:
    """What waits for the office, each with its number, 0 included (what another capability waits with is one more line here); and
    the rates by county with the sum of all."""
    campaign_id = principal.campaign
    midnight = domain.day_ends(now, await zone_of(tx, known, campaign_id))
    found = await obligations.overview(tx, known, principal, campaign_id, now=now, due_before=midnight)
    todos = [
        Todo("逾期未报", found.whole.missing, "/desk/obligations?figure=missing"),
        Todo("今天截止、还没有报", found.due, "/desk/obligations?figure=due&today=true"),
        Todo("已退回、还没有重报", found.returned, "/desk/obligations?figure=returned"),
        Todo("差异待核", await findings.open_ones(tx, known, principal), "/desk/findings?state=open"),
        Todo("没有联络员的单位", len(await _unnamed(tx, campaign_id, found.units)), "/desk/without-liaison"),
    ]
    return todos, [Row(key, name or key, tally) for key, name, tally in found.rows], found.whole


async def without_liaison(
    tx: Transaction, known: Known, principal: Principal, now: datetime
) -> list[tuple[str, str, str]]:
    """(code, name, county) of the units that report and have named nobody (FACTS A7), in the tree's order."""
    definition = await _definition(tx, known, principal.campaign)
    midnight = domain.day_ends(now, definition.zone)
    found = await obligations.overview(tx, known, principal, principal.campaign, now=now, due_before=midnight)
    county_of = definition.tree.rolled_up("county", principal.unit)
    return [
        (code, _name(definition, code), _name(definition, county_of.get(code, code)))
        for code in await _unnamed(tx, principal.campaign, found.units)
    ]


async def _unnamed(tx: Transaction, campaign_id: str, codes: Sequence[str]) -> list[str]:
    named = await liaisons.liaisons(tx, campaign_id, codes)
    return [code for code in codes if code not in named or named[code].posts is None]


async def choices(tx: Transaction, known: Known, principal: Principal) -> Choices:
    definition = await _definition(tx, known, principal.campaign)
    forms, periods = await obligations.opened(tx, known, principal.campaign)
    units = (definition.tree.unit(code) for code in definition.tree.codes(principal.unit))
    places = {unit.unit_code: unit.name for unit in units if unit and unit.level in ("city", "county")}
    return Choices(forms, periods, places)


async def rates(
    tx: Transaction, known: Known, principal: Principal, asked: Asked, by: By, now: datetime
) -> tuple[list[Row], Tally]:
    """The rows of the table and the sum of all."""
    question = asked.question(principal.campaign)
    rows, whole = await obligations.rates(tx, known, principal, question, by=by, now=now)
    shown = [Row(key, domain.period_text(key) if by == "period" else name or key, tally) for key, name, tally in rows]
    return shown[::-1] if by == "period" else shown, whole


async def owing(
    tx: Transaction,
    known: Known,
    principal: Principal,
    asked: Asked,
    figure: Figure,
    *,
    now: datetime,
    after: Position | None,
    limit: int,
) -> tuple[list[Owing], int]:
    """A page of what a figure counts, by due time; and how many that are in all."""
    campaign_id, question = principal.campaign, asked.question(principal.campaign)
    due_before = await _until(tx, known, campaign_id, asked, now)
    whole = await obligations.count(tx, known, principal, question, figure, now=now, due_before=due_before)
    rows = await obligations.counted(
        tx, known, principal, question, figure, now=now, due_before=due_before, after=after, limit=limit
    )
    definition = await _definition(tx, known, campaign_id)
    titles, _ = await obligations.opened(tx, known, campaign_id)
    return [Owing(row, _name(definition, row.unit_code), titles.get(row.form, row.form)) for row in rows], whole


def position_of(row: Owing) -> Position:
    """After this row the next page begins."""
    one = row.obligation
    return Position(one.due_at, one.form, one.period, one.unit_code)


async def chase(
    tx: Transaction, known: Known, principal: Principal, asked: Asked, figure: Figure, now: datetime
) -> tuple[list[str], int]:
    """The names of units that have not reported, by county, in pieces to paste; and how many units that are."""
    definition = await _definition(tx, known, principal.campaign)
    question = asked.question(principal.campaign)
    due_before = await _until(tx, known, principal.campaign, asked, now)
    codes = await obligations.units_counted(tx, known, principal, question, figure, now=now, due_before=due_before)
    tree = definition.tree
    county_of = tree.rolled_up("county", principal.unit)
    by_county: dict[str, list[str]] = {}
    for code in sorted(codes, key=tree.order):
        by_county.setdefault(county_of.get(code, code), []).append(code)
    counties = [
        (_name(definition, county), [_name(definition, code) for code in by_county[county]])
        for county in sorted(by_county, key=tree.order)
    ]
    return domain.chase_pieces(counties), len(codes)


async def unit_in_reach(tx: Transaction, known: Known, principal: Principal, unit_code: str) -> Unit:
    """The unit. Refused as `no-such-unit` where it does not exist or lies outside of what the person may see."""
    await obligations.filters_of(tx, known, principal, Question(principal.campaign, unit=unit_code))
    unit = (await _definition(tx, known, principal.campaign)).tree.unit(unit_code)
    assert unit is not None  # noqa: S101 - it was found a line above
    return unit


async def _until(tx: Transaction, known: Known, campaign_id: str, asked: Asked, now: datetime) -> datetime | None:
    return domain.day_ends(now, await zone_of(tx, known, campaign_id)) if asked.today else None


async def _definition(tx: Transaction, known: Known, campaign_id: str) -> Definition:
    definition = await known.definitions.in_force(tx, campaign_id)
    if definition is None:
        raise Refused("no-such-campaign", f"这里没有活动 {campaign_id} 的定义")
    return definition


def _name(definition: Definition, code: str) -> str:
    unit = definition.tree.unit(code)
    return unit.name if unit else code
