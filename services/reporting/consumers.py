"""The doorways: one event, one durable, one transaction (or a share in one), one call."""

from faststream.nats import NatsRouter

from services.reporting import domain, store, usecases
from shared.bus import build_router, subscribe
from shared.contracts.certificate import CertificateClaimedV1, CertificateIssuedV1, CertificateRevokedV1
from shared.contracts.checkin import (
    CampaignDefinedV1,
    CheckinRecordedV1,
    LessonMadeGoodV1,
    LiveRoomActionsRecordedV1,
    ViewerReassignedV1,
)
from shared.db import Database
from shared.inbox import ApplyTogether, apply_once

# They share transactions, one at a time: an evening's events all add to the same few hundred rows.
TOTALS_IN_FLIGHT = 16


def build_consumers(db: Database) -> NatsRouter:
    router = build_router()

    @subscribe(router, CampaignDefinedV1, durable="reporting-definitions", max_in_flight=1)
    async def define_campaign(event: CampaignDefinedV1) -> None:
        async with apply_once(db, "reporting-definitions", event) as tx:
            if tx:
                await usecases.define_campaign(tx, event)

    checkins = ApplyTogether(db, "reporting-totals", usecases.add_checkins)

    @subscribe(router, CheckinRecordedV1, durable="reporting-totals", max_in_flight=TOTALS_IN_FLIGHT)
    async def add_checkins(event: CheckinRecordedV1) -> None:
        await checkins(event)

    @subscribe(router, LessonMadeGoodV1, durable="reporting-make-goods", max_in_flight=1)
    async def add_made_good(event: LessonMadeGoodV1) -> None:
        async with apply_once(db, "reporting-make-goods", event) as tx:
            if tx:
                await store.add_to_totals(tx, event.campaign_id, domain.made_good_changes(event))

    @subscribe(router, ViewerReassignedV1, durable="reporting-moves", max_in_flight=1)
    async def move_viewers(event: ViewerReassignedV1) -> None:
        async with apply_once(db, "reporting-moves", event) as tx:
            if tx:
                await usecases.move_viewers(tx, event)

    @subscribe(router, LiveRoomActionsRecordedV1, durable="reporting-live-room", max_in_flight=1)
    async def add_live_room_actions(event: LiveRoomActionsRecordedV1) -> None:
        async with apply_once(db, "reporting-live-room", event) as tx:
            if tx:
                await store.add_to_live_room(tx, event.campaign_id, domain.live_room_changes(event))

    @subscribe(router, CertificateIssuedV1, durable="reporting-certificates-issued", max_in_flight=1)
    async def issue_certificates(event: CertificateIssuedV1) -> None:
        async with apply_once(db, "reporting-certificates-issued", event) as tx:
            if tx:
                await usecases.issue_certificates(tx, event)

    @subscribe(router, CertificateClaimedV1, durable="reporting-certificates-claimed", max_in_flight=1)
    async def claim_certificates(event: CertificateClaimedV1) -> None:
        async with apply_once(db, "reporting-certificates-claimed", event) as tx:
            if tx:
                await usecases.claim_certificates(tx, event)

    @subscribe(router, CertificateRevokedV1, durable="reporting-certificates-revoked", max_in_flight=1)
    async def revoke_certificates(event: CertificateRevokedV1) -> None:
        async with apply_once(db, "reporting-certificates-revoked", event) as tx:
            if tx:
                await usecases.revoke_certificates(tx, event)

    return router
