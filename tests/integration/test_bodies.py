"""What unfinished bodies may cost, on a real server and sockets: bytes over all connections, and time."""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import AsyncExitStack, asynccontextmanager

import pytest
import uvicorn
from fastapi import APIRouter, FastAPI, Request

from devstack.ports import free_port
from shared.service import problems
from shared.service.bodies import Bodies
from shared.service.guarded_route import GuardedRoute
from tests.support.nats_support import eventually

KIB = 1024
Connect = Callable[[], Awaitable["Caller"]]


class Caller:
    """One connection."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self._reader = reader
        self._writer = writer

    async def send(self, *parts: bytes) -> None:
        for part in parts:
            self._writer.write(part)
        await self._writer.drain()

    async def begins(self, declared: int, sent: int) -> None:
        await self.send(b"POST /size HTTP/1.1\r\nHost: x\r\nContent-Length: %d\r\n\r\n" % declared, b"x" * sent)

    async def status(self) -> int:
        """Of the answer, which must come within 10 s."""
        line = await asyncio.wait_for(self._reader.readline(), 10)
        return int(line.split()[1])

    async def is_closed(self) -> bool:
        """Whether the server hangs up within 10 s."""
        await asyncio.wait_for(self._reader.read(), 10)
        return self._reader.at_eof()

    async def close(self) -> None:
        self._writer.close()


@asynccontextmanager
async def serving(bodies: Bodies) -> AsyncIterator[Connect]:
    router = APIRouter(route_class=GuardedRoute)

    @router.post("/size", max_body_size=512 * KIB)
    async def size(request: Request) -> int:
        return len(await request.body())

    app = FastAPI()
    app.state.bodies = bodies
    problems.install(app)
    app.include_router(router)
    port = free_port()
    server = uvicorn.Server(uvicorn.Config(app, port=port, loop="none", http="httptools", log_config=None))
    task = asyncio.create_task(server.serve())
    await eventually(lambda: server.started)
    async with AsyncExitStack() as connections:

        async def connect() -> Caller:
            caller = Caller(*await asyncio.open_connection("127.0.0.1", port))
            connections.push_async_callback(caller.close)
            return caller

        yield connect
    server.should_exit = True
    await task


async def held(bodies: Bodies, size: int) -> None:
    await eventually(lambda: bodies.held_bytes == size, what=f"{bodies.held_bytes} bytes held, and not {size}")


async def test_unfinished_bodies_share_a_budget() -> None:
    bodies = Bodies(held_max_bytes=300 * KIB)
    async with serving(bodies) as connect:
        first, second, third, fourth = [await connect() for _ in range(4)]
        await first.begins(200 * KIB, sent=100 * KIB)
        await held(bodies, 100 * KIB)
        await second.begins(201 * KIB, sent=0)  # says that it would not fit
        assert await second.status() == 429
        await third.begins(200 * KIB, sent=200 * KIB)
        assert await third.status() == 200
        await held(bodies, 100 * KIB)  # of what was answered nothing is held
        await fourth.send(b"POST /size HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n")
        await fourth.send(b"%x\r\n" % (400 * KIB), b"x" * (400 * KIB), b"\r\n")  # says nothing
        assert await fourth.status() == 429
        await first.send(b"x" * (100 * KIB))
        assert await first.status() == 200
        await held(bodies, 0)


async def test_who_hangs_up_holds_nothing() -> None:
    bodies = Bodies()
    async with serving(bodies) as connect:
        caller = await connect()
        await caller.begins(200 * KIB, sent=100 * KIB)
        await held(bodies, 100 * KIB)
        await caller.close()
        await held(bodies, 0)


@pytest.mark.parametrize("sent", [0, 10 * KIB])
async def test_a_slow_sender_is_sent_away(sent: int) -> None:
    bodies = Bodies(within_s=0.2)
    async with serving(bodies) as connect:
        caller = await connect()
        await caller.begins(20 * KIB, sent)
        assert await caller.status() == 408
        assert await caller.is_closed()
        await held(bodies, 0)


async def test_a_body_that_trickles_is_slow_too() -> None:
    """The time is for the whole body, not from piece to piece."""
    bodies = Bodies(within_s=0.5)
    async with serving(bodies) as connect:
        caller = await connect()
        await caller.begins(20 * KIB, 0)
        answer = asyncio.create_task(caller.status())
        while not answer.done():
            await caller.send(b"x")
            await asyncio.sleep(0.05)
        assert await answer == 408
