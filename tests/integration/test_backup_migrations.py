"""Migrations as an upgrade runs them: again, at once by several, on data, and up to any revision (docs/operations/upgrade.md)."""

import asyncio
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import asyncpg
import pytest
from alembic.script import ScriptDirectory

from shared.bus.topology import SERVICES
from shared.database.migrate import MIGRATION_LOCK, alembic_config, migrate, newest_schema
from tests.support.checkin import running_checkin
from tests.support.databases import DatabaseFactory
from tests.support.servers import RunningPostgres

SCHEMA = """
SELECT 'column', table_name || '.' || column_name, data_type || ' ' || is_nullable || coalesce(column_default, '')
FROM information_schema.columns WHERE table_schema = 'public'
UNION ALL SELECT 'index', indexname, indexdef FROM pg_indexes WHERE schemaname = 'public'
UNION ALL SELECT 'revision', version_num, '' FROM alembic_version
ORDER BY 1, 2
"""
REPLICAS = 4


@pytest.fixture
async def empty(postgres: RunningPostgres, request: pytest.FixtureRequest) -> AsyncIterator[str]:
    """A database of the service without any table; the name of it."""
    service = request.param
    name = f"migrating_{service}"
    await postgres.execute(f'CREATE DATABASE "{name}" OWNER {service}_owner')
    await postgres.execute(f"ALTER SCHEMA public OWNER TO {service}_owner", database=name)
    yield name
    await postgres.drop(name)


each_service = pytest.mark.parametrize(
    ("service", "empty"), [(service, service) for service in SERVICES], indirect=["empty"], ids=SERVICES
)


async def schema(url: str) -> list[Any]:
    connection = await asyncpg.connect(url)
    try:
        return [tuple(row) for row in await connection.fetch(SCHEMA)]
    finally:
        await connection.close()


@each_service
async def test_at_once_and_again_they_make_the_same_schema(postgres: RunningPostgres, service: str, empty: str) -> None:
    url = postgres.url(f"{service}_owner", empty)
    await asyncio.gather(*(migrate(service, url) for _ in range(REPLICAS)))
    first = await schema(url)
    assert ("revision", newest_schema(service), "") in first
    await migrate(service, url)
    assert await schema(url) == first


@each_service
async def test_one_that_comes_late_waits_for_the_lock(postgres: RunningPostgres, service: str, empty: str) -> None:
    url = postgres.url(f"{service}_owner", empty)
    holder = await asyncpg.connect(url)
    try:
        await holder.execute("SELECT pg_advisory_lock($1)", MIGRATION_LOCK)
        waiting = asyncio.create_task(migrate(service, url))
        while not await holder.fetchval(
            "SELECT EXISTS (SELECT FROM pg_locks WHERE locktype = 'advisory' AND NOT granted)"
        ):
            assert not waiting.done(), "it did not take the lock"
            await asyncio.sleep(0.02)
        assert await holder.fetchval("SELECT count(*) FROM pg_tables WHERE schemaname = 'public'") == 0
        await holder.execute("SELECT pg_advisory_unlock($1)", MIGRATION_LOCK)
        await waiting
    finally:
        await holder.close()
    assert ("revision", newest_schema(service), "") in await schema(url)


async def test_the_previous_version_runs_on_the_next_schema(
    postgres: RunningPostgres, database: DatabaseFactory, tmp_path: Path
) -> None:
    """Rolled back, or beside its successor in a rolling upgrade: its job leaves the schema alone, and it is ready."""
    fresh = await database("checkin")
    await postgres.execute(
        "ALTER TABLE viewer ADD COLUMN later text; UPDATE alembic_version SET version_num = '9999'",
        role="checkin_owner",
        database=fresh.name,
    )
    await migrate("checkin", fresh.owner_url)
    assert ("revision", "9999", "") in await schema(fresh.owner_url)
    async with running_checkin(fresh, tmp_path) as service:
        ready = await service.client.get("/health/ready")
        assert ready.json()["checks"]["database"] == "ok"


async def test_an_older_schema_than_the_code_needs_is_not_ready(
    postgres: RunningPostgres, database: DatabaseFactory, tmp_path: Path
) -> None:
    fresh = await database("checkin")
    await postgres.execute("UPDATE alembic_version SET version_num = '0000'", role="checkin_owner", database=fresh.name)
    async with running_checkin(fresh, tmp_path) as service:
        ready = await service.client.get("/health/ready")
    assert ready.status_code == 503
    assert "schema is 0000" in ready.json()["checks"]["database"]


@pytest.mark.parametrize("service", SERVICES)
def test_there_is_one_line_of_revisions(service: str) -> None:
    """No branch, or two releases could not be upgraded in one go; numbers as names, so that a reader sees the order."""
    script = ScriptDirectory.from_config(alembic_config(service))
    assert len(script.get_heads()) == 1
    revisions = [step.revision for step in reversed(list(script.walk_revisions()))]
    assert revisions == [f"{number:04}" for number in range(1, len(revisions) + 1)]
