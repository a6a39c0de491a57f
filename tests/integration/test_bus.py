"""The bus on a real nats-server: each trap of FastStream and nats-py has a test here (STACK, "FastStream on NATS")."""

import asyncio
import itertools
import signal
import threading
import time
from collections import Counter
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass, field, replace
from functools import partial
from pathlib import Path
from typing import ClassVar

import nats.errors
import pytest
from faststream.nats import NatsRouter
from nats.js.errors import NotFoundError
from pydantic import BaseModel

from shared.bus import (
    Bus,
    NotConnected,
    Poison,
    asyncapi_document,
    build_router,
    subscribe,
    subscribe_raw,
    topology,
)
from shared.bus.pull import PullTimes
from shared.bus.subscribing import retry_delay_s
from shared.bus.topology import DURABLES, Durable
from shared.contracts.base import Event
from shared.ids import new_event_id
from tests.support.nats_support import RunningNats, eventually
from tests.support.parking import Parking

FAST = PullTimes(expires_s=2, heartbeat_s=0.5, retry_min_s=0.05, retry_max_s=0.4)
OCCURRED_AT = "2024-06-29T19:31:05+08:00"
OCCURRED_AT_MS = 1_719_660_665_000

NOTED = topology.durable("reporting-certificates-claimed")
OTHER = topology.durable("reporting-certificates-issued")
NEVER = 600.0  # an ack_wait no test waits for


class Noted(Event):
    """A contract of the tests, on a subject that the durable `NOTED` reads."""

    OWNER: ClassVar[str] = "certificate"
    FACT: ClassVar[str] = "certificate_claimed"
    n: int


class Other(Event):
    """Another, on the durable `OTHER`."""

    OWNER: ClassVar[str] = "certificate"
    FACT: ClassVar[str] = "certificate_issued"
    n: int


def noted(n: int, kind: type[Noted] | type[Other] = Noted) -> Noted | Other:
    return kind.model_validate({"event_id": new_event_id(), "occurred_at": OCCURRED_AT, "campaign_id": "c", "n": n})


# ---- a service, and a world for it -----------------------------------------------------------------------------------


@dataclass
class Handled:
    """What a handler was called with; `before` is what it does first."""

    calls: list[int] = field(default_factory=list)
    done: list[int] = field(default_factory=list)
    times: list[float] = field(default_factory=list)
    before: Callable[[int], Awaitable[None]] | None = None

    async def __call__(self, event: Noted | Other) -> None:
        self.calls.append(event.n)
        self.times.append(time.monotonic())
        if self.before:
            await self.before(event.n)
        self.done.append(event.n)


class World:
    def __init__(self, server: RunningNats) -> None:
        self.server = server
        self._buses: list[tuple[Bus, asyncio.Task[None]]] = []

    async def fresh(self, **changes: float) -> None:
        """Empty streams, with every durable; `changes` apply to the test's two durables."""
        async with self.server.client("topology") as client:
            for stream in topology.STREAMS:
                with suppress(NotFoundError):
                    await client.jetstream().delete_stream(stream.name)
        mine = {durable.name: replace(durable, **changes) for durable in (NOTED, OTHER)}  # type: ignore[arg-type]
        await self.server.apply_topology(tuple(mine.get(durable.name, durable) for durable in DURABLES))

    async def bus(
        self,
        handler: Handled | None = None,
        *,
        user: str = "reporting",
        park: Parking | None = None,
        other: Handled | None = None,
        durable: Durable = NOTED,
        wait: bool = True,
        **options: object,
    ) -> Bus:
        router = build_router()
        if handler:
            subscribe(router, Noted, durable=durable)(_function(handler))
        if other:
            subscribe(router, Other, durable=OTHER)(_function(other))
        return await self.start(
            Bus(self.server.url(user), user, routers=[router], **({"times": FAST} | options)),  # type: ignore[arg-type]
            park,
            wait=wait,
        )

    async def start(self, bus: Bus, park: Parking | None = None, *, wait: bool = True) -> Bus:
        bus.on_park(park or Parking())
        self._buses.append((bus, asyncio.create_task(bus.start())))
        if wait:
            await eventually(lambda: healthy(bus), what=f"{bus.state()}")
        return bus

    async def publish(self, *events: Event) -> None:
        async with self.server.client("certificate") as client:
            for event in events:
                await client.jetstream().publish(event.subject(), event.model_dump_json().encode())

    async def publish_raw(self, *bodies: bytes, headers: dict[str, str] | None = None) -> None:
        async with self.server.client("certificate") as client:
            for body in bodies:
                await client.jetstream().publish(Noted.subject(), body, headers=headers)

    async def drained(self, bus: Bus, within_s: float = 15) -> None:
        async def empty() -> bool:
            return not any((await bus.pending()).values())

        await eventually(empty, within_s=within_s, what="consumers empty")

    async def close(self) -> None:
        for bus, starting in self._buses:
            await bus.stop()
            starting.cancel()


