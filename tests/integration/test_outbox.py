"""What is committed is published, whatever dies in between (DESIGN §4.2): on a real Postgres and a real nats-server."""

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from datetime import UTC, datetime
from pathlib import Path
from uuid import UUID

import pytest

from shared.bus import Bus, outbox
from shared.contracts.certificate import CertificateClaimedV1
from shared.database import Database
from shared.ids import new_event_id
from tests.support.databases import DatabaseFactory
from tests.support.nats_support import RunningNats, eventually


class RecordingPublisher:
    """A bus that remembers; `refuse` decides which publishes fail."""

    connected = True

    def __init__(self) -> None:
        self.published: list[UUID] = []
        self.refuse: Callable[[UUID], bool] = lambda _: False

    async def publish(self, subject: str, payload: bytes, *, event_id: UUID, occurred_at_ms: int) -> None:
        if self.refuse(event_id):
            raise TimeoutError
        self.published.append(event_id)


@pytest.fixture
async def db(database: DatabaseFactory) -> AsyncIterator[Database]:
    opened = Database((await database("certificate")).url, pool_size=4)
    yield opened
    await opened.close()


def events(count: int) -> list[CertificateClaimedV1]:
    now = datetime(2024, 7, 14, 12, tzinfo=UTC)
    return [
        CertificateClaimedV1(
            event_id=new_event_id(), occurred_at=now, campaign_id="c", viewer_ids=["v"], serials=["s"], claimed_at=[now]
        )
        for _ in range(count)
    ]


async def commit(db: Database, count: int) -> list[UUID]:
    added = events(count)
    async with db.transaction() as tx:
        await outbox.add(tx, *added)
    return [event.event_id for event in added]


async def pending(db: Database) -> int:
    async with db.transaction() as tx:
        return (await outbox.pending(tx))[0]


async def nothing_pending(db: Database) -> bool:
    return await pending(db) == 0


async def make_overdue(db: Database) -> None:
    async with db.transaction() as tx:
        await tx.execute("UPDATE outbox_pending SET since = '-infinity'")


@asynccontextmanager
async def running(relay: outbox.Relay) -> AsyncIterator[None]:
    task = asyncio.create_task(relay.run())
    yield
    task.cancel()
    await asyncio.gather(task, return_exceptions=True)


async def test_publishes_right_after_the_commit_and_forgets_the_mark(db: Database) -> None:
    publisher = RecordingPublisher()
    async with running(outbox.Relay(db, publisher)):
        ids = await commit(db, 3)
        await eventually(lambda: sorted(publisher.published) == ids)
        await eventually(lambda: nothing_pending(db))


async def test_what_a_crash_left_is_found_by_the_sweep(db: Database) -> None:
    ids = await commit(db, 3)  # no relay ran: the process died after the commit
    publisher = RecordingPublisher()
    await make_overdue(db)
    assert await outbox.Relay(db, publisher).sweep() == 3
    assert (sorted(publisher.published), await pending(db)) == (ids, 0)


async def test_the_sweep_leaves_what_is_still_on_its_way(db: Database) -> None:
    await commit(db, 1)
    assert await outbox.Relay(db, RecordingPublisher()).sweep() == 0


async def test_a_failed_publish_stays_and_the_others_go(db: Database) -> None:
    ids = await commit(db, 3)
    publisher = RecordingPublisher()
    publisher.refuse = lambda event_id: event_id == ids[1]
    await make_overdue(db)
    assert await outbox.Relay(db, publisher).sweep() == 2
    assert await pending(db) == 1
    publisher.refuse = lambda _: False
    assert await outbox.Relay(db, publisher).sweep() == 1
    assert sorted(publisher.published) == ids


async def test_two_replicas_share_a_sweep(db: Database) -> None:
    ids = await commit(db, 300)
    await make_overdue(db)
    publisher = RecordingPublisher()
    await asyncio.gather(*(outbox.Relay(db, publisher).sweep() for _ in range(2)))
    await outbox.Relay(db, publisher).sweep()
    assert sorted(publisher.published) == ids  # each once


async def test_republish_marks_the_whole_ledger_and_can_be_repeated(db: Database) -> None:
    ids = await commit(db, 3)
    publisher = RecordingPublisher()
    relay = outbox.Relay(db, publisher)
    await make_overdue(db)
    await relay.sweep()
    async with db.transaction() as tx:
        assert await outbox.republish_all(tx) == 3
        assert await outbox.republish_all(tx) == 0
    assert await relay.sweep() == 3
    assert sorted(publisher.published) == sorted(ids * 2)


async def test_more_than_memory_holds_is_left_to_the_sweep(db: Database) -> None:
    publisher = RecordingPublisher()
    relay = outbox.Relay(db, publisher, queue_max=2, sweep_every_s=0.05, sweep_age_s=0)
    ids = await commit(db, 20)
    async with running(relay):
        await eventually(lambda: sorted(set(publisher.published)) == ids)
        await eventually(lambda: nothing_pending(db))


async def test_nats_down_and_up_again_and_then_lost_altogether(db: Database, tmp_path: Path) -> None:
    """Commits go on without NATS; afterwards the stream has every event once; a deleted stream is built again."""
    server = RunningNats(tmp_path)
    await server.start()
    await server.apply_topology()
    bus = Bus(server.url("certificate"), "certificate")
    starting = asyncio.create_task(bus.start())
    async with running(outbox.Relay(db, bus, sweep_every_s=0.1, sweep_age_s=0.2)):
        before = await commit(db, 5)
        await eventually(lambda: nothing_pending(db), within_s=15)
        await server.stop()
        during = await commit(db, 5)
        await server.start()
        await eventually(lambda: nothing_pending(db), within_s=30)
        assert await stored(server) == len(before + during)
        await delete_stream(server)
        await server.apply_topology()
        async with db.transaction() as tx:
            await outbox.republish_all(tx)
        await eventually(lambda: nothing_pending(db), within_s=30)
        assert await stored(server) == len(before + during)
    await bus.stop()
    await asyncio.gather(starting, return_exceptions=True)
    await server.stop()


async def stored(server: RunningNats) -> int:
    async with server.client("topology") as client:
        info = await client.jetstream().stream_info("EVENTS")
    return int(info.state.messages)


async def delete_stream(server: RunningNats) -> None:
    async with server.client("topology") as client:
        await client.jetstream().delete_stream("EVENTS")
