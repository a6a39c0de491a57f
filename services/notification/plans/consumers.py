"""The handlers of events: each reads one event through one durable and calls one use case in a transaction."""

from faststream.nats import NatsRouter

from services.notification.plans import usecases
from services.notification.plans.certificates import usecases as certificates
from services.notification.plans.secrets import Secrets
from shared.bus import build_router
from shared.bus.consuming import consume
from shared.contracts.certificate import CertificateIssuedV1, CertificateRevokedV1
from shared.contracts.checkin import CampaignDefinedV1, ViewerEnrolledV1
from shared.database import Database, Transaction
from shared.definitions import Definitions, InForce

IN_FLIGHT = 4


def build_consumers(db: Database, definitions: Definitions[InForce], secrets: Secrets) -> NatsRouter:
    router = build_router()

    @consume(router, db, CampaignDefinedV1, durable="notification-definitions")
    async def keep_definition(tx: Transaction, event: CampaignDefinedV1) -> None:
        """Keeps the campaign's message rules, and makes the campaign's key."""
        await usecases.keep_definition(tx, event, definitions, secrets)

    @consume(router, db, ViewerEnrolledV1, durable="notification-contacts", max_in_flight=IN_FLIGHT)
    async def keep_contacts(tx: Transaction, event: ViewerEnrolledV1) -> None:
        """Keeps the latest phone of each viewer."""
        await usecases.keep_contacts(tx, event, secrets)

    @consume(router, db, CertificateIssuedV1, durable="notification-certificates-issued", max_in_flight=IN_FLIGHT)
    async def keep_issued(tx: Transaction, event: CertificateIssuedV1) -> None:
        """Keeps certificates, each of which becomes a text to its holder."""
        await certificates.keep_issued(tx, event, secrets)

    @consume(router, db, CertificateRevokedV1, durable="notification-certificates-revoked")
    async def keep_revoked(tx: Transaction, event: CertificateRevokedV1) -> None:
        """Cancels texts of revoked certificates that have not been sent."""
        await certificates.keep_revoked(tx, event)

    return router
