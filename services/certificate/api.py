"""HTTP of certificate: claiming and verifying for anybody; looking up, revoking and reissuing for the office."""

import unicodedata
from collections.abc import Collection
from contextlib import suppress
from datetime import datetime
from typing import Annotated, Any, Literal, NamedTuple
from zoneinfo import ZoneInfo

from fastapi import APIRouter, Depends, Form, Path, Request, UploadFile
from pydantic import AfterValidator, BaseModel, ConfigDict, Field, StringConstraints, ValidationError
from starlette.responses import HTMLResponse, JSONResponse, Response

from services.certificate import domain, pages, store, usecases
from services.certificate.domain import CertificateContent
from services.certificate.files import Drawings
from services.certificate.links import Links
from services.certificate.refusals import ANSWERS
from services.certificate.renderer import Shape
from services.certificate.usecases import Keys
from shared.clock import Clock
from shared.contracts.base import ID_PATTERN, Id
from shared.contracts.campaign import RETAIN_DAYS, CampaignRules
from shared.contracts.certificate import Reason
from shared.database import Database, DatabaseAway, Transaction
from shared.definitions import Definitions
from shared.people.campaign_keys import CampaignKeys
from shared.service.guarded_route import GuardedRoute
from shared.service.problems import Problem, database_away, not_found, problem_of
from shared.service.refusals import Refused
from shared.service.tokens import Principal, requires

CLAIM_CODE_MAX, PHONE_TAIL_MAX = 64, 8  # characters as typed, with blanks and hyphens
SERIAL_TYPED_MAX = 64
VERIFIED_FILE_MAX_BYTES = 12 * 1024  # a certificate with 60 lessons has 2 KiB; the proxy lets 16 KiB through
FORM_FIELDS_MAX = 10  # the form has two fields; what a browser may add is ignored

PathId = Annotated[str, Path(pattern=ID_PATTERN)]
Typed = Annotated[str, Form()]
Office = Annotated[Principal, Depends(requires("admin", "office"))]
Reader = Annotated[Principal, Depends(requires("admin", "office", "auditor"))]


def _printable(text: str) -> str:
    if any(unicodedata.category(char) == "Cc" for char in text):  # Postgres takes no NUL
        raise ValueError("不能有换行等控制字符")
    return text


TypedReason = Annotated[Reason, StringConstraints(strip_whitespace=True, min_length=1), AfterValidator(_printable)]


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


class CertificateAnswer(BaseModel):
    serial: str
    code: str
    claim_code: str
    issued_at: datetime
    claimed_at: datetime | None
    status: Literal["valid", "revoked"]
    missing_characters: str = Field(
        description="of the holder's name, in no font: 〓 is printed for them. See FONT_DIR"
    )


VerifyStatus = Literal["valid", "revoked", "altered", "unknown_key", "unknown"]


class VerifyRequest(BaseModel):
    """A serial, or a certificate's JSON file as it was downloaded."""

    model_config = ConfigDict(extra="ignore")

    serial: Annotated[str, Field(max_length=SERIAL_TYPED_MAX)] | None = None
    content: dict[str, Any] | None = None
    signature: dict[str, Any] | None = None


class VerifyAnswer(BaseModel):
    """`genuine` only when issued by us, unaltered and not revoked."""

    genuine: bool
    status: VerifyStatus
    serial: str | None = None
    campaign_title: str | None = None
    holder: str | None = Field(default=None, description="masked")


class RevokeRequest(BaseModel):
    reason: TypedReason


class ReissueRequest(BaseModel):
    name: Annotated[str, Field(min_length=1, max_length=200)]
    reason: TypedReason
    request_id: Id | None = Field(default=None, description="yours, to repeat the request safely")
    guardian_consent: bool = Field(default=False, description="of a minor: the guardian agrees that the name is kept")


def build_api(
    db: Database,
    clock: Clock,
    definitions: Definitions[CampaignRules],
    keys: Keys,
    links: Links,
    drawings: Drawings,
    *,
    specimen: bool,
) -> APIRouter:
    router = APIRouter(route_class=GuardedRoute)
    retention = Retention(db, definitions)
    _claiming(router, db, clock, keys, links, retention, specimen)
    _verification(router, db, definitions, keys, links, drawings, retention, specimen)
    _files(router, db, definitions, keys, links, drawings)
    _office(router, db, clock, definitions, keys, drawings)
    return router


