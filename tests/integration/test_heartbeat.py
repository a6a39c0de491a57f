"""Readiness: it takes no connection from work, interrupts nothing, and notices when what the service says is untrue."""

import asyncio
import json
import signal
import time
from collections.abc import AsyncIterator
from pathlib import Path

import asyncpg
import psutil
import pytest
from prometheus_client import CollectorRegistry

from shared.database import Database
from shared.database.heartbeat import Heartbeat
from shared.database.migrate import newest_schema
from tests.support.campaigns import campaign_content
from tests.support.checkin import checkin, running_checkin
from tests.support.databases import DatabaseFactory, FreshDatabase, fresh_database
from tests.support.nats_support import eventually
from tests.support.servers import RunningPostgres, public_folder

SCHEMA = newest_schema("checkin")
PAUSE_S = 4.0  # longer than a probe waits


@pytest.fixture
async def fresh(database: DatabaseFactory) -> FreshDatabase:
    return await database("checkin")


@pytest.fixture
async def db(fresh: FreshDatabase) -> AsyncIterator[Database]:
    opened = Database(fresh.url, pool_size=2)
    yield opened
    await opened.close()


def confirmed(heartbeat: Heartbeat) -> float | None:
    registry = CollectorRegistry()
    heartbeat.register_metrics(registry)
    return registry.get_sample_value("fanzha_commits_confirmed")


async def test_a_committed_row_is_read_through_another_connection(db: Database, fresh: FreshDatabase) -> None:
    heartbeat = Heartbeat(db, Database(fresh.url, pool_size=1), SCHEMA)
    assert await heartbeat.check(3) == "ok"
    await asyncio.sleep(0.15)
    assert await heartbeat.check(3) == "ok"
    async with db.transaction() as tx:
        assert await tx.fetchval("SELECT beat FROM heartbeat") == 2
    assert confirmed(heartbeat) == 1
    await heartbeat.close()


async def test_what_another_connection_cannot_read_was_not_committed(
    db: Database, database: DatabaseFactory, fresh: FreshDatabase
) -> None:
    """The reader is led to another database, so that what was written is not there."""
    heartbeat = Heartbeat(db, Database((await database("checkin")).url, pool_size=1), SCHEMA)
    assert "cannot be read" in await heartbeat.check(3)
    assert confirmed(heartbeat) == 0
    await heartbeat.close()


async def test_a_schema_that_is_too_old_is_named(db: Database, fresh: FreshDatabase) -> None:
    heartbeat = Heartbeat(db, Database(fresh.url, pool_size=1), "9999")
    assert await heartbeat.check(3) == f"schema is {SCHEMA}, the code needs 9999: run the migration job"
    await heartbeat.close()


async def test_any_number_of_probes_take_one_connection_and_interrupt_nothing(
    db: Database, fresh: FreshDatabase
) -> None:
    heartbeat = Heartbeat(db, Database(fresh.url, pool_size=1), SCHEMA)
    assert await heartbeat.check(3) == "ok"
    holder = await asyncpg.connect(fresh.owner_url)
    async with holder.transaction():
        await holder.execute("LOCK TABLE heartbeat")
        await asyncio.sleep(0.15)
        began = time.monotonic()
        answers = await asyncio.gather(*(heartbeat.check(0.2) for _ in range(50)))
        assert set(answers) == {"no answer after 0.2 s"}
        assert time.monotonic() - began < 2
        assert db.in_use == 1
        async with db.transaction() as tx:  # work goes on beside it
            await tx.fetchval("SELECT 1")
    await holder.close()
    assert await heartbeat.check(5) == "ok"
    assert (db.closed, db.refused) == (0, 0)
    await heartbeat.close()


async def test_a_pause_of_postgres_loses_nothing_that_was_recorded(tmp_path: Path) -> None:
    """Posts and probes go on while all of Postgres stands still: what was answered `recorded` is there afterwards."""
    with public_folder() as folder:
        postgres = RunningPostgres(folder)
        await postgres.start()
        await postgres.provision("checkin")
        fresh = await fresh_database(postgres, "checkin")
        async with running_checkin(fresh, tmp_path) as service:
            assert (await service.define(campaign_content())).status_code == 200
            recorded: list[str] = []
            probes: list[int] = []
            stop = asyncio.Event()

            async def post(number: int) -> None:
                viewer = f"ks_{number:04}"
                answer = await service.post_body(json.dumps([checkin(viewer)]).encode())
                if answer.status_code == 200 and answer.json()["counts"] == {"recorded": 1}:
                    recorded.append(viewer)

            async def probe() -> None:
                while not stop.is_set():
                    probes.append((await service.client.get("/health/ready")).status_code)
                    await asyncio.sleep(0.05)

            probing = [asyncio.create_task(probe()) for _ in range(4)]
            await asyncio.gather(*(post(number) for number in range(20)))
            processes = [psutil.Process(postgres.pid), *psutil.Process(postgres.pid).children(recursive=True)]
            for process in processes:
                process.send_signal(signal.SIGSTOP)
            posting = [asyncio.create_task(post(number)) for number in range(20, 40)]
            await asyncio.sleep(PAUSE_S)
            assert 503 in probes
            for process in processes:
                process.send_signal(signal.SIGCONT)
            await asyncio.gather(*posting)

            async def is_ready() -> bool:
                return (await service.client.get("/health/ready")).status_code == 200

            await eventually(is_ready, within_s=10, what="ready again")
            for number in range(40, 80):  # one after the other, so that every connection of the pool is used
                await post(number)
            stop.set()
            await asyncio.gather(*probing)
            assert len(recorded) >= 60
            observer = await asyncpg.connect(fresh.owner_url)
            stored = {row[0] for row in await observer.fetch("SELECT viewer_id FROM viewer")}
            await observer.close()
            assert set(recorded) <= stored
        await postgres.stop()
