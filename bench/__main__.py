"""`make bench` (`QUICK=1`: about two minutes): compares Fanzha with other ways to do the same job, in one run.
`python -m bench overload` sends more than Fanzha can take, `python -m bench soak --minutes 30` half its capacity for a long time,
`python -m bench desk` measures the office's pages while units report.
"""

import argparse
import asyncio
import json
import os
import sys
from datetime import datetime

from rich.console import Console

from bench import certificates, desk, latency, overload, preload, report, sizes, soak, workload
from bench.cases import Bench, Result
from bench.checker import WrongAnswer
from bench.generator import generator
from bench.others import others
from bench.stack import FOLDER, fresh_home, running_stack
from devstack.home import Home

console = Console(highlight=False, soft_wrap=True)
ENROLMENTS_PER_POST = 250
LATENCY_PER_S = 2_000
LATENCY_PER_POST = 10
LATENCY_S = 20
STORED_VIEWERS = 625_000
COMPLETING_VIEWERS = 200_000
CAPACITY_CHECKINS = 100_000
OVERLOAD_S = 45
PDFS = 200


class Compared:
    """Everything that is measured side by side. `full` is False for fewer cases and three tenths of the events."""

    def __init__(self, bench: Bench, *, full: bool) -> None:
        self._bench = bench
        self._full = full
        self._scale = 1 if full else 0.3
        self._viewers = 0
        self._enrolled: workload.Traffic
        self.results: dict[str, Result] = {}

    def _size(self, full: int) -> int:
        return max(round(full * self._scale / 1000) * 1000, 1000)

    async def _campaign(self, name: str, claim_from: datetime = workload.CLAIM_LATER) -> str:
        campaign_id = f"bench-{name}"
        await self._bench.stack.define(campaign_id, 2, claim_from)
        return campaign_id

    async def empty(self, name: str, checkins: int, per_post: int) -> workload.Traffic:
        """Check-ins of viewers whom the services have never seen."""
        traffic = workload.new_viewers(await self._campaign(name), self._viewers, self._size(checkins))
        self._viewers += len(traffic)
        self.results[name] = await self._bench.checkins(_title("empty table", per_post), traffic, per_post)
        return traffic

    async def enrolled(self, viewers: int) -> None:
        """Viewers enrol with name and phone, then check in, so that check-ins spread over all counties and groups."""
        campaign = await self._campaign("enrolled", workload.CLAIM_FROM)
        traffic = workload.new_viewers(campaign, self._viewers, self._size(viewers), enrolled=True)
        numbers = range(self._viewers, self._viewers + len(traffic) * 15 // 16)
        self._viewers += len(traffic)
        self.results["enrolments"] = await self._bench.enrolments(
            f"enrolments with contacts, batches of {ENROLMENTS_PER_POST}", campaign, numbers, ENROLMENTS_PER_POST
        )
        self._enrolled = traffic
        self.results["enrolled"] = await self._bench.checkins("enrolled viewers, batches of 500", traffic, 500)

    async def loaded(self, viewers: int) -> None:
        """Known viewers check in to one more lesson while 10 million check-ins are stored."""
        loaded = await preload.preload(self._bench.stack, "bench-loaded", viewers)
        self._bench.say(f"preloaded {viewers:,} viewers with {loaded.totals.total():,} check-ins")
        before, completed, start = loaded.totals, loaded.completed, 0
        for per_post, checkins in ((500, 200_000), (100, 100_000), (10, 40_000), (1, 20_000)):
            traffic = preload.checkins(loaded, range(start, start + self._size(checkins)))
            start += len(traffic)
            name = _title(f"{viewers:,} viewers × {preload.STORED_LESSONS}", per_post)
            self.results[f"loaded-{per_post}"] = await self._bench.checkins(
                name, traffic, per_post, before=before, completed_before=completed
            )
            before, completed = before + traffic.totals(), completed + len(traffic.completed)
        traffic = preload.checkins(loaded, range(start, start + self._size(LATENCY_PER_S * LATENCY_S)))
        title = f"open loop, {LATENCY_PER_S:,}/s"
        self.results["latency"] = await latency.latency(self._bench, title, traffic, LATENCY_PER_S, LATENCY_PER_POST)

    async def everybody_completes(self, viewers: int) -> None:
        """The evening on which most viewers finish: every check-in is a completion, and its event names 16 lessons."""
        loaded = await preload.preload(self._bench.stack, "bench-completing", self._size(viewers), completing=1)
        traffic = preload.checkins(loaded, range(loaded.viewers))
        self.results["completing"] = await self._bench.checkins(
            "everybody completes, batches of 500", traffic, 500, before=loaded.totals
        )

    async def afterwards(self) -> None:
        """Certificates of the enrolled viewers who completed."""
        who = sorted(self._enrolled.completed)
        for result in await certificates.issue(self._bench, self._enrolled.campaign_id, who):
            self.results[result.unit] = result
        self.results["pdfs"] = await certificates.pdfs(self._bench, self._enrolled.campaign_id, who[:PDFS])

    async def desk(self) -> None:
        """The office's desk and the posts of liaisons, over what all units owe."""
        units, seconds = (desk.UNITS, desk.SECONDS) if self._full else (500, 5)
        self.results["desk"] = await desk.desk(self._bench, units=units, seconds=seconds)

    async def others(self, same: workload.Traffic) -> None:
        """The same rows, or the first of them, handled in other ways."""
        async with others(self._bench) as other:
            self.results["copy"] = await other.copy(same, 500)
            self.results["copy-once"] = await other.copy(same, None)
            self.results["nats"] = await other.bare_consumer(same.campaign_id, len(same))
            self.results["monolith-500"] = await other.monolith(same.first(self._size(40_000)), 500)
            self.results["monolith-1"] = await other.monolith(same.first(self._size(8_000)), 1)
            self.results["ordinary"] = await other.ordinary(same.first(self._size(5_000)), 1)
            if self._full:
                self.results["ordinary-8"] = await other.ordinary(same.first(self._size(5_000)), 8)

    async def run(self) -> None:
        await self._bench.checkins("warm-up", workload.new_viewers(await self._campaign("warm-up"), 10**8, 5_000), 100)
        same = await self.empty("empty-500", 200_000, 500)
        await self.others(same)
        if self._full:
            await self.empty("empty-100", 100_000, 100)
            await self.empty("empty-10", 40_000, 10)
        await self.empty("empty-1", 20_000, 1)
        await self.enrolled(40_000)
        if self._full:
            await self.loaded(STORED_VIEWERS)
            await self.everybody_completes(COMPLETING_VIEWERS)
        await self.afterwards()
        await self.desk()

    def last_line(self) -> str:
        ours = self.results["empty-500"].rate
        ordinary, copy = self.results["ordinary"].rate, self.results["copy"].rate
        return (
            f"bench: {ours:,.0f} check-ins/s, {ours / ordinary:.0f} times the ordinary way, {ours / copy:.2f} of COPY"
        )


def _title(table: str, per_post: int) -> str:
    return f"{table}, single posts" if per_post == 1 else f"{table}, batches of {per_post}"


async def compare(bench: Bench, *, full: bool) -> None:
    compared = Compared(bench, full=full)
    await compared.run()
    results = list(compared.results.values())
    stored = await sizes.sizes(bench.stack)
    report.write_json(FOLDER.with_suffix(".json"), results, stored=stored, summary=compared.last_line())
    tables = [report.rates(results), report.processes(results), report.ratios(compared.results), report.plain(stored)]
    write("bench.md", "\n\n".join(tables) + "\n")
    console.print(compared.last_line(), markup=False)


async def capacity(bench: Bench, per_post: int) -> float:
    """Check-ins per second that are taken now, beside whatever else the machine does."""
    await bench.stack.define("bench-capacity", 2)
    traffic = workload.new_viewers("bench-capacity", 10**8, CAPACITY_CHECKINS)
    return (await bench.checkins(f"capacity, batches of {per_post}", traffic, per_post)).rate


async def at_the_desk(bench: Bench, *, full: bool) -> None:
    compared = Compared(bench, full=full)
    await compared.desk()
    report.write_json(FOLDER.with_name("desk.json"), list(compared.results.values()))


async def under_overload(bench: Bench) -> None:
    figures = await overload.overload(bench, await capacity(bench, overload.PER_POST), OVERLOAD_S)
    write("overload.json", json.dumps(figures, indent=2, ensure_ascii=False) + "\n")


async def soaked(bench: Bench, minutes: float) -> None:
    figures, drawing = await soak.soak(bench, await capacity(bench, soak.PER_POST) / 2, minutes)
    write("soak.json", json.dumps(figures, indent=2, ensure_ascii=False) + "\n")
    write("soak.svg", drawing, show=False)


def write(name: str, text: str, *, show: bool = True) -> None:
    path = FOLDER.with_name(name)
    path.write_text(text, encoding="utf-8")
    console.print(f"{text}\n{path}" if show else str(path), markup=False)


async def run(home: Home, what: str, minutes: float) -> None:
    async with running_stack(home, console) as stack:
        with generator() as sender:
            stack.extra["generator"] = sender.pid
            bench = Bench(stack, sender, lambda line: console.print(f"  {line}"))
            match what:
                case "overload":
                    await under_overload(bench)
                case "soak":
                    await soaked(bench, minutes)
                case "desk":
                    await at_the_desk(bench, full=not os.environ.get("QUICK"))
                case _:
                    await compare(bench, full=not os.environ.get("QUICK"))


def main() -> int:
    arguments = argparse.ArgumentParser(prog="python -m bench", description=__doc__)
    arguments.add_argument("what", nargs="?", choices=("compare", "overload", "soak", "desk"), default="compare")
    arguments.add_argument("--minutes", type=float, default=30, help="length of a soak")
    chosen = arguments.parse_args()
    FOLDER.mkdir(parents=True, exist_ok=True)
    try:
        with fresh_home() as home:
            asyncio.run(run(home, chosen.what, chosen.minutes))
    except WrongAnswer as error:
        console.print(f"bench: FAILED: {error}", markup=False)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
