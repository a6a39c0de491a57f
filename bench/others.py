"""Runs what Fanzha is compared with, in a database of its own on the same Postgres, with a NATS server that is as durable."""

import asyncio
import shutil
import subprocess
import sys
import time
from collections.abc import AsyncIterator, Iterator, Mapping, Sequence
from contextlib import asynccontextmanager, contextmanager
from pathlib import Path
from typing import Any

import asyncpg
import nats
from nats.js.api import RetentionPolicy, StreamConfig

from bench import checker, workload
from bench.cases import BATCH_CONNECTIONS, CONNECTIONS, Bench, Result
from bench.generator import Job
from bench.meter import STATISTICS_S
from bench.workload import Traffic
from devstack import ports as ports_module
from devstack.home import REPOSITORY
from devstack.nats import NatsServer
from devstack.processes import answers_200, dying_with_parent, environment

READY_WITHIN_S = 60
PUBLISHES_AT_ONCE = 64
FETCH_BATCH = 100

TABLES = """
CREATE TABLE checkin (
    campaign_id text, viewer_id text, lesson_date date, mode text, unit_code text, group_code text, occurred_at timestamptz,
    PRIMARY KEY (campaign_id, viewer_id, lesson_date, mode)
);
CREATE TABLE total (
    campaign_id text, lesson_date date, mode text, unit_code text, group_code text, checkins bigint NOT NULL,
    PRIMARY KEY (campaign_id, lesson_date, mode, unit_code, group_code)
);
CREATE TABLE progress (campaign_id text, viewer_id text, days int NOT NULL, PRIMARY KEY (campaign_id, viewer_id));
CREATE TABLE completion (campaign_id text, viewer_id text, PRIMARY KEY (campaign_id, viewer_id));
CREATE TABLE copied (
    event_id text, campaign_id text, viewer_id text, lesson_date date, mode text, unit_code text, group_code text,
    occurred_at timestamptz, received_at timestamptz
);
"""


