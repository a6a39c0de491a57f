"""The office's pages about certificates (DESIGN §5.5): find one, revoke it, reissue it with the name corrected.

They call the use cases that the API calls. The campaign is always the one that the session is for.
"""

from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from datetime import datetime
from typing import Annotated
from zoneinfo import ZoneInfo

from fastapi import APIRouter, Depends, Form, Path
from pydantic import TypeAdapter, ValidationError
from starlette.responses import HTMLResponse, RedirectResponse, Response

from services.certificate import domain, pages, store, usecases
from services.certificate.certificates import IssuedCertificate, issued_certificate
from services.certificate.keys import Keys
from services.certificate.refusals import ANSWERS
from shared.clock import Clock
from shared.contracts.base import ID_PATTERN
from shared.contracts.campaign import CampaignRules
from shared.contracts.certificate import Reason
from shared.database import Database, Transaction
from shared.definitions import Definitions
from shared.ids import new_public_id
from shared.pages import Frame
from shared.service.guarded_route import GuardedRoute
from shared.service.page_gate import Visit, signed_in
from shared.service.problems import problem_of
from shared.service.refusals import Refused

PATH = "/certificates"
TYPED_MAX_CHARS = 64
NAME_MAX_CHARS = 200
FORM_FIELDS_MAX = 10
CHANGERS = ("admin", "office")
WHY_NONE = {
    "not_completed": "这个账号还没有完成课程，没有证书",
    "claim_time_not_come": "这个账号已完成课程，还没有到发证时间",
    "about_to_be_issued": "这个账号的证书正在签发，请稍后再查",
}

Reader = Annotated[Visit, Depends(signed_in("admin", "office", "auditor"))]
Changer = Annotated[Visit, Depends(signed_in("admin", "office"))]
Serial = Annotated[str, Path(pattern=r"^[0-9A-Z]{4}-[0-9A-Z]{4}-[0-9A-Z]{4}$")]
RequestId = Annotated[str, Form(pattern=ID_PATTERN)]
Typed = Annotated[str, Form()]


@dataclass(frozen=True)
class CertificatePage:
    """A certificate as the office sees it: the holder is masked here too."""

    serial: str
    holder: str
    status: str  # valid, revoked
    credited_days: int
    issued_at: str
    claimed_at: str
    revoked_at: str
    reissued_as: str
    changeable: bool  # by the person who looks at the page
    request_id: str  # of the page's forms, so that a second click repeats the first request and does nothing more
    error: str = ""

    @classmethod
    def of(cls, certificate: IssuedCertificate, *, may_change: bool, error: str) -> "CertificatePage":
        row, zone = certificate.row, certificate.zone
        return cls(
            serial=row.serial,
            holder=domain.mask_holder(certificate.content),
            status="revoked" if certificate.revoked else "valid",
            credited_days=len(row.credited_lessons),
            issued_at=_local_time(row.issued_at, zone),
            claimed_at=_local_time(row.claimed_at, zone),
            revoked_at=_local_time(row.revoked_at, zone),
            reissued_as=row.reissued_as or "",
            changeable=may_change and not certificate.revoked,
            request_id=new_public_id("page"),
            error=error,
        )


def build_pages(db: Database, clock: Clock, definitions: Definitions[CampaignRules], keys: Keys) -> APIRouter:
    router = APIRouter(route_class=GuardedRoute, tags=["pages"])
    _add_finding(router, db, clock, definitions, keys)
    _add_changing(router, db, clock, definitions, keys)
    return router


def _add_finding(
    router: APIRouter, db: Database, clock: Clock, definitions: Definitions[CampaignRules], keys: Keys
) -> None:
    @router.get(PATH, summary="The page to find a certificate on", response_class=HTMLResponse)
    async def find_page(visit: Reader) -> HTMLResponse:
        return _find_page(visit.frame)

    @router.post(
        PATH,
        summary="Find by serial, claim code or account",
        response_class=HTMLResponse,
        form_limits={"max_fields": FORM_FIELDS_MAX, "max_files": 0},
    )
    async def find(visit: Reader, typed: Typed = "") -> Response:
        """Redirects to the certificate's page. What was typed comes in a form and not in the address, since a claim code is
        secret."""
        campaign_id, typed = visit.session.principal.campaign, typed[:TYPED_MAX_CHARS].replace("\0", "")
        async with db.transaction() as tx:
            row = await usecases.look_up(tx, keys, campaign_id, typed)
            reason = "" if row else await usecases.why_none(tx, definitions, campaign_id, typed.strip(), clock.now())
        if row is not None:
            return _to_certificate(row.serial)
        error = "没有找到证书。" + (WHY_NONE[reason] if reason != "not_completed" else "请核对编号、领取码或账号")
        return _find_page(visit.frame, error, 404)

    @router.get(PATH + "/{serial}", summary="A certificate", response_class=HTMLResponse)
    async def certificate(serial: Serial, visit: Reader) -> HTMLResponse:
        return await _certificate_page(db, definitions, keys, visit, serial)


