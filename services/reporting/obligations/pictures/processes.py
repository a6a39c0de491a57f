"""Has pictures re-encoded, each by a process of its own (`reencoding.py`), one at a time: 40 megapixels take up to 700 MiB."""

import asyncio
import contextlib
import json
import os
import sys
from asyncio.subprocess import DEVNULL, PIPE, Process
from collections.abc import Sequence

import structlog

from services.reporting.obligations.pictures.domain import MIB, Reencoded
from shared.service.refusals import Refused

log = structlog.get_logger()

WAITING_MAX = (
    20  # of at most 8 MiB each, which shared/service/bodies.py counts too; usually a third of a second of work each
)
RETRY_AFTER_S = 5
WITHIN_S = 30  # by the wall clock; its limit of CPU time is shorter
ANSWER_MAX_BYTES = 8 * MIB  # 1600 × 1600 pixels of noise have 2 MiB
REFUSALS = ("picture-too-large", "picture-kind", "picture-unreadable", "picture-too-complex")
PROGRAM = ("-m", "services.reporting.obligations.pictures.reencoding")
# All that it sees of the environment: no secrets. One arena, because each thread's would count against its limit of memory.
SEEN = ("PATH", "PYTHONPATH", "PYTHONDONTWRITEBYTECODE", "LC_ALL")
ENVIRONMENT = {name: os.environ[name] for name in SEEN if name in os.environ} | {"MALLOC_ARENA_MAX": "1"}


class Reencoder:
    """The process that reads pictures for a service; a service has one `Reencoder`."""

    def __init__(
        self, program: Sequence[str] = PROGRAM, waiting_max: int = WAITING_MAX, within_s: float = WITHIN_S
    ) -> None:
        """`program`: what Python runs, `waiting_max`: pictures, the one that is read included."""
        self._program = program
        self._waiting_max = waiting_max
        self._within_s = within_s
        self._place = asyncio.Semaphore(1)
        self._waiting = 0

    async def reencoded(self, upload: bytes) -> Reencoded:
        """The picture as it is kept. Refused where it is none that we take, or where too many wait. Takes seconds: not to be
        called in a transaction."""
        if self._waiting >= self._waiting_max:
            raise Refused("pictures-busy", retry_after_s=RETRY_AFTER_S)
        self._waiting += 1
        try:
            async with self._place:
                return await self._by_process(upload)
        finally:
            self._waiting -= 1

    async def _by_process(self, upload: bytes) -> Reencoded:
        answer, status = None, None
        process = await asyncio.create_subprocess_exec(
            sys.executable, *self._program, stdin=PIPE, stdout=PIPE, stderr=DEVNULL, env=ENVIRONMENT
        )
        try:
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(self._within_s):
                    answer = await _answer(process, upload)
                    status = await process.wait()
        finally:
            if process.returncode is None:  # too slow, or whoever asked has gone
                process.kill()
                await process.wait()
        if answer is not None:
            return answer
        if status is not None and status >= 0:  # it came to its end, so it is no picture's fault
            raise RuntimeError(f"the process that reads pictures said nothing and ended with {status}")
        log.warning("a picture was too much for the process that reads it", signal=status and -status)
        raise Refused("picture-too-complex")


async def _answer(process: Process, upload: bytes) -> Reencoded | None:
    """What the process says; None where it ended before it had said it."""
    assert process.stdin is not None  # noqa: S101 - both are pipes
    assert process.stdout is not None  # noqa: S101
    with contextlib.suppress(ConnectionError):  # it ended without reading
        process.stdin.write(upload)
        await process.stdin.drain()
    process.stdin.close()
    line = await process.stdout.readline()
    if not line.endswith(b"\n"):
        return None
    head = json.loads(line)
    if "refused" in head:
        refusal = head["refused"] if head["refused"] in REFUSALS else "picture-unreadable"
        raise Refused(refusal)
    jpeg_bytes, thumbnail_bytes = int(head["jpeg"]), int(head["thumbnail"])
    if not 0 < jpeg_bytes + thumbnail_bytes <= ANSWER_MAX_BYTES:
        raise RuntimeError(f"the process that reads pictures answers {jpeg_bytes} + {thumbnail_bytes} bytes")
    try:
        pictures = await process.stdout.readexactly(jpeg_bytes + thumbnail_bytes)
    except asyncio.IncompleteReadError:
        return None
    return Reencoded(pictures[:jpeg_bytes], pictures[jpeg_bytes:], head["near_hash"])