def _function(handler: Handled) -> Callable[[Noted | Other], Awaitable[None]]:
    async def handle(event: Noted | Other) -> None:
        await handler(event)

    handle.__annotations__["event"] = Event  # FastStream passes what the decoder made
    return handle


def _handled(handler: Handled, count: int) -> bool:
    return handler.done == list(range(count))


def _longer_than(done: list[int], length: int) -> bool:
    return len(done) > length


def healthy(bus: Bus) -> bool:
    state = bus.state()
    return state.connected and all(durable.healthy for durable in state.durables.values())


def sample(bus: Bus, name: str, **labels: str) -> float:
    """A value of the bus's metrics."""
    return sum(
        s.value
        for m in bus.metrics.collect()
        for s in m.samples
        if s.name == name and labels.items() <= s.labels.items()
    )


@pytest.fixture(scope="module")
async def server(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[RunningNats]:
    server = RunningNats(tmp_path_factory.mktemp("nats"))
    await server.start()
    yield server
    await server.stop()


@pytest.fixture
async def world(server: RunningNats) -> AsyncIterator[World]:
    world = World(server)
    await world.fresh()
    yield world
    await world.close()


@asynccontextmanager
async def own_world(folder: Path) -> AsyncIterator[World]:
    """A world whose server may be stopped."""
    server = RunningNats(folder)
    await server.start()
    world = World(server)
    try:
        await world.fresh()
        yield world
    finally:
        await world.close()
        await server.stop()


# ---- the ordinary way ------------------------------------------------------------------------------------------------


async def test_an_event_is_handled_and_finished(world: World) -> None:
    handler = Handled()
    bus = await world.bus(handler)
    await world.publish(*(noted(n) for n in range(20)))
    await eventually(lambda: sorted(handler.done) == list(range(20)), what=f"{handler.done}")
    await world.drained(bus)
    assert sample(bus, "fanzha_bus_handler_duration_seconds_count", durable=NOTED.name) == 20


async def test_a_single_message_does_not_wait_for_others(world: World) -> None:
    """Requests are open for an hour here: a batch window would never end."""
    handler = Handled()
    await world.bus(handler, times=replace(FAST, expires_s=3600, heartbeat_s=1))
    for n in range(5):
        await world.publish(noted(n))
        await eventually(partial(_handled, handler, n + 1), within_s=5)


async def test_publish_carries_the_cloud_event_and_a_repeat_is_stored_once(world: World) -> None:
    bus = await world.bus(user="certificate")
    event = noted(1)
    for _ in range(2):
        payload = event.model_dump_json().encode()
        await bus.publish(event.subject(), payload, event_id=event.event_id, occurred_at_ms=OCCURRED_AT_MS)
    async with world.server.client("topology") as client:
        assert (await client.jetstream().stream_info("EVENTS")).state.messages == 1
    async with world.server.client("reporting") as client:
        inbox = await client.subscribe("_INBOX_reporting.raw")
        await client.publish(f"$JS.API.CONSUMER.MSG.NEXT.EVENTS.{NOTED.name}", b"", reply="_INBOX_reporting.raw")
        message = await inbox.next_msg(5)
    assert message.headers is not None
    assert {key: value for key, value in message.headers.items() if key.startswith(("ce-", "content", "Nats-Msg"))} == {
        "Nats-Msg-Id": str(event.event_id),
        "ce-id": str(event.event_id),
        "ce-type": "certificate.certificate_claimed.v1",
        "ce-source": "/services/certificate",
        "ce-time": "2024-06-29T11:31:05.000+00:00",
        "ce-specversion": "1.0",
        "content-type": "application/json",
    }


async def test_several_messages_are_in_flight_and_no_more_than_allowed(world: World) -> None:
    release = asyncio.Event()
    handler = Handled(before=lambda _: _wait(release))
    bus = await world.bus(handler)
    await world.publish(*(noted(n) for n in range(9)))
    await eventually(lambda: len(handler.calls) == 4)
    await asyncio.sleep(0.3)  # time enough for a fifth to come
    assert len(handler.calls) == 4
    assert bus.state().durables[NOTED.name].in_flight == 4
    release.set()
    await eventually(lambda: len(handler.done) == 9)
    await world.drained(bus)


async def _wait(event: asyncio.Event) -> None:
    await event.wait()


async def test_two_replicas_share_a_durable(world: World) -> None:
    async def take_a_moment(_: int) -> None:
        await asyncio.sleep(0.01)

    one, two = Handled(before=take_a_moment), Handled(before=take_a_moment)
    bus = await world.bus(one)
    await world.bus(two)
    await world.publish(*(noted(n) for n in range(100)))
    await eventually(lambda: len(one.done) + len(two.done) == 100)
    await world.drained(bus)
    assert sorted(one.done + two.done) == list(range(100))
    assert one.done
    assert two.done


async def test_raw_messages_of_the_live_platform(world: World) -> None:
    bodies = []
    router = build_router()

    @subscribe_raw(router, durable="checkin-live")
    async def take(body: bytes) -> None:
        bodies.append(body)

    bus = await world.start(Bus(world.server.url("checkin"), "checkin", routers=[router], times=FAST))
    sent = [b'[{"event_id": "e-1"}]', b"\xff not json", b"[" * 2000]
    async with world.server.client("live") as client:
        for body in sent:
            await client.jetstream().publish(topology.LIVE_SUBJECT, body)
    await eventually(lambda: sorted(bodies) == sorted(sent))
    await world.drained(bus)


async def test_headers_of_a_message_can_neither_look_like_a_status_nor_ask_for_an_answer(world: World) -> None:
    handler = Handled()
    bus = await world.bus(handler)
    body = noted(7).model_dump_json().encode()
    await world.publish_raw(
        body, headers={"Status": "409", "Description": "Consumer Deleted", "reply_to": "forbidden.to.us"}
    )
    await eventually(lambda: handler.done == [7])
    await world.drained(bus)
    assert healthy(bus)
    assert sample(bus, "fanzha_bus_permission_denials_total") == 0


# ---- failures of handlers --------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("attempt", "delay_s"),
    [*enumerate((0.2, 0.4, 0.8, 1.6, 3.2, 6.4, 12.8, 25.6, 30, 30), start=1), (2000, 30)],
)
def test_the_delay_doubles_to_a_limit_and_spreads_by_a_fifth(attempt: int, delay_s: float) -> None:
    delays = [retry_delay_s(attempt) / delay_s for _ in range(500)]
    assert 0.8 - 1e-9 <= min(delays) < 0.82
    assert 1.18 < max(delays) <= 1.2 + 1e-9


