"""A TCP proxy in front of a server. It does one kind of harm, at the moment when the n-th piece of the conversation passes."""

import asyncio
import socket
import struct
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Literal
from urllib.parse import urlsplit, urlunsplit

Harm = Literal["silence", "reset", "half-close to client", "half-close to server"]


class Gate:
    """`silence`: that piece and all later ones are dropped. After any harm, each side still notices when the other closes the
    connection."""

    def __init__(self) -> None:
        self.harm: Harm | None = None
        self.at = 0
        self.seen = 0
        self.passed = b""  # what the client said and the server heard

    def plan(self, harm: Harm | None, at: int = 0) -> None:
        self.harm, self.at, self.seen, self.passed = harm, at, 0, b""

    @property
    def done(self) -> bool:
        """Whether the harm was done."""
        return self.harm is not None and self.seen > self.at


@asynccontextmanager
async def gate_before(url: str) -> AsyncIterator[tuple[Gate, str]]:
    """The gate, and the URL that leads through it."""
    gate, parts = Gate(), urlsplit(url)

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        from_server, to_server = await asyncio.open_connection(parts.hostname, parts.port)
        ends = (writer, to_server)
        await asyncio.gather(
            _forward(gate, reader, to_server, ends, is_client=True),
            _forward(gate, from_server, writer, ends, is_client=False),
        )

    proxy = await asyncio.start_server(serve, "127.0.0.1", 0)
    user, _, _ = parts.netloc.rpartition("@")
    try:
        yield gate, urlunsplit(parts._replace(netloc=f"{user}@127.0.0.1:{proxy.sockets[0].getsockname()[1]}"))
    finally:
        proxy.close()


async def _forward(
    gate: Gate,
    reader: asyncio.StreamReader,
    writer: asyncio.StreamWriter,
    ends: tuple[asyncio.StreamWriter, asyncio.StreamWriter],
    *,
    is_client: bool,
) -> None:
    try:
        while data := await reader.read(65536):
            gate.seen += 1
            if gate.harm is not None and gate.seen > gate.at:
                if gate.seen == gate.at + 1:
                    _harm(gate.harm, *ends)
                continue
            if is_client:
                gate.passed += data
            writer.write(data)
    except OSError:
        pass
    if not (gate.done and gate.harm == "half-close to server" and not is_client):  # its client notices nothing
        for end in ends:
            end.close()


def _harm(harm: Harm, to_client: asyncio.StreamWriter, to_server: asyncio.StreamWriter) -> None:
    if harm == "reset":
        for end in (to_client, to_server):
            end.get_extra_info("socket").setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
            end.transport.abort()
    elif harm == "half-close to client":
        to_client.write_eof()
    elif harm == "half-close to server":
        to_server.write_eof()
