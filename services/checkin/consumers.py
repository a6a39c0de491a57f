"""Handlers of the live platform's events from the bus (the webhook's JSON, without contact data), of keys to seal contacts to,
and of what becomes of certificates."""

import msgspec
import structlog
from faststream.nats import NatsRouter

from services.checkin import certificates
from services.checkin.committer import Committer
from services.checkin.live_events import BodyRefused, Item, read_body
from services.checkin.sorting import Arrival
from shared.bus import build_router, subscribe_raw
from shared.bus.consuming import consume
from shared.clock import Clock
from shared.contracts.certificate import CertificateClaimedV1, CertificateKeyMadeV1, CertificateRevokedV1
from shared.contracts.notification import NotificationKeyMadeV1
from shared.database import Database, Transaction
from shared.failures import Poison
from shared.people import campaign_keys

log = structlog.get_logger()

BUS = "bus"  # the source of what comes over NATS


def build_consumers(db: Database, committer: Committer, clock: Clock) -> NatsRouter:
    router = build_router()

    @subscribe_raw(router, durable="checkin-live", payload_type=list[dict[str, object]])
    async def record_live_events(body: bytes) -> None:
        """One event or an array of up to 1000, as in `POST /v1/live/events`. Natural keys make repeats harmless."""
        try:
            items = read_body(body)
        except BodyRefused as error:
            raise Poison(str(error)) from error  # parked; what comes from outside never brakes (shared/bus/brake.py)
        now = clock.now()
        await committer.submit([Arrival(_without_contact(item), BUS, now) for item in items])

    @consume(router, db, CertificateKeyMadeV1, durable="checkin-certificate-keys")
    async def keep_certificate_key(tx: Transaction, event: CertificateKeyMadeV1) -> None:
        """Keeps certificate's key for a campaign, to which contacts are sealed."""
        await campaign_keys.learn(tx, event)

    @consume(router, db, NotificationKeyMadeV1, durable="checkin-notification-keys")
    async def keep_notification_key(tx: Transaction, event: NotificationKeyMadeV1) -> None:
        """Keeps notification's key for a campaign, to which contacts are sealed."""
        await campaign_keys.learn(tx, event)

    @consume(router, db, CertificateClaimedV1, durable="checkin-certificates-claimed")
    async def keep_claimed(tx: Transaction, event: CertificateClaimedV1) -> None:
        """Keeps that a certificate was claimed, for the viewer's own page."""
        await certificates.keep_claimed(tx, event)

    @consume(router, db, CertificateRevokedV1, durable="checkin-certificates-revoked")
    async def keep_revoked(tx: Transaction, event: CertificateRevokedV1) -> None:
        """Keeps that a certificate was revoked, and which one replaced it, for the viewer's own page."""
        await certificates.keep_revoked(tx, event)

    return router


def _without_contact(item: Item) -> Item:
    """Drops name and phone, which do not belong on the bus, where a sender put them there nevertheless."""
    if item.event is None or not (item.event.name or item.event.phone):
        return item
    log.warning("contact data on the bus ignored", event_id=item.event_id)
    return msgspec.structs.replace(item, event=msgspec.structs.replace(item.event, name=None, phone=None))
