"""The event stream made anew: NATS is transport, and everything in it is in the services' ledgers (DESIGN §4.2).

Live events of the platform are not in any ledger before checkin has read them, so that stream stays; its durable is made anew and
reads it from the start. checkin knows what it has recorded.
"""

from collections.abc import Awaitable
from contextlib import suppress

import nats
from nats.js.errors import NotFoundError

from shared import topology
from shared.topology import TopologySettings

LEDGER_STREAM = "EVENTS"
CONNECT_TIMEOUT_S = 10


async def begin_anew(topology_url: str, *, live: bool = False) -> list[str]:
    """Removes the ledger's stream (`live`: and the durables of the other) and makes the whole topology; a line per thing made.

    May be done under running services: their consumers come back as soon as the durables do.
    """
    client = await nats.connect(
        topology_url,
        name="keeping",
        inbox_prefix=topology.inbox_prefix("topology"),
        connect_timeout=CONNECT_TIMEOUT_S,
        allow_reconnect=False,
        error_cb=_keep_quiet,
    )
    try:
        js = client.jetstream(timeout=CONNECT_TIMEOUT_S)
        await _unless_missing(js.delete_stream(LEDGER_STREAM))
        for durable in topology.DURABLES:
            if live and durable.stream != LEDGER_STREAM:
                await _unless_missing(js.delete_consumer(durable.stream, durable.name))
        return await topology.apply(js, TopologySettings(nats_url=topology_url))
    finally:
        await client.close()


async def _unless_missing(deletion: Awaitable[object]) -> None:
    with suppress(NotFoundError):
        await deletion


async def _keep_quiet(error: Exception) -> None:
    """nats-py prints a traceback for every failed attempt; the caller gets the one that counts."""
