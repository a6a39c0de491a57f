"""The pages of somebody signed in about themselves: sign out, change the passphrase, switch the second step on and off
(DESIGN §5.5)."""

from typing import Annotated

import segno
from fastapi import APIRouter, Depends, Form, Request
from markupsafe import Markup
from starlette.responses import HTMLResponse, RedirectResponse, Response

from services.reporting.people import authenticator, domain, pages, second_step, usecases
from services.reporting.people.browser import FORM_FIELDS_MAX, address_of, with_session
from services.reporting.people.keys import PeopleKeys
from services.reporting.people.pages import AccountPage, OfferPage
from services.reporting.people.passphrases import Passphrases
from services.reporting.people.second_step import Offer
from services.reporting.people.signing_in import SEALED_MAX_CHARS
from services.reporting.refusals import ANSWERS
from shared.clock import CHINA
from shared.database import Database, Transaction
from shared.service.page_gate import SIGN_IN, Visit, signed_in
from shared.service.problems import Problem, problem_of
from shared.service.refusals import Refused
from shared.service.sessions import Session, clear_cookie
from shared.service.tokens import wall_now

ACCOUNT = "/account"

SignedIn = Annotated[Visit, Depends(signed_in("admin", "office", "auditor", "liaison", subtrees=True))]
Typed = Annotated[str, Form()]


def add_routes(router: APIRouter, db: Database, keys: PeopleKeys, passphrases: Passphrases) -> None:
    _sign_out(router, db)
    _passphrase(router, db, keys, passphrases)
    _second_step(router, db, keys)


async def _account_page(db: Database, visit: Visit, done: str = "", refused: Refused | None = None) -> HTMLResponse:
    async with db.transaction() as tx:
        state = await second_step.state(tx, visit.session.person_id)
    problem = None if refused is None else problem_of(refused, ANSWERS)
    page = AccountPage(
        signed_in_until=f"{visit.session.ends_at.astimezone(CHINA):%Y-%m-%d %H:%M}",
        passphrase_min=domain.PASSPHRASE_MIN_CHARS,
        second_step=state,
        done=done,
        error=_said(refused, problem),
    )
    html = pages.account_html(page, visit.frame)
    return _page(html, problem)


def _page(html: str, problem: Problem | None = None) -> HTMLResponse:
    status, headers = (200, None) if problem is None else (problem.status_code, problem.headers)
    return pages.PAGES.answer(html, status, form=True, headers=headers)


def _said(refused: Refused | None, problem: Problem | None) -> str:
    """What the page says about a refusal (zh-Hans)."""
    return "" if refused is None or problem is None else refused.detail or problem.body["title"]


