"""The only list of streams, durables and rights on NATS, and the job that applies it to the server (DESIGN §7).

`python -m shared.bus` creates and updates everything and can be run at any time; services declare nothing.
Names of durables are permanent: the inbox of a service is keyed by them. A durable that is no longer listed is left alone.
"""

import asyncio
import time
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, replace
from typing import Any

import nats
import nats.errors
from nats.js import JetStreamContext, api
from nats.js.errors import APIError, NotFoundError, ServiceUnavailableError

from shared.contracts.base import EVENT_MAX_BYTES, Event
from shared.contracts.certificate import (
    CertificateClaimedV1,
    CertificateIssuedV1,
    CertificateKeyMadeV1,
    CertificateRevokedV1,
)
from shared.contracts.checkin import (
    CampaignDefinedV1,
    CheckinRecordedV1,
    FormsDefinedV1,
    LessonMadeGoodV1,
    LiveRoomActionsRecordedV1,
    ViewerEnrolledV1,
    ViewerReassignedV1,
)
from shared.contracts.notification import NotificationKeyMadeV1
from shared.contracts.reporting import LiaisonNamedV1, PersonChangedV1, SessionEndedV1
from shared.settings import EnvironmentSettings, NatsUrl

SERVICES = ("checkin", "reporting", "notification", "certificate")
# Each service comes after the services whose events it reads. Three kinds of events flow the other way: campaigns' keys, the
# state of certificates for viewers' pages, and sign-outs. So a backup of checkin may know of a claim that is not in the backup of
# certificate, which is taken before it.
PRODUCERS_FIRST = ("checkin", "certificate", "reporting", "notification")
CONSUMERS_FIRST = tuple(reversed(PRODUCERS_FIRST))

LIVE_SUBJECT = "live.events.v1"

DUPLICATE_WINDOW_S = 120  # spares consumers most repeats after a reconnect; their inbox catches the rest (DESIGN §4.3)
MESSAGE_MAX_BYTES = EVENT_MAX_BYTES + 8 * 1024  # with its headers


@dataclass(frozen=True)
class Stream:
    name: str
    subjects: tuple[str, ...]
    # Messages that this durable has handled are removed (shared/bus/emptying.py). None: they stay until they are too old.
    emptied_behind: str | None = None


@dataclass(frozen=True)
class Durable:
    """One handler of one service reads one event through one durable consumer; replicas of the service share it."""

    name: str
    reads: type[Event] | str  # str: the subject of what comes from outside
    service: str
    stream: str = "EVENTS"
    # Messages that a killed process was handling come back after this. A living one, however slow, says "in progress" (pull.py).
    ack_wait_s: float = 10
    # Messages waiting for their next attempt count too: a few hundred of them must not stop the others.
    max_ack_pending: int = 1000

    @property
    def subject(self) -> str:
        return self.reads if isinstance(self.reads, str) else self.reads.subject()


STREAMS = (
    Stream("EVENTS", ("events.>",)),
    # Messages of a live platform may name people, against the rules, and are in no ledger until checkin has committed them.
    Stream("LIVE", (LIVE_SUBJECT,), emptied_behind="checkin-live"),
)

DURABLES = (
    Durable("checkin-live", LIVE_SUBJECT, "checkin", stream="LIVE"),
    Durable("checkin-certificate-keys", CertificateKeyMadeV1, "checkin"),
    Durable("checkin-notification-keys", NotificationKeyMadeV1, "checkin"),
    Durable("checkin-certificates-claimed", CertificateClaimedV1, "checkin"),
    Durable("checkin-certificates-revoked", CertificateRevokedV1, "checkin"),
    Durable("checkin-persons", PersonChangedV1, "checkin"),
    Durable("checkin-ended-sessions", SessionEndedV1, "checkin"),
    Durable("reporting-definitions", CampaignDefinedV1, "reporting"),
    Durable("reporting-forms", FormsDefinedV1, "reporting"),
    Durable("reporting-totals", CheckinRecordedV1, "reporting"),
    Durable("reporting-make-goods", LessonMadeGoodV1, "reporting"),
    Durable("reporting-moves", ViewerReassignedV1, "reporting"),
    Durable("reporting-live-room", LiveRoomActionsRecordedV1, "reporting"),
    Durable("reporting-certificates-issued", CertificateIssuedV1, "reporting"),
    Durable("reporting-certificates-claimed", CertificateClaimedV1, "reporting"),
    Durable("reporting-certificates-revoked", CertificateRevokedV1, "reporting"),
    Durable("reporting-notification-keys", NotificationKeyMadeV1, "reporting"),
    Durable("certificate-definitions", CampaignDefinedV1, "certificate"),
    Durable("certificate-completions", CheckinRecordedV1, "certificate"),
    Durable("certificate-make-goods", LessonMadeGoodV1, "certificate"),
    Durable("certificate-contacts", ViewerEnrolledV1, "certificate"),
    Durable("certificate-notification-keys", NotificationKeyMadeV1, "certificate"),
    Durable("certificate-persons", PersonChangedV1, "certificate"),
    Durable("certificate-ended-sessions", SessionEndedV1, "certificate"),
    Durable("notification-definitions", CampaignDefinedV1, "notification"),
    Durable("notification-contacts", ViewerEnrolledV1, "notification"),
    Durable("notification-certificates-issued", CertificateIssuedV1, "notification"),
    Durable("notification-certificates-revoked", CertificateRevokedV1, "notification"),
    Durable("notification-liaisons", LiaisonNamedV1, "notification"),
    Durable("notification-persons", PersonChangedV1, "notification"),
    Durable("notification-ended-sessions", SessionEndedV1, "notification"),
)


