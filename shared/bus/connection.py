"""The bus: FastStream on NATS JetStream, with its traps closed (STACK, "FastStream on NATS").

A service registers handlers on a router and gives the router to its `Bus`:

    router = build_router()

    @subscribe(router, CheckinRecordedV1, durable="reporting-totals")
    async def add_to_totals(event: CheckinRecordedV1) -> None: ...

    bus = Bus(url, "reporting", routers=[router])

FastStream holds the handlers, calls them through its middlewares and describes them (AsyncAPI 3). Our own code stands between the
handler and the server: shared/bus/pull.py gets messages, shared/bus/subscribing.py answers them.
"""

import asyncio
import os
import signal
from collections.abc import Callable, Iterable, Sequence
from contextlib import suppress
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any
from urllib.parse import urlsplit
from uuid import UUID

import nats.errors
import structlog
from faststream import AckPolicy
from faststream.nats import NatsBroker, NatsRouter
from faststream.specification import AsyncAPI
from nats.js import JetStreamContext, api
from nats.js.errors import APIError
from prometheus_client import CollectorRegistry

from shared.bus import topology
from shared.bus.brake import Parking
from shared.bus.emptying import empty_behind
from shared.bus.metrics import BusMetrics
from shared.bus.pull import PullTimes
from shared.bus.subscribing import BusContext, DurableSubscriber, build_router, subscribe, subscribe_raw
from shared.contracts.base import Event
from shared.failures import ParkedMessage, Poison

__all__ = [
    "Bus",
    "BusState",
    "DurableState",
    "NotConnected",
    "ParkedMessage",
    "Poison",
    "asyncapi_document",
    "build_router",
    "subscribe",
    "subscribe_raw",
]

log = structlog.get_logger()

PUBLISH_TIMEOUT_S = 5  # FastStream's default is 0.5; an fsync on a busy disk takes longer
STOP_GRACE_S = 5  # what open handlers get to finish
LAG_EVERY_S = 5
SPECIFICATION_URL = "nats://nats:4222"  # in AsyncAPI documents: the same wherever they are generated


class NotConnected(Exception):
    """NATS is away; nothing was sent."""


@dataclass(frozen=True)
class DurableState:
    healthy: bool
    reason: str | None  # why not
    held: bool  # the consumer stands at a message that it cannot understand
    in_flight: int


@dataclass(frozen=True)
class BusState:
    connected: bool
    durables: dict[str, DurableState]


def end_process() -> None:
    """The connection is closed for good (such as by revoked credentials): stop in order, the supervisor starts us again."""
    os.kill(os.getpid(), signal.SIGTERM)


