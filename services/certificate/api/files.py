"""A holder's files, by a link that ends: PDF, picture, signed JSON."""

from fastapi import APIRouter
from starlette.responses import JSONResponse, Response

from services.certificate import domain, store
from services.certificate.api.parameters import TokenInPath
from services.certificate.certificates import IssuedCertificate, issued_certificate
from services.certificate.files import Drawings
from services.certificate.keys import Keys
from services.certificate.links import Links
from services.certificate.renderer import Shape
from shared.contracts.campaign import CampaignRules
from shared.database import Database
from shared.definitions import Definitions
from shared.service.problems import not_found


def add_file_routes(
    router: APIRouter,
    db: Database,
    definitions: Definitions[CampaignRules],
    keys: Keys,
    links: Links,
    drawings: Drawings,
) -> None:
    @router.get("/files/{token}/certificate.pdf", tags=["public"], summary="The certificate as PDF")
    async def pdf(token: TokenInPath) -> Response:
        certificate = await _valid_certificate(links.serial_of(token))
        body = await drawings.of(
            Shape.PDF, certificate.row, certificate.content, certificate.rules, certificate.campaign_keys.vault
        )
        return Response(
            body, media_type="application/pdf", headers=_download(f"{certificate.row.serial}.pdf", inline=True)
        )

    @router.get("/files/{token}/certificate.png", tags=["public"], summary="The certificate as a picture for a phone")
    async def picture(token: TokenInPath) -> Response:
        certificate = await _valid_certificate(links.serial_of(token))
        body = await drawings.of(
            Shape.PICTURE, certificate.row, certificate.content, certificate.rules, certificate.campaign_keys.vault
        )
        return picture_answer(body, certificate.row.serial)

    @router.get("/files/{token}/certificate.json", tags=["public"], summary="The signed certificate as JSON")
    async def document(token: TokenInPath) -> JSONResponse:
        certificate = await _valid_certificate(links.serial_of(token))
        signature = domain.Signature(certificate.row.key_id, certificate.row.signature)
        headers = _download(f"{certificate.row.serial}.json")
        return JSONResponse(domain.certificate_document(certificate.content, signature), headers=headers)

    async def _valid_certificate(serial: str) -> IssuedCertificate:
        """Raises the problem 404 for a revoked certificate too."""
        async with db.transaction() as tx:
            row = await store.by_serial(tx, serial)
            if row is None or row.revoked_at is not None:
                raise not_found("该证书", "没有这张证书，或者已经撤销")
            return await issued_certificate(tx, definitions, keys, row)


def picture_answer(body: bytes, serial: str) -> Response:
    return Response(body, media_type="image/png", headers=_download(f"{serial}.png", inline=True))


def _download(file_name: str, *, inline: bool = False) -> dict[str, str]:
    return {
        "content-disposition": f'{"inline" if inline else "attachment"}; filename="{file_name}"',
        "cache-control": "private, no-store",
        "x-content-type-options": "nosniff",
    }
