"""All SQL of pictures."""

from collections.abc import Collection
from datetime import datetime
from uuid import UUID

from services.reporting.obligations.pictures.domain import Reencoded, Resemblance
from shared.database import Transaction


async def id_of(
    tx: Transaction, campaign_id: str, unit_code: str, sha256: bytes, unused_until: datetime
) -> UUID | None:
    """The unit's picture that was uploaded as the same bytes, kept until `unused_until` at least; None where it has none."""
    picture_id: UUID | None = await tx.fetchval(
        "UPDATE picture SET retain_until = greatest(retain_until, $4) "
        "WHERE campaign_id = $1 AND unit_code = $2 AND sha256 = $3 RETURNING picture_id",
        campaign_id,
        unit_code,
        sha256,
        unused_until,
    )
    return picture_id


async def volume(tx: Transaction, campaign_id: str, unit_code: str) -> tuple[int, int]:
    """Bytes of all pictures of the unit, and of the campaign."""
    row = await tx.fetchrow(
        "SELECT coalesce(sum(size) FILTER (WHERE unit_code = $2), 0)::bigint, coalesce(sum(size), 0)::bigint "
        "FROM picture WHERE campaign_id = $1",
        campaign_id,
        unit_code,
    )
    assert row is not None  # noqa: S101 - sums without a group are one row
    return row[0], row[1]


async def volumes(tx: Transaction) -> dict[str, int]:
    """Campaign → bytes of all of its pictures, sorted; campaigns without pictures are left out."""
    rows = await tx.fetch("SELECT campaign_id, sum(size)::bigint FROM picture GROUP BY 1 ORDER BY 1")
    return {row[0]: row[1] for row in rows}


async def keep(
    tx: Transaction,
    picture_id: UUID,
    campaign_id: str,
    unit_code: str,
    sha256: bytes,
    picture: Reencoded,
    now: datetime,
    retain_until: datetime,
) -> bool:
    """Stores a picture; False where the same bytes have come from the unit meanwhile."""
    return bool(
        await tx.change(
            "INSERT INTO picture (picture_id, campaign_id, unit_code, sha256, near_hash, jpeg, thumbnail, size, uploaded_at, "
            "retain_until) VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10) ON CONFLICT DO NOTHING",
            picture_id,
            campaign_id,
            unit_code,
            sha256,
            picture.near_hash,
            picture.jpeg,
            picture.thumbnail,
            len(picture.jpeg) + len(picture.thumbnail),
            now,
            retain_until,
        )
    )


async def jpeg(tx: Transaction, campaign_id: str, unit_code: str, picture_id: UUID, *, thumbnail: bool) -> bytes | None:
    column = "thumbnail" if thumbnail else "jpeg"
    content: bytes | None = await tx.fetchval(
        f"SELECT {column} FROM picture WHERE campaign_id = $1 AND unit_code = $2 AND picture_id = $3",  # noqa: S608
        campaign_id,
        unit_code,
        picture_id,
    )
    return content


async def known(
    tx: Transaction, campaign_id: str, unit_code: str, picture_ids: Collection[UUID], now: datetime
) -> frozenset[UUID]:
    """Those of the ids that are pictures of the unit which are still kept at `now`, locked."""
    rows = await tx.fetch(
        "SELECT picture_id FROM picture WHERE campaign_id = $1 AND unit_code = $2 AND picture_id = ANY ($3) "
        "AND retain_until > $4 ORDER BY picture_id FOR UPDATE",
        campaign_id,
        unit_code,
        list(picture_ids),
        now,
    )
    return frozenset(row[0] for row in rows)


async def mark_used(
    tx: Transaction,
    campaign_id: str,
    unit_code: str,
    picture_ids: Collection[UUID],
    now: datetime,
    retain_until: datetime,
) -> frozenset[UUID]:
    """Notes that a report uses these pictures of the unit; returns those that it has."""
    rows = await tx.fetch(
        "UPDATE picture SET used_at = coalesce(used_at, $4), retain_until = greatest(retain_until, $5) "
        "WHERE picture_id IN (SELECT picture_id FROM picture WHERE campaign_id = $1 AND unit_code = $2 "
        "AND picture_id = ANY ($3) ORDER BY picture_id FOR UPDATE) RETURNING picture_id",
        campaign_id,
        unit_code,
        list(picture_ids),
        now,
        retain_until,
    )
    return frozenset(row[0] for row in rows)


async def resemblances(
    tx: Transaction, campaign_id: str, picture_ids: Collection[UUID], bits_max: int
) -> list[Resemblance]:
    """Pictures of the campaign, of any unit, that came before one of these and are the same bytes, or whose near-hash differs by
    at most `bits_max` bits: by picture, the nearest first."""
    rows = await tx.fetch(
        """
        SELECT asked.picture_id, earlier.picture_id, earlier.unit_code, earlier.uploaded_at, exact, bits::int
        FROM picture AS asked
        JOIN picture AS earlier ON earlier.campaign_id = asked.campaign_id
            AND (earlier.uploaded_at, earlier.picture_id) < (asked.uploaded_at, asked.picture_id)
        CROSS JOIN LATERAL (SELECT earlier.sha256 = asked.sha256 AS exact,
                                   bit_count((earlier.near_hash # asked.near_hash)::bit(64)) AS bits) AS compared
        WHERE asked.campaign_id = $1 AND asked.picture_id = ANY ($2) AND (exact OR bits <= $3)
        ORDER BY asked.picture_id, exact DESC, bits, earlier.uploaded_at, earlier.picture_id
        """,
        campaign_id,
        list(picture_ids),
        bits_max,
    )
    return [Resemblance(*row) for row in rows]


async def forget_expired(tx: Transaction, now: datetime, limit: int) -> int:
    """Deletes up to `limit` pictures whose time is over; returns how many."""
    return await tx.change(
        "DELETE FROM picture WHERE picture_id IN "
        "(SELECT picture_id FROM picture WHERE retain_until <= $1 LIMIT $2 FOR UPDATE SKIP LOCKED)",
        now,
        limit,
    )
