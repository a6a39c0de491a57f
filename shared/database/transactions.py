"""One Postgres database per service: SQLAlchemy's engine owns connections, asyncpg runs the statements.

Statements are Postgres SQL with `$1` parameters and arrays (`unnest`), because a batch is one statement. A transaction is BEGIN
and COMMIT sent as they stand, and it has committed when the server has answered COMMIT to COMMIT, never otherwise. A connection
goes back to the pool only if it is known to be clean: whatever was interrupted is closed (docs/decisions/database-access.md).
"""

import socket
from collections.abc import AsyncIterator, Awaitable, Callable, Iterable, Mapping, Sequence
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass
from types import MappingProxyType
from typing import Any, TypeVar

import asyncpg
import sqlalchemy.exc
import structlog
from sqlalchemy import event
from sqlalchemy.ext.asyncio import AsyncConnection, create_async_engine
from sqlalchemy.pool import AsyncAdaptedQueuePool
from tenacity import AsyncRetrying, retry_if_exception_type, stop_after_attempt, wait_random_exponential

log = structlog.get_logger()

T = TypeVar("T")

CONNECT_TIMEOUT_S = 5
SILENCE_S = 5  # after the server's own limit for a statement; a server silent for longer is frozen or unreachable
POOL_WAIT_S = 10
COLLISION_ATTEMPTS = 6  # sorted statements rarely collide; after that something else is wrong

# If the other side vanishes without closing the connection (power loss, a firewall), either side notices within a minute.
KEEPALIVE_IDLE_S, KEEPALIVE_INTERVAL_S, KEEPALIVE_COUNT = 30, 10, 3
UNACKNOWLEDGED_S = 20
CLIENT_CHECK_S = 5  # a statement whose client is gone runs on for at most so long

COLLISIONS = (asyncpg.DeadlockDetectedError, asyncpg.SerializationError)
_SERVER_AWAY = (  # errors that mean that the server, and not the statement, is the trouble
    asyncpg.PostgresConnectionError,
    asyncpg.OperatorInterventionError,  # shut down, crashed, starting up, a statement cancelled or over its time
    asyncpg.InsufficientResourcesError,  # disk full, no connection or memory left
    asyncpg.PostgresSystemError,  # the disk does not answer as it should
    asyncpg.LockNotAvailableError,
    asyncpg.IdleInTransactionSessionTimeoutError,
    asyncpg.TransactionTimeoutError,
)
_CONNECTION_LOST = (
    OSError,  # refused, reset, TimeoutError
    asyncpg.InterfaceError,  # closed, or busy with what was interrupted
    asyncpg.InternalClientError,  # any statement after the server has ended the session
)


class DatabaseAway(Exception):
    """The database cannot be reached or is going away: transient, the caller tries again."""


class OutcomeUnknown(DatabaseAway):
    """COMMIT was sent and its answer never came, so it may have committed or not. Whoever asked should send again."""


class RolledBack(Exception):
    """The server answered COMMIT with ROLLBACK: an error inside the transaction was swallowed. Nothing was committed."""


@dataclass(frozen=True)
class Limits:
    """Time limits of this client's sessions, in seconds; 0 means none. The server enforces them: a replica that is frozen keeps
    its locks for `idle_in_transaction_s` and not for ever."""

    statement_s: float = 25  # the slowest is a page of definitions, under 1 s
    lock_s: float = 10
    idle_in_transaction_s: float = 5  # decisions between two statements take under a second
    transaction_s: float = 60
    unacknowledged_s: float = UNACKNOWLEDGED_S  # how long the server waits for this client to take data

    def settings(self) -> dict[str, str]:
        limits = {
            "statement_timeout": self.statement_s,
            "lock_timeout": self.lock_s,
            "idle_in_transaction_session_timeout": self.idle_in_transaction_s,
            "transaction_timeout": self.transaction_s,
            "client_connection_check_interval": CLIENT_CHECK_S,
            "tcp_user_timeout": self.unacknowledged_s,
        }
        return {name: f"{seconds * 1000:.0f}" for name, seconds in limits.items()} | {
            "tcp_keepalives_idle": str(KEEPALIVE_IDLE_S),
            "tcp_keepalives_interval": str(KEEPALIVE_INTERVAL_S),
            "tcp_keepalives_count": str(KEEPALIVE_COUNT),
        }


