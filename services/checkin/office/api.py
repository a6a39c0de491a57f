"""The office's pages of checkin (DESIGN §5.5): `/campaigns`, `/campaigns/viewers`, `/campaigns/make-goods`.

The campaign is the one that the session is for; whoever is signed in for all of them says `?campaign=`. People of one unit see
their subtree. Lessons are made good by people of the whole campaign.
"""

import asyncio
import re
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import date, datetime
from typing import Annotated, Any
from zoneinfo import ZoneInfo

from fastapi import APIRouter, Depends, Form, Path, Query, UploadFile
from starlette.datastructures import URL
from starlette.responses import HTMLResponse, RedirectResponse, Response

from services.checkin import links
from services.checkin.campaigns import Catalogue
from services.checkin.office import pages, usecases
from services.checkin.office.accounts import FILE_MAX_BYTES, read_accounts
from services.checkin.office.domain import (
    ACCOUNTS_MAX,
    REASON_MAX_CHARS,
    REASON_MIN_CHARS,
    Accounts,
    LinkGiven,
    Scope,
    split,
)
from services.checkin.office.pages import PAGES, Typed
from services.checkin.office.usecases import DECISIONS_SHOWN_MAX
from services.checkin.refusals import ANSWERS, NO_SUCH_CAMPAIGN, NO_SUCH_VIEWER
from services.checkin.settings import Settings
from services.checkin.usecases import campaign_in_force
from shared.clock import Clock
from shared.contracts.base import ID_PATTERN
from shared.database import Database, Transaction
from shared.ids import new_public_id
from shared.service.guarded_route import GuardedRoute
from shared.service.page_gate import FORM_FIELDS_MAX, FormLimits, Visit, signed_in
from shared.service.problems import Problem, problem_of
from shared.service.refusals import Refused
from shared.service.tokens import ALL_CAMPAIGNS
from shared.sheets import FileFault

PATH = "/campaigns"
VIEWERS, MAKE_GOODS = f"{PATH}/viewers", f"{PATH}/make-goods"
CHANGERS = ("admin", "office")
MAKE_GOOD_FORM = FormLimits(fields=100, files=1)  # a field for each lesson that may be ticked
MAKE_GOOD_MAX_BYTES = 1024 * 1024  # a file, or 10,000 accounts that were pasted
TYPED_MAX_CHARS = 64
UNKNOWN_VIEWER = "没有找到这个账号。请核对平台账号；别的单位的观众，这里查不到"

AnyReader = Annotated[Visit, Depends(signed_in("admin", "office", "auditor", subtrees=True))]
Changer = Annotated[Visit, Depends(signed_in("admin", "office", subtrees=True))]
Reader = Annotated[Visit, Depends(signed_in("admin", "office", "auditor"))]
Granter = Annotated[Visit, Depends(signed_in("admin", "office", form=MAKE_GOOD_FORM))]
Asked = Annotated[str | None, Query(alias="campaign", pattern=ID_PATTERN)]
ViewerId = Annotated[str, Path(pattern=ID_PATTERN)]
Text = Annotated[str, Form()]


class FormFault(Exception):
    """Something on the form cannot be read; the text (zh-Hans) says what."""


@dataclass(frozen=True)
class Place:
    """Of which campaign a page is, and what its links carry along so that the next page is of the same one."""

    campaign_id: str
    query: str

    @classmethod
    def of(cls, visit: Visit, asked: str | None) -> "Place":
        """Raises a 303 problem to the choice of campaigns where none was chosen."""
        campaign_id = visit.session.principal.campaign
        if campaign_id != ALL_CAMPAIGNS:
            return cls(campaign_id, "")
        if asked is None:
            problem = Problem(303, "choose-campaign", "请先选一个活动")
            problem.headers = {"Location": PATH}
            raise problem
        return cls(asked, f"?campaign={asked}")


def build_pages(settings: Settings, db: Database, clock: Clock, catalogue: Catalogue) -> APIRouter:
    router = APIRouter(route_class=GuardedRoute, tags=["pages"], default_response_class=HTMLResponse)
    _course(router, db, clock, catalogue)
    _viewers(router, settings, db, clock, catalogue)
    _make_goods(router, db, clock, catalogue)
    return router


def _html(visit: Visit, place: Place, template: str, status: int = 200, **values: Any) -> HTMLResponse:
    may_see_all = visit.session.principal.unit is None
    html = PAGES.html(template, frame=visit.frame, at=place.query, may_see_all=may_see_all, **values)
    return PAGES.answer(html, status, form=True)


