"""Parking has a brake: a wrong key must not empty a stream into the dead letters."""

import base64
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import asyncpg
import httpx
import nacl.public
import pytest
from fastapi import FastAPI

from services.notification.app import build_app
from shared.bus import brake, dead_letters
from shared.bus.brake import Brake
from shared.contracts.base import Event
from shared.contracts.checkin import ViewerEnrolledV1
from tests.support.databases import DatabaseFactory, FreshDatabase
from tests.support.nats_support import RunningNats, eventually
from tests.support.notification import defined, enrolled, new_settings
from tests.support.parking import Parking, parked_message

ENROLMENTS = 1_000
CONTACTS = "notification-contacts"
MORE = 12  # than are handled at once
WRONG_KEY = base64.b64encode(bytes(nacl.public.PrivateKey.generate())).decode()


@asynccontextmanager
async def running(server: RunningNats, fresh: FreshDatabase, folder: Path, **changes: Any) -> AsyncIterator[FastAPI]:
    settings = new_settings(fresh.url, folder, server.url("notification")).model_copy(update=changes)
    app = build_app(settings)
    async with app.router.lifespan_context(app):
        yield app


async def publish(server: RunningNats, *events: Event) -> None:
    async with server.client("checkin") as client:
        for event in events:
            await client.jetstream().publish(event.subject(), event.model_dump_json().encode())


async def readiness(app: FastAPI) -> tuple[int, str]:
    async with httpx.AsyncClient(transport=httpx.ASGITransport(app), base_url="http://test") as client:
        answer = await client.get("/health/ready")
    return answer.status_code, answer.json()["checks"]["bus"]


@pytest.fixture
async def server(tmp_path: Path) -> AsyncIterator[RunningNats]:
    nats = RunningNats(tmp_path)
    await nats.start()
    await nats.apply_topology()
    yield nats
    await nats.stop()


@pytest.fixture
async def owner(database: DatabaseFactory) -> AsyncIterator[tuple[FreshDatabase, asyncpg.Connection]]:
    fresh = await database("notification")
    connection = await asyncpg.connect(fresh.owner_url)
    yield fresh, connection
    await connection.close()


async def test_a_wrong_key_parks_a_handful_and_loses_nobody(
    server: RunningNats, owner: tuple[FreshDatabase, asyncpg.Connection], tmp_path: Path
) -> None:
    fresh, look = owner
    phones = {f"ks_{n:06}": f"138{n:08}" for n in range(ENROLMENTS)}
    await publish(server, defined(), *(enrolled((viewer, phone)) for viewer, phone in phones.items()))

    async def parked() -> int:
        return int(await look.fetchval("SELECT count(*) FROM dead_letter WHERE replayed_at IS NULL"))

    for _ in range(2):  # a restart with the same wrong key goes on standing where it stood
        async with running(server, fresh, tmp_path, sealing_private_key=WRONG_KEY) as app:

            async def stands(app: FastAPI = app) -> bool:
                return "stopped at message" in (await readiness(app))[1]

            await eventually(stands, within_s=20, what="the consumer stops")
            assert (await readiness(app))[0] == 503
            held = app.state.service.bus.state().durables[CONTACTS]
            assert (held.held, held.healthy) == (True, False)
            assert await parked() == brake.PARKED_MAX
            assert await look.fetchval("SELECT count(*) FROM held_message WHERE durable = $1", CONTACTS) == 1
    async with running(server, fresh, tmp_path) as app:
        service = app.state.service

        async def all_but_the_parked() -> bool:
            return bool(await look.fetchval("SELECT count(*) FROM contact") == ENROLMENTS - brake.PARKED_MAX)

        await eventually(all_but_the_parked, within_s=90, what="the enrolments are kept")
        async with service.db.transaction() as tx:
            assert await dead_letters.request_replay(tx, None) == brake.PARKED_MAX
        await eventually(service.settled, within_s=30, what="nothing is left to do")
        assert await look.fetchval("SELECT count(*) FROM contact") == ENROLMENTS
        assert await parked() == 0
        assert await look.fetchval("SELECT count(*) FROM held_message") == 0
        assert await readiness(app) == (200, "ok")


async def test_an_operator_lets_it_park_knowingly(
    server: RunningNats, owner: tuple[FreshDatabase, asyncpg.Connection], tmp_path: Path
) -> None:
    fresh, look = owner
    async with server.client("checkin") as client:
        for n in range(brake.PARKED_MAX + MORE):
            await client.jetstream().publish(ViewerEnrolledV1.subject(), b'{"not": "an event", "n": %d}' % n)
    await publish(server, defined(), enrolled(("ks_1", "13800000001")))
    async with running(server, fresh, tmp_path) as app:

        async def stands() -> bool:
            return bool(app.state.service.bus.state().durables[CONTACTS].held)

        await eventually(stands, within_s=20, what="the consumer stops")
        async with app.state.service.db.transaction() as tx:
            assert [row["durable"] for row in await dead_letters.held(tx)] == [CONTACTS]
            assert not await dead_letters.let_park(tx, "notification-definitions", 1)
            assert await dead_letters.let_park(tx, CONTACTS, MORE)

        async def kept() -> bool:
            return bool(await look.fetchval("SELECT count(*) FROM contact") == 1)

        await eventually(kept, within_s=60, what="what came after them is understood")

        async def all_parked() -> bool:
            return bool(await look.fetchval("SELECT count(*) FROM dead_letter") == brake.PARKED_MAX + MORE)

        await eventually(all_parked, within_s=30, what="all of them are parked")
        assert not await stands()


async def test_one_applied_between_lets_go_on_parking() -> None:
    parking, own = Parking(), Brake(CONTACTS, applies=True)
    for seq in range(20):
        assert await own.park(parking, parked_message(b"", durable=CONTACTS, stream_seq=seq))
        if seq % brake.PARKED_MAX == brake.PARKED_MAX - 1:
            await own.applied(parking)
    assert len(parking.parked) == 20


async def test_the_same_message_again_is_one_message() -> None:
    """Parked, and the server never heard so: it comes again, any number of times."""
    parking, own = Parking(), Brake(CONTACTS, applies=True)
    for _ in range(20):
        assert await own.park(parking, parked_message(b"", durable=CONTACTS, stream_seq=1))
    for seq in range(2, brake.PARKED_MAX + 1):
        assert await own.park(parking, parked_message(b"", durable=CONTACTS, stream_seq=seq))
    assert not await own.park(parking, parked_message(b"", durable=CONTACTS, stream_seq=99))
    assert own.held is not None
    await own.applied(parking)
    assert own.held is None
    assert parking.held == {}


async def test_what_comes_from_outside_never_brakes() -> None:
    parking, own = Parking(), Brake("checkin-live", applies=False)
    for seq in range(20):
        assert await own.park(parking, parked_message(b"", durable=CONTACTS, stream_seq=seq))
    assert own.held is None
