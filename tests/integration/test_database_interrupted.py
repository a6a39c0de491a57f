"""Whatever interrupts a transaction at whatever await, what was reported is true and the pool is clean.

Once a time-out in BEGIN gave a connection back whose "transactions" were savepoints inside one that nobody ever committed:
after a pause of six seconds, half of what had been answered `recorded` was not there.
"""

import asyncio
import socket
from collections.abc import AsyncIterator, Callable, Coroutine, Generator
from functools import partial
from typing import Any

import asyncpg
import pytest

from shared.bus import outbox
from shared.database import Database, DatabaseAway, Limits, OutcomeUnknown, RolledBack, Transaction
from tests.integration.test_database import an_event
from tests.support.databases import DatabaseFactory, FreshDatabase, RecordingRelay
from tests.support.gate import Gate, Harm, gate_before
from tests.support.nats_support import eventually

MOMENTS_MAX = 60  # a transaction on a new connection is about 30 pieces and 25 awaits
GIVES_UP_S = 0.15


@pytest.fixture
async def fresh(database: DatabaseFactory) -> FreshDatabase:
    return await database("checkin")


@pytest.fixture
async def observer(fresh: FreshDatabase) -> AsyncIterator[asyncpg.Connection]:
    connection = await asyncpg.connect(fresh.url)
    yield connection
    await connection.close()


class Trial:
    """One transaction that adds an event to the outbox, interrupted, and what became of it."""

    def __init__(self, db: Database, observer: asyncpg.Connection) -> None:
        self.db = db
        self.observer = observer
        self.event = an_event()
        self.error: BaseException | None = None
        self.relay = db.attached[outbox.Relay] = RecordingRelay()

    async def work(self) -> None:
        async with self.db.transaction() as tx:
            await tx.fetchval("SELECT 1")
            await outbox.add(tx, self.event)

    async def run(self, interrupted: Coroutine[Any, Any, None]) -> None:
        try:
            await interrupted
        except BaseException as error:
            self.error = error

    async def is_stored(self) -> bool:
        await eventually(self._is_quiet, within_s=10, what="the server has ended what was interrupted")
        return bool(
            await self.observer.fetchval("SELECT count(*) FROM outbox WHERE event_id = $1", self.event.event_id)
        )

    async def _is_quiet(self) -> bool:
        return not await self.observer.fetchval(
            "SELECT count(*) FROM pg_stat_activity WHERE datname = current_database() AND pid <> pg_backend_pid() "
            "AND (state <> 'idle' OR state IS NULL)"
        )

    async def reported_truly(self, *, commit_was_sent: bool) -> None:
        """Reported and stored, or neither; only of a COMMIT that was sent may nobody know."""
        stored = await self.is_stored()
        if self.error is None:
            assert stored
            assert len(self.relay.events) == 1
            return
        assert self.relay.events == [], "handed to the relay without a confirmed COMMIT"
        assert not stored or commit_was_sent
        if isinstance(self.error, DatabaseAway) and not isinstance(self.error, OutcomeUnknown):
            assert not stored

    async def pool_is_clean(self) -> None:
        """Every connection commits what it says, at once, for all to see; none was lost."""
        for _ in range(2):
            again = Trial(self.db, self.observer)
            await again.run(again.work())
            assert again.error is None
            assert await self.observer.fetchval("SELECT count(*) FROM outbox WHERE event_id = $1", again.event.event_id)
        assert self.db.refused == 0
        assert self.db.in_use == 0


# ---- time-outs, cancellations, resets, half-closed sockets: at every piece of the conversation ------------------------


async def _times_out(work: Coroutine[Any, Any, None], _: Gate) -> None:
    async with asyncio.timeout(GIVES_UP_S):
        await work


async def _is_cancelled(work: Coroutine[Any, Any, None], gate: Gate) -> None:
    task = asyncio.create_task(work)
    while not gate.done and not task.done():  # noqa: ASYNC110 - the gate knows no asyncio.Event for each moment
        await asyncio.sleep(0.001)
    task.cancel()
    await task


