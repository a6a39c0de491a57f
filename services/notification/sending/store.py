"""All SQL of sending. Callers pass rows that are sorted and unique (DESIGN §4.10).

The table `notification` is shared with plans, which write a message until it is sent; sending writes what happens afterwards.
"""

from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import asynccontextmanager
from datetime import datetime
from typing import Any, NamedTuple
from uuid import UUID

from services.notification.channels.domain import Reference
from services.notification.plans.domain import Key
from services.notification.sending.domain import Status
from shared.database import Database, Transaction
from shared.database.columns import columns

Row = Any  # asyncpg.Record

ATTEMPT_MAY_TAKE_S = 90  # a channel is given 30 s, and its answer has to be stored

# --- claiming ---------------------------------------------------------------------------------------------------------


@asynccontextmanager
async def attempt(db: Database) -> AsyncIterator[int]:
    """A number for one call of a channel, locked as long as the block runs. The lock shows that this process lives: Postgres
    frees it the moment the process or its connection is gone. So messages that a crash has left in `sending` are recognised at
    once, without a timeout."""
    async with db.transaction() as guard:
        await guard.may_take(ATTEMPT_MAY_TAKE_S)
        number: int = await guard.fetchval("SELECT nextval('attempt')")
        await guard.fetchval("SELECT pg_advisory_xact_lock(hashtextextended('attempt ' || $1::bigint, 0))", number)
        yield number


async def due(tx: Transaction, channel: str, kinds: Sequence[str], now: datetime) -> list[tuple[str, str]]:
    """The (campaign, kind) pairs, of these kinds only, that have messages to send through this channel."""
    rows = await tx.fetch(
        """
        SELECT campaign_id, due.kind FROM definition CROSS JOIN unnest($1::text[]) AS due (kind) WHERE EXISTS (
            SELECT FROM notification
            WHERE status = 'queued' AND reason IS NULL AND notification.campaign_id = definition.campaign_id
              AND notification.kind = due.kind AND channel = $2 AND due_at <= $3 AND send_until > $3
        ) ORDER BY campaign_id, due.kind
        """,
        list(kinds),
        channel,
        now,
    )
    return [(row["campaign_id"], row["kind"]) for row in rows]


class DueMessage(NamedTuple):
    id: UUID
    key: Key
    due_at: datetime


async def lock_due(
    tx: Transaction,
    campaign_id: str,
    kind: str,
    channel: str,
    *,
    now: datetime,
    after: DueMessage | None,
    limit: int,
) -> list[DueMessage]:
    """Up to `limit` due messages that no other sender has locked; those that were due first come first."""
    rows = await tx.fetch(
        """
        SELECT id, campaign_id, kind, period, recipient, due_at FROM notification
        WHERE status = 'queued' AND reason IS NULL AND campaign_id = $1 AND kind = $2 AND channel = $3
          AND due_at <= $4 AND send_until > $4 AND ($5::timestamptz IS NULL OR (due_at, id) > ($5, $6::uuid))
        ORDER BY due_at, id LIMIT $7 FOR UPDATE SKIP LOCKED
        """,
        campaign_id,
        kind,
        channel,
        now,
        *((after.due_at, after.id) if after else (None, None)),
        limit,
    )
    return [DueMessage(row["id"], key_of(row), row["due_at"]) for row in rows]


async def claim(tx: Transaction, ids: Sequence[UUID], attempt: int, now: datetime) -> None:
    """Stores the intent to send these messages, which `lock_due` has locked."""
    await tx.execute(
        """
        UPDATE notification
        SET status = 'sending', attempts = attempts + 1, attempt = $2, attempted_at = $3, updated_at = $3
        WHERE id = ANY ($1)
        """,
        list(ids),
        attempt,
        now,
    )


# --- outcomes ---------------------------------------------------------------------------------------------------------


async def orphans_become_unknown(tx: Transaction, now: datetime) -> int:
    """Makes messages `unknown` that are `sending` in an attempt whose lock nobody holds any more, after a crash or where the
    channel gave no answer. Returns how many."""
    attempts = await tx.fetch("SELECT DISTINCT attempt FROM notification WHERE status = 'sending'")
    lock = "SELECT pg_try_advisory_xact_lock(hashtextextended('attempt ' || $1::bigint, 0))"
    abandoned = [row["attempt"] for row in attempts if await tx.fetchval(lock, row["attempt"])]
    if not abandoned:
        return 0
    rows = await tx.fetch(
        "UPDATE notification SET status = 'unknown', query_at = $2, updated_at = $2 "
        "WHERE status = 'sending' AND attempt = ANY($1) RETURNING id",
        abandoned,
        now,
    )
    return len(rows)


async def to_query(tx: Transaction, channel: str, now: datetime, limit: int) -> dict[Reference, int]:
    """Messages to ask their channel about, each with the attempt that the answer will be about."""
    rows = await tx.fetch(
        "SELECT campaign_id, kind, id, attempt FROM notification "
        "WHERE status = 'unknown' AND query_at <= $2 AND channel = $1 ORDER BY query_at, id LIMIT $3",
        channel,
        now,
        limit,
    )
    return {Reference(row["campaign_id"], row["kind"], row["id"]): row["attempt"] for row in rows}


