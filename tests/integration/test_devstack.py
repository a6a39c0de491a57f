"""The dev stack: its real servers, and its supervisor with children made of shell."""

import asyncio
import json
import os
import resource
import signal
import socket
import stat
import subprocess
import sys
import time
from collections.abc import Awaitable, Callable, Iterator
from contextlib import contextmanager
from dataclasses import asdict
from datetime import datetime
from functools import partial
from io import StringIO
from pathlib import Path
from typing import Any

import asyncpg
import nats as nats_client
import pytest
from nats.errors import NoServersError
from rich.console import Console

from devstack import main as devstack
from devstack import ports
from devstack.home import Home, StackError, read_env
from devstack.plan import Stack
from devstack.processes import ROTATE_LOG_BYTES, identity, open_log
from devstack.secrets import load_or_create
from devstack.supervisor import Process, State
from services.checkin.live_platform import Source
from shared.bus.topology import SERVICES
from shared.service.tokens import TokenVerifier
from tests.support.servers import RunningNats, RunningPostgres, public_folder

FOREVER = "echo up; echo working; exec sleep 1000"
STUB = (sys.executable, "-m", "tests.support.stub_stack")


@pytest.fixture
def home(tmp_path: Path) -> Iterator[Home]:
    home = Home(tmp_path / "home")
    yield home
    if home.lock.exists():
        devstack.down(home)


class Screen(Console):
    """A console whose text can be read."""

    def __init__(self) -> None:
        super().__init__(record=True, file=StringIO(), width=200)

    @property
    def text(self) -> str:
        return self.export_text(clear=False)


def up(home: Home, *children: str, **options: object) -> str:
    screen = Screen()
    devstack.up(home, screen, **{"ports": "auto", "supervisor": (*STUB, *children)} | options)  # type: ignore[arg-type]
    return screen.text


def wait_until(condition: Callable[[], Any], within_s: float = 20) -> Any:
    give_up_at = time.monotonic() + within_s
    while not (value := condition()):
        assert time.monotonic() < give_up_at, f"still {value!r} after {within_s} s"
        time.sleep(0.02)
    return value


def pid_of(home: Home, name: str) -> int:
    return int(home.pid_file(name).read_text())


def kill_supervisor(home: Home) -> None:
    pid = pid_of(home, "supervisor")
    os.kill(pid, signal.SIGKILL)
    wait_until(lambda: not identity(pid))


# --- Postgres ---------------------------------------------------------------------------------------------------------


async def test_an_app_role_works_in_its_own_database_and_creates_nothing(postgres: RunningPostgres) -> None:
    await postgres.execute("CREATE TABLE t (id bigint GENERATED ALWAYS AS IDENTITY, x int)", role="checkin_owner")
    await postgres.execute("INSERT INTO t (x) VALUES (1); UPDATE t SET x = 2; DELETE FROM t", role="checkin_app")
    for forbidden in (
        "CREATE TABLE u ()",
        "CREATE TEMPORARY TABLE u ()",
        "CREATE SCHEMA s",
        "TRUNCATE t",
        "DROP TABLE t",
    ):
        with pytest.raises(asyncpg.InsufficientPrivilegeError):
            await postgres.execute(forbidden, role="checkin_app")
    await postgres.execute("DROP TABLE t", role="checkin_owner")


@pytest.mark.parametrize("role", ["checkin_app", "checkin_owner"])
@pytest.mark.parametrize("database", ["fanzha_reporting", "postgres", "template1"])
async def test_no_role_enters_another_database(postgres: RunningPostgres, role: str, database: str) -> None:
    with pytest.raises(asyncpg.InsufficientPrivilegeError, match="permission denied for database"):
        await asyncpg.connect(postgres.url(role, database))


async def test_a_wrong_password_is_refused_and_checksums_are_on(postgres: RunningPostgres) -> None:
    with pytest.raises(asyncpg.InvalidPasswordError):
        await asyncpg.connect(postgres.server.url("checkin_app", "wrong", "fanzha_checkin"))
    connection = await asyncpg.connect(postgres.url())
    settings = [await connection.fetchval(f"SHOW {name}") for name in ("data_checksums", "synchronous_commit")]
    await connection.close()
    assert settings == ["on", "on"]


