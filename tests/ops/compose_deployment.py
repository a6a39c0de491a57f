"""A deployment of docker-compose.yml for a test: a project, ports, secrets and a home of its own; nothing of it stays behind."""

import asyncio
import json
import os
import signal
import socket
import ssl
import subprocess
import sys
import threading
import time
from collections.abc import Coroutine, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import asdict
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any, TypeVar

import yaml

from cli.init_texts import env_text
from devstack.home import REPOSITORY, Home, write_env
from devstack.ports import Ports, free_port, is_free
from devstack.secrets import WebhookSource
from shared.bus.topology import SERVICES
from shared.clock import write_clock
from shared.service.tokens import ALL_CAMPAIGNS, create_token
from tests.ops.compose_engine import compose_command
from upkeep.secret_files import FANZHA, DeploymentSecrets, secret_files, write_all
from upkeep.sizing import VIEWERS_DEFAULT, sizes

T = TypeVar("T")

FILES = ("docker-compose.yml", "docker-compose.zones.yml", "docker-compose.rehearsal.yml", "tests/ops/compose-test.yml")
CONTAINERS: dict[str, Any] = {
    name: container
    for file in FILES[:2]
    for name, container in yaml.safe_load((REPOSITORY / file).read_text())["services"].items()
}
PORTS = (
    *("NOTIFICATION_PORT", "CERTIFICATE_PORT", "NATS_PORT", "POSTGRES_PORT", "PUBLIC_PORT"),
    "CROSSING_PORT",
    *("PROMETHEUS_PORT", "ALERTMANAGER_PORT", "GRAFANA_PORT", "CHECKIN_BRIDGE", "REPORTING_BRIDGE"),
)
BUS_USERS = ("operator", "live")
REPLICAS_MAX = 5
ADMIN_FOR = timedelta(hours=2)
READY_WITHIN_S = 180
HERE, THERE = "198.51.100.1", "198.51.100.2"  # this machine as `outside` sees it, and that one


