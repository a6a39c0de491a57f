"""checkin: campaigns, enrolments, check-ins. The composition root; tests call it with settings of their own."""

from functools import partial

from fastapi import FastAPI

from services.checkin import metrics
from services.checkin.api import WEBHOOK_PATHS, Intake, build_api, build_webhook
from services.checkin.campaigns import Catalogue
from services.checkin.committer import ITEMS_WAITING_MAX, Committer
from services.checkin.consumers import BUS, build_consumers
from services.checkin.office.api import build_pages
from services.checkin.office.feeds import KEEP_EVERY_S, HeardFeeds
from services.checkin.recording import Record, body_digest, record
from services.checkin.refusals import ANSWERS
from services.checkin.settings import Settings
from shared.bus import Bus
from shared.bus.connection import LAG_EVERY_S
from shared.clock import clock_from
from shared.contracts.checkin import (
    CampaignDefinedV1,
    CheckinRecordedV1,
    FormsDefinedV1,
    LessonMadeGoodV1,
    LiveRoomActionsRecordedV1,
    ViewerEnrolledV1,
    ViewerReassignedV1,
)
from shared.people import campaign_keys
from shared.people.sessions import build_session_consumers
from shared.service import build_service, database_of
from shared.service.measured import Measured, events
from shared.service.metrics import Answer


def build_app(
    settings: Settings,
    *,
    record: Record = record,
    items_waiting_max: int = ITEMS_WAITING_MAX,
    lag_every_s: float = LAG_EVERY_S,
    keep_heard_every_s: float = KEEP_EVERY_S,
) -> FastAPI:
    db = database_of(settings, "checkin")
    clock = clock_from(settings.clock_file)
    catalogue = Catalogue()
    seal = partial(campaign_keys.seal, settings.sealing_public_keys)
    committer = Committer(
        db,
        clock,
        catalogue,
        seal,
        body_digest(settings.link_key),
        record=record,
        items_waiting_max=items_waiting_max,
    )
    bus = Bus(
        settings.nats_url,
        "checkin",
        routers=[build_consumers(db, committer, clock), build_session_consumers(db, "checkin")],
        lag_every_s=lag_every_s,
    )
    bus.declares(
        CampaignDefinedV1,
        FormsDefinedV1,
        ViewerEnrolledV1,
        ViewerReassignedV1,
        CheckinRecordedV1,
        LessonMadeGoodV1,
        LiveRoomActionsRecordedV1,
    )
    measured = Measured(db, [events("checkin")])
    intake = Intake(settings.webhook_sources, clock, committer)
    return build_service(
        "checkin",
        settings,
        title="Fanzha checkin",
        description="Campaigns, enrolments and check-ins: the live platform's way in.",
        db=db,
        bus=bus,
        clock=clock,
        routes=[build_webhook(intake)],
        routers=[build_api(settings, db, clock, intake, catalogue), build_pages(settings, db, clock, catalogue)],
        exact=[*metrics.exact(clock, catalogue, committer, [*settings.webhook_sources, BUS]), measured.last],
        background=[committer.run, measured.run, HeardFeeds(db, committer, keep_heard_every_s).run],
        refusals=ANSWERS,
        watched_answers=[Answer("POST", path, "401") for path in WEBHOOK_PATHS],  # alert FeedSignatureRefused
        needs_bus=False,  # the webhook answers while NATS is away (DESIGN §4.1)
    )
