"""Composes certificate, which issues, claims and verifies certificates; tests call `build_app` with their own settings."""

from fastapi import FastAPI

from services.certificate import certificates, contacts, metrics, usecases
from services.certificate.api import build_api
from services.certificate.consumers import build_consumers
from services.certificate.files import Drawings
from services.certificate.keys import Keys
from services.certificate.links import Links
from services.certificate.office import build_pages
from services.certificate.refusals import ANSWERS
from services.certificate.renderer import Renderer
from services.certificate.settings import Settings
from shared.bus import Bus
from shared.clock import clock_from
from shared.contracts.certificate import (
    CertificateClaimedV1,
    CertificateIssuedV1,
    CertificateKeyMadeV1,
    CertificateRevokedV1,
)
from shared.definitions import Definitions
from shared.people.sessions import build_session_consumers
from shared.service import build_service, database_of, wrong_tries
from shared.service.due import DueWork, in_transaction
from shared.service.measured import Measured, events

RETENTION_EVERY_S = 60


def build_app(settings: Settings) -> FastAPI:
    db = database_of(settings, "certificate")
    clock = clock_from(settings.clock_file)
    keys = Keys.of(settings)
    definitions = Definitions(lambda in_force: in_force.rules)
    specimen = settings.environment != "production"
    fonts = [settings.font_dir] if settings.font_dir else []
    renderer = Renderer(public_url=settings.public_url, specimen=specimen, seal=settings.seal(), extra_font_dirs=fonts)
    drawings = Drawings(settings.pdf_dir, renderer)
    bus = Bus(
        settings.nats_url,
        "certificate",
        routers=[build_consumers(db, definitions, keys), build_session_consumers(db, "certificate")],
    )
    bus.declares(CertificateIssuedV1, CertificateClaimedV1, CertificateRevokedV1, CertificateKeyMadeV1)
    measured = Measured(db, [events("certificate")])
    links = Links(settings.public_url, settings.lookup_key)
    return build_service(
        "certificate",
        settings,
        title="Fanzha certificate",
        description="Certificates of completion: issued, claimed, verified.",
        db=db,
        bus=bus,
        clock=clock,
        routers=[
            build_api(db, clock, definitions, keys, links, drawings, specimen=specimen),
            build_pages(db, clock, definitions, keys),
        ],
        due_work=[
            DueWork("issue", in_transaction(db, lambda tx, now: usecases.issue_due(tx, definitions, keys, now))),
            DueWork(
                "signing_key",
                in_transaction(db, lambda tx, _: certificates.keep_signing_key(tx, keys)),
                RETENTION_EVERY_S,
            ),
            DueWork("retention", in_transaction(db, contacts.forget_expired), RETENTION_EVERY_S),
            DueWork(
                "wrong_claims", in_transaction(db, lambda tx, _: wrong_tries.forget_expired(tx)), RETENTION_EVERY_S
            ),
        ],
        exact=[*metrics.exact(clock, definitions, drawings), measured.last],
        background=[measured.run],
        refusals=ANSWERS,
    )