class Deployment:
    """`up`, and everything that a test does to it. `home` looks like a dev stack's, so the demo can play on it."""

    def __init__(self, folder: Path, at: datetime) -> None:
        self.folder = folder
        self.project = f"fanzha-test-{os.getpid()}"
        self.home = Home(folder / "home")
        self.secrets = DeploymentSecrets(more_sources={"douyin": WebhookSource.new("douyin")})
        self.ports = {name: free_port() for name in PORTS}
        self.replica_ports = free_ports_in_a_row(2 * REPLICAS_MAX)
        self.office_ports = free_ports_in_a_row(5)
        self._compose = [*compose_command(), "--project-name", self.project, "--env-file", str(folder / ".env")]
        self._compose += [part for file in FILES for part in ("--file", str(REPOSITORY / file))]
        self._write(at)

    # ---- what it is told ---------------------------------------------------------------------------------------------

    def _write(self, at: datetime) -> None:
        self.home.create()
        os.chown(self.home.messages, FANZHA, FANZHA)
        write_clock(self.home.clock, at)
        write_all(self.folder / "secrets", secret_files(self.secrets, "localhost"))
        settings = {
            **self.ports,
            "SECRETS": self.folder / "secrets",
            "BACKUPS": self.folder / "backups",
            "ENV_PATH": self.folder / ".env",
            "ENVIRONMENT": "dev",
            "CROSSING_ADDRESS": "0.0.0.0",  # noqa: S104 - `outside` has to reach it
        }
        first, last = self.replica_ports, self.replica_ports + REPLICAS_MAX - 1
        settings |= {"CHECKIN_PORT": f"{first}-{last}", "REPORTING_PORT": f"{last + 1}-{last + REPLICAS_MAX}"}
        settings |= {"OFFICE_PORTS": f"{self.office_ports}-{self.office_ports + 4}"}
        settings |= {"CLOCK_FOLDER": self.home.root, "MESSAGES": self.home.messages, "POSTGRES_CPUS": "1.0"}
        settings |= {"OFFICE_PORT": free_port()}
        settings |= {"COMPOSE_PROFILES": "monitoring,proxy,backup"}
        settings |= {
            "CERTIFICATE_PUBLIC_URL": self.url("CERTIFICATE_PORT"),
            "CHECKIN_PUBLIC_URL": self.url("CHECKIN_BRIDGE"),
        }
        lines = "".join(f"{key}={value}\n" for key, value in settings.items())
        (self.folder / ".env").write_text(env_text(None, sizes(VIEWERS_DEFAULT)) + lines)

    def url(self, port: str) -> str:
        return f"http://127.0.0.1:{self.ports[port]}"

    def describe(self, urls: dict[str, str]) -> None:
        """Writes what a dev stack's home holds, for the demo. `urls`: where each service is reached."""
        token = create_token(
            self.secrets.token_private_key,
            subject="compose-test",
            role="admin",
            campaign=ALL_CAMPAIGNS,
            unit=None,
            valid_for=ADMIN_FOR,
        )
        bus = {
            user: f"nats://{user}:{self.secrets.nats[user]}@127.0.0.1:{self.ports['NATS_PORT']}" for user in BUS_USERS
        }
        bus_urls = {"NATS_URL": bus["operator"], "LIVE_NATS_URL": bus["live"]}
        addresses = {f"{service.upper()}_URL": urls[service] for service in SERVICES}
        webhook = {"WEBHOOK_SECRET": self.secrets.webhook_secret, "WEBHOOK_SOURCES": self.secrets.webhook_sources}
        write_env(
            self.home.env,
            {**addresses, **bus_urls, **webhook, "ADMIN_TOKEN": token},
        )
        self.home.secrets.write_text(self.secrets.model_dump_json())
        self.home.secrets.chmod(0o600)
        self.home.ports.write_text(json.dumps(asdict(Ports(nats=self.ports["NATS_PORT"]))))
        for service in SERVICES:
            password = self.secrets.postgres[f"{service}_app"]
            where = f"127.0.0.1:{self.ports['POSTGRES_PORT']}/fanzha_{service}"
            write_env(
                self.home.service_env(service), {"DATABASE_URL": f"postgresql://{service}_app:{password}@{where}"}
            )

    # ---- what is done to it ------------------------------------------------------------------------------------------

    def compose(self, *arguments: str, check: bool = True) -> str:
        done = subprocess.run([*self._compose, *arguments], cwd=REPOSITORY, capture_output=True, text=True)
        if check and done.returncode != 0:
            raise AssertionError(f"compose {' '.join(arguments)}: {done.stderr[-4000:]}\n{self.complaints()}")
        return done.stdout

    def up(self, names: Sequence[str], **scale: int) -> None:
        options = [part for name, count in scale.items() for part in ("--scale", f"{name}={count}")]
        self.compose("up", "-d", *options, *names)
        self.wait_healthy(names)

    def wait_healthy(self, names: Sequence[str]) -> None:
        give_up_at = time.monotonic() + READY_WITHIN_S
        while unhealthy := {container: how for container, how in self.health(names).items() if how != "healthy"}:
            if time.monotonic() > give_up_at:
                raise AssertionError(f"not healthy after {READY_WITHIN_S} s: {unhealthy}\n{self.complaints()}")
            time.sleep(0.5)

    def health(self, names: Sequence[str]) -> dict[str, str]:
        states = [self.inspect(container) for name in names for container in self.containers(name)]
        return {state["Name"]: state["State"].get("Health", {}).get("Status", "no check") for state in states}

    def containers(self, name: str, *, stopped: bool = False) -> list[str]:
        labels = (f"com.docker.compose.project={self.project}", f"com.docker.compose.service={name}")
        filters = [part for label in labels for part in ("--filter", f"label={label}")]
        return docker("ps", "--quiet", *(["--all"] if stopped else []), *filters).split()

    def inspect(self, container: str) -> dict[str, Any]:
        states: list[dict[str, Any]] = json.loads(docker("inspect", container))
        return states[0]

    def crash(self, container: str) -> None:
        """Kills its process; the engine was not asked, so the restart policy applies."""
        os.kill(self.inspect(container)["State"]["Pid"], signal.SIGKILL)

    def freeze(self, container: str, seconds: float) -> None:
        """`docker pause`: none of its processes runs, its connections stay open, and nobody is told."""
        docker("pause", container)
        try:
            time.sleep(seconds)
        finally:
            docker("unpause", container)

    def run_python(self, name: str, program: str) -> str:
        """`program` inside the first container of `name`, as the service's own user."""
        done = subprocess.run(
            ["docker", "exec", self.containers(name)[0], "python", "-c", program], capture_output=True, text=True
        )
        return done.stdout + done.stderr

    def connects(self, container: str, host: str, port: int) -> bool:
        """From inside a container's network, whatever its image has: TCP to an address within three seconds."""
        pid = str(self.inspect(container)["State"]["Pid"])
        program = f"import socket; socket.create_connection(({host!r}, {port}), timeout=3)"
        command = ["nsenter", "--target", pid, "--net", sys.executable, "-c", program]
        return subprocess.run(command, capture_output=True).returncode == 0

    def address(self, name: str, network: str) -> str:
        """Of the first container of `name` on `network`."""
        networks = self.inspect(self.containers(name)[0])["NetworkSettings"]["Networks"]
        return str(networks[f"{self.project}_{network}"]["IPAddress"])

    def complaints(self) -> str:
        return self.compose("logs", "--no-color", "--tail", "15", check=False)[-8000:]

    @contextmanager
    def logs_kept(self) -> Iterator[None]:
        """Into the home, where the demo looks for names and phones."""
        path = self.home.root / "log" / "compose.log"
        with path.open("wb") as output:
            follower = subprocess.Popen([*self._compose, "logs", "--no-color", "-f"], cwd=REPOSITORY, stdout=output)
        try:
            yield
        finally:
            follower.terminate()
            follower.wait(10)

    def remove(self) -> None:
        self.compose("down", "--volumes", "--remove-orphans", "--timeout", "60", check=False)