class Bus:
    """One service's connection to NATS: publishes its events, runs its consumers, knows how they are."""

    def __init__(
        self,
        url: str,
        name: str,
        *,
        routers: Sequence[NatsRouter] = (),
        times: PullTimes = PullTimes(),
        publish_timeout_s: float = PUBLISH_TIMEOUT_S,
        stop_grace_s: float = STOP_GRACE_S,
        lag_every_s: float = LAG_EVERY_S,
        on_closed: Callable[[], None] = end_process,
    ) -> None:
        self.metrics = BusMetrics(before_scrape=self._measure)
        self._context = BusContext(self.metrics, times, stop_grace_s)
        self._publish_timeout_s = publish_timeout_s
        self._lag_every_s = lag_every_s
        self._on_closed = on_closed
        self._stopping = False
        self._watching: asyncio.Task[None] | None = None
        self._broker = NatsBroker(
            url,
            name=name,
            inbox_prefix=topology.inbox_prefix(urlsplit(url).username or name),
            max_reconnect_attempts=-1,  # the default gives up after two minutes, for good
            reconnect_time_wait=1,
            connect_timeout=5,
            ping_interval=10,
            max_outstanding_pings=2,
            disconnected_cb=self._on_disconnected,
            reconnected_cb=self._on_reconnected,
            closed_cb=self._on_connection_closed,
            graceful_timeout=1,  # the pull loop has already waited
            ack_policy=AckPolicy.MANUAL,
            routers=routers,
            specification_url=SPECIFICATION_URL,
            logger=None,  # two lines for every message, and error texts
        )
        # FastStream wraps an error_cb so that some errors raise inside nats-py's reconnection task, which then is dead.
        self._broker._connection_kwargs["error_cb"] = self._on_error
        self._subscribers = {
            subscriber.durable.name: subscriber
            for subscriber in self._broker.subscribers
            if isinstance(subscriber, DurableSubscriber)
        }
        for subscriber in self._subscribers.values():
            subscriber.attach(self._context)
            name = subscriber.durable.name
            self.metrics.naks.labels(name)  # 0 before the first: alert ConsumerStuck must see it grow

    @property
    def broker(self) -> NatsBroker:
        return self._broker

    @property
    def connected(self) -> bool:
        return self._context.up.is_set()

    def on_park(self, parking: Parking) -> None:
        """`parking` stores messages that no retry can fix."""
        self._context.parking = parking

    def register_metrics(self, registry: CollectorRegistry) -> None:
        registry.register(self.metrics)

    def declares(self, *events: type[Event]) -> None:
        """Names what this service publishes, for the AsyncAPI document."""
        for event in events:
            self._broker.publisher(event.subject(), schema=event, title=event.__name__, description=event.__doc__)

    async def start(self) -> None:
        """Connects, for as long as it takes, and starts the consumers. Run it as a task: a service starts without NATS."""
        await self._broker.connect()
        self._context.up.set()
        log.info("connected to NATS")
        try:
            await self._broker.start()
        except Exception:
            log.exception("consumers did not start")  # readiness stays red: "not started"
            raise
        self._watching = asyncio.create_task(self._watch_lag())

    async def stop(self) -> None:
        """Finishes open messages or gives them back, so that none waits for ack_wait; then closes the connection."""
        self._stopping = True
        if self._watching:
            self._watching.cancel()
        if not self._context.up.is_set() and not self._broker.running:
            return  # never connected: whoever runs start() cancels it
        try:
            async with asyncio.timeout(self._context.stop_grace_s + 10):
                await self._broker.stop()
        except (nats.errors.Error, OSError, TimeoutError):  # NATS is away: the connection cannot be closed in order
            with suppress(nats.errors.Error, OSError):
                await self._broker.config.connection_state.connection.close()
        self._context.up.clear()

    async def publish(self, subject: str, payload: bytes, *, event_id: UUID, occurred_at_ms: int) -> None:
        """Returns when JetStream has stored the event; raises otherwise. A repeat within two minutes is stored once."""
        if not self.connected:
            raise NotConnected
        try:
            with self.metrics.publish_duration.time():
                await self._broker.publish(
                    payload,
                    subject,
                    headers=_cloud_event(subject, event_id, occurred_at_ms),
                    stream="EVENTS",
                    timeout=self._publish_timeout_s,
                    correlation_id=str(event_id),
                )
        except Exception:
            self.metrics.publish_failures.inc()
            raise

    async def handle(self, durable: str, body: bytes) -> None:
        """Runs a durable's handler on a body outside of a delivery; raises what it raises."""
        await self._subscribers[durable].handle(body)

    def state(self) -> BusState:
        """The state as this process knows it, without asking the server."""
        durables = {
            name: DurableState(
                healthy=subscriber.loop.trouble is None and subscriber.brake.held is None,
                reason=subscriber.loop.trouble or subscriber.brake.held,
                held=subscriber.brake.held is not None,
                in_flight=subscriber.loop.in_flight,
            )
            for name, subscriber in self._subscribers.items()
        }
        return BusState(self.connected, durables)

    async def pending(self) -> dict[str, int]:
        """Messages each durable has not finished: waiting, being handled, or waiting for a retry. Raises if NATS is away."""
        counts = {name: await self._consumer_info(name) for name in self._subscribers}
        return {name: (info.num_pending or 0) + (info.num_ack_pending or 0) for name, info in counts.items()}

    async def _consumer_info(self, name: str) -> api.ConsumerInfo:
        if not self.connected:
            raise NotConnected
        info: api.ConsumerInfo = await self._jetstream().consumer_info(
            self._subscribers[name].durable.stream, name, timeout=self._publish_timeout_s
        )
        return info

    def _jetstream(self) -> JetStreamContext:
        jetstream: JetStreamContext = self._broker.config.connection_state.stream
        return jetstream

    # ---- watching ----------------------------------------------------------------------------------------------------

    def _measure(self) -> None:
        state = self.state()
        self.metrics.connected.set(state.connected)
        for name, durable in state.durables.items():
            self.metrics.pull_healthy.labels(name).set(durable.healthy or durable.held)
            self.metrics.held.labels(name).set(durable.held)
            self.metrics.in_flight.labels(name).set(durable.in_flight)

    async def _watch_lag(self) -> None:
        """Lag is read here and not at scrape time, where nothing can be awaited. Unknown is left out, never 0."""
        while True:
            for name in self._subscribers:
                try:
                    info = await self._consumer_info(name)
                except Exception:
                    for gauge in (self.metrics.pending, self.metrics.ack_pending):
                        with suppress(KeyError):
                            gauge.remove(name)
                else:
                    self.metrics.pending.labels(name).set(info.num_pending or 0)
                    self.metrics.ack_pending.labels(name).set(info.num_ack_pending or 0)
                    await self._empty_behind(name, info)
            await asyncio.sleep(self._lag_every_s)

    async def _empty_behind(self, name: str, info: api.ConsumerInfo) -> None:
        try:
            await empty_behind(self._jetstream(), self._subscribers[name].durable, info)
        except (nats.errors.Error, APIError) as error:
            log.warning("handled messages stay in their stream for now", durable=name, error=repr(error))

    async def _on_error(self, error: Exception) -> None:
        if "permissions violation" in str(error).lower():
            self.metrics.permission_denials.inc()
            log.error("NATS denied a permission", error=str(error))
        elif not self._stopping:
            away = isinstance(error, OSError) and not self.connected  # one every second, and logged already
            (log.debug if away else log.warning)("NATS connection error", error=repr(error))

    async def _on_disconnected(self) -> None:
        self._context.up.clear()
        for subscriber in self._subscribers.values():
            subscriber.loop.connection_lost()
        if not self._stopping:
            log.warning("disconnected from NATS; trying again for ever")

    async def _on_reconnected(self) -> None:
        self._context.up.set()
        log.info("connected to NATS again")

    async def _on_connection_closed(self) -> None:
        if not self._stopping:
            log.critical("NATS closed the connection for good; the process ends")
            self._on_closed()


def _cloud_event(subject: str, event_id: UUID, occurred_at_ms: int) -> dict[str, str]:
    """The CloudEvents attributes as headers, and the id by which JetStream knows a repeat (DESIGN §6)."""
    ce_type = subject.removeprefix("events.")
    return {
        "Nats-Msg-Id": str(event_id),
        "ce-id": str(event_id),
        "ce-type": ce_type,
        "ce-source": f"/services/{ce_type.split('.')[0]}",
        "ce-time": datetime.fromtimestamp(occurred_at_ms / 1000, UTC).isoformat(timespec="milliseconds"),
        "ce-specversion": "1.0",
        "content-type": "application/json",
    }


def asyncapi_document(bus: Bus, title: str, version: str) -> dict[str, Any]:
    """The AsyncAPI 3 document of a service, in a stable order. It is committed and served as a file: FastStream's own route
    would add an unauthenticated POST that publishes to any subject."""
    document: dict[str, Any] = AsyncAPI(bus.broker, title=title, version=version).to_specification().to_jsonable()
    sections: Iterable[dict[str, Any]] = (document, document["components"])
    for section in sections:
        for key, value in section.items():
            if isinstance(value, dict) and key != "info":
                section[key] = dict(sorted(value.items()))
    return document