@pytest.mark.parametrize(
    ("harm", "interrupt"),
    [
        ("silence", _times_out),
        ("silence", _is_cancelled),
        ("reset", _times_out),
        ("half-close to client", _times_out),
        ("half-close to server", _times_out),
    ],
)
@pytest.mark.parametrize(
    # A new connection that is interrupted costs SQLAlchemy two seconds, its time to say goodbye to a server that is silent.
    "connected",
    [True, pytest.param(False, marks=pytest.mark.long)],
)
async def test_at_every_piece(
    fresh: FreshDatabase, observer: asyncpg.Connection, harm: Harm, interrupt: Any, connected: bool
) -> None:
    outcomes: set[str] = set()
    async with gate_before(fresh.url) as (gate, url):
        for moment in range(MOMENTS_MAX):
            gate.plan(None)
            db = Database(url, pool_size=1)
            if connected:
                first = Trial(db, observer)
                await first.run(first.work())
            trial = Trial(db, observer)
            gate.plan(harm, moment)
            await trial.run(interrupt(trial.work(), gate))
            was_harmed, commit_was_sent = gate.done, b"COMMIT" in gate.passed
            gate.plan(None)
            await trial.reported_truly(commit_was_sent=commit_was_sent)
            await trial.pool_is_clean()
            await db.close()
            outcomes.add(type(trial.error).__name__)
            if not was_harmed:
                assert trial.error is None
                assert len(outcomes) > 1, "nothing was ever interrupted"
                return
    raise AssertionError(f"a transaction of more than {MOMENTS_MAX} pieces")


# ---- a cancellation at every await -----------------------------------------------------------------------------------


class CancelledAt:
    """Awaits `work` in this task, and cancels it when it suspends for the n-th time."""

    def __init__(self, work: Coroutine[Any, Any, None], moment: int) -> None:
        self._work = work
        self._moment = moment
        self.done = False

    def __await__(self) -> Generator[Any, Any, None]:
        awaiting, suspensions = self._work.__await__(), 0
        send: Callable[[], Any] = partial(next, awaiting)
        while True:
            try:
                future = send()
            except StopIteration:
                return
            task = asyncio.current_task()
            if suspensions == self._moment and task is not None:
                self.done = task.cancel()
            suspensions += 1
            try:
                yield future
            except BaseException as error:
                send = partial(awaiting.throw, error)
            else:
                send = partial(next, awaiting)


@pytest.mark.parametrize("connected", [True, False])
async def test_cancelled_at_every_await(fresh: FreshDatabase, observer: asyncpg.Connection, connected: bool) -> None:
    async with gate_before(fresh.url) as (gate, url):
        for moment in range(MOMENTS_MAX):
            db = Database(url, pool_size=1)
            if connected:
                first = Trial(db, observer)
                await first.run(first.work())
            trial = Trial(db, observer)
            cancelled = CancelledAt(trial.work(), moment)

            async def awaiting(cancelled: CancelledAt = cancelled) -> None:
                await cancelled

            gate.plan(None)
            await trial.run(asyncio.create_task(awaiting()))  # type: ignore[arg-type]
            await trial.reported_truly(commit_was_sent=b"COMMIT" in gate.passed)
            await trial.pool_is_clean()
            await db.close()
            if not cancelled.done:
                assert moment > 3
                assert trial.error is None
                return
            assert isinstance(trial.error, asyncio.CancelledError)
    raise AssertionError(f"a transaction of more than {MOMENTS_MAX} awaits")


# ---- what is not an interruption -------------------------------------------------------------------------------------


async def test_a_pooled_connection_in_a_transaction_is_refused_and_counted(
    fresh: FreshDatabase, observer: asyncpg.Connection
) -> None:
    db = Database(fresh.url, pool_size=1)
    connection = await db._engine.connect()
    raw: Any = (await connection.get_raw_connection()).driver_connection
    await raw.execute("BEGIN")
    await connection.close()  # back into the pool, as it is
    trial = Trial(db, observer)
    await trial.run(trial.work())
    assert trial.error is None
    assert await trial.is_stored()
    assert db.refused == 1
    await db.close()


async def test_an_error_that_was_swallowed_is_not_reported_as_committed(
    fresh: FreshDatabase, observer: asyncpg.Connection
) -> None:
    db = Database(fresh.url, pool_size=1)
    trial = Trial(db, observer)

    async def swallow() -> None:
        async with db.transaction() as tx:
            await outbox.add(tx, trial.event)
            with pytest.raises(asyncpg.DivisionByZeroError):
                await tx.execute("SELECT 1 / 0")

    await trial.run(swallow())
    assert isinstance(trial.error, RolledBack)
    await trial.reported_truly(commit_was_sent=False)
    await trial.pool_is_clean()
    assert db.closed == 0
    await db.close()


async def test_a_value_that_does_not_fit_is_the_callers_error(fresh: FreshDatabase) -> None:
    db = Database(fresh.url, pool_size=1)
    with pytest.raises(asyncpg.DataError, match="value out of int32 range"):
        async with db.transaction() as tx:
            await tx.fetchval("SELECT $1::int", 2**40)
    assert db.closed == 0
    await db.close()