# ---- anybody ---------------------------------------------------------------------------------------------------------


class Retention:
    """For how many days after the enrolment the campaigns keep names and phones, as pages say it. While the database is away it
    answers as before, so that pages which need no database are still shown."""

    def __init__(self, db: Database, definitions: Definitions[CampaignRules]) -> None:
        self._db = db
        self._definitions = definitions
        self._days: set[int] = set()

    async def days(self) -> set[int]:
        with suppress(DatabaseAway):
            async with self._db.transaction() as tx:
                self._days = {rules.retain_days for rules in (await self._definitions.all(tx)).values()}
        return self._days


def _claiming(
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
        content = usecases.content_of(row, campaign_keys)
        return _claim_page(pages.ClaimPage.of(content, links.folder(row.serial), row.code, specimen=specimen), days)


def _verification(
    router: APIRouter,
    db: Database,
    definitions: Definitions[CampaignRules],
    keys: Keys,
    links: Links,
    drawings: Drawings,
    retention: Retention,
    specimen: bool,
) -> None:
    @router.post("/v1/verify", tags=["public"], summary="Is this certificate genuine?")
    async def verify(body: VerifyRequest) -> VerifyAnswer:
        lookup = await _look_up(db, definitions, keys, body)
        if lookup.certificate is None:
            return VerifyAnswer(genuine=False, status=lookup.status, serial=lookup.serial)
        content = lookup.certificate.content
        return VerifyAnswer(
            genuine=lookup.status == "valid",
            status=lookup.status,
            serial=content.serial,
            campaign_title=content.campaign_title,
            holder=domain.mask_holder(content),
        )

    @router.get("/v/{code}", tags=["public"], summary="The page behind the QR", response_class=HTMLResponse)
    async def verification_page(code: Annotated[str, Path(max_length=100)]) -> HTMLResponse:
        certificate = await certificate_behind(code)
        return _verdict_page(
            certificate, "unknown", specimen, address=links.page(certificate.row.code) if certificate else ""
        )

    @router.get("/v/{code}/preview.png", tags=["public"], summary="What a chat shows of a link to that page")
    async def preview(code: Annotated[str, Path(max_length=100)]) -> Response:
        """The holder is masked, as on the page. 404 for a revoked certificate."""
        certificate = await certificate_behind(code)
        if certificate is None or certificate.revoked:
            raise not_found("该证书", "没有这张证书，或者已经撤销")
        body = await drawings.of(
            Shape.PREVIEW, certificate.row, certificate.content, certificate.rules, certificate.campaign_keys.vault
        )
        return _picture(body, certificate.row.serial)

    async def certificate_behind(code: str) -> _IssuedCertificate | None:
        normalised = domain.normalise_code(code)
        async with db.transaction() as tx:
            row = None if normalised is None else await store.by_code(tx, normalised)
            return row and await _issued_certificate(tx, definitions, keys, row)

    @router.get("/v/", tags=["public"], summary="The page to verify on", response_class=HTMLResponse)
    async def verify_page() -> HTMLResponse:
        return pages.PAGES.answer(pages.verify_html(specimen=specimen, days=await retention.days()), form=True)

    @router.post(
        "/v/",
        tags=["public"],
        summary="The same as /v1/verify, from the page's form",
        response_class=HTMLResponse,
        form_limits={"max_fields": FORM_FIELDS_MAX, "max_files": 1},
    )
    async def verify_by_form(serial: Typed = "", file: UploadFile | None = None) -> HTMLResponse:
        """Where both are given, the file counts and the serial is ignored."""
        text = await file.read(VERIFIED_FILE_MAX_BYTES + 1) if file is not None else b""
        try:
            body = VerifyRequest.model_validate_json(text) if text else VerifyRequest(serial=serial[:SERIAL_TYPED_MAX])
        except ValidationError:
            return _verify_form("这不是电子证书文件，请选择领取时下载的文件", specimen, await retention.days())
        if body.content is None and not (body.serial or "").strip():
            return _verify_form("请填写证书编号，或选择电子证书文件", specimen, await retention.days())
        lookup = await _look_up(db, definitions, keys, body)
        return _verdict_page(lookup.certificate, lookup.status, specimen, typed=True)


def _verify_form(error: str, specimen: bool, days: Collection[int]) -> HTMLResponse:
    return pages.PAGES.answer(pages.verify_html(specimen=specimen, error=error, days=days), 422, form=True)


def _verdict_page(
    certificate: "_IssuedCertificate | None",
    status: VerifyStatus,
    specimen: bool,
    *,
    typed: bool = False,
    address: str = "",
) -> HTMLResponse:
    """The page behind the QR, with status 404 for an unknown certificate. `certificate`: None where there is none, or its file is
    not as we signed it. `address`: the page's lasting address, where it has one."""
    if certificate is not None:
        page = pages.VerificationPage.of(
            certificate.content, certificate.zone, revoked=certificate.revoked, specimen=specimen, address=address
        )
    else:
        page_status = pages.Status.UNKNOWN if status == "unknown" else pages.Status.ALTERED
        page = pages.VerificationPage(page_status, specimen, typed=typed)
    missing = page.status is pages.Status.UNKNOWN
    days = () if certificate is None else (certificate.retain_days,)
    return pages.PAGES.answer(pages.verification_html(page, days), 404 if missing else 200)


def _claim_page(page: pages.ClaimPage, days: Collection[int], problem: Problem | None = None) -> HTMLResponse:
    status, headers = (problem.status_code, problem.headers) if problem else (200, None)
    return pages.PAGES.answer(pages.claim_html(page, days), status, form=True, headers=headers)


class _IssuedCertificate(NamedTuple):
    """A certificate that we have issued, with what is needed to read and show it."""

    row: store.Certificate
    campaign_keys: CampaignKeys
    rules: CampaignRules | None

    @property
    def content(self) -> CertificateContent:
        return usecases.content_of(self.row, self.campaign_keys)

    @property
    def revoked(self) -> bool:
        return self.row.revoked_at is not None

    @property
    def zone(self) -> ZoneInfo:
        """The campaign's zone."""
        return self.rules.zone if self.rules else ZoneInfo("Asia/Shanghai")

    @property
    def retain_days(self) -> int:
        return self.rules.retain_days if self.rules else RETAIN_DAYS


class _Lookup(NamedTuple):
    """The answer to a question about a serial or file. `certificate` is None where the status is neither valid nor revoked."""

    status: VerifyStatus
    serial: str | None
    certificate: _IssuedCertificate | None


async def _issued_certificate(
    tx: Transaction, definitions: Definitions[CampaignRules], keys: Keys, row: store.Certificate
) -> _IssuedCertificate:
    rules = await definitions.in_force(tx, row.campaign_id)
    return _IssuedCertificate(row, await keys.recipient.keys_to_read(tx, row.campaign_id), rules)


async def _look_up(db: Database, definitions: Definitions[CampaignRules], keys: Keys, body: VerifyRequest) -> _Lookup:
    """Looks up a serial, or checks a file's signature and then looks up its serial. Raises `Problem` where neither is given."""
    if body.content is not None:
        async with db.transaction() as tx:
            former = await store.signing_keys(tx)
        document = {"content": body.content, "signature": body.signature}
        verdict = domain.verify_document(document, domain.public_keys([*former, keys.signing.public_bytes]))
        if verdict is not domain.Verdict.GENUINE:
            return _Lookup(verdict.value, None, None)  # type: ignore[arg-type]
        serial: str | None = str(body.content["serial"])
    elif body.serial is not None:
        serial = domain.normalise_serial(body.serial)
    else:
        raise Problem(422, "invalid-request", "请提供证书编号或证书文件", "请给出 serial，或 content 和 signature")
    async with db.transaction() as tx:
        row = None if serial is None else await store.by_serial(tx, serial)
        certificate = row and await _issued_certificate(tx, definitions, keys, row)
    if certificate is None:
        return _Lookup("unknown", serial, None)
    return _Lookup("revoked" if certificate.revoked else "valid", serial, certificate)


# ---- a holder's files ------------------------------------------------------------------------------------------------


def _files(
    router: APIRouter,
    db: Database,
    definitions: Definitions[CampaignRules],
    keys: Keys,
    links: Links,
    drawings: Drawings,
) -> None:
    @router.get("/files/{token}/certificate.pdf", tags=["public"], summary="The certificate as PDF")
    async def pdf(token: Annotated[str, Path(max_length=1000)]) -> Response:
        certificate = await _valid_certificate(links.serial_of(token))
        body = await drawings.of(
            Shape.PDF, certificate.row, certificate.content, certificate.rules, certificate.campaign_keys.vault
        )
        return Response(
            body, media_type="application/pdf", headers=_download(f"{certificate.row.serial}.pdf", inline=True)
        )

    @router.get("/files/{token}/certificate.png", tags=["public"], summary="The certificate as a picture for a phone")
    async def picture(token: Annotated[str, Path(max_length=1000)]) -> Response:
        certificate = await _valid_certificate(links.serial_of(token))
        body = await drawings.of(
            Shape.PICTURE, certificate.row, certificate.content, certificate.rules, certificate.campaign_keys.vault
        )
        return _picture(body, certificate.row.serial)

    @router.get("/files/{token}/certificate.json", tags=["public"], summary="The signed certificate as JSON")
    async def document(token: Annotated[str, Path(max_length=1000)]) -> JSONResponse:
        certificate = await _valid_certificate(links.serial_of(token))
        signature = domain.Signature(certificate.row.key_id, certificate.row.signature)
        headers = _download(f"{certificate.row.serial}.json")
        return JSONResponse(domain.certificate_document(certificate.content, signature), headers=headers)

    async def _valid_certificate(serial: str) -> _IssuedCertificate:
        """Raises the problem 404 for a revoked certificate too."""
        async with db.transaction() as tx:
            row = await store.by_serial(tx, serial)
            if row is None or row.revoked_at is not None:
                raise not_found("该证书", "没有这张证书，或者已经撤销")
            return await _issued_certificate(tx, definitions, keys, row)


def _picture(body: bytes, serial: str) -> Response:
    return Response(body, media_type="image/png", headers=_download(f"{serial}.png", inline=True))


def _download(file_name: str, *, inline: bool = False) -> dict[str, str]:
    return {
        "content-disposition": f'{"inline" if inline else "attachment"}; filename="{file_name}"',
        "cache-control": "private, no-store",
        "x-content-type-options": "nosniff",
    }


# ---- the office ------------------------------------------------------------------------------------------------------


def _office(
    router: APIRouter,
    db: Database,
    clock: Clock,
    definitions: Definitions[CampaignRules],
    keys: Keys,
    drawings: Drawings,
) -> None:
    path = "/v1/campaigns/{campaign_id}/certificates/{viewer_id}"

    @router.get(path, tags=["office"], summary="A viewer's certificate, or the reason why there is none")
    async def get_certificate(campaign_id: PathId, viewer_id: PathId, principal: Reader) -> CertificateAnswer:
        async with db.transaction() as tx:
            row = await store.last_of(tx, campaign_id, viewer_id)
            campaign_keys = row and await keys.recipient.keys_to_read(tx, campaign_id)
            reason = "" if row else await usecases.why_none(tx, definitions, campaign_id, viewer_id, clock.now())
        if row is None or campaign_keys is None:
            raise Problem(404, "no-certificate", "该观众尚无证书", reason=reason)
        return CertificateAnswer(
            serial=row.serial,
            code=row.code,
            claim_code=usecases.claim_code_of(row, keys),
            issued_at=row.issued_at,
            claimed_at=row.claimed_at,
            status="valid" if row.revoked_at is None else "revoked",
            missing_characters=drawings.missing_characters(usecases.content_of(row, campaign_keys)),
        )

    @router.post(path + "/revoke", tags=["office"], summary="Revoke a certificate")
    async def revoke(campaign_id: PathId, viewer_id: PathId, body: RevokeRequest, principal: Office) -> dict[str, str]:
        now = clock.now()
        serial = await db.in_transaction(
            lambda tx: usecases.revoke(tx, campaign_id, viewer_id, principal.subject, body.reason, now)
        )
        return {"serial": serial, "status": "revoked"}

    @router.post(path + "/reissue", tags=["office"], summary="Replace a certificate, with the name corrected")
    async def reissue(
        campaign_id: PathId, viewer_id: PathId, body: ReissueRequest, principal: Office
    ) -> dict[str, str]:
        """A minor gets a name only with `guardian_consent`: 409 `guardian-consent-needed`."""
        now = clock.now()

        async def work(tx: Transaction) -> str:
            if not body.guardian_consent:
                await usecases.refuse_minor(tx, definitions, campaign_id, viewer_id)
            return await usecases.reissue(
                tx, keys, campaign_id, viewer_id, body.name, principal.subject, body.reason, now, body.request_id
            )

        return {"serial": await db.in_transaction(work), "status": "valid"}
