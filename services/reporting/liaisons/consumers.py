"""The handler of events: it reads one event through one durable and keeps what it says."""

from faststream.nats import NatsRouter

from shared.bus import build_router
from shared.bus.consuming import consume
from shared.contracts.notification import NotificationKeyMadeV1
from shared.database import Database, Transaction
from shared.people import campaign_keys


def build_consumers(db: Database) -> NatsRouter:
    router = build_router()

    @consume(router, db, NotificationKeyMadeV1, durable="reporting-notification-keys")
    async def keep_notification_key(tx: Transaction, event: NotificationKeyMadeV1) -> None:
        """Keeps notification's key for a campaign, to which names and phones of liaisons are sealed."""
        await campaign_keys.learn(tx, event)

    return router
