"""Units on the desk over HTTP: a unit's page, one report, and what the office decides about it (DESIGN §5.5).

Each button is a form of its own with a token; it calls the use case that the API calls, and the page that follows says what was
done, or why not.
"""

from collections.abc import Awaitable, Callable
from typing import Annotated, Any, Literal
from uuid import UUID, uuid4

from fastapi import APIRouter, Depends, Form, Path
from starlette.datastructures import FormData
from starlette.requests import Request
from starlette.responses import HTMLResponse, RedirectResponse, Response

from services.reporting.desk import domain, findings, unit_pages, units, usecases
from services.reporting.desk.api import Kind, Reader, file_answer, showing_of
from services.reporting.desk.pages import PAGES, PATH, Showing
from services.reporting.desk.sheets import lessons_page
from services.reporting.desk.unit_pages import Failed, Fault, FillPage, ReportPage
from services.reporting.findings import usecases as finding_usecases
from services.reporting.obligations import usecases as obligations
from services.reporting.obligations import values
from services.reporting.obligations.domain import ObligationKey
from services.reporting.obligations.pictures import usecases as pictures
from services.reporting.obligations.usecases import Known, Sender, Submission
from services.reporting.refusals import ANSWERS
from shared.clock import Clock
from shared.contracts.base import ID_PATTERN
from shared.contracts.reporting import Period
from shared.database import Database, Transaction
from shared.service.guarded_route import GuardedRoute
from shared.service.page_gate import Visit, signed_in
from shared.service.problems import problem_of
from shared.service.refusals import Refused
from shared.service.tokens import Principal

REPORT = PATH + "/units/{unit_code}/reports/{form}/{period}"
DECISION_FIELDS_MAX = 10
FILL_MAX_BYTES = 256 * 1024  # deploy/proxy/office.conf lets as much through
FILL_FIELDS_MAX = 2_000
REASON_MAX_CHARACTERS = 500
PICTURE_HEADERS = {
    "cache-control": "no-store",
    "content-security-policy": "default-src 'none'; sandbox",
    "cross-origin-resource-policy": "same-origin",
    "x-content-type-options": "nosniff",
}

Changer = Annotated[Visit, Depends(signed_in("admin", "office", subtrees=True))]
PathId = Annotated[str, Path(pattern=ID_PATTERN)]
PathPeriod = Annotated[Period, Path()]
Typed = Annotated[str, Form()]
FindingId = Annotated[int, Path(ge=1, lt=2**63)]


async def _ids(form: PathId, period: PathPeriod, unit_code: PathId) -> tuple[str, str, str]:
    return form, period, unit_code


Ids = Annotated[tuple[str, str, str], Depends(_ids)]
Decide = Callable[[Transaction, Principal, ObligationKey], Awaitable[Any]]


def build_unit_pages(db: Database, known: Known, clock: Clock) -> APIRouter:
    router = APIRouter(route_class=GuardedRoute, tags=["desk"])
    desk = _Desk(db, known, clock)
    _reading(router, desk)
    _deciding(router, desk)
    _on_findings(router, desk)
    _filling(router, desk)
    return router


class _Desk:
    """What all of these routes need."""

    def __init__(self, db: Database, known: Known, clock: Clock) -> None:
        self.db, self.known, self.clock = db, known, clock

    async def report_page(
        self, visit: Visit, key: ObligationKey, done: str, failed: Failed | None = None
    ) -> ReportPage:
        async with self.db.transaction() as tx:
            shown = await units.report(tx, self.known, visit.session.principal, key)
        return ReportPage(shown, done, failed)

    async def showing(self, visit: Visit) -> Showing:
        async with self.db.transaction() as tx:
            return await showing_of(tx, self.known, visit, self.clock)

    async def decide(
        self, visit: Visit, ids: tuple[str, str, str], action: str, typed: dict[str, str], decide: Decide
    ) -> Response:
        """Does it and leads to the page of the report, which says so; or shows that page with the reason why not."""
        principal = visit.session.principal
        key = ObligationKey(principal.campaign, *ids)

        async def work(tx: Transaction) -> None:
            await usecases.unit_in_reach(tx, self.known, principal, key.unit_code)
            await decide(tx, principal, key)

        try:
            await self.db.in_transaction(work)
        except Refused as refused:
            problem = problem_of(refused, ANSWERS)
            failed = Failed(action, refused.detail or str(problem.body["title"]), typed)
            page = await self.report_page(visit, key, "", failed)
            html = unit_pages.report_html(visit.frame, await self.showing(visit), page)
            return PAGES.answer(html, problem.status_code, form=True)
        return _to_report(key, action)


def _to_report(key: ObligationKey, done: str) -> Response:
    path = unit_pages.report_path(key.unit_code, key.form, key.period)
    return RedirectResponse(f"{path}?done={done}", 303, {"cache-control": "no-store"})