async def test_provisioning_again_changes_nothing(postgres: RunningPostgres) -> None:
    await postgres.execute("CREATE TABLE kept ()", role="reporting_owner")
    await postgres.provision("reporting")
    await postgres.execute("SELECT FROM kept", role="reporting_app")
    await postgres.execute("DROP TABLE kept", role="reporting_owner")


async def test_a_cloned_database_has_the_same_rights(postgres: RunningPostgres) -> None:
    await postgres.clone("checkin", "clone")
    await postgres.execute("CREATE TABLE t ()", role="checkin_owner", database="clone")
    await postgres.execute("SELECT FROM t", role="checkin_app", database="clone")
    with pytest.raises(asyncpg.InsufficientPrivilegeError):
        await asyncpg.connect(postgres.url("reporting_app", "clone"))
    await postgres.drop("clone")


async def test_a_killed_postmaster_starts_again_with_its_data_while_a_backend_still_works() -> None:
    with public_folder() as folder:
        server = RunningPostgres(folder)
        await server.start()
        await server.execute("CREATE TABLE kept AS SELECT 7 AS x")
        busy = await asyncpg.connect(server.url())
        # A backend that never waits does not notice that its postmaster is gone; this one would go on for a minute.
        spin = "DO $$ BEGIN WHILE clock_timestamp() < now() + interval '1 min' LOOP PERFORM 1; END LOOP; END $$"
        work = asyncio.create_task(busy.execute(spin))
        other = await asyncpg.connect(server.url())
        seen = 0
        while not seen:
            seen = await other.fetchval("SELECT count(*) FROM pg_stat_activity WHERE query LIKE 'DO %'")
        await server.kill()
        await server.start()
        with pytest.raises(asyncpg.PostgresConnectionError):
            await work
        connection = await asyncpg.connect(server.url())
        assert await connection.fetchval("SELECT x FROM kept") == 7
        await connection.close()
        await server.stop()


# --- NATS -------------------------------------------------------------------------------------------------------------


async def test_nats_knows_its_users_and_nobody_else(nats: RunningNats) -> None:
    client = await nats_client.connect(nats.url("live"), allow_reconnect=False)
    await client.close()
    stranger = f"nats://live:wrong@127.0.0.1:{nats.server.port}"
    with pytest.raises((NoServersError, nats_client.errors.Error)):
        await nats_client.connect(stranger, allow_reconnect=False, max_reconnect_attempts=0, error_cb=_ignore)


async def _ignore(_: Exception) -> None: ...


# --- The supervisor ---------------------------------------------------------------------------------------------------


def test_up_waits_until_ready_and_down_ends_everything(home: Home) -> None:
    said = up(home, f"first={FOREVER}", f"second={FOREVER}")
    assert "first" in said
    assert "second" in said
    pids = [pid_of(home, name) for name in ("supervisor", "first", "second")]
    assert all(identity(pid) for pid in pids)
    assert Path(f"/proc/{pids[1]}/comm").read_text() == "sleep\n", "the pid is the process itself, not a wrapper"
    assert read_env(home.env)["CHECKIN_URL"] == "http://127.0.0.1:1"

    assert devstack.down(home)
    assert not any(identity(pid) for pid in pids)
    assert not home.env.exists()
    assert list(home.pid_file("first").parent.glob("*.pid")) == []
    assert not devstack.down(home), "nothing left to stop"


def test_up_twice_says_so_and_changes_nothing(home: Home) -> None:
    up(home, f"one={FOREVER}")
    pid = pid_of(home, "one")
    said = up(home, f"one={FOREVER}")
    assert said.startswith("already running\n  checkin ")
    with pytest.raises(StackError, match="CLOCK_AT 不起作用。请先 `make down`"):
        up(home, f"one={FOREVER}", clock_at=datetime.fromisoformat("2024-06-29T19:00:00+08:00"))
    assert "http://127.0.0.1:1" in said
    assert pid_of(home, "one") == pid


