"""A change and its event commit together; a relay publishes the event right after, a sweep those that a crash left (DESIGN §4.2).

`outbox` is the ledger and is only ever inserted into. `outbox_pending` names what has not been acknowledged by NATS: its rows
are deleted after publishing, and putting all of them back (`republish_all`) rebuilds a lost stream.
"""

import asyncio
from collections.abc import Iterable, Sequence
from functools import partial
from typing import Protocol
from uuid import UUID

import structlog

from shared.bus.outgoing import Outgoing
from shared.contracts.base import Event
from shared.database import Database, DatabaseAway, Transaction
from shared.database.columns import columns

log = structlog.get_logger()

QUEUE_MAX = 2_000  # events waiting in memory (≤ 80 MB); beyond that the sweep finds them in the table
PUBLISHES_IN_FLIGHT_MAX = 32  # one fsync each at the server: they overlap
SWEEP_EVERY_S = 1.0
SWEEP_AGE_S = 2.0  # younger rows are still on their way through the queue
SWEEP_ROWS_MAX = 200
SWEEP_MAY_TAKE_S = 60  # NATS may let every publish run into its time limit: 200 rows / 32 at a time × 5 s


class Publisher(Protocol):
    """Publishes to JetStream and returns when the server has stored it; raises otherwise."""

    @property
    def connected(self) -> bool: ...

    async def publish(self, subject: str, payload: bytes, *, event_id: UUID, occurred_at_ms: int) -> None: ...


async def add(tx: Transaction, *events: Event) -> None:
    """Stores events in the ledger, in this transaction; they are published once it has committed."""
    await add_outgoing(tx, [Outgoing.of(event) for event in events])


async def add_outgoing(tx: Transaction, outgoing: Sequence[Outgoing]) -> None:
    """As `add`, for events that a hot path has encoded itself."""
    if not outgoing:
        return
    await tx.execute(
        """
        WITH ledger AS (
            INSERT INTO outbox (event_id, subject, campaign_id, occurred_at, payload)
            SELECT * FROM unnest($1::uuid[], $2::text[], $3::text[], $4::timestamptz[], $5::bytea[])
            RETURNING event_id
        )
        INSERT INTO outbox_pending (event_id) SELECT event_id FROM ledger
        """,
        *columns(outgoing, len(Outgoing._fields)),
    )
    if (relay := tx.attached.get(Relay)) is not None:
        tx.on_commit(partial(relay.enqueue, outgoing))


async def pending(tx: Transaction) -> tuple[int, float]:
    """How many events wait to be published, and for how many seconds the oldest has waited."""
    row = await tx.fetchrow(
        "SELECT count(*) AS depth, coalesce(extract(epoch FROM now() - min(since)), 0)::float8 AS age FROM outbox_pending"
    )
    assert row is not None  # noqa: S101 - an aggregate always has a row
    return row["depth"], row["age"]


async def republish_all(tx: Transaction) -> int:
    """Marks the whole ledger as pending again; the running relays publish it. Consumers ignore events that they have applied."""
    return await tx.change(
        "INSERT INTO outbox_pending (event_id, since) SELECT event_id, '-infinity' FROM outbox ORDER BY event_id "
        "ON CONFLICT DO NOTHING"
    )


async def unknown(tx: Transaction, event_ids: Sequence[UUID]) -> list[UUID]:
    """Returns those of the events that the ledger does not have. Nothing is ever deleted from it, not even by an erasure: a
    consumer that applied an event which is missing here has applied something that was never committed, or that a restore took
    back."""
    rows = await tx.fetch(
        # One subquery per id, so that Postgres uses the index however many ids it expects.
        "SELECT event_id FROM unnest($1::uuid[]) AS given (event_id) "
        "WHERE (SELECT true FROM outbox WHERE outbox.event_id = given.event_id) IS NULL",
        event_ids,
    )
    return [row["event_id"] for row in rows]


async def counted(tx: Transaction) -> dict[str, int]:
    """Events in the ledger by subject. Reads the whole table."""
    return {row["subject"]: row["n"] for row in await tx.fetch("SELECT subject, count(*) AS n FROM outbox GROUP BY 1")}


