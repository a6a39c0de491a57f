"""What the certificate service publishes about certificates, as far as a viewer's own page needs it: whether one is claimed or
revoked, and which one replaces it."""

from enum import StrEnum

from services.checkin import store
from shared.contracts.certificate import CertificateClaimedV1, CertificateRevokedV1
from shared.database import Transaction


class CertificateState(StrEnum):
    CLAIMED = "claimed"
    REVOKED = "revoked"


async def keep_claimed(tx: Transaction, event: CertificateClaimedV1) -> None:
    rows = [store.Certificate(row.viewer_id, row.serial, row.claimed_at, None, None) for row in event.rows()]
    await store.keep_certificates(tx, event.campaign_id, rows)


async def keep_revoked(tx: Transaction, event: CertificateRevokedV1) -> None:
    rows = [store.Certificate(row.viewer_id, row.serial, None, row.revoked_at, row.reissued_as) for row in event.rows()]
    await store.keep_certificates(tx, event.campaign_id, rows)


async def state_of(tx: Transaction, campaign_id: str, viewer_id: str) -> CertificateState | None:
    """The state of the viewer's certificate; one that was replaced is passed over. None while nothing is known of a
    certificate, or it waits to be claimed."""
    for certificate in await store.certificates_of(tx, campaign_id, viewer_id):
        if certificate.revoked_at is None and certificate.claimed_at is not None:
            return CertificateState.CLAIMED
        if certificate.revoked_at is not None and certificate.reissued_as is None:
            return CertificateState.REVOKED
    return None
