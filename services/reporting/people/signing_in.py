"""The pages to sign in on: name and passphrase, the code of the second step, an invitation (DESIGN §5.5)."""

from collections.abc import Mapping
from typing import Annotated

from fastapi import APIRouter, Depends, Form, Query, Request
from starlette.responses import HTMLResponse, RedirectResponse, Response

from services.reporting.people import domain, pages, second_step, usecases
from services.reporting.people.browser import (
    FIRST_PAGE,
    FORM_FIELDS_MAX,
    address_of,
    form_secret,
    session_of_cookie,
    signed_in_answer,
    with_form_cookie,
)
from services.reporting.people.keys import PeopleKeys
from services.reporting.people.pages import CodePage, InvitationPage, SignInPage
from services.reporting.people.passphrases import Passphrases
from services.reporting.people.second_step import Passed
from services.reporting.refusals import ANSWERS
from shared.database import Database
from shared.service.page_gate import SIGN_IN, OwnForms, check_form_token, return_to
from shared.service.problems import problem_of
from shared.service.refusals import Refused
from shared.service.sessions import Session, clear_cookie, form_token
from shared.service.tokens import wall_now

SECOND_STEP, INVITATION = "/sign-in/second-step", "/invitation"
SEALED_MAX_CHARS = 1_000

OurForm = Annotated[None, Depends(OwnForms())]
Typed = Annotated[str, Form()]
To = Annotated[str, Query(max_length=500)]


def add_routes(router: APIRouter, db: Database, keys: PeopleKeys, passphrases: Passphrases) -> None:
    _passphrase(router, db, keys, passphrases)
    _code(router, db, keys)
    _invitation(router, db, keys, passphrases)
    _renew(router, db, keys)


def _passphrase(router: APIRouter, db: Database, keys: PeopleKeys, passphrases: Passphrases) -> None:
    @router.get(SIGN_IN, tags=["pages"], summary="The page to sign in on", response_class=HTMLResponse)
    async def sign_in_page(request: Request, to: To = "") -> Response:
        secret = form_secret(request)
        page = SignInPage(form_token(secret), return_to(to, FIRST_PAGE))
        return with_form_cookie(pages.PAGES.answer(pages.sign_in_html(page), form=True), secret)

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
        secret, to = form_secret(request), return_to(to, FIRST_PAGE)
        await check_form_token(request, form_token(secret))
        try:
            begun = await _begin(request, name, passphrase)
        except Refused as refused:
            problem = problem_of(refused, ANSWERS)
            page = SignInPage(form_token(secret), to, name[: domain.NAME_MAX_CHARS], problem.body["title"])
            answer = pages.PAGES.answer(
                pages.sign_in_html(page), problem.status_code, form=True, headers=problem.headers
            )
            return with_form_cookie(answer, secret)
        if isinstance(begun, Passed):
            return _code_page(secret, second_step.sealed_pass(keys, begun, secret), to)
        return signed_in_answer(keys, begun, to)

    async def _begin(request: Request, typed_name: str, typed: str) -> Session | Passed:
        name = domain.name_as_kept(typed_name[: 2 * domain.NAME_MAX_CHARS])
        tries = await db.in_transaction(lambda tx: usecases.count_try(tx, keys, address_of(request), name))
        async with db.transaction() as tx:
            person = None if name is None else await usecases.person_to_sign_in(tx, name)
        # Not inside a transaction: comparing takes a tenth of a second, and may have to wait for its turn.
        fits = await passphrases.fits(domain.passphrase_as_kept(typed), person.passphrase if person else None)
        if person is None or not fits:
            raise Refused("wrong-name-or-passphrase")
        former = session_of_cookie(request)
        return await db.in_transaction(lambda tx: usecases.sign_in(tx, person, tries, former, wall_now()))


