"""All four services as they compose themselves, in this process, on real databases and a real NATS: a deployment to keep."""

import json
import shutil
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

import httpx
import pytest

from checks import contracts
from devstack.home import Home, write_env
from devstack.plan import Stack
from devstack.ports import Ports
from devstack.secrets import Secrets, load_or_create
from shared.bus import outbox
from shared.bus.topology import SERVICES, TopologySettings
from shared.bus.topology import main as apply_topology
from shared.clock import write_clock
from shared.service.tokens import create_token
from tests.support.campaigns import campaign_content
from tests.support.checkin import CAMPAIGN, checkin, enrolment, signature
from tests.support.databases import FreshDatabase, fresh_database
from tests.support.nats_support import RunningNats, eventually
from tests.support.servers import RunningPostgres, public_folder
from tests.support.service import ServiceUnderTest
from upkeep.deployment import Deployment

LESSONS = ("2024-06-29", "2024-06-30")
VIEWERS = [f"ks_{number:04}" for number in range(1, 41)]
FINISHED = VIEWERS[:30]  # viewers who came to both lessons
BOTH_OVER = datetime.fromisoformat("2024-06-30T20:30:00+08:00")
START = datetime.fromisoformat("2024-06-28T12:00:00+08:00")


class WholeDeployment:
    """`running()` starts and stops the services; servers, databases and keys outlive that."""

    def __init__(self, postgres: RunningPostgres, nats: RunningNats, folder: Path) -> None:
        self.postgres = postgres
        self.nats = nats
        self.home = Home(folder / "home")
        self.home.create()
        self.secrets: Secrets = load_or_create(self.home)
        self.databases: dict[str, FreshDatabase] = {}
        self.services: dict[str, ServiceUnderTest] = {}  # while they run
        if not self.home.clock.exists():
            write_clock(self.home.clock, START)

    async def new_databases(self) -> None:
        """Makes empty databases at the newest schema and drops the earlier ones."""
        for service in SERVICES:
            if service in self.databases:
                await self.postgres.drop(self.databases[service].name)
            self.databases[service] = await fresh_database(self.postgres, service)

    async def lose_nats(self) -> None:
        """Replaces the disk of NATS by a new one that has the topology and nothing else."""
        await self.nats.kill()
        shutil.rmtree(self.nats.server.data)
        await self.nats.start()
        await self.apply_topology()

    async def apply_topology(self) -> None:
        await apply_topology(TopologySettings(nats_url=self.nats.url("topology")))

    async def close(self) -> None:
        for database in self.databases.values():
            await self.postgres.drop(database.name)

    # ---- as the commands see it ------------------------------------------------------------------------------------

    def deployment(self) -> Deployment:
        return Deployment(
            databases={service: database.owner_url for service, database in self.databases.items()},
            topology_url=self.nats.url("topology"),
            nats_monitoring=f"http://127.0.0.1:{self.nats.server.monitoring_port}",
            secret_files=(self.home.secrets,),
            environments={service: self.environment(service) for service in SERVICES},
        )

    def environment(self, service: str) -> dict[str, str]:
        environment = Stack(self.home, Ports(), self.secrets).service_environment(service)
        return environment | {"DATABASE_URL": self.databases[service].url, "NATS_URL": self.nats.url(service)}

    def shell(self, **more: str) -> dict[str, str]:
        """The environment variables that an operator's shell has for this deployment, for commands that find it by them
        (docs/operations)."""
        folder = self.home.root / "secrets"
        folder.mkdir(exist_ok=True)
        for service in SERVICES:
            write_env(folder / f"{service}.env", self.environment(service))
            write_env(folder / f"{service}_owner.env", {"MIGRATION_DATABASE_URL": self.databases[service].owner_url})
        write_env(folder / "topology.env", {"NATS_URL": self.nats.url("topology")})
        monitoring = f"http://127.0.0.1:{self.nats.server.monitoring_port}"
        return {"SECRETS_DIR": str(folder), "NATS_MONITORING_URL": monitoring, **more}

    # ---- running ---------------------------------------------------------------------------------------------------

    @asynccontextmanager
    async def running(self) -> AsyncIterator[None]:
        async with AsyncExitStack() as stack:
            for service in SERVICES:
                app = contracts.build_service(service, self.environment(service))
                running = ServiceUnderTest(app, caller=self._token()).running()
                self.services[service] = await stack.enter_async_context(running)
            yield
        self.services.clear()

    def _token(self) -> str:
        return create_token(
            self.secrets.token_private_key,
            subject="t",
            role="admin",
            campaign="*",
            unit=None,
            valid_for=timedelta(days=1),
        )

    async def get(self, service: str, path: str, **params: Any) -> Any:
        answer = await self.services[service].client.get(path, params=params)
        assert answer.status_code == 200, answer.text
        return answer.json()

    async def put(self, service: str, path: str, content: Any) -> Any:
        answer = await self.services[service].client.put(path, json=content)
        assert answer.is_success, answer.text
        return answer.json()

    async def post(self, service: str, path: str, content: Any) -> httpx.Response:
        return await self.services[service].client.post(path, json=content)

    async def send(self, *events: Any) -> dict[str, int]:
        """Verdict counts of one signed post."""
        body = json.dumps(events).encode()
        headers = signature(body, self.secrets.webhook_secret)
        answer = await self.services["checkin"].client.post("/v1/live/events", content=body, headers=headers)
        assert answer.status_code == 200, answer.text
        counts: dict[str, int] = answer.json()["counts"]
        return counts

    def clock_is(self, now: datetime) -> None:
        write_clock(self.home.clock, now)

    async def settle(self) -> None:
        """Waits until no service has anything left to do, twice in a row."""
        quiet = 0

        async def settled() -> bool:
            nonlocal quiet
            done = [await running.service.settled() for running in self.services.values()]
            quiet = quiet + 1 if all(done) else 0
            return quiet >= 2

        await eventually(settled, within_s=60, what="the services have nothing left to do")

    async def republish(self) -> None:
        """Publishes all ledgers again, as `fanzha outbox republish` does."""
        for running in self.services.values():
            async with running.db.transaction() as tx:
                await outbox.republish_all(tx)

    async def rows(self, service: str, sql: str, *values: Any) -> list[tuple[Any, ...]]:
        return await self.services[service].rows(sql, *values)


