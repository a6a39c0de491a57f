"""Measures Fanzha: each case sends something, waits until its effect is complete in all services, and checks it."""

import asyncio
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from typing import Any

from bench import checker, workload
from bench.generator import Generator, Job, Outcome
from bench.meter import Usage
from bench.stack import BenchStack
from bench.workload import Traffic

CONNECTIONS = {1: 128, 10: 64, 100: 16}  # by batch size
BATCH_CONNECTIONS = 16


@dataclass
class Result:
    """One row of the table. `rate` is units per second until the effect was complete."""

    name: str
    unit: str
    n: int
    seconds: float
    usage: Usage | None = None
    notes: dict[str, Any] = field(default_factory=dict)

    @property
    def rate(self) -> float:
        return self.n / self.seconds

    def cpu_us(self) -> dict[str, float]:
        """CPU microseconds per unit (= CPU seconds per million) by process."""
        return {} if self.usage is None else {name: s * 1e6 / self.n for name, s in self.usage.cpu_s.items()}


@dataclass
class Bench:
    stack: BenchStack
    generator: Generator
    say: Callable[[str], None]

    def job(self, make: Callable[..., Iterable[bytes]], *args: Any, connections: int, **more: Any) -> Job:
        return Job(self.stack.checkin_port, self.stack.secret, make, args, connections, **more)

    async def send(self, job: Job) -> Outcome:
        return await asyncio.to_thread(self._send, job)

    def _send(self, job: Job) -> Outcome:
        self.generator.prepare(job)
        self.generator.start()
        return self.generator.wait()

    async def checkins(
        self,
        name: str,
        traffic: Traffic,
        per_post: int,
        *,
        before: checker.Totals | None = None,
        completed_before: int = 0,
    ) -> Result:
        """Measures check-ins all the way: posts are signed, events recorded, totals and completions brought up to date."""
        connections = CONNECTIONS.get(per_post, BATCH_CONNECTIONS)
        self.generator.prepare(
            self.job(workload.bodies, traffic.campaign_id, traffic.checkins, per_post, connections=connections)
        )
        await self.stack.checkpoint()
        meter = self.stack.meter()
        await meter.start()
        self.generator.start()
        outcome = await asyncio.to_thread(self.generator.wait)
        checker.all_recorded(outcome, len(traffic))
        wanted = len(traffic) + (before.total() if before else 0)
        done = await checker.until_applied(
            self.stack, traffic.campaign_id, wanted, len(traffic.completed) + completed_before
        )
        usage = await meter.stop()
        result = Result(name, "check-ins", len(traffic), done - outcome.began, usage)
        result.notes["answered_per_s"] = round(len(traffic) / (outcome.ended - outcome.began))
        await checker.stored(
            self.stack, traffic, before=before, completed_before=completed_before, ledger=before is None
        )
        self.say(f"{name}: {result.rate:,.0f} check-ins/s")
        return result

    async def enrolments(self, name: str, campaign_id: str, numbers: range, per_post: int) -> Result:
        """Measures enrolments until certificate and notification know every name and phone."""
        self.generator.prepare(
            self.job(workload.enrolment_bodies, campaign_id, numbers, per_post, connections=BATCH_CONNECTIONS)
        )
        await self.stack.checkpoint()
        meter = self.stack.meter()
        await meter.start()
        self.generator.start()
        outcome = await asyncio.to_thread(self.generator.wait)
        checker.all_recorded(outcome, len(numbers))
        done = await checker.until_contacts(self.stack, campaign_id, len(numbers))
        result = Result(name, "enrolments", len(numbers), done - outcome.began, await meter.stop())
        result.notes["answered_per_s"] = round(len(numbers) / (outcome.ended - outcome.began))
        self.say(f"{name}: {result.rate:,.0f} enrolments/s")
        return result
