"""HTTP of people: the list of those who may sign in, for admins, and the pages to sign in and out (DESIGN §5.5)."""

from datetime import datetime
from typing import Annotated, Literal
from uuid import UUID

from fastapi import APIRouter, Depends, Form, Path, Query, Request
from pydantic import BaseModel, ConfigDict, Field, StringConstraints
from starlette.responses import HTMLResponse, RedirectResponse, Response

from services.reporting.definition import Definition
from services.reporting.people import domain, pages, usecases
from services.reporting.people.keys import PeopleKeys
from services.reporting.people.pages import AccountPage, InvitationPage, SignInPage
from services.reporting.people.passphrases import Passphrases
from services.reporting.people.store import Listed
from services.reporting.refusals import ANSWERS
from shared.clock import CHINA
from shared.contracts.base import ID_PATTERN, Id
from shared.database import Database, Transaction
from shared.definitions import Definitions
from shared.paging import LIMIT_MAX, Cursor, Limit, next_cursor, position_in
from shared.service.guarded_route import GuardedRoute
from shared.service.page_gate import SIGN_IN, OwnForms, Visit, check_form_token, return_to, signed_in
from shared.service.problems import problem_of
from shared.service.refusals import Refused
from shared.service.sessions import COOKIE, Session, clear_cookie, form_token, new_secret, set_cookie
from shared.service.tokens import Principal, requires, wall_now

FORM_COOKIE = "__Host-fanzha-form"  # a secret from which form tokens are made while nobody is signed in
FIRST_PAGE = "/account"
FORM_FIELDS_MAX = 20

PathId = Annotated[str, Path(pattern=ID_PATTERN)]
Admin = Annotated[Principal, Depends(requires("admin"))]
SignedIn = Annotated[Visit, Depends(signed_in("admin", "office", "auditor", "liaison", subtrees=True))]
OurForm = Annotated[None, Depends(OwnForms())]
Typed = Annotated[str, Form()]
TypedReason = Annotated[
    str, StringConstraints(strip_whitespace=True, min_length=1, max_length=500, pattern=r"^[^\x00-\x1f]*$")
]
OfficeRole = Literal["admin", "office", "auditor"]
PersonState = Literal["invited", "invitation_expired", "active", "revoked"]


class InviteRequest(BaseModel):
    model_config = ConfigDict(extra="forbid")

    name: Annotated[str, Field(min_length=1, max_length=domain.NAME_MAX_CHARS)]
    role: OfficeRole
    unit: Id | None = Field(default=None, description="only this unit and what is below it; none: the whole campaign")
    again: bool = Field(
        default=False, description="invite somebody known anew: other role or unit, or passphrase forgotten"
    )


class InviteAnswer(BaseModel):
    person_id: UUID
    name: str
    role: OfficeRole
    unit: str | None
    code: str = Field(description="shown this once")
    page: str = Field(description="where it is typed, on the office's address")
    valid_until: datetime


class PersonAnswer(BaseModel):
    person_id: UUID
    name: str
    role: str
    unit: str | None
    state: PersonState
    sessions: int = Field(description="open ones")
    seen_at: datetime | None


class PeopleAnswer(BaseModel):
    rows: list[PersonAnswer]
    next_cursor: str | None


class RevokeRequest(BaseModel):
    model_config = ConfigDict(extra="forbid")

    reason: TypedReason


def build_api(db: Database, keys: PeopleKeys, definitions: Definitions[Definition]) -> APIRouter:
    router = APIRouter(route_class=GuardedRoute)
    _people(router, db, keys, definitions)
    passphrases = Passphrases()
    _sign_in(router, db, keys, passphrases)
    _invitation(router, db, keys, passphrases)
    _signed_in(router, db, keys)
    return router


# ---- who may sign in -------------------------------------------------------------------------------------------------