@asynccontextmanager
async def whole_deployment(postgres: RunningPostgres) -> AsyncIterator[WholeDeployment]:
    """Empty databases and a NATS with the topology; nothing runs yet."""
    with public_folder() as folder:
        nats = RunningNats(folder)
        await nats.start()
        deployment = WholeDeployment(postgres, nats, folder)
        try:
            await deployment.new_databases()
            await deployment.apply_topology()
            yield deployment
        finally:
            await deployment.close()
            await nats.stop()


@pytest.fixture
async def stack(postgres: RunningPostgres) -> AsyncIterator[WholeDeployment]:
    async with whole_deployment(postgres) as deployment:
        yield deployment


async def hold_campaign(stack: WholeDeployment) -> None:
    """Plays a campaign: enrolments, two lessons, duplicates and refusals, certificates issued, one claimed."""
    await stack.put("checkin", f"/v1/campaigns/{CAMPAIGN}", campaign_content())
    stack.clock_is(BOTH_OVER)
    enrolments = [
        enrolment(
            viewer, unit_code="111-EDU", group="student", name=f"观众{viewer[-2:]}", phone=f"1380000{viewer[-4:]}"
        )
        for viewer in VIEWERS[::2]
    ]
    assert await stack.send(*enrolments) == {"recorded": len(enrolments)}
    first = [checkin(viewer, f"{LESSONS[0]}T19:31:05+08:00") for viewer in VIEWERS]
    second = [checkin(viewer, f"{LESSONS[1]}T19:45:00+08:00") for viewer in FINISHED]
    assert await stack.send(*first, *second) == {"recorded": len(first) + len(second)}
    assert await stack.send(*first[:5], checkin("ks_0001", "2024-06-29T03:00:00+08:00")) == {
        "duplicate": 5,
        "rejected": 1,
    }
    await stack.settle()
    certificate = await stack.get("certificate", f"/v1/campaigns/{CAMPAIGN}/certificates/{VIEWERS[0]}")
    claimed = await stack.post(
        "certificate", "/v1/claims", {"claim_code": certificate["claim_code"], "phone_tail": "0001"}
    )
    assert claimed.status_code == 200, claimed.text
    await stack.settle()
