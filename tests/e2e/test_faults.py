"""Whatever is killed at whatever moment, the run ends with the same numbers; only `duplicate` may be higher."""

import asyncio
import random
import signal
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress

import asyncpg
import httpx
import nats
import pytest

from demo.deliveries import Step
from demo.player import Addresses
from demo.run import Run
from devstack.home import Home, read_env
from shared.bus.topology import SERVICES, STREAMS, inbox_prefix
from tests.support.demo_stack import kill, run_on, running_stack
from tests.support.operator import apply_topology, republish, topology_url

CHILDREN = (*SERVICES, "nats", "postgres")
EVENING = "lesson  3"  # when NATS is stopped
LOSS = "lesson  8"  # after which the streams are deleted


async def play(run: Run) -> None:
    for step in run.traffic.steps():
        await run.send(step)
        await run.finish(step)


async def nothing_differs(run: Run) -> None:
    outcome = await run.compare()
    assert outcome.differences == []


# ---- kills -----------------------------------------------------------------------------------------------------------


@asynccontextmanager
async def killing(home: Home, seed: int) -> AsyncIterator[list[str]]:
    """Kills one or two children, lets everything come back, and again, while the block runs; tells which.

    At random moments, in random order; none twice before each was killed once.
    """
    rng = random.Random(seed)
    killed: list[str] = []
    next_ones: list[str] = []

    async def kill_for_ever() -> None:
        while True:
            await asyncio.sleep(rng.uniform(0, 3))
            if len(next_ones) < 2:
                next_ones.extend(rng.sample(CHILDREN, len(CHILDREN)))
            for _ in range(rng.choice((1, 1, 2))):
                name = next_ones.pop(0)
                if kill(home, name):
                    killed.append(name)
            await all_ready(home)

    task = asyncio.create_task(kill_for_ever())
    try:
        yield killed
    finally:
        task.cancel()
        with suppress(asyncio.CancelledError):
            await task


async def all_ready(home: Home) -> None:
    urls = [f"{url}/health/ready" for url in Addresses.of(home).urls.values()]
    async with httpx.AsyncClient(trust_env=False) as http:
        while True:
            answers = await asyncio.gather(*(http.get(url) for url in urls), return_exceptions=True)
            if all(isinstance(answer, httpx.Response) and answer.status_code == 200 for answer in answers):
                return
            await asyncio.sleep(0.1)


@pytest.mark.long
@pytest.mark.timeout(1200)
@pytest.mark.parametrize("seed", [1, 2, 3, 4])
async def test_kills_at_any_moment_change_no_number(seed: int) -> None:
    with running_stack() as home:
        async with run_on(home, viewers=200, seed=seed, exact=False) as run:
            async with killing(home, seed) as killed:
                await play(run)
            await run.player.settle(run.now)
            await nothing_differs(run)
            assert set(killed) == set(CHILDREN), "too few kills to mean anything"


# ---- NATS away, streams lost, a consumer's database lost -------------------------------------------------------------


async def send_with_nats_stopped(run: Run, step: Step) -> None:
    """Posts are answered while NATS hangs; what goes over NATS itself follows when it is back."""
    home, bus = run.player.home, step.bus
    assert kill(home, "nats", signal.SIGSTOP)
    try:
        step.bus = []
        async with asyncio.timeout(60):
            await run.send(step)
        assert all(post.answer and post.answer.tries == 1 for post in step.posts)
    finally:
        kill(home, "nats", signal.SIGCONT)
    step.bus = bus
    await run.player.play(Step(step.at, step.title, bus=bus))


async def delete_streams(home: Home) -> None:
    url = topology_url(home)
    client = await nats.connect(url, inbox_prefix=inbox_prefix("topology"))
    for stream in STREAMS:
        assert await client.jetstream().delete_stream(stream.name)
    await client.close()


# What reporting knows from events; its own facts, such as reports, no other service can give back.
FROM_EVENTS = (
    "definition, definition_page, unit, total, live_room_total, platform_total, certificate_holder, certificate_total, "
    "viewer_move, forms_revision, inbox"
)


async def empty_reporting(home: Home) -> None:
    """Loses all that reporting knows from events."""
    url = read_env(home.service_env("reporting"))["MIGRATION_DATABASE_URL"]
    connection = await asyncpg.connect(url)
    await connection.execute(f"TRUNCATE {FROM_EVENTS}")
    await connection.close()


@pytest.mark.timeout(600)
async def test_nats_stopped_streams_lost_and_a_database_lost_are_made_good() -> None:
    """The quick one: an evening without NATS, one kill of each child, both streams lost, and all that reporting knows from
    events."""
    with running_stack() as home:
        async with run_on(home, viewers=80, seed=11, exact=False) as run:
            victims, evenings = list(CHILDREN), 0
            for step in run.traffic.steps():
                if step.title.startswith(EVENING) and step.posts and step.bus:
                    await send_with_nats_stopped(run, step)
                    evenings += 1
                else:
                    sending = asyncio.create_task(run.send(step))
                    if step.title.endswith("20:05") and victims and kill(home, victims[0]):
                        victims.pop(0)
                    await sending
                await run.finish(step)
                if step.title.startswith(LOSS) and step.title.endswith("22:30"):
                    await delete_streams(home)
                    await apply_topology(home)
            await republish(home)
            assert evenings >= 2
            assert not victims
            await nothing_differs(run)
            await empty_reporting(home)
            await delete_streams(home)
            await apply_topology(home)
            await republish(home)
            await run.player.settle(run.now)
            await nothing_differs(run)