def _reading(router: APIRouter, desk: _Desk) -> None:
    @router.get(PATH + "/units/{unit_code}", summary="A unit: what it owes, reported and had recorded")
    async def unit(unit_code: PathId, visit: Reader) -> HTMLResponse:
        async with desk.db.transaction() as tx:
            showing = await showing_of(tx, desk.known, visit, desk.clock)
            shown = await units.unit(tx, desk.known, visit.session.principal, unit_code, showing.now)
        return PAGES.answer(unit_pages.unit_html(visit.frame, showing, shown), form=True)

    @router.get(PATH + "/units/{unit_code}/lessons.{kind}", summary="Recorded beside reported, as a sheet")
    async def lessons(unit_code: PathId, kind: Kind, visit: Reader) -> Response:
        async with desk.db.transaction() as tx:
            shown = await units.unit(tx, desk.known, visit.session.principal, unit_code, desk.clock.now())
        return await file_answer("lessons", kind, lessons_page(shown))

    @router.get(REPORT, summary="A report with its versions and decisions", response_class=HTMLResponse)
    async def report(ids: Ids, visit: Reader, done: str = "") -> HTMLResponse:
        page = await desk.report_page(visit, ObligationKey(visit.session.principal.campaign, *ids), done)
        return PAGES.answer(unit_pages.report_html(visit.frame, await desk.showing(visit), page), form=True)

    @router.get(PATH + "/units/{unit_code}/pictures/{picture_id}", summary="A picture of a unit's report")
    async def picture(
        unit_code: PathId, picture_id: UUID, visit: Reader, size: Literal["full", "thumbnail"] = "full"
    ) -> Response:
        principal = visit.session.principal
        async with desk.db.transaction() as tx:
            await usecases.unit_in_reach(tx, desk.known, principal, unit_code)
            content = await pictures.jpeg(tx, principal.campaign, unit_code, picture_id, thumbnail=size == "thumbnail")
        return Response(content, media_type="image/jpeg", headers=PICTURE_HEADERS)


def _deciding(router: APIRouter, desk: _Desk) -> None:
    limits: Any = {"response_class": HTMLResponse, "form_limits": {"max_fields": DECISION_FIELDS_MAX, "max_files": 0}}

    @router.post(REPORT + "/return", summary="Send it back with a reason and a new deadline", **limits)
    async def send_back(
        ids: Ids, visit: Changer, reason: Typed = "", due_at: Typed = "", empty: Typed = ""
    ) -> Response:
        zone = (await desk.showing(visit)).zone

        async def decide(tx: Transaction, principal: Principal, key: ObligationKey) -> None:
            due = domain.minute_typed(due_at, zone)
            if due is None:
                raise Refused("time-unreadable")
            await obligations.send_back(
                tx,
                desk.known,
                principal,
                key,
                reason=_reason(reason),
                due_at=due,
                empty=bool(empty),
                now=desk.clock.now(),
            )

        return await desk.decide(visit, ids, "returned", {"reason": reason, "due_at": due_at, "empty": empty}, decide)

    @router.post(REPORT + "/excuse", summary="Let the unit off (免报)", **limits)
    async def excuse(ids: Ids, visit: Changer, reason: Typed = "") -> Response:
        return await excused(ids, visit, "excused", reason, owed_again=False)

    @router.post(REPORT + "/owe-again", summary="Take that back", **limits)
    async def owe_again(ids: Ids, visit: Changer, reason: Typed = "") -> Response:
        return await excused(ids, visit, "owed_again", reason, owed_again=True)

    async def excused(
        ids: tuple[str, str, str], visit: Visit, action: str, reason: str, *, owed_again: bool
    ) -> Response:
        async def decide(tx: Transaction, principal: Principal, key: ObligationKey) -> None:
            given, now = _reason(reason), desk.clock.now()
            await obligations.excuse(tx, desk.known, principal, key, reason=given, owed_again=owed_again, now=now)

        return await desk.decide(visit, ids, action, {"reason": reason}, decide)

    @router.post(REPORT + "/approve", summary="Approve the version that was seen", **limits)
    async def approve(ids: Ids, visit: Changer, version: Annotated[int, Form(ge=1, lt=2**31)]) -> Response:
        async def decide(tx: Transaction, principal: Principal, key: ObligationKey) -> None:
            await obligations.approve(tx, desk.known, principal, key, version=version, now=desk.clock.now())

        return await desk.decide(visit, ids, "approved", {}, decide)

    @router.post(REPORT + "/reopen", summary="Take reports again, until a new time", **limits)
    async def reopen(ids: Ids, visit: Changer, reason: Typed = "", until: Typed = "") -> Response:
        zone = (await desk.showing(visit)).zone

        async def decide(tx: Transaction, principal: Principal, key: ObligationKey) -> None:
            ends = domain.minute_typed(until, zone)
            if ends is None:
                raise Refused("time-unreadable")
            given, now = _reason(reason), desk.clock.now()
            await obligations.reopen(tx, desk.known, principal, key, reason=given, until=ends, now=now)

        return await desk.decide(visit, ids, "reopened", {"reason": reason, "until": until}, decide)


