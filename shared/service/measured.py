"""Figures that take too long for a scrape: measured every ten minutes in the background; a scrape shows the last result."""

import asyncio
from collections.abc import Iterable, Sequence

import structlog
from prometheus_client.core import GaugeMetricFamily, Metric

from shared.bus import inbox, outbox
from shared.bus.topology import DURABLES
from shared.database import Database, DatabaseAway, Transaction
from shared.service.metrics import Collector

log = structlog.get_logger()

EVERY_S = 600.0  # a million events take Postgres 0.6 s in an inbox, 2 s in a ledger, on a busy machine
AWAY_S = 30.0  # where the database is


class Measured:
    """`run` is a background loop of the service, `last` one of its collectors. A figure that was not measured yet, or could not
    be measured the last time, is left out: an old one is never shown."""

    def __init__(self, db: Database, collectors: Sequence[Collector], every_s: float = EVERY_S) -> None:
        self._db = db
        self._collectors = collectors
        self._every_s = every_s
        self._families: list[Metric] = []

    async def run(self) -> None:
        """Runs until cancelled."""
        wait_s = AWAY_S
        while True:
            try:
                await self.measure()
            except DatabaseAway:
                await asyncio.sleep(wait_s)
                wait_s = min(2 * wait_s, self._every_s)  # perhaps the counting takes too long
            else:
                wait_s = AWAY_S
                await asyncio.sleep(self._every_s)

    async def measure(self) -> None:
        """Raises `DatabaseAway`."""
        try:
            async with self._db.transaction() as tx:
                await tx.execute("SET LOCAL max_parallel_workers_per_gather = 0")  # nobody waits for it
                self._families = [family for collect in self._collectors for family in await collect(tx)]
        except DatabaseAway:
            self._families = []
            raise
        except Exception as error:
            self._families = []
            log.warning("slow figures left out of /metrics", error=repr(error))

    async def last(self, _: Transaction) -> Iterable[Metric]:
        return self._families


def events(service: str) -> Collector:
    """A collector for one service: events in its ledger by subject, and events applied by each durable, zeros included."""

    async def collect(tx: Transaction) -> Iterable[Metric]:
        ledger = GaugeMetricFamily(
            "fanzha_events_in_ledger",
            "Events that the service has committed, every ten minutes. A durable that has applied more: alert LedgerExceeded.",
            labels=["subject"],
        )
        applied = GaugeMetricFamily(
            "fanzha_events_applied",
            "Events that a durable has applied, every ten minutes. Less than the ledger has: lag, or `fanzha outbox republish`.",
            labels=["durable", "subject"],
        )
        subjects = {durable.subject: 0 for durable in DURABLES if durable.subject.startswith(f"events.{service}.")}
        for subject, n in sorted((subjects | await outbox.counted(tx)).items()):
            ledger.add_metric([subject], n)
        counted = await inbox.counted(tx)
        for durable in DURABLES:
            if durable.service == service and durable.stream == "EVENTS":
                applied.add_metric([durable.name, durable.subject], counted.get(durable.name, 0))
        return [ledger, applied]

    return collect
