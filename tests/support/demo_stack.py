"""A dev stack for end-to-end tests: its own folder, free ports, the clock at the campaign's first evening."""

import os
import signal
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, contextmanager
from io import StringIO

from rich.console import Console

from cli.campaign_file import load
from demo.campaign import read
from demo.main import CAMPAIGN, start
from demo.player import player_of
from demo.run import Run
from demo.traffic import Traffic
from devstack import main as devstack
from devstack.home import Home
from devstack.ports import free_ports
from tests.support.servers import public_folder


@contextmanager
def running_stack() -> Iterator[Home]:
    with public_folder() as folder:
        home = Home(folder / "home")
        try:
            start(home, Console(file=StringIO()), read(CAMPAIGN), ports=str(free_ports().checkin - 1))
            yield home
        finally:
            devstack.down(home)


@asynccontextmanager
async def run_on(home: Home, *, viewers: int, seed: int, exact: bool = True) -> AsyncIterator[Run]:
    """A run with its campaign defined and its steps not yet played."""
    campaign = read(CAMPAIGN)
    async with player_of(home, campaign) as player:
        run = Run(player, Traffic(campaign, viewers, seed), seed, exact=exact)
        await run.define(load(CAMPAIGN).model_dump(mode="json"))
        yield run


def kill(home: Home, name: str, how: signal.Signals = signal.SIGKILL) -> bool:
    """Signals a child of the stack; False while it is just being started again."""
    try:
        os.kill(int(home.pid_file(name).read_text()), how)
    except (OSError, ValueError):
        return False
    return True
