"""The handler of events: it reads one event through one durable and calls one use case in a transaction."""

from faststream.nats import NatsRouter

from services.notification.liaisons import usecases
from shared.bus import build_router
from shared.bus.consuming import consume
from shared.contracts.reporting import LiaisonNamedV1
from shared.database import Database, Transaction
from shared.people.campaign_keys import Recipient


def build_consumers(db: Database, recipient: Recipient) -> NatsRouter:
    router = build_router()

    @consume(router, db, LiaisonNamedV1, durable="notification-liaisons")
    async def keep_liaisons(tx: Transaction, event: LiaisonNamedV1) -> None:
        """Keeps names and phones of whom units named last."""
        await usecases.keep_contacts(tx, event, recipient)

    return router
