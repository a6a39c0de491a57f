"""A Docker engine for `make compose-test`: the one that runs, else Debian's, for as long as the test lasts."""

import os
import shutil
import subprocess
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

PACKAGES = ("docker.io", "docker-compose", "mmdebstrap", "iptables", "ca-certificates")
START_WITHIN_S = 60
STOP_WITHIN_S = 60


class NoEngine(Exception):
    """The text says what is missing and how to get it."""


def runs() -> bool:
    return bool(shutil.which("docker")) and _quietly("docker", "info").returncode == 0


def compose_command() -> list[str]:
    """Compose v2 where the engine has it, else docker-compose 1.29."""
    if _quietly("docker", "compose", "version").returncode == 0:
        return ["docker", "compose"]
    if shutil.which("docker-compose"):
        return ["docker-compose"]
    raise NoEngine("neither `docker compose` nor `docker-compose` is installed")


@contextmanager
def engine(log: Path) -> Iterator[None]:
    """Raises `NoEngine`. What it starts, it stops; what it installs stays."""
    if runs():
        yield
        return
    if not (shutil.which("dockerd") and shutil.which("mmdebstrap") and shutil.which("docker-compose")):
        _install()
    with log.open("wb") as output:
        daemon = subprocess.Popen(["dockerd"], stdout=output, stderr=output, start_new_session=True)
    try:
        give_up_at = time.monotonic() + START_WITHIN_S
        while not runs():
            if daemon.poll() is not None or time.monotonic() > give_up_at:
                raise NoEngine(f"dockerd did not start; the end of its log:\n{log.read_text()[-2000:]}")
            time.sleep(0.5)
        yield
    finally:
        daemon.terminate()
        daemon.wait(STOP_WITHIN_S)


def _install() -> None:
    """Only where it is asked for (INSTALL=1, or a CI machine) and possible."""
    if not (os.environ.get("INSTALL") or os.environ.get("CI")):
        raise NoEngine(
            "no Docker engine runs here. Start one, or let Debian's be installed: INSTALL=1 make compose-test"
        )
    if os.geteuid() != 0 or not shutil.which("apt-get"):
        raise NoEngine("no Docker engine runs here, and only root on Debian or Ubuntu can install one")
    environment = {**os.environ, "DEBIAN_FRONTEND": "noninteractive"}
    for arguments in (["update"], ["install", "-y", "--no-install-recommends", *PACKAGES]):
        done = subprocess.run(["apt-get", "-qq", *arguments], env=environment, capture_output=True, text=True)
        if done.returncode != 0:
            raise NoEngine(f"apt-get {arguments[0]} failed: {done.stderr[-2000:]}")


def _quietly(*command: str) -> subprocess.CompletedProcess[bytes]:
    return subprocess.run(command, capture_output=True)
