"""Reads one durable consumer: our own pull loop over a callback subscription.

The loops of nats-py and FastStream lose messages to a bare TimeoutError, ask 2,800 times a second when the consumer is gone and
freeze when the connection is closed (STACK, "FastStream on NATS"). This one has one pull request open at a time, for as many
messages as may still be in flight:

- Each message gets a task. 404 and 408 mean that nothing came: ask again. Anything else, or silence, is trouble: pause, then ask.
- While in trouble (and at the start) requests are `no_wait`: the server answers at once, so health is known, not guessed.
- A lost connection ends the open request; the next one goes out when the connection is back.
"""

import asyncio
import itertools
import json
import random
from collections.abc import Callable, Coroutine
from contextlib import suppress
from dataclasses import dataclass, field
from typing import Any

import nats.errors
import structlog
from nats.aio.client import Client
from nats.aio.msg import Msg
from nats.aio.subscription import Subscription

from shared.bus.topology import Durable

log = structlog.get_logger()

STOP_ROUND_TRIP_S = 2  # how long stop() waits for what the server has already sent
STOP_LINGER_S = 0.3  # how long stop() waits for the open request; with messages waiting it ends within milliseconds
ENDED = {"404", "408"}  # no messages; request expired


@dataclass(frozen=True)
class PullTimes:
    """Pauses of a consumer, in seconds; tests shorten them."""

    expires_s: float = 30
    heartbeat_s: float = 5  # the server rejects more than half of `expires_s`
    retry_min_s: float = 0.2
    retry_max_s: float = 5
    standing_min_s: float = 1  # between two tries of the message at which the consumer stands (shared/bus/brake.py)
    standing_max_s: float = 30


@dataclass
class _Request:
    number: int
    remaining: int
    ended: bool = False
    trouble: str | None = None
    heard: asyncio.Event = field(default_factory=asyncio.Event)

    def end(self, trouble: str | None = None) -> None:
        self.ended, self.trouble = True, trouble
        self.heard.set()