class Others:
    """The comparisons. Each empties its tables before it begins."""

    def __init__(self, bench: Bench, nats_server: NatsServer) -> None:
        self._bench = bench
        self._nats = nats_server
        self._url = bench.stack.stack.postgres.url(database="bench")
        self._variables = {"DATABASE_URL": self._url, "NATS_URL": f"nats://127.0.0.1:{nats_server.port}"}

    # ---- (b) ---------------------------------------------------------------------------------------------------------

    async def ordinary(self, traffic: Traffic, workers: int) -> Result:
        """One handler, one session and one publish for each message; three processes, as Fanzha has three services."""
        await self._empty_tables()
        client = await nats.connect(self._variables["NATS_URL"])
        jetstream = client.jetstream(timeout=30)
        await jetstream.add_stream(
            StreamConfig(name="ORDINARY", subjects=["ordinary.>"], retention=RetentionPolicy.LIMITS)
        )
        names = ("checkin", "reporting", "certificate")
        with self._processes({f"ordinary {name}": ["-m", "bench.ordinary", name, str(workers)] for name in names}):
            await self._until_consumers(jetstream, len(names))
            await self._bench.stack.checkpoint()
            meter = self._bench.stack.meter()
            await meter.start()
            began = time.monotonic()
            bodies = list(traffic.bodies(1))
            for start in range(0, len(bodies), PUBLISHES_AT_ONCE):
                await asyncio.gather(
                    *(jetstream.publish("ordinary.event", body) for body in bodies[start : start + PUBLISHES_AT_ONCE])
                )
            done = await self._until_applied(traffic)
            usage = await meter.stop()
        await self._check(traffic)
        await jetstream.delete_stream("ORDINARY")
        await client.close()
        plural = "s" if workers > 1 else ""
        result = Result(
            f"ordinary way, {workers} message{plural} at a time", "check-ins", len(traffic), done - began, usage
        )
        self._bench.say(f"{result.name}: {result.rate:,.0f} check-ins/s")
        return result

    async def _until_consumers(self, jetstream: nats.js.JetStreamContext, count: int) -> None:
        give_up_at = time.monotonic() + READY_WITHIN_S
        while (await jetstream.stream_info("ORDINARY")).state.consumer_count < count:
            if time.monotonic() > give_up_at:
                raise checker.WrongAnswer("the ordinary way did not start")
            await asyncio.sleep(0.1)

    # ---- (c) ---------------------------------------------------------------------------------------------------------

    async def monolith(self, traffic: Traffic, per_post: int) -> Result:
        """FastAPI, one transaction per request, totals and completions updated in place."""
        await self._empty_tables()
        port = ports_module.free_port()
        variables = {"PORT": str(port), "WEBHOOK_SECRET": self._bench.stack.secret}
        with self._processes({"monolith": ["-m", "bench.monolith"]}, variables):
            give_up_at = time.monotonic() + READY_WITHIN_S
            while not await asyncio.to_thread(answers_200, f"http://127.0.0.1:{port}/ready"):
                if time.monotonic() > give_up_at:
                    raise checker.WrongAnswer("the monolith did not start")
                await asyncio.sleep(0.1)
            connections = CONNECTIONS.get(per_post, BATCH_CONNECTIONS)
            arguments = (traffic.campaign_id, traffic.checkins, per_post)
            generator = self._bench.generator
            generator.prepare(Job(port, self._bench.stack.secret, workload.bodies, arguments, connections))
            await self._bench.stack.checkpoint()
            meter = self._bench.stack.meter()
            await meter.start()
            generator.start()
            outcome = await asyncio.to_thread(generator.wait)
            usage = await meter.stop()
        checker.all_recorded(outcome, len(traffic))
        await self._check(traffic)
        sent = "single posts" if per_post == 1 else f"batches of {per_post}"
        result = Result(f"monolith, {sent}", "check-ins", len(traffic), outcome.ended - outcome.began, usage)
        self._bench.say(f"{result.name}: {result.rate:,.0f} check-ins/s")
        return result

    # ---- (d) ---------------------------------------------------------------------------------------------------------

    async def copy(self, traffic: Traffic, per_commit: int | None) -> Result:
        """The same rows into a table without index, by one connection; None: all in one statement."""
        await self._empty_tables()
        rows = [
            (
                f"c-{checkin.viewer}-{checkin.lesson}",
                traffic.campaign_id,
                workload.viewer_id(checkin.viewer),
                workload.DAYS[checkin.lesson],
                "live",
                workload.UNASSIGNED,
                workload.UNASSIGNED,
                workload.checked_in_at(checkin),
                workload.CLOCK_AT,
            )
            for checkin in traffic.checkins
        ]
        size = per_commit or len(rows)
        await self._bench.stack.checkpoint()
        meter = self._bench.stack.meter()
        async with self._database() as database:
            await meter.start()
            began = time.monotonic()
            for start in range(0, len(rows), size):
                await database.copy_records_to_table("copied", records=rows[start : start + size])
            done = time.monotonic()
            await asyncio.sleep(STATISTICS_S)
            checker.expect("rows copied", len(rows), await database.fetchval("SELECT count(*) FROM copied"))
            usage = await meter.stop()
        how = f"a commit every {per_commit} rows" if per_commit else "one statement"
        result = Result(f"COPY, {how}", "check-ins", len(rows), done - began, usage)
        self._bench.say(f"{result.name}: {result.rate:,.0f} check-ins/s")
        return result

    async def bare_consumer(self, campaign_id: str, checkins: int) -> Result:
        """Measures nats-py alone: it reads and acknowledges the messages that Fanzha published, and does nothing with them."""
        async with self._bench.stack.database("checkin") as database:
            payloads = await database.fetch(
                "SELECT payload FROM outbox WHERE campaign_id = $1 AND subject = 'events.checkin.checkin_recorded.v1'",
                campaign_id,
            )
        client = await nats.connect(self._variables["NATS_URL"])
        jetstream = client.jetstream(timeout=30)
        await jetstream.add_stream(StreamConfig(name="BARE", subjects=["bare"]))
        for row in payloads:
            await jetstream.publish("bare", row["payload"])
        subscription = await jetstream.pull_subscribe("bare", durable="bare")
        began = time.monotonic()
        seen = 0
        while seen < len(payloads):
            for message in await subscription.fetch(min(FETCH_BATCH, len(payloads) - seen), timeout=30):
                await message.ack()
                seen += 1
        await client.flush()
        done = time.monotonic()
        await jetstream.delete_stream("BARE")
        await client.close()
        result = Result("bare nats-py consumer", "check-ins", checkins, done - began, notes={"messages": seen})
        self._bench.say(f"{result.name}: {result.rate:,.0f} check-ins/s")
        return result

    # ---- together ----------------------------------------------------------------------------------------------------

    @asynccontextmanager
    async def _database(self) -> AsyncIterator[asyncpg.Connection]:
        connection = await asyncpg.connect(self._url, server_settings={"application_name": "bench"})
        try:
            yield connection
        finally:
            await connection.close()

    async def _empty_tables(self) -> None:
        async with self._database() as database:
            await database.execute("DROP TABLE IF EXISTS checkin, total, progress, completion, copied")
            await database.execute(TABLES)

    @contextmanager
    def _processes(self, commands: dict[str, list[str]], variables: dict[str, str] | None = None) -> Iterator[None]:
        """Runs processes, named as the meter must name them. Their output goes to the folder of the stack's logs."""
        started: list[subprocess.Popen[bytes]] = []
        extra = self._bench.stack.extra
        try:
            for name, arguments in commands.items():
                log = self._bench.stack.home.log_file(name.replace(" ", "-"))
                process = _start([sys.executable, *arguments], self._variables | (variables or {}), log)
                started.append(process)
                extra[name] = process.pid
            yield
        finally:
            for name in commands:
                extra.pop(name, None)
            for process in started:
                process.terminate()
            for process in started:
                process.wait(30)

    async def _until_applied(self, traffic: Traffic) -> float:
        async with self._database() as database:
            give_up_at = time.monotonic() + checker.GIVE_UP_S
            while time.monotonic() < give_up_at:
                row: Any = await database.fetchrow(
                    "SELECT (SELECT sum(checkins)::bigint FROM total) AS n, (SELECT count(*) FROM completion) AS completed"
                )
                if row["n"] == len(traffic) and row["completed"] == len(traffic.completed):
                    return time.monotonic()
                await asyncio.sleep(checker.LOOK_EVERY_S)
        raise checker.WrongAnswer(f"{len(traffic)} wanted in the totals, found {row['n']}")

    async def _check(self, traffic: Traffic) -> None:
        async with self._database() as database:
            checker.expect("check-ins stored", len(traffic), await database.fetchval("SELECT count(*) FROM checkin"))
            rows = await database.fetch("SELECT lesson_date, unit_code, group_code, checkins FROM total")
            checker.expect("totals", dict(traffic.totals()), {tuple(row)[:3]: row["checkins"] for row in rows})
            rows = await database.fetch("SELECT viewer_id FROM completion")
            wanted = {workload.viewer_id(number) for number in traffic.completed}
            checker.expect("completions", wanted, {row["viewer_id"] for row in rows})


