"""The dev stack's real servers for tests, on free ports and in folders of their own; tests may kill and start them."""

import asyncio
import shutil
import signal
import subprocess
import tempfile
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path

import asyncpg

from devstack.nats import NatsServer
from devstack.ports import free_port
from devstack.postgres import PostgresServer
from devstack.processes import dying_with_parent, environment, last_lines, open_log
from devstack.secrets import NATS_USERS, POSTGRES_ROLES
from shared.bus.topology import SERVICES

START_WITHIN_S = 60
STOP_WITHIN_S = 30


@contextmanager
def public_folder() -> Iterator[Path]:
    """A temporary folder that Postgres may enter as another user, even where capabilities are not available."""
    folder = Path(tempfile.mkdtemp(prefix="fanzha-test-"))
    folder.chmod(0o755)
    try:
        yield folder
    finally:
        shutil.rmtree(folder, ignore_errors=True)


class RunningServer:
    """A server process; `start` after `stop` or `kill` goes on with the same data and port."""

    def __init__(
        self, server: PostgresServer | NatsServer, variables: dict[str, str], log: Path, stop_signal: signal.Signals
    ) -> None:
        self._server = server
        self._variables = variables
        self._log = log
        self._stop_signal = stop_signal
        self._process: subprocess.Popen[bytes] | None = None

    @property
    def pid(self) -> int:
        assert self._process is not None, "not started"
        return self._process.pid

    async def start(self, **variables: str) -> None:
        """Starts the server and returns when it serves. The process dies with the thread that calls this. `variables` replace its
        own."""
        self._server.prepare()
        with open_log(self._log) as output:
            self._process = subprocess.Popen(  # noqa: ASYNC220
                dying_with_parent(self._server.command()),
                env=environment(self._variables | variables),
                cwd="/",
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=output,
            )
        async with asyncio.timeout(START_WITHIN_S):
            while not self._server.is_ready(self.pid):
                assert self._process.poll() is None, "\n".join(["it ended:", *last_lines(self._log)])
                await asyncio.sleep(0.02)

    def send(self, number: signal.Signals) -> None:
        assert self._process is not None, "not started"
        self._process.send_signal(number)

    async def stop(self, how: signal.Signals | None = None) -> None:
        await self._end(how or self._stop_signal)

    async def kill(self) -> None:
        await self._end(signal.SIGKILL)

    async def _end(self, how: signal.Signals) -> None:
        if self._process is not None:
            self._process.send_signal(how)
            await asyncio.to_thread(self._process.wait, STOP_WITHIN_S)
            self._process = None


class RunningPostgres(RunningServer):
    """Postgres, with every service's database and roles once `provision` was called. `passwords`: by role, where it is to be
    another than a plain one."""

    def __init__(self, folder: Path, *, fsync: bool = False, passwords: Mapping[str, str] | None = None) -> None:
        self.passwords = {role: f"pw_{role}" for role in POSTGRES_ROLES} | dict(passwords or {})
        self.server = PostgresServer(folder / "postgres", free_port(), self.passwords["postgres"], fsync)
        super().__init__(self.server, {}, folder / "postgres.log", signal.SIGINT)

    def url(self, role: str = "postgres", database: str | None = None) -> str:
        """`role`: postgres, checkin_owner, checkin_app …; the database is that of its service unless said otherwise."""
        service_database = "postgres" if role == "postgres" else f"fanzha_{role.partition('_')[0]}"
        return self.server.url(role, self.passwords[role], database or service_database)

    async def provision(self, *services: str) -> None:
        for service in services or SERVICES:
            command, variables = self.server.provisioning(service, self.passwords)
            job = await asyncio.create_subprocess_exec(*command, env=environment(variables), cwd="/")
            assert await job.wait() == 0, f"provisioning {service} failed"

    async def clone(self, service: str, name: str) -> None:
        """Makes database `name`, a copy of the service's as it stands, with the same rights. Nobody may be connected to it.

        Files are copied, which costs the server a third of what writing each page to its log as well does.
        """
        await self.execute(
            f'CREATE DATABASE "{name}" TEMPLATE fanzha_{service} OWNER {service}_owner STRATEGY FILE_COPY',
            f'REVOKE ALL ON DATABASE "{name}" FROM PUBLIC',
            f'GRANT CONNECT ON DATABASE "{name}" TO {service}_app',
        )

    async def drop(self, name: str) -> None:
        await self.execute(f'DROP DATABASE IF EXISTS "{name}" WITH (FORCE)')

    async def execute(self, *statements: str, role: str = "postgres", database: str | None = None) -> None:
        """Executes them one after the other, not in one transaction, over a connection of their own."""
        connection = await asyncpg.connect(self.url(role, database))
        try:
            for statement in statements:
                await connection.execute(statement)
        finally:
            await connection.close()


class RunningNats(RunningServer):
    def __init__(self, folder: Path) -> None:
        passwords = {user: f"pw_{user}" for user in NATS_USERS}
        self.server = NatsServer(folder / "nats", free_port(), free_port(), passwords)
        super().__init__(self.server, self.server.environment(), folder / "nats.log", signal.SIGTERM)

    def url(self, user: str) -> str:
        return self.server.url(user)
