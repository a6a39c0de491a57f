"""Request bodies: how large one may be, how long it may take, and how much of all of them is held at once.

A body is held from its first byte until its request is answered, so what waits for a commit counts as well as what is still
being sent. Beyond `HELD_MAX_BYTES` a request is told to come back before its body is read.
"""

import asyncio

from starlette.types import Message, Receive, Scope

from shared.service.problems import Problem, busy

KIB = 1024
BODY_MAX_BYTES = 16 * KIB  # where people type; routes that take more say so (`max_body_size`)
HELD_MAX_BYTES = 48 * KIB * KIB  # checkin then has 199 MiB of its 512 (docs/performance.md)
DIGITS_MAX = 18  # digits of a declared length; a longer number is too large in any case
BODY_WITHIN_S = 20.0  # 1 MiB at 52 KB/s


class Bodies:
    """The bodies of one process."""

    def __init__(self, held_max_bytes: int = HELD_MAX_BYTES, within_s: float = BODY_WITHIN_S) -> None:
        self.held_bytes = 0
        self.held_max_bytes = held_max_bytes
        self.within_s = within_s

    def expect(self, scope: Scope, receive: Receive, max_bytes: int) -> "Body":
        """The body of a request. Raises 429 and 413 problems where what the headers declare is too much, 400 where it is
        compressed: signatures and limits are about the bytes as they are sent, and nobody unpacks them."""
        if self.held_bytes >= self.held_max_bytes:
            raise busy()
        declared = _declared_bytes(scope)
        if declared > max_bytes:
            raise _too_large(max_bytes)
        if (encoding := _header(scope, b"content-encoding").strip().lower()) not in (b"", b"identity"):
            raise _compressed(encoding)
        if self.held_bytes + declared > self.held_max_bytes:
            raise busy()
        return Body(self, receive, max_bytes, asyncio.get_running_loop().time() + self.within_s)


class Body:
    """One request's body. `receive` takes the place of the server's; `let_go` gives back what was held."""

    __slots__ = ("_bodies", "_complete", "_deadline", "_max_bytes", "_receive", "_received")

    def __init__(self, bodies: Bodies, receive: Receive, max_bytes: int, deadline: float) -> None:
        self._bodies = bodies
        self._receive = receive
        self._max_bytes = max_bytes
        self._deadline = deadline
        self._received = 0
        self._complete = False

    async def receive(self) -> Message:
        """Raises a 413 problem for too much, 429 where all bodies together are too much, 408 for a slow sender."""
        if self._complete:
            return await self._receive()  # the caller hung up
        try:
            async with asyncio.timeout_at(self._deadline):
                message = await self._receive()
        except TimeoutError:
            raise _too_slow() from None
        size = len(message.get("body", b""))
        self._received += size
        self._bodies.held_bytes += size
        self._complete = not message.get("more_body", False)
        if self._received > self._max_bytes:
            raise _too_large(self._max_bytes)
        if self._bodies.held_bytes > self._bodies.held_max_bytes:
            raise busy()
        return message

    def let_go(self) -> None:
        """Gives back what was held; called once the request is answered."""
        self._bodies.held_bytes -= self._received


def _declared_bytes(scope: Scope) -> int:
    value = _header(scope, b"content-length")
    return int(value[:DIGITS_MAX]) if value.isdigit() else 0


def _header(scope: Scope, wanted: bytes) -> bytes:
    """The header's value, or an empty text where the request has no such header."""
    return next((value for name, value in scope["headers"] if name == wanted), b"")


def _compressed(encoding: bytes) -> Problem:
    named = encoding[:40].decode("ascii", "replace")
    detail = f"Content-Encoding 是 {named}，这里不解压。请求正文请原样发送"
    return Problem(400, "compressed", "请求内容被压缩，请不压缩直接发送", detail)


def _too_large(max_bytes: int) -> Problem:
    return Problem(413, "too-large", "请求内容过大", f"最多 {max_bytes} 字节")


def _too_slow() -> Problem:
    problem = Problem(408, "too-slow", "请求内容没有按时发完", "请求正文没有在限定时间内到齐")
    problem.headers = {"Connection": "close"}  # else the rest is read for as long as it trickles
    return problem
