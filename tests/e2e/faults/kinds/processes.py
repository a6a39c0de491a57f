"""Processes killed, frozen, restarted: each alone and in groups."""

import asyncio
import random
import signal
from collections.abc import Sequence

import psutil

from shared.bus.topology import SERVICES
from tests.e2e.faults.nemesis import Fault
from tests.e2e.faults.stack import CHILDREN, Cluster

ALL = frozenset({*CHILDREN, "supervisor"})
READY_WITHIN_S = 60
CATCH_TRIES = 200


def _victims(name: str, rng: random.Random) -> list[str]:
    """Of a service one replica or both."""
    if name not in SERVICES:
        return [name]
    return rng.choice(([f"{name}-a"], [f"{name}-b"], [f"{name}-a", f"{name}-b"]))


async def _kill(cluster: Cluster, names: Sequence[str]) -> None:
    for name in names:
        while not cluster.signal(name, signal.SIGKILL):
            await asyncio.sleep(0.1)


async def _freeze(cluster: Cluster, names: Sequence[str], hold_s: float) -> None:
    for name in names:
        while not cluster.signal(name, signal.SIGSTOP):
            await asyncio.sleep(0.1)
        if name == "postgres":  # a backend that was born meanwhile
            cluster.signal(name, signal.SIGSTOP)
    try:
        await asyncio.sleep(hold_s)
    finally:
        cluster.thaw(names)


def _killing(name: str) -> Fault:
    async def play(cluster: Cluster, rng: random.Random, hold_s: float) -> str:
        victims = _victims(name, rng)
        await _kill(cluster, victims)
        await asyncio.sleep(1)  # no other fault of this target before it had a chance to come back
        return f"kill -9 of {' and '.join(victims)}"

    return Fault(f"kill {name}", frozenset({name}), play)


def _freezing(name: str) -> Fault:
    async def play(cluster: Cluster, rng: random.Random, hold_s: float) -> str:
        victims = _victims(name, rng)
        await _freeze(cluster, victims, hold_s)
        return f"{' and '.join(victims)} frozen for {hold_s:g} s"

    return Fault(f"freeze {name}", frozenset({name}), play)


def _group(rng: random.Random) -> list[str]:
    names = rng.sample(CHILDREN, rng.randint(2, 4))
    return [victim for name in names for victim in _victims(name, rng)]


async def _kill_group(cluster: Cluster, rng: random.Random, hold_s: float) -> str:
    victims = _group(rng)
    await _kill(cluster, victims)
    await asyncio.sleep(1)
    return f"kill -9 of {', '.join(victims)} at once"


async def _freeze_group(cluster: Cluster, rng: random.Random, hold_s: float) -> str:
    victims = _group(rng)
    await _freeze(cluster, victims, hold_s)
    return f"{', '.join(victims)} frozen for {hold_s:g} s"


async def _kill_supervisor(cluster: Cluster, rng: random.Random, hold_s: float) -> str:
    """The kernel ends its children with it; somebody starts it again."""
    await _kill(cluster, ["supervisor"])
    away_s = min(hold_s, 10)
    await asyncio.sleep(away_s)
    await cluster.bring_up()
    return f"kill -9 of the supervisor, started again after {away_s:g} s"


async def _freeze_supervisor(cluster: Cluster, rng: random.Random, hold_s: float) -> str:
    """And one of its children dies meanwhile, whom nobody starts again before it goes on."""
    victim = rng.choice(CHILDREN)
    victim = f"{victim}-a" if victim in SERVICES else victim
    freezing = asyncio.create_task(_freeze(cluster, ["supervisor"], hold_s))
    await asyncio.sleep(min(0.5, hold_s / 2))
    cluster.signal(victim, signal.SIGKILL)
    await freezing
    return f"supervisor frozen for {hold_s:g} s while {victim} was killed"


def _rolling(service: str) -> Fault:
    async def play(cluster: Cluster, rng: random.Random, hold_s: float) -> str:
        order = [f"{service}-a", f"{service}-b"]
        rng.shuffle(order)
        for name in order:
            cluster.signal(name, signal.SIGTERM)
            await asyncio.sleep(1)
            await cluster.until_ready(READY_WITHIN_S, [name])
        return f"rolling restart of {' and '.join(order)}"

    return Fault(f"rolling restart {service}", frozenset({service}), play)


def _frozen_inside(service: str) -> Fault:
    """Replica a stands still while it holds a transaction open; replica b is healthy."""

    async def play(cluster: Cluster, rng: random.Random, hold_s: float) -> str:
        name = f"{service}-a"
        caught = False
        async with cluster.database(service) as connection:
            for _ in range(CATCH_TRIES):
                if not cluster.signal(name, signal.SIGSTOP):
                    await asyncio.sleep(0.2)
                    continue
                caught = bool(
                    await connection.fetchval(
                        "SELECT count(*) FROM pg_stat_activity WHERE state = 'idle in transaction' AND client_port = ANY($1)",
                        _ports_of(cluster, name),
                    )
                )
                if caught:
                    break
                cluster.thaw([name])
                await asyncio.sleep(rng.uniform(0.005, 0.1))
        try:
            if not caught:
                cluster.signal(name, signal.SIGSTOP)
            await asyncio.sleep(hold_s)
        finally:
            cluster.thaw([name])
        return f"{name} frozen for {hold_s:g} s {'inside' if caught else 'outside'} a transaction"

    return Fault(f"frozen replica {service}", frozenset({service}), play)


def _ports_of(cluster: Cluster, name: str) -> list[int]:
    ports = []
    for process in cluster.processes(name):
        try:
            connections = process.net_connections(kind="tcp")
        except psutil.Error:
            continue
        ports += [
            connection.laddr.port
            for connection in connections
            if connection.raddr and connection.raddr.port == cluster.ports.postgres
        ]
    return ports


FAULTS = [
    *(_killing(name) for name in CHILDREN),
    *(_freezing(name) for name in CHILDREN),
    Fault("kill group", ALL, _kill_group),
    Fault("freeze group", ALL, _freeze_group),
    Fault("kill supervisor", ALL, _kill_supervisor),
    Fault("freeze supervisor", ALL, _freeze_supervisor),
    *(_rolling(service) for service in SERVICES),
    *(_frozen_inside(service) for service in SERVICES),
]
