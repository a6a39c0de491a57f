"""Forgetting people (DESIGN §4.8): what an erasure does to the tables that every service has, and the record it leaves.

An account is not deleted but renamed, everywhere to the same random name that leads back to nobody, so that sums, certificates
and the ledger go on agreeing. The platform's ids of its events are renamed too, because they may hold the account. What was
sealed for the account in the ledger is taken out. The event's class says which fields these are (`PERSONAL`, `SEALED`). The
record says who did what when, and to how many rows, but never to whom.
"""

import hashlib
import json
import secrets
from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from datetime import datetime
from typing import Any, NamedTuple

from shared.contracts.base import ColumnEvent, Event, SealedColumn
from shared.contracts.registry import BY_SUBJECT
from shared.database import Transaction
from shared.database.columns import columns
from shared.people.sealing import is_sealed_for

ERASED_PREFIX = "erased-"
EVENT_HASH_CHARS = 12
PAGE_ROWS = 200  # of up to 256 KiB
BOXES = b'"boxes":'  # in every event that has a `SealedColumn`

Rewrite = Callable[[type[Event], bytes], bytes]


class CannotForget(Exception):
    """Nothing was changed; the text says what is missing (zh-Hans)."""


class NewName(NamedTuple):
    """An account's new name, and the key by which the ids of its events are renamed. Both are random; the key is kept nowhere, so
    that nobody who knows or guesses an old id can find its new one."""

    account: str
    key: bytes  # 32


def new_name() -> NewName:
    return NewName(ERASED_PREFIX + secrets.token_hex(12), secrets.token_bytes(32))


def event_name(name: NewName, event_id: str) -> str:
    """The new name of the platform's id of an erased account's event. It is no HMAC, because Postgres computes it too and has
    none; the digest is cut short, so nobody can lengthen it."""
    return f"{name.account}-{hashlib.sha256(name.key + event_id.encode()).hexdigest()[:EVENT_HASH_CHARS]}"


def event_name_sql(column: str) -> str:
    """`event_name` in SQL, where $3 is the account's new name and $4 the key."""
    return f"$3 || '-' || left(encode(sha256($4::bytea || convert_to({column}, 'UTF8')), 'hex'), {EVENT_HASH_CHARS})"


def without_viewer(contract: type[Event], payload: bytes, viewer_id: str, name: NewName) -> bytes:
    """A column event in which the viewer's rows stand under another name, with nothing sealed in them. Events that name no viewer
    stay as they are."""
    if not issubclass(contract, ColumnEvent) or not contract.PERSONAL:
        return payload
    account, *event_ids = contract.PERSONAL
    event = json.loads(payload)
    for row in [row for row, viewer in enumerate(event[account]) if viewer == viewer_id]:
        event[account][row] = name.account
        for field in event_ids:
            event[field][row] = event_name(name, event[field][row])
        for field in contract.SEALED:
            if event.get(field):
                event[field]["boxes"][row] = None
    return _encoded(event)


def without_unit(contract: type[Event], payload: bytes, unit_code: str) -> bytes:
    """An event about units in which nothing is sealed in the unit's rows; the rows stay."""
    if contract.PERSONAL or not contract.SEALED:
        return payload
    event = json.loads(payload)
    for row in [row for row, unit in enumerate(event["unit_codes"]) if unit == unit_code]:
        for field in contract.SEALED:
            if event.get(field):
                event[field]["boxes"][row] = None
    return _encoded(event)


def without_secrets(contract: type[Event], payload: bytes) -> bytes:
    """The event with everything sealed taken out: its facts stay, the names and phones are gone."""
    event = json.loads(payload)
    return _encoded({key: None if key in contract.SEALED else value for key, value in event.items()})


def sealed_in(contract: type[Event], payload: bytes) -> list[SealedColumn]:
    event = json.loads(payload)
    return [SealedColumn.model_validate(event[field]) for field in contract.SEALED if event.get(field)]


def _encoded(event: dict[str, Any]) -> bytes:
    return json.dumps(event, ensure_ascii=False, separators=(",", ":")).encode()


async def forget_in_ledger(tx: Transaction, campaign_id: str, viewer_id: str, name: NewName) -> int:
    """Rewrites what the service has published and parked about a viewer; otherwise the ledger is never changed."""
    rewrite: Rewrite = lambda contract, payload: without_viewer(contract, payload, viewer_id, name)  # noqa: E731
    return await _rewrite(tx, campaign_id, f'"{viewer_id}"'.encode(), rewrite)


async def forget_unit_in_ledger(tx: Transaction, campaign_id: str, unit_code: str) -> int:
    """Takes what is sealed about a unit's people out of what the service has published and parked."""
    return await _rewrite(
        tx,
        campaign_id,
        BOXES,
        lambda contract, payload: without_unit(contract, payload, unit_code),
    )


async def forget_sealed_in_ledger(tx: Transaction, campaign_id: str) -> int:
    """Takes everything sealed out of what the service has published and parked about a campaign."""
    return await _rewrite(tx, campaign_id, BOXES, without_secrets)


