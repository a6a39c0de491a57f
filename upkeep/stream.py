"""Makes the event stream anew: NATS only transports, and every event in it is in the services' ledgers (DESIGN §4.2).

Live events of the platform are in no ledger before checkin has recorded them, so their stream stays, without what checkin has
recorded. Its durable is made anew and reads the stream from the start; checkin ignores what it has recorded before.
"""

from collections.abc import AsyncIterator, Awaitable
from contextlib import asynccontextmanager, suppress

import nats
from nats.js import JetStreamContext
from nats.js.errors import NotFoundError

from shared.bus import topology
from shared.bus.emptying import empty_behind
from shared.bus.topology import TopologySettings

LEDGER_STREAM = "EVENTS"
CONNECT_TIMEOUT_S = 10


async def begin_anew(topology_url: str, *, live: bool = False) -> list[str]:
    """Removes the ledger's stream (with `live` also the durables of the other one) and makes the whole topology. Returns a line
    per thing made.

    May be done under running services: their consumers come back as soon as the durables do.
    """
    async with _connected(topology_url) as js:
        await _empty(js)
        await _unless_missing(js.delete_stream(LEDGER_STREAM))
        for durable in topology.DURABLES:
            if live and durable.stream != LEDGER_STREAM:
                await _unless_missing(js.delete_consumer(durable.stream, durable.name))
        return await topology.apply(js, TopologySettings(nats_url=topology_url))


async def empty_live(topology_url: str) -> int:
    """Removes what checkin has recorded from the live platform's stream; returns how many messages are not recorded yet."""
    async with _connected(topology_url) as js:
        return await _empty(js)


async def _empty(js: JetStreamContext) -> int:
    left = 0
    for stream in topology.STREAMS:
        if stream.emptied_behind:
            durable = topology.durable(stream.emptied_behind)
            with suppress(NotFoundError):
                await empty_behind(js, durable, await js.consumer_info(durable.stream, durable.name))
                left += (await js.stream_info(stream.name)).state.messages
    return left


@asynccontextmanager
async def _connected(topology_url: str) -> AsyncIterator[JetStreamContext]:
    client = await nats.connect(
        topology_url,
        name="keeping",
        inbox_prefix=topology.inbox_prefix("topology"),
        connect_timeout=CONNECT_TIMEOUT_S,
        allow_reconnect=False,
        max_reconnect_attempts=1,  # otherwise the first connection is tried for two minutes
        reconnect_time_wait=1,
        error_cb=_keep_quiet,
    )
    try:
        yield client.jetstream(timeout=CONNECT_TIMEOUT_S)
    finally:
        await client.close()


async def _unless_missing(deletion: Awaitable[object]) -> None:
    with suppress(NotFoundError):
        await deletion


async def _keep_quiet(error: Exception) -> None:
    """Ignores errors of single attempts, for which nats-py would print tracebacks; the caller gets the final error."""
