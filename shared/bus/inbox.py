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

    A transaction costs its round trips and its fsync whatever it holds. Awaiting the object with an event returns once that has
    been applied. `apply(tx, events)` gets events that were not applied before, in any order; what it raises is one event's doing,
    so after an error each is tried on its own.
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
        own = _Turn(event)
        self._waiting.append(own)
        try:
            async with self._one_at_a_time:
                if not own.applied:
                    await self._take(own)
        finally:
            if own in self._waiting:
                self._waiting.remove(own)

    async def _take(self, own: _Turn[EventT]) -> None:
        """Applies what waits, and in any case `own`. Who waits no more was in a group that failed, and goes alone."""
        if own in self._waiting and len(self._waiting) > 1:
            group, self._waiting = self._waiting, []
            try:
                await self._commit(group)
            except DatabaseAway:
                raise
            except Exception:  # noqa: S110 - raised again by the event whose doing it is
                pass
            else:
                return
        await self._commit([own])

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
    """Events that the durable has applied, in the order of their ids, from behind `after`."""
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
    """As if the durable had never seen these events: for ones that never were (upkeep/repair.py)."""
    await tx.execute("DELETE FROM inbox WHERE durable = $1 AND event_id = ANY($2::uuid[])", durable, event_ids)