def _people(router: APIRouter, db: Database, keys: PeopleKeys, definitions: Definitions[Definition]) -> None:
    path = "/v1/campaigns/{campaign_id}/people"

    @router.post(path, tags=["people"], summary="Invite somebody of the office")
    async def invite(campaign_id: PathId, body: InviteRequest, principal: Admin) -> InviteAnswer:
        async def work(tx: Transaction) -> usecases.Invited:
            definition = await definitions.in_force(tx, campaign_id)
            if definition is None:
                raise Refused("no-such-campaign")
            if body.unit is not None and body.unit not in definition.tree:
                raise Refused("no-such-unit", subject=body.unit)
            return await usecases.invite(
                tx,
                keys,
                campaign_id=campaign_id,
                name=body.name,
                role=body.role,
                unit=body.unit,
                again=body.again,
                actor=principal.subject,
                now=wall_now(),
            )

        invited = await db.in_transaction(work)
        person, code = invited.person, invited.code
        assert person.invitation_until is not None  # noqa: S101 - of an invitation just made
        return InviteAnswer(
            person_id=person.person_id,
            name=person.name,
            role=body.role,
            unit=person.unit_code,
            code=code,
            page="/invitation",
            valid_until=person.invitation_until,
        )

    @router.get(path, tags=["people"], summary="Who may sign in, by name")
    async def people(
        campaign_id: PathId, principal: Admin, limit: Limit = LIMIT_MAX, cursor: Cursor = None
    ) -> PeopleAnswer:
        position = position_in(cursor, tuple[str])
        async with db.transaction() as tx:
            rows = await usecases.people(tx, campaign_id, position[0] if position else None, limit)
        now = wall_now()
        following = next_cursor(rows, limit, lambda row: (row.person.name,))
        return PeopleAnswer(rows=[_person_answer(row, now) for row in rows], next_cursor=following)

    @router.post(
        path + "/{person_id}/revoke", tags=["people"], summary="Let somebody sign in no more, and sign them out"
    )
    async def revoke(campaign_id: PathId, person_id: UUID, body: RevokeRequest, principal: Admin) -> dict[str, str]:
        person = await db.in_transaction(
            lambda tx: usecases.revoke(
                tx, campaign_id, person_id, actor=principal.subject, reason=body.reason, now=wall_now()
            )
        )
        return {"person_id": str(person.person_id), "name": person.name, "state": "revoked"}


def _person_answer(row: Listed, now: datetime) -> PersonAnswer:
    person = row.person
    state: PersonState = "active"
    if person.revoked_at is not None:
        state = "revoked"
    elif person.passphrase is None:
        invited = domain.is_invited(person.invitation_until, person.revoked_at, now)
        state = "invited" if invited else "invitation_expired"
    return PersonAnswer(
        person_id=person.person_id,
        name=person.name,
        role=person.role,
        unit=person.unit_code,
        state=state,
        sessions=row.sessions,
        seen_at=row.seen_at,
    )


# ---- signing in ------------------------------------------------------------------------------------------------------


def _sign_in(router: APIRouter, db: Database, keys: PeopleKeys, passphrases: Passphrases) -> None:
    @router.get(SIGN_IN, tags=["pages"], summary="The page to sign in on", response_class=HTMLResponse)
    async def sign_in_page(request: Request, to: Annotated[str, Query(max_length=500)] = "") -> Response:
        secret = _form_secret(request)
        page = SignInPage(form_token(secret), return_to(to, FIRST_PAGE))
        return _with_form_cookie(pages.PAGES.answer(pages.sign_in_html(page), form=True), secret)

    @router.post(
        SIGN_IN,
        tags=["pages"],
        summary="From the page's form",
        response_class=HTMLResponse,
        form_limits={"max_fields": FORM_FIELDS_MAX, "max_files": 0},
    )
    async def sign_in(
        request: Request, _: OurForm, name: Typed = "", passphrase: Typed = "", to: Typed = ""
    ) -> Response:
        secret = _form_secret(request)
        await check_form_token(request, form_token(secret))
        try:
            session = await _session(request, name, passphrase)
        except Refused as refused:
            problem = problem_of(refused, ANSWERS)
            page = SignInPage(
                form_token(secret), return_to(to, FIRST_PAGE), name[: domain.NAME_MAX_CHARS], problem.body["title"]
            )
            answer = pages.PAGES.answer(
                pages.sign_in_html(page), problem.status_code, form=True, headers=problem.headers
            )
            return _with_form_cookie(answer, secret)
        return _signed_in_answer(keys, session, return_to(to, FIRST_PAGE))

    async def _session(request: Request, typed_name: str, typed: str) -> Session:
        name = domain.name_as_kept(typed_name[: 2 * domain.NAME_MAX_CHARS])
        tries = await db.in_transaction(lambda tx: usecases.count_try(tx, keys, _address(request), name))
        async with db.transaction() as tx:
            person = None if name is None else await usecases.person_to_sign_in(tx, name)
        # Not inside a transaction: comparing takes a tenth of a second, and may have to wait for its turn.
        fits = await passphrases.fits(domain.passphrase_as_kept(typed), person.passphrase if person else None)
        if person is None or not fits:
            raise Refused("wrong-name-or-passphrase")
        former = _session_of_cookie(request)
        return await db.in_transaction(lambda tx: usecases.sign_in(tx, person, tries, former, wall_now()))


