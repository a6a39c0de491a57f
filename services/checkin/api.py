"""HTTP of checkin: the live platform's posts, the office's campaigns and viewers, the viewer's own page."""

import asyncio
from collections import Counter
from collections.abc import Awaitable, Callable, Iterable, Mapping
from datetime import date, datetime
from functools import partial
from typing import Annotated, Any

import jwt
import msgspec
from fastapi import APIRouter, Depends, Path, Query, Request
from pydantic import BaseModel, ConfigDict, Field, ValidationError, model_validator
from starlette.responses import HTMLResponse, JSONResponse, Response

from services.checkin import pages, store, usecases
from services.checkin.campaigns import Catalogue
from services.checkin.certificates import CertificateState
from services.checkin.committer import Committer, Overloaded
from services.checkin.domain import LessonState, Reason, Result, subtree_of_definition
from services.checkin.live_events import BodyRefused, Item, read_body
from services.checkin.live_platform import Source, challenge_of
from services.checkin.refusals import NO_SUCH_CAMPAIGN, NO_SUCH_VIEWER
from services.checkin.settings import Settings
from services.checkin.sorting import Arrival
from shared.clock import Clock
from shared.contracts.base import ID_PATTERN, ONE_LINE_PATTERN, Id, Mode
from shared.contracts.campaign import DEFINITION_MAX_BYTES, CampaignDefinition
from shared.contracts.campaign_errors import explain
from shared.database import Database, Transaction
from shared.forms.applying import form_faults
from shared.forms.changing import FormChange
from shared.ids import new_import_id
from shared.service.direct_route import DirectRoute
from shared.service.guarded_route import GuardedRoute
from shared.service.problems import Problem, busy, not_found
from shared.service.refusals import Refused
from shared.service.tokens import ALL_CAMPAIGNS, ROLES, Principal, requires

VIEWER_IDS_MAX = 10_000
CAMPAIGNS_LISTED_MAX = UNIT_VIEWERS_MAX = 500
LINKS_PER_PAGE = 5_000
EVENTS_MAX_BYTES = MAKE_GOOD_MAX_BYTES = 1024 * 1024  # 10,000 ids of 64 characters are 670,000 bytes
PLATFORM_COUNT_MAX = 2_000_000_000
WEBHOOK_PATHS = WEBHOOK_PATH, WEBHOOK_OF_SOURCE_PATH = "/v1/live/events", "/v1/live/events/{source}"

PathId = Annotated[str, Path(pattern=ID_PATTERN)]
Admin = Annotated[Principal, Depends(requires("admin"))]
Office = Annotated[Principal, Depends(requires("admin", "office"))]
Reader = Annotated[Principal, Depends(requires("admin", "office", "auditor"))]
Anybody = Annotated[Principal, Depends(requires(*ROLES, subtrees=True))]


class LessonAnswer(BaseModel):
    """One lesson of one viewer."""

    lesson_date: date
    title: str
    state: LessonState
    reason: Reason | None = Field(description="why a check-in of this lesson does not count")
    final: bool = Field(description="nothing that the platform still sends changes it: credited, or sealed")
    earn_until: datetime | None = Field(description="until when a check-in would still be credited")
    modes: list[Mode] = Field(description="the modes the viewer checked in in, credited or not")


class UncountedAnswer(BaseModel):
    """An event of the viewer that was refused, or kept without credit."""

    verdict: str
    reason: str
    type: str | None
    occurred_at: datetime | None
    received_at: datetime


class ViewerAnswer(BaseModel):
    """What counts for a viewer, why, and what is still possible."""

    campaign_id: str
    viewer_id: str
    unit_code: str
    unit_name: str | None
    group: str
    enrolled_at: datetime | None
    credited_days: int
    required_days: int
    reachable_days: int = Field(
        description="credited days if nothing is missed from now on, and what may still be on its way arrives"
    )
    can_complete: bool
    certificate: CertificateState | None = Field(description="null: not claimed, as far as is known")
    lessons: list[LessonAnswer]
    uncounted: list[UncountedAnswer]


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


class LinksRequest(BaseModel):
    """Which viewers to make links for: the listed ones; or, page by page, those of a unit and of all units below it; or, where
    neither is given, those of the whole campaign."""

    model_config = ConfigDict(extra="forbid")

    viewer_ids: Annotated[list[Id], Field(min_length=1, max_length=VIEWER_IDS_MAX)] | None = None
    unit: Id | None = None
    cursor: Id | None = Field(default=None, description="`next_cursor` of the page before")


class LinkRow(BaseModel):
    viewer_id: str
    unit_code: str | None = Field(description="null in the answer to a list")
    url: str = Field(description="opens the viewer's own page for whoever has it: hand it to that viewer only")


class LinkPage(BaseModel):
    rows: list[LinkRow]
    next_cursor: str | None


class CampaignRow(BaseModel):
    campaign_id: str
    title: str
    revision: int


class CampaignPage(BaseModel):
    rows: list[CampaignRow]
    next_cursor: str | None


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


