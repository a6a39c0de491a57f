"""docker-compose.yml on a real engine: `make compose-test` (minutes; skipped otherwise).

Brings everything up that can be had here, plays the demo's campaign against the published ports while replicas come and
containers are killed and paused, and compares every number. What could not be run is skipped with its reason, never passed in
silence.
"""

import asyncio
import itertools
import json
import os
import random
import ssl
import time
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import httpx
import pytest
from rich.console import Console

from cli.campaign_file import load
from demo import main as demo
from demo.campaign import read
from demo.deliveries import Step
from demo.player import player_of
from demo.run import Outcome, Run
from demo.traffic import Traffic
from deploy.offline import __main__ as offline
from shared.bus.topology import SERVICES
from tests.ops.compose_deployment import CONTAINERS, HERE, Deployment, bridge, docker, from_outside, outside
from tests.ops.compose_engine import NoEngine, engine
from upkeep import manifest
from upkeep.backup_names import existing
from upkeep.secret_files import FANZHA, OWNERS

pytestmark = [
    pytest.mark.long,
    pytest.mark.timeout(2400),
    pytest.mark.skipif("COMPOSE_TEST" not in os.environ, reason="run by `make compose-test`"),
]

VIEWERS = int(os.environ.get("VIEWERS") or 1000)
SEED = int(os.environ.get("SEED") or 7)
VICTIMS = (*SERVICES, "nats", "postgres", "office-proxy")
FROZEN = (*SERVICES, "nats", "postgres")
FREEZE_S = (2, 8)
LONG_FREEZE_S = 35  # longer than a client waits for an answer (30 s) and a service for a statement
LONG_FREEZE_STEP = 28  # an evening at half-time
JOBS = [name for name, container in CONTAINERS.items() if container.get("restart") == "no"]
ASKED_FOR = {"fanzha", "keeper"}  # profile cli: they run when they are asked to
CAMPAIGN = read(demo.CAMPAIGN)


@pytest.fixture(scope="session")
def unavailable(tmp_path_factory: pytest.TempPathFactory) -> Iterator[set[str]]:
    """With an engine and images: the services whose image cannot be had here."""
    with ExitStack() as stack:
        try:
            stack.enter_context(engine(tmp_path_factory.mktemp("engine") / "dockerd.log"))
        except NoEngine as error:
            pytest.fail(str(error))
        missing = {missing_image.image for missing_image in offline.build_missing()}
        offline.build_own()
        yield {name for name, container in CONTAINERS.items() if container["image"] in missing}


@pytest.fixture(scope="session")
def daemons(unavailable: set[str]) -> list[str]:
    return [name for name in CONTAINERS if name not in JOBS and name not in unavailable]


@pytest.fixture(scope="session")
def deployment(daemons: list[str], tmp_path_factory: pytest.TempPathFactory) -> Iterator[Deployment]:
    at = CAMPAIGN.at(CAMPAIGN.days[0], "19:00")
    made = Deployment(tmp_path_factory.mktemp("deployment"), at)
    try:
        made.up(daemons)
        yield made
    finally:
        made.remove()


@pytest.fixture(scope="session")
def beyond(deployment: Deployment) -> Iterator[tuple[str, int]]:
    """Where a machine outside of this one listens."""
    with outside() as address:
        yield address


# ---- as it comes up --------------------------------------------------------------------------------------------------


def test_everything_comes_up_healthy_and_every_job_ends_well(deployment: Deployment, daemons: list[str]) -> None:
    assert set(deployment.health(daemons).values()) == {"healthy"}
    codes = {
        job: deployment.inspect(container)["State"]["ExitCode"]
        for job in JOBS
        if job not in ASKED_FOR
        for container in deployment.containers(job, stopped=True)
    }
    assert codes == dict.fromkeys(set(JOBS) - ASKED_FOR, 0)


