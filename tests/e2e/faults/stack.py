"""The stack of a run: a dev stack, and beside each of its services (replica a) one of ours (replica b) behind proxies."""

import asyncio
import signal
import subprocess
import sys
from collections.abc import AsyncIterator, Callable, Iterable
from contextlib import asynccontextmanager, suppress
from io import StringIO
from pathlib import Path
from urllib.parse import urlsplit

import asyncpg
import httpx
import nats
import psutil
from nats.aio.client import Client
from rich.console import Console

from devstack import main as devstack
from devstack import ports as ports_module
from devstack.home import Home, StackError, read_env
from devstack.plan import Stack
from devstack.ports import free_port
from devstack.processes import dying_with_parent, environment, identity, open_log
from devstack.secrets import load_or_create
from shared.bus.topology import SERVICES
from tests.e2e.faults.proxy import Proxy
from tests.e2e.faults.small_disks import Disks

CHILDREN = (*SERVICES, "nats", "postgres")
REPLICAS = tuple(f"{service}-{letter}" for service in SERVICES for letter in "ab")
RESTART_PAUSE_S = 0.5
UP_WITHIN_S = 180
STOP_WITHIN_S = 30
ADMIN_TIMEOUT_S, ADMIN_TRIES = 20, 60


class Replica:
    """Our own process of a service. It is started again whenever it ends, as any platform would."""

    def __init__(self, cluster: "Cluster", service: str, port: int) -> None:
        self._cluster = cluster
        self._service = service
        self.port = port
        self.extra: dict[str, str] = {}  # variables of the next start
        self.process: asyncio.subprocess.Process | None = None
        self._keeper: asyncio.Task[None] | None = None

    def start(self) -> None:
        self._keeper = asyncio.create_task(self._keep())

    async def stop(self) -> None:
        if self._keeper:
            self._keeper.cancel()
            await asyncio.gather(self._keeper, return_exceptions=True)
        if self.process and self.process.returncode is None:
            self.process.kill()
            await self.process.wait()

    async def restart(self) -> None:
        """In order; returns when the old process is gone."""
        if self.process and self.process.returncode is None:
            self.process.terminate()
            with suppress(TimeoutError):
                await asyncio.wait_for(self.process.wait(), STOP_WITHIN_S)
            if self.process.returncode is None:
                self.process.kill()
        await asyncio.sleep(2 * RESTART_PAUSE_S)

    async def _keep(self) -> None:
        log = self._cluster.home.log_file(f"{self._service}-b")
        while True:
            with open_log(log) as output:
                self.process = await asyncio.create_subprocess_exec(
                    *dying_with_parent([sys.executable, "-m", f"services.{self._service}"]),
                    env=environment(self._cluster.replica_environment(self._service) | self.extra),
                    cwd="/",
                    stdin=subprocess.DEVNULL,
                    stdout=output,
                    stderr=output,
                )
            await self.process.wait()
            await asyncio.sleep(RESTART_PAUSE_S)