def _to(path: str, **query: str) -> Response:
    return RedirectResponse(str(URL(path).include_query_params(**query)), 303, {"cache-control": "no-store"})


def _error(refused: Refused) -> tuple[int, str]:
    """The status and what the page says."""
    problem = problem_of(refused, ANSWERS)
    return problem.status_code, refused.detail or problem.body["title"]


# ---- the course ------------------------------------------------------------------------------------------------------


def _course(router: APIRouter, db: Database, clock: Clock, catalogue: Catalogue) -> None:
    @router.get(PATH, summary="The course, its figures and its feeds")
    async def course(visit: AnyReader, asked: Asked = None) -> HTMLResponse:
        """Whoever is signed in for all campaigns chooses one first."""
        principal = visit.session.principal
        if principal.campaign == ALL_CAMPAIGNS and asked is None:
            async with db.transaction() as tx:
                rows = await usecases.campaigns(tx)
            return _html(visit, Place("", ""), "campaign_choice.html", campaigns=rows)
        place, now = Place.of(visit, asked), clock.now()
        async with db.transaction() as tx:
            report = await usecases.course_report(tx, catalogue, place.campaign_id, principal.unit)
        return _html(visit, place, "course.html", page=pages.course_page(report, now))


# ---- one viewer ------------------------------------------------------------------------------------------------------


def _viewers(router: APIRouter, settings: Settings, db: Database, clock: Clock, catalogue: Catalogue) -> None:
    @router.get(VIEWERS, summary="The page to look a viewer up on")
    async def find_page(visit: AnyReader, asked: Asked = None) -> HTMLResponse:
        return _html(visit, Place.of(visit, asked), "find_viewer.html", error="")

    @router.post(
        VIEWERS,
        summary="Look a viewer up by platform account",
        form_limits={"max_fields": FORM_FIELDS_MAX, "max_files": 0},
    )
    async def find(visit: AnyReader, asked: Asked = None, typed: Text = "") -> Response:
        place, viewer_id = Place.of(visit, asked), typed.strip()[:TYPED_MAX_CHARS]
        if not re.fullmatch(ID_PATTERN, viewer_id):
            return _unknown(visit, place)
        try:
            async with db.transaction() as tx:
                await usecases.visible_viewer(
                    tx, catalogue, place.campaign_id, visit.session.principal.unit, viewer_id, clock.now()
                )
        except Refused as refused:
            return _unknown_or_raise(visit, place, refused)
        return _to(f"{VIEWERS}/{viewer_id}{place.query}")

    @router.get(VIEWERS + "/{viewer_id}", summary="Why a day is missing: a viewer's lessons, refusals and make-goods")
    async def viewer(viewer_id: ViewerId, visit: AnyReader, asked: Asked = None) -> HTMLResponse:
        """A viewer outside of one's subtree is answered like one who does not exist."""
        return await _viewer(visit, Place.of(visit, asked), viewer_id)

    @router.post(
        VIEWERS + "/{viewer_id}/link",
        summary="The link to the viewer's own page, with a reason",
        form_limits={"max_fields": FORM_FIELDS_MAX, "max_files": 0},
    )
    async def give_link(viewer_id: ViewerId, visit: Changer, asked: Asked = None, reason: Text = "") -> HTMLResponse:
        place, principal, now = Place.of(visit, asked), visit.session.principal, clock.now()
        try:
            given = LinkGiven(principal.subject, _reason(reason), now)
            async with db.transaction() as tx:
                await usecases.give_link(tx, catalogue, place.campaign_id, principal.unit, viewer_id, given)
        except Refused as refused:
            if refused.name != "reason-needed":
                return _unknown_or_raise(visit, place, refused)
            return await _viewer(visit, place, viewer_id, error=refused)
        link = links.link_to(settings.public_url, settings.link_key, place.campaign_id, viewer_id)
        return await _viewer(visit, place, viewer_id, link=link)

    async def _viewer(
        visit: Visit, place: Place, viewer_id: str, *, link: str = "", error: Refused | None = None
    ) -> HTMLResponse:
        principal, now = visit.session.principal, clock.now()
        try:
            async with db.transaction() as tx:
                file = await usecases.viewer_file(tx, catalogue, place.campaign_id, principal.unit, viewer_id, now)
        except Refused as refused:
            return _unknown_or_raise(visit, place, refused)
        status, text = (200, "") if error is None else _error(error)
        page = pages.viewer_page(file, now, may_open=principal.role in CHANGERS, link=link, error=text)
        return _html(visit, place, "viewer_file.html", status, page=page)

    def _unknown_or_raise(visit: Visit, place: Place, refused: Refused) -> HTMLResponse:
        if refused.name != NO_SUCH_VIEWER:
            raise refused
        return _unknown(visit, place)

    def _unknown(visit: Visit, place: Place) -> HTMLResponse:
        return _html(visit, place, "find_viewer.html", 404, error=UNKNOWN_VIEWER)