def test_a_killed_child_is_named_with_its_last_lines_and_started_again(home: Home) -> None:
    up(home, f"steady={FOREVER}", f"victim={FOREVER}")
    steady, victim = pid_of(home, "steady"), pid_of(home, "victim")
    os.kill(victim, signal.SIGKILL)
    wait_until(lambda: pid_of(home, "victim") != victim)
    assert identity(pid_of(home, "victim"))
    assert pid_of(home, "steady") == steady
    log = home.log_file("supervisor").read_text()
    assert (
        f"victim (pid {victim}) ended: killed by SIGKILL; starting it again. Its last log lines:\n    up\n    working"
        in log
    )
    assert State.read(home).processes["victim"].last_exit == "killed by SIGKILL"


def test_a_child_that_keeps_dying_is_started_again_and_again(home: Home) -> None:
    up(home, "flighty=echo up; sleep 0.3; exit 3")
    wait_until(lambda: home.log_file("supervisor").read_text().count("ended: exit status 3") >= 3)


@contextmanager
def full_disk(home: Home) -> Iterator[None]:
    """For the supervisor alone: no file of its own may grow by a byte. As with a full disk, what it writes is an OSError."""
    pid = pid_of(home, "supervisor")
    before = resource.prlimit(pid, resource.RLIMIT_FSIZE, (0, resource.getrlimit(resource.RLIMIT_FSIZE)[1]))
    yield
    resource.prlimit(pid, resource.RLIMIT_FSIZE, before)


def running(home: Home, shell: str) -> list[int]:
    """The supervisor's children that run this command now."""
    supervisor = pid_of(home, "supervisor")
    children = Path(f"/proc/{supervisor}/task/{supervisor}/children").read_text().split()
    return [int(pid) for pid in children if shell in (line := _command_line(pid)) and "stub_stack" not in line]


def _command_line(pid: str) -> str:
    """Until a new child has become its command it still has the supervisor's line, which names them all."""
    try:
        return Path(f"/proc/{pid}/cmdline").read_text().replace("\0", " ")
    except (FileNotFoundError, ProcessLookupError):
        return ""


QUIET = "grep -q up {log} 2> /dev/null || echo up; exec sleep {seconds}"  # writes once: with a full disk a shell's echo fails


def _is_back(home: Home, command: str, killed: int) -> bool:
    return running(home, command) not in ([], [killed])


def _is_one(home: Home, command: str) -> bool:
    """Whether it runs once: a shell that is about to become it looks like it."""
    return len(running(home, command)) == 1


def test_children_are_kept_while_the_disk_is_full_and_status_does_not_lie(home: Home) -> None:
    """A keeper that could not write ended: what it kept stayed dead, and `fanzha status` said ready."""
    up(
        home,
        *(f"{name}={QUIET.format(log=home.log_file(name), seconds=s)}" for name, s in (("one", 1001), ("two", 1002))),
    )
    assert devstack.status(home, Screen())
    with full_disk(home):
        for _ in range(2):  # the second time its keeper must still be there
            for command in ("sleep 1001", "sleep 1002"):
                wait_until(partial(_is_one, home, command))
                (pid,) = running(home, command)
                os.kill(pid, signal.SIGKILL)
                wait_until(partial(_is_back, home, command, pid))
        screen = Screen()
        assert not devstack.status(home, screen)
        assert "not ready" in screen.text
        assert "is gone" in screen.text
        assert "one、two" in screen.text
    wait_until(lambda: devstack.status(home, Screen()))
    assert [pid_of(home, "one"), pid_of(home, "two")] == running(home, "sleep 1001") + running(home, "sleep 1002")
    assert [process.restarts for process in State.read(home).processes.values()] == [2, 2]
    assert list(home.state.parent.glob("*.new")) == []


def test_status_looks_at_the_pids_itself(home: Home) -> None:
    up(home, f"one={FOREVER}")
    os.kill(pid_of(home, "supervisor"), signal.SIGSTOP)  # it knows of nothing that happens now
    os.kill(pid_of(home, "one"), signal.SIGKILL)
    screen = Screen()
    wait_until(lambda: not devstack.status(home, screen))
    assert "one" in screen.text.partition("没有在运行")[2]
    os.kill(pid_of(home, "supervisor"), signal.SIGCONT)
    wait_until(lambda: devstack.status(home, Screen()))