def _start(command: Sequence[str], variables: Mapping[str, str], log: Path) -> subprocess.Popen[bytes]:
    with log.open("ab") as output:
        return subprocess.Popen(
            dying_with_parent(command), env=environment(variables), cwd=REPOSITORY, stdout=output, stderr=output
        )


@asynccontextmanager
async def others(bench: Bench) -> AsyncIterator[Others]:
    """The comparisons, with a database and a NATS server made for them."""
    await bench.stack.postgres.execute("CREATE DATABASE bench")
    data = bench.stack.home.root / "data" / "bench-nats"
    server = NatsServer(
        data, ports_module.free_port(), ports_module.free_port(), {}, Path(__file__).with_name("nats.conf")
    )
    process = _start(server.command(), {}, bench.stack.home.log_file("bench-nats"))
    bench.stack.extra["comparison's nats"] = process.pid
    try:
        while not await asyncio.to_thread(server.is_ready, process.pid):
            if process.poll() is not None:
                raise checker.WrongAnswer("the NATS server of the comparisons did not start")
            await asyncio.sleep(0.05)
        yield Others(bench, server)
    finally:
        bench.stack.extra.pop("comparison's nats", None)
        process.terminate()
        process.wait(30)
        shutil.rmtree(data, ignore_errors=True)
