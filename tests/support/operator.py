"""Runs commands as an operator of a dev stack does, each in a process of its own."""

import asyncio
import subprocess
import sys

from devstack.home import REPOSITORY, Home
from devstack.ports import kept
from devstack.processes import environment
from devstack.secrets import load_or_create

COMMAND_WITHIN_S = 180


class CommandFailed(Exception):
    """The command failed or did not end in time; the text is the end of what it printed."""


async def run_command(*command: str, **variables: str) -> None:
    """Runs `python -m COMMAND` with these variables and none of this process's."""
    process = await asyncio.create_subprocess_exec(
        sys.executable,
        "-m",
        *command,
        cwd=REPOSITORY,
        env=environment(variables),
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
    )
    try:
        output, _ = await asyncio.wait_for(process.communicate(), COMMAND_WITHIN_S)
    except TimeoutError:
        raise CommandFailed(f"{' '.join(command)}: not done after {COMMAND_WITHIN_S} s") from None
    finally:
        if process.returncode is None:
            process.kill()
            await process.wait()
    if process.returncode != 0:
        raise CommandFailed(f"{' '.join(command)}: {output.decode()[-1000:]}")


def topology_url(home: Home) -> str:
    return f"nats://topology:{load_or_create(home).nats['topology']}@127.0.0.1:{kept(home).nats}"


async def apply_topology(home: Home) -> None:
    await run_command("shared.bus", NATS_URL=topology_url(home))


async def republish(home: Home) -> None:
    await run_command("cli.main", "outbox", "republish", FANZHA_HOME=str(home.root))
