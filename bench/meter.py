"""Measures CPU, memory, log and fsyncs of everything that runs, from a start to an end."""

import asyncio
import threading
import time
from collections import defaultdict
from collections.abc import Callable, Mapping
from contextlib import suppress
from dataclasses import dataclass, field
from typing import Any

import asyncpg
import psutil

from shared.bus.topology import SERVICES

SAMPLE_EVERY_S = 0.2
STATISTICS_S = 1.2  # a backend reports its statistics at most once a second
MIB = 1024 * 1024


@dataclass
class Usage:
    """`cpu_s` and `peak_mib` are by process; those of Postgres by the service for which its backends worked."""

    cpu_s: dict[str, float]
    peak_mib: dict[str, float]
    wal_bytes: int
    fsyncs: int  # of the write-ahead log
    nats_messages: int  # one fsync each at the server
    others_cores: float  # cores that other programs kept busy meanwhile

    def total_cpu_s(self) -> float:
        return sum(self.cpu_s.values())


@dataclass
class _Reading:
    cpu: dict[tuple[str, int], float]
    lsn: int
    fsyncs: int
    nats_messages: int
    machine_cpu_s: float
    at: float


@dataclass
class Meter:
    """`start()`, the work, `stop()`. `processes`: names and pids, asked again at the end, for a service may be restarted."""

    postgres: asyncpg.Connection  # superuser
    processes: Callable[[], Mapping[str, int]]
    nats_messages: Callable[[], int]
    _peak: dict[str, float] = field(default_factory=dict)
    _stop: threading.Event = field(default_factory=threading.Event)
    _thread: threading.Thread = field(init=False)
    _before: _Reading = field(init=False)

    async def start(self) -> None:
        self._before = await self._read()
        self._peak, self._stop = {}, threading.Event()
        self._thread = threading.Thread(target=self._sample, daemon=True)
        self._thread.start()

    async def stop(self) -> Usage:
        self._stop.set()
        self._thread.join()
        before, after = self._before, await self._read()
        cpu: dict[str, float] = defaultdict(float)
        for (name, pid), seconds in after.cpu.items():
            cpu[name] += seconds - before.cpu.get((name, pid), 0.0)
        others_s = after.machine_cpu_s - before.machine_cpu_s - sum(cpu.values())
        return Usage(
            dict(cpu),
            self._peak,
            after.lsn - before.lsn,
            after.fsyncs - before.fsyncs,
            after.nats_messages - before.nats_messages,
            max(others_s, 0.0) / (after.at - before.at),
        )

    async def _read(self) -> _Reading:
        processes = self.processes()
        roles = await self.postgres.fetch(
            "SELECT pid, coalesce(nullif(application_name, ''), backend_type) AS role FROM pg_stat_activity"
        )
        role_of = {row["pid"]: row["role"] for row in roles}
        cpu: dict[tuple[str, int], float] = {}
        for name, pid in processes.items():
            with suppress(psutil.Error):
                process = psutil.Process(pid)
                cpu[name, pid] = _seconds(process)
                if name == "postgres":
                    times = process.cpu_times()
                    cpu["postgres: ended", pid] = times.children_user + times.children_system
                    for child in process.children():
                        with suppress(psutil.Error):
                            role = _postgres_role(role_of.get(child.pid, "other"))
                            cpu[f"postgres: {role}", child.pid] = _seconds(child)
        lsn: Any = await self.postgres.fetchval("SELECT pg_current_wal_lsn() - '0/0'::pg_lsn")
        machine = psutil.cpu_times()
        busy_s = sum(machine) - machine.idle - machine.iowait - machine.guest - machine.guest_nice
        at = time.monotonic()
        await asyncio.sleep(STATISTICS_S)
        fsyncs: Any = await self.postgres.fetchval("SELECT sum(fsyncs) FROM pg_stat_io WHERE object = 'wal'")
        return _Reading(cpu, int(lsn), int(fsyncs or 0), self.nats_messages(), busy_s, at)

    def _sample(self) -> None:
        while not self._stop.wait(SAMPLE_EVERY_S):
            for name, pid in self.processes().items():
                with suppress(psutil.Error):
                    self._peak[name] = max(self._peak.get(name, 0.0), memory_mib(name, psutil.Process(pid)))


def memory_mib(name: str, process: psutil.Process) -> float:
    """Resident memory; for Postgres, memory of its processes without the shared buffers."""
    memory = process.memory_info()
    if name != "postgres":
        return float(memory.rss / MIB)
    private = memory.rss - memory.shared
    for child in process.children():
        with suppress(psutil.Error):
            memory = child.memory_info()
            private += memory.rss - memory.shared
    return float(private / MIB)


def _seconds(process: psutil.Process) -> float:
    times = process.cpu_times()
    return float(times.user + times.system)


def _postgres_role(role: str) -> str:
    return role if role in (*SERVICES, "bench") else "background"