def test_children_die_with_a_killed_supervisor_and_up_starts_anew(home: Home) -> None:
    up(home, f"one={FOREVER}", f"stubborn=trap '' TERM; {FOREVER}")
    pids = [pid_of(home, name) for name in ("one", "stubborn")]
    kill_supervisor(home)
    wait_until(lambda: not any(identity(pid) for pid in pids))
    up(home, f"one={FOREVER}")
    assert identity(pid_of(home, "one"))


def test_down_ends_children_that_a_killed_supervisor_left(home: Home) -> None:
    escapes = "setpriv --pdeathsig clear sh -c 'echo up; exec sleep 1000'"
    up(home, f"stray=exec {escapes}")
    stray = pid_of(home, "stray")
    kill_supervisor(home)
    assert identity(stray)
    assert devstack.down(home)
    assert not identity(stray)


def test_down_spares_a_stranger_that_got_the_pid_of_a_child(home: Home) -> None:
    up(home, f"one={FOREVER}")
    devstack.down(home)
    with subprocess.Popen(["sleep", "1000"]) as stranger:
        state = State()
        state.processes["one"] = Process(stranger.pid, "another boot/1", "SIGKILL")
        home.state.write_text(json.dumps(asdict(state)))
        assert not devstack.down(home)
        assert stranger.poll() is None
        stranger.kill()


def test_a_child_that_ignores_the_polite_signal_is_killed(home: Home) -> None:
    up(home, f"stubborn=trap '' TERM; {FOREVER}")
    pid = pid_of(home, "stubborn")
    devstack.down(home)
    assert not identity(pid)
    assert "stubborn did not stop within 1 s: killed" in home.log_file("supervisor").read_text()


def test_a_failed_start_names_the_child_and_leaves_nothing_running(home: Home) -> None:
    with pytest.raises(StackError) as caught:
        up(home, f"good={FOREVER}", "bad=echo no such table; exit 4")
    assert "bad 没有启动：exit status 4" in str(caught.value)
    assert "    no such table" in str(caught.value)
    good = home.log_file("supervisor").read_text().partition("good started, pid ")[2].split()[0]
    assert identity(int(good)) is None
    assert not home.env.exists()
    assert not devstack.down(home)


def test_a_supervisor_that_cannot_even_begin_is_reported(home: Home) -> None:
    with pytest.raises(StackError, match="看护进程结束了") as caught:
        up(home, supervisor=(sys.executable, "-c", "raise SystemExit('broken')"))
    assert "broken" in str(caught.value)


async def test_servers_come_back_with_their_data_after_kills_and_down(home: Home) -> None:
    up(home)
    url = Stack(home, ports.kept(home), load_or_create(home)).database_url("checkin", "owner")

    async def execute(sql: str) -> None:
        connection = await asyncpg.connect(url)
        await connection.execute(sql)
        await connection.close()

    await execute("CREATE TABLE kept ()")

    postmaster = pid_of(home, "postgres")
    os.kill(postmaster, signal.SIGKILL)
    wait_until(lambda: pid_of(home, "postgres") != postmaster)
    await eventually_works(lambda: execute("SELECT FROM kept"))

    kill_supervisor(home)
    up(home)
    await execute("SELECT FROM kept")

    devstack.down(home)
    up(home, ports=None)
    await execute("SELECT FROM kept")


async def eventually_works(action: Callable[[], Awaitable[None]], within_s: float = 30) -> None:
    async with asyncio.timeout(within_s):
        while True:
            try:
                return await action()
            except (OSError, asyncpg.PostgresError):
                await asyncio.sleep(0.05)


# --- Ports, clock, secrets, environment -------------------------------------------------------------------------------


def test_a_busy_port_is_named_with_its_holder_and_the_way_out(home: Home) -> None:
    base = ports.free_ports().checkin - 1
    with socket.socket() as taken:
        taken.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        taken.bind(("127.0.0.1", base + 2))
        taken.listen()
        with pytest.raises(StackError) as caught:
            up(home, f"one={FOREVER}", ports=str(base))
    assert f"reporting 要用的端口 {base + 2} 已被占用（进程 {os.getpid()}：" in str(caught.value)
    assert "PORTS=18000 make up" in str(caught.value)
    assert not home.ports.exists(), "a refused choice is not kept"


