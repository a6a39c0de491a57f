"""The folder that holds everything a dev stack owns: data, logs, pids, secrets, and what others read (`env`, `clock`)."""

import os
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from shared import env_files
from shared.whole_files import remove_older

REPOSITORY = Path(__file__).resolve().parents[1]
PRIVATE = 0o600


class StackError(Exception):
    """Something that the user can correct; the text says what and how."""


@dataclass(frozen=True)
class Home:
    root: Path

    @classmethod
    def from_environment(cls) -> "Home":
        return cls(Path(os.environ.get("FANZHA_HOME") or REPOSITORY / ".devstack").resolve())

    @property
    def env(self) -> Path:
        """The promised keys (DESIGN §8); exists only while the stack is ready."""
        return self.root / "env"

    @property
    def clock(self) -> Path:
        return self.root / "clock"

    @property
    def ports(self) -> Path:
        return self.root / "ports.json"

    @property
    def secrets(self) -> Path:
        return self.root / "secrets.json"

    @property
    def state(self) -> Path:
        return self.root / "run" / "state.json"

    @property
    def lock(self) -> Path:
        """Held by the supervisor for as long as it lives."""
        return self.root / "run" / "supervisor.lock"

    @property
    def messages(self) -> Path:
        return self.root / "messages"

    @property
    def certificates(self) -> Path:
        return self.root / "certificates"

    @property
    def postgres_data(self) -> Path:
        return self.root / "data" / "postgres"

    @property
    def nats_data(self) -> Path:
        return self.root / "data" / "nats"

    def pid_file(self, name: str) -> Path:
        return self.root / "run" / f"{name}.pid"

    def log_file(self, name: str) -> Path:
        return self.root / "log" / f"{name}.log"

    def service_env(self, service: str) -> Path:
        return self.root / "services" / f"{service}.env"

    def create(self) -> None:
        """Makes the folders that are missing. The stack's own uid for Postgres must be able to pass through `data`."""
        for folder in (self.root, self.root / "run", self.root / "log", self.root / "data"):
            folder.mkdir(mode=0o755, parents=True, exist_ok=True)
        for private in (self.root / "services", self.messages, self.certificates):
            private.mkdir(mode=0o700, exist_ok=True)


def write_whole(path: Path, text: str, mode: int = 0o644) -> None:
    """Replaces the file in one step, so that no reader sees half of it. Raises OSError, and then nothing of it stays."""
    remove_older(path.parent.glob(f"{path.name}.*.new"))  # files of processes that were killed
    scratch = path.with_name(f"{path.name}.{os.getpid()}.new")
    try:
        descriptor = os.open(scratch, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, mode)
        with os.fdopen(descriptor, "w") as file:
            file.write(text)
            file.flush()
            os.fsync(file.fileno())
        scratch.replace(path)
    except BaseException:
        scratch.unlink(missing_ok=True)
        raise


def write_env(path: Path, variables: Mapping[str, str]) -> None:
    """`KEY=VALUE` lines that a shell can source."""
    write_whole(path, env_files.text_of(variables), PRIVATE)


def read_env(path: Path) -> dict[str, str]:
    """What `write_env` wrote. Raises OSError and `env_files.Ambiguous`."""
    return env_files.read(path)
