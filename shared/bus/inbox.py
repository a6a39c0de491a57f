"""Every consumer applies an event once: the inbox row commits with the effect (DESIGN §4.4)."""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable, Collection, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import Generic, TypeVar
from uuid import UUID

import asyncpg

from shared.contracts.base import Event
from shared.database import Database, DatabaseAway, Transaction
from shared.failures import Poison

EventT = TypeVar("EventT", bound=Event)


@asynccontextmanager
async def apply_once(db: Database, durable: str, event: Event) -> AsyncIterator[Transaction | None]:
    """The transaction to apply `event` in, or None where this durable has applied it before.

    A concurrent delivery of the same event waits here for the other's commit, and then gets None. Values that Postgres cannot
    hold raise `Poison`.
    """
    async with _transaction(db) as tx:
        yield tx if await _first_time(tx, durable, [event.event_id]) else None


@dataclass(eq=False)
class _Turn(Generic[EventT]):
    event: EventT
    applied: bool = False


class ApplyTogether(Generic[EventT]):
    """As `apply_once`, for events of which many come at a time: those that wait while a transaction runs share the next one.

    A transaction costs its round trips and its fsync however many events it holds. `await together(event)` returns when that
    event has been applied. `apply(tx, events)` gets only events that were not applied before, in any order. If it raises, one of
    the events is to blame, so each of them is then tried in a transaction by itself.
    """

    def __init__(
        self, db: Database, durable: str, apply: Callable[[Transaction, Sequence[EventT]], Awaitable[None]]
    ) -> None:
        self._db = db
        self._durable = durable
        self._apply = apply
        self._waiting: list[_Turn[EventT]] = []
        self._one_at_a_time = asyncio.Lock()

    async def __call__(self, event: EventT) -> None:
        turn = _Turn(event)
        self._waiting.append(turn)
        try:
            async with self._one_at_a_time:
                if not turn.applied:
                    await self._take(turn)
        finally:
            if turn in self._waiting:
                self._waiting.remove(turn)

    async def _take(self, turn: _Turn[EventT]) -> None:
        """Applies the events that wait, `turn` among them. If `turn` no longer waits, its group has failed, and it is applied
        alone."""
        if turn in self._waiting and len(self._waiting) > 1:
            group, self._waiting = self._waiting, []
            try:
                await self._commit(group)
            except DatabaseAway:
                raise
            except Exception:  # noqa: S110 - the event that caused it raises it again, alone
                pass
            else:
                return
        await self._commit([turn])

    async def _commit(self, group: Sequence[_Turn[EventT]]) -> None:
        events = {turn.event.event_id: turn.event for turn in group}
        async with _transaction(self._db) as tx:
            new = await _first_time(tx, self._durable, events)
            if new:
                await self._apply(tx, [event for event_id, event in events.items() if event_id in new])
        for turn in group:
            turn.applied = True


@asynccontextmanager
async def _transaction(db: Database) -> AsyncIterator[Transaction]:
    try:
        async with db.transaction() as tx:
            yield tx
    except asyncpg.DataError as error:  # such as NUL in a text: Postgres will never take it
        raise Poison(f"the database refuses a value: {type(error).__name__}") from error


async def _first_time(tx: Transaction, durable: str, event_ids: Collection[UUID]) -> set[UUID]:
    rows = await tx.fetch(
        "INSERT INTO inbox (durable, event_id) SELECT $1, * FROM unnest($2::uuid[]) "
        "ON CONFLICT DO NOTHING RETURNING event_id",
        durable,
        sorted(event_ids),
    )
    return {row[0] for row in rows}


# ---- what was applied ------------------------------------------------------------------------------------------------


async def applied(tx: Transaction, durable: str, after: UUID | None, limit: int) -> list[UUID]:
    """Ids of up to `limit` events that the durable has applied: those larger than `after` (None: from the first), in order."""
    rows = await tx.fetch(
        "SELECT event_id FROM inbox WHERE durable = $1 AND ($2::uuid IS NULL OR event_id > $2) ORDER BY event_id LIMIT $3",
        durable,
        after,
        limit,
    )
    return [row["event_id"] for row in rows]


async def counted(tx: Transaction) -> dict[str, int]:
    """Events applied by durable. Reads the whole table."""
    return {row["durable"]: row["n"] for row in await tx.fetch("SELECT durable, count(*) AS n FROM inbox GROUP BY 1")}


async def forget(tx: Transaction, durable: str, event_ids: Sequence[UUID]) -> None:
    """Makes the durable forget that it applied these events, which no ledger has (upkeep/repair.py)."""
    await tx.execute("DELETE FROM inbox WHERE durable = $1 AND event_id = ANY($2::uuid[])", durable, event_ids)
