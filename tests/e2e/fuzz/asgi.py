"""Requests to a service in this process, and what must never come of one: a 5xx, a hang, a good input that got a wrong answer.

Without a client library: a client takes longer than the service, and would not send what is sent here.
"""

import asyncio
import json
import time
from collections import Counter
from collections.abc import Awaitable, Callable, Iterable
from dataclasses import dataclass, field
from typing import Any, TypeVar

HANG_S = 30  # the slowest answer of a loaded machine takes a second
AT_ONCE = 8
FAULTS_SHOWN = 10

Input = TypeVar("Input")


@dataclass(frozen=True)
class Answer:
    status: int
    body: bytes

    def json(self) -> Any:
        return json.loads(self.body)


@dataclass
class Tally:
    """What came of the inputs of one way in."""

    way: str
    seed: int
    began: float = field(default_factory=time.monotonic)
    inputs: int = 0
    server_errors: int = 0
    hangs: int = 0
    spoiled: int = 0
    answers: Counter[str] = field(default_factory=Counter)
    faults: list[str] = field(default_factory=list)

    def fault(self, text: str, example: object) -> None:
        self.faults.append(f"{text}: {str(example)[:2000]}")

    def spoil(self, text: str, example: object) -> None:
        self.spoiled += 1
        self.fault(text, example)

    def line(self) -> str:
        return (
            f"{self.way}: {self.inputs:,} inputs (seed {self.seed}): {self.server_errors} × 5xx, {self.hangs} hangs, "
            f"{self.spoiled} good items spoiled; {time.monotonic() - self.began:.0f} s; {dict(self.answers.most_common(12))}"
        )

    def shown(self) -> str:
        return "\n".join([self.line(), *self.faults[:FAULTS_SHOWN]])


async def call(
    app: Any,
    tally: Tally,
    path: str,
    body: bytes,
    headers: dict[str, str],
    *,
    method: str = "POST",
    address: str = "10.0.0.1",
) -> Answer | None:
    """The answer; None where none came in time. 5xx and hangs are counted."""
    target, _, query = path.partition("?")
    scope = {
        "type": "http",
        "asgi": {"version": "3.0"},
        "http_version": "1.1",
        "method": method,
        "scheme": "http",
        "path": target,
        "raw_path": target.encode(),
        "query_string": query.encode(),
        "root_path": "",
        "headers": [(name.lower().encode(), value.encode("latin-1")) for name, value in headers.items()]
        + [(b"content-length", str(len(body)).encode())],
        "client": (address, 5000),
        "server": ("service.test", 80),
    }
    parts = [{"type": "http.request", "body": body, "more_body": False}]
    sent: list[dict[str, Any]] = []

    async def receive() -> dict[str, Any]:
        if parts:
            return parts.pop()
        never: asyncio.Future[dict[str, Any]] = asyncio.get_running_loop().create_future()
        return await never  # the client neither leaves nor says more

    async def send(message: dict[str, Any]) -> None:
        sent.append(message)

    try:
        async with asyncio.timeout(HANG_S):
            await app(scope, receive, send)
    except TimeoutError:
        tally.hangs += 1
        tally.fault("no answer", body)
        return None
    except Exception as error:  # what a server would make a 500 of
        sent[:] = [{"status": 500}, {"body": repr(error).encode()}]
    answer = Answer(sent[0]["status"], b"".join(message.get("body", b"") for message in sent[1:]))
    if answer.status >= 500:
        tally.server_errors += 1
        tally.fault(f"{answer.status} {answer.body[:300]!r}", body)
    return answer


async def all_of(inputs: Iterable[Input], send: Callable[[Input], Awaitable[None]]) -> None:
    """Sends inputs, some at a time, in this order."""
    waiting = iter(inputs)

    async def sender() -> None:
        for item in waiting:
            await send(item)

    await asyncio.gather(*(sender() for _ in range(AT_ONCE)))
