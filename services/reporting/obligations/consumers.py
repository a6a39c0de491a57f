"""The handlers of events: each reads one event through one durable and calls one use case in a transaction."""

from faststream.nats import NatsRouter

from services.reporting.obligations import usecases
from services.reporting.obligations.usecases import Known
from shared.bus import build_router
from shared.bus.consuming import consume
from shared.contracts.checkin import FormsDefinedV1
from shared.database import Database, Transaction


def build_consumers(db: Database, known: Known) -> NatsRouter:
    router = build_router()

    @consume(router, db, FormsDefinedV1, durable="reporting-forms")
    async def keep_forms(tx: Transaction, event: FormsDefinedV1) -> None:
        await usecases.keep_forms(tx, known, event)

    return router
