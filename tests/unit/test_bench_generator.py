"""The benchmark's client: it hears what a server says however the bytes come, and open loop means open loop."""

import asyncio
import json
import time
from collections.abc import Awaitable, Callable

import pytest

from bench.generator import Job, Outcome, _Run

SECRET = "whsec_c2VjcmV0"
Serve = Callable[[asyncio.StreamReader, asyncio.StreamWriter], Awaitable[None]]


def _answer(status: int, counts: dict[str, int]) -> bytes:
    body = json.dumps({"results": [], "counts": counts}).encode()
    return b"HTTP/1.1 %d X\r\ncontent-type: application/json\r\ncontent-length: %d\r\n\r\n%b" % (
        status,
        len(body),
        body,
    )


async def _request(reader: asyncio.StreamReader) -> bytes:
    head = await reader.readuntil(b"\r\n\r\n")
    length = int(head.lower().partition(b"content-length: ")[2].partition(b"\r\n")[0])
    return await reader.readexactly(length)


async def _run(serve: Serve, bodies: list[bytes], *, connections: int = 2, posts_per_s: float | None = None) -> Outcome:
    async with await asyncio.start_server(serve, "127.0.0.1", 0) as server:
        port = server.sockets[0].getsockname()[1]
        job = Job(port, SECRET, list, (bodies,), connections, posts_per_s)
        return await _Run(job).run(bodies, lambda: None)


async def test_every_body_is_sent_once_and_its_verdicts_counted() -> None:
    seen: list[bytes] = []

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        while True:
            try:
                seen.append(await _request(reader))
            except asyncio.IncompleteReadError:
                writer.close()
                return
            answer = _answer(200, {"recorded": 3})
            writer.write(answer[:20])  # an answer may come in pieces
            await writer.drain()
            await asyncio.sleep(0)
            writer.write(answer[20:])

    bodies = [b"[%d]" % n for n in range(20)]
    outcome = await _run(serve, bodies)

    assert sorted(seen) == sorted(bodies)
    assert outcome.verdicts == {"recorded": 60}
    assert sorted(post.number for post in outcome.posts) == list(range(20))


async def test_a_refusal_and_a_broken_connection_are_no_acceptance() -> None:
    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        if await _request(reader) == b"break":
            writer.close()
            return
        writer.write(_answer(429, {}))

    refused = await _run(serve, [b"x"], connections=1)
    broken = await _run(serve, [b"break"], connections=1)

    assert dict(refused.statuses) == {429: 1}
    assert dict(broken.statuses) == {0: 1}
    assert not refused.verdicts
    assert broken.posts[0].recorded == 0


async def test_in_the_open_loop_latency_counts_from_when_a_post_was_due() -> None:
    """One connection, and a server that keeps the first post waiting: those behind it have waited too."""
    released = asyncio.Event()

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            while True:
                await _request(reader)
                await released.wait()
                writer.write(_answer(200, {"recorded": 1}))
        except asyncio.IncompleteReadError:
            writer.close()

    began = time.monotonic()
    asyncio.get_running_loop().call_later(0.3, released.set)
    outcome = await _run(serve, [b"x"] * 5, connections=1, posts_per_s=1000)

    assert [round((post.due - outcome.began) * 1000) for post in outcome.posts] == [0, 1, 2, 3, 4]
    assert all(post.answered - post.due >= 0.3 - (post.due - began) for post in outcome.posts)


@pytest.mark.parametrize("prepare", [True, False])
async def test_bodies_may_be_made_before_or_on_the_way(prepare: bool) -> None:
    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await _request(reader)
        writer.write(_answer(200, {"duplicate": 1}))

    async with await asyncio.start_server(serve, "127.0.0.1", 0) as server:
        port = server.sockets[0].getsockname()[1]
        job = Job(port, SECRET, list, (), 1, prepare=prepare)
        outcome = await _Run(job).run([b"x"], lambda: None)

    assert outcome.verdicts == {"duplicate": 1}