@pytest.mark.parametrize("name", sorted(CONTAINERS.keys() - set(JOBS)))
def test_runs_contained(deployment: Deployment, unavailable: set[str], name: str) -> None:
    if name in unavailable:
        pytest.skip(f"NOT RUN: {CONTAINERS[name]['image']} cannot be built here and no registry was reachable")
    state = deployment.inspect(deployment.containers(name)[0])
    status = Path(f"/proc/{state['State']['Pid']}/status").read_text().split("\n")
    fields = dict(line.split(":\t", 1) for line in status if ":\t" in line)
    assert int(fields["CapEff"], 16) == 0
    assert "0" not in fields["Uid"].split()
    assert fields["NoNewPrivs"].strip() == "1"
    assert state["HostConfig"]["ReadonlyRootfs"]
    assert state["HostConfig"]["Memory"] > 0
    published = [binding["HostIp"] for ports in state["NetworkSettings"]["Ports"].values() for binding in ports or ()]
    assert set(published) <= ({"0.0.0.0"} if name == "crossing" else {"127.0.0.1"})  # noqa: S104


def test_a_second_up_changes_nothing(deployment: Deployment, daemons: list[str]) -> None:
    before = {name: deployment.containers(name) for name in daemons}
    deployment.up(daemons)
    assert {name: deployment.containers(name) for name in daemons} == before


# ---- what is not allowed is refused ----------------------------------------------------------------------------------

ASK_DATABASE = """
import asyncio, asyncpg
from shared.settings import EnvironmentSettings
class Own(EnvironmentSettings):
    database_url: str
async def main():
    try:
        connection = await asyncpg.connect({url})
        print(await connection.fetchval({sql!r}))
    except Exception as error:
        print(type(error).__name__)
asyncio.run(main())
"""


@pytest.mark.parametrize("other", [service for service in SERVICES if service != "checkin"])
def test_checkins_role_cannot_connect_to_another_database(deployment: Deployment, other: str) -> None:
    url = f"Own().database_url.replace('fanzha_checkin', 'fanzha_{other}')"
    assert (
        deployment.run_python("checkin", ASK_DATABASE.format(url=url, sql="SELECT 1")) == "InsufficientPrivilegeError\n"
    )


@pytest.mark.parametrize("service", SERVICES)
def test_a_services_role_writes_rows_and_changes_no_schema(deployment: Deployment, service: str) -> None:
    database_url = "Own().database_url"
    assert (
        deployment.run_python(service, ASK_DATABASE.format(url=database_url, sql="SELECT current_user"))
        == f"{service}_app\n"
    )
    for sql in ("CREATE TABLE mine ()", "DROP TABLE outbox", "CREATE ROLE other"):
        assert (
            deployment.run_python(service, ASK_DATABASE.format(url=database_url, sql=sql))
            == "InsufficientPrivilegeError\n"
        )


def test_grafanas_role_reads_the_boards_views_and_nothing_else(deployment: Deployment) -> None:
    server = f"postgresql://reporting_reader:{deployment.secrets.reporting_reader}@postgres:5432"

    def ask(database: str, sql: str) -> str:
        return deployment.run_python("reporting", ASK_DATABASE.format(url=repr(f"{server}/{database}"), sql=sql))

    assert ask("fanzha_reporting", "SELECT count(*) FROM boards.campaign") == "0\n"
    assert ask("fanzha_reporting", "SELECT 1 FROM public.definition") == "InsufficientPrivilegeError\n"
    assert ask("fanzha_reporting", "CREATE TABLE boards.mine ()") == "ReadOnlySQLTransactionError\n"
    writing = "fanzha_reporting?default_transaction_read_only=off"
    assert ask(writing, "CREATE TABLE boards.mine ()") == "InsufficientPrivilegeError\n"
    for service in ("checkin", "notification", "certificate"):
        assert ask(f"fanzha_{service}", "SELECT 1") == "InsufficientPrivilegeError\n"


PUBLISH = """
import asyncio, nats
from shared.settings import EnvironmentSettings
class Own(EnvironmentSettings):
    nats_url: str
async def main():
    errors = []
    async def note(error): errors.append(str(error))
    client = await nats.connect(Own().nats_url, error_cb=note, inbox_prefix='_INBOX_{service}')
    await client.publish('{subject}', b'{{}}')
    await client.flush()
    await asyncio.sleep(0.2)
    print('refused' if any('permissions violation' in error for error in errors) else 'allowed', *errors)
asyncio.run(main())
"""