def _add_changing(
    router: APIRouter, db: Database, clock: Clock, definitions: Definitions[CampaignRules], keys: Keys
) -> None:
    @router.post(
        PATH + "/{serial}/revoke",
        summary="Revoke it, with a reason",
        response_class=HTMLResponse,
        form_limits={"max_fields": FORM_FIELDS_MAX, "max_files": 0},
    )
    async def revoke(serial: Serial, visit: Changer, reason: Typed = "") -> Response:
        principal, now = visit.session.principal, clock.now()

        async def work(tx: Transaction) -> str:
            viewer_id = await usecases.certificate_shown(tx, principal.campaign, serial, None)
            return await usecases.revoke(tx, principal.campaign, viewer_id, principal.subject, _reason(reason), now)

        return await changed(work, visit, serial)

    @router.post(
        PATH + "/{serial}/reissue",
        summary="Replace it by one with the name corrected, with a reason",
        response_class=HTMLResponse,
        form_limits={"max_fields": FORM_FIELDS_MAX, "max_files": 0},
    )
    async def reissue(
        serial: Serial, visit: Changer, request_id: RequestId, name: Typed = "", reason: Typed = ""
    ) -> Response:
        """Reissues once for a `request_id`, however often it is sent."""
        principal, now = visit.session.principal, clock.now()
        campaign_id, name = principal.campaign, name[:NAME_MAX_CHARS]

        async def work(tx: Transaction) -> str:
            viewer_id = await usecases.certificate_shown(tx, campaign_id, serial, request_id)
            return await usecases.reissue(
                tx, keys, campaign_id, viewer_id, name, principal.subject, _reason(reason), now, request_id
            )

        return await changed(work, visit, serial)

    async def changed(work: Callable[[Transaction], Awaitable[str]], visit: Visit, serial: str) -> Response:
        """Redirects to the certificate whose serial `work` returns; where it is refused, the page says why."""
        try:
            return _to_certificate(await db.in_transaction(work))
        except Refused as refused:
            return await _certificate_page(db, definitions, keys, visit, serial, refused)


async def _certificate_page(
    db: Database,
    definitions: Definitions[CampaignRules],
    keys: Keys,
    visit: Visit,
    serial: str,
    refused: Refused | None = None,
) -> HTMLResponse:
    """The page of the certificate, with what was refused; the page to find one on, with 404, where the campaign of the session
    has no such certificate."""
    principal = visit.session.principal
    async with db.transaction() as tx:
        row = await store.by_serial(tx, serial)
        if row is None or row.campaign_id != principal.campaign:
            return _find_page(visit.frame, "没有找到证书。请核对编号、领取码或账号", 404)
        certificate = await issued_certificate(tx, definitions, keys, row)
    problem = None if refused is None else problem_of(refused, ANSWERS)
    error = "" if refused is None or problem is None else refused.detail or problem.body["title"]
    page = CertificatePage.of(certificate, may_change=principal.role in CHANGERS, error=error)
    html = pages.OFFICE_PAGES.html("certificate.html", page=page, frame=visit.frame)
    return pages.OFFICE_PAGES.answer(html, problem.status_code if problem else 200, form=True)


def _find_page(frame: Frame, error: str = "", status: int = 200) -> HTMLResponse:
    html = pages.OFFICE_PAGES.html("certificates.html", frame=frame, error=error)
    return pages.OFFICE_PAGES.answer(html, status, form=True)


def _to_certificate(serial: str) -> Response:
    return RedirectResponse(f"{PATH}/{serial}", 303, {"cache-control": "no-store"})


def _reason(typed: str) -> str:
    """The typed reason without surrounding blanks. Raises `Refused` where it is empty, too long, or has control characters, which
    Postgres does not take."""
    reason = typed.strip()
    try:
        TypeAdapter(Reason).validate_python(reason)
    except ValidationError:
        raise Refused("reason-needed") from None
    if not reason.isprintable():
        raise Refused("reason-needed")
    return reason


def _local_time(moment: datetime | None, zone: ZoneInfo) -> str:
    return "" if moment is None else f"{moment.astimezone(zone):%Y-%m-%d %H:%M}"
