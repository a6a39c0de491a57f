"""The handlers of events: each reads one event through one durable and calls one use case in a transaction."""

from collections.abc import Awaitable, Callable, Sequence
from datetime import datetime

from faststream.nats import NatsRouter

from services.reporting.definition import Definition
from services.reporting.totals import domain, store, usecases
from shared.bus import build_router
from shared.bus.consuming import consume, consume_together
from shared.contracts.certificate import CertificateClaimedV1, CertificateIssuedV1, CertificateRevokedV1
from shared.contracts.checkin import (
    CampaignDefinedV1,
    CheckinRecordedV1,
    LessonMadeGoodV1,
    LiveRoomActionsRecordedV1,
    ViewerReassignedV1,
)
from shared.database import Database, Transaction
from shared.definitions import Definitions

BeforeRedefinition = Callable[[Transaction, str, datetime], Awaitable[object]]
"""Takes the campaign and the time of its new definition."""

# Many at once, because they share transactions: all events of an evening add to the same few hundred rows.
TOTALS_IN_FLIGHT = 16


def build_consumers(
    db: Database, known: Definitions[Definition], before_redefinition: BeforeRedefinition
) -> NatsRouter:
    """`before_redefinition`: what must still happen under the definition in force, at the time of the new one."""
    router = build_router()

    @consume(router, db, CampaignDefinedV1, durable="reporting-definitions")
    async def define_campaign(tx: Transaction, event: CampaignDefinedV1) -> None:
        await before_redefinition(tx, event.campaign_id, event.occurred_at)
        await known.keep(tx, event)

    @consume_together(router, db, CheckinRecordedV1, durable="reporting-totals", max_in_flight=TOTALS_IN_FLIGHT)
    async def add_checkins(tx: Transaction, events: Sequence[CheckinRecordedV1]) -> None:
        await usecases.add_checkins(tx, events)

    @consume(router, db, LessonMadeGoodV1, durable="reporting-make-goods")
    async def add_made_good(tx: Transaction, event: LessonMadeGoodV1) -> None:
        await store.add_to_totals(tx, event.campaign_id, domain.made_good_changes(event))

    @consume(router, db, ViewerReassignedV1, durable="reporting-moves")
    async def move_viewers(tx: Transaction, event: ViewerReassignedV1) -> None:
        await usecases.move_viewers(tx, event)

    @consume(router, db, LiveRoomActionsRecordedV1, durable="reporting-live-room")
    async def add_live_room_actions(tx: Transaction, event: LiveRoomActionsRecordedV1) -> None:
        await store.add_to_live_room(tx, event.campaign_id, domain.live_room_changes(event))

    @consume(router, db, CertificateIssuedV1, durable="reporting-certificates-issued")
    async def issue_certificates(tx: Transaction, event: CertificateIssuedV1) -> None:
        await usecases.issue_certificates(tx, event)

    @consume(router, db, CertificateClaimedV1, durable="reporting-certificates-claimed")
    async def claim_certificates(tx: Transaction, event: CertificateClaimedV1) -> None:
        await usecases.claim_certificates(tx, event)

    @consume(router, db, CertificateRevokedV1, durable="reporting-certificates-revoked")
    async def revoke_certificates(tx: Transaction, event: CertificateRevokedV1) -> None:
        await usecases.revoke_certificates(tx, event)

    return router
