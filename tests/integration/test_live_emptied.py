"""What the live platform sends over the bus leaves its stream when checkin has committed it, and not before."""

import asyncio
import json
from collections.abc import AsyncIterator
from contextlib import suppress
from pathlib import Path

import asyncpg
import pytest
from nats.js.errors import NotFoundError

from shared.bus import Bus, Poison, build_router, subscribe_raw, topology
from shared.bus.emptying import empty_behind
from shared.bus.topology import LIVE_SUBJECT
from tests.support.campaigns import campaign_content
from tests.support.checkin import checkin, enrolment, running_checkin
from tests.support.databases import DatabaseFactory
from tests.support.nats_support import RunningNats, eventually, running_nats
from tests.support.parking import Parking
from upkeep import stream

DURABLE = topology.durable("checkin-live")
PHONE = "13900001234"
LAG_S = 0.5  # how often checkin looks; in production 5 s (shared/bus/connection.py)


@pytest.fixture
async def server(tmp_path: Path) -> AsyncIterator[RunningNats]:
    async with running_nats(tmp_path) as server:
        yield server


async def publish(server: RunningNats, *bodies: bytes) -> None:
    async with server.client("live") as client:
        for body in bodies:
            await client.jetstream().publish(LIVE_SUBJECT, body)


async def stored(server: RunningNats) -> list[bytes]:
    """What is in the stream, in order."""
    async with server.client("operator", inbox_prefix="_INBOX") as client:
        js = client.jetstream()
        state = (await js.stream_info("LIVE")).state
        bodies = []
        for sequence in range(state.first_seq, state.last_seq + 1):
            try:
                bodies.append((await js.get_msg("LIVE", sequence)).data or b"")
            except NotFoundError:
                continue
        return bodies


async def stays(server: RunningNats, bodies: list[bytes], for_s: float) -> None:
    await eventually(lambda: _is_stored(server, bodies), within_s=15, what=f"{bodies} in the stream")
    await asyncio.sleep(for_s)
    assert await stored(server) == bodies


async def _is_stored(server: RunningNats, bodies: list[bytes]) -> bool:
    return await stored(server) == bodies


async def made_anew(server: RunningNats) -> None:
    async with server.client("topology") as client:
        await client.jetstream().delete_consumer("LIVE", DURABLE.name)
    await server.apply_topology()


def is_on_disk(server: RunningNats, text: str) -> bool:
    """In any file of the server, which deletes them in the background."""
    for path in sorted(server.server.data.rglob("*")):
        with suppress(FileNotFoundError, IsADirectoryError):
            if text.encode() in path.read_bytes():
                return True
    return False


async def test_messages_leave_in_order_once_everything_before_them_was_answered(server: RunningNats) -> None:
    gate, handled = asyncio.Event(), []
    router = build_router()

    @subscribe_raw(router, durable=DURABLE)
    async def take(body: bytes) -> None:
        if body == b"slow":
            await gate.wait()
        if body == b"poison":
            raise Poison("not an event")
        handled.append(body)

    bus = Bus(server.url("checkin"), "checkin", routers=[router], lag_every_s=0.1)
    parking = Parking()
    bus.on_park(parking)
    starting = asyncio.create_task(bus.start())
    await publish(server, b"first", b"slow", b"later", b"poison")
    await eventually(lambda: handled == [b"first", b"later"] and parking.parked)
    await stays(server, [b"slow", b"later", b"poison"], for_s=0.5)
    gate.set()
    await stays(server, [], for_s=0)
    await made_anew(server)
    await publish(server, b"after")
    await eventually(lambda: b"after" in handled)
    assert (handled, len(parking.parked)) == ([b"first", b"later", b"slow", b"after"], 1)
    await bus.stop()
    starting.cancel()


async def test_contact_data_on_the_bus_is_gone_when_it_was_handled(
    server: RunningNats, database: DatabaseFactory, tmp_path: Path
) -> None:
    bodies = [
        json.dumps([enrolment("a", name="观众", phone=PHONE), checkin("a")]).encode(),
        f"not an event {PHONE}".encode(),
    ]
    mine, url = await database("checkin"), server.url("checkin")
    async with running_checkin(mine, tmp_path, nats_url=url, lag_every_s=LAG_S) as service:
        assert (await service.define(campaign_content())).is_success
    await publish(server, *bodies)
    assert is_on_disk(server, PHONE)
    async with running_checkin(mine, tmp_path, nats_url=url, lag_every_s=LAG_S) as service:
        await stays(server, [], for_s=0)
        await eventually(lambda: not is_on_disk(server, PHONE), what="no phone in a file of the server")
        await made_anew(server)
        await eventually(service.service.settled, what="nothing left to do")
        assert await service.rows("SELECT viewer_id FROM viewer") == [("a",)]
        [(payload, reason)] = await service.rows("SELECT payload, reason FROM dead_letter")
        assert (payload, PHONE in reason) == (None, False)


