"""The reporting service, composed; tests call it with settings of their own."""

from fastapi import FastAPI

from services.reporting.definition import Definition
from services.reporting.desk.api import build_pages as build_desk
from services.reporting.desk.finding_api import build_finding_pages
from services.reporting.desk.unit_api import build_unit_pages
from services.reporting.findings import usecases as findings
from services.reporting.findings.api import build_api as build_findings_api
from services.reporting.findings.metrics import not_looked_at
from services.reporting.indicators.api import build_api as build_indicators_api
from services.reporting.liaison_page.api import Parts as LiaisonPageParts
from services.reporting.liaison_page.api import build_api as build_liaison_page
from services.reporting.liaisons import usecases as liaisons
from services.reporting.liaisons.api import Parts as LiaisonParts
from services.reporting.liaisons.api import build_api as build_liaison_api
from services.reporting.liaisons.consumers import build_consumers as build_liaison_consumers
from services.reporting.liaisons.devices import build_device_api
from services.reporting.liaisons.keys import LiaisonKeys
from services.reporting.liaisons.metrics import CodeTries
from services.reporting.naming import Naming
from services.reporting.obligations import metrics as obligation_metrics
from services.reporting.obligations import usecases as obligations
from services.reporting.obligations.api import build_api as build_obligations_api
from services.reporting.obligations.bulk_api import build_bulk_api
from services.reporting.obligations.consumers import build_consumers as build_obligation_consumers
from services.reporting.obligations.pictures import usecases as pictures
from services.reporting.obligations.pictures.api import build_api as build_pictures_api
from services.reporting.obligations.pictures.metrics import volume as pictures_volume
from services.reporting.obligations.usecases import Known
from services.reporting.people import metrics as people_metrics
from services.reporting.people import usecases as people
from services.reporting.people.api import build_api as build_people_api
from services.reporting.people.keys import PeopleKeys
from services.reporting.refusals import ANSWERS
from services.reporting.settings import Settings
from services.reporting.totals import metrics
from services.reporting.totals.api import build_api
from services.reporting.totals.consumers import build_consumers
from shared.bus import Bus
from shared.clock import clock_from
from shared.contracts.reporting import (
    LiaisonNamedV1,
    PersonChangedV1,
    ReportDueSoonV1,
    ReportExcusedV1,
    ReportOverdueV1,
    ReportReturnedV1,
    ReportSubmittedV1,
    SessionEndedV1,
)
from shared.definitions import Definitions
from shared.service import build_service, database_of
from shared.service.due import DueWork, in_transaction
from shared.service.measured import Measured, events
from shared.service.tokens import wall_now

FORGET_EVERY_S = 60
PUBLISHED = (
    PersonChangedV1,
    SessionEndedV1,
    ReportSubmittedV1,
    ReportExcusedV1,
    ReportReturnedV1,
    ReportDueSoonV1,
    ReportOverdueV1,
    LiaisonNamedV1,
)


def build_app(settings: Settings) -> FastAPI:
    db = database_of(settings, "reporting")
    clock = clock_from(settings.clock_file)
    known = Definitions(Definition.of, with_units=True)
    keys = PeopleKeys(settings.session_signing_key)
    liaison_keys, code_tries = LiaisonKeys(settings.liaison_key, settings.sealing_public_keys), CodeTries()
    owed = Known(known, report_kept=findings.look_soon)
    naming = Naming(owed)
    consumers = [
        build_consumers(db, known, lambda tx, *until: obligations.open_periods_of(tx, owed, *until)),
        build_obligation_consumers(db, owed),
        build_liaison_consumers(db),
    ]
    bus = Bus(settings.nats_url, "reporting", routers=consumers)
    bus.declares(*PUBLISHED)
    intake = pictures.Intake(db, known, settings.pictures_max_bytes)
    measured = Measured(db, [events("reporting")])
    return build_service(
        "reporting",
        settings,
        title="Fanzha reporting",
        description="Totals of a campaign by unit, group, lesson and mode; what units owe and report (DESIGN §5.2); who may "
        "sign in (DESIGN §5.5).",
        db=db,
        bus=bus,
        clock=clock,
        routers=[
            build_api(db, known, clock),
            build_obligations_api(db, owed, clock),
            build_indicators_api(db, owed, clock),
            build_bulk_api(db, owed, clock),
            build_findings_api(db, owed, clock),
            build_people_api(db, keys, known),
            build_desk(db, owed, clock),
            build_finding_pages(db, owed, clock),
            build_unit_pages(db, owed, clock),
            build_liaison_api(
                LiaisonParts(
                    db,
                    liaison_keys,
                    known,
                    clock,
                    settings.public_url,
                    named=naming.named,
                    units_that_fill=lambda tx, campaign_id: obligations.units_that_fill(tx, owed, campaign_id),
                )
            ),
            build_device_api(db, liaison_keys, known, code_tries),
            build_liaison_page(LiaisonPageParts(db, owed, clock, intake, liaison_keys, naming.named)),
            build_pictures_api(db, known, clock, intake),
        ],
        due_work=[
            DueWork("people", in_transaction(db, lambda tx, _: people.forget_expired(tx)), FORGET_EVERY_S),
            DueWork("pictures", in_transaction(db, pictures.forget_expired), FORGET_EVERY_S),
            DueWork("periods", in_transaction(db, lambda tx, now: obligations.open_periods(tx, owed, now))),
            DueWork("file_naming", in_transaction(db, lambda tx, now: naming.file_earlier(tx, known, now)), 10),
            DueWork("due_soon", in_transaction(db, obligations.raise_due_soon)),
            DueWork("overdue", in_transaction(db, obligations.raise_overdue)),
            DueWork("devices", in_transaction(db, lambda tx, _: liaisons.forget_ended(tx, wall_now())), FORGET_EVERY_S),
            DueWork(
                "forget_liaisons", in_transaction(db, lambda tx, now: liaisons.forget(tx, known, now)), FORGET_EVERY_S
            ),
            DueWork("findings", in_transaction(db, lambda tx, now: findings.look_at_reports(tx, owed, now))),
        ],
        exact=[
            *metrics.exact(known),
            *obligation_metrics.exact(owed, clock),
            people_metrics.signed_in,
            pictures_volume(known, settings.pictures_max_bytes),
            code_tries.collect,
            not_looked_at,
            measured.last,
        ],
        background=[measured.run],
        refusals=ANSWERS,
        watched_answers=people_metrics.WRONG_TRIES,  # alert SignInGuessed
    )