def _reason(typed: str) -> str:
    """The typed reason without surrounding blanks. Refused as `reason-needed`."""
    reason = typed.strip()
    if not REASON_MIN_CHARS <= len(reason) <= REASON_MAX_CHARS or not reason.isprintable():
        raise Refused("reason-needed")
    return reason


# ---- lessons made good -----------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Wanted:
    """What the form asks for, read."""

    lesson_date: date
    reason: str
    scope: Scope
    malformed: tuple[str, ...]


def _make_goods(router: APIRouter, db: Database, clock: Clock, catalogue: Catalogue) -> None:
    one_file_at_once = asyncio.Lock()  # a workbook may take 256 MiB

    @router.get(MAKE_GOODS, summary="Lessons made good, by whom and why; and the form")
    async def make_goods(visit: Reader, asked: Asked = None, done: Annotated[str, Query()] = "") -> HTMLResponse:
        return await _listed(visit, Place.of(visit, asked), done=done)

    @router.post(
        MAKE_GOODS + "/preview",
        summary="Whom a lesson would be made good for",
        max_body_size=MAKE_GOOD_MAX_BYTES,
        form_limits={"max_fields": MAKE_GOOD_FORM.fields, "max_files": MAKE_GOOD_FORM.files},
    )
    async def preview(
        visit: Granter,
        asked: Asked = None,
        lesson: Text = "",
        reason: Text = "",
        from_at: Text = "",
        until: Text = "",
        unit: Text = "",
        days: Annotated[Sequence[str], Form()] = (),
        accounts: Text = "",
        file: UploadFile | None = None,
    ) -> HTMLResponse:
        place = Place.of(visit, asked)
        typed = Typed(lesson, reason, from_at, until, unit, tuple(days), accounts)
        try:
            entries = split(accounts) + await _uploaded(file)
            wanted = await _wanted(place, typed, entries)
            return await _preview(visit, place, wanted, typed, new_public_id("mg"))
        except (FormFault, FileFault) as fault:
            return await _listed(visit, place, typed=typed, error=(422, str(fault)))
        except Refused as refused:
            if refused.name == NO_SUCH_CAMPAIGN:
                raise
            return await _listed(visit, place, typed=typed, error=_error(refused))

    @router.post(
        MAKE_GOODS,
        summary="Make it good for those whom the preview showed",
        max_body_size=MAKE_GOOD_MAX_BYTES,
        form_limits={"max_fields": MAKE_GOOD_FORM.fields, "max_files": MAKE_GOOD_FORM.files},
    )
    async def grant(
        visit: Granter,
        make_good_id: Annotated[str, Form(pattern=ID_PATTERN)],
        digest: Annotated[str, Form(pattern="^[0-9a-f]{64}$")],
        asked: Asked = None,
        lesson: Text = "",
        reason: Text = "",
        from_at: Text = "",
        until: Text = "",
        unit: Text = "",
        days: Annotated[Sequence[str], Form()] = (),
        accounts: Text = "",
    ) -> Response:
        """Refused where the preview would show something else by now; then the new preview is shown. A second click makes
        nothing good that the first one did not."""
        place, now = Place.of(visit, asked), clock.now()
        typed = Typed(lesson, reason, from_at, until, unit, tuple(days), accounts)
        try:
            wanted = await _wanted(place, typed, split(accounts))
            decision = await db.in_transaction(
                lambda tx: usecases.decide(
                    tx,
                    catalogue,
                    place.campaign_id,
                    make_good_id,
                    (wanted.lesson_date, wanted.reason, wanted.scope),
                    digest,
                    visit.session.principal.subject,
                    now,
                )
            )
            await usecases.grant(db.in_transaction, catalogue, decision, now)
        except FormFault as fault:
            return await _listed(visit, place, typed=typed, error=(422, str(fault)))
        except Refused as refused:
            if refused.name == NO_SUCH_CAMPAIGN:
                raise
            if refused.name in ("make-good-outdated", "make-good-nobody-left"):
                return await _preview(visit, place, wanted, typed, make_good_id, _error(refused))
            return await _listed(visit, place, typed=typed, error=_error(refused))
        return _to(f"{MAKE_GOODS}{place.query}", done=make_good_id)

    async def _listed(
        visit: Visit, place: Place, *, typed: Typed | None = None, done: str = "", error: tuple[int, str] = (200, "")
    ) -> HTMLResponse:
        async with db.transaction() as tx:
            campaign, decisions = await usecases.decisions(tx, catalogue, place.campaign_id)
        page = pages.make_goods_page(
            campaign,
            decisions,
            clock.now(),
            may_grant=visit.session.principal.role in CHANGERS,
            shown_max=DECISIONS_SHOWN_MAX,
            typed=typed,
            done=done,
            error=error[1],
        )
        return _html(visit, place, "make_goods.html", error[0], page=page)

    async def _preview(
        visit: Visit, place: Place, wanted: Wanted, typed: Typed, make_good_id: str, error: tuple[int, str] = (200, "")
    ) -> HTMLResponse:
        async with db.transaction() as tx:
            campaign = await campaign_in_force(tx, catalogue, place.campaign_id)
            shown = await usecases.preview(
                tx, catalogue, place.campaign_id, wanted.lesson_date, wanted.reason, wanted.scope
            )
        repeated = pages.typed_of(wanted.lesson_date.isoformat(), wanted.reason, wanted.scope, typed)
        page = pages.preview_page(
            campaign,
            shown,
            clock.now(),
            repeated,
            malformed=wanted.malformed,
            make_good_id=make_good_id,
            error=error[1],
        )
        return _html(visit, place, "make_good_preview.html", error[0], page=page)

    async def _wanted(place: Place, typed: Typed, entries: list[str]) -> Wanted:
        async def zone(tx: Transaction) -> ZoneInfo:
            return (await campaign_in_force(tx, catalogue, place.campaign_id)).definition.zone

        return _read(typed, entries, await db.in_transaction(zone))

    async def _uploaded(file: UploadFile | None) -> list[str]:
        if file is None or not file.filename:
            return []
        content = await file.read(FILE_MAX_BYTES + 1)
        if len(content) > FILE_MAX_BYTES:
            raise FileFault(f"名单文件超过 {FILE_MAX_BYTES // 1024} KiB，请分几次补记")
        async with one_file_at_once:
            return await asyncio.to_thread(read_accounts, file.filename, content)