async def test_a_transient_failure_is_retried_later_and_later_until_it_is_over(world: World) -> None:
    handler = Handled()

    async def fail_three_times(n: int) -> None:
        if n == 1 and handler.calls.count(1) <= 3:
            raise ConnectionError("database away")

    handler.before = fail_three_times
    bus = await world.bus(handler)
    naks = [s.value for m in bus.metrics.collect() for s in m.samples if s.name == "fanzha_bus_naks_total"]
    assert naks == [0], "must be seen growing"
    await world.publish(noted(1), noted(2))
    await eventually(lambda: sorted(handler.done) == [1, 2])
    await world.drained(bus)
    assert Counter(handler.calls) == {1: 4, 2: 1}, "no hot loop"
    times = [at for n, at in zip(handler.calls, handler.times, strict=True) if n == 1]
    gaps = [later - earlier for earlier, later in itertools.pairwise(times)]
    assert all(gap > shortest for gap, shortest in zip(gaps, (0.15, 0.31, 0.63), strict=True)), gaps
    assert sample(bus, "fanzha_bus_naks_total", durable=NOTED.name) == 3
    assert sample(bus, "fanzha_bus_redelivered_total", durable=NOTED.name) == 3


async def test_many_failing_messages_do_not_stop_the_others(world: World) -> None:
    async def fail_below_200(n: int) -> None:
        if n < 200:
            raise ConnectionError

    handler = Handled(before=fail_below_200)
    await world.bus(handler)
    await world.publish(*(noted(n) for n in range(210)))
    await eventually(lambda: sorted(handler.done) == list(range(200, 210)))