class Transaction:
    """An open transaction on an asyncpg connection. `attached`: objects that other modules keep with its database, by type."""

    def __init__(self, connection: Any, attached: Mapping[type, Any] = MappingProxyType({})) -> None:
        self._connection = connection
        self.attached = attached
        self.broken = False  # True: a statement was interrupted, the connection's state is unknown
        self._on_commit: list[Callable[[], None]] = []

    def on_commit(self, callback: Callable[[], None]) -> None:
        """Calls `callback`, which must not fail, once the server has confirmed COMMIT; never, if it does not."""
        self._on_commit.append(callback)

    def committed(self) -> None:
        for callback in self._on_commit:
            callback()

    async def fetch(self, sql: str, *arguments: Any) -> list[Any]:
        return await self._ask(self._connection.fetch(sql, *arguments))

    async def fetchrow(self, sql: str, *arguments: Any) -> Any | None:
        return await self._ask(self._connection.fetchrow(sql, *arguments))

    async def fetchval(self, sql: str, *arguments: Any) -> Any:
        return await self._ask(self._connection.fetchval(sql, *arguments))

    async def execute(self, sql: str, *arguments: Any) -> str:
        return await self._ask(self._connection.execute(sql, *arguments))

    async def change(self, sql: str, *arguments: Any) -> int:
        """Executes a statement; returns how many rows it inserted, updated or deleted."""
        return row_count(await self.execute(sql, *arguments))

    async def copy_records(self, table: str, columns: Sequence[str], records: Iterable[Sequence[Any]]) -> None:
        await self._ask(self._connection.copy_records_to_table(table, columns=list(columns), records=records))

    async def may_take(self, seconds: float) -> None:
        """Lets this transaction last so long, idle or not, because it waits for something other than the database."""
        limit = int(seconds * 1000)
        await self.execute(  # Postgres restarts a running transaction's timer only if none is set: hence the 0
            f"SET LOCAL idle_in_transaction_session_timeout = {limit}; "
            f"SET LOCAL transaction_timeout = 0; SET LOCAL transaction_timeout = {limit}"
        )

    async def _ask(self, answer: Awaitable[T]) -> T:
        try:
            return await answer
        except asyncpg.PostgresError as error:
            # The connection is in order after an error that the server sent, and after a value that asyncpg could not send.
            in_order = error.severity_en == "ERROR" or isinstance(error, asyncpg.DataError)
            self.broken = self.broken or not in_order
            if isinstance(error, _SERVER_AWAY):
                raise DatabaseAway(f"{type(error).__name__}: {error}") from error
            raise
        except BaseException as error:
            self.broken = True
            if isinstance(error, _CONNECTION_LOST):
                raise DatabaseAway(f"{type(error).__name__}: {error}") from error
            raise


def row_count(answer: str) -> int:
    """The number in the server's answer to a statement that changes or copies rows: `INSERT 0 3`, `DELETE 3`, `COPY 3`. Raises
    ValueError for the answer to any other."""
    return int(answer.split()[-1])


