"""One Postgres database per service: SQLAlchemy's engine owns connections, asyncpg runs the statements.

Statements are Postgres SQL with `$1` parameters and arrays (`unnest`), because a batch is one statement. The engine is in
AUTOCOMMIT, so it never opens a transaction of its own: ours is asyncpg's, and nothing can run outside it by accident
(docs/decisions/database-access.md).
"""

from collections.abc import AsyncIterator, Awaitable, Callable, Iterable, Sequence
from contextlib import asynccontextmanager
from typing import Any, TypeVar

import asyncpg
import sqlalchemy.exc
from sqlalchemy.ext.asyncio import AsyncConnection, create_async_engine
from sqlalchemy.pool import AsyncAdaptedQueuePool
from tenacity import AsyncRetrying, retry_if_exception_type, stop_after_attempt, wait_random_exponential

from shared.outgoing import Outgoing

T = TypeVar("T")

CONNECT_TIMEOUT_S = 5
COMMAND_TIMEOUT_S = 30  # the slowest statement is a page of definitions, under 1 s
POOL_WAIT_S = 10
COLLISION_ATTEMPTS = 6  # sorted statements rarely collide; after that something else is wrong

COLLISIONS = (asyncpg.DeadlockDetectedError, asyncpg.SerializationError)
_LAST_WORDS = (  # the server ends this connection; asyncpg may not have seen it hang up yet
    asyncpg.AdminShutdownError,
    asyncpg.CrashShutdownError,
    asyncpg.InternalClientError,  # any statement after them
)
_AWAY = (
    *_LAST_WORDS,
    OSError,  # refused, reset, TimeoutError
    asyncpg.PostgresConnectionError,
    asyncpg.InterfaceError,
    asyncpg.CannotConnectNowError,
    asyncpg.TooManyConnectionsError,
    asyncpg.DiskFullError,
    sqlalchemy.exc.TimeoutError,  # every connection is in use
)


class DatabaseAway(Exception):
    """The database cannot be reached or is going away: transient, the caller tries again."""


class Transaction:
    """An open transaction. What is added to `outgoing` is handed to the relay once it has committed."""

    def __init__(self, connection: Any) -> None:
        self._connection = connection
        self.outgoing: list[Outgoing] = []

    async def fetch(self, sql: str, *arguments: Any) -> list[Any]:
        return await self._connection.fetch(sql, *arguments)  # type: ignore[no-any-return]

    async def fetchrow(self, sql: str, *arguments: Any) -> Any | None:
        return await self._connection.fetchrow(sql, *arguments)

    async def fetchval(self, sql: str, *arguments: Any) -> Any:
        return await self._connection.fetchval(sql, *arguments)

    async def execute(self, sql: str, *arguments: Any) -> str:
        return await self._connection.execute(sql, *arguments)  # type: ignore[no-any-return]

    async def copy_records(self, table: str, columns: Sequence[str], records: Iterable[Sequence[Any]]) -> None:
        await self._connection.copy_records_to_table(table, columns=list(columns), records=records)


class Database:
    """The service's database. `after_commit` receives the events of each committed transaction (the relay sets it)."""

    def __init__(self, url: str, *, pool_size: int = 5, application_name: str = "fanzha") -> None:
        self._engine = create_async_engine(
            url.replace("postgresql://", "postgresql+asyncpg://", 1),
            isolation_level="AUTOCOMMIT",
            poolclass=AsyncAdaptedQueuePool,
            pool_size=pool_size,
            max_overflow=0,
            json_deserializer=str,  # jsonb stays text here; who reads it knows what it is
            pool_timeout=POOL_WAIT_S,
            connect_args={
                "timeout": CONNECT_TIMEOUT_S,
                "command_timeout": COMMAND_TIMEOUT_S,
                "server_settings": {"application_name": application_name, "timezone": "UTC", "jit": "off"},
            },
        )
        self.after_commit: Callable[[list[Outgoing]], None] = lambda _: None

    @asynccontextmanager
    async def transaction(self) -> AsyncIterator[Transaction]:
        """Commits on exit, rolls back on any exception. Raises `DatabaseAway` where the server cannot be reached."""
        transaction: Transaction | None = None
        try:
            async with self._connection() as raw, raw.transaction():
                transaction = Transaction(raw)
                yield transaction
        except _AWAY as error:
            raise DatabaseAway(f"{type(error).__name__}: {error}") from error
        if transaction.outgoing:
            self.after_commit(transaction.outgoing)

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

    async def ping(self) -> None:
        async with self.transaction() as tx:
            await tx.fetchval("SELECT 1")

    async def close(self) -> None:
        await self._engine.dispose()

    @asynccontextmanager
    async def _connection(self) -> AsyncIterator[Any]:
        """A live asyncpg connection: one that the server closed while it was idle is replaced first."""
        connection = await self._checkout()
        raw: Any = (await connection.get_raw_connection()).driver_connection
        try:
            yield raw
        except _LAST_WORDS:
            raw.terminate()
            raise
        finally:
            if raw.is_closed():
                await connection.invalidate()
            await connection.close()

    async def _checkout(self) -> AsyncConnection:
        while True:
            try:
                connection = await self._engine.connect()
            except sqlalchemy.exc.DBAPIError as error:  # let nobody in: starting up, full, a wrong password
                raise DatabaseAway(str(error.orig)) from error
            raw: Any = (await connection.get_raw_connection()).driver_connection
            if not raw.is_closed():
                return connection
            await connection.invalidate()
            await connection.close()
