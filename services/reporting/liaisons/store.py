"""All SQL of liaisons. Callers pass units that are sorted and unique (DESIGN §4.10)."""

import json
from collections.abc import Sequence
from datetime import datetime, timedelta
from typing import Any, NamedTuple

from services.reporting.liaisons.domain import Mask, Masks
from shared.database import Transaction
from shared.database.columns import columns


class Liaison(NamedTuple):
    """Whom a unit has named last."""

    campaign_id: str
    unit_code: str
    revision: int
    posts: Masks | None  # None: nobody, any more or again
    named_at: datetime | None
    actor: str | None
    reason: str | None


class Reach(NamedTuple):
    """How a unit can report by phone."""

    has_code: bool
    devices: int


class DeviceUnit(NamedTuple):
    """A unit for which a device may report."""

    campaign_id: str
    unit_code: str


LET_GO = "DELETE FROM device WHERE campaign_id = $1 AND unit_code = $2"
_LIAISON = ", ".join(Liaison._fields)


# ---- who -------------------------------------------------------------------------------------------------------------


async def hold(tx: Transaction, campaign_id: str, unit_code: str) -> Liaison:
    """The unit's row, made where there is none; nobody else changes it before `tx` ends."""
    await tx.execute(
        "INSERT INTO liaison (campaign_id, unit_code, revision) VALUES ($1, $2, 0) ON CONFLICT DO NOTHING",
        campaign_id,
        unit_code,
    )
    row = await tx.fetchrow(
        f"SELECT {_LIAISON} FROM liaison WHERE campaign_id = $1 AND unit_code = $2 FOR UPDATE",  # noqa: S608
        campaign_id,
        unit_code,
    )
    return _liaison(row)


async def keep(tx: Transaction, liaison: Liaison) -> None:
    """Replaces the unit's row."""
    await tx.execute(
        "UPDATE liaison SET revision = $3, posts = $4, named_at = $5, actor = $6, reason = $7 "
        "WHERE campaign_id = $1 AND unit_code = $2",
        *liaison[:3],
        None if liaison.posts is None else json.dumps({post: mask._asdict() for post, mask in liaison.posts.items()}),
        *liaison[4:],
    )


async def liaisons(tx: Transaction, campaign_id: str, unit_codes: Sequence[str] | None = None) -> dict[str, Liaison]:
    """The named liaisons by unit: of these units, or of all."""
    rows = await tx.fetch(
        f"SELECT {_LIAISON} FROM liaison WHERE campaign_id = $1 AND posts IS NOT NULL "  # noqa: S608
        "AND ($2::text[] IS NULL OR unit_code = ANY ($2))",
        campaign_id,
        None if unit_codes is None else list(unit_codes),
    )
    return {row["unit_code"]: _liaison(row) for row in rows}


def _liaison(row: Any) -> Liaison:
    liaison = Liaison._make(row)
    if liaison.posts is None:
        return liaison
    return liaison._replace(posts={post: Mask(**mask) for post, mask in json.loads(row["posts"]).items()})


async def record(
    tx: Transaction,
    campaign_id: str,
    unit_codes: Sequence[str],
    what: str,
    actor: str,
    reason: str | None,
    now: datetime,
) -> None:
    """Records a change of each unit; `what`: a stable slug."""
    await tx.execute(
        "INSERT INTO liaison_change (campaign_id, unit_code, changed_at, what, actor, reason) "
        "SELECT $1, unnest($2::text[]), $3, $4, $5, $6",
        campaign_id,
        list(unit_codes),
        now,
        what,
        actor,
        reason,
    )


# ---- codes and devices -----------------------------------------------------------------------------------------------


async def keep_codes(
    tx: Transaction, campaign_id: str, unit_codes: Sequence[str], hashes: Sequence[bytes], made_at: datetime
) -> None:
    """From now on these are the units' codes, and their former ones are void."""
    await tx.execute(
        """
        INSERT INTO liaison_code (campaign_id, unit_code, code, made_at)
        SELECT $1, unnest($2::text[]), unnest($3::bytea[]), $4
        ON CONFLICT (campaign_id, unit_code) DO UPDATE SET code = excluded.code, made_at = excluded.made_at
        """,
        campaign_id,
        list(unit_codes),
        list(hashes),
        made_at,
    )


async def unit_of_code(tx: Transaction, code: bytes) -> DeviceUnit | None:
    """The unit whose live code has this hash. The code cannot be replaced or revoked before `tx` ends, so that no device is bound
    by a code that is void already."""
    row = await tx.fetchrow("SELECT campaign_id, unit_code FROM liaison_code WHERE code = $1 FOR SHARE", code)
    return None if row is None else DeviceUnit._make(row)


