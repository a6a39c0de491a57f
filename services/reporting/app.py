"""The reporting service, composed. Its settings are those that every service has."""

from fastapi import FastAPI

from services.reporting.definition import Definition
from services.reporting.obligations.consumers import build_consumers as build_obligation_consumers
from services.reporting.obligations.metrics import forms_unknown
from services.reporting.refusals import ANSWERS
from services.reporting.totals import metrics
from services.reporting.totals.api import build_api
from services.reporting.totals.consumers import build_consumers
from shared.bus import Bus
from shared.clock import clock_from
from shared.definitions import Definitions
from shared.service import build_service, database_of
from shared.service.measured import Measured, events
from shared.settings import ServiceSettings


def build_app(settings: ServiceSettings) -> FastAPI:
    db = database_of(settings, "reporting")
    clock = clock_from(settings.clock_file)
    known = Definitions(Definition.of, with_units=True)
    measured = Measured(db, [events("reporting")])
    return build_service(
        "reporting",
        settings,
        title="Fanzha reporting",
        description="Totals of a campaign by unit, group, lesson and mode (DESIGN §5.2).",
        db=db,
        bus=Bus(settings.nats_url, "reporting", routers=[build_consumers(db, known), build_obligation_consumers(db)]),
        clock=clock,
        routers=[build_api(db, known, clock)],
        exact=[*metrics.exact(known), forms_unknown, measured.last],
        background=[measured.run],
        refusals=ANSWERS,
    )
