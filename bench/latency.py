"""Measures how long after a check-in is due the totals show it: open loop at a fixed rate, whatever becomes of earlier posts.

A reader looks at the campaign's sum every few milliseconds. The k-th check-in (by when it was due) is visible when the sum first
reached k, so neither a slow answer nor a slow consumer can hide (coordinated omission).
"""

import asyncio
import time
from bisect import bisect_left
from collections.abc import Sequence

from bench import checker, workload
from bench.cases import Bench, Result
from bench.generator import Outcome
from bench.workload import Traffic

LOOK_EVERY_S = 0.004
CONNECTIONS = 64


async def latency(bench: Bench, name: str, traffic: Traffic, per_s: int, per_post: int) -> Result:
    job = bench.job(
        workload.bodies,
        traffic.campaign_id,
        traffic.checkins,
        per_post,
        connections=CONNECTIONS,
        posts_per_s=per_s / per_post,
    )
    meter = bench.stack.meter()
    await meter.start()
    seen: list[tuple[float, int]] = []
    watching = asyncio.create_task(_watch(bench, traffic, seen))
    outcome = await bench.send(job)
    await watching
    usage = await meter.stop()
    checker.all_recorded(outcome, len(traffic))
    result = Result(name, "check-ins", len(traffic), seen[-1][0] - outcome.began, usage)
    answered = [post.answered - post.due for post in outcome.posts]
    result.notes |= {
        "due → answered, ms": percentiles(answered),
        "due → in the totals, ms": percentiles(visible_after(outcome, seen, per_post)),
    }
    bench.say(f"{name}: {result.notes}")
    return result


async def _watch(bench: Bench, traffic: Traffic, seen: list[tuple[float, int]]) -> None:
    """Appends (time, sum) whenever the sum has grown, until all of it is there."""
    give_up_at = time.monotonic() + checker.GIVE_UP_S
    async with bench.stack.database("reporting") as database:
        sums = "SELECT coalesce(sum(checkins), 0)::bigint FROM total WHERE campaign_id = $1 AND lesson_date = ANY ($2)"
        lessons = sorted({workload.DAYS[checkin.lesson] for checkin in traffic.checkins})
        before = await database.fetchval(sums, traffic.campaign_id, lessons)
        while not seen or seen[-1][1] < len(traffic):
            count = await database.fetchval(sums, traffic.campaign_id, lessons) - before
            if not seen or count > seen[-1][1]:
                seen.append((time.monotonic(), count))
            if time.monotonic() > give_up_at:
                raise checker.WrongAnswer(f"totals: {len(traffic)} wanted, found {count}")
            await asyncio.sleep(LOOK_EVERY_S)


def visible_after(outcome: Outcome, seen: Sequence[tuple[float, int]], per_post: int) -> list[float]:
    """Seconds from each post's due time until the sum had reached it."""
    sums = [count for _, count in seen]
    dues = sorted(post.due for post in outcome.posts)
    return [seen[bisect_left(sums, min(k * per_post, sums[-1]))][0] - due for k, due in enumerate(dues, start=1)]


def percentiles(seconds: Sequence[float]) -> dict[str, float]:
    ordered = sorted(seconds)
    at = {"p50": 0.5, "p90": 0.9, "p95": 0.95, "p99": 0.99, "max": 1.0}
    return {name: round(ordered[min(int(len(ordered) * q), len(ordered) - 1)] * 1000, 1) for name, q in at.items()}
