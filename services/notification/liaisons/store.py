"""All SQL of liaisons' contacts."""

from collections.abc import Sequence
from datetime import datetime
from typing import NamedTuple

from shared.database import Transaction
from shared.database.columns import columns


class ContactRow(NamedTuple):
    campaign_id: str
    unit_code: str
    revision: int
    contacts: bytes | None  # encrypted, bound to campaign and unit; None: nobody
    retain_until: datetime | None


async def keep(tx: Transaction, rows: Sequence[ContactRow]) -> None:
    """Keeps the highest revision of each unit. `rows`: sorted, one a unit."""
    await tx.execute(
        """
        INSERT INTO liaison_contact AS kept (campaign_id, unit_code, revision, contacts, retain_until)
        SELECT * FROM unnest($1::text[], $2::text[], $3::int[], $4::bytea[], $5::timestamptz[])
        ON CONFLICT (campaign_id, unit_code) DO UPDATE
        SET revision = excluded.revision, contacts = excluded.contacts, retain_until = excluded.retain_until
        WHERE kept.revision < excluded.revision
        """,
        *columns(rows, len(ContactRow._fields)),
    )


async def contacts(tx: Transaction, campaign_id: str, unit_code: str) -> bytes | None:
    value: bytes | None = await tx.fetchval(
        "SELECT contacts FROM liaison_contact WHERE campaign_id = $1 AND unit_code = $2", campaign_id, unit_code
    )
    return value


async def record_reveal(
    tx: Transaction, campaign_id: str, unit_code: str, *, actor: str, role: str, reason: str, now: datetime
) -> None:
    await tx.execute(
        "INSERT INTO liaison_reveal (campaign_id, unit_code, revealed_at, actor, role, reason) "
        "VALUES ($1, $2, $3, $4, $5, $6)",
        campaign_id,
        unit_code,
        now,
        actor,
        role,
        reason,
    )


# ---- retention -------------------------------------------------------------------------------------------------------


async def lock_to_forget(tx: Transaction, now: datetime, limit: int) -> list[tuple[str, str]]:
    """Up to `limit` units, (campaign, unit), whose contacts are kept no longer than until now, locked."""
    rows = await tx.fetch(
        "SELECT campaign_id, unit_code FROM liaison_contact WHERE contacts IS NOT NULL AND retain_until <= $1 "
        "ORDER BY campaign_id, unit_code LIMIT $2 FOR UPDATE",
        now,
        limit,
    )
    return [tuple(row) for row in rows]


async def retain(tx: Transaction, units: Sequence[tuple[str, str, datetime]]) -> None:
    """Keeps the contacts of these units, (campaign, unit), until the given times."""
    await tx.execute(
        "UPDATE liaison_contact AS kept SET retain_until = given.until "
        "FROM unnest($1::text[], $2::text[], $3::timestamptz[]) AS given (campaign_id, unit_code, until) "
        "WHERE kept.campaign_id = given.campaign_id AND kept.unit_code = given.unit_code",
        *columns(units, 3),
    )


async def forget(tx: Transaction, units: Sequence[tuple[str, str]]) -> None:
    """Removes the contacts of these units; the revision stays, so that no older event brings them back."""
    await tx.execute(
        "UPDATE liaison_contact AS kept SET contacts = NULL "
        "FROM unnest($1::text[], $2::text[]) AS given (campaign_id, unit_code) "
        "WHERE kept.campaign_id = given.campaign_id AND kept.unit_code = given.unit_code",
        *columns(units, 2),
    )
