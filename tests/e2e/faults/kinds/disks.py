"""A full disk, then space again."""

import asyncio
import random
import signal

from tests.e2e.faults.nemesis import Fault
from tests.e2e.faults.small_disks import CERTIFICATES, NATS, POSTGRES
from tests.e2e.faults.stack import Cluster


def _full(which: str, target: str) -> Fault:
    async def play(cluster: Cluster, rng: random.Random, hold_s: float) -> str:
        assert cluster.disks is not None, "the stack was started without small disks"
        cluster.disks.fill(which)
        try:
            await asyncio.sleep(hold_s)
        finally:
            cluster.disks.empty()
        if which == NATS:  # it does not recover by itself: `fanzha doctor` and the alert say to restart it
            cluster.signal("nats", signal.SIGTERM)
        return f"disk of {which} full for {hold_s:g} s"

    return Fault(f"disk full {which}", frozenset({target}), play)


FAULTS = [_full(POSTGRES, "postgres"), _full(NATS, "nats"), _full(CERTIFICATES, "certificate")]