async def carry_over(tx: Transaction, former: bytes, device: bytes, until: datetime, now: datetime) -> None:
    """Gives a device's units to its new secret; the former one is good until `until`, for requests that are under way with it."""
    units = await tx.fetch(
        "SELECT campaign_id, unit_code, bound_at, ends_at FROM device WHERE device = $1 AND ends_at > $2 FOR UPDATE",
        former,
        now,
    )  # locked first: what is let go meanwhile is not carried over
    await tx.execute(
        "INSERT INTO device (campaign_id, unit_code, bound_at, ends_at, device) "
        "SELECT *, $5::bytea FROM unnest($1::text[], $2::text[], $3::timestamptz[], $4::timestamptz[])",
        *columns(units, 4),
        device,
    )
    await tx.execute("UPDATE device SET ends_at = least(ends_at, $2) WHERE device = $1", former, until)


async def bind(tx: Transaction, device: bytes, unit: DeviceUnit, now: datetime, valid_for: timedelta) -> None:
    await tx.execute(
        """
        INSERT INTO device (device, campaign_id, unit_code, bound_at, ends_at) VALUES ($1, $2, $3, $4, $5)
        ON CONFLICT (device, campaign_id, unit_code) DO UPDATE SET bound_at = excluded.bound_at, ends_at = excluded.ends_at
        """,
        device,
        *unit,
        now,
        now + valid_for,
    )


async def keep_newest(tx: Transaction, unit: DeviceUnit, most: int, now: datetime) -> int:
    """Lets go of the unit's devices beyond the `most` that were bound last; returns how many."""
    return await tx.change(
        """
        DELETE FROM device WHERE campaign_id = $1 AND unit_code = $2 AND device IN (
            SELECT device FROM device WHERE campaign_id = $1 AND unit_code = $2 AND ends_at > $4
            ORDER BY bound_at DESC, device OFFSET $3)
        """,
        *unit,
        most,
        now,
    )


async def units_of_device(tx: Transaction, device: bytes, now: datetime) -> list[DeviceUnit]:
    rows = await tx.fetch(
        "SELECT campaign_id, unit_code FROM device WHERE device = $1 AND ends_at > $2 ORDER BY campaign_id, unit_code",
        device,
        now,
    )
    return [DeviceUnit._make(row) for row in rows]


async def forget_device(tx: Transaction, device: bytes) -> int:
    return await tx.change("DELETE FROM device WHERE device = $1", device)


async def void(tx: Transaction, campaign_id: str, unit_code: str) -> int:
    """Voids the unit's code, then lets go of its devices; returns how many."""
    await tx.execute("DELETE FROM liaison_code WHERE campaign_id = $1 AND unit_code = $2", campaign_id, unit_code)
    # The first may have to wait for a device that just gets a new secret, which only the second then sees.
    return sum([await tx.change(LET_GO, campaign_id, unit_code) for _ in range(2)])


async def reach(tx: Transaction, campaign_id: str, unit_codes: Sequence[str], now: datetime) -> dict[str, Reach]:
    """Which of the units have a live code, and how many devices each."""
    rows = await tx.fetch(
        """
        SELECT unit_code, bool_or(code), sum(devices)::int FROM (
            SELECT unit_code, true AS code, 0 AS devices FROM liaison_code WHERE campaign_id = $1
            UNION ALL
            SELECT unit_code, false, 1 FROM device WHERE campaign_id = $1 AND ends_at > $3
        ) AS either WHERE unit_code = ANY ($2) GROUP BY unit_code
        """,
        campaign_id,
        list(unit_codes),
        now,
    )
    return {unit_code: Reach(has_code, devices) for unit_code, has_code, devices in rows}


# ---- the end ---------------------------------------------------------------------------------------------------------


async def forget_ended_devices(tx: Transaction, now: datetime) -> int:
    return await tx.change("DELETE FROM device WHERE ends_at <= $1", now)


async def forget_campaigns(tx: Transaction, campaign_ids: Sequence[str]) -> int:
    """Forgets the masks, codes and devices of campaigns; returns how many liaisons were forgotten."""
    for table in ("liaison_code", "device"):
        await tx.execute(f"DELETE FROM {table} WHERE campaign_id = ANY ($1)", list(campaign_ids))  # noqa: S608
    return await tx.change(
        "UPDATE liaison SET posts = NULL WHERE campaign_id = ANY ($1) AND posts IS NOT NULL", list(campaign_ids)
    )
