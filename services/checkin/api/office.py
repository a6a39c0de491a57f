"""The office's decisions on a campaign: another policy tried out, a lesson made good, the platform's own count."""

from datetime import date, datetime
from functools import partial
from typing import Annotated, Any

from fastapi import APIRouter, Query
from pydantic import BaseModel, ConfigDict, Field, model_validator
from starlette.responses import JSONResponse

from services.checkin import store, usecases
from services.checkin.api.parameters import VIEWER_IDS_MAX, VIEWER_IDS_MAX_BYTES, Office, PathId, Reader
from services.checkin.campaigns import Catalogue
from shared.clock import Clock
from shared.contracts.base import ONE_LINE_PATTERN, Id
from shared.database import Database

PLATFORM_COUNT_MAX = 2_000_000_000


class MakeGoodRequest(BaseModel):
    """Grants `lesson_date` to listed viewers, or to all who checked in on every day of `checked_in_on`. With both given, to the
    listed viewers who checked in on all of these days."""

    model_config = ConfigDict(extra="forbid")

    make_good_id: Id | None = Field(default=None, description="yours, to repeat the request safely; else one is made")
    lesson_date: date
    reason: Annotated[str, Field(min_length=4, max_length=500, pattern=ONE_LINE_PATTERN)]
    viewer_ids: Annotated[list[Id], Field(min_length=1, max_length=VIEWER_IDS_MAX)] | None = None
    checked_in_on: Annotated[list[date], Field(max_length=62)] = []

    @model_validator(mode="after")
    def _names_somebody(self) -> "MakeGoodRequest":
        if self.viewer_ids is None and not self.checked_in_on:
            raise ValueError("没有写给谁：请写 viewer_ids（名单），或 checked_in_on（这些课都签到的人）")
        return self

    def audience(self) -> usecases.Audience:
        return usecases.Audience.of(self.viewer_ids, self.checked_in_on)


class PlatformCountRequest(BaseModel):
    """Check-ins (人次) of a lesson that the platform itself counted; what it does not tell is left out."""

    model_config = ConfigDict(extra="forbid")

    live: Annotated[int, Field(ge=0, le=PLATFORM_COUNT_MAX)] | None = None
    replay: Annotated[int, Field(ge=0, le=PLATFORM_COUNT_MAX)] | None = None

    @model_validator(mode="after")
    def _says_something(self) -> "PlatformCountRequest":
        if self.live is None and self.replay is None:
            raise ValueError("没有写人次：请写 live、replay 或两者")
        return self


def add_decision_routes(router: APIRouter, db: Database, clock: Clock, catalogue: Catalogue) -> None:
    @router.get(
        "/v1/campaigns/{campaign_id}/whatif", tags=["office"], summary="How many would complete under another policy"
    )
    async def whatif(
        campaign_id: PathId,
        credit: Annotated[str, Query(pattern=r"^(live|replay)(,(live|replay))?$")],
        principal: Reader,
    ) -> JSONResponse:
        async with db.transaction() as tx:
            return JSONResponse(await usecases.what_if(tx, catalogue, campaign_id, credit.split(",")))

    @router.post(
        "/v1/campaigns/{campaign_id}/make-goods",
        tags=["office"],
        summary="Grant a lesson after an outage",
        max_body_size=VIEWER_IDS_MAX_BYTES,
    )
    async def make_goods(
        campaign_id: PathId, body: MakeGoodRequest, principal: Office, dry_run: bool = False
    ) -> JSONResponse:
        """With `dry_run` the answer says whom the decision would reach, and nothing is kept. Otherwise the decision is kept
        with actor and reason. The answer names viewers, at most 1,000 of each kind. `already`: the lesson is credited to them,
        so nothing changes. `unseen`: listed, and no event of theirs has ever arrived; they are granted the lesson too.
        `unmatched`: listed, but absent on one of `checked_in_on`, so they get nothing."""
        if dry_run:
            async with db.transaction() as tx:
                reach = await usecases.make_good_preview(tx, catalogue, campaign_id, body.lesson_date, body.audience())
            return JSONResponse(reach | {"dry_run": True})
        now = clock.now()
        make_good_id = body.make_good_id or usecases.new_make_good_id()
        decision = store.MakeGood(
            make_good_id, campaign_id, body.lesson_date, body.reason, principal.subject, now, body.audience().as_json()
        )
        return JSONResponse(await _make_good(db, catalogue, decision, body.audience(), now))

    @router.put(
        "/v1/campaigns/{campaign_id}/lessons/{lesson_date}/platform-count",
        tags=["office"],
        summary="What the platform itself counted",
    )
    async def platform_count(
        campaign_id: PathId, lesson_date: date, body: PlatformCountRequest, principal: Office
    ) -> JSONResponse:
        """The answer has the platform's count and ours; the alert FeedIncomplete watches the difference."""
        counts = body.model_dump(exclude_none=True)
        async with db.transaction() as tx:
            answer = await usecases.state_platform_counts(
                tx, catalogue, campaign_id, lesson_date, counts, principal.subject, clock.now()
            )
        return JSONResponse({"campaign_id": campaign_id, "lesson_date": lesson_date.isoformat(), "counts": answer})


async def _make_good(
    db: Database, catalogue: Catalogue, decision: store.MakeGood, audience: usecases.Audience, now: datetime
) -> dict[str, Any]:
    """Grants the lesson page by page, each page in its own transaction, so that check-ins do not wait however many viewers it
    reaches."""
    matched, granted, after = 0, 0, ""
    async with db.transaction() as tx:
        reach = await usecases.make_good_preview(tx, catalogue, decision.campaign_id, decision.lesson_date, audience)
    while True:
        page = await db.in_transaction(
            partial(
                usecases.make_good_page, catalogue=catalogue, decision=decision, audience=audience, after=after, now=now
            )
        )
        matched, granted = matched + page.matched, granted + page.granted
        if page.last is None:
            break
        after = page.last
    return {"make_good_id": decision.make_good_id, **reach, "matched": matched, "granted": granted}