async def test_what_is_not_committed_stays(server: RunningNats, database: DatabaseFactory, tmp_path: Path) -> None:
    mine = await database("checkin")
    body = json.dumps(checkin("a")).encode()
    async with running_checkin(mine, tmp_path, nats_url=server.url("checkin"), lag_every_s=LAG_S) as service:
        assert (await service.define(campaign_content())).is_success
        other = await asyncpg.connect(mine.owner_url)
        async with other.transaction():
            await other.execute("LOCK TABLE viewer")
            await publish(server, body)
            await stays(server, [body], for_s=2 * LAG_S)
        await stays(server, [], for_s=0)
        assert await service.rows("SELECT viewer_id FROM viewer") == [("a",)]
        await other.close()


async def test_two_replicas_empty_it_together_and_lose_nothing(
    server: RunningNats, database: DatabaseFactory, tmp_path: Path
) -> None:
    mine, viewers = await database("checkin"), [f"v{n:03}" for n in range(60)]
    url = server.url("checkin")
    async with (
        running_checkin(mine, tmp_path, nats_url=url, lag_every_s=LAG_S) as one,
        running_checkin(mine, tmp_path, nats_url=url, lag_every_s=LAG_S),
    ):
        assert (await one.define(campaign_content())).is_success
        for viewer in viewers:
            await publish(server, json.dumps(checkin(viewer)).encode())
            await asyncio.sleep(0.05)  # over more than one look of each
        await stays(server, [], for_s=0)
        assert await one.rows("SELECT viewer_id FROM viewer ORDER BY 1") == [(viewer,) for viewer in viewers]


# ---- the commands that forget, restore and rebuild -------------------------------------------------------------------


async def handle(server: RunningNats, count: int) -> None:
    """Reads and acknowledges, past checkin: as if it had ended right then."""
    async with server.client("checkin") as client:
        inbox = await client.subscribe("_INBOX_checkin.raw")
        for _ in range(count):
            await client.publish(f"{topology.NEXT}.LIVE.{DURABLE.name}", b"", reply="_INBOX_checkin.raw")
            await (await inbox.next_msg(5)).ack_sync()


async def test_the_commands_remove_what_was_handled_and_nothing_else(server: RunningNats) -> None:
    await publish(server, b"one", b"two", b"three")
    await handle(server, 1)
    assert await stream.empty_live(server.url("topology")) == 2
    assert await stored(server) == [b"two", b"three"]
    await handle(server, 1)
    await stream.begin_anew(server.url("topology"), live=True)
    assert await stored(server) == [b"three"], "what was handled does not come to the durable made anew"
    async with server.client("checkin") as client:
        assert (await client.jetstream().consumer_info("LIVE", DURABLE.name)).num_pending == 1


async def test_a_durable_that_was_made_to_begin_at_the_end_empties_nothing(server: RunningNats) -> None:
    await publish(server, b"one")
    async with server.client("topology") as client:
        js = client.jetstream()
        await js.delete_consumer("LIVE", DURABLE.name)
        config = topology.consumer_config(DURABLE).evolve(deliver_policy="new")
        await js.add_consumer("LIVE", config=config)
    assert await stream.empty_live(server.url("topology")) == 1


async def test_what_was_asked_of_a_deleted_stream_does_nothing_to_the_one_made_since(server: RunningNats) -> None:
    """A replica that stood still between looking and removing, while the stream was lost and made anew."""
    await publish(server, b"one", b"two", b"three")
    await handle(server, 3)
    async with server.client("checkin") as client:
        js = client.jetstream()
        seen = await js.consumer_info("LIVE", DURABLE.name)
        async with server.client("topology") as keeper:
            await keeper.jetstream().delete_stream("LIVE")
        await server.apply_topology()
        await publish(server, b"new")
        await empty_behind(js, DURABLE, seen)
    assert await stored(server) == [b"new"]