@pytest.mark.parametrize("service", SERVICES)
@pytest.mark.parametrize("subject", ["events.{other}.anything.v1", "live.events.v1", "$JS.API.STREAM.DELETE.EVENTS"])
def test_a_services_bus_user_cannot_publish_what_is_not_its_own(
    deployment: Deployment, service: str, subject: str
) -> None:
    other = next(candidate for candidate in SERVICES if candidate != service)
    said = deployment.run_python(service, PUBLISH.format(service=service, subject=subject.format(other=other)))
    assert said.startswith("refused")


ONE_VIEWER = "SELECT min(viewer_id) FROM viewer WHERE viewer_id NOT LIKE 'erased-%'"
REACH = """
import socket
try:
    socket.create_connection(({host!r}, {port}), timeout=3).close()
    print('reached')
except OSError as error:
    print('not reached')
"""


@pytest.mark.parametrize(
    ("name", "host", "port", "expected"),
    [
        ("checkin", "postgres", 5432, "reached"),
        ("checkin", "nats", 4222, "reached"),
        ("checkin", "grafana", 3000, "not reached"),
        ("nats-exporter", "postgres", 5432, "not reached"),
        ("nats-exporter", "nats-monitor", 8222, "reached"),
        ("checkin", "nats", 8222, "not reached"),
        ("checkin", "nats-monitor", 8222, "not reached"),
    ],
)
def test_networks_let_through_what_is_needed(
    deployment: Deployment, name: str, host: str, port: int, expected: str
) -> None:
    assert deployment.run_python(name, REACH.format(host=host, port=port)) == f"{expected}\n"


DATABASE_NETWORKS = tuple(f"{service}-database" for service in SERVICES)
CALLS_OUT = {"notification", "alertmanager"}


@pytest.mark.parametrize("service", SERVICES)
@pytest.mark.parametrize("network", DATABASE_NETWORKS)
def test_a_service_reaches_postgres_on_its_own_network_only(deployment: Deployment, service: str, network: str) -> None:
    is_its_network = network == f"{service}-database"
    container = deployment.containers(service)[0]
    assert deployment.connects(container, deployment.address("postgres", network), 5432) is is_its_network


def test_who_has_no_database_reaches_none(deployment: Deployment) -> None:
    """The daily backup has all four, Grafana has reporting's, the exporter the administration's."""
    for name in ("public-proxy", "office-proxy", "crossing", "prometheus", "alertmanager", "nats", "nats-exporter"):
        for network in DATABASE_NETWORKS:
            address = deployment.address("postgres", network)
            assert not deployment.connects(deployment.containers(name)[0], address, 5432), f"{name}: {network}"


@pytest.mark.parametrize(
    ("name", "reached"),
    [
        ("public-proxy", {"checkin", "certificate", "reporting"}),
        ("crossing", {"checkin", "certificate", "reporting"}),
        ("office-proxy", set(SERVICES)),
        ("nats-exporter", set(SERVICES)),
    ],
)
def test_the_doors_lead_where_they_must(deployment: Deployment, name: str, reached: set[str]) -> None:
    ports = dict(zip(SERVICES, range(8001, 8005), strict=True))
    container = deployment.containers(name)[0]
    open_ports = {
        service
        for service in SERVICES
        for network in CONTAINERS[service]["networks"]
        if deployment.connects(container, deployment.address(service, network), ports[service])
    }
    assert open_ports == reached


def test_only_who_sends_to_the_outside_calls_out(
    deployment: Deployment, daemons: list[str], beyond: tuple[str, int]
) -> None:
    assert {name for name in daemons if deployment.connects(deployment.containers(name)[0], *beyond)} == CALLS_OUT


@pytest.mark.usefixtures("beyond")
def test_only_the_crossing_lets_the_public_side_in(deployment: Deployment) -> None:
    """Two zones: what the public side's machine reaches here, of all that is published."""
    open_ports = {name for name, port in deployment.ports.items() if from_outside(HERE, port)}
    office = [n for n in range(5) if from_outside(HERE, deployment.office_ports + n)]
    inner = [
        f"{name}:{network}"
        for name, port in (("postgres", 5432), ("nats", 4222), ("checkin", 8001), ("reporting", 8002))
        for network in CONTAINERS[name]["networks"]
        if from_outside(deployment.address(name, network), port)
    ]
    assert (open_ports, office, inner) == ({"CROSSING_PORT"}, [], [])


