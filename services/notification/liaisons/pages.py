"""The office's page of a unit's contacts: masked, and in clear once for a reason that is recorded (DESIGN §5.5)."""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path as File
from typing import Annotated

from fastapi import APIRouter, Depends, Form, Path
from pydantic import TypeAdapter, ValidationError
from starlette.responses import HTMLResponse

from services.notification.liaisons import usecases
from services.notification.liaisons.api import TypedReason, require_reach
from services.notification.liaisons.domain import POST_TITLES, Person
from services.notification.refusals import ANSWERS
from shared.clock import Clock
from shared.contracts.base import ID_PATTERN
from shared.database import Database, Transaction
from shared.pages import OfficePages
from shared.people.campaign_keys import Recipient
from shared.service.guarded_route import GuardedRoute
from shared.service.page_gate import Visit, signed_in
from shared.service.problems import problem_of
from shared.service.refusals import Refused

PATH = "/messages/contacts/{unit_code}"
FORM_FIELDS_MAX = 10
REASON = TypeAdapter[str](TypedReason)
PAGES = OfficePages(File(__file__).with_name("templates"))

PathId = Annotated[str, Path(pattern=ID_PATTERN)]
Office = Annotated[Visit, Depends(signed_in("admin", "office", subtrees=True))]


@dataclass(frozen=True)
class Line:
    post: str
    name: str
    phone: str


@dataclass(frozen=True)
class ContactsPage:
    """`shown`: name and phone stand in clear, else they are masked. `reason`: as typed, where it was not taken."""

    unit_code: str
    people: Mapping[str, Person]
    shown: bool = False
    error: str = ""
    reason: str = ""

    @property
    def lines(self) -> list[Line]:
        return [Line(POST_TITLES[post], *(one if self.shown else one.masked())) for post, one in self.people.items()]


def build_pages(db: Database, clock: Clock, recipient: Recipient) -> APIRouter:
    router = APIRouter(route_class=GuardedRoute, tags=["pages"])

    async def masked_page(
        visit: Visit, unit_code: str, status: int = 200, error: str = "", typed: str = ""
    ) -> HTMLResponse:
        campaign_id = visit.session.principal.campaign
        async with db.transaction() as tx:
            await require_reach(tx, visit.session.principal, campaign_id, unit_code)
            try:
                people = await usecases.people(tx, recipient, campaign_id, unit_code)
            except Refused as refused:
                problem = problem_of(refused, ANSWERS)
                people, status, error = {}, problem.status_code, str(problem.body["title"])
        return _answer(visit, ContactsPage(unit_code, people, False, error, typed), status)

    @router.get(PATH, summary="Contacts of a unit, masked", response_class=HTMLResponse)
    async def contacts(unit_code: PathId, visit: Office) -> HTMLResponse:
        return await masked_page(visit, unit_code)

    @router.post(
        PATH,
        summary="Contacts of a unit in clear (显示号码)",
        response_class=HTMLResponse,
        form_limits={"max_fields": FORM_FIELDS_MAX, "max_files": 0},
    )
    async def reveal(unit_code: PathId, visit: Office, reason: Annotated[str, Form()] = "") -> HTMLResponse:
        """Who asked and why is recorded for good. The address of the answer shows masks when it is opened again."""
        principal = visit.session.principal
        try:
            given = REASON.validate_python(reason)
        except ValidationError:
            return await masked_page(visit, unit_code, 422, "没有显示：请写明原因，最多 500 个字", reason)

        async def work(tx: Transaction) -> Mapping[str, Person]:
            await require_reach(tx, principal, principal.campaign, unit_code)
            return await usecases.reveal(
                tx,
                recipient,
                principal.campaign,
                unit_code,
                actor=principal.subject,
                role=principal.role,
                reason=given,
                now=clock.now(),
            )

        return _answer(visit, ContactsPage(unit_code, await db.in_transaction(work), shown=True))

    return router


def _answer(visit: Visit, page: ContactsPage, status: int = 200) -> HTMLResponse:
    return PAGES.answer(PAGES.html("contacts.html", frame=visit.frame, page=page), status, form=True)
