"""The proxy's weather, seen from both ends of one connection through it."""

import asyncio
import random
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import pytest

from devstack.ports import free_port
from tests.e2e.faults.proxy import TO_CLIENT, TO_SERVER, Proxy, Weather

SOON_S = 5
NOT_WITHIN_S = 0.3


class Always(random.Random):
    """Draws 0 and the given direction: what may happen to a chunk does."""

    def __init__(self, direction: int) -> None:
        super().__init__(0)
        self._direction = direction

    def random(self) -> float:
        return 0.0

    def choice(self, choices: object) -> int:  # type: ignore[override]
        return self._direction


class Ends:
    def __init__(self) -> None:
        self.client: asyncio.StreamReader
        self.client_writer: asyncio.StreamWriter
        self.server: asyncio.StreamReader
        self.server_writer: asyncio.StreamWriter
        self.proxy: Proxy

    async def request_arrives(self, within_s: float = SOON_S) -> bytes:
        self.client_writer.write(b"ask")
        return await asyncio.wait_for(self.server.read(10), within_s)

    async def answer_arrives(self, within_s: float = SOON_S) -> bytes:
        self.server_writer.write(b"answer")
        return await asyncio.wait_for(self.client.read(10), within_s)


@asynccontextmanager
async def connected() -> AsyncIterator[Ends]:
    ends, accepted = Ends(), asyncio.Event()

    def accept(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        ends.server, ends.server_writer = reader, writer
        accepted.set()

    server_port = free_port()
    server = await asyncio.start_server(accept, "127.0.0.1", server_port)
    ends.proxy = Proxy(free_port(), server_port)
    await ends.proxy.start()
    ends.client, ends.client_writer = await asyncio.open_connection("127.0.0.1", ends.proxy.port)
    await accepted.wait()
    assert await ends.request_arrives() == b"ask"  # the proxy has both ends
    try:
        yield ends
    finally:
        await ends.proxy.stop()
        server.close()


async def test_fair_weather_passes_both_ways_and_the_end() -> None:
    async with connected() as ends:
        assert await ends.request_arrives() == b"ask"
        assert await ends.answer_arrives() == b"answer"
        ends.client_writer.write_eof()
        assert await asyncio.wait_for(ends.server.read(10), SOON_S) == b""
        assert await ends.answer_arrives() == b"answer"


async def test_a_black_hole_holds_everything_until_it_is_gone() -> None:
    async with connected() as ends:
        ends.proxy.set(Weather.BLACK_HOLE, random.Random(1))
        with pytest.raises(TimeoutError):
            await ends.request_arrives(NOT_WITHIN_S)
        with pytest.raises(TimeoutError):
            await ends.answer_arrives(NOT_WITHIN_S)
        ends.proxy.clear()
        assert await asyncio.wait_for(ends.server.read(10), SOON_S) == b"ask"
        assert await asyncio.wait_for(ends.client.read(10), SOON_S) == b"answer"


async def test_one_way_holds_one_direction() -> None:
    async with connected() as ends:
        ends.proxy.set(Weather.ONE_WAY, Always(TO_CLIENT))
        assert await ends.request_arrives() == b"ask"
        with pytest.raises(TimeoutError):
            await ends.answer_arrives(NOT_WITHIN_S)


async def test_delay_is_felt() -> None:
    async with connected() as ends:
        ends.proxy.set(Weather.DELAY, Always(TO_CLIENT))  # 0.05 s, the least
        began = asyncio.get_running_loop().time()
        assert await ends.request_arrives() == b"ask"
        assert asyncio.get_running_loop().time() - began >= 0.05


async def test_reset_is_a_reset_at_both_ends() -> None:
    async with connected() as ends:
        ends.proxy.set(Weather.RESET, random.Random(1))
        with pytest.raises(ConnectionResetError):
            await asyncio.wait_for(ends.client.read(10), SOON_S)
        with pytest.raises(ConnectionResetError):
            await asyncio.wait_for(ends.server.read(10), SOON_S)


async def test_half_close_ends_one_direction_only() -> None:
    async with connected() as ends:
        ends.proxy.set(Weather.HALF_CLOSE, Always(TO_SERVER))
        assert await asyncio.wait_for(ends.server.read(10), SOON_S) == b""
        ends.proxy.clear()
        assert await ends.answer_arrives() == b"answer"


async def test_a_dropped_chunk_takes_the_connection_along() -> None:
    async with connected() as ends:
        ends.proxy.set(Weather.DROP, Always(TO_SERVER))
        assert await ends.request_arrives() == b""
        assert await asyncio.wait_for(ends.client.read(10), SOON_S) == b""