def _on_findings(router: APIRouter, desk: _Desk) -> None:
    limits: Any = {"response_class": HTMLResponse, "form_limits": {"max_fields": DECISION_FIELDS_MAX, "max_files": 0}}

    @router.post(REPORT + "/findings/{finding_id}/explain", summary="Say how a finding came about", **limits)
    async def explain(ids: Ids, finding_id: FindingId, visit: Changer, reason: Typed = "") -> Response:
        async def decide(tx: Transaction, principal: Principal, key: ObligationKey) -> None:
            said, now = _reason(reason), desk.clock.now()
            await findings.check_is_of(tx, key, finding_id)
            await finding_usecases.explain(tx, desk.known, principal, key.campaign_id, finding_id, said, now)

        return await desk.decide(visit, ids, "explained", {"reason": reason}, decide)

    @router.post(REPORT + "/findings/{finding_id}/close", summary="The office has looked at it (核结)", **limits)
    async def close(ids: Ids, finding_id: FindingId, visit: Changer, reason: Typed = "") -> Response:
        async def decide(tx: Transaction, principal: Principal, key: ObligationKey) -> None:
            said, now = _reason(reason), desk.clock.now()
            await findings.check_is_of(tx, key, finding_id)
            await finding_usecases.close(tx, desk.known, principal, key.campaign_id, finding_id, said, now)

        return await desk.decide(visit, ids, "closed", {"reason": reason}, decide)


def _filling(router: APIRouter, desk: _Desk) -> None:
    async def page_of(visit: Visit, ids: tuple[str, str, str]) -> units.Filling:
        principal = visit.session.principal
        async with desk.db.transaction() as tx:
            return await units.filling(tx, desk.known, principal, ObligationKey(principal.campaign, *ids))

    @router.get(REPORT + "/fill", summary="File on behalf of the unit, or correct", response_class=HTMLResponse)
    async def fill_page(ids: Ids, visit: Changer) -> HTMLResponse:
        filling = await page_of(visit, ids)
        typed = units.inputs(filling.form, filling.kept)
        page = FillPage(filling, uuid4(), filling.obligation.version, typed)
        return PAGES.answer(unit_pages.fill_html(visit.frame, await desk.showing(visit), page), form=True)

    @router.post(
        REPORT + "/fill",
        summary="Keep a version on behalf of the unit (代报) or a correction",
        response_class=HTMLResponse,
        max_body_size=FILL_MAX_BYTES,
        form_limits={"max_fields": FILL_FIELDS_MAX, "max_files": 0},
    )
    async def fill(
        ids: Ids,
        visit: Changer,
        request: Request,
        submission: Annotated[UUID, Form(alias="_submission")],
        version: Annotated[int, Form(alias="_version", ge=0, lt=2**31)],
        why: Annotated[str, Form(alias="_why")] = "",
    ) -> Response:
        """A second click sends the same `_submission` and is answered as the first one was."""
        principal, filling = visit.session.principal, await page_of(visit, ids)
        key = filling.obligation.key
        items = _texts(await request.form())
        given = values.from_form(filling.form, items)

        async def work(tx: Transaction) -> None:
            reason = _reason(why) if why.strip() else None
            sent = Submission(submission, given, version, values.reasons_from(items), reason)
            await usecases.unit_in_reach(tx, desk.known, principal, key.unit_code)
            await obligations.submit(tx, desk.known, Sender.of(principal), key, sent, desk.clock.now())

        try:
            await desk.db.in_transaction(work)
        except Refused as refused:
            problem = problem_of(refused, ANSWERS)
            faults = [
                Fault(domain.input_of(error["field"]), error["message"]) for error in refused.members.get("errors", ())
            ]
            error = refused.detail or str(problem.body["title"])
            page = FillPage(filling, submission, version, _by_name(items), error, faults, why)
            html = unit_pages.fill_html(visit.frame, await desk.showing(visit), page)
            return PAGES.answer(html, problem.status_code, form=True)
        return _to_report(key, "submitted")


def _texts(form: FormData) -> list[tuple[str, str]]:
    return [(name, value) for name, value in form.multi_items() if isinstance(value, str)]


def _by_name(items: list[tuple[str, str]]) -> dict[str, list[str]]:
    typed: dict[str, list[str]] = {}
    for name, value in items:
        typed.setdefault(name, []).append(value)
    return typed


def _reason(typed: str) -> str:
    """The typed reason without surrounding blanks. Refused where it is empty, too long, or not printable: Postgres does not take
    every control character."""
    reason = typed.strip()
    if not reason or len(reason) > REASON_MAX_CHARACTERS or not reason.isprintable():
        raise Refused("reason-missing", f"请写明原因，最多 {REASON_MAX_CHARACTERS} 个字")
    return reason