def _read(typed: Typed, entries: list[str], zone: ZoneInfo) -> Wanted:
    """Raises `FormFault`; `Refused` for the reason."""
    accounts = Accounts.of(entries)
    if len(accounts.good) > ACCOUNTS_MAX:
        raise FormFault(f"名单超过 {ACCOUNTS_MAX:,} 个账号，请分几次补记")
    from_at, until = _moment(typed.from_at, zone), _moment(typed.until, zone)
    if (from_at is None) != (until is None):
        raise FormFault("时段要写开始和结束两个时刻，或者都不写")
    if from_at is not None and until is not None and from_at >= until:
        raise FormFault("时段的开始应早于结束")
    if (unit := typed.unit.strip()) and not re.fullmatch(ID_PATTERN, unit):
        raise FormFault("单位请写代码，例如 140902")
    scope = Scope(
        accounts.good if entries else None,
        unit or None,
        from_at,
        until,
        tuple(sorted({_day(day) for day in typed.days})),
    )
    return Wanted(_day(typed.lesson), _reason(typed.reason), scope, accounts.malformed)


def _day(text: str) -> date:
    try:
        return date.fromisoformat(text)
    except ValueError:
        raise FormFault("请选一节课") from None


def _moment(text: str, zone: ZoneInfo) -> datetime | None:
    """A local time as browsers write it (`2024-06-29T19:40`); None where nothing was typed."""
    if not text.strip():
        return None
    try:
        return datetime.fromisoformat(text.strip()).replace(tzinfo=zone)
    except ValueError:
        raise FormFault("时刻请写成 2024-06-29T19:40") from None
