"""A dev stack of the benchmark's own: fresh, on free ports, with the settings that production has."""

import json
import os
import shutil
from collections.abc import AsyncIterator, Iterator, Mapping
from contextlib import asynccontextmanager, contextmanager
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Any
from urllib.request import urlopen

import asyncpg
import httpx
from rich.console import Console

from bench import workload
from bench.meter import Meter
from cli.clock_commands import settle
from devstack import main as devstack
from devstack import ports as ports_module
from devstack.home import REPOSITORY, Home, read_env
from devstack.plan import Stack
from devstack.secrets import load_or_create
from devstack.supervisor import State
from shared.bus.topology import SERVICES
from shared.clock import write_clock

FOLDER = REPOSITORY / "build" / "bench"
SETTLE_WITHIN_S = 300


@dataclass
class BenchStack:
    """The running stack as the benchmark uses it."""

    home: Home
    stack: Stack
    env: Mapping[str, str]
    http: httpx.AsyncClient
    postgres: asyncpg.Connection  # superuser, on the maintenance database
    extra: dict[str, int]  # other processes to measure: the generator, a comparison
    monitoring_port: int

    @property
    def checkin_port(self) -> int:
        return int(self.env["CHECKIN_URL"].rpartition(":")[2])

    @property
    def secret(self) -> str:
        return self.env["WEBHOOK_SECRET"]

    def processes(self) -> dict[str, int]:
        known = State.read(self.home).processes
        return {name: process.pid for name, process in known.items()} | self.extra

    def nats_messages(self) -> int:
        with urlopen(f"http://127.0.0.1:{self.monitoring_port}/jsz", timeout=5) as answer:
            return int(json.load(answer)["messages"])

    def meter(self) -> Meter:
        return Meter(self.postgres, self.processes, self.nats_messages)

    @asynccontextmanager
    async def database(self, service: str) -> AsyncIterator[asyncpg.Connection]:
        """A superuser's connection to a service's database: for loading and looking, never for the job itself."""
        connection = await asyncpg.connect(
            self.stack.postgres.url(database=f"fanzha_{service}"), server_settings={"application_name": "bench"}
        )
        try:
            yield connection
        finally:
            await connection.close()

    async def define(
        self,
        campaign_id: str,
        required_days: int,
        claim_from: datetime = workload.CLAIM_LATER,
        *,
        seal_after_hours: int = 48,
    ) -> None:
        """Puts a campaign in force in all services."""
        body = workload.definition(campaign_id, required_days, claim_from, seal_after_hours=seal_after_hours)
        await self.call("checkin", "PUT", f"/v1/campaigns/{campaign_id}", json=body)
        self.settle()

    async def call(self, service: str, method: str, path: str, **arguments: Any) -> Any:
        headers = {"authorization": f"Bearer {self.env['ADMIN_TOKEN']}"}
        answer = await self.http.request(
            method, f"{self.env[f'{service.upper()}_URL']}{path}", headers=headers, **arguments
        )
        answer.raise_for_status()
        return answer.json()

    def settle(self, now: datetime | None = None) -> None:
        """Returns when no service has anything left to do."""
        urls = {service: self.env[f"{service.upper()}_URL"] for service in SERVICES}
        settle(urls, now, within_s=SETTLE_WITHIN_S, pause_s=0.05)

    def set_clock(self, now: datetime) -> None:
        write_clock(self.home.clock, now)

    async def checkpoint(self) -> None:
        """Makes a checkpoint before a measurement, so that each pays for its own full-page images."""
        await self.postgres.execute("CHECKPOINT")


@contextmanager
def fresh_home() -> Iterator[Home]:
    root = Path(os.environ.get("FANZHA_HOME") or FOLDER / f"stack-{os.getpid()}").resolve()
    if root.exists():
        raise SystemExit(f"{root} exists; the benchmark starts with an empty one")
    home = Home(root)
    try:
        yield home
    finally:
        devstack.down(home)
        if not os.environ.get("KEEP"):
            shutil.rmtree(root)


@asynccontextmanager
async def running_stack(home: Home, console: Console) -> AsyncIterator[BenchStack]:
    free = ports_module.free_ports().checkin - 1  # not the defaults: a dev stack may want to start on them
    devstack.up(home, console, ports=str(free), clock_at=workload.CLOCK_AT)
    ports, secrets = ports_module.kept(home), load_or_create(home)
    stack = Stack(home, ports, secrets)
    postgres = await asyncpg.connect(stack.postgres.url(), server_settings={"application_name": "bench"})
    async with httpx.AsyncClient(timeout=60, trust_env=False) as http:
        try:
            yield BenchStack(home, stack, read_env(home.env), http, postgres, {}, ports.nats_monitoring)
        finally:
            await postgres.close()
