"""What can be done to the streams: lost durables, lost streams, messages that come again."""

import asyncio
import random
from collections.abc import Awaitable, Callable
from contextlib import suppress

import nats.errors
from nats.aio.msg import Msg
from nats.js import JetStreamContext
from nats.js.api import ConsumerConfig, DeliverPolicy
from nats.js.errors import NotFoundError

from shared.bus.topology import DURABLES
from tests.e2e.faults.nemesis import Fault
from tests.e2e.faults.stack import Cluster
from tests.support.operator import CommandFailed, apply_topology, republish

NATS = frozenset({"nats"})
LOST_MAX_S = 15
DRAINED_WITHIN_S = 10
AGAIN_MAX = 300
RETRY_S = 1.0
TRIES = 60


async def until_done(do: Callable[[], Awaitable[object]]) -> None:
    """As an operator does it: again, while servers are away."""
    for left in reversed(range(TRIES)):
        try:
            await do()
            return
        except (OSError, nats.errors.Error, CommandFailed):
            if not left:
                raise
        await asyncio.sleep(RETRY_S)


async def _durable_deleted(cluster: Cluster, rng: random.Random, hold_s: float) -> str:
    durable, hold_s = rng.choice(DURABLES), min(hold_s, LOST_MAX_S)

    async def delete() -> None:
        async with cluster.nats_operator() as client:
            with suppress(NotFoundError):
                await client.jetstream().delete_consumer(durable.stream, durable.name)

    await until_done(delete)
    await asyncio.sleep(hold_s)
    await until_done(lambda: apply_topology(cluster.home))
    return f"durable {durable.name} deleted, made again after {hold_s:g} s"


async def _events_deleted(cluster: Cluster, rng: random.Random, hold_s: float) -> str:
    hold_s = min(hold_s, LOST_MAX_S)
    await until_done(lambda: _delete(cluster, "EVENTS"))
    await asyncio.sleep(hold_s)
    await until_done(lambda: apply_topology(cluster.home))
    await until_done(lambda: republish(cluster.home))
    return f"stream EVENTS deleted, made again after {hold_s:g} s and published from the outboxes"


async def _delete(cluster: Cluster, stream: str) -> None:
    async with cluster.nats_operator() as client:
        with suppress(NotFoundError):
            await client.jetstream().delete_stream(stream)


async def _live_deleted(cluster: Cluster, rng: random.Random, hold_s: float) -> str:
    """Nobody publishes meanwhile. What checkin had not yet read is unknown to its sender from now on."""
    cluster.live_open.clear()
    try:
        while cluster.live_in_flight:
            await asyncio.sleep(0.05)
        drained = await _drained(cluster)
        floor = 0

        async def delete() -> None:
            nonlocal floor
            async with cluster.nats_operator() as client:
                jetstream = client.jetstream()
                with suppress(NotFoundError):
                    info = await jetstream.consumer_info("LIVE", "checkin-live")
                    floor = info.ack_floor.stream_seq if info.ack_floor else 0
                    await jetstream.delete_stream("LIVE")

        await until_done(delete)
        cluster.on_live_deleted(floor)
        await asyncio.sleep(min(hold_s, LOST_MAX_S))
        await until_done(lambda: apply_topology(cluster.home))
    finally:
        cluster.live_open.set()
    return f"stream LIVE deleted {'once drained' if drained else f'with unread messages above {floor}'}, made again"


async def _drained(cluster: Cluster) -> bool:
    with suppress(TimeoutError, OSError, nats.errors.Error):
        async with asyncio.timeout(DRAINED_WITHIN_S), cluster.nats_operator() as client:
            while True:
                info = await client.jetstream().consumer_info("LIVE", "checkin-live")
                if not info.num_pending and not info.num_ack_pending:
                    return True
                await asyncio.sleep(0.3)
    return False


async def _again_by_hand(cluster: Cluster, rng: random.Random, hold_s: float) -> str:
    """The last messages of both streams once more, as new messages: only the inbox can know them."""
    counts = {}

    async def publish_again() -> None:
        async with cluster.nats_operator() as client:
            jetstream = client.jetstream()
            for stream in ("EVENTS", "LIVE"):
                messages = await _last_of(jetstream, stream)
                rng.shuffle(messages)
                for message in messages:
                    headers = {key: text for key, text in (message.headers or {}).items() if key != "Nats-Msg-Id"}
                    await jetstream.publish(message.subject, message.data, headers=headers or None)
                counts[stream] = len(messages)

    await until_done(publish_again)
    return f"delivered again by hand: {counts}"


async def _last_of(jetstream: JetStreamContext, stream: str) -> list[Msg]:
    """Up to `AGAIN_MAX`; none where there are none left."""
    state = (await jetstream.stream_info(stream)).state
    start = max(state.first_seq, state.last_seq - AGAIN_MAX, 1)
    config = ConsumerConfig(deliver_policy=DeliverPolicy.BY_START_SEQUENCE, opt_start_seq=start)
    reader = await jetstream.pull_subscribe(">", stream=stream, config=config)
    try:
        return await reader.fetch(AGAIN_MAX, timeout=5)
    except nats.errors.TimeoutError:
        return []


FAULTS = [
    Fault("durable deleted", NATS, _durable_deleted),
    Fault("EVENTS deleted", NATS, _events_deleted),
    Fault("LIVE deleted", NATS, _live_deleted),
    Fault("delivered again", NATS, _again_by_hand),
]
