"""The handlers of events: each reads one event through one durable and calls one use case in a transaction."""

from collections.abc import Sequence

from faststream.nats import NatsRouter

from services.certificate import contacts, usecases
from services.certificate.keys import Keys
from shared.bus import build_router
from shared.bus.consuming import consume, consume_together
from shared.contracts.campaign import CampaignRules
from shared.contracts.checkin import CampaignDefinedV1, CheckinRecordedV1, LessonMadeGoodV1, ViewerEnrolledV1
from shared.contracts.notification import NotificationKeyMadeV1
from shared.database import Database, Transaction
from shared.definitions import Definitions
from shared.people import campaign_keys

COMPLETIONS_IN_FLIGHT = 16  # many at once, because they share transactions


def build_consumers(db: Database, definitions: Definitions[CampaignRules], keys: Keys) -> NatsRouter:
    router = build_router()

    @consume(router, db, CampaignDefinedV1, durable="certificate-definitions")
    async def keep_definition(tx: Transaction, event: CampaignDefinedV1) -> None:
        """Keeps claim time, title and issuer, and makes the campaign's key."""
        await usecases.keep_definition(tx, event, definitions, keys)

    @consume_together(
        router,
        db,
        CheckinRecordedV1,
        durable="certificate-completions",
        max_in_flight=COMPLETIONS_IN_FLIGHT,
        concerns=lambda event: any(event.credited_lessons),
    )
    async def keep_completions(tx: Transaction, events: Sequence[CheckinRecordedV1]) -> None:
        """Keeps who reached the required days."""
        await usecases.keep_completions(tx, events)

    @consume(router, db, LessonMadeGoodV1, durable="certificate-make-goods")
    async def keep_made_good(tx: Transaction, event: LessonMadeGoodV1) -> None:
        """Keeps who reached the required days because the office made a lesson good."""
        await usecases.keep_completions(tx, [event])

    @consume(router, db, ViewerEnrolledV1, durable="certificate-contacts", max_in_flight=2)
    async def keep_contacts(tx: Transaction, event: ViewerEnrolledV1) -> None:
        """Keeps names and phone tails."""
        await contacts.keep_contacts(tx, event, keys)

    @consume(router, db, NotificationKeyMadeV1, durable="certificate-notification-keys")
    async def keep_notification_key(tx: Transaction, event: NotificationKeyMadeV1) -> None:
        """Keeps notification's key for a campaign, to which claim codes are sealed."""
        await campaign_keys.learn(tx, event)

    return router
