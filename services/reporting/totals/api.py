"""The questions that reporting answers over HTTP (DESIGN §5.2)."""

from datetime import date
from typing import Annotated, Any

from fastapi import APIRouter, Depends, Query, Request
from pydantic import BaseModel, ConfigDict, Field

from services.reporting.definition import Definition
from services.reporting.totals import sheets, store, usecases
from services.reporting.totals.answers import LiveRoom, Totals
from services.reporting.totals.questions import By, LiveRoomBy
from shared.clock import Clock
from shared.contracts.base import Id, Mode
from shared.database import Database
from shared.definitions import Definitions
from shared.service.guarded_route import GuardedRoute
from shared.service.sheets import SHEETS, in_kind_asked
from shared.service.tokens import ROLES, Principal, requires

Reader = Annotated[Principal, Depends(requires(*ROLES, subtrees=True))]


class TotalsQuery(BaseModel):
    """An unknown parameter is an error: a mistyped filter must not answer with everything."""

    model_config = ConfigDict(extra="forbid")

    by: By = Field(
        description="county and city: units rolled up to that level, what hangs above it under its own code; subtree: each unit "
        "with all below it, so that rows overlap; platform: not for a token with a unit"
    )
    lesson: date | None = Field(default=None, description="only this lesson (its date)")
    mode: Mode | None = Field(
        default=None, description="only live (首播) or replay (重播); made-good lessons have neither"
    )


class LiveRoomQuery(BaseModel):
    model_config = ConfigDict(extra="forbid")

    by: LiveRoomBy
    lesson: date | None = Field(default=None, description="only this lesson (its date)")


def build_api(db: Database, known: Definitions[Definition], clock: Clock) -> APIRouter:
    router = APIRouter(prefix="/v1/campaigns/{campaign_id}", tags=["totals"], route_class=GuardedRoute)

    @router.get(
        "/totals",
        summary="Check-ins, viewers and certificates by unit, group, lesson, mode or platform",
        response_model=Totals,
        responses=SHEETS,
    )
    async def totals(
        campaign_id: Id, query: Annotated[TotalsQuery, Query()], principal: Reader, request: Request
    ) -> Any:
        """A token with a unit sees that unit's subtree and nothing else: no other row, name or sum. As a sheet, for `Accept`
        with its type: the same rows with Chinese headings, and the sum as the last."""
        async with db.transaction() as tx:
            await store.read_one_snapshot(tx)
            answer = await usecases.totals(
                tx, known, principal, campaign_id, by=query.by, lesson=query.lesson, mode=query.mode, now=clock.now()
            )
        return await in_kind_asked(request, answer, sheets.totals_pages)

    @router.get(
        "/live-room",
        summary="Quiz answers, prizes and follows by unit, lesson or item",
        response_model=LiveRoom,
        responses=SHEETS,
    )
    async def live_room(
        campaign_id: Id, query: Annotated[LiveRoomQuery, Query()], principal: Reader, request: Request
    ) -> Any:
        """Counted under the viewer's unit at that moment; times, not people. As a sheet, for `Accept` with its type."""
        async with db.transaction() as tx:
            await store.read_one_snapshot(tx)
            answer = await usecases.live_room(
                tx, known, principal, campaign_id, by=query.by, lesson=query.lesson, now=clock.now()
            )
        return await in_kind_asked(request, answer, sheets.live_room_pages)

    return router
