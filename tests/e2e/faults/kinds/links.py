"""The weather between a service and its servers, and between clients and checkin."""

import asyncio
import random
from collections.abc import Callable

from shared.bus.topology import SERVICES
from tests.e2e.faults.nemesis import Fault
from tests.e2e.faults.proxy import Proxy, Weather
from tests.e2e.faults.stack import Cluster

Choose = Callable[[Cluster, random.Random], tuple[str, Proxy]]


def _to_postgres(cluster: Cluster, rng: random.Random) -> tuple[str, Proxy]:
    service = rng.choice(SERVICES)
    return f"{service}-b and Postgres", cluster.postgres_links[service]


def _to_nats(cluster: Cluster, rng: random.Random) -> tuple[str, Proxy]:
    service = rng.choice(SERVICES)
    return f"{service}-b and NATS", cluster.nats_links[service]


def _to_checkin(cluster: Cluster, rng: random.Random) -> tuple[str, Proxy]:
    return "clients and checkin-a", cluster.clients_link


def _fault(link: str, choose: Choose, weather: Weather) -> Fault:
    async def play(cluster: Cluster, rng: random.Random, hold_s: float) -> str:
        where, proxy = choose(cluster, rng)
        words = proxy.set(weather, rng)
        try:
            await asyncio.sleep(hold_s)
        finally:
            proxy.clear()
        return f"{words} between {where} for {hold_s:g} s"

    return Fault(f"{weather} {link}", frozenset({link}), play)


LINKS: dict[str, Choose] = {
    "service–Postgres": _to_postgres,
    "service–NATS": _to_nats,
    "client–checkin": _to_checkin,
}
FAULTS = [
    _fault(link, choose, weather)
    for link, choose in LINKS.items()
    for weather in Weather
    if weather is not Weather.FAIR
]