async def test_poison_is_parked_then_given_up_and_the_others_go_on(world: World) -> None:
    async def refuse_2(n: int) -> None:
        if n == 2:
            raise Poison("template missing")

    handler, parking = Handled(before=refuse_2), Parking()
    bus = await world.bus(handler, park=parking)
    events = [noted(n) for n in range(5)]
    await world.publish(*events)
    await eventually(lambda: sorted(handler.done) == [0, 1, 3, 4] and parking.parked)
    await world.drained(bus)
    assert handler.calls.count(2) == 1
    [message] = parking.parked
    assert (message.durable, message.subject, message.stream_seq) == (NOTED.name, Noted.subject(), 3)
    assert (message.event_id, message.event, message.reason) == (events[2].event_id, events[2], "template missing")
    assert sample(bus, "fanzha_bus_poison_total", durable=NOTED.name) == 1


async def test_poison_that_cannot_be_parked_is_not_given_up(world: World) -> None:
    async def refuse(_: int) -> None:
        raise Poison("template missing")

    handler, parking = Handled(before=refuse), Parking(failures=2)
    bus = await world.bus(handler, park=parking)
    await world.publish(noted(1))
    await eventually(lambda: len(parking.parked) == 1)
    await world.drained(bus)
    assert handler.calls == [1, 1, 1]


async def test_a_body_that_is_not_the_event_is_parked_without_its_values_and_its_neighbours_are_handled(
    world: World,
) -> None:
    handler, parking = Handled(), Parking()
    bus = await world.bus(handler, park=parking)
    good = [noted(n).model_dump_json().encode() for n in range(6)]
    bad = [
        b"",
        b"not json 13800138000",
        b"\xff\xfe",
        b"[" * 5000,
        b'{"event_id": "x", "phone": "13800138000", "n": "13800138000x"}',
    ]
    mixed = [body for pair in zip(good, bad, strict=False) for body in pair] + good[len(bad) :]
    await world.publish_raw(*mixed)
    await eventually(lambda: len(handler.done) == 6 and len(parking.parked) == len(bad), what=f"{parking.parked}")
    await world.drained(bus)
    assert sorted(handler.calls) == list(range(6))
    assert sorted(message.body for message in parking.parked) == sorted(bad)
    for message in parking.parked:
        assert message.reason.startswith("not a Noted: ")
        assert "13800138000" not in message.reason
        assert message.event is None
        assert message.event_id is None


async def test_a_parked_body_can_be_handled_again(world: World) -> None:
    handler = Handled()
    bus = await world.bus(handler)
    await bus.handle(NOTED.name, noted(9).model_dump_json().encode())
    assert handler.done == [9]
    with pytest.raises(Poison):
        await bus.handle(NOTED.name, b"{}")


