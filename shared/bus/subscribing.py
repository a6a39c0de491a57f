"""Handlers of events as FastStream subscribers: registered on a router, fed by our pull loop, answered here (see connection.py).

How a message is answered:

- Its handler returned: acknowledged.
- The handler raised `Poison`, or the body is not the event that the subject promises: parked as a dead letter. A consumer that
  would park one message after the other stops at one of them instead (shared/bus/brake.py).
- Any other exception: put back, and tried again for ever with growing delay.
- The process stops: put back at once.
"""

import asyncio
import random
import traceback
from collections.abc import Awaitable, Callable
from contextlib import suppress
from dataclasses import dataclass, field
from functools import partial
from typing import Annotated, Any, TypeVar

import nats.errors
import structlog
from faststream import AckPolicy
from faststream.nats import JStream, NatsRouter
from nats.aio.msg import Msg
from nats.js import api
from pydantic import SkipValidation, ValidationError

from shared.bus import topology
from shared.bus.brake import Brake, Nowhere, Parking
from shared.bus.faststream_internals import (
    CallsCollection,
    NatsSubscriberConfig,
    NatsSubscriberSpecification,
    NatsSubscriberSpecificationConfig,
    Registrator,
    StreamSubscriber,
)
from shared.bus.metrics import BusMetrics
from shared.bus.pull import PullLoop, PullTimes
from shared.bus.topology import Durable
from shared.contracts.base import Event
from shared.failures import ParkedMessage, Poison

log = structlog.get_logger()

MAX_IN_FLIGHT = 4  # per durable and process; each holds a database connection
HANDLER_TIMEOUT_S = 60  # then it is cancelled and the message retried; 500 rows take under a second
RETRY_MIN_S, RETRY_MAX_S = 0.2, 30

EventT = TypeVar("EventT", bound=Event)
Decode = Callable[[bytes], Any]
Answer = Callable[[], Awaitable[None]]  # to the server


@dataclass
class BusContext:
    """Shared by all subscribers of one bus: its metrics, its time limits, whether it is connected, where messages are parked."""

    metrics: BusMetrics
    times: PullTimes
    stop_grace_s: float
    up: asyncio.Event = field(default_factory=asyncio.Event)  # set while connected
    parking: Parking = field(default_factory=Nowhere)


# ---- registering handlers --------------------------------------------------------------------------------------------


def build_router() -> NatsRouter:
    """The router for handlers. The ack policy must be set here, because a router does not inherit its broker's."""
    return NatsRouter(ack_policy=AckPolicy.MANUAL)


def subscribe(
    router: NatsRouter, event: type[EventT], *, durable: str | Durable, max_in_flight: int = MAX_IN_FLIGHT
) -> Callable[[Callable[[EventT], Awaitable[None]]], Callable[[EventT], Awaitable[None]]]:
    """Registers the handler of one event on one durable of the topology."""
    source = _in_topology(durable)
    if event.subject() != source.subject:
        raise ValueError(f"durable {source.name} delivers {source.subject}, not {event.subject()}")

    def register(handler: Callable[[EventT], Awaitable[None]]) -> Callable[[EventT], Awaitable[None]]:
        _register(router, source, partial(_decode, event), handler, max_in_flight)
        return handler

    return register


def subscribe_raw(
    router: NatsRouter, *, durable: str | Durable, payload_type: Any = bytes, max_in_flight: int = MAX_IN_FLIGHT
) -> Callable[[Callable[[bytes], Awaitable[None]]], Callable[[bytes], Awaitable[None]]]:
    """Registers a handler that gets the bytes as they came; `payload_type` is what the AsyncAPI document says they are."""

    def register(handler: Callable[[bytes], Awaitable[None]]) -> Callable[[bytes], Awaitable[None]]:
        async def documented(payload: Any) -> None:
            await handler(payload)

        documented.__name__, documented.__doc__ = handler.__name__, handler.__doc__
        documented.__annotations__["payload"] = Annotated[payload_type, SkipValidation]
        _register(router, _in_topology(durable), bytes, documented, max_in_flight)
        return handler

    return register


def _in_topology(durable: str | Durable) -> Durable:
    return topology.durable(durable) if isinstance(durable, str) else durable


def _register(
    router: NatsRouter, durable: Durable, decode: Decode, handler: Callable[[Any], Awaitable[None]], max_in_flight: int
) -> None:
    async def decoder(message: Any) -> Any:
        return decode(message.body)

    subscriber = DurableSubscriber(router, durable, decode, handler, max_in_flight)
    if subscriber.ack_policy is not AckPolicy.MANUAL:
        raise ValueError("handlers belong on a router from build_router()")
    Registrator.subscriber(router, subscriber)  # NatsRouter.subscriber would build a stock one
    subscriber.add_call(parser_=None, decoder_=decoder, dependencies_=())
    subscriber(handler)


def _decode(event: type[EventT], body: bytes) -> EventT:
    """Reads an event. The reason names fields and rules and no value: a body may hold anything."""
    try:
        return event.model_validate_json(body)
    except ValidationError as error:
        problems = [f"{'.'.join(map(str, problem['loc']))}: {problem['type']}" for problem in error.errors()[:3]]
        reason = f"not a {event.__name__}: {'; '.join(problems)}"
    raise Poison(reason)


# ---- one durable's messages ------------------------------------------------------------------------------------------


