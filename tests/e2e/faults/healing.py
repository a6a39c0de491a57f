"""After the faults: everything runs again, and what waits is worked off. How long that takes is a figure of the run."""

import asyncio
import time
from contextlib import suppress

from shared.bus.topology import DURABLES, SERVICES
from tests.e2e.faults.kinds.bus import until_done
from tests.e2e.faults.stack import Cluster
from tests.support.operator import apply_topology

LOOK_EVERY_S = 1.0
RECOVERED_WITHIN_S = 240  # a text whose sending nobody knows of is asked about after 60 s, tried again after 60 and 300
CALM_LOOKS = 2

# A replica whose clock was ahead dates what it does into the future, and the others do the rest when that has come.
SCHEDULED = (
    "status IN ('queued', 'unknown') AND reason IS NULL "
    "AND coalesce(query_at, retry_at, due_at) > now() + make_interval(secs => 90)"
)
OPEN_WORK = {
    "certificate": "SELECT count(*) FROM completion WHERE NOT issued",
    "notification": f"""
        SELECT count(*) FROM certificate c
        LEFT JOIN notification n ON n.campaign_id = c.campaign_id AND n.period = c.serial AND NOT ({SCHEDULED})
        WHERE c.issued_at IS NOT NULL
          AND (c.planned_revision = 0 OR n.status IN ('sending', 'unknown') OR n.status = 'queued' AND n.reason IS NULL)
    """,
}


async def heal(cluster: Cluster) -> None:
    """Takes every fault back that is still in force, as far as the suite is who did it."""
    cluster.thaw_all()
    for proxy in cluster.proxies():
        proxy.clear()
    if cluster.disks:
        cluster.disks.empty()
    for replica in cluster.replicas.values():
        if replica.extra:
            replica.extra = {}
            await replica.restart()
    await cluster.bring_up()
    await until_done(lambda: apply_topology(cluster.home))


async def recover(cluster: Cluster, within_s: float = RECOVERED_WITHIN_S) -> tuple[float, list[str]]:
    """Waits until nothing is open; the seconds it took, and what was still open in the end."""
    began, calm_since, calm = time.monotonic(), None, 0
    while True:
        left = await what_is_open(cluster)
        now = time.monotonic()
        calm = 0 if left else calm + 1
        calm_since = None if left else calm_since or now
        if calm_since is not None and calm >= CALM_LOOKS:
            return calm_since - began, []
        if now - began > within_s:
            return now - began, left
        await asyncio.sleep(LOOK_EVERY_S)


async def what_is_open(cluster: Cluster) -> list[str]:
    """In words; nothing when the stack is at rest."""
    left = [f"{name} is not ready" for name in await cluster.not_ready()]
    with suppress_as(left, "a database"):
        for service in SERVICES:
            async with cluster.database(service) as db:
                if waiting := await db.fetchval("SELECT count(*) FROM outbox_pending"):
                    left.append(f"{waiting} events wait in the outbox of {service}")
                if (work := OPEN_WORK.get(service)) and (count := await db.fetchval(work)):
                    left.append(f"{count} rows of work wait in {service}")
    with suppress_as(left, "NATS"):
        async with cluster.nats_operator() as client:
            for durable in DURABLES:
                info = await client.jetstream().consumer_info(durable.stream, durable.name)
                if count := (info.num_pending or 0) + (info.num_ack_pending or 0):
                    left.append(f"{count} messages wait for {durable.name}")
    return left


class suppress_as(suppress):
    """What goes wrong while asking `whom` is a line in `left`."""

    def __init__(self, left: list[str], whom: str) -> None:
        super().__init__(Exception)
        self._left, self._whom = left, whom

    def __exit__(self, kind: object, error: object, trace: object) -> bool:
        if isinstance(error, Exception):
            self._left.append(f"{self._whom} cannot be asked: {type(error).__name__}: {error}")
            return True
        return False
