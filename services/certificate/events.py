"""The events that certificate publishes: issued, claimed, revoked."""

from collections.abc import Iterable
from datetime import datetime

from services.certificate import store
from services.certificate.certificates import Issued
from services.certificate.keys import Keys
from shared.contracts.certificate import CertificateClaimedV1, CertificateIssuedV1, CertificateRevokedV1
from shared.database import Transaction
from shared.ids import new_event_id
from shared.people.campaign_keys import public_keys, seal


async def issued_event(
    tx: Transaction, campaign_id: str, issued: Iterable[Issued], keys: Keys, now: datetime
) -> CertificateIssuedV1:
    recipients = await public_keys(tx, campaign_id)
    certificates = sorted(issued, key=lambda certificate: certificate.row.viewer_id)
    viewer_ids = [certificate.row.viewer_id for certificate in certificates]
    claim_codes = [certificate.claim_code.encode() for certificate in certificates]
    return CertificateIssuedV1(
        event_id=new_event_id(),
        occurred_at=now,
        campaign_id=campaign_id,
        viewer_ids=viewer_ids,
        serials=[certificate.row.serial for certificate in certificates],
        unit_codes=[certificate.row.unit_code for certificate in certificates],
        groups=[certificate.row.group_code for certificate in certificates],
        issued_at=[certificate.row.issued_at for certificate in certificates],
        claim_codes=seal(keys.sealing_public_keys, recipients, claim_codes, viewer_ids),
    )


def claimed_event(row: store.Certificate, now: datetime) -> CertificateClaimedV1:
    return CertificateClaimedV1(
        event_id=new_event_id(),
        occurred_at=now,
        campaign_id=row.campaign_id,
        viewer_ids=[row.viewer_id],
        serials=[row.serial],
        claimed_at=[now],
    )


def revoked_event(row: store.Certificate, reason: str, reissued_as: str | None, now: datetime) -> CertificateRevokedV1:
    return CertificateRevokedV1(
        event_id=new_event_id(),
        occurred_at=now,
        campaign_id=row.campaign_id,
        viewer_ids=[row.viewer_id],
        serials=[row.serial],
        revoked_at=[now],
        reasons=[reason],
        reissued_as=[reissued_as],
    )