async def lock_attempted(tx: Transaction, attempts: Mapping[UUID, int]) -> list[Row]:
    """Locks the notifications whose last attempt is still the given one; a report about an earlier attempt comes too late."""
    return await tx.fetch(
        "SELECT id, status, attempts, campaign_id, kind, period, recipient "
        "FROM notification JOIN unnest($1::uuid[], $2::bigint[]) AS given (id, attempt) "
        "USING (id, attempt) ORDER BY id FOR UPDATE OF notification",
        *columns(sorted(attempts.items()), 2),
    )


def key_of(row: Row) -> Key:
    return Key(row["campaign_id"], row["kind"], row["period"], row["recipient"])


class StatusChange(NamedTuple):
    id: UUID
    status: Status
    reason: str | None
    query_at: datetime | None
    retry_at: datetime | None


async def change_statuses(tx: Transaction, changes: Sequence[StatusChange], now: datetime) -> None:
    """Stores the changes of notifications that `lock_attempted` has locked."""
    await tx.execute(
        """
        UPDATE notification
        SET status = given.status, reason = given.reason, query_at = given.query_at, retry_at = given.retry_at,
            due_at = greatest(due_at, given.retry_at), updated_at = $6
        FROM unnest($1::uuid[], $2::text[], $3::text[], $4::timestamptz[], $5::timestamptz[])
             AS given (id, status, reason, query_at, retry_at)
        WHERE notification.id = given.id
        """,
        *columns(changes, len(StatusChange._fields)),
        now,
    )


async def suppress_expired(tx: Transaction, channels: Sequence[str], now: datetime, limit: int) -> int:
    """Ends up to `limit` messages of these channels that were not sent in time; returns how many. Their reason goes on saying
    what they waited for."""
    rows = await tx.fetch(
        """
        UPDATE notification SET status = 'suppressed', reason = coalesce(reason, 'expired'), updated_at = $1
        WHERE id IN (SELECT id FROM notification WHERE status = 'queued' AND send_until <= $1 AND channel = ANY ($2)
                     ORDER BY id LIMIT $3 FOR UPDATE SKIP LOCKED)
        RETURNING id
        """,
        now,
        list(channels),
        limit,
    )
    return len(rows)


async def distrust_queue(tx: Transaction) -> int:
    """Makes waiting messages `unknown` after a restore: they may have been sent since the backup, so the channel is asked
    first."""
    rows = await tx.fetch(
        """
        UPDATE notification
        SET status = 'unknown', query_at = updated_at, attempts = greatest(attempts, 1),
            attempt = coalesce(attempt, nextval('attempt')), attempted_at = coalesce(attempted_at, updated_at)
        WHERE status IN ('queued', 'sending') AND reason IS NULL RETURNING id
        """
    )
    return len(rows)


# --- reading ----------------------------------------------------------------------------------------------------------


async def counts(tx: Transaction, campaign_id: str, kind: str | None) -> dict[str, int]:
    """Messages of a campaign by status; a status without messages is left out."""
    rows = await tx.fetch(
        "SELECT status, count(*) AS n FROM notification WHERE campaign_id = $1 AND ($2::text IS NULL OR kind = $2) GROUP BY 1",
        campaign_id,
        kind,
    )
    return {row["status"]: row["n"] for row in rows}


async def page(
    tx: Transaction,
    campaign_id: str,
    *,
    kind: str | None,
    status: str | None,
    after: tuple[datetime, UUID] | None,
    limit: int,
) -> list[Row]:
    """Up to `limit` rows, ordered by `due_at` and id, that follow the position `after`."""
    return await tx.fetch(
        """
        SELECT id, kind, period, recipient, channel, status, reason, due_at, attempted_at, updated_at
        FROM notification
        WHERE campaign_id = $1 AND ($2::text IS NULL OR kind = $2) AND ($3::text IS NULL OR status = $3)
          AND ($4::timestamptz IS NULL OR (due_at, id) > ($4, $5::uuid))
        ORDER BY due_at, id LIMIT $6
        """,
        campaign_id,
        kind,
        status,
        *(after or (None, None)),
        limit,
    )


async def all_counts(tx: Transaction) -> list[Row]:
    """Messages by campaign, kind, channel and status."""
    return await tx.fetch(
        "SELECT campaign_id, kind, channel, status, count(*) AS n FROM notification GROUP BY 1, 2, 3, 4"
    )


async def without_channel(tx: Transaction, channels: Sequence[str]) -> dict[str, int]:
    """Channel → how many messages wait for it only because it is none of `channels`."""
    rows = await tx.fetch(
        "SELECT channel, count(*) AS n FROM notification "
        "WHERE status = 'queued' AND reason IS NULL AND channel <> ALL ($1) GROUP BY 1 ORDER BY 1",
        list(channels),
    )
    return {row["channel"]: row["n"] for row in rows}


async def oldest(tx: Transaction, channels: Sequence[str], now: datetime) -> list[Row]:
    """For each channel: since when its oldest message that can be sent is due (None outside `channels`), and since when its
    oldest attempt is unresolved."""
    return await tx.fetch(
        """
        SELECT channel,
               min(due_at) FILTER (
                   WHERE status = 'queued' AND reason IS NULL AND due_at <= $1 AND channel = ANY ($2)) AS due_since,
               min(attempted_at) FILTER (WHERE status IN ('sending', 'unknown')) AS unresolved_since
        FROM notification WHERE (status = 'queued' AND reason IS NULL) OR status IN ('sending', 'unknown') GROUP BY 1
        """,
        now,
        list(channels),
    )
