"""The wall clock of one service ten minutes off: it jumps while the service runs, and jumps back."""

import asyncio
import random
from pathlib import Path

from shared.bus.topology import SERVICES
from tests.e2e.faults.nemesis import Fault
from tests.e2e.faults.stack import Cluster

OFF_S = 600
READY_WITHIN_S = 60
LIBRARY = next(Path("/usr/lib").glob("*/faketime/libfaketimeMT.so.1"), None)


def _wrong(kind: str, off_s: int) -> Fault:
    async def play(cluster: Cluster, rng: random.Random, hold_s: float) -> str:
        service = rng.choice(SERVICES)
        replica, name = cluster.replicas[service], f"{service}-b"
        clock = cluster.home.root / f"{service}-b.faketime"
        clock.write_text("+0\n")
        replica.extra = {
            "LD_PRELOAD": str(LIBRARY),
            "FAKETIME_TIMESTAMP_FILE": str(clock),
            "FAKETIME_CACHE_DURATION": "1",
            "DONT_FAKE_MONOTONIC": "1",
            "FAKETIME_DONT_FAKE_MONOTONIC": "1",
        }
        try:
            await replica.restart()
            await cluster.until_ready(READY_WITHIN_S, [name])
            clock.write_text(f"{off_s:+d}\n")
            await asyncio.sleep(max(hold_s, 5))
            clock.write_text("+0\n")
            await asyncio.sleep(2)
        finally:
            replica.extra = {}
            await replica.restart()
        return f"clock of {name} {off_s:+d} s for {max(hold_s, 5):g} s"

    return Fault(kind, frozenset({"clock"}), play)


FAULTS = [_wrong("clock forward", OFF_S), _wrong("clock back", -OFF_S)]
