"""The traps of Postgres under SQLAlchemy and asyncpg (STACK, "Postgres"): each was seen to bite once."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from datetime import UTC, datetime
from urllib.parse import urlsplit, urlunsplit

import asyncpg
import pytest

from shared.bus import outbox
from shared.bus.inbox import apply_once
from shared.contracts.certificate import CertificateClaimedV1
from shared.database import Database, DatabaseAway, Transaction
from shared.ids import new_event_id
from tests.support.databases import DatabaseFactory, RecordingRelay
from tests.support.servers import RunningPostgres, public_folder


@pytest.fixture
async def db(database: DatabaseFactory) -> AsyncIterator[Database]:
    opened = Database((await database("checkin")).url, pool_size=4)
    yield opened
    await opened.close()


def an_event() -> CertificateClaimedV1:
    now = datetime(2024, 7, 14, 12, tzinfo=UTC)
    return CertificateClaimedV1(
        event_id=new_event_id(), occurred_at=now, campaign_id="c", viewer_ids=["v"], serials=["s"], claimed_at=[now]
    )


async def rows(db: Database, table: str = "inbox") -> int:
    async with db.transaction() as tx:
        return int(await tx.fetchval(f"SELECT count(*) FROM {table}"))


async def ping(db: Database) -> None:
    async with db.transaction() as tx:
        await tx.fetchval("SELECT 1")


async def test_a_copy_is_part_of_the_transaction(db: Database) -> None:
    """With raw asyncpg inside SQLAlchemy's own transaction a COPY survived the rollback."""
    with pytest.raises(ZeroDivisionError):
        async with db.transaction() as tx:
            await tx.copy_records("inbox", ["durable", "event_id"], [("d", new_event_id())])
            raise ZeroDivisionError
    assert await rows(db) == 0


async def test_a_change_says_how_many_rows_it_changed(db: Database) -> None:
    ids = [new_event_id() for _ in range(12)]
    async with db.transaction() as tx:
        insert = "INSERT INTO outbox_pending (event_id) SELECT unnest($1::uuid[]) ON CONFLICT DO NOTHING"
        assert [await tx.change(insert, ids[:11]), await tx.change(insert, ids)] == [11, 1]
        assert await tx.change("DELETE FROM outbox_pending WHERE event_id = ANY($1::uuid[])", ids[:2]) == 2
        assert await tx.change("DELETE FROM outbox_pending WHERE since > now()") == 0
        with pytest.raises(ValueError, match="SET"):
            await tx.change("SET LOCAL jit = off")


async def test_nothing_is_handed_to_the_relay_unless_it_committed(db: Database) -> None:
    relay = db.attached[outbox.Relay] = RecordingRelay()
    with pytest.raises(ZeroDivisionError):
        async with db.transaction() as tx:
            await outbox.add(tx, an_event())
            raise ZeroDivisionError
    assert (relay.events, await rows(db, "outbox"), await rows(db, "outbox_pending")) == ([], 0, 0)
    async with db.transaction() as tx:
        await outbox.add(tx, an_event())
    assert (len(relay.events), await rows(db, "outbox"), await rows(db, "outbox_pending")) == (1, 1, 1)


async def test_an_event_is_applied_once_even_by_two_deliveries_at_once(db: Database) -> None:
    event, applied = an_event(), 0

    async def deliver() -> None:
        nonlocal applied
        async with apply_once(db, "some-durable", event) as tx:
            if tx:
                await asyncio.sleep(0.05)
                applied += 1

    await asyncio.gather(*(deliver() for _ in range(4)))
    assert applied == 1
    async with apply_once(db, "another-durable", event) as tx:
        assert tx is not None


async def test_an_effect_that_failed_is_applied_by_the_next_delivery(db: Database) -> None:
    event = an_event()
    with pytest.raises(ZeroDivisionError):
        async with apply_once(db, "some-durable", event) as tx:
            assert tx
            raise ZeroDivisionError
    async with apply_once(db, "some-durable", event) as tx:
        assert tx is not None


async def test_transactions_that_collide_run_again(db: Database) -> None:
    """Two that lock in opposite order: one is the deadlock's victim and succeeds the second time."""
    ids = [new_event_id(), new_event_id()]
    async with db.transaction() as tx:
        await tx.copy_records("outbox_pending", ["event_id"], [(event_id,) for event_id in ids])
    attempts = 0
    both_locked = asyncio.Barrier(2)

    async def lock(first: int, second: int) -> None:
        async def work(tx: Transaction) -> None:
            nonlocal attempts
            attempts += 1
            waits = attempts <= 2
            await tx.fetch("SELECT FROM outbox_pending WHERE event_id = $1 FOR UPDATE", ids[first])
            if waits:
                await both_locked.wait()
            await tx.fetch("SELECT FROM outbox_pending WHERE event_id = $1 FOR UPDATE", ids[second])

        await db.in_transaction(work)

    await asyncio.gather(lock(0, 1), lock(1, 0))
    assert attempts == 3


