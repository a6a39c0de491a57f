"""Composes notification, which texts people; tests call `build_app` with their own settings and channels."""

from collections.abc import Mapping

from fastapi import FastAPI

from services.notification.channels.domain import Channel
from services.notification.channels.file import FileChannel
from services.notification.liaisons import usecases as liaisons
from services.notification.liaisons.api import build_api as build_liaison_api
from services.notification.liaisons.consumers import build_consumers as build_liaison_consumers
from services.notification.liaisons.pages import build_pages as build_liaison_pages
from services.notification.plans import metrics as plans_metrics
from services.notification.plans import usecases as plans
from services.notification.plans.consumers import build_consumers
from services.notification.plans.domain import forget_at
from services.notification.plans.secrets import Secrets
from services.notification.refusals import ANSWERS
from services.notification.sending import metrics as sending_metrics
from services.notification.sending.api import build_api
from services.notification.sending.usecases import Sender
from services.notification.settings import Settings
from shared.bus import Bus
from shared.bus.pull import PullTimes
from shared.clock import clock_from
from shared.contracts.notification import NotificationKeyMadeV1
from shared.database import Database
from shared.definitions import Definitions, InForce
from shared.people.campaign_keys import Recipient
from shared.people.sessions import build_session_consumers
from shared.service import build_service, database_of
from shared.service.due import DueWork, in_transaction
from shared.service.measured import Measured, events

NAME = "notification"
FORGET_EVERY_S = 60


def build_app(
    settings: Settings, channels: Mapping[str, Channel] | None = None, *, times: PullTimes = PullTimes()
) -> FastAPI:
    """`channels`: by the name that message rules use; tests bring their own, and shorter `times`."""
    db = database_of(settings, NAME)
    clock = clock_from(settings.clock_file)
    recipient = Recipient(NotificationKeyMadeV1, settings.sealing_private_key, settings.contact_keys)
    secrets = Secrets(recipient, settings.lookup_key)
    definitions = Definitions[InForce](lambda in_force: in_force)
    channels = build_channels(settings) if channels is None else channels
    measured = Measured(db, [events(NAME), plans_metrics.certificates_known])
    bus = Bus(
        settings.nats_url,
        NAME,
        routers=[
            build_consumers(db, definitions, secrets),
            build_liaison_consumers(db, recipient),
            build_session_consumers(db, NAME),
        ],
        times=times,
    )
    bus.declares(NotificationKeyMadeV1)
    return build_service(
        NAME,
        settings,
        title="Fanzha notification",
        description="Texts to the public: planned from facts and the campaign's rules, sent once, never to the wrong hour.",
        db=db,
        bus=bus,
        clock=clock,
        routers=[
            build_api(db, recipient, channels),
            build_liaison_api(db, clock, recipient),
            build_liaison_pages(db, clock, recipient),
        ],
        due_work=build_due_work(db, definitions, channels, secrets, settings.claim_page_url),
        exact=[
            *sending_metrics.exact(clock, list(channels), definitions),
            plans_metrics.unplanned,
            plans_metrics.rules_unknown,
            measured.last,
        ],
        background=[measured.run],
        refusals=ANSWERS,
    )


def build_channels(settings: Settings) -> dict[str, Channel]:
    """The channels of `shared.contracts.campaign.CHANNELS` that this deployment has. Messages through others wait
    (`no_channel`)."""
    return {"file": FileChannel(settings.file_channel_dir)} if settings.file_channel_dir else {}


def build_due_work(
    db: Database,
    definitions: Definitions[InForce],
    channels: Mapping[str, Channel],
    secrets: Secrets,
    claim_page: str,
) -> list[DueWork]:
    """The repeated work of notification; each portion is done at one moment of the clock."""
    return [
        DueWork("plan_messages", in_transaction(db, lambda tx, now: plans.plan(tx, definitions, secrets, now))),
        DueWork("send_messages", Sender(db, definitions, channels, secrets, claim_page).send),
        DueWork(
            "forget_contacts", in_transaction(db, lambda tx, now: plans.forget(tx, definitions, now)), FORGET_EVERY_S
        ),
        DueWork(
            "forget_liaisons",
            in_transaction(db, lambda tx, now: liaisons.forget(tx, definitions, forget_at, now)),
            FORGET_EVERY_S,
        ),
    ]
