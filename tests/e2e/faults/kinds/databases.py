"""What other users of a Postgres server, and its operator, can do to a service."""

import asyncio
import random
import time
from contextlib import suppress
from typing import Any

import asyncpg

from devstack.home import read_env
from shared.bus.topology import SERVICES
from tests.e2e.faults.nemesis import Fault
from tests.e2e.faults.stack import Cluster

POSTGRES = frozenset({"postgres"})
LOCK_WITHIN = "10s"
LOCK_MAX_S = 60
STORM_MAX_S = 20  # of cancels and terminations
CONNECTIONS_MAX = 200
ADVISORY_LOCKS = {  # by service: what its replicas wait for each other with
    "checkin": "pg_advisory_xact_lock(x'43414D50'::bigint)",
    "reporting": "pg_advisory_xact_lock(hashtextextended('certificates faults', 0))",
    "certificate": "pg_advisory_xact_lock(hashtextextended('certificate faults', 0))",
    "notification": "pg_advisory_xact_lock(hashtextextended('definition faults', 0))",
}


def _storm(kind: str, statement: str, pause_s: tuple[float, float]) -> Fault:
    """Again and again, a third of the service's sessions; it goes on until it has hit one."""

    async def play(cluster: Cluster, rng: random.Random, hold_s: float) -> str:
        service, hit, ends_at = rng.choice(SERVICES), 0, time.monotonic() + min(hold_s, STORM_MAX_S)
        async with cluster.database(service) as connection:
            while not hit or time.monotonic() < ends_at:
                hit += await connection.fetchval(statement, f"fanzha_{service}", rng.randrange(3))
                await asyncio.sleep(rng.uniform(*pause_s))
        return f"{kind} of {hit} sessions of {service}"

    return Fault(kind, POSTGRES, play)


async def _table_locked(cluster: Cluster, rng: random.Random, hold_s: float) -> str:
    service, hold_s = rng.choice(SERVICES), min(hold_s, LOCK_MAX_S)
    async with cluster.database(service) as connection:
        tables = await connection.fetch("SELECT tablename FROM pg_tables WHERE schemaname = 'public' ORDER BY 1")
        table = rng.choice([row[0] for row in tables])
        await _holding(connection, f'LOCK TABLE "{table}" IN ACCESS EXCLUSIVE MODE', hold_s)
    return f"table {table} of {service} locked for {hold_s:g} s"


async def _advisory_lock(cluster: Cluster, rng: random.Random, hold_s: float) -> str:
    service, hold_s = rng.choice(SERVICES), min(hold_s, LOCK_MAX_S)
    async with cluster.database(service) as connection:
        await _holding(connection, f"SELECT {ADVISORY_LOCKS[service]}", hold_s)
    return f"advisory lock of {service} held for {hold_s:g} s"


async def _holding(connection: Any, statement: str, hold_s: float) -> None:
    while True:
        with suppress(asyncpg.LockNotAvailableError, asyncpg.DeadlockDetectedError):
            async with connection.transaction():
                await connection.execute(f"SET LOCAL lock_timeout = '{LOCK_WITHIN}'")
                await connection.execute(statement)
                await asyncio.sleep(hold_s)
                return


async def _checkpoints(cluster: Cluster, rng: random.Random, hold_s: float) -> str:
    count, ends_at = 0, time.monotonic() + min(hold_s, STORM_MAX_S)
    async with cluster.database("checkin") as connection:
        while time.monotonic() < ends_at:
            await connection.execute("CHECKPOINT")
            count += 1
    return f"{count} checkpoints in a row"


async def _used_up(cluster: Cluster, rng: random.Random, hold_s: float) -> str:
    """Somebody takes every connection there is, those of a service's sessions too."""
    service = rng.choice(SERVICES)
    url = read_env(cluster.home.service_env(service))["DATABASE_URL"]
    taken: list[Any] = []
    try:
        async with cluster.database(service) as admin:
            await _take_all(url, taken)
            await admin.execute(
                "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE datname LIKE 'fanzha%' AND pid <> "
                "pg_backend_pid() AND pid <> ALL($1::int[])",
                [connection.get_server_pid() for connection in taken],
            )
            await _take_all(url, taken)
        await asyncio.sleep(hold_s)
    finally:
        for connection in taken:
            connection.terminate()
    return f"{len(taken)} connections taken for {hold_s:g} s, none left"


async def _take_all(url: str, taken: list[Any]) -> None:
    with suppress(asyncpg.TooManyConnectionsError):
        while len(taken) < CONNECTIONS_MAX:
            taken.append(await asyncpg.connect(url, timeout=10))


_SESSIONS = "FROM pg_stat_activity WHERE datname = $1 AND pid <> pg_backend_pid() AND pid % 3 = $2"
FAULTS = [
    _storm(
        "pg_cancel_backend", f"SELECT count(pg_cancel_backend(pid)) {_SESSIONS} AND state = 'active'", (0.005, 0.05)
    ),
    _storm("pg_terminate_backend", f"SELECT count(pg_terminate_backend(pid)) {_SESSIONS}", (0.05, 0.5)),
    Fault("table locked", POSTGRES, _table_locked),
    Fault("advisory lock held", POSTGRES, _advisory_lock),
    Fault("checkpoint storm", POSTGRES, _checkpoints),
    Fault("connections used up", POSTGRES, _used_up),
]