class PullLoop:
    """Delivers the messages of one durable to `deliver`, at most `max_in_flight` at a time.

    `deliver` answers the message (ack, nak, term) and never raises; when it is cancelled, it gives the message back.
    """

    def __init__(
        self,
        durable: Durable,
        deliver: Callable[[Msg], Coroutine[Any, Any, None]],
        *,
        max_in_flight: int,
        times: PullTimes,
        connected: asyncio.Event,
    ) -> None:
        self.trouble: str | None = "not started"
        self.one_at_a_time = False  # True: one message in flight, whatever `max_in_flight` says
        self._durable = durable
        self._deliver = deliver
        self._max_in_flight = max_in_flight
        self._times = times
        self._connected = connected
        self._open: dict[asyncio.Task[None], Msg] = {}
        self._slot_free = asyncio.Event()
        self._numbers = itertools.count()
        self._request = _Request(-1, 0, ended=True)
        self._stopping = False
        self._client: Client
        self._inbox: str
        self._subscription: Subscription
        self._loops: list[asyncio.Task[None]] = []

    @property
    def _free(self) -> int:
        return (1 if self.one_at_a_time else self._max_in_flight) - len(self._open)

    @property
    def in_flight(self) -> int:
        return len(self._open)

    async def start(self, client: Client) -> None:
        self._client = client
        self._inbox = client.new_inbox()
        self._subscription = await client.subscribe(f"{self._inbox}.*", cb=self._on_message)
        self._loops = [asyncio.create_task(self._ask_for_ever()), asyncio.create_task(self._keep_alive_for_ever())]

    def connection_lost(self) -> None:
        """Ends the open request: the server forgets requests with the connection and will not answer."""
        self._request.end()

    async def stop(self, grace_s: float) -> None:
        """Takes no more messages, lets open handlers finish for `grace_s`, and gives every other message back at once."""
        self._stopping = True
        if not self._loops:
            return  # never started
        for loop in self._loops:
            loop.cancel()
        if self._client.is_connected:
            # `_on_message` gives back what the server sends meanwhile. If we unsubscribed at once, a message that the server had
            # chosen for the open request and not yet sent would come again only after ack_wait.
            await self._linger()
            with suppress(nats.errors.Error, TimeoutError):
                async with asyncio.timeout(STOP_ROUND_TRIP_S):
                    await self._subscription.drain()  # type: ignore[no-untyped-call]
        if self._open:
            _, unfinished = await asyncio.wait(list(self._open), timeout=grace_s)
            for task in unfinished:
                task.cancel()
            await asyncio.gather(*unfinished, return_exceptions=True)
        self.trouble = "stopped"

    async def _linger(self) -> None:
        with suppress(TimeoutError):
            async with asyncio.timeout(STOP_LINGER_S):
                await self._ended(self._request)

    @staticmethod
    async def _ended(request: _Request) -> None:
        while not request.ended:
            request.heard.clear()
            await request.heard.wait()

    # ---- asking ------------------------------------------------------------------------------------------------------

    async def _ask_for_ever(self) -> None:
        pause_s = self._times.retry_min_s
        while True:
            await self._connected.wait()
            await self._free_slot()
            trouble = await self._ask_once()
            if trouble is None:
                pause_s = self._times.retry_min_s
                continue
            if trouble != self.trouble:
                log.warning("pull trouble", durable=self._durable.name, reason=trouble)
            self.trouble = trouble
            await asyncio.sleep(pause_s * random.uniform(0.8, 1.2))  # noqa: S311
            pause_s = min(pause_s * 2, self._times.retry_max_s)

    async def _free_slot(self) -> None:
        while self._free <= 0:
            self._slot_free.clear()
            await self._slot_free.wait()

    async def _ask_once(self) -> str | None:
        """Sends one pull request and waits for its end. Returns what is wrong, or None."""
        request = self._request = _Request(next(self._numbers), self._free)
        try:
            await self._client.publish(
                f"$JS.API.CONSUMER.MSG.NEXT.{self._durable.stream}.{self._durable.name}",
                self._body(request.remaining),
                reply=f"{self._inbox}.{request.number}",
            )
        except (nats.errors.Error, OSError) as error:
            return f"cannot ask: {type(error).__name__}"
        while not request.ended:
            request.heard.clear()
            try:
                async with asyncio.timeout(2.5 * self._times.heartbeat_s):
                    await request.heard.wait()
            except TimeoutError:
                return "no answer to pull requests"
        return request.trouble

    def _body(self, batch: int) -> bytes:
        if self.trouble:
            return json.dumps({"batch": batch, "no_wait": True}).encode()
        waits = {"expires": self._times.expires_s, "idle_heartbeat": self._times.heartbeat_s}
        return json.dumps({"batch": batch} | {key: int(value * 1e9) for key, value in waits.items()}).encode()

    # ---- hearing -----------------------------------------------------------------------------------------------------

    async def _on_message(self, msg: Msg) -> None:
        """Takes a message, or the status of a request. A status is told by its missing reply subject: headers alone could be
        forged."""
        if msg.reply.startswith("$JS.ACK."):
            await self._take(msg)
        elif msg.subject == f"{self._inbox}.{self._request.number}":  # others are of a request that was given up
            self._on_status(msg.headers or {})

    async def _take(self, msg: Msg) -> None:
        self._request.remaining -= 1
        if self._request.remaining == 0:
            self._request.end()
        if self._stopping:
            await msg.nak()
            return
        self._heard_well()
        task = asyncio.create_task(self._deliver(msg))
        self._open[task] = msg
        task.add_done_callback(self._done)

    def _on_status(self, headers: dict[str, str]) -> None:
        status, description = headers.get("Status", "?"), headers.get("Description", "")
        if status == "100":  # idle heartbeat
            self._heard_well()
        elif status in ENDED or description == "Batch Completed":
            self._heard_well()
            self._request.end()
        elif status == "503":
            self._request.end(f"consumer {self._durable.name} does not exist: run the topology job")
        else:
            self._request.end(f"{status} {description}".strip())

    def _heard_well(self) -> None:
        if self.trouble:
            log.info("pulling", durable=self._durable.name, after=self.trouble)
        self.trouble = None
        self._request.heard.set()

    def _done(self, task: asyncio.Task[None]) -> None:
        del self._open[task]
        self._slot_free.set()
        if not task.cancelled() and (error := task.exception()):
            log.error("delivery failed; the message returns after ack_wait", durable=self._durable.name, exc_info=error)

    async def _keep_alive_for_ever(self) -> None:
        """Says "in progress" for every open message, so that `ack_wait` is short and still no handler is too slow."""
        while True:
            await asyncio.sleep(self._durable.ack_wait_s / 3)
            for msg in list(self._open.values()):
                with suppress(nats.errors.Error):
                    if not msg.is_acked:
                        await msg.in_progress()