@pytest.mark.parametrize(
    ("limits", "statement", "is_closed"),
    [
        (Limits(statement_s=0.1), "SELECT pg_sleep(30)", False),
        (Limits(lock_s=0.1), "LOCK TABLE outbox_pending IN ACCESS EXCLUSIVE MODE", False),
        (Limits(transaction_s=0.2), "SELECT pg_sleep(30)", True),
    ],
)
async def test_what_takes_too_long_is_away_and_harms_nothing(
    fresh: FreshDatabase, observer: asyncpg.Connection, limits: Limits, statement: str, is_closed: bool
) -> None:
    db = Database(fresh.url, pool_size=1, limits=limits)
    other = Database(fresh.url, pool_size=1)
    async with other.transaction() as holder:
        await outbox.add(holder, an_event())
        with pytest.raises(DatabaseAway):
            async with db.transaction() as tx:
                await tx.execute(statement)
    await Trial(db, observer).pool_is_clean()
    assert (db.closed > 0) is is_closed
    await db.close()
    await other.close()


async def test_locks_of_a_replica_that_stands_still_are_freed(fresh: FreshDatabase) -> None:
    """A frozen process answers nothing, so only the server can end its transaction."""
    frozen = Database(fresh.url, pool_size=1, limits=Limits(idle_in_transaction_s=0.3))
    healthy = Database(fresh.url, pool_size=1)
    with pytest.raises(DatabaseAway):
        async with frozen.transaction() as tx:
            await tx.fetchval("SELECT pg_advisory_xact_lock(1)")
            async with healthy.transaction() as other:  # waits for the lock
                await other.fetchval("SELECT pg_advisory_xact_lock(1)")
            await tx.fetchval("SELECT 1")
    await frozen.close()
    await healthy.close()


async def test_a_transaction_may_ask_for_more_time(fresh: FreshDatabase) -> None:
    db = Database(fresh.url, pool_size=1, limits=Limits(idle_in_transaction_s=0.1, transaction_s=0.3))
    async with db.transaction() as tx:
        await tx.may_take(10)
        await asyncio.sleep(0.6)
        await tx.fetchval("SELECT 1")
    async with db.transaction() as tx:
        assert await tx.fetchval("SHOW idle_in_transaction_session_timeout") == "100ms"
    await db.close()


async def test_a_transaction_that_collides_is_cancelled_cleanly(
    fresh: FreshDatabase, observer: asyncpg.Connection
) -> None:
    """A cancelled statement of the server's side (`pg_cancel_backend`) is away, and the connection stays."""
    db = Database(fresh.url, pool_size=1)

    async def slow() -> None:
        async with db.transaction() as tx:
            await tx.fetchval("SELECT pg_sleep(30)")

    task = asyncio.create_task(slow())
    cancelled = "SELECT count(pg_cancel_backend(pid)) FROM pg_stat_activity WHERE query LIKE 'SELECT pg_sleep%'"
    await eventually(lambda: observer.fetchval(cancelled), within_s=5, what="the statement is cancelled")
    with pytest.raises(DatabaseAway, match="QueryCanceledError"):
        await task
    await Trial(db, observer).pool_is_clean()
    assert db.closed == 0
    await db.close()


async def test_limits_and_keepalives_are_those_of_the_session(fresh: FreshDatabase) -> None:
    db = Database(fresh.url, pool_size=1)

    async def shown(tx: Transaction, name: str) -> str:
        return str(await tx.fetchval(f"SHOW {name}"))

    async with db.transaction() as tx:
        names = ("statement_timeout", "lock_timeout", "idle_in_transaction_session_timeout", "transaction_timeout")
        assert [await shown(tx, name) for name in names] == ["25s", "10s", "5s", "1min"]
        names = ("tcp_keepalives_idle", "tcp_keepalives_interval", "tcp_keepalives_count", "tcp_user_timeout")
        assert [await shown(tx, name) for name in names] == ["30", "10", "3", "20000"]
        assert await shown(tx, "client_connection_check_interval") == "5s"
    await db.close()


async def test_our_own_half_keeps_alive_too(fresh: FreshDatabase) -> None:
    db = Database(fresh.url, pool_size=1)
    connection = await db._engine.connect()
    raw: Any = (await connection.get_raw_connection()).driver_connection
    sock = raw._transport.get_extra_info("socket")
    assert sock.getsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE) == 1
    assert sock.getsockopt(socket.IPPROTO_TCP, socket.TCP_KEEPIDLE) == 30
    assert sock.getsockopt(socket.IPPROTO_TCP, socket.TCP_USER_TIMEOUT) == 20_000
    await connection.close()
    await db.close()
