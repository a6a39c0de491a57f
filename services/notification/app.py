"""The composition root of notification."""

from collections.abc import Mapping

from fastapi import FastAPI

from services.notification import metrics
from services.notification.api import build_api
from services.notification.channel_file import FileChannel
from services.notification.consumers import build_consumers
from services.notification.domain import Channel
from services.notification.settings import Settings
from services.notification.usecases import DueMessages, Secrets
from shared.bus import Bus
from shared.clock import clock_from
from shared.contracts.notification import NotificationKeyMadeV1
from shared.definitions import Definitions, InForce
from shared.people.campaign_keys import Recipient
from shared.service import build_service, database_of
from shared.service.due import DueWork
from shared.service.measured import Measured, events

NAME = "notification"
FORGET_EVERY_S = 60


def build_app(settings: Settings, channels: Mapping[str, Channel] | None = None) -> FastAPI:
    """`channels`: by the name that message rules use; tests bring their own."""
    db = database_of(settings, NAME)
    clock = clock_from(settings.clock_file)
    recipient = Recipient(NotificationKeyMadeV1, settings.sealing_private_key, settings.contact_keys)
    secrets = Secrets(recipient, settings.lookup_key)
    definitions = Definitions[InForce](lambda found: found)
    due = DueMessages(db, definitions, channels or {"file": FileChannel(settings.file_channel_dir)}, secrets)
    measured = Measured(db, [events(NAME), metrics.certificates_known])
    bus = Bus(settings.nats_url, NAME, routers=[build_consumers(db, definitions, secrets)])
    bus.declares(NotificationKeyMadeV1)
    return build_service(
        NAME,
        settings,
        title="Fanzha notification",
        description="Texts to the public: planned from facts and the campaign's rules, sent once, never to the wrong hour.",
        db=db,
        bus=bus,
        clock=clock,
        routers=[build_api(db, recipient)],
        due_work=[
            DueWork("plan_messages", due.plan),
            DueWork("send_messages", due.send),
            DueWork("forget_contacts", due.forget, every_s=FORGET_EVERY_S),
        ],
        exact=[*metrics.exact(clock), measured.last],
        background=[measured.run],
    )