async def test_a_handler_slower_than_ack_wait_is_not_called_twice(world: World) -> None:
    await world.fresh(ack_wait_s=1)

    async def take_long(_: int) -> None:
        await asyncio.sleep(3)

    handler = Handled(before=take_long)
    bus = await world.bus(handler, durable=replace(NOTED, ack_wait_s=1))
    await world.publish(noted(1))
    await eventually(lambda: handler.done == [1])
    await world.drained(bus)
    assert handler.calls == [1]


# ---- the ack policy --------------------------------------------------------------------------------------------------


async def test_nothing_but_the_bus_answers_a_message(world: World) -> None:
    """A broker's ack policy does not reach a router; FastStream's default would TERM what failed."""
    bus = await world.bus(Handled(), other=Handled())
    assert [str(subscriber.ack_policy) for subscriber in bus.broker.subscribers] == ["AckPolicy.MANUAL"] * 2


def test_a_stock_router_is_refused() -> None:
    with pytest.raises(ValueError, match="build_router"):
        subscribe(NatsRouter(), Noted, durable=NOTED)(_function(Handled()))


def test_a_durable_that_delivers_something_else_is_refused() -> None:
    with pytest.raises(ValueError, match="delivers"):
        subscribe(build_router(), Noted, durable="reporting-totals")
    with pytest.raises(LookupError, match="no durable reporting-unknown in DURABLES"):
        subscribe(build_router(), Noted, durable="reporting-unknown")


# ---- the server changes, goes, comes ---------------------------------------------------------------------------------


async def test_a_deleted_consumer_is_reported_not_hammered_and_recovers(world: World) -> None:
    handler, other = Handled(), Handled()
    bus = await world.bus(handler, other=other)
    async with world.server.client("topology") as client:
        await client.jetstream().delete_consumer("EVENTS", NOTED.name)
    await eventually(lambda: "does not exist" in (bus.state().durables[NOTED.name].reason or ""))
    assert bus.state().durables[OTHER.name].healthy
    assert sample(bus, "fanzha_bus_pull_healthy", durable=NOTED.name) == 0
    stats = bus.broker.connection.stats
    before = stats["out_msgs"]
    await asyncio.sleep(2)
    assert stats["out_msgs"] - before < 20, "requests in 2 s with pauses up to 0.4 s"
    await world.publish(noted(1), noted(2, Other))
    await eventually(lambda: other.done == [2])
    await world.server.apply_topology()
    await eventually(lambda: handler.done == [1] and healthy(bus))


async def test_deleted_streams_come_back_empty_and_the_bus_goes_on(world: World) -> None:
    handler = Handled()
    bus = await world.bus(handler)
    publisher = await world.bus(user="certificate", publish_timeout_s=1)
    async with world.server.client("topology") as client:
        await client.jetstream().delete_stream("EVENTS")
    await eventually(lambda: not healthy(bus))
    with pytest.raises(nats.errors.Error):
        await publisher.publish(Noted.subject(), b"{}", event_id=new_event_id(), occurred_at_ms=0)
    await world.server.apply_topology()
    await world.publish(noted(1))
    await eventually(lambda: handler.done == [1] and healthy(bus))


async def test_silence_is_noticed(world: World) -> None:
    """A server that takes requests and never answers: here because it denies them (certificate may not read this durable)."""
    bus = await world.bus(Handled(), user="certificate", wait=False)
    await eventually(lambda: bus.state().durables[NOTED.name].reason == "no answer to pull requests")
    assert sample(bus, "fanzha_bus_permission_denials_total") >= 1


async def test_a_denied_publish_raises_and_is_counted(world: World) -> None:
    bus = await world.bus(user="reporting", publish_timeout_s=0.5)
    with pytest.raises(nats.errors.TimeoutError):
        await bus.publish("events.checkin.checkin_recorded.v1", b"{}", event_id=new_event_id(), occurred_at_ms=0)
    assert sample(bus, "fanzha_bus_permission_denials_total") == 1
    assert sample(bus, "fanzha_bus_publish_failures_total") == 1
    async with world.server.client("topology") as client:
        assert (await client.jetstream().stream_info("EVENTS")).state.messages == 0


