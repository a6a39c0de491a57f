"""Due work: rows with `due_at`, done by repeated sweeps that are told what time it is (DESIGN §4.6)."""

import asyncio
import time
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field
from datetime import datetime

import structlog

from shared.clock import Clock
from shared.database import Database, DatabaseAway, Transaction
from shared.service.metrics import ServiceMetrics

log = structlog.get_logger()


def in_transaction(
    db: Database, portion: Callable[[Transaction, datetime], Awaitable[int]]
) -> Callable[[datetime], Awaitable[int]]:
    """Makes the `run` of a `DueWork` of which every portion is one transaction."""
    return lambda now: db.in_transaction(lambda tx: portion(tx, now))


@dataclass
class DueWork:
    """`run(now)` does a bounded portion of what is due and returns how many rows that was; 0 means nothing is left."""

    name: str
    run: Callable[[datetime], Awaitable[int]]
    every_s: float = 1.0
    _busy: asyncio.Lock = field(default_factory=asyncio.Lock)

    async def run_until_done(self, clock: Clock, metrics: ServiceMetrics) -> int:
        """Runs portions until nothing is due at the clock's time; returns how many rows were done."""
        done = 0
        async with self._busy:
            while True:
                started = time.perf_counter()
                portion = await self.run(clock.now())
                metrics.due_work.labels(self.name).observe(time.perf_counter() - started)
                metrics.due_work_failing.labels(self.name).set(0)
                if portion == 0:
                    return done
                done += portion

    async def run_for_ever(self, clock: Clock, metrics: ServiceMetrics) -> None:
        while True:
            try:
                await self.run_until_done(clock, metrics)
            except DatabaseAway as error:
                metrics.due_work_failing.labels(self.name).set(1)
                log.warning("due work waits for the database", work=self.name, error=str(error))
            except Exception:
                metrics.due_work_failing.labels(self.name).set(1)
                log.exception("due work failed; it will run again", work=self.name)
            await asyncio.sleep(self.every_s)