class Intake:
    """Events on their way in over HTTP: verified, read, committed and answered."""

    def __init__(self, sources: Mapping[str, Source], clock: Clock, committer: Committer) -> None:
        self._sources = sources
        self._clock = clock
        self._committer = committer

    async def from_source(self, name: str, request: Request) -> Response:
        """A post of the live platform, signed as this source signs."""
        source = self._sources.get(name)
        if source is None:
            raise not_found("该数据来源", f"没有配置数据来源 {name}")
        if not source.may_be_signed(request.headers):
            raise _not_signed()
        body = await request.body()
        if not source.signed(request.headers, body):
            raise _not_signed()
        if source.verifier == "douyin" and (challenge := challenge_of(body)) is not None:
            return JSONResponse({"challenge": challenge})
        return await self.record(_read(body), name)

    async def record(self, items: list[Item], source: str) -> Response:
        now = self._clock.now()
        return await self._submit([Arrival(item, source, now) for item in items])

    async def record_file(self, items: list[Item], source: str) -> Response:
        """As `record`, for the next rows of a file. Of enrolments with equal times those of this file count as later than those
        that came before."""
        now, file_id = self._clock.now(), new_import_id()
        return await self._submit([Arrival(item, source, now, f"{file_id}-{n:04}") for n, item in enumerate(items)])

    async def _submit(self, arrivals: list[Arrival]) -> Response:
        try:
            return _answer(await self._committer.submit(arrivals))
        except Overloaded as error:
            raise busy() from error


def build_webhook(intake: Intake) -> DirectRoute:
    """The hot path: where the live platform posts."""

    async def live_events(request: Request) -> Response:
        """One event object or an array of 1..1000, signed by Standard Webhooks. 2xx means committed (DESIGN §4.1)."""
        return await intake.from_source("standard", request)

    return DirectRoute(
        WEBHOOK_PATH,
        live_events,
        methods=["POST"],
        tags=["live platform"],
        summary="Events, signed, as source `standard`",
        max_body_size=EVENTS_MAX_BYTES,
    )


def build_api(settings: Settings, db: Database, clock: Clock, intake: Intake, catalogue: Catalogue) -> APIRouter:
    router = APIRouter(route_class=GuardedRoute)
    _events(router, intake)
    _campaigns(router, db, clock, catalogue)
    _decisions(router, db, clock, catalogue)
    _viewers(router, settings, db, clock, catalogue)
    _unit_viewers(router, db, clock, catalogue)
    return router


# ---- events ----------------------------------------------------------------------------------------------------------


def _events(router: APIRouter, intake: Intake) -> None:
    @router.post(
        WEBHOOK_OF_SOURCE_PATH,
        tags=["live platform"],
        summary="Events, signed as this source signs",
        max_body_size=EVENTS_MAX_BYTES,
    )
    async def live_events_from(source: PathId, request: Request) -> Response:
        return await intake.from_source(source, request)

    @router.post(
        "/v1/campaigns/{campaign_id}/imports",
        tags=["office"],
        summary="Events from an export file",
        max_body_size=EVENTS_MAX_BYTES,
    )
    async def imports(
        campaign_id: PathId,
        request: Request,
        principal: Office,
        source: Annotated[Id, Query(description="whose file it is: its check-ins count under this name")] = "import",
    ) -> Response:
        """The same events as the live platform posts, sent by the office from a file (`fanzha import`); safe to repeat."""
        items = _read(await request.body())
        for item in items:
            if item.event is not None and item.event.campaign_id != campaign_id:
                raise Problem(422, "other-campaign", "文件中有其他活动的事件", f"每个事件都应属于活动 {campaign_id}")
        return await intake.record_file(items, source)


def _not_signed() -> Problem:
    detail = "签名与收到的内容不符，或者签名时间相差超过 5 分钟"
    return Problem(401, "signature", "签名无效或已过期", detail)


def _read(body: bytes) -> list[Item]:
    try:
        return read_body(body)
    except BodyRefused as error:
        if error.reason == "too_many":
            raise Problem(413, "too-many-items", "一次提交的事件过多", str(error)) from error
        raise Problem(400, "not-json", "请求内容不是有效的 JSON 事件", str(error)) from error


def _answer(results: list[Result]) -> Response:
    """Answers with the results in the order sent. msgspec writes them: the standard library takes as long as recording."""
    answer: dict[str, Any] = {"results": results, "counts": Counter(result.verdict.value for result in results)}
    if dropped := sum(result.dropped is not msgspec.UNSET for result in results):
        answer["contacts_dropped"] = dropped
    return Response(msgspec.json.encode(answer), media_type="application/json")


# ---- campaigns -------------------------------------------------------------------------------------------------------


def _campaigns(router: APIRouter, db: Database, clock: Clock, catalogue: Catalogue) -> None:
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


# ---- the office's decisions -------------------------------------------------------------------------------------------


def _decisions(router: APIRouter, db: Database, clock: Clock, catalogue: Catalogue) -> None:
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
        max_body_size=MAKE_GOOD_MAX_BYTES,
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


