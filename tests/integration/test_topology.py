"""The topology job and the permissions, on a real server."""

import asyncio
import re
import signal
from collections import Counter
from collections.abc import AsyncIterator
from dataclasses import replace
from pathlib import Path

import nats
import nats.errors
import pytest
from nats.js import JetStreamContext, api

from deploy.nats.permissions import render
from devstack.nats import CONFIG, NatsServer
from devstack.ports import free_port
from shared.bus import topology
from shared.bus.topology import DURABLES, LIVE_SUBJECT, PRODUCERS_FIRST, SERVICES, Durable, permissions
from shared.contracts.base import CampaignKeyMade
from shared.contracts.registry import EVENTS
from shared.contracts.reporting import PersonChangedV1, SessionEndedV1
from tests.support.nats_support import RunningNats, eventually, topology_settings
from tests.support.servers import RunningServer

PERMISSIONS_CONF = Path(__file__).parents[2] / "deploy" / "nats" / "permissions.conf"


@pytest.fixture(scope="module")
async def server(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[RunningNats]:
    server = RunningNats(tmp_path_factory.mktemp("nats"))
    await server.start()
    yield server
    await server.stop()


# ---- the data --------------------------------------------------------------------------------------------------------


def test_every_durable_reads_an_event_that_has_a_contract() -> None:
    for durable in DURABLES:
        assert durable.reads in EVENTS or durable.reads == LIVE_SUBJECT, durable


def test_durables_are_named_after_their_service_and_only_once() -> None:
    assert all(durable.name.startswith(f"{durable.service}-") for durable in DURABLES)
    assert len({durable.name for durable in DURABLES}) == len(DURABLES)


def test_no_service_reads_a_subject_twice() -> None:
    assert len({(durable.service, durable.subject) for durable in DURABLES}) == len(DURABLES)


def test_the_order_of_producers_is_that_of_the_events() -> None:
    """Backups, restores and erasures rely on it. But for campaigns' keys, what viewers' own pages say of certificates, and
    who of the office is signed out."""
    other_way = {"checkin-certificates-claimed", "checkin-certificates-revoked"}
    signed_out = (PersonChangedV1, SessionEndedV1)
    assert sorted(PRODUCERS_FIRST) == sorted(SERVICES)
    for durable in DURABLES:
        if durable.name in other_way or isinstance(durable.reads, str):
            continue
        if not issubclass(durable.reads, (CampaignKeyMade, *signed_out)):
            assert PRODUCERS_FIRST.index(durable.reads.OWNER) < PRODUCERS_FIRST.index(durable.service), durable.name


def test_the_servers_permissions_are_the_topologys() -> None:
    assert PERMISSIONS_CONF.read_text() == render(), "python -m deploy.nats.permissions > deploy/nats/permissions.conf"


# ---- the job ---------------------------------------------------------------------------------------------------------


async def test_the_job_waits_for_the_server_creates_everything_and_then_changes_nothing(tmp_path: Path) -> None:
    server = RunningNats(tmp_path)
    job = asyncio.create_task(topology.main(topology_settings(server)))
    await asyncio.sleep(2.5)  # nats.connect itself gives up after a second
    assert not job.done()
    await server.start()
    try:
        assert {line.rsplit(": ")[-1] for line in await job} == {"created"}
        again = await topology.main(topology_settings(server))
        assert len(again) == 2 + len(DURABLES)
        assert {line.rsplit(": ")[-1] for line in again} == {"unchanged"}
    finally:
        await server.stop()


async def test_the_job_updates_what_differs(server: RunningNats) -> None:
    await server.apply_topology()
    changed = tuple(replace(durable, max_ack_pending=77) for durable in DURABLES)
    async with server.client("topology") as client:
        settings = topology_settings(server, nats_live_max_bytes=1024**2)
        report = await topology.apply(client.jetstream(), settings, changed)
        info = await client.jetstream().consumer_info("EVENTS", "reporting-totals")
    assert "stream LIVE: updated (max_bytes)" in report
    assert all("updated (max_ack_pending)" in line for line in report if line.startswith("durable"))
    assert info.config.max_ack_pending == 77


async def test_streams_and_durables_are_what_the_design_says(server: RunningNats) -> None:
    await server.apply_topology()
    async with server.client("topology") as client:
        js = client.jetstream()
        for stream in ("EVENTS", "LIVE"):
            config = (await js.stream_info(stream)).config
            assert (config.storage, config.retention, config.discard) == (
                api.StorageType.FILE,
                api.RetentionPolicy.LIMITS,
                api.DiscardPolicy.NEW,
            )
            assert config.max_bytes
            assert config.max_bytes > 0
        for durable in DURABLES:
            consumer = (await js.consumer_info(durable.stream, durable.name)).config
            assert (consumer.filter_subject, consumer.max_deliver, consumer.ack_policy, consumer.deliver_policy) == (
                durable.subject,
                -1,
                api.AckPolicy.EXPLICIT,
                api.DeliverPolicy.ALL,
            )
            assert consumer.deliver_subject is None, "a pull consumer"


async def test_a_refusal_ends_the_job_at_once(server: RunningNats) -> None:
    settings = topology_settings(server, nats_events_max_bytes=10**15)  # more than max_file
    await server.apply_topology()
    with pytest.raises(nats.errors.Error, match="storage"):
        await asyncio.wait_for(topology.main(settings), 10)


async def test_streams_from_before_there_were_accounts_are_found_with_all_that_was_read(tmp_path: Path) -> None:
    server = RunningNats(tmp_path)
    config = tmp_path / "before.conf"
    config.write_text(CONFIG.read_text().replace("include ./permissions.conf", ""))
    old = NatsServer(server.server.data, free_port(), free_port(), {}, config)
    before = RunningServer(old, old.environment(), tmp_path / "before.log", signal.SIGTERM)
    await before.start()
    client = await nats.connect(f"nats://127.0.0.1:{old.port}")
    js = client.jetstream()
    await topology.apply(js, topology_settings(server))
    for n in range(3):
        await js.publish(LIVE_SUBJECT, b"%d" % n)
    reader = await js.pull_subscribe_bind("checkin-live", "LIVE")
    await (await reader.fetch(1))[0].ack_sync()
    seen = (await js.stream_info("LIVE")).state
    await client.close()
    await before.stop()
    await server.start()
    try:
        assert {line.rsplit(": ")[-1] for line in await server.apply_topology()} == {"unchanged"}
        async with server.client("topology") as keeper:
            js = keeper.jetstream()
            state, reader = (await js.stream_info("LIVE")).state, await js.consumer_info("LIVE", "checkin-live")
        assert (state.messages, state.last_seq) == (3, seen.last_seq)
        assert (reader.num_pending, reader.ack_floor.stream_seq) == (2, seen.first_seq)
    finally:
        await server.stop()


# ---- the permissions -------------------------------------------------------------------------------------------------


async def _refused(server: RunningNats, user: str, subjects: list[str]) -> set[str]:
    """Which of these subjects the server refuses this user to publish."""
    refused: set[str] = set()
    end = "forbidden.to.all"  # refusals come in order: after this one, no more

    async def note(error: Exception) -> None:
        refused.update(subject for subject in [*subjects, end] if f'to "{subject.lower()}"' in str(error).lower())

    async with server.client(user, error_cb=note) as client:
        for subject in [*subjects, end]:
            await client.publish(subject, b"{}")
        await eventually(lambda: end in refused)
    return refused - {end}


def _concrete(subject: str) -> str:
    return subject.replace(">", "x").replace("*", "x")


def _covers(pattern: str, subject: str) -> bool:
    return re.fullmatch(re.escape(pattern).replace(r"\*", r"[^.]+").replace(">", ".+"), subject) is not None


OWN_ACCOUNT = [*SERVICES, "live"]
LIMITED = {user: allowed for user, allowed in permissions().items() if user != "operator"}  # who may do everything


@pytest.mark.parametrize("user", sorted(LIMITED))
async def test_a_user_may_publish_its_own_subjects_and_no_other(server: RunningNats, user: str) -> None:
    await server.apply_topology()
    # What would change something is asked with names that do not exist, and read requests go nowhere without a reply.
    everything = {_concrete(subject) for allowed in LIMITED.values() for subject in allowed.publish}
    everything |= {"$JS.API.STREAM.MSG.GET.EVENTS", "$JS.API.STREAM.PURGE.EVENTS", "$JS.API.STREAM.NAMES", "anything"}
    may_publish = {
        subject for subject in everything if any(_covers(pattern, subject) for pattern in permissions()[user].publish)
    }
    assert await _refused(server, user, sorted(everything)) == everything - may_publish


@pytest.mark.parametrize("user", sorted(LIMITED))
async def test_a_user_may_read_its_own_inbox_and_nothing_else(server: RunningNats, user: str) -> None:
    others = [f"_INBOX_{other}.>" for other in permissions() if other != user]
    refused = []

    async def note(error: Exception) -> None:
        refused.append(str(error))

    async with server.client(user, error_cb=note) as client:
        await client.subscribe(f"_INBOX_{user}.>")
        forbidden = [*others, "events.>", "live.>", "$JS.>", ">", "_INBOX.>"]
        for subject in forbidden:
            await client.subscribe(subject)
        await eventually(lambda: len(refused) == len(forbidden), what=f"{refused}")
        assert not any(f"_INBOX_{user}." in error for error in refused)


@pytest.mark.parametrize("user", OWN_ACCOUNT)
async def test_what_the_server_answers_a_user_becomes_nobodys_message(server: RunningNats, user: str) -> None:
    """The asker names the subject of the answer, and the server asks nobody's permission to publish there."""
    await server.apply_topology()
    others = [f"events.{service}.made_up.v1" for service in SERVICES if service != user] + [LIVE_SUBJECT] * (
        user != "live"
    )
    allowed = permissions()[user].publish
    topics = {_concrete(subject) for subject in allowed if not subject.startswith("$")}
    async with server.client("operator", inbox_prefix="_INBOX") as operator, server.client(user) as client:
        js = operator.jetstream()
        for stream in topology.STREAMS:
            await js.purge_stream(stream.name)
        for durable in (durable for durable in DURABLES if durable.service == user):
            await js.publish(durable.subject, b"{}")  # what a pull request can be answered with
        expected = await _stored(js) + Counter({subject: len(others) for subject in topics})
        for subject in allowed:
            for other in others:
                await client.publish(_concrete(subject), b'{"batch": 9, "no_wait": true, "seq": 1}', reply=other)

        async def all_there() -> bool:
            return await _stored(js) >= expected

        await eventually(all_there)
        await asyncio.sleep(0.3)  # time enough for answers to be stored
        assert await _stored(js) == expected


async def _stored(js: JetStreamContext) -> Counter[str]:
    """Messages in the streams by subject."""
    states = [(await js.stream_info(stream.name, subjects_filter=">")).state for stream in topology.STREAMS]
    return Counter({subject: number for state in states for subject, number in (state.subjects or {}).items()})


@pytest.mark.parametrize("user", OWN_ACCOUNT)
async def test_who_publishes_is_told_that_it_is_stored(server: RunningNats, user: str) -> None:
    await server.apply_topology()
    subject = _concrete(permissions()[user].publish[0])
    async with server.client(user) as client:
        assert (await client.jetstream().publish(subject, b"{}")).stream == ("LIVE" if user == "live" else "EVENTS")


EMPTIES = {"checkin": {"$JS.API.STREAM.PURGE.LIVE"}}


@pytest.mark.parametrize("durable", DURABLES, ids=lambda durable: durable.name)
async def test_a_service_is_told_how_many_messages_wait(server: RunningNats, durable: Durable) -> None:
    await server.apply_topology()
    async with server.client(durable.service) as client:
        assert (await client.jetstream().consumer_info(durable.stream, durable.name)).name == durable.name


def test_every_service_may_read_its_durables_and_no_others() -> None:
    for service in SERVICES:
        readable = {subject for durable in DURABLES if durable.service == service for subject in _subjects(durable)}
        allowed = set(permissions()[service].publish)
        assert allowed == readable | {f"events.{service}.>"} | EMPTIES.get(service, set())


def _subjects(durable: Durable) -> set[str]:
    path = f"{durable.stream}.{durable.name}"
    return {f"$JS.API.CONSUMER.MSG.NEXT.{path}", f"$JS.API.CONSUMER.INFO.{path}", f"$JS.ACK.{path}.>"}


async def test_an_operator_may_do_everything(server: RunningNats) -> None:
    await server.apply_topology()
    async with server.client("operator", inbox_prefix="_INBOX") as client:
        jetstream = client.jetstream()
        await jetstream.publish("live.events.v1", b"{}")
        assert await jetstream.purge_stream("LIVE")
        assert (await jetstream.stream_info("LIVE")).state.messages == 0