def _code(router: APIRouter, db: Database, keys: PeopleKeys) -> None:
    @router.post(
        SECOND_STEP,
        tags=["pages"],
        summary="The code, from the form of the page that follows the passphrase",
        response_class=HTMLResponse,
        form_limits={"max_fields": FORM_FIELDS_MAX, "max_files": 0},
    )
    async def sign_in_with_code(
        request: Request, _: OurForm, passed: Typed = "", code: Typed = "", to: Typed = ""
    ) -> Response:
        secret, to, passed = form_secret(request), return_to(to, FIRST_PAGE), passed[:SEALED_MAX_CHARS]
        await check_form_token(request, form_token(secret))
        try:
            session = await _session(request, passed, code)
        except Refused as refused:
            problem = problem_of(refused, ANSWERS)
            if refused.name == "second-step-expired":
                page = SignInPage(form_token(secret), to, "", problem.body["title"])
                answer = pages.PAGES.answer(pages.sign_in_html(page), problem.status_code, form=True)
                return with_form_cookie(answer, secret)
            return _code_page(secret, passed, to, problem.body["title"], problem.status_code, problem.headers)
        return signed_in_answer(keys, session, to)

    async def _session(request: Request, sealed: str, code: str) -> Session:
        now, former = wall_now(), session_of_cookie(request)
        passed = second_step.opened_pass(keys, sealed, form_secret(request), now)
        async with db.transaction() as tx:
            person = await usecases.person_who_passed(tx, passed)
        tries = await db.in_transaction(lambda tx: usecases.count_try(tx, keys, address_of(request), person.name))
        return await db.in_transaction(
            lambda tx: usecases.sign_in_with_code(tx, keys, passed, code, tries, former, now)
        )


def _code_page(
    secret: str, passed: str, to: str, error: str = "", status: int = 200, headers: Mapping[str, str] | None = None
) -> Response:
    html = pages.code_html(CodePage(form_token(secret), passed, to, error))
    return with_form_cookie(pages.PAGES.answer(html, status, form=True, headers=headers), secret)


def _invitation(router: APIRouter, db: Database, keys: PeopleKeys, passphrases: Passphrases) -> None:
    @router.get(INVITATION, tags=["pages"], summary="The page to use an invitation", response_class=HTMLResponse)
    async def invitation_page(request: Request) -> Response:
        return _page(request, "", "")

    @router.post(
        INVITATION,
        tags=["pages"],
        summary="From the page's form",
        response_class=HTMLResponse,
        form_limits={"max_fields": FORM_FIELDS_MAX, "max_files": 0},
    )
    async def accept(
        request: Request, _: OurForm, code: Typed = "", passphrase: Typed = "", repeated: Typed = ""
    ) -> Response:
        await check_form_token(request, form_token(form_secret(request)))
        try:
            session = await _session(request, code, passphrase, repeated)
        except Refused as refused:
            problem = problem_of(refused, ANSWERS)
            return _page(request, code[:64], refused.detail or problem.body["title"], problem.status_code)
        return signed_in_answer(keys, session, FIRST_PAGE)

    async def _session(request: Request, code: str, typed: str, repeated: str) -> Session:
        passphrase = domain.passphrase_as_kept(typed)
        if passphrase != domain.passphrase_as_kept(repeated):
            raise Refused("passphrase-unusable", domain.NOT_REPEATED)
        tries = await db.in_transaction(lambda tx: usecases.count_try(tx, keys, address_of(request), None))
        async with db.transaction() as tx:
            person = await usecases.invited(tx, keys, code, wall_now())
        if person is None:
            raise Refused("invitation-unknown")
        if wrong := domain.wrong_with_passphrase(passphrase, person.name):
            raise Refused("passphrase-unusable", wrong)
        passphrase_hash, former = await passphrases.hash_to_keep(passphrase), session_of_cookie(request)
        return await db.in_transaction(
            lambda tx: usecases.accept(tx, keys, code, passphrase_hash, tries, former, wall_now())
        )

    def _page(request: Request, code: str, error: str, status: int = 200) -> Response:
        secret = form_secret(request)
        page = InvitationPage(form_token(secret), domain.PASSPHRASE_MIN_CHARS, code, error)
        return with_form_cookie(pages.PAGES.answer(pages.invitation_html(page), status, form=True), secret)


def _renew(router: APIRouter, db: Database, keys: PeopleKeys) -> None:
    @router.get("/sign-in/renew", tags=["pages"], summary="Sign the cookie of a session in use anew")
    async def renew(request: Request, to: To = "") -> Response:
        """Sets a new cookie for the session and changes nothing else; where the session is over it redirects to the page to
        sign in."""
        to = return_to(to, FIRST_PAGE)
        former = session_of_cookie(request)
        session = former and await db.in_transaction(lambda tx: usecases.renew(tx, former, wall_now()))
        if session is None:
            response = RedirectResponse(f"{SIGN_IN}?to={to}", 303, {"cache-control": "no-store"})
            clear_cookie(response)
            return response
        return signed_in_answer(keys, session, to)
