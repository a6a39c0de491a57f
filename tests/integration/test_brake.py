"""Parking has a brake: a wrong key must not empty a stream into the dead letters."""

import base64
from collections.abc import AsyncIterator
from contextlib import AbstractAsyncContextManager
from pathlib import Path
from typing import Any

import asyncpg
import nacl.public
import pytest

from shared.bus import brake, dead_letters
from shared.bus.brake import Brake
from shared.bus.pull import PullTimes
from shared.contracts.checkin import ViewerEnrolledV1
from tests.support.databases import DatabaseFactory, FreshDatabase
from tests.support.nats_support import RunningNats, eventually, running_nats
from tests.support.notification import NotificationService, defined, enrolled
from tests.support.parking import Parking, parked_message

ENROLMENTS = 1_000
CONTACTS = "notification-contacts"
MORE = 12  # than are handled at once
TIMES = PullTimes(standing_min_s=0.1, standing_max_s=1)  # a consumer that stands tries again for ever
WRONG_KEY = base64.b64encode(bytes(nacl.public.PrivateKey.generate())).decode()


def running(
    server: RunningNats, fresh: FreshDatabase, folder: Path, **changes: Any
) -> AbstractAsyncContextManager[NotificationService]:
    return NotificationService(fresh.url, folder, nats_url=server.url("notification"), times=TIMES, **changes).running()


async def readiness(service: NotificationService) -> tuple[int, str]:
    answer = await service.client.get("/health/ready")
    return answer.status_code, answer.json()["checks"]["bus"]


@pytest.fixture
async def server(tmp_path: Path) -> AsyncIterator[RunningNats]:
    async with running_nats(tmp_path) as server:
        yield server


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
    await server.publish(defined(), *(enrolled((viewer, phone)) for viewer, phone in phones.items()))

    async def parked() -> int:
        return int(await look.fetchval("SELECT count(*) FROM dead_letter WHERE replayed_at IS NULL"))

    for _ in range(2):  # a restart with the same wrong key goes on standing where it stood
        async with running(server, fresh, tmp_path, sealing_private_key=WRONG_KEY) as service:

            async def stands(service: NotificationService = service) -> bool:
                return "stopped at message" in (await readiness(service))[1]

            await eventually(stands, within_s=20, what="the consumer stops")
            assert (await readiness(service))[0] == 503
            held = service.service.bus.state().durables[CONTACTS]
            assert (held.held, held.healthy) == (True, False)
            assert await parked() == brake.PARKED_MAX
            assert await look.fetchval("SELECT count(*) FROM held_message WHERE durable = $1", CONTACTS) == 1
    async with running(server, fresh, tmp_path) as service:

        async def all_but_the_parked() -> bool:
            return bool(await look.fetchval("SELECT count(*) FROM contact") == ENROLMENTS - brake.PARKED_MAX)

        await eventually(all_but_the_parked, within_s=90, what="the enrolments are kept")
        async with service.db.transaction() as tx:
            assert await dead_letters.request_replay(tx, None) == brake.PARKED_MAX
        await eventually(service.service.settled, within_s=30, what="nothing is left to do")
        assert await look.fetchval("SELECT count(*) FROM contact") == ENROLMENTS
        assert await parked() == 0
        assert await look.fetchval("SELECT count(*) FROM held_message") == 0
        assert await readiness(service) == (200, "ok")


async def test_an_operator_lets_it_park_knowingly(
    server: RunningNats, owner: tuple[FreshDatabase, asyncpg.Connection], tmp_path: Path
) -> None:
    fresh, look = owner
    async with server.client("checkin") as client:
        for n in range(brake.PARKED_MAX + MORE):
            await client.jetstream().publish(ViewerEnrolledV1.subject(), b'{"not": "an event", "n": %d}' % n)
    await server.publish(defined(), enrolled(("ks_1", "13800000001")))
    async with running(server, fresh, tmp_path) as service:

        async def stands() -> bool:
            return bool(service.service.bus.state().durables[CONTACTS].held)

        await eventually(stands, within_s=20, what="the consumer stops")
        async with service.db.transaction() as tx:
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
    parking, consumer_brake = Parking(), Brake(CONTACTS, applies=True)
    for seq in range(20):
        assert await consumer_brake.park(parking, parked_message(b"", durable=CONTACTS, stream_seq=seq))
        if seq % brake.PARKED_MAX == brake.PARKED_MAX - 1:
            await consumer_brake.applied(parking)
    assert len(parking.parked) == 20


async def test_the_same_message_again_is_one_message() -> None:
    """Parked, and the server never heard so: it comes again, any number of times."""
    parking, consumer_brake = Parking(), Brake(CONTACTS, applies=True)
    for _ in range(20):
        assert await consumer_brake.park(parking, parked_message(b"", durable=CONTACTS, stream_seq=1))
    for seq in range(2, brake.PARKED_MAX + 1):
        assert await consumer_brake.park(parking, parked_message(b"", durable=CONTACTS, stream_seq=seq))
    assert not await consumer_brake.park(parking, parked_message(b"", durable=CONTACTS, stream_seq=99))
    assert consumer_brake.held is not None
    await consumer_brake.applied(parking)
    assert consumer_brake.held is None
    assert parking.held == {}


async def test_what_comes_from_outside_never_brakes() -> None:
    parking, consumer_brake = Parking(), Brake("checkin-live", applies=False)
    for seq in range(20):
        assert await consumer_brake.park(parking, parked_message(b"", durable=CONTACTS, stream_seq=seq))
    assert consumer_brake.held is None
