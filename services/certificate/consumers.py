"""The doorways: one event, one durable, one transaction (or a share in one), one call."""

from faststream.nats import NatsRouter

from services.certificate import usecases
from services.certificate.usecases import Keys
from shared import campaign_keys
from shared.bus import build_router, subscribe
from shared.contracts.checkin import CampaignDefinedV1, CheckinRecordedV1, LessonMadeGoodV1, ViewerEnrolledV1
from shared.contracts.notification import NotificationKeyMadeV1
from shared.db import Database
from shared.inbox import ApplyTogether, apply_once

DEFINITIONS = "certificate-definitions"
COMPLETIONS = "certificate-completions"
MAKE_GOODS = "certificate-make-goods"
CONTACTS = "certificate-contacts"
NOTIFICATION_KEYS = "certificate-notification-keys"

COMPLETIONS_IN_FLIGHT = 16  # they share transactions, one at a time


def build_consumers(db: Database, keys: Keys) -> NatsRouter:
    router = build_router()

    @subscribe(router, CampaignDefinedV1, durable=DEFINITIONS, max_in_flight=1)
    async def keep_definition(event: CampaignDefinedV1) -> None:
        """Claim time, title and issuer. The campaign gets its key."""
        async with apply_once(db, DEFINITIONS, event) as tx:
            if tx:
                await usecases.keep_definition(tx, event, keys)

    completions = ApplyTogether(db, COMPLETIONS, usecases.keep_completions)

    @subscribe(router, CheckinRecordedV1, durable=COMPLETIONS, max_in_flight=COMPLETIONS_IN_FLIGHT)
    async def keep_completions(event: CheckinRecordedV1) -> None:
        """Who reached the required days."""
        if any(event.credited_lessons):  # else nobody did: nothing to remember, and nothing to remember having seen
            await completions(event)

    @subscribe(router, LessonMadeGoodV1, durable=MAKE_GOODS, max_in_flight=1)
    async def keep_made_good(event: LessonMadeGoodV1) -> None:
        """Who reached them because the office made a lesson good."""
        async with apply_once(db, MAKE_GOODS, event) as tx:
            if tx:
                await usecases.keep_completions(tx, [event])

    @subscribe(router, ViewerEnrolledV1, durable=CONTACTS, max_in_flight=2)
    async def keep_contacts(event: ViewerEnrolledV1) -> None:
        """Names and phone tails."""
        async with apply_once(db, CONTACTS, event) as tx:
            if tx:
                await usecases.keep_contacts(tx, event, keys)

    @subscribe(router, NotificationKeyMadeV1, durable=NOTIFICATION_KEYS, max_in_flight=1)
    async def keep_notification_key(event: NotificationKeyMadeV1) -> None:
        """What a campaign's claim codes are sealed to for notification."""
        async with apply_once(db, NOTIFICATION_KEYS, event) as tx:
            if tx:
                await campaign_keys.learn(tx, event)

    return router