def test_the_crossing_shows_what_the_public_needs_and_nothing_else(deployment: Deployment) -> None:
    context = ssl.create_default_context(cafile=str(deployment.folder / "secrets" / "tls_certificate.pem"))
    base = f"https://localhost:{deployment.ports['CROSSING_PORT']}"
    with httpx.Client(base_url=base, verify=context, trust_env=False) as http:
        assert http.post("/v1/live/events", content=b"[]").json()["type"] == "/problems/signature"
        assert 'id="code"' in http.get("/r").text
        for hidden in ("/metrics", "/docs", "/v1/campaigns/jinshan-2024"):
            assert http.get(hidden).json()["title"] == "没有这个页面"


def test_the_root_file_system_cannot_be_written(deployment: Deployment) -> None:
    for path in ("/app/x", "/opt/venv/x", "/run/secrets/checkin", "/etc/x"):
        assert "Error" in deployment.run_python("checkin", f"open({path!r}, 'w')")
    assert deployment.run_python("checkin", "open('/tmp/x', 'w')") == ""


def test_the_public_proxy_shows_what_the_public_needs_and_nothing_else(deployment: Deployment) -> None:
    context = ssl.create_default_context(cafile=str(deployment.folder / "secrets" / "tls_certificate.pem"))
    base = f"https://localhost:{deployment.ports['PUBLIC_PORT']}"
    with httpx.Client(base_url=base, verify=context, trust_env=False) as http:
        unsigned = http.post("/v1/live/events", content=b"[]")
        assert (unsigned.status_code, unsigned.json()["type"]) == (401, "/problems/signature")
        assert http.post("/v1/live/events/douyin", content=b"[]").json()["type"] == "/problems/signature"
        assert http.post("/v1/live/events/nobody", content=b"[]").status_code == 404
        assert http.get("/v/22222222222222222222222222").status_code == 404
        assert "没有这个页面" not in http.get("/v/22222222222222222222222222").text  # certificate's own page says it
        assert 'name="claim_code"' in http.get("/claim").text
        assert 'href="claim"' in http.get("/").text
        assert 'name="serial"' in http.get("/v/").text
        assert 'id="code"' in http.get("/r").text  # the liaison's page, on a phone that is not bound
        assert http.get("/r/receipts/2222-2222-2222").status_code == 404
        assert "领取码不正确" in http.post("/claim", data={"claim_code": "AAAAAAAA"}).text
        for hidden in (
            "/metrics",
            "/docs",
            "/health/ready",
            "/v1/campaigns/jinshan-2024",
            "/v1/campaigns/x/viewers/y",
        ):
            assert http.get(hidden).json()["title"] == "没有这个页面"


# ---- a campaign, while replicas come and containers are killed and paused --------------------------------------------


async def _play(deployment: Deployment, killed: list[str], frozen: list[tuple[str, int]]) -> Outcome:
    """More replicas start during the second step; from then on every third has a container killed in its traffic, and some
    others one paused, Postgres once for long."""
    rng = random.Random(SEED)
    victims, to_freeze = (itertools.cycle(rng.sample(names, len(names))) for names in (VICTIMS, FROZEN))

    def disturb(step_number: int, step: Step) -> None:
        if step_number == 1:
            deployment.up(SERVICES, checkin=3, reporting=2)
        elif step_number == LONG_FREEZE_STEP:
            freeze("postgres", LONG_FREEZE_S)
        elif step_number > 1 and step_number % 3 == 0:
            killed.append(next(victims))
            deployment.crash(rng.choice(deployment.containers(killed[-1])))
        elif step_number > 1 and step_number % 3 == 1 and len(step.posts) > 2:
            freeze(next(to_freeze), rng.randint(*FREEZE_S))

    def freeze(name: str, seconds: int) -> None:
        frozen.append((name, seconds))
        deployment.freeze(rng.choice(deployment.containers(name)), seconds)

    async with player_of(deployment.home, CAMPAIGN) as player:
        run = Run(player, Traffic(CAMPAIGN, VIEWERS, SEED), SEED, exact=False)
        await run.define(load(demo.CAMPAIGN).model_dump(mode="json"))
        for number, step in enumerate(run.traffic.steps()):
            await asyncio.gather(run.send(step), asyncio.to_thread(disturb, number, step))
            await run.finish(step)
        await asyncio.to_thread(deployment.wait_healthy, SERVICES)
        return await run.compare()