def _invitation(router: APIRouter, db: Database, keys: PeopleKeys, passphrases: Passphrases) -> None:
    @router.get("/invitation", tags=["pages"], summary="The page to use an invitation", response_class=HTMLResponse)
    async def invitation_page(request: Request) -> Response:
        return _page(request, "", "")

    @router.post(
        "/invitation",
        tags=["pages"],
        summary="From the page's form",
        response_class=HTMLResponse,
        form_limits={"max_fields": FORM_FIELDS_MAX, "max_files": 0},
    )
    async def accept(
        request: Request, _: OurForm, code: Typed = "", passphrase: Typed = "", repeated: Typed = ""
    ) -> Response:
        await check_form_token(request, form_token(_form_secret(request)))
        try:
            session = await _session(request, code, passphrase, repeated)
        except Refused as refused:
            problem = problem_of(refused, ANSWERS)
            return _page(request, code[:64], refused.detail or problem.body["title"], problem.status_code)
        return _signed_in_answer(keys, session, FIRST_PAGE)

    async def _session(request: Request, code: str, typed: str, repeated: str) -> Session:
        passphrase = domain.passphrase_as_kept(typed)
        if passphrase != domain.passphrase_as_kept(repeated):
            raise Refused("passphrase-unusable", "两次输入的口令不一样")
        tries = await db.in_transaction(lambda tx: usecases.count_try(tx, keys, _address(request), None))
        async with db.transaction() as tx:
            person = await usecases.invited(tx, keys, code, wall_now())
        if person is None:
            raise Refused("invitation-unknown")
        if wrong := domain.wrong_with_passphrase(passphrase, person.name):
            raise Refused("passphrase-unusable", wrong)
        passphrase_hash, former = await passphrases.hash_to_keep(passphrase), _session_of_cookie(request)
        return await db.in_transaction(
            lambda tx: usecases.accept(tx, keys, code, passphrase_hash, tries, former, wall_now())
        )

    def _page(request: Request, code: str, error: str, status: int = 200) -> Response:
        secret = _form_secret(request)
        page = InvitationPage(form_token(secret), domain.PASSPHRASE_MIN_CHARS, code, error)
        return _with_form_cookie(pages.PAGES.answer(pages.invitation_html(page), status, form=True), secret)


def _address(request: Request) -> str:
    return request.client.host if request.client else ""


def _form_secret(request: Request) -> str:
    return request.cookies.get(FORM_COOKIE) or new_secret()


def _with_form_cookie(response: Response, secret: str) -> Response:
    set_cookie(response, FORM_COOKIE, secret)
    return response


def _session_of_cookie(request: Request) -> Session | None:
    """The session that this browser had before; None without a valid cookie."""
    session: Session | None = request.app.state.session_verifier.verify(request.cookies.get(COOKIE))
    return session


def _signed_in_answer(keys: PeopleKeys, session: Session, to: str) -> Response:
    response = RedirectResponse(to, 303, {"cache-control": "no-store"})
    set_cookie(response, COOKIE, keys.signer.sign(session))
    response.delete_cookie(FORM_COOKIE, path="/", secure=True, httponly=True, samesite="lax")
    return response


# ---- signed in -------------------------------------------------------------------------------------------------------


def _signed_in(router: APIRouter, db: Database, keys: PeopleKeys) -> None:
    @router.get("/account", tags=["pages"], summary="Who is signed in", response_class=HTMLResponse)
    async def account(visit: SignedIn) -> HTMLResponse:
        page = AccountPage(f"{visit.session.ends_at.astimezone(CHINA):%Y-%m-%d %H:%M}")
        return pages.PAGES.answer(pages.account_html(page, visit.frame), form=True)

    @router.get("/sign-in/renew", tags=["pages"], summary="Sign the cookie of a session in use anew")
    async def renew(request: Request, to: Annotated[str, Query(max_length=500)] = "") -> Response:
        """Sets a new cookie for the session and changes nothing else; where the session is over it redirects to the page to
        sign in."""
        to = return_to(to, FIRST_PAGE)
        former = _session_of_cookie(request)
        session = former and await db.in_transaction(lambda tx: usecases.renew(tx, former, wall_now()))
        if session is None:
            response = RedirectResponse(f"{SIGN_IN}?to={to}", 303, {"cache-control": "no-store"})
            clear_cookie(response)
            return response
        return _signed_in_answer(keys, session, to)

    @router.post(
        "/sign-out", tags=["pages"], summary="Sign out", form_limits={"max_fields": FORM_FIELDS_MAX, "max_files": 0}
    )
    async def sign_out(visit: SignedIn) -> Response:
        await db.in_transaction(lambda tx: usecases.sign_out(tx, visit.session, wall_now()))
        return _signed_out()

    @router.post(
        "/account/sign-out-everywhere",
        tags=["pages"],
        summary="End all sessions",
        form_limits={"max_fields": FORM_FIELDS_MAX, "max_files": 0},
    )
    async def sign_out_everywhere(visit: SignedIn) -> Response:
        await db.in_transaction(lambda tx: usecases.sign_out_everywhere(tx, visit.session, wall_now()))
        return _signed_out()


def _signed_out() -> Response:
    response = RedirectResponse(SIGN_IN, 303, {"cache-control": "no-store"})
    clear_cookie(response)
    return response
