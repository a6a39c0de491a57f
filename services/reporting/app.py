"""The reporting service, composed; tests call it with settings of their own."""

from fastapi import FastAPI

from services.reporting.definition import Definition
from services.reporting.obligations.consumers import build_consumers as build_obligation_consumers
from services.reporting.obligations.metrics import forms_unknown
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
from shared.contracts.reporting import PersonChangedV1, SessionEndedV1
from shared.definitions import Definitions
from shared.service import build_service, database_of
from shared.service.due import DueWork, in_transaction
from shared.service.measured import Measured, events

FORGET_EVERY_S = 60


def build_app(settings: Settings) -> FastAPI:
    db = database_of(settings, "reporting")
    clock = clock_from(settings.clock_file)
    known = Definitions(Definition.of, with_units=True)
    keys = PeopleKeys(settings.session_signing_key)
    bus = Bus(settings.nats_url, "reporting", routers=[build_consumers(db, known), build_obligation_consumers(db)])
    bus.declares(PersonChangedV1, SessionEndedV1)
    measured = Measured(db, [events("reporting")])
    return build_service(
        "reporting",
        settings,
        title="Fanzha reporting",
        description="Totals of a campaign by unit, group, lesson and mode (DESIGN §5.2); who may sign in (DESIGN §5.5).",
        db=db,
        bus=bus,
        clock=clock,
        routers=[build_api(db, known, clock), build_people_api(db, keys, known)],
        due_work=[DueWork("people", in_transaction(db, lambda tx, _: people.forget_expired(tx)), FORGET_EVERY_S)],
        exact=[*metrics.exact(known), forms_unknown, measured.last],
        background=[measured.run],
        refusals=ANSWERS,
    )