async def test_a_publish_waits_for_a_slow_server(tmp_path: Path) -> None:
    async with own_world(tmp_path) as world:
        bus = await world.bus(user="certificate")
        world.server.send(signal.SIGSTOP)
        publishing = asyncio.create_task(
            bus.publish(Noted.subject(), b"{}", event_id=new_event_id(), occurred_at_ms=OCCURRED_AT_MS)
        )
        await asyncio.sleep(1)  # FastStream gives up after 0.5 s
        world.server.send(signal.SIGCONT)
        await publishing


async def test_a_full_stream_refuses_at_once_and_recovers(world: World) -> None:
    bus = await world.bus(user="certificate")

    async def limit(max_bytes: int) -> None:
        async with world.server.client("topology") as client:
            config = (await client.jetstream().stream_info("EVENTS")).config
            await client.jetstream().update_stream(config=config, max_bytes=max_bytes)

    async def publish() -> None:
        await bus.publish(Noted.subject(), b"x" * 1000, event_id=new_event_id(), occurred_at_ms=0)

    await publish()
    await limit(500)
    with pytest.raises(nats.errors.Error, match="maximum bytes exceeded"):
        await publish()
    await limit(10**6)
    await publish()


async def _outage(folder: Path, *, seconds: float, how: signal.Signals = signal.SIGTERM) -> None:
    async with own_world(folder) as world:
        handler, ticks = Handled(), 0
        # Requests stay open for an hour: the loop must know by itself that the server has forgotten them.
        patient = replace(FAST, expires_s=3600, heartbeat_s=1000)
        bus = await world.bus(handler, other=Handled(), times=patient)
        publisher = await world.bus(user="certificate")
        await world.publish(noted(1))
        await eventually(lambda: handler.done == [1])
        await world.server.stop(how)
        await eventually(lambda: not bus.connected and not publisher.connected)
        deadline = time.monotonic() + seconds
        while time.monotonic() < deadline:
            await asyncio.sleep(0.05)
            ticks += 1
        assert ticks > seconds * 5, "the event loop was alive"
        with pytest.raises(NotConnected):
            await publisher.publish(Noted.subject(), b"{}", event_id=new_event_id(), occurred_at_ms=0)
        await world.server.start()
        await eventually(lambda: healthy(bus) and publisher.connected, within_s=30, what=f"{bus.state()}")
        event = noted(2)
        await publisher.publish(
            event.subject(), event.model_dump_json().encode(), event_id=event.event_id, occurred_at_ms=0
        )
        await eventually(lambda: handler.done[-1] == 2)
        await world.drained(bus)


async def test_nats_goes_away_and_comes_back(tmp_path: Path) -> None:
    await _outage(tmp_path, seconds=2)


@pytest.mark.long
@pytest.mark.timeout(300)
async def test_nats_goes_away_for_longer_than_two_minutes(tmp_path: Path) -> None:
    """nats-py's default gives up after 60 attempts, closes for good, and FastStream's loop then freezes the process."""
    await _outage(tmp_path, seconds=150, how=signal.SIGKILL)


async def test_a_service_starts_before_nats(tmp_path: Path) -> None:
    world = World(RunningNats(tmp_path))
    handler = Handled()
    bus = await world.bus(handler, wait=False)
    await asyncio.sleep(0.5)
    assert not bus.connected
    await world.server.start()
    try:
        await eventually(lambda: "does not exist" in (bus.state().durables[NOTED.name].reason or ""))
        await world.server.apply_topology()
        await world.publish(noted(1))
        await eventually(lambda: handler.done == [1] and healthy(bus))
    finally:
        await world.close()
        await world.server.stop()


async def test_a_bus_that_never_connected_stops(tmp_path: Path) -> None:
    world = World(RunningNats(tmp_path))
    await world.bus(Handled(), wait=False)
    await asyncio.wait_for(world.close(), 5)


