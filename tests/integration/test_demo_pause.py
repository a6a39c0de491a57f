"""The demo's pause: nobody is answered while it lasts, readiness is asked all along, and Postgres always goes on afterwards."""

import asyncio
import time
from collections.abc import AsyncIterator
from pathlib import Path

import asyncpg
import pytest

from demo.pause import standing_still
from devstack.home import Home
from tests.support.servers import RunningPostgres

PAUSE_S = 1.5


@pytest.fixture
async def connection(postgres: RunningPostgres) -> AsyncIterator[asyncpg.Connection]:
    opened = await asyncpg.connect(postgres.url())
    yield opened
    await opened.close()


@pytest.fixture
def home(postgres: RunningPostgres, tmp_path: Path) -> Home:
    home = Home(tmp_path)
    home.create()
    home.pid_file("postgres").write_text(f"{postgres.pid}\n")
    return home


async def test_nobody_is_answered_and_readiness_is_asked(
    postgres: RunningPostgres, connection: asyncpg.Connection, home: Home
) -> None:
    asked: list[float] = []

    async def answer(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        asked.append(time.monotonic())
        assert b"GET /health/ready" in await reader.readline()
        writer.close()

    server = await asyncio.start_server(answer, "127.0.0.1", 0)
    url = f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}"
    began = time.monotonic()
    async with standing_still(home, [url], PAUSE_S):
        await asyncio.sleep(0.1)
        known = asyncio.create_task(connection.fetchval("SELECT 1"))
        stranger = asyncio.create_task(asyncpg.connect(postgres.url(), timeout=10))
        await asyncio.sleep(PAUSE_S / 2)
        assert not known.done()
        assert not stranger.done()
    assert time.monotonic() - began >= PAUSE_S
    assert await known == 1
    await (await stranger).close()
    assert len(asked) >= 2
    server.close()


async def test_it_goes_on_when_the_block_fails(connection: asyncpg.Connection, home: Home) -> None:
    with pytest.raises(ZeroDivisionError):
        async with standing_still(home, [], 60):
            await asyncio.sleep(0.1)
            raise ZeroDivisionError
    assert await asyncio.wait_for(connection.fetchval("SELECT 1"), 5) == 1
