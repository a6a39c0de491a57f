"""The office's API: look a viewer's certificate up, revoke it, reissue it."""

import unicodedata
from datetime import datetime
from typing import Annotated, Literal

from fastapi import APIRouter, Depends
from pydantic import AfterValidator, BaseModel, Field, StringConstraints

from services.certificate import certificates, store, usecases
from services.certificate.api.parameters import PathId
from services.certificate.files import Drawings
from services.certificate.keys import Keys
from shared.clock import Clock
from shared.contracts.base import Id
from shared.contracts.campaign import CampaignRules
from shared.contracts.certificate import Reason
from shared.database import Database, Transaction
from shared.definitions import Definitions
from shared.service.problems import Problem
from shared.service.tokens import Principal, requires

Office = Annotated[Principal, Depends(requires("admin", "office"))]
Reader = Annotated[Principal, Depends(requires("admin", "office", "auditor"))]


def _printable(text: str) -> str:
    if any(unicodedata.category(char) == "Cc" for char in text):  # Postgres takes no NUL
        raise ValueError("不能有换行等控制字符")
    return text


TypedReason = Annotated[Reason, StringConstraints(strip_whitespace=True, min_length=1), AfterValidator(_printable)]


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


class RevokeRequest(BaseModel):
    reason: TypedReason


class ReissueRequest(BaseModel):
    name: Annotated[str, Field(min_length=1, max_length=200)]
    reason: TypedReason
    request_id: Id | None = Field(default=None, description="yours, to repeat the request safely")
    guardian_consent: bool = Field(default=False, description="of a minor: the guardian agrees that the name is kept")


def add_office_routes(
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
            claim_code=certificates.claim_code_of(row, keys),
            issued_at=row.issued_at,
            claimed_at=row.claimed_at,
            status="valid" if row.revoked_at is None else "revoked",
            missing_characters=drawings.missing_characters(certificates.content_of(row, campaign_keys)),
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