async def test_a_bus_stops_while_nats_is_away(tmp_path: Path) -> None:
    async with own_world(tmp_path) as world:
        bus = await world.bus(Handled())
        await world.server.stop()
        await eventually(lambda: not bus.connected)
        await asyncio.wait_for(bus.stop(), 10)


async def test_the_server_is_killed_in_the_middle_of_work_and_nothing_is_lost(tmp_path: Path) -> None:
    async with own_world(tmp_path) as world:
        await world.fresh(ack_wait_s=1)

        async def take_a_moment(_: int) -> None:
            await asyncio.sleep(0.02)

        handler = Handled(before=take_a_moment)
        bus = await world.bus(handler, durable=replace(NOTED, ack_wait_s=1))
        await world.publish(*(noted(n) for n in range(200)))
        await eventually(lambda: len(handler.done) > 50)
        await world.server.kill()
        await world.server.start()
        await eventually(lambda: set(handler.done) == set(range(200)), within_s=30)
        await world.drained(bus)


async def test_a_refused_login_while_reconnecting_is_tried_again(tmp_path: Path) -> None:
    """FastStream's error callback raises on it inside nats-py's reconnection task, which then never tries again."""
    async with own_world(tmp_path) as world:
        bus = await world.bus(Handled())
        await world.server.stop()
        await eventually(lambda: not bus.connected)
        await world.server.start(NATS_REPORTING_PASSWORD="changed")
        await asyncio.sleep(3)  # several attempts
        assert not bus.connected
        await world.server.stop()
        await world.server.start()
        await eventually(lambda: healthy(bus))


async def test_a_connection_closed_for_good_ends_the_process(world: World) -> None:
    ended = asyncio.Event()
    bus = await world.bus(Handled(), on_closed=ended.set)
    await bus.broker.connection.close()  # as nats-py does on a protocol error
    await asyncio.wait_for(ended.wait(), 5)
    assert not bus.connected


# ---- stopping --------------------------------------------------------------------------------------------------------


async def test_stop_gives_back_what_is_open_and_nothing_waits_for_ack_wait(world: World) -> None:
    await world.fresh(ack_wait_s=NEVER)
    stuck = Handled(before=lambda _: _wait(asyncio.Event()))
    first = await world.bus(stuck, stop_grace_s=0.2)
    await world.publish(*(noted(n) for n in range(12)))
    await eventually(lambda: len(stuck.calls) == 4)
    await first.stop()
    second = Handled()
    bus = await world.bus(second)
    await eventually(lambda: sorted(second.done) == list(range(12)), what=f"{second.done}")
    await world.drained(bus)


async def test_stop_lets_open_handlers_finish(world: World) -> None:
    await world.fresh(ack_wait_s=NEVER)

    async def take_a_moment(_: int) -> None:
        await asyncio.sleep(0.3)

    first, second = Handled(before=take_a_moment), Handled()
    stopping = await world.bus(first)
    await world.publish(*(noted(n) for n in range(8)))
    await eventually(lambda: len(first.calls) == 4)
    await stopping.stop()
    assert sorted(first.done) == [0, 1, 2, 3]
    bus = await world.bus(second)
    await eventually(lambda: sorted(second.done) == [4, 5, 6, 7])
    await world.drained(bus)


async def test_a_message_that_arrives_while_stopping_is_given_back(world: World) -> None:
    await world.fresh(ack_wait_s=NEVER)
    first, second = Handled(), Handled()
    stopping = await world.bus(first)

    async def asked() -> bool:
        async with world.server.client("topology") as client:
            return bool((await client.jetstream().consumer_info("EVENTS", NOTED.name)).num_waiting)

    await eventually(asked, what="a pull request waits at the server")
    publishing = threading.Thread(target=lambda: asyncio.run(world.publish(noted(1), noted(2))))
    publishing.start()
    publishing.join()  # blocks this event loop on purpose: the messages come, and lie unread in the bus's socket
    time.sleep(0.2)  # noqa: ASYNC251
    await stopping.stop()
    assert first.calls == [], "the messages were read after stop() had begun"
    bus = await world.bus(second)
    await eventually(lambda: sorted(second.done) == [1, 2])
    await world.drained(bus)


