"""Fresh databases of a service, on the session's Postgres: migrated once by the owner role, then copied for each test."""

import asyncio
import itertools
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from dataclasses import dataclass

import asyncpg
import pytest
from alembic import command
from sqlalchemy import Connection
from sqlalchemy.ext.asyncio import create_async_engine
from tenacity import retry, retry_if_exception_type, stop_after_delay, wait_fixed

from shared.bus.outgoing import Outgoing
from shared.database.migrate import alembic_config, migrate
from tests.support.servers import RunningPostgres

_numbers = itertools.count(1)
_migrated: set[str] = set()
_one_at_a_time = asyncio.Lock()  # Postgres copies a database only while nobody is connected to it


@dataclass(frozen=True)
class FreshDatabase:
    """`url` is the app role's, which the code under test gets; `owner_url` may change the schema."""

    name: str
    url: str
    owner_url: str


class RecordingRelay:
    """Stands in for the outbox's relay on a database, and publishes nothing."""

    def __init__(self) -> None:
        self.events: list[Outgoing] = []

    def enqueue(self, outgoing: Sequence[Outgoing]) -> None:
        self.events += outgoing


DatabaseFactory = Callable[[str], Awaitable[FreshDatabase]]


async def fresh_database(postgres: RunningPostgres, service: str) -> FreshDatabase:
    """A new database of the service at the newest schema, empty. Ask `postgres.drop(name)` to remove it."""
    name = f"test_{service}_{next(_numbers)}"
    template = postgres.url(f"{service}_owner")
    async with _one_at_a_time:
        if template not in _migrated:
            await migrate(service, template)
            _migrated.add(template)
        await _clone(postgres, service, name)
    return FreshDatabase(name, postgres.url(f"{service}_app", name), postgres.url(f"{service}_owner", name))


@retry(retry=retry_if_exception_type(asyncpg.ObjectInUseError), stop=stop_after_delay(10), wait=wait_fixed(0.1))
async def _clone(postgres: RunningPostgres, service: str, name: str) -> None:
    """Copies the service's database; tries again while the connection that migrated it is still closing."""
    await postgres.clone(service, name)


async def migrate_to(service: str, url: str, revision: str) -> None:
    """Brings an empty database to the schema of an earlier version. `url`: of the owner role."""

    def upgrade(connection: Connection) -> None:
        config = alembic_config(service)
        config.attributes["connection"] = connection
        command.upgrade(config, revision)

    engine = create_async_engine(url.replace("postgresql://", "postgresql+asyncpg://", 1))
    async with engine.begin() as connection:
        await connection.run_sync(upgrade)
    await engine.dispose()


@pytest.fixture
async def database(postgres: RunningPostgres) -> AsyncIterator[DatabaseFactory]:
    """`await database("reporting")`: a fresh migrated database, dropped after the test."""
    made: list[str] = []

    async def fresh(service: str) -> FreshDatabase:
        fresh = await fresh_database(postgres, service)
        made.append(fresh.name)
        return fresh

    yield fresh
    for name in made:
        await postgres.drop(name)