class Relay:
    """Publishes committed events. Any number of replicas may run one: rows are taken with SKIP LOCKED."""

    def __init__(
        self,
        db: Database,
        publisher: Publisher,
        *,
        queue_max: int = QUEUE_MAX,
        sweep_every_s: float = SWEEP_EVERY_S,
        sweep_age_s: float = SWEEP_AGE_S,
    ) -> None:
        self._db = db
        self._publisher = publisher
        self._queue: asyncio.Queue[Outgoing] = asyncio.Queue(queue_max)
        self._sweep_every_s = sweep_every_s
        self._sweep_age_s = sweep_age_s
        self._slots = asyncio.Semaphore(PUBLISHES_IN_FLIGHT_MAX)
        db.attached[Relay] = self

    async def run(self) -> None:
        """Runs until cancelled."""
        async with asyncio.TaskGroup() as tasks:
            tasks.create_task(self._drain())
            tasks.create_task(self._sweep_for_ever())

    def enqueue(self, outgoing: Sequence[Outgoing]) -> None:
        """Publishes committed events soon; what does not fit into the queue is left to the sweep."""
        for event in outgoing:
            try:
                self._queue.put_nowait(event)
            except asyncio.QueueFull:
                return  # the sweep will find it

    async def _drain(self) -> None:
        while True:
            batch = [await self._queue.get()]
            while not self._queue.empty() and len(batch) < PUBLISHES_IN_FLIGHT_MAX:
                batch.append(self._queue.get_nowait())
            if self._publisher.connected:
                published = await self._publish(batch)
                await self._forget(published)

    async def _sweep_for_ever(self) -> None:
        while True:
            try:
                while self._publisher.connected and await self.sweep():
                    pass
            except DatabaseAway as error:
                log.warning("outbox sweep waits for the database", error=str(error))
            except Exception:
                log.exception("outbox sweep failed; it will run again")
            await asyncio.sleep(self._sweep_every_s)

    async def sweep(self) -> int:
        """Publishes up to `SWEEP_ROWS_MAX` overdue rows; returns how many."""
        async with self._db.transaction() as tx:
            await tx.may_take(SWEEP_MAY_TAKE_S)
            rows = await tx.fetch(
                """
                WITH overdue AS (
                    SELECT event_id FROM outbox_pending WHERE since < now() - make_interval(secs => $1)
                    ORDER BY event_id LIMIT $2 FOR UPDATE SKIP LOCKED
                )
                SELECT event_id, subject, campaign_id, occurred_at, payload FROM overdue JOIN outbox USING (event_id)
                """,
                self._sweep_age_s,
                SWEEP_ROWS_MAX,
            )
            published = await self._publish([Outgoing(*row) for row in rows])
            await _delete_pending(tx, published)
        return len(published)

    async def _publish(self, batch: Sequence[Outgoing]) -> list[UUID]:
        outcomes = await asyncio.gather(*(self._publish_one(event) for event in batch))
        return [event_id for event_id in outcomes if event_id is not None]

    async def _publish_one(self, event: Outgoing) -> UUID | None:
        async with self._slots:
            try:
                await self._publisher.publish(
                    event.subject,
                    event.payload,
                    event_id=event.event_id,
                    occurred_at_ms=int(event.occurred_at.timestamp() * 1000),
                )
            except Exception as error:
                log.warning("publish failed; the sweep will repeat it", subject=event.subject, error=repr(error))
                return None
        return event.event_id

    async def _forget(self, published: Iterable[UUID]) -> None:
        """Removes marks without waiting for the disk: if a crash brings one back, its event is published twice, which consumers
        ignore."""
        try:
            async with self._db.transaction() as tx:
                await tx.execute("SET LOCAL synchronous_commit = off")
                await _delete_pending(tx, published)
        except Exception as error:
            log.warning("published events stay marked; the sweep will repeat them", error=repr(error))


async def _delete_pending(tx: Transaction, event_ids: Iterable[UUID]) -> None:
    if ids := sorted(event_ids):
        await tx.execute("DELETE FROM outbox_pending WHERE event_id = ANY($1::uuid[])", ids)