async def sealed_under(tx: Transaction, campaign_id: str, private_keys: Mapping[str, str]) -> int:
    """Counts the sealed boxes in the service's published events of a campaign that one of these keys (recipient → base64)
    opens."""
    number = 0
    async for rows in _pages(tx, campaign_id, BOXES):
        for row in rows:
            for column in sealed_in(_contract(row["subject"]), row["payload"]):
                if any(is_sealed_for(column, name, key) for name, key in private_keys.items()):
                    number += sum(box is not None for box in column.boxes)
    return number


def _contract(subject: str) -> type[Event]:
    """The event's class. Raises `CannotForget` for an unknown event: only the newer version that knows it can tell what is
    personal."""
    try:
        return BY_SUBJECT[subject]
    except KeyError:
        raise CannotForget(f"账本里有本程序不认识的事件 {subject}，由更新的版本写下：请用那个版本运行") from None


async def _pages(tx: Transaction, campaign_id: str, containing: bytes) -> AsyncIterator[Sequence[Any]]:
    """The ledger's rows about a campaign that contain these bytes."""
    after: Any = None
    while True:
        rows = await tx.fetch(
            "SELECT event_id, subject, payload FROM outbox WHERE campaign_id = $1 AND ($2::uuid IS NULL OR event_id > $2) "
            "AND position($3::bytea IN payload) > 0 ORDER BY event_id LIMIT $4",
            campaign_id,
            after,
            containing,
            PAGE_ROWS,
        )
        if not rows:
            return
        after = rows[-1]["event_id"]
        yield rows


async def _rewrite(tx: Transaction, campaign_id: str, containing: bytes, rewrite: Rewrite) -> int:
    changed = 0
    async for rows in _pages(tx, campaign_id, containing):
        changed += await _update(tx, "outbox", "event_id", "uuid", rows, rewrite)
    parked = await tx.fetch(
        "SELECT id, subject, payload FROM dead_letter "
        "WHERE position($1::bytea IN payload) > 0 AND position($2::bytea IN payload) > 0",
        containing,
        f'"{campaign_id}"'.encode(),
    )
    return changed + await _update(tx, "dead_letter", "id", "bigint", parked, rewrite)


async def _update(tx: Transaction, table: str, key: str, kind: str, rows: Sequence[Any], rewrite: Rewrite) -> int:
    rewritten = [(row[key], row["payload"], rewrite(_contract(row["subject"]), row["payload"])) for row in rows]
    new = [(row_id, after) for row_id, before, after in rewritten if after != before]
    if new:
        await tx.execute(
            f"UPDATE {table} SET payload = given.payload "  # noqa: S608 - names from above
            f"FROM unnest($1::{kind}[], $2::bytea[]) AS given (id, payload) WHERE {table}.{key} = given.id",
            *columns(new, 2),
        )
    return len(new)


async def rename_actor(tx: Transaction, table: str, column: str, name: str, replacement: str) -> int:
    """Puts something else in place of a name in the column that says who did something; returns how many rows."""
    sql = f"UPDATE {table} SET {column} = $2 WHERE {column} = $1"  # noqa: S608 - names of the code
    return await tx.change(sql, name, replacement)


# ---- the record ------------------------------------------------------------------------------------------------------


async def record(
    tx: Transaction, *, kind: str, campaign_id: str | None, actor: str, counts: dict[str, int], now: datetime
) -> None:
    """Records an erasure; the row is kept for ever and holds nobody's data. `kind`: viewer, campaign, person, or retention."""
    await tx.execute(
        "INSERT INTO erasure (erased_at, kind, campaign_id, actor, counts) VALUES ($1, $2, $3, $4, $5)",
        now,
        kind,
        campaign_id,
        actor,
        json.dumps(counts, sort_keys=True),
    )


async def record_retention(tx: Transaction, counts: dict[str, int], now: datetime) -> None:
    """Records what a retention job has deleted: one row a day, however often it ran."""
    await tx.execute(
        """
        INSERT INTO erasure (erased_at, kind, actor, counts) VALUES ($1, 'retention', 'retention', $2)
        ON CONFLICT (((erased_at AT TIME ZONE 'UTC')::date)) WHERE kind = 'retention' DO UPDATE
        SET erased_at = excluded.erased_at, counts = (
            SELECT jsonb_object_agg(what, coalesce((erasure.counts->>what)::bigint, 0)
                                        + coalesce((excluded.counts->>what)::bigint, 0))
            FROM jsonb_object_keys(erasure.counts || excluded.counts) AS what)
        """,
        now,
        json.dumps(counts, sort_keys=True),
    )


async def recorded(tx: Transaction, limit: int) -> list[dict[str, Any]]:
    """Up to `limit` records, the newest first."""
    rows = await tx.fetch(
        "SELECT erased_at::text, kind, campaign_id, actor, counts::text FROM erasure ORDER BY erased_at DESC, id DESC LIMIT $1",
        limit,
    )
    return [dict(row) | {"counts": json.loads(row["counts"])} for row in rows]
