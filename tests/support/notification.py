"""What notification's tests have in common: the service, sealed events, a fake channel, and a look at its tables."""

import json
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any
from uuid import UUID

import nacl.public

from services.notification.app import build_app, build_due_work
from services.notification.channels.domain import Channel, Message, Outcome, Reference, Report
from services.notification.plans.consumers import build_consumers
from services.notification.plans.secrets import Secrets
from services.notification.settings import Settings
from shared.bus import Bus
from shared.bus.pull import PullTimes
from shared.contracts.base import Event
from shared.contracts.campaign import CampaignRules
from shared.contracts.certificate import CertificateIssuedV1, CertificateRevokedV1
from shared.contracts.checkin import CampaignDefinedV1, ViewerEnrolledV1
from shared.contracts.notification import NotificationKeyMadeV1
from shared.database import Database
from shared.definitions import Definitions, InForce
from shared.ids import new_event_id
from shared.people.at_rest import lookup_hash
from shared.people.campaign_keys import Recipient
from shared.people.sealing import seal
from shared.service.tokens import Role
from tests.support import service
from tests.support.campaigns import campaign
from tests.support.servers import RunningPostgres
from tests.support.service import NATS_AWAY, ServiceUnderTest, bearer, durables_of, settings_of, text_of

PRIVATE_KEY = nacl.public.PrivateKey.generate()
SEALING_PRIVATE_KEY, SEALING_PUBLIC_KEY = text_of(PRIVATE_KEY), text_of(PRIVATE_KEY.public_key)
CONTACT_KEYS = {"k1": text_of(b"1" * 32), "k2": text_of(b"2" * 32)}
LOOKUP_KEY = text_of(b"l" * 32)

CAMPAIGN = "small-2024"
NOON = datetime.fromisoformat("2024-07-10T12:00:00+08:00").astimezone(UTC)
CLAIM_PAGE = "https://fanzha.example/claim"
TEMPLATE = "您的证书 {serial} 领取码 {claim_code}，请打开 {claim_page} 领取，咨询请拨打 96110。"


def new_settings(database_url: str, folder: Path, **changes: Any) -> Settings:
    """Settings with a clock that stands at noon; messages go to `folder`/messages."""
    values = settings_of("notification", database_url, folder, NOON) | {
        "sealing_private_key": SEALING_PRIVATE_KEY,
        "contact_keys": CONTACT_KEYS,
        "lookup_key": LOOKUP_KEY,
        "claim_page_url": CLAIM_PAGE,
        "file_channel_dir": folder / "messages",
    }
    return Settings(**values | changes)


class NotificationService(ServiceUnderTest):
    """The whole service; calls are made with a token of the office."""

    def __init__(
        self,
        database_url: str,
        folder: Path,
        channels: Mapping[str, Channel] | None = None,
        *,
        times: PullTimes = PullTimes(),
        **changes: Any,
    ) -> None:
        settings = new_settings(database_url, folder, **changes)
        super().__init__(build_app(settings, channels, times=times), caller=service.token())


class NotificationWork:
    """What the service does on a database of the test, over channels of the test: its handlers and its due work, by name."""

    def __init__(self, db: Database, channels: Mapping[str, Channel]) -> None:
        definitions, secrets = Definitions[InForce](lambda in_force: in_force), new_secrets()
        self.db = db
        self._bus = Bus(NATS_AWAY, "notification", routers=[build_consumers(db, definitions, secrets)])
        due = {work.name: work.run for work in build_due_work(db, definitions, channels, secrets, CLAIM_PAGE)}
        self.plan, self.send, self.forget = due["plan_messages"], due["send_messages"], due["forget_contacts"]

    async def deliver(self, *events: Event) -> None:
        """Hands events to the handlers as the bus would, as encoded bodies."""
        for event in events:
            await self._bus.handle(DURABLES[event.subject()], event.model_dump_json().encode())

    async def plan_all(self, now: datetime) -> None:
        while await self.plan(now):
            pass

    async def run_all(self, now: datetime) -> None:
        """Does due work until nothing is due any more, as the service does."""
        while await self.plan(now) or await self.send(now) or await self.forget(now):
            pass


DURABLES = durables_of("notification")


def headers(role: Role = "office", campaign: str = CAMPAIGN, unit: str | None = None) -> dict[str, str]:
    return bearer(service.token(role, campaign, unit))


def new_secrets() -> Secrets:
    return Secrets(Recipient(NotificationKeyMadeV1, SEALING_PRIVATE_KEY, CONTACT_KEYS), LOOKUP_KEY)


# --- events -----------------------------------------------------------------------------------------------------------


def rules(**message: Any) -> CampaignRules:
    return campaign(
        messages=[{"event": "certificate_ready", "channel": "file", "template": TEMPLATE} | message],
    )


def defined(revision: int = 1, content: CampaignRules | None = None) -> CampaignDefinedV1:
    return CampaignDefinedV1(
        event_id=new_event_id(),
        occurred_at=NOON,
        campaign_id=CAMPAIGN,
        revision=revision,
        page=1,
        pages=1,
        rules=(content or rules()).rules(),
        units=[],
    )


def enrolled(*rows: tuple[str, str | None], at: datetime = NOON - timedelta(days=11)) -> ViewerEnrolledV1:
    """`rows`: (viewer_id, phone); None: an enrolment without contact data."""
    viewers = [viewer for viewer, _ in rows]
    contacts = [None if phone is None else json.dumps({"name": "王小明", "phone": phone}).encode() for _, phone in rows]
    return ViewerEnrolledV1(
        event_id=new_event_id(),
        occurred_at=at,
        campaign_id=CAMPAIGN,
        viewer_ids=viewers,
        enrolment_ids=[f"e-{at.timestamp():.0f}-{n}" for n, _ in enumerate(rows)],
        enrolled_at=[at] * len(rows),
        unit_codes=["111"] * len(rows),
        groups=["general"] * len(rows),
        contacts=seal({"notification": SEALING_PUBLIC_KEY}, contacts, viewers),
    )


