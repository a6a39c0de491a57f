"""Processes of this machine: starting one that dies with its parent, telling it from a later one with the same pid, its log."""

import os
import signal
from collections import deque
from collections.abc import Mapping, Sequence
from http.client import HTTPConnection, HTTPException
from pathlib import Path
from typing import BinaryIO
from urllib.parse import urlsplit

ROTATE_LOG_BYTES = 10 * 1024 * 1024
LAST_LINES = 10
PROBE_TIMEOUT_S = 2

# A child inherits only these variables, beside those that its owner sets: no proxy, PGHOST or PYTHONPATH of the user's shell.
INHERITED = ("PATH", "HOME", "LD_LIBRARY_PATH", "TMPDIR", "TZ", "LOG_LEVEL")


def environment(variables: Mapping[str, str]) -> dict[str, str]:
    inherited = {name: os.environ[name] for name in INHERITED if name in os.environ}
    return {**inherited, "LC_ALL": "C.UTF-8", "PYTHONUNBUFFERED": "1", **variables}


def dying_with_parent(command: Sequence[str], how: signal.Signals = signal.SIGKILL) -> list[str]:
    """The command as one that the kernel signals when the *thread* that starts it ends: start it from the main thread."""
    return ["setpriv", "--pdeathsig", how.name.removeprefix("SIG"), "--", *command]


def identity(pid: int) -> str | None:
    """Identifies a process for ever by this boot and the tick at which it started. None if it does not run (or is a zombie)."""
    try:
        state, *fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    except (FileNotFoundError, ProcessLookupError):
        return None
    boot = Path("/proc/sys/kernel/random/boot_id").read_text().strip()
    started_at = fields[18]  # field 22 of proc_pid_stat(5)
    return None if state in "ZX" else f"{boot}/{started_at}"


def open_log(path: Path) -> BinaryIO:
    """Opens a log for appending; a long one is renamed to `NAME.log.1` first."""
    if path.exists() and path.stat().st_size > ROTATE_LOG_BYTES:
        path.replace(path.with_name(path.name + ".1"))
    return path.open("ab")


def last_lines(path: Path, count: int = LAST_LINES) -> list[str]:
    try:
        with path.open(errors="replace") as file:
            return [line.rstrip() for line in deque(file, maxlen=count)]
    except OSError:
        return []


def describe_exit(status: int) -> str:
    if status >= 0:
        return f"exit status {status}"
    try:
        return f"killed by {signal.Signals(-status).name}"
    except ValueError:
        return f"killed by signal {-status}"


def answers_200(url: str) -> bool:
    parts = urlsplit(url)
    connection = HTTPConnection(parts.hostname or "", parts.port, timeout=PROBE_TIMEOUT_S)
    try:
        connection.request("GET", parts.path)
        return connection.getresponse().status == 200
    except (OSError, HTTPException):
        return False
    finally:
        connection.close()
