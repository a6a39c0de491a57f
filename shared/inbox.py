"""Every consumer applies an event once: the inbox row commits with the effect (DESIGN §4.4)."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from uuid import UUID

import asyncpg

from shared.contracts.base import Event
from shared.db import Database, Transaction
from shared.failures import Poison


@asynccontextmanager
async def apply_once(db: Database, durable: str, event: Event) -> AsyncIterator[Transaction | None]:
    """The transaction to apply `event` in, or None where this durable has applied it before.

    A concurrent delivery of the same event waits here for the other's commit, and then gets None. Values that Postgres cannot
    hold raise `Poison`.
    """
    try:
        async with db.transaction() as tx:
            yield tx if await _first_time(tx, durable, event.event_id) else None
    except asyncpg.DataError as error:  # such as NUL in a text: Postgres will never take it
        raise Poison(f"the database refuses a value: {type(error).__name__}") from error


async def _first_time(tx: Transaction, durable: str, event_id: UUID) -> bool:
    row = await tx.fetchrow(
        "INSERT INTO inbox (durable, event_id) VALUES ($1, $2) ON CONFLICT DO NOTHING RETURNING event_id",
        durable,
        event_id,
    )
    return row is not None
