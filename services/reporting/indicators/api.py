"""HTTP of indicators: their values by unit, county or city, and rankings (DESIGN §5.2)."""

from typing import Annotated, Any

from fastapi import APIRouter, Depends, Path, Query
from pydantic import BaseModel, ConfigDict, Field

from services.reporting.indicators import domain, usecases
from services.reporting.indicators.usecases import By
from services.reporting.obligations.usecases import Known
from shared.clock import Clock
from shared.contracts.base import ID_PATTERN, Id
from shared.contracts.reporting import Period
from shared.database import Database
from shared.forms.formulas import rounded
from shared.service.guarded_route import GuardedRoute
from shared.service.tokens import ROLES, Principal, requires

Reader = Annotated[Principal, Depends(requires(*ROLES, subtrees=True))]
IndicatorId = Annotated[str, Path(pattern=ID_PATTERN)]
PARTS_DECIMALS = 6  # of numerator and denominator


class IndicatorQuery(BaseModel):
    model_config = ConfigDict(extra="forbid")

    by: By = "county"
    period: Period | None = Field(
        default=None,
        description="only this period; without it increments are added up over periods, 人数 never, and of running totals and "
        "levels the last counts",
    )


class IndicatorRow(BaseModel):
    key: str
    name: str | None
    value: float | None = Field(description="null, shown as —, where something is missing or would be divided by zero")
    numerator: float | None = Field(description="of a formula that divides; else the value")
    denominator: float | None
    units: int = Field(description="whose reports are in it; a unit that lacks one of the figures is in none of them")


class RankedRow(IndicatorRow):
    rank: int | None = Field(description="1, 1, 3 for equal values (并列); null without a value")


class IndicatorAnswer(BaseModel):
    id: str
    title: str
    decimals: int
    rows: list[IndicatorRow]


class RankingAnswer(BaseModel):
    id: str
    title: str
    decimals: int
    rows: list[RankedRow] = Field(description="the largest first; those without a value last, in the tree's order")


def build_api(db: Database, known: Known, clock: Clock) -> APIRouter:
    router = APIRouter(prefix="/v1/campaigns/{campaign_id}", tags=["reports"], route_class=GuardedRoute)

    async def asked(campaign_id: str, indicator: str, query: IndicatorQuery, principal: Principal) -> usecases.Figures:
        async with db.transaction() as tx:
            return await usecases.figures(
                tx, known, principal, campaign_id, indicator, by=query.by, period=query.period, now=clock.now()
            )

    @router.get("/indicators/{indicator}", summary="An indicator by unit, county or city")
    async def indicator(
        campaign_id: Id, indicator: IndicatorId, query: Annotated[IndicatorQuery, Query()], principal: Reader
    ) -> IndicatorAnswer:
        found = await asked(campaign_id, indicator, query, principal)
        rows = [IndicatorRow(**_row(found, row)) for row in found.rows]
        return IndicatorAnswer(
            id=found.indicator.id, title=found.indicator.title, decimals=found.indicator.decimals, rows=rows
        )

    @router.get("/rankings/{indicator}", summary="The same, ranked")
    async def ranking(
        campaign_id: Id, indicator: IndicatorId, query: Annotated[IndicatorQuery, Query()], principal: Reader
    ) -> RankingAnswer:
        """A ranking hides nobody: units that owe nothing to the indicator are in it too, with null as their value."""
        found = await asked(campaign_id, indicator, query, principal)
        ranks = domain.ranks({row.key: row.value for row in found.rows})
        rows = [RankedRow(**_row(found, row), rank=ranks.get(row.key)) for row in found.rows]
        rows.sort(key=lambda row: (row.rank is None, row.rank or 0))
        return RankingAnswer(
            id=found.indicator.id, title=found.indicator.title, decimals=found.indicator.decimals, rows=rows
        )

    return router


def _row(found: usecases.Figures, row: domain.Row) -> dict[str, Any]:
    return {
        "key": row.key,
        "name": found.names.get(row.key),
        "value": _shown(row.value, found.indicator.decimals),
        "numerator": _shown(row.numerator, PARTS_DECIMALS),
        "denominator": _shown(row.denominator, PARTS_DECIMALS),
        "units": row.units,
    }


def _shown(value: domain.Number, decimals: int) -> float | None:
    return None if value is None else float(rounded(value, decimals))