class DurableSubscriber(StreamSubscriber):
    """A FastStream subscriber fed by our pull loop. FastStream runs the handler; the answers to the server are given here."""

    def __init__(
        self,
        router: NatsRouter,
        durable: Durable,
        decode: Decode,
        handler: Callable[[Any], Awaitable[None]],
        max_in_flight: int,
    ) -> None:
        calls: CallsCollection[Msg] = CallsCollection()
        outer: Any = router.config
        super().__init__(
            # no_reply: else a header of the message would say where an answer is published
            NatsSubscriberConfig(
                subject=durable.subject, sub_config=api.ConsumerConfig(), no_reply=True, _outer_config=outer
            ),
            NatsSubscriberSpecification(
                outer,
                NatsSubscriberSpecificationConfig(
                    subject=durable.subject, queue=None, title_=None, description_=None, include_in_schema=True
                ),
                calls,
            ),
            calls,
            stream=JStream(durable.stream, declare=False),
            queue="",
        )
        self.durable = durable
        self._decode = decode
        self._handler = handler
        self._max_in_flight = max_in_flight
        self._bus_context: BusContext
        self._held: Msg | None = None
        self.brake = Brake(durable.name, applies=durable.stream == "EVENTS")
        self.loop: PullLoop

    def attach(self, context: BusContext) -> None:
        """Gives the subscriber what it shares with the others of its bus, which starts and stops it."""
        self._bus_context = context
        self.loop = PullLoop(
            self.durable, self._deliver, max_in_flight=self._max_in_flight, times=context.times, connected=context.up
        )

    async def handle(self, body: bytes) -> None:
        """Handles a body outside of a delivery (a replayed dead letter); raises what the handler raises."""
        await self._handler(self._decode(body))

    async def _create_subscription(self) -> None:
        await self.loop.start(self.connection)

    async def stop(self) -> None:
        await self.loop.stop(self._bus_context.stop_grace_s)
        await super().stop()

    async def _deliver(self, msg: Msg) -> None:
        metrics, name = self._bus_context.metrics, self.durable.name
        metrics.delivered.labels(name).inc()
        if msg.metadata.num_delivered > 1:
            metrics.redelivered.labels(name).inc()
        answer = await self._answer(msg)
        with suppress(nats.errors.Error):  # an unanswered message comes again; the inbox knows it
            await answer()

    async def _answer(self, msg: Msg) -> Answer:
        """Handles the message and returns what to tell the server. While the consumer stands at it, it is tried again and
        again."""
        times = self._bus_context.times
        if self._held is not None:
            return partial(msg.nak, times.standing_max_s)
        pause_s = times.standing_min_s
        try:
            while (answer := await self._attempt(msg)) is None:
                if self._held not in (None, msg):
                    return partial(msg.nak, times.standing_max_s)
                self._held, self.loop.one_at_a_time = msg, True
                await asyncio.sleep(pause_s)
                pause_s = min(2 * pause_s, times.standing_max_s)
            return answer
        except asyncio.CancelledError:
            return msg.nak  # stopping: another process may have it at once
        finally:
            if self._held is msg:
                self._held, self.loop.one_at_a_time = None, False

    async def _attempt(self, msg: Msg) -> Answer | None:
        """Tries once to handle the message. Returns None where it must not be parked now, so that the consumer stops at it."""
        with self._bus_context.metrics.handler_duration.labels(self.durable.name).time():
            try:
                async with asyncio.timeout(HANDLER_TIMEOUT_S):
                    return await self._process_or_park(msg)
            except Exception as error:
                return partial(msg.nak, self._retry_later(msg, error))

    async def _process_or_park(self, msg: Msg) -> Answer | None:
        try:
            await self.process_message(msg)
        except Poison as poison:
            message = self._parked(msg, poison.reason)
            is_parked = await self.brake.park(self._bus_context.parking, message)
            where = {"durable": message.durable, "stream_seq": message.stream_seq, "reason": message.reason}
            if not is_parked:
                log.error("the consumer stands: too many messages in a row cannot be understood", **where)
                return None
            self._bus_context.metrics.poison.labels(self.durable.name).inc()
            log.error("parked", **where)
            return msg.term
        await self.brake.applied(self._bus_context.parking)
        return msg.ack

    def _parked(self, msg: Msg, reason: str) -> ParkedMessage:
        event = None
        with suppress(Poison):
            decoded = self._decode(msg.data)
            event = decoded if isinstance(decoded, Event) else None
        return ParkedMessage(
            durable=self.durable.name,
            subject=msg.subject,
            stream_seq=msg.metadata.sequence.stream,
            event_id=event.event_id if event else None,
            reason=reason,
            body=msg.data,
            event=event,
        )

    def _retry_later(self, msg: Msg, error: Exception) -> float:
        """The delay before the next attempt. The log gets no text of the error: it may quote a row."""
        attempt = msg.metadata.num_delivered
        delay_s = retry_delay_s(attempt)
        self._bus_context.metrics.naks.labels(self.durable.name).inc()
        log.warning(
            "handler failed; the message is retried",
            durable=self.durable.name,
            stream_seq=msg.metadata.sequence.stream,
            attempt=attempt,
            delay_s=round(delay_s, 1),
            error=type(error).__name__,
            where=_where(error),
        )
        return delay_s


def retry_delay_s(attempt: int) -> float:
    """0.2 s after the first attempt, doubling up to 30 s, ±20 % so that a crowd does not come back at once."""
    delay_s = min(RETRY_MIN_S * 2.0 ** min(attempt - 1, 20), RETRY_MAX_S)
    return delay_s * random.uniform(0.8, 1.2)  # noqa: S311


def _where(error: Exception) -> str:
    """The innermost frames, as file:line."""
    frames = traceback.extract_tb(error.__traceback__)[-3:]
    return " > ".join(f"{'/'.join(frame.filename.split('/')[-2:])}:{frame.lineno}" for frame in frames)