@contextmanager
def outside() -> Iterator[tuple[str, int]]:
    """A machine beyond this one (a network namespace, so root's), which knows no way to a container but by this machine's own
    address, as the internet does not. Yields where it listens."""
    name = f"fz{os.getpid()}"
    port = 8080
    inside = ["ip", "netns", "exec", name]
    commands = (
        ["ip", "netns", "add", name],
        ["ip", "link", "add", name, "type", "veth", "peer", "name", "eth0", "netns", name],
        ["ip", "address", "add", f"{HERE}/30", "dev", name],
        ["ip", "link", "set", name, "up"],
        [*inside, "ip", "address", "add", f"{THERE}/30", "dev", "eth0"],
        [*inside, "ip", "link", "set", "eth0", "up"],
    )
    try:
        for command in commands:
            subprocess.run(command, check=True, capture_output=True)
        quiet = subprocess.DEVNULL
        listener = subprocess.Popen(
            [*inside, sys.executable, "-m", "http.server", str(port)], stdout=quiet, stderr=quiet
        )
        try:
            _wait_for(THERE, port)
            yield THERE, port
        finally:
            listener.terminate()
            listener.wait(10)
    finally:
        subprocess.run(["ip", "link", "delete", name], capture_output=True)
        subprocess.run(["ip", "netns", "delete", name], capture_output=True)


def from_outside(host: str, port: int) -> bool:
    """Whether the machine of `outside` reaches a port of this one."""
    program = f"import socket; socket.create_connection(({host!r}, {port}), timeout=3)"
    command = ["ip", "netns", "exec", f"fz{os.getpid()}", sys.executable, "-c", program]
    return subprocess.run(command, capture_output=True).returncode == 0


def _wait_for(host: str, port: int) -> None:
    give_up_at = time.monotonic() + READY_WITHIN_S
    while True:
        try:
            socket.create_connection((host, port), timeout=3).close()
            return
        except OSError:
            if time.monotonic() > give_up_at:
                raise
            time.sleep(0.2)


@contextmanager
def bridge(port: int, to_port: int, certificate: Path) -> Iterator[None]:
    """Plain HTTP at `port` on loopback, whose bytes go through the TLS proxy at `to_port`; the proxy's certificate is checked."""
    context = ssl.create_default_context(cafile=str(certificate))
    loop = asyncio.new_event_loop()

    async def copy(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            while data := await reader.read(65536):
                writer.write(data)
                await writer.drain()
        except OSError:
            pass
        finally:
            writer.close()

    async def connect(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            there = await asyncio.open_connection("localhost", to_port, ssl=context, server_hostname="localhost")
        except OSError:
            writer.close()
            return
        await asyncio.gather(copy(reader, there[1]), copy(there[0], writer))

    async def stop() -> None:
        server.close()
        left = asyncio.all_tasks() - {asyncio.current_task()}
        for task in left:
            task.cancel()
        await asyncio.gather(*left, return_exceptions=True)

    def run(work: Coroutine[Any, Any, T]) -> T:
        return asyncio.run_coroutine_threadsafe(work, loop).result(10)

    thread = threading.Thread(target=loop.run_forever, daemon=True)
    thread.start()
    server = run(asyncio.start_server(connect, "127.0.0.1", port))
    try:
        yield
    finally:
        run(stop())
        loop.call_soon_threadsafe(loop.stop)
        thread.join(10)


def docker(*arguments: str) -> str:
    return subprocess.run(["docker", *arguments], check=True, capture_output=True, text=True).stdout


def free_ports_in_a_row(count: int) -> int:
    """The first of them."""
    while True:
        first = free_port()
        if all(is_free(port) for port in range(first, first + count)):
            return first
