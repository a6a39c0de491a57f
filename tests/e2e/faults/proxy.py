"""A TCP proxy that misbehaves on demand: between a service and its server, or between clients and checkin.

What is held back is passed on when the weather is fair again, as TCP does after a partition; what is lost takes its connection
along, as nothing can follow it.
"""

import asyncio
import random
import socket
import struct
from contextlib import suppress
from dataclasses import dataclass, field
from enum import StrEnum

CHUNK_BYTES = 64 * 1024
DELAY_S = (0.05, 2.0)
LOSS = 0.15  # of a chunk, in DROP, RESET and HALF_CLOSE
RESET_AT_ONCE = struct.pack("ii", 1, 0)  # SO_LINGER of 0 s: close sends RST


class Weather(StrEnum):
    FAIR = "fair"
    DELAY = "delay"
    DROP = "drop"  # a chunk is lost, and the connection ends with it
    RESET = "reset"
    HALF_CLOSE = "half-close"  # one direction ends, the other goes on
    BLACK_HOLE = "black hole"  # nothing passes, nothing ends
    ONE_WAY = "one direction only"


TO_SERVER, TO_CLIENT = 0, 1


@dataclass(eq=False)
class _Connection:
    writers: tuple[asyncio.StreamWriter, asyncio.StreamWriter]  # by direction: to the server, to the client
    closed: list[bool] = field(default_factory=lambda: [False, False])

    def end(self, direction: int) -> None:
        """Half-closes: the reader of this direction sees the end, the other direction is left alone."""
        if not self.closed[direction]:
            self.closed[direction] = True
            with suppress(OSError, RuntimeError):
                self.writers[direction].write_eof()

    def close(self) -> None:
        self.closed = [True, True]
        for writer in self.writers:
            writer.close()

    def reset(self) -> None:
        self.closed = [True, True]
        for writer in self.writers:
            with suppress(OSError):
                writer.get_extra_info("socket").setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, RESET_AT_ONCE)
            writer.transport.abort()


class Proxy:
    def __init__(self, port: int, server_port: int) -> None:
        self.port = port
        self._server_port = server_port
        self._weather = Weather.FAIR
        self._held = TO_CLIENT  # the direction that ONE_WAY and HALF_CLOSE are about
        self._rng = random.Random()
        self._fair = asyncio.Event()
        self._connections: set[_Connection] = set()
        self._server: asyncio.Server | None = None

    async def start(self) -> None:
        self._fair.set()
        self._server = await asyncio.start_server(self._serve, "127.0.0.1", self.port)

    async def stop(self) -> None:
        if self._server:
            self._server.close()
            for connection in list(self._connections):
                connection.reset()

    def set(self, weather: Weather, rng: random.Random) -> str:
        """Changes the weather; returns it in words. Open connections feel it at once."""
        self._weather, self._rng, self._held = weather, rng, rng.choice((TO_SERVER, TO_CLIENT))
        self._fair.clear()
        for connection in list(self._connections):
            if weather is Weather.RESET:
                connection.reset()
            elif weather is Weather.HALF_CLOSE:
                connection.end(self._held)
        if weather in (Weather.ONE_WAY, Weather.HALF_CLOSE):
            return f"{weather}, {('requests', 'answers')[self._held]} held"
        return weather

    def clear(self) -> None:
        self._weather = Weather.FAIR
        self._fair.set()

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            server_reader, server_writer = await asyncio.open_connection("127.0.0.1", self._server_port)
        except OSError:
            writer.transport.abort()
            return
        connection = _Connection((server_writer, writer))
        self._connections.add(connection)
        try:
            await asyncio.gather(
                self._pump(connection, reader, TO_SERVER), self._pump(connection, server_reader, TO_CLIENT)
            )
        finally:
            self._connections.discard(connection)
            connection.close()

    async def _pump(self, connection: _Connection, reader: asyncio.StreamReader, direction: int) -> None:
        with suppress(OSError):
            while chunk := await reader.read(CHUNK_BYTES):
                await self._suffer(connection, direction)
                if not connection.closed[direction]:
                    connection.writers[direction].write(chunk)
                    await connection.writers[direction].drain()
        await self._suffer(connection, direction)
        connection.end(direction)

    async def _suffer(self, connection: _Connection, direction: int) -> None:
        """What the weather does to a chunk (or to an end) on its way."""
        weather = self._weather
        if weather is Weather.DELAY:
            await asyncio.sleep(self._rng.uniform(*DELAY_S))
        elif weather is Weather.BLACK_HOLE or (weather is Weather.ONE_WAY and direction == self._held):
            await self._fair.wait()
        elif weather in (Weather.DROP, Weather.RESET, Weather.HALF_CLOSE) and self._rng.random() < LOSS:
            if weather is Weather.DROP:
                connection.close()
            elif weather is Weather.RESET:
                connection.reset()
            else:
                connection.end(self._held)
