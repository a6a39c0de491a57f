"""A real nats-server for the bus tests: same configuration as production, own folder and ports, which tests stop and kill."""

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from itertools import groupby
from pathlib import Path
from typing import Any

import nats
from nats.aio.client import Client

from shared.bus import topology
from shared.bus.topology import Durable, TopologySettings
from shared.contracts.base import Event
from tests.support import servers


class RunningNats(servers.RunningNats):
    """A nats-server with its topology and plain clients at hand; `start` after `stop` or `kill` continues on its data."""

    async def apply_topology(self, durables: tuple[Durable, ...] = topology.DURABLES) -> list[str]:
        async with self.client("topology") as client:
            return await topology.apply(client.jetstream(), topology_settings(self), durables)

    async def publish(self, *events: Event) -> None:
        """Publishes the events in this order, each as the service that owns it."""
        for owner, published in groupby(events, key=lambda event: event.OWNER):
            async with self.client(owner) as client:
                for event in published:
                    await client.jetstream().publish(event.subject(), event.model_dump_json().encode())

    @asynccontextmanager
    async def client(self, user: str, **options: Any) -> AsyncIterator[Client]:
        """A plain connection that does not use our `Bus`."""
        client = await nats.connect(
            self.url(user), **({"inbox_prefix": topology.inbox_prefix(user), "error_cb": _ignore} | options)
        )
        try:
            yield client
        finally:
            await client.close()


@asynccontextmanager
async def running_nats(folder: Path) -> AsyncIterator[RunningNats]:
    """A server with the topology and nothing in its streams."""
    server = RunningNats(folder)
    await server.start()
    await server.apply_topology()
    yield server
    await server.stop()


def topology_settings(server: RunningNats, **changes: Any) -> TopologySettings:
    return TopologySettings(**{"nats_url": server.url("topology"), "nats_wait_s": 20, **changes})


async def eventually(condition: Callable[[], Any], *, within_s: float = 10, what: str = "") -> Any:
    """Waits until the condition (a function, or a coroutine function) is true. Fails with its last value when it does not
    become true in time."""
    loop = asyncio.get_running_loop()
    deadline = loop.time() + within_s
    while True:
        value = condition()
        if asyncio.iscoroutine(value):
            value = await value
        if value:
            return value
        if loop.time() > deadline:
            raise AssertionError(f"not within {within_s} s: {what or condition}; last value {value!r}")
        await asyncio.sleep(0.02)


async def _ignore(_: Exception) -> None: ...