def test_a_campaign_is_exact_while_replicas_come_and_containers_are_killed_and_paused(deployment: Deployment) -> None:
    certificate = deployment.folder / "secrets" / "tls_certificate.pem"
    killed: list[str] = []
    frozen: list[tuple[str, int]] = []
    with (
        bridge(deployment.ports["CHECKIN_BRIDGE"], deployment.office_ports, certificate),
        bridge(deployment.ports["REPORTING_BRIDGE"], deployment.office_ports + 1, certificate),
        deployment.logs_kept(),
    ):
        proxied = {name: deployment.url(f"{name.upper()}_BRIDGE") for name in ("checkin", "reporting")}
        direct = {name: deployment.url(f"{name.upper()}_PORT") for name in ("notification", "certificate")}
        deployment.describe(proxied | direct)
        outcome = asyncio.run(_play(deployment, killed, frozen))
    console = Console(width=140)
    demo.report(deployment.home, console, outcome, keep=True)
    console.print(f"killed: {', '.join(killed)}")
    console.print(f"paused: {', '.join(f'{name} {seconds} s' for name, seconds in frozen)}")
    assert set(killed) == set(VICTIMS)
    assert {name for name, _ in frozen} == set(FROZEN)
    assert ("postgres", LONG_FREEZE_S) in frozen
    assert outcome.differences == []
    sent = {row["key"]: row["checkins"] for row in json.loads(_totals(deployment, "platform"))["rows"]}
    assert {source for source, checkins in sent.items() if checkins} >= CAMPAIGN.platforms.keys()
    assert len(CAMPAIGN.platforms) == 2
    assert len(deployment.containers("checkin")) == 3
    assert len(deployment.containers("reporting")) == 2


def test_prometheus_sees_every_replica(deployment: Deployment, daemons: list[str]) -> None:
    deployment.wait_healthy(daemons)
    url = f"{deployment.url('PROMETHEUS_PORT')}/api/v1/query"

    def up() -> dict[str, list[str]]:
        addresses: dict[str, list[str]] = {}
        for sample in httpx.get(url, params={"query": "up"}, trust_env=False).json()["data"]["result"]:
            addresses.setdefault(sample["metric"]["job"], []).append(sample["value"][1])
        return addresses

    expected = {"checkin": ["1"] * 3, "reporting": ["1"] * 2, "notification": ["1"], "certificate": ["1"]}
    expected |= {job: ["1"] for job in ("nats", "postgres", "node", "prometheus", "alertmanager")}
    give_up_at = time.monotonic() + 60
    while up() != expected and time.monotonic() < give_up_at:
        time.sleep(1)
    assert up() == expected


# ---- what an operator runs against it --------------------------------------------------------------------------------


def test_the_daily_backup_has_taken_one_and_prometheus_sees_it(deployment: Deployment) -> None:
    taken = existing(deployment.folder / "backups")[
        -1
    ]  # at its start, and one more where the test runs past the hour of the day
    description = manifest.read(taken)
    assert {Path(secret.path).name for secret in description.secrets} == OWNERS.keys()
    assert description.env == "/deployment/.env"
    assert (taken / "env").read_text() == (deployment.folder / ".env").read_text()
    assert taken.stat().st_uid == FANZHA
    url = f"{deployment.url('PROMETHEUS_PORT')}/api/v1/query"
    query = {"query": "fanzha_backup_last_success_timestamp_seconds > time() - 26 * 3600"}  # BackupTooOld
    give_up_at = time.monotonic() + 120
    while not (seen := httpx.get(url, params=query, trust_env=False).json()["data"]["result"]):
        assert time.monotonic() < give_up_at, "Prometheus has no age of the backup"
        time.sleep(1)
    assert len(seen) == 1