async def test_rolling_restarts_under_traffic_lose_nothing_and_wait_for_nothing(world: World) -> None:
    await world.fresh(ack_wait_s=NEVER)
    done: list[int] = []

    async def take_a_moment(n: int) -> None:
        await asyncio.sleep(0.002)
        done.append(n)

    publishing = asyncio.create_task(world.publish(*(noted(n) for n in range(600))))
    for _ in range(6):
        bus = await world.bus(Handled(before=take_a_moment))
        await eventually(partial(_longer_than, done, min(599, len(done) + 59)))
        await bus.stop()
    await publishing
    last = await world.bus(Handled(before=take_a_moment))
    await eventually(lambda: set(done) == set(range(600)), what="all 600 are handled", within_s=30)
    await world.drained(last)


async def test_what_a_killed_process_had_open_comes_back(world: World) -> None:
    await world.fresh(ack_wait_s=1)
    stuck = Handled(before=lambda _: _wait(asyncio.Event()))
    killed = await world.bus(stuck, on_closed=lambda: None, durable=replace(NOTED, ack_wait_s=30))
    await world.publish(noted(1))
    await eventually(lambda: stuck.calls == [1])
    await killed.broker.connection.close()  # a kill, as the server sees it
    handler = Handled()
    bus = await world.bus(handler)
    await eventually(lambda: handler.done == [1])
    await world.drained(bus)
    assert sample(bus, "fanzha_bus_redelivered_total", durable=NOTED.name) == 1


# ---- documents and metrics -------------------------------------------------------------------------------------------


async def test_lag_is_a_metric_and_left_out_when_unknown(world: World) -> None:
    release = asyncio.Event()
    bus = await world.bus(Handled(before=lambda _: _wait(release)), lag_every_s=0.1)
    await world.publish(*(noted(n) for n in range(10)))
    await eventually(
        lambda: (
            sample(bus, "fanzha_bus_consumer_pending", durable=NOTED.name) == 6
            and sample(bus, "fanzha_bus_consumer_ack_pending", durable=NOTED.name) == 4
        )
    )
    assert (await bus.pending()) == {NOTED.name: 10}
    async with world.server.client("topology") as client:
        await client.jetstream().delete_consumer("EVENTS", NOTED.name)
    await eventually(
        lambda: "fanzha_bus_consumer_pending" not in {s.name for m in bus.metrics.collect() for s in m.samples}
    )
    release.set()


class LiveEvent(BaseModel):
    event_id: str


def test_the_asyncapi_document_names_what_is_read_and_published() -> None:
    def build() -> Bus:
        router = build_router()

        @subscribe(router, Noted, durable=NOTED)
        async def count_claims(event: Noted) -> None:
            """Counts claims."""

        @subscribe_raw(router, durable="checkin-live", payload_type=list[LiveEvent])
        async def take_live_events(body: bytes) -> None:
            """Takes what the live platform sends."""

        bus = Bus("nats://reporting:secret@127.0.0.1:1", "reporting", routers=[router])
        bus.declares(Other)
        return bus

    document = asyncapi_document(build(), "Reporting", "1")
    assert document == asyncapi_document(build(), "Reporting", "1")
    assert list(document["channels"]) == sorted(document["channels"])
    assert document["asyncapi"].startswith("3.")
    actions = {
        document["channels"][operation["channel"]["$ref"].rsplit("/", 1)[1]]["address"]: operation["action"]
        for operation in document["operations"].values()
    }
    assert actions == {Noted.subject(): "receive", Other.subject(): "send", topology.LIVE_SUBJECT: "receive"}
    assert {"Noted", "Other", "LiveEvent"} <= set(document["components"]["schemas"])
    assert "secret" not in str(document)