class Database:
    """The service's database. `attached`: objects that other modules keep with it, by type (the outbox keeps its relay).

    `refused`: pooled connections found in a transaction, which would have swallowed every commit; `closed`: connections closed
    because something on them was interrupted. Both only grow.
    """

    def __init__(
        self, url: str, *, pool_size: int = 5, application_name: str = "fanzha", limits: Limits = Limits()
    ) -> None:
        self.refused = 0
        self.closed = 0
        self._engine = create_async_engine(
            url.replace("postgresql://", "postgresql+asyncpg://", 1),
            isolation_level="AUTOCOMMIT",  # SQLAlchemy opens no transaction of its own: ours is the only one
            poolclass=AsyncAdaptedQueuePool,
            pool_size=pool_size,
            max_overflow=0,
            json_deserializer=str,  # jsonb is returned as text; the callers decode it
            pool_timeout=POOL_WAIT_S,
            connect_args={
                "timeout": CONNECT_TIMEOUT_S,
                "command_timeout": limits.statement_s + SILENCE_S,
                "server_settings": {
                    "application_name": application_name,
                    "timezone": "UTC",
                    "jit": "off",
                    **limits.settings(),
                },
            },
        )
        event.listen(self._engine.sync_engine, "connect", _keep_alive)
        self.attached: dict[type, Any] = {}

    @asynccontextmanager
    async def transaction(self) -> AsyncIterator[Transaction]:
        """Commits on exit, rolls back on any exception. Raises `DatabaseAway` where the server cannot be reached."""
        async with self._pooled() as transaction:
            await transaction.execute("BEGIN")
            try:
                yield transaction
            except Exception:  # after a cancellation closing the connection rolls back, without a wait
                if not transaction.broken:
                    with suppress(DatabaseAway):
                        await transaction.execute("ROLLBACK")
                raise
            await _commit(transaction)
        transaction.committed()

    async def in_transaction(self, work: Callable[[Transaction], Awaitable[T]]) -> T:
        """Runs `work` in a transaction, the whole of it again when it collided with another (40P01, 40001)."""
        async for attempt in AsyncRetrying(
            retry=retry_if_exception_type(COLLISIONS),
            stop=stop_after_attempt(COLLISION_ATTEMPTS),
            wait=wait_random_exponential(multiplier=0.01, max=0.5),
            reraise=True,
        ):
            with attempt:
                async with self.transaction() as tx:
                    return await work(tx)
        raise AssertionError("unreachable")

    @property
    def in_use(self) -> int:
        """Connections taken from the pool and not given back."""
        return self._engine.pool.checkedout()  # type: ignore[attr-defined,no-any-return]

    async def discard_connections(self) -> None:
        """Closes all that are in the pool, and those in use when they come back; new ones take their place."""
        await self._engine.dispose()

    async def close(self) -> None:
        await self._engine.dispose()

    @asynccontextmanager
    async def _pooled(self) -> AsyncIterator[Transaction]:
        """A connection of the pool, which goes back to it only if it is clean."""
        connection, raw = await self._take()
        transaction = Transaction(raw, self.attached)
        try:
            yield transaction
        finally:
            if transaction.broken or raw.is_closed() or raw.is_in_transaction():
                self.closed += 1
                await _close(connection, raw)
            await connection.close()

    async def _take(self) -> tuple[AsyncConnection, Any]:
        """A live connection that is in no transaction: one that is not is replaced."""
        while True:
            try:
                connection = await self._engine.connect()
            except sqlalchemy.exc.DBAPIError as error:  # it lets nobody in: starting, full, wrong password
                raise DatabaseAway(str(error.orig)) from error
            except (*_SERVER_AWAY, *_CONNECTION_LOST, sqlalchemy.exc.TimeoutError) as error:
                raise DatabaseAway(f"{type(error).__name__}: {error}") from error
            raw: Any = (await connection.get_raw_connection()).driver_connection
            if not raw.is_closed() and not raw.is_in_transaction():
                return connection, raw
            if not raw.is_closed():
                self.refused += 1
                log.critical("a pooled connection was in a transaction; it is closed, and what it held is rolled back")
            await _close(connection, raw)
            await connection.close()


async def _commit(transaction: Transaction) -> None:
    try:
        answer = await transaction.execute("COMMIT")
    except DatabaseAway as error:
        if transaction.broken:
            raise OutcomeUnknown(str(error)) from error
        raise
    if answer != "COMMIT":
        raise RolledBack("an error inside the transaction was swallowed; Postgres has rolled it back")


async def _close(connection: AsyncConnection, raw: Any) -> None:
    raw.terminate()  # first: SQLAlchemy would wait two seconds for a server that may be frozen
    await connection.invalidate()


def _keep_alive(dbapi_connection: Any, _: Any) -> None:
    """Turns TCP keepalive on for the client's side, which asyncpg leaves off."""
    transport = dbapi_connection.driver_connection._transport
    if (sock := transport.get_extra_info("socket")) is None or sock.family == socket.AF_UNIX:
        return
    sock.setsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1)
    for option, value in (
        ("TCP_KEEPIDLE", KEEPALIVE_IDLE_S),
        ("TCP_KEEPINTVL", KEEPALIVE_INTERVAL_S),
        ("TCP_KEEPCNT", KEEPALIVE_COUNT),
        ("TCP_USER_TIMEOUT", UNACKNOWLEDGED_S * 1000),
    ):
        if (number := getattr(socket, option, None)) is not None:  # Linux has all four
            sock.setsockopt(socket.IPPROTO_TCP, number, value)
