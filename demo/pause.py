"""Makes Postgres stand still for some seconds, as under a snapshot or a stalled disk: all its processes stop, none ends.

A kill ends connections and a pause does not: requests of that time run into their limits on connections that go on afterwards. So
readiness is asked all the time, as a container engine does.
"""

import asyncio
import signal
from collections.abc import AsyncIterator, Iterable
from contextlib import asynccontextmanager, suppress

import httpx
import psutil

from devstack.home import Home

PAUSE_S = 6.0  # longer than a readiness probe waits for the database (3 s), shorter than a statement may take
PROBE_EVERY_S = 0.5
PROBE_TIMEOUT_S = 10


@asynccontextmanager
async def standing_still(home: Home, urls: Iterable[str], pause_s: float = PAUSE_S) -> AsyncIterator[None]:
    """Pauses Postgres at once, for `pause_s` whatever the block does; leaves when it runs again and the block is done.

    `urls`: addresses of the services whose readiness is asked all the time.
    """
    pause = asyncio.create_task(_pause(home, pause_s))
    tasks = [pause, *(asyncio.create_task(_probe(f"{url}/health/ready")) for url in urls)]
    try:
        yield
        await pause
    finally:
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)


async def _pause(home: Home, pause_s: float) -> None:
    processes = _processes(home)
    try:
        _send(processes, signal.SIGSTOP)
        await asyncio.sleep(pause_s)
    finally:
        _send(processes, signal.SIGCONT)


def _processes(home: Home) -> list[psutil.Process]:
    """The processes of Postgres, the postmaster first: once it stands still it starts no new ones."""
    postmaster = psutil.Process(int(home.pid_file("postgres").read_text()))
    return [postmaster, *postmaster.children(recursive=True)]


def _send(processes: Iterable[psutil.Process], number: signal.Signals) -> None:
    for process in processes:
        with suppress(psutil.NoSuchProcess):
            process.send_signal(number)


async def _probe(url: str) -> None:
    async with httpx.AsyncClient(timeout=PROBE_TIMEOUT_S, trust_env=False) as http, asyncio.TaskGroup() as open_probes:
        while True:
            open_probes.create_task(_ask(http, url))
            await asyncio.sleep(PROBE_EVERY_S)


async def _ask(http: httpx.AsyncClient, url: str) -> None:
    with suppress(httpx.HTTPError):  # only asking matters here, not the answer
        await http.get(url)
