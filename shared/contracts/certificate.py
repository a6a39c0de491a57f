"""Facts that the certificate service owns."""

from typing import Annotated, ClassVar

from pydantic import AwareDatetime, Field, StringConstraints, model_validator

from shared.contracts.base import CampaignKeyMade, ColumnEvent, Fields, Id, SealedColumn

Reason = Annotated[str, StringConstraints(min_length=1, max_length=500)]


class CertificateIssuedV1(ColumnEvent):
    """Certificates were issued. Unit and group are the viewer's at completion; later moves come from checkin."""

    OWNER: ClassVar[str] = "certificate"
    FACT: ClassVar[str] = "certificate_issued"
    COLUMNS: ClassVar[dict[str, str]] = {
        "viewer_id": "viewer_ids",
        "serial": "serials",
        "unit_code": "unit_codes",
        "group": "groups",
        "issued_at": "issued_at",
    }
    SEALED: ClassVar[Fields] = ("claim_codes",)
    IMPERSONAL: ClassVar[Fields] = ("serials", "unit_codes", "groups", "issued_at")

    viewer_ids: list[Id]
    serials: list[Id]
    unit_codes: list[Id]
    groups: list[Id]
    issued_at: list[AwareDatetime]
    claim_codes: SealedColumn | None = Field(
        default=None, description="the claim codes, sealed for notification: who reads the stream cannot claim"
    )

    @model_validator(mode="after")
    def _one_box_per_row(self) -> "CertificateIssuedV1":
        if self.claim_codes is not None and len(self.claim_codes.boxes) != len(self.viewer_ids):
            raise ValueError(f"{len(self.claim_codes.boxes)} boxes for {len(self.viewer_ids)} certificates")
        return self


class CertificateKeyMadeV1(CampaignKeyMade):
    """certificate has made its key for a campaign. The event carries the public half, to which contacts are sealed."""

    OWNER: ClassVar[str] = "certificate"
    FACT: ClassVar[str] = "certificate_key_made"


class CertificateClaimedV1(ColumnEvent):
    """Certificates were claimed (领取): the number the office counts (FACTS A5, A7)."""

    OWNER: ClassVar[str] = "certificate"
    FACT: ClassVar[str] = "certificate_claimed"
    COLUMNS: ClassVar[dict[str, str]] = {"viewer_id": "viewer_ids", "serial": "serials", "claimed_at": "claimed_at"}
    IMPERSONAL: ClassVar[Fields] = ("serials", "claimed_at")

    viewer_ids: list[Id]
    serials: list[Id]
    claimed_at: list[AwareDatetime]


class CertificateRevokedV1(ColumnEvent):
    """Certificates were revoked; `reissued_as` is the serial that replaces one after a correction."""

    OWNER: ClassVar[str] = "certificate"
    FACT: ClassVar[str] = "certificate_revoked"
    COLUMNS: ClassVar[dict[str, str]] = {
        "viewer_id": "viewer_ids",
        "serial": "serials",
        "revoked_at": "revoked_at",
        "reason": "reasons",
        "reissued_as": "reissued_as",
    }
    IMPERSONAL: ClassVar[Fields] = ("serials", "revoked_at", "reasons", "reissued_as")

    viewer_ids: list[Id]
    serials: list[Id]
    revoked_at: list[AwareDatetime]
    reasons: list[Reason]
    reissued_as: list[Id | None]