class Cluster:
    def __init__(self, folder: Path, *, small_disks: bool) -> None:
        self.home = Home(folder / "home")
        self.disks = Disks(self.home) if small_disks else None
        self.postgres_links: dict[str, Proxy] = {}
        self.nats_links: dict[str, Proxy] = {}
        self.clients_link: Proxy
        self.replicas: dict[str, Replica] = {}
        self.urls: dict[str, str] = {}  # by replica
        self.public_urls: dict[str, str] = {}  # as clients go: checkin-a through their proxy
        self.live_generation = 0
        self.live_open = asyncio.Event()  # cleared while LIVE is being deleted
        self.live_in_flight = 0
        self.on_live_deleted: Callable[[int], None] = lambda floor: None
        self._frozen: dict[int, psutil.Process] = {}

    async def start(self) -> None:
        self.home.create()
        if self.disks:
            self.disks.mount()
        await asyncio.to_thread(devstack.up, self.home, Console(file=StringIO()), ports="auto")
        self.ports = ports_module.kept(self.home)
        self.secrets = load_or_create(self.home)
        self.plan = Stack(self.home, self.ports, self.secrets)
        self.addresses = read_env(self.home.env)
        for service in SERVICES:
            self.postgres_links[service] = Proxy(free_port(), self.ports.postgres)
            self.nats_links[service] = Proxy(free_port(), self.ports.nats)
            self.replicas[service] = Replica(self, service, free_port())
            self.urls[f"{service}-a"] = self.plan.url(service)
            self.urls[f"{service}-b"] = f"http://127.0.0.1:{self.replicas[service].port}"
        self.clients_link = Proxy(free_port(), self.ports.checkin)
        self.public_urls = {**self.urls, "checkin-a": f"http://127.0.0.1:{self.clients_link.port}"}
        for proxy in self.proxies():
            await proxy.start()
        for replica in self.replicas.values():
            replica.start()
        self.live_open.set()
        await self.until_ready(within_s=60)

    async def stop(self) -> None:
        self.thaw_all()
        for replica in self.replicas.values():
            await replica.stop()
        for proxy in self.proxies():
            await proxy.stop()
        await asyncio.to_thread(devstack.down, self.home)
        if self.disks:
            self.disks.unmount()

    def proxies(self) -> Iterable[Proxy]:
        yield from self.postgres_links.values()
        yield from self.nats_links.values()
        if self.urls:
            yield self.clients_link

    def replica_environment(self, service: str) -> dict[str, str]:
        variables = read_env(self.home.service_env(service))
        del variables["MIGRATION_DATABASE_URL"]
        return variables | {
            "PORT": str(self.replicas[service].port),
            "DATABASE_URL": _at_port(variables["DATABASE_URL"], self.postgres_links[service].port),
            "NATS_URL": _at_port(variables["NATS_URL"], self.nats_links[service].port),
        }

    # ---- processes ---------------------------------------------------------------------------------------------------

    def processes(self, name: str) -> list[psutil.Process]:
        """Those that run now: a replica, nats, the supervisor, or all of Postgres."""
        pid = self._pid(name)
        if pid is None or identity(pid) is None:
            return []
        with suppress(psutil.Error):
            process = psutil.Process(pid)
            return [process, *(process.children(recursive=True) if name == "postgres" else [])]
        return []

    def _pid(self, name: str) -> int | None:
        if name.endswith("-b"):
            process = self.replicas[name.removesuffix("-b")].process
            return process.pid if process and process.returncode is None else None
        try:
            return int(self.home.pid_file(name.removesuffix("-a")).read_text())
        except (OSError, ValueError):
            return None

    def signal(self, name: str, how: signal.Signals) -> bool:
        """False while it is just being started again. What is stopped is remembered until it goes on."""
        running = self.processes(name)
        for process in running:
            with suppress(psutil.Error):
                process.send_signal(how)
                if how is signal.SIGSTOP:
                    self._frozen[process.pid] = process
        return bool(running)

    def thaw(self, names: Iterable[str]) -> None:
        for name in names:
            for process in self.processes(name):
                if self._frozen.pop(process.pid, None):
                    with suppress(psutil.Error):
                        process.send_signal(signal.SIGCONT)

    def thaw_all(self) -> None:
        for process in self._frozen.values():
            with suppress(psutil.Error):
                process.send_signal(signal.SIGCONT)
        self._frozen.clear()

    async def bring_up(self) -> None:
        """The supervisor again, as an operator would: `fanzha up`. Raises `StackError` when it stays away."""
        give_up_at = asyncio.get_running_loop().time() + UP_WITHIN_S
        while True:
            try:
                return await asyncio.to_thread(devstack.up, self.home, Console(file=StringIO()))
            except StackError:
                if asyncio.get_running_loop().time() > give_up_at:
                    raise
            await asyncio.sleep(0.5)

    # ---- asking ------------------------------------------------------------------------------------------------------

    async def not_ready(self) -> list[str]:
        """The replicas that do not say that they are ready."""
        async with httpx.AsyncClient(trust_env=False, timeout=5) as http:
            asked = [http.get(f"{url}/health/ready") for url in self.urls.values()]
            answers = await asyncio.gather(*asked, return_exceptions=True)
        return [
            name
            for name, answer in zip(self.urls, answers, strict=True)
            if not (isinstance(answer, httpx.Response) and answer.json()["status"] == "ready")
        ]

    async def until_ready(self, within_s: float, names: Iterable[str] | None = None) -> bool:
        wanted = set(names or self.urls)
        with suppress(TimeoutError):
            async with asyncio.timeout(within_s):
                while wanted & set(await self.not_ready()):
                    await asyncio.sleep(0.3)
                return True
        return False

    @asynccontextmanager
    async def database(self, service: str) -> AsyncIterator["asyncpg.Connection[asyncpg.Record]"]:
        """As the superuser, past every proxy."""
        connection = await self._admin(self.plan.postgres.url(database=f"fanzha_{service}"))
        try:
            yield connection
        finally:
            with suppress(Exception):
                await connection.close(timeout=5)

    async def _admin(self, url: str) -> "asyncpg.Connection[asyncpg.Record]":
        """Waits for a server that is just coming back."""
        for left in reversed(range(ADMIN_TRIES)):
            try:
                return await asyncpg.connect(url, timeout=ADMIN_TIMEOUT_S, server_settings={"timezone": "UTC"})
            except (OSError, asyncpg.PostgresError, asyncpg.InterfaceError):
                if not left:
                    raise
            await asyncio.sleep(1)
        raise AssertionError("unreachable")

    @asynccontextmanager
    async def nats_operator(self) -> AsyncIterator[Client]:
        client = await nats.connect(
            self.plan.nats.url("operator"), connect_timeout=5, allow_reconnect=False, error_cb=keep_quiet
        )
        try:
            yield client
        finally:
            with suppress(Exception):
                await client.close()


async def keep_quiet(error: Exception) -> None:
    """What fails is tried again, and tells."""


def _at_port(url: str, port: int) -> str:
    parts = urlsplit(url)
    return parts._replace(netloc=f"{parts.username}:{parts.password}@127.0.0.1:{port}").geturl()