def durable(name: str) -> Durable:
    """The durable of that name; raises `LookupError` when the topology has none."""
    for durable in DURABLES:
        if durable.name == name:
            return durable
    raise LookupError(f"no durable {name} in DURABLES of shared/bus/topology.py")


def empties(durable: Durable) -> bool:
    """Whether messages that this durable has handled are removed from its stream."""
    return any(stream.name == durable.stream and stream.emptied_behind == durable.name for stream in STREAMS)


# ---- who may do what -------------------------------------------------------------------------------------------------


NEXT = "$JS.API.CONSUMER.MSG.NEXT"
MANAGING = (
    "$JS.API.STREAM.CREATE.*",
    "$JS.API.STREAM.UPDATE.*",
    "$JS.API.STREAM.DELETE.*",
    "$JS.API.STREAM.INFO.*",
    *(f"$JS.API.STREAM.PURGE.{stream.name}" for stream in STREAMS if stream.emptied_behind),
    "$JS.API.CONSUMER.DURABLE.CREATE.*.*",
    "$JS.API.CONSUMER.DELETE.*.*",
    "$JS.API.CONSUMER.INFO.*.*",
)
# The streams' account. Before there were accounts they were in NATS's global one (deploy/nats/start.sh moves them).
BUS_ACCOUNT = "BUS"


@dataclass(frozen=True)
class Permissions:
    """What a NATS user may publish and subscribe to. deploy/nats/permissions.conf is rendered from this.

    `account`: the users that manage streams are in the streams' account. Every other user has an account of its own, which can
    reach only the subjects that the user may publish. In one common account, a user could name `events.checkin.…` as the reply
    subject of a request, and the server's answer became an event (docs/decisions/bus-accounts.md).
    """

    account: str
    publish: tuple[str, ...]
    subscribe: tuple[str, ...]


def inbox_prefix(user: str) -> str:
    """Answers to a user come under its own prefix, so that no user can read another's."""
    return f"_INBOX_{user}"


def consumer_subjects(durable: Durable) -> tuple[str, ...]:
    """Subjects that a reader of a durable uses: to ask for messages and their number, to answer them, to empty LIVE behind
    checkin."""
    path = f"{durable.stream}.{durable.name}"
    reading = (f"{NEXT}.{path}", f"$JS.API.CONSUMER.INFO.{path}", f"$JS.ACK.{path}.>")
    return (*reading, f"$JS.API.STREAM.PURGE.{durable.stream}") if empties(durable) else reading


def permissions() -> dict[str, Permissions]:
    """Permissions by user: the least that suffices."""
    publish: dict[str, tuple[str, ...]] = {service: (f"events.{service}.>",) for service in SERVICES}
    for durable in DURABLES:
        publish[durable.service] += consumer_subjects(durable)
    publish["live"] = (LIVE_SUBJECT,)
    guests = {user: _permissions(user, user.upper(), allowed) for user, allowed in publish.items()}
    # A person at the nats command line; no service has its password.
    operator = Permissions(BUS_ACCOUNT, (">",), (">",))
    return guests | {"topology": _permissions("topology", BUS_ACCOUNT, MANAGING), "operator": operator}


def _permissions(user: str, account: str, publish: tuple[str, ...]) -> Permissions:
    return Permissions(account, publish, (f"{inbox_prefix(user)}.>",))


# ---- the job ---------------------------------------------------------------------------------------------------------


