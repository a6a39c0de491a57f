"""Limits of Postgres sessions: every client of a service has them, every job says its own, and the doctor sees them gone."""

import re

import asyncpg
import pytest
import sqlalchemy.exc

from devstack.home import REPOSITORY
from devstack.postgres import SETTINGS
from shared.bus.topology import SERVICES
from shared.database import Limits, migrate
from tests.support.databases import DatabaseFactory, FreshDatabase
from tests.support.servers import RunningPostgres
from upkeep import check_limits, dump
from upkeep.deployment import Deployment
from upkeep.findings import Level
from upkeep.repair import REPAIRING

OF_THE_ROLE = {
    "statement_timeout": "1min",
    "lock_timeout": "30s",
    "idle_in_transaction_session_timeout": "1min",
    "transaction_timeout": "5min",
}
OF_THE_SERVER = {
    "tcp_keepalives_idle": "30",
    "tcp_keepalives_interval": "10",
    "tcp_keepalives_count": "3",
    "tcp_user_timeout": "2min",
    "client_connection_check_interval": "10s",
}


async def shown(connection: asyncpg.Connection, *names: str) -> dict[str, str]:
    return {name: str(await connection.fetchval(f"SHOW {name}")) for name in names}


@pytest.mark.parametrize("service", SERVICES)
async def test_any_client_of_a_services_role_has_limits(postgres: RunningPostgres, service: str) -> None:
    """As provisioned, by the same SQL in the dev stack and in containers."""
    connection = await asyncpg.connect(postgres.url(f"{service}_app"))
    try:
        expected = OF_THE_ROLE | OF_THE_SERVER | {"tcp_user_timeout": "120000"}  # shown in ms
        assert await shown(connection, *expected) == expected
    finally:
        await connection.close()


def test_a_deployments_server_has_the_same_as_the_dev_stacks() -> None:
    text = (REPOSITORY / "deploy" / "docker" / "postgresql.conf").read_text()
    lines = re.findall(r"^(\w+) = '?([^'\s#]+)'?", text, re.MULTILINE)
    assert {key: value for key, value in lines if key in OF_THE_SERVER} == OF_THE_SERVER
    assert {key: SETTINGS.get(key) for key in OF_THE_SERVER} == OF_THE_SERVER


@pytest.mark.parametrize("limits", [dump.LOOKING, dump.BACKUP, dump.RESTORING, dump.ERASING, REPAIRING, migrate.LIMITS])
async def test_a_jobs_own_limits_hold_in_its_session(postgres: RunningPostgres, limits: Limits) -> None:
    """Each names all of them, and always waits for a lock and stands still within a limit."""
    connection = await dump.connect(postgres.url("checkin_owner"), limits)
    try:
        rows = await connection.fetch(
            "SELECT name, setting FROM pg_settings WHERE name = ANY($1)", [*limits.settings()]
        )
        assert {row["name"]: row["setting"] for row in rows} == limits.settings()
    finally:
        await connection.close()
    assert min(limits.lock_s, limits.idle_in_transaction_s, limits.unacknowledged_s) > 0


async def test_a_migration_that_cannot_have_its_table_gives_up(database: DatabaseFactory) -> None:
    """While it waits for a table, every service waits behind it."""
    fresh = await database("certificate")
    holder = await asyncpg.connect(fresh.owner_url)
    try:
        async with holder.transaction():
            await holder.execute("LOCK TABLE alembic_version")
            with pytest.raises(sqlalchemy.exc.DBAPIError, match="lock timeout"):
                await migrate.migrate("certificate", fresh.owner_url, table_lock_wait="200ms")
        await migrate.migrate("certificate", fresh.owner_url, table_lock_wait="200ms")
    finally:
        await holder.close()


def of(database: FreshDatabase) -> Deployment:
    return Deployment({}, environments={"checkin": {"DATABASE_URL": database.url}})


async def test_the_doctor_sees_a_limit_that_is_gone(postgres: RunningPostgres, database: DatabaseFactory) -> None:
    fresh = await database("checkin")
    assert [finding.level for finding in await check_limits.check(of(fresh))] == [Level.OK]
    for name in check_limits.OF_THE_ROLE:
        where = f'ROLE checkin_app IN DATABASE "{fresh.name}"'
        await postgres.execute(f"ALTER {where} SET {name} = 0")
        (finding,) = await check_limits.check(of(fresh))
        assert (finding.level, finding.check, finding.subject) == (Level.PROBLEM, "limits", "checkin")
        assert name in finding.text
        await postgres.execute(f"ALTER {where} RESET {name}")


@pytest.mark.parametrize(
    ("name", "value", "wrong"),
    [
        ("statement_timeout", "0", True),
        ("statement_timeout", "10s", False),
        ("tcp_keepalives_idle", "7200", True),  # the kernel's own
        ("tcp_keepalives_idle", "60", False),
        ("tcp_user_timeout", "0ms", True),
        ("client_connection_check_interval", "0", True),
    ],
)
def test_what_the_doctor_makes_of_a_setting(name: str, value: str, wrong: bool) -> None:
    findings = list(check_limits.judge("checkin", OF_THE_ROLE | OF_THE_SERVER | {name: value}))
    assert [name in finding.text for finding in findings if finding.level is Level.PROBLEM] == [True] * wrong
