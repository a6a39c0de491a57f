"""What events say of certificates."""

from collections.abc import Iterable
from datetime import datetime
from typing import NamedTuple

from shared.database import Transaction
from shared.database.columns import columns


class Certificate(NamedTuple):
    """What is known of a certificate from events."""

    viewer_id: str
    serial: str
    claimed_at: datetime | None
    revoked_at: datetime | None
    reissued_as: str | None


async def keep_certificates(tx: Transaction, campaign_id: str, rows: Iterable[Certificate]) -> None:
    """Stores what events say of certificates, in any order of arrival. The earliest time of a claim is kept."""
    by_serial = {row.serial: row for row in rows}
    await tx.execute(
        """
        INSERT INTO certificate AS c (campaign_id, viewer_id, serial, claimed_at, revoked_at, reissued_as)
        SELECT $1, * FROM unnest($2::text[], $3::text[], $4::timestamptz[], $5::timestamptz[], $6::text[])
        ON CONFLICT (campaign_id, serial) DO UPDATE
        SET claimed_at = least(c.claimed_at, excluded.claimed_at), revoked_at = coalesce(c.revoked_at, excluded.revoked_at),
            reissued_as = coalesce(c.reissued_as, excluded.reissued_as)
        """,
        campaign_id,
        *columns([by_serial[serial] for serial in sorted(by_serial)], len(Certificate._fields)),
    )


async def certificates_of(tx: Transaction, campaign_id: str, viewer_id: str) -> list[Certificate]:
    rows = await tx.fetch(
        "SELECT viewer_id, serial, claimed_at, revoked_at, reissued_as FROM certificate "
        "WHERE campaign_id = $1 AND viewer_id = $2",
        campaign_id,
        viewer_id,
    )
    return [Certificate(*row) for row in rows]