def _sign_out(router: APIRouter, db: Database) -> None:
    @router.get(ACCOUNT, tags=["pages"], summary="Who is signed in", response_class=HTMLResponse)
    async def account(visit: SignedIn) -> HTMLResponse:
        return await _account_page(db, visit)

    @router.post(
        "/sign-out", tags=["pages"], summary="Sign out", form_limits={"max_fields": FORM_FIELDS_MAX, "max_files": 0}
    )
    async def sign_out(visit: SignedIn) -> Response:
        await db.in_transaction(lambda tx: usecases.sign_out(tx, visit.session, wall_now()))
        return _signed_out()

    @router.post(
        ACCOUNT + "/sign-out-everywhere",
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


def _passphrase(router: APIRouter, db: Database, keys: PeopleKeys, passphrases: Passphrases) -> None:
    @router.post(
        ACCOUNT + "/passphrase",
        tags=["pages"],
        summary="Change the passphrase; ends all other sessions",
        response_class=HTMLResponse,
        form_limits={"max_fields": FORM_FIELDS_MAX, "max_files": 0},
    )
    async def change(
        request: Request, visit: SignedIn, old: Typed = "", passphrase: Typed = "", repeated: Typed = ""
    ) -> Response:
        try:
            session = await _changed(request, visit, old, passphrase, repeated)
        except Refused as refused:
            return await _account_page(db, visit, refused=refused)
        done = "口令已改，其他设备上的登录已退出"
        return with_session(await _account_page(db, Visit(session, ACCOUNT), done), keys, session)

    async def _changed(request: Request, visit: Visit, old: str, typed: str, repeated: str) -> Session:
        passphrase, name = domain.passphrase_as_kept(typed), visit.session.principal.subject
        if passphrase != domain.passphrase_as_kept(repeated):
            raise Refused("passphrase-unusable", domain.NOT_REPEATED)
        if wrong := domain.wrong_with_passphrase(passphrase, name):
            raise Refused("passphrase-unusable", wrong)
        tries = await db.in_transaction(lambda tx: usecases.count_try(tx, keys, address_of(request), name))
        async with db.transaction() as tx:
            person = await usecases.person_of(tx, visit.session)
        if not await passphrases.fits(domain.passphrase_as_kept(old), person.passphrase):
            raise Refused("wrong-passphrase")
        passphrase_hash = await passphrases.hash_to_keep(passphrase)
        return await db.in_transaction(
            lambda tx: usecases.change_passphrase(tx, person, passphrase_hash, tries, wall_now())
        )


def _second_step(router: APIRouter, db: Database, keys: PeopleKeys) -> None:
    path = ACCOUNT + "/second-step"

    @router.post(
        path,
        tags=["pages"],
        summary="Offer a secret for an authenticator app; keeps nothing yet",
        response_class=HTMLResponse,
        form_limits={"max_fields": FORM_FIELDS_MAX, "max_files": 0},
    )
    async def offer(visit: SignedIn) -> HTMLResponse:
        return _offer_page(visit, second_step.offer(keys, visit.session.person_id))

    @router.post(
        path + "/on",
        tags=["pages"],
        summary="Switch the second step on with the app's first code",
        response_class=HTMLResponse,
        form_limits={"max_fields": FORM_FIELDS_MAX, "max_files": 0},
    )
    async def switch_on(request: Request, visit: SignedIn, offered: Typed = "", code: Typed = "") -> HTMLResponse:
        try:
            known = second_step.offered(keys, visit.session.person_id, offered[:SEALED_MAX_CHARS])
        except Refused as refused:
            return await _account_page(db, visit, refused=refused)

        async def work(tx: Transaction) -> list[str]:
            person = await usecases.person_of(tx, visit.session)
            return await second_step.switch_on(tx, keys, person, known, code, wall_now())

        try:
            codes = await db.in_transaction(work)
        except Refused as refused:
            return _offer_page(visit, known, refused)
        return _page(pages.recovery_codes_html(codes, visit.frame))

    @router.post(
        path + "/off",
        tags=["pages"],
        summary="Switch the second step off with a code",
        response_class=HTMLResponse,
        form_limits={"max_fields": FORM_FIELDS_MAX, "max_files": 0},
    )
    async def switch_off(request: Request, visit: SignedIn, code: Typed = "") -> HTMLResponse:
        name = visit.session.principal.subject

        async def work(tx: Transaction) -> None:
            person = await usecases.person_of(tx, visit.session)
            await second_step.switch_off(tx, keys, person, code, wall_now())
            await usecases.take_back(tx, tries)

        try:
            tries = await db.in_transaction(lambda tx: usecases.count_try(tx, keys, address_of(request), name))
            await db.in_transaction(work)
        except Refused as refused:
            return await _account_page(db, visit, refused=refused)
        return await _account_page(db, visit, "验证码登录已关闭")


def _offer_page(visit: Visit, offer: Offer, refused: Refused | None = None) -> HTMLResponse:
    problem = None if refused is None else problem_of(refused, ANSWERS)
    address = authenticator.address_of(offer.secret, visit.session.principal.subject)
    picture = segno.make_qr(address, error="m").svg_inline(border=2, dark="#000", light="#fff", scale=5)
    page = OfferPage(
        sealed=offer.sealed,
        secret=" ".join(offer.secret[at : at + 4] for at in range(0, len(offer.secret), 4)),
        picture=Markup(picture),  # noqa: S704 - drawn here
        error=_said(refused, problem),
    )
    return _page(pages.offer_html(page, visit.frame), problem)
