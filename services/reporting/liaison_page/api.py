"""HTTP of the liaison's page `/r`: every answer is a page, and all but receipts need a phone that a slip's code has bound."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Annotated
from urllib.parse import quote
from uuid import UUID

from fastapi import APIRouter, Depends, Query, Request
from starlette.datastructures import FormData, UploadFile
from starlette.responses import HTMLResponse, JSONResponse, RedirectResponse, Response

from services.reporting.liaison_page import domain, pages, usecases
from services.reporting.liaison_page.domain import Task, Typed
from services.reporting.liaison_page.pages import Screen
from services.reporting.liaison_page.usecases import Named, Place, Sent
from services.reporting.liaisons import usecases as liaisons
from services.reporting.liaisons.domain import POST_TITLES, POSTS, Post
from services.reporting.liaisons.keys import LiaisonKeys
from services.reporting.obligations.pictures import usecases as pictures
from services.reporting.obligations.pictures.usecases import Intake
from services.reporting.obligations.usecases import Known
from services.reporting.refusals import ANSWERS
from shared.clock import Clock
from shared.contracts.campaign_forms import PICTURES_MAX
from shared.database import Database, Transaction
from shared.moments import Times
from shared.pages import wants_page
from shared.service.bodies import KIB
from shared.service.guarded_route import GuardedRoute
from shared.service.page_gate import OwnForms, check_form_token
from shared.service.problems import problem_of
from shared.service.refusals import Refused
from shared.service.sessions import form_token
from shared.service.tokens import wall_now

PAGE = "/r"
FORM_MAX_BYTES = 256 * KIB  # fourteen reports of twenty questions; longer tables are uploaded as a sheet
FORM_FIELDS_MAX = 3_000
PEOPLE_FIELDS_MAX = 20
PICTURES_FORM_MAX_BYTES = 8 * KIB * KIB + FORM_MAX_BYTES
THUMBNAIL = "thumbnail"

OurForm = Annotated[None, Depends(OwnForms())]
Unit = Annotated[str, Query(max_length=130, description="campaign/unit; none: the one that has to report soonest")]


@dataclass(frozen=True)
class Parts:
    """What the routes work with."""

    db: Database
    known: Known
    clock: Clock
    intake: Intake
    keys: LiaisonKeys
    named: Named


@dataclass(frozen=True)
class Phone:
    """A phone that is bound, and the unit that its page is about."""

    secret: str
    place: Place
    places: Sequence[Place]

    @property
    def form_token(self) -> str:
        return form_token(self.secret)


class NotBound(Exception):
    """The phone reports for nobody, or not for this unit."""


def build_api(parts: Parts) -> APIRouter:
    router = APIRouter(prefix=PAGE, tags=["pages"], route_class=GuardedRoute)
    _screen(router, parts)
    _sending(router, parts)
    _pictures(router, parts)
    _reports(router, parts)
    _people(router, parts)
    _worker(router)
    return router


async def _phone(tx: Transaction, parts: Parts, request: Request, wanted: str) -> Phone:
    """Raises `NotBound`. A unit that this phone does not report for is as good as none."""
    secret = request.cookies.get(liaisons.COOKIE)
    units = await liaisons.units_of_device(tx, secret, wall_now())
    places = await usecases.places(tx, parts.known, units)
    chosen = next((place for place in places if place.key == wanted), None) if wanted else next(iter(places), None)
    if secret is None or chosen is None:
        raise NotBound
    return Phone(secret, chosen, places)


def _code_page(status: int = 200) -> HTMLResponse:
    return pages.PAGES.answer(pages.code_html(), status, form=True)


# ---- the first screen ------------------------------------------------------------------------------------------------


def _screen(router: APIRouter, parts: Parts) -> None:
    @router.get("", summary="What a unit has to report, on a phone", response_class=HTMLResponse)
    async def first_screen(
        request: Request, unit: Unit = "", correct: Annotated[str, Query(max_length=130)] = ""
    ) -> HTMLResponse:
        now = parts.clock.now()
        try:
            async with parts.db.transaction() as tx:
                phone = await _phone(tx, parts, request, unit)
                tasks = await usecases.tasks(tx, parts.known, phone.place, now)
                notice = ""
                if correct and correct not in {task.key for task in tasks}:
                    try:
                        task = await usecases.correction(tx, parts.known, phone.place, correct, now)
                    except Refused as refused:
                        task, notice = None, problem_of(refused, ANSWERS).body["title"]
                    tasks = [task, *tasks] if task else tasks
                return await _screen_answer(tx, parts, phone, tasks, now, notice=notice, keep=not correct)
        except NotBound:
            return _code_page()


async def _screen_answer(
    tx: Transaction,
    parts: Parts,
    phone: Phone,
    tasks: Sequence[Task],
    now: datetime,
    *,
    sent: Sequence[Sent] = (),
    left_out: Sequence[str] = (),
    notice: str = "",
    keep: bool = False,
) -> HTMLResponse:
    """`keep`: a phone may keep this page for when its line is gone."""
    place, zone = phone.place, phone.place.definition.zone
    received = [
        pages.Received(
            number=one.report.number,
            title=one.title,
            submitted_at=one.report.submitted_at,
            state=one.report.state,
            submission_id=one.submission_id,
            recorded=one.recorded,
        )
        for one in sent
        if one.report
    ]
    past = [
        pages.Past(
            path=f"{PAGE}/reports/{place.key}/{owed.form.id}/{owed.obligation.period}",
            title=usecases.title_of(owed),
            state=owed.obligation.state(now),
            submitted_at=owed.obligation.submitted_at,
        )
        for owed in await usecases.past(tx, parts.known, place)
    ]
    notices = [notice, *(f"{one.title}：{one.refusal}" for one in sent if one.refusal)]
    screen = Screen(
        place=_shown(place),
        places=[_shown(one) for one in phone.places],
        form_token=phone.form_token,
        tasks=tasks,
        now=now,
        made_at=wall_now(),
        times=Times(zone, now),
        received=received,
        past=past,
        notice="；".join(filter(None, notices)),
        left_out=left_out,
    )
    status = 422 if screen.wrong or any(one.refusal for one in sent) else 200
    headers = {"x-fanzha-keep": "yes"} if keep else None
    return pages.PAGES.answer(pages.screen_html(screen), status, form=True, headers=headers)


def _shown(place: Place) -> pages.Place:
    return pages.Place(
        place.campaign_id, place.unit_code, place.name, place.definition.title or place.campaign_id, len(place.owed)
    )


# ---- sending ---------------------------------------------------------------------------------------------------------


def _sending(router: APIRouter, parts: Parts) -> None:
    @router.post(
        "/reports",
        summary="From the page's form: all that is due at one time",
        response_class=HTMLResponse,
        max_body_size=FORM_MAX_BYTES,
    )
    async def reports(request: Request, _: OurForm) -> Response:
        """Each report is taken or refused by itself. A `_submission_id` that came before is answered with the same receipt."""
        form = await request.form(max_files=0, max_fields=FORM_FIELDS_MAX)
        now = parts.clock.now()
        try:
            phone, typed = await _form_of(parts, request, form)
        except NotBound:
            return _code_page(403)
        if table := form.get("add_row"):
            async with parts.db.transaction() as tx:
                again = await usecases.one_row_more(tx, parts.known, phone.place, typed, str(table), now)
                return await _screen_answer(tx, parts, phone, again, now)
        sent = [
            await _send(parts, phone.place, key, answers, now)
            for key, answers in typed.items()
            if not domain.is_blank(answers)
        ]
        return await _answer_to(parts, request, phone, typed, sent, now)


async def _form_of(parts: Parts, request: Request, form: FormData) -> tuple[Phone, dict[str, dict[str, list[str]]]]:
    """Who sends, and what was typed by report. Raises `NotBound`, and a 403 problem for a form that is not ours."""
    await check_form_token(request, form_token(request.cookies.get(liaisons.COOKIE, "")))
    async with parts.db.transaction() as tx:
        phone = await _phone(tx, parts, request, str(form.get("unit", "")) or "-")
    return phone, domain.typed_by_task((name, text) for name, text in form.multi_items() if isinstance(text, str))


async def _send(parts: Parts, place: Place, key: str, typed: Typed, now: datetime) -> Sent:
    try:
        return await parts.db.in_transaction(lambda tx: usecases.send(tx, parts.known, place, key, typed, now))
    except Refused as refused:
        title = problem_of(refused, ANSWERS).body["title"]
        async with parts.db.transaction() as tx:
            return await usecases.as_refused(tx, parts.known, place, key, typed, refused, title, now)


async def _answer_to(
    parts: Parts,
    request: Request,
    phone: Phone,
    typed: Mapping[str, Typed],
    sent: Sequence[Sent],
    now: datetime,
) -> HTMLResponse:
    """The first screen as it is now, with receipts, and what was not taken as it was typed."""
    async with parts.db.transaction() as tx:
        phone = await _phone(tx, parts, request, phone.place.key)
        again = {one.task.key: one.task for one in sent if one.task}
        owed = await usecases.tasks(tx, parts.known, phone.place, now)
        tasks = [again.pop(task.key, task) for task in owed]
        blank = {key for key, answers in typed.items() if domain.is_blank(answers)}
        left_out = [task.title for task in owed if task.key in blank]
        notice = "" if sent else "还没有填，什么也没有发出。没有的请填 0。"
        return await _screen_answer(
            tx,
            parts,
            phone,
            [*again.values(), *tasks],
            now,
            sent=sent,
            left_out=left_out if sent else (),
            notice=notice,
        )


# ---- pictures --------------------------------------------------------------------------------------------------------


def _pictures(router: APIRouter, parts: Parts) -> None:
    @router.post(
        "/pictures",
        summary="One picture by script; without it, those chosen in the page's form",
        max_body_size=PICTURES_FORM_MAX_BYTES,
    )
    async def upload(request: Request, _: OurForm) -> Response:
        """By script the answer is `{"picture_id"}`; a form is shown again with what was typed and the pictures that are up."""
        async with request.form(max_files=PICTURES_MAX, max_fields=FORM_FIELDS_MAX) as form:
            now = parts.clock.now()
            try:
                phone, typed = await _form_of(parts, request, form)
            except NotBound:
                return _code_page(403) if wants_page(request) else JSONResponse({"title": "请重新打开本页"}, 403)
            if not wants_page(request):
                picture = form.get("picture")
                content = await picture.read() if isinstance(picture, UploadFile) else b""
                picture_id = await _take(parts, phone.place, content, now)
                return JSONResponse({"picture_id": str(picture_id)}, headers={"cache-control": "no-store"})
            notice = await _take_chosen(parts, phone.place, form, typed, now)
            async with parts.db.transaction() as tx:
                again = await usecases.one_row_more(tx, parts.known, phone.place, typed, "", now)
                return await _screen_answer(tx, parts, phone, again, now, notice=notice)

    @router.get("/pictures/{picture_id}", summary="A picture of the unit", response_class=Response)
    async def picture(
        request: Request, picture_id: UUID, unit: Unit = "", size: Annotated[str, Query(max_length=20)] = ""
    ) -> Response:
        try:
            async with parts.db.transaction() as tx:
                place = (await _phone(tx, parts, request, unit)).place
                content = await pictures.jpeg(
                    tx, place.campaign_id, place.unit_code, picture_id, thumbnail=size == THUMBNAIL
                )
        except NotBound:
            return _code_page(403)
        return Response(content, media_type="image/jpeg", headers=PICTURE_HEADERS)


PICTURE_HEADERS = {
    "cache-control": "private, max-age=3600",
    "content-security-policy": "default-src 'none'; sandbox",
    "x-content-type-options": "nosniff",
}


async def _take(parts: Parts, place: Place, content: bytes, now: datetime) -> UUID:
    return await parts.intake.take(place.campaign_id, place.unit_code, content, now)


async def _take_chosen(
    parts: Parts, place: Place, form: FormData, typed: dict[str, dict[str, list[str]]], now: datetime
) -> str:
    """Takes the files of a plain form and adds their ids to what was typed; returns what was not taken, in words."""
    refusals: list[str] = []
    for name, file in form.multi_items():
        key, _, at = name.partition(":")
        if not isinstance(file, UploadFile) or not file.size or not at.startswith("_file."):
            continue
        try:
            picture_id = await _take(parts, place, await file.read(), now)
        except Refused as refused:
            refusals.append(f"有一张照片没有传上：{problem_of(refused, ANSWERS).body['title']}")
            continue
        typed.setdefault(key, {}).setdefault(at.removeprefix("_file."), []).append(str(picture_id))
    return "；".join(dict.fromkeys(refusals))


# ---- past reports and receipts ---------------------------------------------------------------------------------------


def _reports(router: APIRouter, parts: Parts) -> None:
    @router.get(
        "/reports/{campaign_id}/{unit_code}/{form}/{period}",
        summary="A report with all its versions",
        response_class=HTMLResponse,
    )
    async def report(request: Request, campaign_id: str, unit_code: str, form: str, period: str) -> HTMLResponse:
        now = parts.clock.now()
        try:
            async with parts.db.transaction() as tx:
                place = (await _phone(tx, parts, request, f"{campaign_id}/{unit_code}")).place
                shown = await usecases.report(tx, parts.known, place, f"{form}/{period}", now)
        except NotBound:
            return _code_page(403)
        return pages.PAGES.answer(pages.report_html(_shown(place), shown, Times(place.definition.zone, now)))

    @router.get("/receipts/{number}", summary="Anybody checks a receipt; no values", response_class=HTMLResponse)
    async def receipt(number: str) -> HTMLResponse:
        async with parts.db.transaction() as tx:
            shown = await usecases.receipt(tx, parts.known, number[:60])
        return pages.PAGES.answer(pages.receipt_html(shown), 200 if shown else 404)


# ---- who reports -----------------------------------------------------------------------------------------------------


def _people(router: APIRouter, parts: Parts) -> None:
    @router.get("/people", summary="Who reports for the unit, masked", response_class=HTMLResponse)
    async def people(request: Request, unit: Unit = "", done: bool = False) -> HTMLResponse:
        try:
            async with parts.db.transaction() as tx:
                return await _people_answer(tx, parts, request, unit, done=done)
        except NotBound:
            return _code_page(403)

    @router.post("/people", summary="From the page's form", response_class=HTMLResponse)
    async def name_people(request: Request, _: OurForm) -> Response:
        """Naming somebody else as liaison voids the unit's code and phones, this one too."""
        form = await request.form(max_files=0, max_fields=PEOPLE_FIELDS_MAX)
        typed: dict[Post, tuple[str, str]] = {
            post: (str(form.get(f"{post}_name", ""))[:200].strip(), str(form.get(f"{post}_phone", ""))[:40].strip())
            for post in POSTS
        }
        try:
            place = (await _form_of(parts, request, form))[0].place
        except NotBound:
            return _code_page(403)
        try:
            await parts.db.in_transaction(
                lambda tx: usecases.name_people(tx, parts.keys, parts.named, place, typed, parts.clock.now())
            )
        except Refused as refused:
            problem = problem_of(refused, ANSWERS)
            async with parts.db.transaction() as tx:
                error = refused.detail or problem.body["title"]
                return await _people_answer(tx, parts, request, place.key, typed, error, problem.status_code)
        return RedirectResponse(f"{PAGE}/people?unit={quote(place.key)}&done=true", 303, {"cache-control": "no-store"})

    @router.post("/people/leave", summary="This phone reports no more", response_class=HTMLResponse)
    async def leave(request: Request, _: OurForm) -> Response:
        try:
            phone, _typed = await _form_of(
                parts, request, await request.form(max_files=0, max_fields=PEOPLE_FIELDS_MAX)
            )
        except NotBound:
            return _code_page(403)
        await parts.db.in_transaction(lambda tx: liaisons.forget_device(tx, phone.secret))
        response = RedirectResponse(PAGE, 303, {"cache-control": "no-store"})
        response.delete_cookie(liaisons.COOKIE, path="/", secure=True, httponly=True, samesite="lax")
        return response


async def _people_answer(
    tx: Transaction,
    parts: Parts,
    request: Request,
    unit: str,
    typed: Mapping[Post, tuple[str, str]] | None = None,
    error: str = "",
    status: int = 200,
    *,
    done: bool = False,
) -> HTMLResponse:
    phone = await _phone(tx, parts, request, unit)
    masks = await usecases.who_reports(tx, phone.place)
    posts = [
        pages.PersonShown(post, POST_TITLES[post], *masks.get(post, ("", "")), *(typed or {}).get(post, ("", "")))
        for post in POSTS
    ]
    people = pages.People(_shown(phone.place), phone.form_token, posts, error, done)
    return pages.PAGES.answer(pages.people_html(people), status, form=True)


def _worker(router: APIRouter) -> None:
    @router.get("/worker.js", summary="The page's service worker", response_class=Response)
    async def worker() -> Response:
        headers = {
            "cache-control": "no-cache",
            "service-worker-allowed": PAGE,
            "content-security-policy": "default-src 'none'; connect-src 'self'",
            "x-content-type-options": "nosniff",
        }
        return Response(pages.worker(), media_type="text/javascript", headers=headers)