async def test_other_errors_are_not_retried(db: Database) -> None:
    attempts = 0

    async def work(tx: Transaction) -> None:
        nonlocal attempts
        attempts += 1
        await tx.execute("INSERT INTO inbox (durable, event_id) VALUES (NULL, NULL)")

    with pytest.raises(asyncpg.NotNullViolationError):
        await db.in_transaction(work)
    assert attempts == 1


async def test_a_cancelled_transaction_leaves_a_usable_connection(database: DatabaseFactory) -> None:
    db = Database((await database("checkin")).url, pool_size=2)

    async def slow() -> None:
        async with db.transaction() as tx:
            await tx.execute("INSERT INTO inbox (durable, event_id) VALUES ('d', gen_random_uuid())")
            await tx.fetchval("SELECT pg_sleep(30)")

    for _ in range(5):
        task = asyncio.create_task(slow())
        await asyncio.sleep(0.05)
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
    assert await rows(db) == 0
    await db.close()


async def test_a_server_that_was_killed_is_away_and_then_back() -> None:
    """Idle connections that the server closed are replaced; nobody sees their corpses."""
    with public_folder() as folder:
        server = RunningPostgres(folder, fsync=True)
        await server.start()
        db = Database(server.url(), pool_size=3)
        async with db.transaction() as tx:
            await tx.execute("CREATE TABLE kept (n int)")
        await asyncio.gather(*(ping(db) for _ in range(3)))
        await server.kill()
        with pytest.raises(DatabaseAway):
            await ping(db)
        await server.start()
        for n in range(5):
            async with db.transaction() as tx:
                await tx.execute("INSERT INTO kept VALUES ($1)", n)
        assert await rows(db, "kept") == 5
        await db.close()
        await server.stop()


@asynccontextmanager
async def through_a_proxy_that_closes_nothing(url: str) -> AsyncIterator[str]:
    """What the server says arrives; that it hung up does not."""
    parts = urlsplit(url)
    clients: list[asyncio.StreamWriter] = []

    async def forward(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        while data := await reader.read(65536):
            writer.write(data)

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        clients.append(writer)
        from_server, to_server = await asyncio.open_connection(parts.hostname, parts.port)
        await asyncio.gather(forward(reader, to_server), forward(from_server, writer))
        to_server.close()
        writer.close()

    proxy = await asyncio.start_server(serve, "127.0.0.1", 0)
    user, _, _ = parts.netloc.rpartition("@")
    yield urlunsplit(parts._replace(netloc=f"{user}@127.0.0.1:{proxy.sockets[0].getsockname()[1]}"))
    proxy.close()
    for client in clients:
        client.close()


async def test_a_connection_that_heard_the_servers_last_words_is_away_and_then_replaced(
    database: DatabaseFactory,
) -> None:
    """Before the end of the connection is seen, asyncpg fails on any statement with an error of its own."""
    fresh = await database("checkin")
    other = await asyncpg.connect(fresh.url)
    async with through_a_proxy_that_closes_nothing(fresh.url) as url:
        db = Database(url, pool_size=1)
        async with db.transaction() as tx:
            pid = await tx.fetchval("SELECT pg_backend_pid()")
        assert await other.fetchval("SELECT pg_terminate_backend($1, 60000)", pid)  # returns when it has ended
        with pytest.raises(DatabaseAway):
            await ping(db)
        await ping(db)
    await db.close()  # with the proxy it would wait for a goodbye that does not come
    await other.close()


async def test_a_server_that_lets_nobody_in_is_away_and_then_back(database: DatabaseFactory) -> None:
    """Starting up, recovering or full: the refusal comes wrapped in an error of SQLAlchemy's."""
    fresh = await database("checkin")
    db, owner = Database(fresh.url, pool_size=1), await asyncpg.connect(fresh.owner_url)
    await owner.execute(f"ALTER DATABASE {fresh.name} CONNECTION LIMIT 0")
    with pytest.raises(DatabaseAway, match="too many connections"):
        await ping(db)
    await owner.execute(f"ALTER DATABASE {fresh.name} CONNECTION LIMIT -1")
    await ping(db)
    await db.close()
    await owner.close()
