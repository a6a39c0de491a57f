"""Verifying a certificate, by anybody: the API, the page behind the QR, and the page to verify on."""

from collections.abc import Collection
from typing import Annotated, Any, Literal, NamedTuple

from fastapi import APIRouter, Path, UploadFile
from pydantic import BaseModel, ConfigDict, Field, ValidationError
from starlette.responses import HTMLResponse, Response

from services.certificate import domain, pages, store
from services.certificate.api.files import picture_answer
from services.certificate.api.parameters import FORM_FIELDS_MAX, Typed
from services.certificate.api.retention import Retention
from services.certificate.certificates import IssuedCertificate, issued_certificate
from services.certificate.files import Drawings
from services.certificate.keys import Keys
from services.certificate.links import Links
from services.certificate.renderer import Shape
from shared.contracts.campaign import CampaignRules
from shared.database import Database
from shared.definitions import Definitions
from shared.service.problems import Problem, not_found

SERIAL_TYPED_MAX = 64
VERIFIED_FILE_MAX_BYTES = 12 * 1024  # a certificate with 60 lessons has 2 KiB; the proxy lets 16 KiB through
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


def add_verification_routes(
    router: APIRouter,
    db: Database,
    definitions: Definitions[CampaignRules],
    keys: Keys,
    links: Links,
    drawings: Drawings,
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
        return picture_answer(body, certificate.row.serial)

    async def certificate_behind(code: str) -> IssuedCertificate | None:
        normalised = domain.normalise_code(code)
        async with db.transaction() as tx:
            row = None if normalised is None else await store.by_code(tx, normalised)
            return row and await issued_certificate(tx, definitions, keys, row)


def add_verify_page_routes(
    router: APIRouter,
    db: Database,
    definitions: Definitions[CampaignRules],
    keys: Keys,
    retention: Retention,
    specimen: bool,
) -> None:
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
    certificate: IssuedCertificate | None,
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


class _Lookup(NamedTuple):
    """The answer to a question about a serial or file. `certificate` is None where the status is neither valid nor revoked."""

    status: VerifyStatus
    serial: str | None
    certificate: IssuedCertificate | None


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
        certificate = row and await issued_certificate(tx, definitions, keys, row)
    if certificate is None:
        return _Lookup("unknown", serial, None)
    return _Lookup("revoked" if certificate.revoked else "valid", serial, certificate)
