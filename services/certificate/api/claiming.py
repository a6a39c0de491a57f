"""Claiming a certificate (领取), by anybody: the API, and the page with its form."""

from collections.abc import Collection
from typing import Annotated

from fastapi import APIRouter, Request
from pydantic import BaseModel, Field
from starlette.responses import HTMLResponse

from services.certificate import certificates, pages, store, usecases
from services.certificate.api.parameters import FORM_FIELDS_MAX, Typed
from services.certificate.api.retention import Retention
from services.certificate.keys import Keys
from services.certificate.links import Links
from services.certificate.refusals import ANSWERS
from shared.clock import Clock
from shared.database import Database, DatabaseAway
from shared.service.problems import Problem, database_away, problem_of
from shared.service.refusals import Refused

CLAIM_CODE_MAX, PHONE_TAIL_MAX = 64, 8  # characters as typed, with blanks and hyphens


class ClaimRequest(BaseModel):
    claim_code: Annotated[str, Field(max_length=CLAIM_CODE_MAX)]
    phone_tail: Annotated[str, Field(max_length=PHONE_TAIL_MAX)] | None = Field(
        default=None, description="last four digits of the enrolled phone; only where one is known"
    )


class ClaimAnswer(BaseModel):
    serial: str
    pdf_url: str = Field(description="valid for 30 minutes")
    picture_url: str = Field(description="PNG for a phone; valid for 30 minutes")
    json_url: str = Field(description="valid for 30 minutes")
    page_url: str = Field(description="shows a masked holder; valid as long as the certificate")


def add_claim_routes(
    router: APIRouter,
    db: Database,
    clock: Clock,
    keys: Keys,
    links: Links,
    retention: Retention,
    specimen: bool,
) -> None:
    @router.post("/v1/claims", tags=["public"], summary="Claim a certificate (领取)")
    async def claim(body: ClaimRequest, request: Request) -> ClaimAnswer:
        """Claiming again gives the same answer with new links. Wrong tries are limited by address, and by code if the code
        exists. Wrong tries of others at the same address do not limit a right claim."""
        row = await claimed(body, request)
        return ClaimAnswer(serial=row.serial, **links.to(row.serial), page_url=links.page(row.code))

    async def claimed(body: ClaimRequest, request: Request) -> store.Certificate:
        """The certificate that was claimed. Raises `Refused`."""
        address = request.client.host if request.client else ""
        now = clock.now()
        answer = await db.in_transaction(
            lambda tx: usecases.claim(tx, keys, body.claim_code, body.phone_tail, address, now)
        )
        if isinstance(answer, Refused):  # raised only here, after the commit of the wrong try that was counted
            raise answer
        return answer

    @router.get("/", tags=["public"], summary="Which pages there are", response_class=HTMLResponse)
    async def home() -> HTMLResponse:
        return pages.PAGES.answer(pages.home_html(specimen=specimen))

    @router.get("/claim", tags=["public"], summary="The page to claim on", response_class=HTMLResponse)
    async def claim_page() -> HTMLResponse:
        return _claim_page(pages.ClaimPage(specimen), await retention.days())

    @router.post(
        "/claim",
        tags=["public"],
        summary="The same as /v1/claims, from the page's form",
        response_class=HTMLResponse,
        form_limits={"max_fields": FORM_FIELDS_MAX, "max_files": 0},
    )
    async def claim_by_form(request: Request, claim_code: Typed = "", phone_tail: Typed = "") -> HTMLResponse:
        """Cuts off what is too long; the code or tail is then wrong, and the page says so."""
        claim_code, days = claim_code[:CLAIM_CODE_MAX], await retention.days()
        try:
            body = ClaimRequest(claim_code=claim_code, phone_tail=phone_tail[:PHONE_TAIL_MAX] or None)
            row = await claimed(body, request)
            async with db.transaction() as tx:
                campaign_keys = await keys.recipient.keys_to_read(tx, row.campaign_id)
        except Refused as refused:
            problem = problem_of(refused, ANSWERS)
            return _claim_page(pages.ClaimPage(specimen, claim_code, problem.body["title"]), days, problem)
        except DatabaseAway:
            return _claim_page(pages.ClaimPage(specimen, claim_code, "系统繁忙，请稍后再试一次"), days, database_away())
        content = certificates.content_of(row, campaign_keys)
        return _claim_page(pages.ClaimPage.of(content, links.folder(row.serial), row.code, specimen=specimen), days)


def _claim_page(page: pages.ClaimPage, days: Collection[int], problem: Problem | None = None) -> HTMLResponse:
    status, headers = (problem.status_code, problem.headers) if problem else (200, None)
    return pages.PAGES.answer(pages.claim_html(page, days), status, form=True, headers=headers)
