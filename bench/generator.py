"""Sends posts from a process of its own over kept-alive connections, and says what became of each.

A raw asyncio protocol on uvloop: about 30 µs a post, and nothing per check-in but the socket. Two ways to send:

- closed loop: every connection sends its next post when it has the answer; measures what can be taken;
- open loop: post i is due at `start + i / rate` whatever became of the ones before; latency counts from there, so a slow answer
  does not hide the wait of those behind it (coordinated omission).
"""

import asyncio
import multiprocessing
import time
from collections import Counter
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from multiprocessing.connection import Connection as Pipe
from typing import Any, NamedTuple

import msgspec
import uvloop

from bench.workload import Signer

CONNECT_TRIES = 50


@dataclass(frozen=True)
class Job:
    """`make` is called in the generator's process: `make(*args)` gives the bodies."""

    port: int
    secret: str = field(repr=False)
    make: Callable[..., Iterable[bytes]]
    args: tuple[Any, ...]
    connections: int
    posts_per_s: float | None = None  # None: closed loop
    prepare: bool = True  # False: bodies are made on the way (long runs)


class Request(NamedTuple):
    number: int
    head: bytes
    body: bytes


class Sent(NamedTuple):
    """One post; times are of time.monotonic(), which all processes share."""

    number: int  # the position of its body among all bodies
    due: float
    sent: float
    answered: float
    status: int  # 0: the connection broke, so the outcome is unknown
    recorded: int


@dataclass
class Outcome:
    posts: list[Sent]
    verdicts: Counter[str]
    began: float
    ended: float
    cpu_s: float

    @property
    def statuses(self) -> Counter[int]:
        return Counter(post.status for post in self.posts)


class _Answer(msgspec.Struct):
    counts: dict[str, int]


_answer = msgspec.json.Decoder(_Answer)


class Broken(Exception):
    """The server closed the connection before it answered."""


class Connection(asyncio.Protocol):
    """One kept-alive HTTP connection; one request at a time. Understands what uvicorn sends, no more."""

    def __init__(self) -> None:
        self._buffer = bytearray()
        self._body_from = 0
        self._size = 0
        self._answer: asyncio.Future[tuple[int, bytes]] | None = None
        self.transport: asyncio.Transport

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self.transport = transport  # type: ignore[assignment]

    async def post(self, head: bytes, body: bytes) -> tuple[int, bytes]:
        if self.transport.is_closing():
            raise Broken
        self._answer = asyncio.get_running_loop().create_future()
        self.transport.write(head)
        self.transport.write(body)
        return await self._answer

    def data_received(self, data: bytes) -> None:
        self._buffer += data
        if not self._size:
            end = self._buffer.find(b"\r\n\r\n")
            if end < 0:
                return
            length = self._buffer.find(b"content-length: ", 0, end) + 16
            self._body_from = end + 4
            self._size = self._body_from + int(self._buffer[length : self._buffer.index(b"\r\n", length)])
        if len(self._buffer) >= self._size:
            status, body = int(self._buffer[9:12]), bytes(self._buffer[self._body_from : self._size])
            self._buffer.clear()
            self._size = 0
            if self._answer and not self._answer.done():
                self._answer.set_result((status, body))

    def connection_lost(self, exc: Exception | None) -> None:
        if self._answer and not self._answer.done():
            self._answer.set_exception(Broken())


class _Run:
    def __init__(self, job: Job) -> None:
        self._job = job
        self._signer = Signer(job.secret)
        self._host = f"127.0.0.1:{job.port}"
        self._posts: list[Sent] = []
        self._verdicts: Counter[str] = Counter()
        self._number = 0

    async def run(self, bodies: Iterable[bytes], go: Callable[[], None]) -> Outcome:
        connections = [await self._connect() for _ in range(self._job.connections)]
        if self._job.prepare:
            requests: Iterator[Request] = iter([self._signed(body) for body in bodies])
        else:
            requests = map(self._signed, bodies)
        await asyncio.to_thread(go)
        cpu, began = time.process_time(), time.monotonic()
        if self._job.posts_per_s is None:
            await asyncio.gather(*(self._closed_loop(connection, requests) for connection in connections))
        else:
            await self._open_loop(connections, requests, began, self._job.posts_per_s)
        ended = time.monotonic()
        for connection in connections:
            connection.transport.close()
        return Outcome(self._posts, self._verdicts, began, ended, time.process_time() - cpu)

    def _signed(self, body: bytes) -> Request:
        number, self._number = self._number, self._number + 1
        return Request(number, self._signer.head(self._host, f"m-{number}", str(int(time.time())), body), body)

    async def _connect(self) -> Connection:
        for _ in range(CONNECT_TRIES):
            try:
                _, connection = await asyncio.get_running_loop().create_connection(
                    Connection, "127.0.0.1", self._job.port
                )
            except OSError:
                await asyncio.sleep(0.1)
            else:
                return connection
        raise Broken("nobody listens")

    async def _closed_loop(self, connection: Connection, requests: Iterator[Request]) -> None:
        for request in requests:
            connection = await self._post(connection, request, time.monotonic())

    async def _open_loop(
        self, connections: list[Connection], requests: Iterator[Request], began: float, posts_per_s: float
    ) -> None:
        due: asyncio.Queue[tuple[float, Request] | None] = asyncio.Queue()

        async def serve(connection: Connection) -> None:
            while (item := await due.get()) is not None:
                at, request = item
                connection = await self._post(connection, request, at)

        servers = [asyncio.create_task(serve(connection)) for connection in connections]
        for request in requests:
            at = began + request.number / posts_per_s
            if (wait := at - time.monotonic()) > 0:
                await asyncio.sleep(wait)
            due.put_nowait((at, request))
        for _ in servers:
            due.put_nowait(None)
        await asyncio.gather(*servers)

    async def _post(self, connection: Connection, request: Request, due: float) -> Connection:
        """Returns the connection to use next."""
        sent = time.monotonic()
        try:
            status, answer = await connection.post(request.head, request.body)
        except Broken:
            self._posts.append(Sent(request.number, due, sent, time.monotonic(), 0, 0))
            return await self._connect()
        answered = time.monotonic()
        counts = _answer.decode(answer).counts if status == 200 else {}
        self._verdicts.update(counts)
        self._posts.append(Sent(request.number, due, sent, answered, status, counts.get("recorded", 0)))
        return connection


def _main(pipe: Pipe) -> None:
    """The generator's process: takes jobs until it is told that there are no more."""

    def go() -> None:
        pipe.send("ready")
        pipe.recv()

    while (job := pipe.recv()) is not None:
        pipe.send(uvloop.run(_Run(job).run(job.make(*job.args), go)))


class Generator:
    """The caller's end: call `prepare(job)`, then `run()`, which blocks until all posts are answered."""

    def __init__(self, pipe: Pipe, pid: int) -> None:
        self._pipe = pipe
        self.pid = pid

    def prepare(self, job: Job) -> None:
        self._pipe.send(job)
        self._pipe.recv()

    def start(self) -> None:
        self._pipe.send("go")

    def wait(self) -> Outcome:
        outcome: Outcome = self._pipe.recv()
        return outcome

    def running(self) -> bool:
        return not self._pipe.poll(0)


@contextmanager
def generator() -> Iterator[Generator]:
    context = multiprocessing.get_context("spawn")
    ours, theirs = context.Pipe()
    process = context.Process(target=_main, args=(theirs,), daemon=True, name="generator")
    process.start()
    theirs.close()
    try:
        yield Generator(ours, process.pid or 0)
        ours.send(None)
        process.join(10)
    finally:
        if process.is_alive():
            process.terminate()