def issued(*rows: tuple[str, str], at: datetime = NOON, claim_codes: bool = True) -> CertificateIssuedV1:
    """`rows`: (viewer_id, serial). The claim code is made from the serial."""
    viewers = [viewer for viewer, _ in rows]
    codes: list[bytes | None] = [claim_code(serial).encode() for _, serial in rows]
    return CertificateIssuedV1(
        event_id=new_event_id(),
        occurred_at=at,
        campaign_id=CAMPAIGN,
        viewer_ids=viewers,
        serials=[serial for _, serial in rows],
        unit_codes=["111"] * len(rows),
        groups=["general"] * len(rows),
        issued_at=[at] * len(rows),
        claim_codes=seal({"notification": SEALING_PUBLIC_KEY}, codes, viewers) if claim_codes else None,
    )


def revoked(*rows: tuple[str, str]) -> CertificateRevokedV1:
    return CertificateRevokedV1(
        event_id=new_event_id(),
        occurred_at=NOON,
        campaign_id=CAMPAIGN,
        viewer_ids=[viewer for viewer, _ in rows],
        serials=[serial for _, serial in rows],
        revoked_at=[NOON] * len(rows),
        reasons=["姓名更正"] * len(rows),
        reissued_as=[None] * len(rows),
    )


def claim_code(serial: str) -> str:
    return f"CODE{serial.replace('-', '')[-4:].upper()}"


# --- a channel that fails on request ----------------------------------------------------------------------------------


class FakeProvider:
    """Records the messages that it was sent, as a gateway would. `trouble`: what happens at the next calls of `send`, in turn.

    `before`: it fails and takes nothing; `after`: it takes everything and the answer is lost; `half`: it takes the first half and
    the answer is lost.
    """

    def __init__(self) -> None:
        self.arrived: list[Message] = []
        self.trouble: list[str] = []
        self.answers: dict[UUID, Outcome] = {}
        self.blind = False  # does not answer queries

    async def send(self, messages: Sequence[Message]) -> Mapping[UUID, Outcome]:
        trouble = self.trouble.pop(0) if self.trouble else None
        if trouble == "before":
            raise TimeoutError
        self.arrived += messages[: len(messages) // 2] if trouble == "half" else messages
        if trouble in ("after", "half"):
            raise TimeoutError
        ids = [message.reference.notification_id for message in messages]
        return {sent: self.answers.get(sent, Outcome(Report.ACCEPTED)) for sent in ids}

    async def query(self, references: Sequence[Reference]) -> Mapping[UUID, Outcome]:
        if self.blind:
            return {}
        arrived_ids = {message.reference.notification_id for message in self.arrived}
        return {
            reference.notification_id: Outcome(
                Report.ACCEPTED if reference.notification_id in arrived_ids else Report.NOT_SENT
            )
            for reference in references
        }


# --- the service's tables ----------------------------------------------------------------------------------------------


async def empty(db: Database, postgres: RunningPostgres) -> None:
    """Empties the database as it is after the migration. The owner role does it, because the service may not delete all rows."""
    async with db.transaction() as tx:
        name = await tx.fetchval("SELECT current_database()::text")
    tables = ("notification", "certificate", "contact", "definition", "definition_page", "inbox")
    await postgres.execute(
        ";".join(f"DELETE FROM {table}" for table in tables), role="notification_owner", database=name
    )


async def notifications(db: Database) -> dict[str, dict[str, Any]]:
    """The notification table by serial."""
    async with db.transaction() as tx:
        rows = await tx.fetch("SELECT * FROM notification ORDER BY period")
    return {row["period"]: dict(row) for row in rows}


async def statuses(db: Database) -> dict[str, tuple[str, str | None]]:
    return {serial: (row["status"], row["reason"]) for serial, row in (await notifications(db)).items()}


async def final_state(db: Database) -> dict[str, Any]:
    """All of the service's state, decrypted, without what depends on the order of events (inbox, attempt numbers) or is random
    (keys)."""
    async with db.transaction() as tx:
        campaign_keys = await new_secrets().recipient.keys_to_read(tx, CAMPAIGN)
        contacts = [dict(row) for row in await tx.fetch("SELECT * FROM contact ORDER BY 1, 2")]
        certificates = [dict(row) for row in await tx.fetch("SELECT * FROM certificate ORDER BY 1, 2, 3")]
        planned = [dict(row) for row in await tx.fetch("SELECT * FROM notification ORDER BY id")]
        in_force = [tuple(row) for row in await tx.fetch("SELECT campaign_id, revision, rules FROM definition")]
    for row in contacts:
        bound_to = f"{row['campaign_id']}/{row['viewer_id']}"
        row["phone"] = phone = campaign_keys.decrypt(row["phone"], bound_to)
        row["phone_hash"] = row["phone_hash"] and row["phone_hash"] == lookup_hash(
            campaign_keys.lookup_key, phone or ""
        )
    for row in certificates:
        bound_to = f"{row['campaign_id']}/{row['viewer_id']}/{row['serial']}"
        row["claim_code"] = campaign_keys.decrypt(row["claim_code"], bound_to)
    for row in planned:
        del row["attempt"]
    return {"contact": contacts, "certificate": certificates, "notification": planned, "definition": in_force}
