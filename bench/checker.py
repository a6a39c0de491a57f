"""Compares what was accepted with what is stored, in all services: a fast wrong answer is a failed run."""

import asyncio
import time
from collections import Counter
from collections.abc import Awaitable, Callable
from datetime import date
from typing import Any

from bench.generator import Outcome
from bench.stack import BenchStack
from bench.workload import Traffic, viewer_id
from shared.bus.topology import SERVICES

LOOK_EVERY_S = 0.01
GIVE_UP_S = 180

Totals = Counter[tuple[date, str, str]]


class WrongAnswer(Exception):
    """What is stored is not what was accepted."""


def expect(what: str, expected: Any, found: Any) -> None:
    if expected != found:
        raise WrongAnswer(f"{what}: expected {str(expected)[:300]}, found {str(found)[:300]}")


def all_recorded(outcome: Outcome, checkins: int) -> None:
    """Every post was answered 200, and every check-in in it was new and credited."""
    expect("answers", {200}, set(outcome.statuses))
    expect("verdicts", {"recorded": checkins}, dict(outcome.verdicts))


async def until(
    what: str,
    look: Callable[[], Awaitable[Any]],
    wanted: Any,
    *,
    every_s: float = LOOK_EVERY_S,
    within_s: float = GIVE_UP_S,
) -> float:
    """The moment (time.monotonic) at which `look` first answered `wanted`."""
    give_up_at = time.monotonic() + within_s
    while (answer := await look()) != wanted:
        if time.monotonic() > give_up_at:
            raise WrongAnswer(f"{what}: {wanted} wanted, found {answer} after {within_s} s")
        await asyncio.sleep(every_s)
    return time.monotonic()


async def until_applied(stack: BenchStack, campaign_id: str, checkins: int, completions: int) -> float:
    """The moment at which totals and completions of a campaign have reached these numbers."""
    async with stack.database("reporting") as reporting, stack.database("certificate") as certificate:
        sums = "SELECT sum(checkins)::bigint FROM total WHERE campaign_id = $1"
        await until("totals", lambda: reporting.fetchval(sums, campaign_id), checkins)
        count = "SELECT count(*) FROM completion WHERE campaign_id = $1"
        return await until("completions", lambda: certificate.fetchval(count, campaign_id), completions)


async def until_contacts(stack: BenchStack, campaign_id: str, viewers: int) -> float:
    """The moment at which certificate knows the names of so many viewers, and notification their phones."""
    async with stack.database("certificate") as names, stack.database("notification") as phones:
        count = "SELECT count(*) FROM contact WHERE campaign_id = $1"
        await until("names", lambda: names.fetchval(f"{count} AND field = 'name'", campaign_id), viewers)
        return await until("phones", lambda: phones.fetchval(count, campaign_id), viewers)


async def stored(
    stack: BenchStack, traffic: Traffic, *, before: Totals | None = None, completed_before: int = 0, ledger: bool = True
) -> None:
    """Viewers, ledger, totals (in the database and over HTTP), completions, and nothing parked. `before`: what was there."""
    await _viewers(stack, traffic, before or Counter())
    if ledger:
        await _ledger(stack, traffic)
    await _totals(stack, traffic, before or Counter())
    await _completions(stack, traffic, completed_before)
    for service in SERVICES:
        async with stack.database(service) as database:
            expect(f"{service}: dead letters", 0, await database.fetchval("SELECT count(*) FROM dead_letter"))


async def _viewers(stack: BenchStack, traffic: Traffic, before: Totals) -> None:
    async with stack.database("checkin") as database:
        bits = await database.fetchval(
            "SELECT sum(bit_count(live::bit(64)))::bigint FROM viewer JOIN campaign USING (campaign_no) WHERE campaign_id = $1",
            traffic.campaign_id,
        )
    expect("check-ins of the viewers stored", len(traffic) + before.total(), bits)


async def _ledger(stack: BenchStack, traffic: Traffic) -> None:
    async with stack.database("checkin") as database:
        rows = await database.fetchval(
            "SELECT sum(json_array_length(convert_from(payload, 'UTF8')::json -> 'viewer_ids'))::bigint FROM outbox "
            "WHERE campaign_id = $1 AND subject = 'events.checkin.checkin_recorded.v1'",
            traffic.campaign_id,
        )
    expect("check-ins in the ledger", len(traffic), rows)


async def _totals(stack: BenchStack, traffic: Traffic, before: Totals) -> None:
    expected = traffic.totals() + before
    async with stack.database("reporting") as database:
        rows = await database.fetch(
            "SELECT lesson_date, unit_code, group_code, checkins FROM total WHERE campaign_id = $1 AND checkins <> 0",
            traffic.campaign_id,
        )
    expect("totals by lesson, unit and group", expected, Counter({tuple(row)[:3]: row["checkins"] for row in rows}))
    answer = await stack.call(
        "reporting", "GET", f"/v1/campaigns/{traffic.campaign_id}/totals", params={"by": "lesson"}
    )
    expect("totals over HTTP", expected.total(), answer["sum"]["checkins"])


async def _completions(stack: BenchStack, traffic: Traffic, before: int) -> None:
    async with stack.database("certificate") as database:
        rows = await database.fetch("SELECT viewer_id FROM completion WHERE campaign_id = $1", traffic.campaign_id)
    completed = {row["viewer_id"] for row in rows}
    expect("completions", len(traffic.completed) + before, len(completed))
    missing = {viewer_id(number) for number in traffic.completed} - completed
    expect("completions missing", set(), missing)
