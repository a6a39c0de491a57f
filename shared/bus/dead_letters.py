"""Messages that no retry can fix: parked with their reason, listed, replayed on request (DESIGN §4.7).

The payload is kept only where it satisfied its contract, so a parked row never holds a name, a phone or an unknown field. A
message without a payload comes back from its producer's ledger: correct the cause, then run `fanzha outbox republish`.
"""

from collections.abc import Awaitable, Callable
from datetime import datetime
from typing import Any

import structlog

from shared.contracts.base import Event
from shared.database import Database, Transaction
from shared.failures import ParkedMessage, Poison

log = structlog.get_logger()

REPLAYS_MAX = 100  # parked messages handled again in one go
REASON_MAX_CHARS = 500

Replay = Callable[[str, bytes], Awaitable[None]]


class DeadLetters:
    """The service's tables of messages that no retry can fix (shared/bus/brake.py)."""

    def __init__(self, db: Database) -> None:
        self._db = db

    async def park(self, message: ParkedMessage) -> None:
        async with self._db.transaction() as tx:
            await park(tx, message)

    async def hold(self, message: ParkedMessage) -> bool:
        async with self._db.transaction() as tx:
            may_park = await tx.fetchval(
                """
                INSERT INTO held_message AS h (durable, stream_seq, reason) VALUES ($1, $2, $3)
                ON CONFLICT (durable) DO UPDATE SET
                    stream_seq = excluded.stream_seq, reason = excluded.reason, may_park = greatest(h.may_park - 1, 0),
                    held_since = CASE WHEN h.stream_seq = excluded.stream_seq THEN h.held_since ELSE now() END
                RETURNING coalesce(old.may_park, 0) > 0
                """,
                message.durable,
                message.stream_seq,
                message.reason[:REASON_MAX_CHARS],
            )
            if may_park:
                await park(tx, message)
        return bool(may_park)

    async def holds(self, durable: str) -> bool:
        async with self._db.transaction() as tx:
            return bool(await tx.fetchval("SELECT EXISTS (SELECT FROM held_message WHERE durable = $1)", durable))

    async def release(self, durable: str) -> None:
        async with self._db.transaction() as tx:
            await tx.execute("DELETE FROM held_message WHERE durable = $1", durable)


async def held(tx: Transaction) -> list[dict[str, Any]]:
    """The consumers that have stopped at a message which they cannot understand."""
    rows = await tx.fetch(
        "SELECT durable, stream_seq, reason, held_since::text, may_park FROM held_message ORDER BY durable"
    )
    return [dict(row) for row in rows]


async def let_park(tx: Transaction, durable: str, number: int) -> bool:
    """Allows a consumer that has stopped to park this many of its next messages. Returns False where it has not stopped."""
    sql = "UPDATE held_message SET may_park = $2 WHERE durable = $1 RETURNING true"
    return bool(await tx.fetchval(sql, durable, number))


async def park(tx: Transaction, message: ParkedMessage) -> None:
    """Keeps one message; the same message again for the same durable is the same row, with the newest reason."""
    event = message.event
    await tx.execute(
        """
        INSERT INTO dead_letter (durable, subject, stream_seq, event_id, reason, message_key, payload)
        VALUES ($1, $2, $3, $4, $5, $6, $7)
        ON CONFLICT (durable, message_key) DO UPDATE
        SET reason = excluded.reason, parked_at = now(), replay_requested_at = NULL, replayed_at = NULL
        """,
        message.durable,
        message.subject,
        message.stream_seq,
        message.event_id,
        message.reason[:REASON_MAX_CHARS],
        message_key(message.subject, message.stream_seq, message.body, event),
        event.model_dump_json().encode() if event else None,
    )


def message_key(subject: str, stream_seq: int, body: bytes, event: Event | None) -> str:
    """Identifies a message among those of its durable: the event's id, or the place in the stream of a body that is no event.

    No digest of the body is used, because it would give away a phone in it. A stream that was made anew counts from 1 again; the
    body's length then still tells most messages apart.
    """
    return str(event.event_id) if event else f"{subject} {stream_seq} {len(body)}"


async def listed(tx: Transaction) -> list[dict[str, Any]]:
    """Parked messages neither replayed nor closed, oldest first, without their payload."""
    rows = await tx.fetch(
        "SELECT id, durable, subject, stream_seq, event_id::text, reason, parked_at::text, payload IS NOT NULL AS replayable, "
        "replay_requested_at::text FROM dead_letter WHERE replayed_at IS NULL ORDER BY id"
    )
    return [dict(row) for row in rows]


async def request_replay(tx: Transaction, ids: list[int] | None) -> int:
    """Asks the running service to handle these parked messages (None: all) again; returns how many can be."""
    return len(
        await tx.fetch(
            "UPDATE dead_letter SET replay_requested_at = now() WHERE replayed_at IS NULL AND payload IS NOT NULL "
            "AND ($1::bigint[] IS NULL OR id = ANY($1)) RETURNING id",
            ids,
        )
    )


async def counted(tx: Transaction) -> dict[str, int]:
    """How many are on the list, by durable."""
    rows = await tx.fetch("SELECT durable, count(*) AS n FROM dead_letter WHERE replayed_at IS NULL GROUP BY 1")
    return {row["durable"]: row["n"] for row in rows}


async def close(tx: Transaction, ids: list[int], why: str) -> list[int]:
    """Takes messages off the list that were dealt with in another way, such as sent again by their sender. Returns the numbers it
    closed and ignores those that are not on the list. The rows stay; the reason for closing stands before the reason for
    parking."""
    closed = await tx.fetch(
        "UPDATE dead_letter SET replayed_at = now(), replay_requested_at = NULL, "
        "reason = left('closed: ' || $2::text || '; ' || reason, $3::int) "
        "WHERE id = ANY($1::bigint[]) AND replayed_at IS NULL RETURNING id",
        ids,
        why,
        REASON_MAX_CHARS,
    )
    return [row["id"] for row in closed]


class Replays:
    """Handles parked messages again whose replay was requested. Handlers apply an event once, so a second replay changes
    nothing."""

    def __init__(self, db: Database, handle: Replay) -> None:
        self._db = db
        self._handle = handle

    async def run(self, _: datetime) -> int:
        async with self._db.transaction() as tx:
            rows = await tx.fetch(
                "SELECT id, durable, payload FROM dead_letter WHERE replay_requested_at IS NOT NULL "
                "AND replayed_at IS NULL ORDER BY id LIMIT $1",
                REPLAYS_MAX,
            )
        for row in rows:
            await self._replay(row["id"], row["durable"], bytes(row["payload"]))
        return len(rows)

    async def _replay(self, row_id: int, durable: str, payload: bytes) -> None:
        try:
            await self._handle(durable, payload)
        except Poison as error:
            await self._update(row_id, "replay_requested_at = NULL, reason = $2", str(error)[:REASON_MAX_CHARS])
        else:
            await self._update(row_id, "replayed_at = now()")
            log.info("dead letter replayed", durable=durable, id=row_id)

    async def _update(self, row_id: int, assignments: str, *values: Any) -> None:
        async with self._db.transaction() as tx:
            await tx.execute(f"UPDATE dead_letter SET {assignments} WHERE id = $1", row_id, *values)  # noqa: S608
