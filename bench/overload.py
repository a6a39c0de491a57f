"""Sends twice what can be taken: services must stay up, refuse fast, keep memory flat, lose nothing accepted, and recover after.

Unlike a live platform it sends in an open loop, and never sends again what was refused.
"""

import asyncio
import time
from collections import Counter
from typing import Any

import psutil

from bench import checker, workload
from bench.cases import Bench
from bench.generator import Outcome
from bench.latency import percentiles
from bench.meter import MIB
from devstack.supervisor import State
from shared.bus.topology import SERVICES

PER_POST = 500
CONNECTIONS = 128  # more posts at once than the committer lets wait
FACTOR = 2.0
AFTERWARDS_S = 5
DRAIN_WITHIN_S = 120


async def overload(bench: Bench, capacity: float, seconds: float) -> dict[str, Any]:
    campaign_id = "bench-overload"
    await bench.stack.define(campaign_id, 2)
    memory_before = _memory(bench)
    pids = bench.stack.processes()
    rate = capacity * FACTOR / PER_POST
    posts = round(rate * seconds)
    meter = bench.stack.meter()
    await meter.start()
    outcome = await bench.send(_job(bench, campaign_id, 0, posts, rate))
    ended = time.monotonic()
    stored = await _drained(bench, campaign_id)
    drained_s = time.monotonic() - ended
    usage = await meter.stop()
    await _nothing_lost(bench, campaign_id, outcome)
    later = await bench.send(
        _job(
            bench, campaign_id, posts * PER_POST, round(capacity / 4 / PER_POST * AFTERWARDS_S), capacity / 4 / PER_POST
        )
    )
    checker.expect("answers afterwards", {200}, set(later.statuses))
    checker.expect("processes", pids, bench.stack.processes())
    restarts = {name: process.restarts for name, process in State.read(bench.stack.home).processes.items()}
    checker.expect("restarts", dict.fromkeys(restarts, 0), restarts)
    return {
        "offered check-ins/s": round(capacity * FACTOR),
        "seconds": round(outcome.ended - outcome.began, 1),
        "posts by status": dict(outcome.statuses),
        "accepted check-ins/s": round(stored / (outcome.ended - outcome.began)),
        "ms until accepted": percentiles([p.answered - p.sent for p in outcome.posts if p.status == 200]),
        "ms until refused": percentiles(
            [p.answered - p.sent for p in outcome.posts if p.status in (429, 503)] or [0.0]
        ),
        "seconds until totals were complete": round(drained_s, 1),
        "afterwards, ms until accepted": percentiles([p.answered - p.due for p in later.posts]),
        "MiB before → peak → after": {
            name: f"{memory_before[name]:.0f} → {usage.peak_mib[name]:.0f} → {after:.0f}"
            for name, after in _memory(bench).items()
        },
    }


def _job(bench: Bench, campaign_id: str, first: int, posts: int, rate: float) -> Any:
    return bench.job(
        workload.endless, campaign_id, first, posts, PER_POST, connections=CONNECTIONS, posts_per_s=rate, prepare=False
    )


def _memory(bench: Bench) -> dict[str, float]:
    pids = bench.stack.processes()
    return {name: psutil.Process(pids[name]).memory_info().rss / MIB for name in (*SERVICES, "nats")}


async def _drained(bench: Bench, campaign_id: str) -> int:
    """Waits until totals have everything that is stored; returns how many check-ins that is."""
    async with bench.stack.database("checkin") as checkin, bench.stack.database("reporting") as reporting:
        stored = await checkin.fetchval(_STORED, campaign_id)
        sums = "SELECT coalesce(sum(checkins), 0)::bigint FROM total WHERE campaign_id = $1"
        async with asyncio.timeout(DRAIN_WITHIN_S):
            await checker.until("totals", lambda: reporting.fetchval(sums, campaign_id), stored)
        return int(stored)


_STORED = """
SELECT coalesce(sum(bit_count(live::bit(64))), 0)::bigint FROM viewer JOIN campaign USING (campaign_no) WHERE campaign_id = $1
"""


async def _nothing_lost(bench: Bench, campaign_id: str, outcome: Outcome) -> None:
    """Checks that every accepted check-in is stored, and nothing that was not sent. Posts that ended in a broken connection (0)
    or a 503 may be stored or not."""
    statuses: Counter[int] = outcome.statuses
    checker.expect("statuses", set(), set(statuses) - {200, 429, 503, 0})
    accepted = {
        workload.viewer_id(number)
        for post in outcome.posts
        if post.status == 200
        for number in range(post.number * PER_POST, (post.number + 1) * PER_POST)
    }
    async with bench.stack.database("checkin") as database:
        rows = await database.fetch(
            "SELECT viewer_id FROM viewer JOIN campaign USING (campaign_no) WHERE campaign_id = $1", campaign_id
        )
    stored = {row["viewer_id"] for row in rows}
    checker.expect("accepted and lost", 0, len(accepted - stored))
    unsure = (statuses[503] + statuses[0]) * PER_POST
    if len(stored - accepted) > unsure:
        raise checker.WrongAnswer(f"{len(stored - accepted)} stored that were refused")