def test_chosen_ports_are_kept(home: Home) -> None:
    home.create()
    chosen = ports.choose(home, "auto")
    assert ports.choose(home, None) == chosen
    assert ports.choose(home, "auto") == chosen
    assert ports.Ports.after(18000).certificate == 18004
    assert ports.Ports.after(18000).postgres == 18007


def test_ports_outside_the_range_of_outgoing_connections() -> None:
    lowest_outgoing = int(Path("/proc/sys/net/ipv4/ip_local_port_range").read_text().split()[0])
    assert lowest_outgoing >= ports.HIGHEST
    assert all(port < lowest_outgoing for port in asdict(ports.Ports()).values())


def test_the_simulated_clock_stays_and_never_goes_back(home: Home) -> None:
    evening = datetime.fromisoformat("2024-06-29T19:00:00+08:00")
    assert "2024-06-29T19:00:00+08:00" in up(home, f"one={FOREVER}", clock_at=evening)
    with pytest.raises(StackError, match=r"正在运行，CLOCK_AT 不起作用：它的时钟是 2024-06-29T19:00:00\+08:00"):
        up(home, f"one={FOREVER}", clock_at=evening)
    devstack.down(home)
    assert "2024-06-29T19:00:00+08:00" in up(home, f"one={FOREVER}"), "it is in force without being asked for"
    devstack.down(home)
    with pytest.raises(StackError, match="不能往回拨：它是 2024-06-29T19:00:00"):
        up(home, f"one={FOREVER}", clock_at=datetime.fromisoformat("2024-06-29T18:59:59+08:00"))
    with pytest.raises(StackError, match="没有写时区"):
        up(home, f"one={FOREVER}", clock_at=datetime.fromisoformat("2024-06-30T19:00:00"))


def test_secrets_are_private_kept_and_completed(home: Home) -> None:
    home.create()
    secrets = load_or_create(home)
    assert stat.S_IMODE(home.secrets.stat().st_mode) == 0o600
    assert load_or_create(home) == secrets
    older = json.loads(home.secrets.read_text())
    del older["link_key"]
    home.secrets.write_text(json.dumps(older))
    completed = load_or_create(home)
    assert completed.webhook_secret == secrets.webhook_secret
    assert load_or_create(home).link_key == completed.link_key != secrets.link_key


def test_what_others_read_is_safe_to_source(home: Home) -> None:
    home.create()
    stack = Stack(home, ports.Ports(), load_or_create(home))
    stack.write_service_environments()
    for service in SERVICES:
        path = home.service_env(service)
        assert stat.S_IMODE(path.stat().st_mode) == 0o600
        sourced = subprocess.run(
            ["env", "-i", "sh", "-ac", f". {path}; env -0"], capture_output=True, text=True, check=True
        )
        variables = dict(line.split("=", 1) for line in sourced.stdout.split("\0") if line)
        assert variables.items() >= read_env(path).items()
        assert read_env(path).items() >= stack.service_environment(service).items()
    promised = stack.promised_environment()
    verifier = TokenVerifier(stack.service_environment("checkin")["TOKEN_PUBLIC_KEY"])
    assert verifier.verify(promised["ADMIN_TOKEN"]).role == "admin"
    urls = {f"{service.upper()}_URL" for service in SERVICES}
    assert set(promised) == urls | {"NATS_URL", "LIVE_NATS_URL", "WEBHOOK_SECRET", "WEBHOOK_SOURCES", "ADMIN_TOKEN"}
    sources = json.loads(promised["WEBHOOK_SOURCES"])
    assert sources["standard"] == {"verifier": "standard", "secrets": [promised["WEBHOOK_SECRET"]]}
    assert len(sources) > 2
    assert stack.service_environment("checkin")["WEBHOOK_SOURCES"] == promised["WEBHOOK_SOURCES"]
    for source in sources.values():
        assert Source.model_validate(source).model_dump() == source
    assert "MIGRATION_DATABASE_URL" in read_env(home.service_env("checkin"))


def test_a_long_log_is_put_aside(tmp_path: Path) -> None:
    log = tmp_path / "x.log"
    with log.open("wb") as file:
        file.truncate(ROTATE_LOG_BYTES + 1)
    open_log(log).close()
    assert log.stat().st_size == 0
    assert (tmp_path / "x.log.1").stat().st_size > ROTATE_LOG_BYTES