def test_the_doctor_runs_against_the_stack(deployment: Deployment) -> None:
    """Whatever this machine is like (its disk, a rehearsal's clock): the doctor reaches everything and finds it well."""
    said = deployment.compose("run", "--rm", "-T", "keeper", "doctor", "--json", "--all", check=False)
    findings = {(finding["check"], finding["subject"]): finding for finding in json.loads(said)}
    wrong = {key for key, finding in findings.items() if finding["level"] == "problem" and key[0] != "disk"}
    assert wrong == {("dead_letters", "checkin")}  # the campaign sends what is no JSON, and that is parked
    for service in SERVICES:
        assert findings["services", service]["text"] == "就绪"
        assert findings["database", service]["level"] == "ok"
        assert findings["limits", service]["level"] == "ok"
    assert findings["backup", "/backups"]["level"] == "ok"
    for source in CAMPAIGN.platforms:
        assert findings["platforms", source]["level"] == "ok"


def test_each_platform_is_told_its_address_and_its_secret(deployment: Deployment) -> None:
    said = deployment.compose("run", "--rm", "-T", "keeper", "platforms", "--campaign", CAMPAIGN.id, "--json")
    rows = {row["source"]: row for row in json.loads(said)["rows"]}
    base = f"{deployment.url('CHECKIN_BRIDGE')}/v1/live/events"
    assert {source: row["address"] for source, row in rows.items()} == {
        source: f"{base}/{source}" for source in CAMPAIGN.platforms
    }
    sources = json.loads(deployment.secrets.webhook_sources)
    assert {source: row["secrets"] for source, row in rows.items()} == {
        source: sources[source]["secrets"] for source in CAMPAIGN.platforms
    }


def test_a_viewer_is_forgotten_and_totals_stay(deployment: Deployment) -> None:
    def one_viewer() -> str:
        return deployment.run_python("checkin", ASK_DATABASE.format(url="Own().database_url", sql=ONE_VIEWER)).strip()

    viewer = one_viewer()
    erase = ("run", "--rm", "-T", "keeper", "erase", "viewer", CAMPAIGN.id, viewer, "--json")
    before = _totals(deployment)
    shown = json.loads(deployment.compose(*erase))
    assert (shown["done"], shown["counts"]["checkin"]["viewer"]) == (False, 1)
    assert one_viewer() == viewer
    deployment.compose(*erase, "--yes", "--by", "compose-test")
    assert one_viewer() != viewer
    assert _without_time(_totals(deployment)) == _without_time(before)


def test_stops_within_the_grace_period(deployment: Deployment) -> None:
    stopped = [*SERVICES, "nats", "postgres"]
    ids = {name: deployment.containers(name) for name in stopped}
    deployment.compose("stop", *SERVICES)
    deployment.compose("stop", "nats", "postgres")
    codes = {deployment.inspect(container)["State"]["ExitCode"] for name in stopped for container in ids[name]}
    assert codes <= {0, 143}  # uvicorn ends by the signal it was stopped with, when all is done; 137 would be: killed
    for service in SERVICES:
        for container in ids[service]:
            assert '"event": "stopped"' in docker("logs", "--tail", "20", container)


def test_a_wiped_deployment_is_restored_from_its_backup(deployment: Deployment, daemons: list[str]) -> None:
    """docs/operations/backup.md, step by step: everything but the backup and the secrets is lost."""

    deployment.up(daemons)
    before = _totals(deployment)
    assert json.loads(before)["rows"]
    deployment.compose("run", "--rm", "-T", "keeper", "backup")
    deployment.compose("down", "--volumes")
    backup = existing(deployment.folder / "backups")[-1].name
    deployment.compose("up", "-d", "provision", "nats")
    deployment.compose("run", "--rm", "-T", "keeper", "restore", f"/backups/{backup}")
    deployment.up(daemons)
    for service in SERVICES:
        deployment.compose("exec", "-T", service, "fanzha", "outbox", "republish")
    assert _without_time(_totals(deployment)) == _without_time(before)


def _totals(deployment: Deployment, by: str = "unit") -> str:
    return deployment.compose("run", "--rm", "-T", "fanzha", "totals", "--campaign", CAMPAIGN.id, "--by", by, "--json")


def _without_time(totals: str) -> dict[str, Any]:
    return {key: value for key, value in json.loads(totals).items() if key != "as_of"}
