"""The doorway: opens the transaction, calls one thing, returns."""

from faststream.nats import NatsRouter

from services.notification import usecases
from services.notification.usecases import Secrets
from shared.bus import build_router, subscribe
from shared.contracts.certificate import CertificateIssuedV1, CertificateRevokedV1
from shared.contracts.checkin import CampaignDefinedV1, ViewerEnrolledV1
from shared.db import Database
from shared.inbox import apply_once

DEFINITIONS = "notification-definitions"
CONTACTS = "notification-contacts"
ISSUED = "notification-certificates-issued"
REVOKED = "notification-certificates-revoked"


def build_consumers(db: Database, secrets: Secrets) -> NatsRouter:
    router = build_router()

    @subscribe(router, CampaignDefinedV1, durable=DEFINITIONS)
    async def keep_definition(event: CampaignDefinedV1) -> None:
        """Keeps the campaign's message rules. The campaign gets its key."""
        async with apply_once(db, DEFINITIONS, event) as tx:
            if tx:
                await usecases.keep_definition(tx, event, secrets)

    @subscribe(router, ViewerEnrolledV1, durable=CONTACTS)
    async def keep_contacts(event: ViewerEnrolledV1) -> None:
        """Keeps the latest phone of each viewer."""
        async with apply_once(db, CONTACTS, event) as tx:
            if tx:
                await usecases.keep_contacts(tx, event, secrets)

    @subscribe(router, CertificateIssuedV1, durable=ISSUED)
    async def keep_issued(event: CertificateIssuedV1) -> None:
        """Each certificate becomes a text to its holder."""
        async with apply_once(db, ISSUED, event) as tx:
            if tx:
                await usecases.keep_issued(tx, event, secrets)

    @subscribe(router, CertificateRevokedV1, durable=REVOKED)
    async def keep_revoked(event: CertificateRevokedV1) -> None:
        """Texts of revoked certificates are cancelled where they have not been sent."""
        async with apply_once(db, REVOKED, event) as tx:
            if tx:
                await usecases.keep_revoked(tx, event)

    return router
