"""Campaigns: definitions, sent by the office and read by who may."""

import asyncio
from collections.abc import Awaitable, Callable, Iterable
from datetime import datetime
from functools import partial
from typing import Annotated, Any

from fastapi import APIRouter, Query, Request
from pydantic import BaseModel, ValidationError
from starlette.responses import JSONResponse, Response

from services.checkin import store, usecases
from services.checkin.api.parameters import Admin, Anybody, PathId
from services.checkin.campaigns import Catalogue
from services.checkin.domain import subtree_of_definition
from shared.clock import Clock
from shared.contracts.base import Id
from shared.contracts.campaign import DEFINITION_MAX_BYTES, CampaignDefinition
from shared.contracts.campaign_errors import explain
from shared.database import Database
from shared.forms.applying import form_faults
from shared.forms.changing import FormChange
from shared.service.problems import Problem, not_found
from shared.service.tokens import ALL_CAMPAIGNS

CAMPAIGNS_LISTED_MAX = 500


class CampaignRow(BaseModel):
    campaign_id: str
    title: str
    revision: int


class CampaignPage(BaseModel):
    rows: list[CampaignRow]
    next_cursor: str | None


def add_campaign_routes(router: APIRouter, db: Database, clock: Clock, catalogue: Catalogue) -> None:
    @router.put(
        "/v1/campaigns/{campaign_id}",
        tags=["office"],
        summary="Create or replace a campaign definition",
        max_body_size=DEFINITION_MAX_BYTES,
    )
    async def put_campaign(
        campaign_id: PathId, request: Request, principal: Admin, dry_run: bool = False
    ) -> JSONResponse:
        """The body is a campaign definition (JSON, at most 8 MiB). Sending the same content again answers with the same
        revision, and finishes what a crash interrupted. `attributed`: how many viewers without a unit got one, because the
        channel that they gave is known now. `contacts_withdrawn`: of how many viewers name and phone are no longer kept,
        because their group is one of minors now. `forms`: which forms change, and from which period on; absent where none does.
        With `dry_run` checks and answer are the same, and nothing is kept."""
        draft = await asyncio.to_thread(_draft, await request.body(), campaign_id)  # up to 4 s
        now = clock.now()
        applied = await db.in_transaction(
            lambda tx: usecases.define_campaign(tx, draft, principal.subject, now, dry_run=dry_run)
        )
        attributed = 0 if dry_run else await _page_by_page(db, catalogue, campaign_id, usecases.attribute_page, now)
        withdrawn = 0 if dry_run else await _page_by_page(db, catalogue, campaign_id, usecases.withdraw_page, now)
        answer: dict[str, Any] = {"revision": applied.revision, "changed": applied.changed, "attributed": attributed}
        if withdrawn:
            answer["contacts_withdrawn"] = withdrawn
        if applied.forms:
            answer["forms"] = [_form_change(change) for change in applied.forms]
        return JSONResponse(answer | ({"dry_run": True} if dry_run else {}))

    @router.get("/v1/campaigns", tags=["office"], summary="The campaigns that this token is for")
    async def list_campaigns(
        principal: Anybody,
        limit: Annotated[int, Query(ge=1, le=CAMPAIGNS_LISTED_MAX)] = 100,
        cursor: Annotated[Id | None, Query(description="`next_cursor` of the page before")] = None,
    ) -> CampaignPage:
        """Sorted by id. A token for one campaign gets only that campaign."""
        only = None if principal.campaign == ALL_CAMPAIGNS else principal.campaign
        async with db.transaction() as tx:
            rows = [
                CampaignRow.model_validate(dict(row)) for row in await store.campaigns(tx, only, cursor or "", limit)
            ]
        return CampaignPage(rows=rows, next_cursor=rows[-1].campaign_id if len(rows) == limit else None)

    @router.get("/v1/campaigns/{campaign_id}", tags=["office"], summary="The definition in force")
    async def get_campaign(campaign_id: PathId, principal: Anybody) -> Response:
        """A token with a unit gets that unit's subtree, as if there were no other unit or channel."""
        async with db.transaction() as tx:
            row = await store.definition(tx, campaign_id)
        if row is None:
            raise not_found("该活动")
        definition, etag = row["definition"], f'"{row["revision"]}"'
        if principal.unit is not None:
            definition = await asyncio.to_thread(subtree_of_definition, definition, principal.unit)
            etag = f'"{row["revision"]}-{principal.unit}"'
        if definition is None:
            raise Problem(403, "unit-not-in-campaign", "该令牌的单位不在此活动的单位树中")
        headers = {"etag": etag, "x-revision": str(row["revision"])}
        return Response(definition, media_type="application/json", headers=headers)


def _form_change(change: FormChange) -> dict[str, Any]:
    """JSON-ready, times in UTC."""
    return {key: value.isoformat() if isinstance(value, datetime) else value for key, value in change._asdict().items()}


ChangePage = Callable[..., Awaitable[usecases.ViewersChanged]]
"""A use case that takes `tx`, `catalogue`, `campaign_id`, `after` and `now`."""


async def _page_by_page(db: Database, catalogue: Catalogue, campaign_id: str, change: ChangePage, now: datetime) -> int:
    """How many viewers were changed, page by page, each in a transaction of its own, so that check-ins do not wait."""
    changed, after = 0, ""
    while True:
        page = await db.in_transaction(
            partial(change, catalogue=catalogue, campaign_id=campaign_id, after=after, now=now)
        )
        changed += page.changed
        if page.last is None:
            return changed
        after = page.last


def _invalid(faults: Iterable[tuple[str, str]]) -> Problem:
    errors = [{"at": at, "message": message} for at, message in faults]
    return Problem(422, "invalid-definition", "活动定义有误", errors=errors[:100])


def _draft(body: bytes, campaign_id: str) -> usecases.Draft:
    try:
        definition = CampaignDefinition.model_validate_json(body)
    except ValidationError as error:
        raise _invalid((finding.at, finding.message) for finding in explain(error)) from error
    if faults := form_faults(definition):
        raise _invalid(faults)
    if definition.campaign_id != campaign_id:
        raise Problem(
            422, "other-campaign", "路径与定义中的活动编号不一致", f"{campaign_id} / {definition.campaign_id}"
        )
    return usecases.Draft.of(definition)