class TopologySettings(EnvironmentSettings):
    nats_url: NatsUrl  # as user `topology`
    nats_wait_s: float = 60  # how long the server may take to come up
    # A whole course of a province, 112 million check-ins, is 10.6 GB. All streams must fit into max_file (nats.conf).
    nats_events_max_bytes: int = 12 * 1024**3
    nats_live_max_bytes: int = 512 * 1024**2
    # Full streams refuse (`discard: new`), so old campaigns must leave. The outbox keeps them: `fanzha outbox republish`.
    nats_max_age_days: int = 60
    nats_stream_replicas: int = 1


def stream_config(stream: Stream, settings: TopologySettings) -> api.StreamConfig:
    max_bytes = {"EVENTS": settings.nats_events_max_bytes, "LIVE": settings.nats_live_max_bytes}
    return api.StreamConfig(
        name=stream.name,
        subjects=list(stream.subjects),
        storage=api.StorageType.FILE,
        retention=api.RetentionPolicy.LIMITS,
        discard=api.DiscardPolicy.NEW,
        max_bytes=max_bytes[stream.name],
        max_msg_size=MESSAGE_MAX_BYTES,
        max_age=settings.nats_max_age_days * 86400,
        duplicate_window=DUPLICATE_WINDOW_S,
        num_replicas=settings.nats_stream_replicas,
    )


def consumer_config(durable: Durable) -> api.ConsumerConfig:
    return api.ConsumerConfig(
        durable_name=durable.name,
        filter_subject=durable.subject,
        deliver_policy=api.DeliverPolicy.ALL,
        ack_policy=api.AckPolicy.EXPLICIT,
        ack_wait=durable.ack_wait_s,
        max_deliver=-1,  # transient trouble is retried for ever (DESIGN §4.7)
        max_ack_pending=durable.max_ack_pending,
    )


async def apply(
    js: JetStreamContext, settings: TopologySettings, durables: tuple[Durable, ...] = DURABLES
) -> list[str]:
    """Make the server's streams and consumers what this module says. One line per stream and durable: what was done."""
    report = []
    for stream in STREAMS:
        wanted = stream_config(stream, settings)
        done = await _settle(wanted, _existing(js.stream_info, stream.name), _maker(js, stream), js.update_stream)
        report.append(f"stream {stream.name}: {done}")
    for durable in durables:
        config = consumer_config(durable)
        add = _adder(js, durable.stream)
        done = await _settle(config, _existing(js.consumer_info, durable.stream, durable.name), add, add)
        report.append(f"durable {durable.name} on {durable.subject}: {done}")
    return report


async def _settle(
    wanted: Any,
    existing: Awaitable[Any | None],
    create: Callable[..., Awaitable[Any]],
    update: Callable[..., Awaitable[Any]],
) -> str:
    actual = await existing
    if actual is None:
        await create(config=wanted)
        return "created"
    changes = {key: value for key, value in wanted.as_dict().items() if actual.as_dict().get(key) != value}
    if not changes:
        return "unchanged"
    await update(config=wanted)
    return f"updated ({', '.join(sorted(changes))})"


async def _existing(info: Callable[..., Awaitable[Any]], *names: str) -> Any | None:
    try:
        return (await info(*names)).config
    except NotFoundError:
        return None


def _maker(js: JetStreamContext, stream: Stream) -> Callable[..., Awaitable[Any]]:
    """Creates the stream. A stream that is emptied numbers its messages from the clock's microseconds on, above all numbers of an
    earlier stream of that name. So a late request to remove messages of the old stream removes none of the new one."""

    async def make(config: api.StreamConfig) -> Any:
        return await js.add_stream(
            replace(config, first_seq=time.time_ns() // 1000) if stream.emptied_behind else config
        )

    return make


def _adder(js: JetStreamContext, stream: str) -> Callable[..., Awaitable[Any]]:
    async def add(config: api.ConsumerConfig) -> Any:
        return await js.add_consumer(stream, config=config)

    return add


async def main(settings: TopologySettings) -> list[str]:
    """Apply the topology, waiting up to `nats_wait_s` for the server. A refusal by the server is raised at once."""
    deadline = time.monotonic() + settings.nats_wait_s
    while True:
        try:
            client = await nats.connect(
                settings.nats_url,
                name="topology",
                inbox_prefix=inbox_prefix("topology"),
                max_reconnect_attempts=1,
                reconnect_time_wait=1,
                error_cb=_keep_quiet,
            )
            try:
                return await apply(client.jetstream(timeout=5), settings)
            finally:
                await client.close()
        except APIError as error:
            if not isinstance(error, ServiceUnavailableError) or time.monotonic() > deadline:
                raise
        except (OSError, nats.errors.Error):
            if time.monotonic() > deadline:
                raise
        await asyncio.sleep(0.5)


async def _keep_quiet(error: Exception) -> None:
    """Ignores errors of single attempts, for which nats-py would print tracebacks; `main` raises the final error."""