# ---- viewers ---------------------------------------------------------------------------------------------------------


def _viewers(router: APIRouter, settings: Settings, db: Database, clock: Clock, catalogue: Catalogue) -> None:
    @router.get(
        "/v1/campaigns/{campaign_id}/viewers/{viewer_id}",
        tags=["office"],
        summary="What counts for a viewer, and why",
        response_model=ViewerAnswer,
    )
    async def get_viewer(campaign_id: PathId, viewer_id: PathId, principal: Reader) -> ViewerAnswer:
        async with db.transaction() as tx:
            report = await usecases.viewer_report(tx, catalogue, campaign_id, viewer_id, clock.now())
        return _viewer_answer(report)

    @router.post(
        "/v1/campaigns/{campaign_id}/viewers/{viewer_id}/link",
        tags=["office"],
        summary="A link to the viewer's own page",
    )
    async def link(campaign_id: PathId, viewer_id: PathId, principal: Office) -> dict[str, str]:
        return {"url": link_to(campaign_id, viewer_id)}

    @router.post(
        "/v1/campaigns/{campaign_id}/viewer-links",
        tags=["office"],
        summary="Links to many viewers' own pages",
        max_body_size=MAKE_GOOD_MAX_BYTES,
    )
    async def links(campaign_id: PathId, body: LinksRequest, principal: Office) -> LinkPage:
        """The platform gives each viewer their own link. Listed viewers need not be known yet."""
        if body.viewer_ids is not None:
            ids = [(viewer_id, None) for viewer_id in body.viewer_ids]
            return LinkPage(rows=_link_rows(campaign_id, ids), next_cursor=None)
        async with db.transaction() as tx:
            page = await usecases.unit_viewers(
                tx, catalogue, campaign_id, body.unit, body.cursor or "", LINKS_PER_PAGE, clock.now()
            )
        rows = _link_rows(campaign_id, [(report.viewer.viewer_id, report.viewer.unit_code) for report in page])
        return LinkPage(rows=rows, next_cursor=rows[-1].viewer_id if len(rows) == LINKS_PER_PAGE else None)

    def _link_rows(campaign_id: str, viewers: Iterable[tuple[str, str | None]]) -> list[LinkRow]:
        return [LinkRow(viewer_id=viewer, unit_code=unit, url=link_to(campaign_id, viewer)) for viewer, unit in viewers]

    def link_to(campaign_id: str, viewer_id: str) -> str:
        token = jwt.encode({"c": campaign_id, "v": viewer_id}, settings.link_key, algorithm="HS256")
        return f"{settings.public_url}/me/{token}"

    @router.get("/me/{token}", tags=["viewer"], summary="The viewer's own page", response_class=HTMLResponse)
    async def me(token: Annotated[str, Path(max_length=1000)]) -> HTMLResponse:
        try:
            claims: dict[str, Any] = jwt.decode(token, settings.link_key, algorithms=["HS256"])
            campaign_id, viewer_id = str(claims["c"]), str(claims["v"])
        except (jwt.InvalidTokenError, KeyError):
            return pages.PAGES.answer(pages.unknown_link(), 404)
        async with db.transaction() as tx:
            try:
                report = await usecases.viewer_report(tx, catalogue, campaign_id, viewer_id, clock.now())
            except Refused as refused:
                if refused.name not in (NO_SUCH_CAMPAIGN, NO_SUCH_VIEWER):
                    raise
                return pages.PAGES.answer(pages.nothing_yet(), 404)
        return pages.PAGES.answer(pages.viewer(report, clock.now(), settings.claim_page_url))


# ---- a unit's own viewers ----------------------------------------------------------------------------------------------


def _unit_viewers(router: APIRouter, db: Database, clock: Clock, catalogue: Catalogue) -> None:
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
        return _viewer_answer(report)


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


def _viewer_answer(report: usecases.ViewerReport) -> ViewerAnswer:
    campaign, viewer = report.campaign, report.viewer
    unit = campaign.definition.unit_by_code.get(viewer.unit_code)
    return ViewerAnswer(
        campaign_id=campaign.id,
        viewer_id=viewer.viewer_id,
        unit_code=viewer.unit_code,
        unit_name=unit.name if unit else None,
        group=viewer.group_code,
        enrolled_at=viewer.enrolled_at,
        credited_days=report.credited_days,
        required_days=campaign.course.required_days,
        reachable_days=report.reachable_days,
        can_complete=campaign.course.is_completed_with(report.reachable_days),
        certificate=report.certificate,
        lessons=[
            LessonAnswer(
                lesson_date=campaign.course.lesson_dates[view.lesson],
                title=campaign.definition.lessons[view.lesson].title,
                state=view.state,
                reason=view.reason,
                final=view.final,
                earn_until=view.earn_until,
                modes=[mode for mode in ("live", "replay") if viewer.lessons.has(view.lesson, mode)],
            )
            for view in report.lessons
        ],
        uncounted=[UncountedAnswer.model_validate(dict(row)) for row in report.uncounted],
    )
