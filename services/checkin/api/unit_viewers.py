"""A unit's own viewers, for its liaison."""

from datetime import date
from typing import Annotated

from fastapi import APIRouter, Query
from pydantic import BaseModel, Field

from services.checkin import usecases
from services.checkin.api.parameters import Anybody, PathId
from services.checkin.api.viewers import ViewerAnswer, viewer_answer
from services.checkin.campaigns import Catalogue
from services.checkin.domain import LessonState
from shared.clock import Clock
from shared.contracts.base import Id
from shared.database import Database, Transaction
from shared.service.problems import Problem
from shared.service.tokens import Principal

UNIT_VIEWERS_MAX = 500


class UnitViewerRow(BaseModel):
    """One of a unit's viewers and their days."""

    viewer_id: str
    unit_code: str
    group: str
    credited_days: int
    reachable_days: int
    can_complete: bool
    not_credited: list[date] = Field(description="lessons that are over for good without counting")


class UnitViewerPage(BaseModel):
    required_days: int
    rows: list[UnitViewerRow]
    next_cursor: str | None


def add_unit_viewer_routes(router: APIRouter, db: Database, clock: Clock, catalogue: Catalogue) -> None:
    path = "/v1/campaigns/{campaign_id}/units/{unit_code}/viewers"

    async def require_inside(tx: Transaction, principal: Principal, campaign_id: str, unit_code: str) -> None:
        """Raises a 403 problem for a unit outside of the token's subtree, also where the campaign has no such unit, and for a
        liaison's token that names no unit."""
        if principal.unit is None and principal.role != "liaison":
            return
        campaign = await usecases.campaign_in_force(tx, catalogue, campaign_id)
        tree = campaign.definition.unit_by_code
        subtree = usecases.subtree(campaign, principal.unit) if principal.unit in tree else frozenset()
        if unit_code not in subtree:
            raise Problem(403, "other-unit", "该令牌只适用于自己单位及其下级")

    @router.get(path, tags=["liaison"], summary="A unit's viewers and their days")
    async def unit_viewers(
        campaign_id: PathId,
        unit_code: PathId,
        principal: Anybody,
        limit: Annotated[int, Query(ge=1, le=UNIT_VIEWERS_MAX)] = 100,
        cursor: Annotated[Id | None, Query(description="`next_cursor` of the page before")] = None,
    ) -> UnitViewerPage:
        """Viewers of the unit and of all units below it, sorted by account. The answer has no name, phone or claim code:
        checkin has none of them."""
        async with db.transaction() as tx:
            await require_inside(tx, principal, campaign_id, unit_code)
            campaign = await usecases.campaign_in_force(tx, catalogue, campaign_id)
            reports = await usecases.unit_viewers(
                tx, catalogue, campaign_id, unit_code, cursor or "", limit, clock.now()
            )
        rows = [_unit_viewer(report) for report in reports]
        next_cursor = rows[-1].viewer_id if len(rows) == limit else None
        return UnitViewerPage(required_days=campaign.course.required_days, rows=rows, next_cursor=next_cursor)

    @router.get(path + "/{viewer_id}", tags=["liaison"], summary="What counts for one of a unit's viewers, and why")
    async def unit_viewer(
        campaign_id: PathId, unit_code: PathId, viewer_id: PathId, principal: Anybody
    ) -> ViewerAnswer:
        """A viewer of another unit is answered with 404, like a viewer who does not exist."""
        async with db.transaction() as tx:
            await require_inside(tx, principal, campaign_id, unit_code)
            report = await usecases.unit_report(tx, catalogue, campaign_id, unit_code, viewer_id, clock.now())
        return viewer_answer(report)


def _unit_viewer(report: usecases.ViewerReport) -> UnitViewerRow:
    dates = report.campaign.course.lesson_dates
    counts = (LessonState.CREDITED, LessonState.MADE_GOOD)
    return UnitViewerRow(
        viewer_id=report.viewer.viewer_id,
        unit_code=report.viewer.unit_code,
        group=report.viewer.group_code,
        credited_days=report.credited_days,
        reachable_days=report.reachable_days,
        can_complete=report.reachable_days >= report.campaign.course.required_days,
        not_credited=[dates[view.lesson] for view in report.lessons if view.final and view.state not in counts],
    )
