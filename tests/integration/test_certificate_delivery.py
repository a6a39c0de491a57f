"""Any order, any duplication, any crash: the same certificates (DESIGN §4.5), on a real Postgres."""

import itertools
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from services.certificate import certificates, domain, store, usecases
from services.certificate.consumers import build_consumers
from services.certificate.domain import Verdict
from shared.bus import Bus
from shared.contracts.base import Event
from shared.contracts.certificate import CertificateClaimedV1, CertificateIssuedV1
from shared.contracts.checkin import ViewerEnrolledV1
from shared.database import Database, Transaction
from shared.people.phones import phone_tail
from tests.support.certificate import (
    BEFORE,
    CAMPAIGN,
    CLAIM_FROM,
    LESSONS,
    CertificateService,
    checked_in,
    defined,
    enrolled,
    made_good,
)
from tests.support.databases import DatabaseFactory, fresh_database
from tests.support.servers import RunningPostgres
from tests.support.service import NATS_AWAY

VIEWERS = [f"viewer-{number}" for number in range(6)]
NAMES = ["甲示例", "乙·示例", "丙示例", "长" * 51]  # the last one is too long for a certificate
PHONES = ["13800000001", "+86 138 0000 0002", "110"]  # the last one has no tail
ADDRESS = "127.0.0.1"  # the address that claims come from
_campaigns = itertools.count(1)


# ---- any order, any duplication --------------------------------------------------------------------------------------


@dataclass
class History:
    """Events of one campaign, and the certificates that must result from them."""

    campaign_id: str
    events: list[Event] = field(default_factory=list)
    completed_by: dict[str, str] = field(default_factory=dict)
    contact_data: dict[tuple[str, str], tuple[datetime, str, str]] = field(default_factory=dict)

    def define(self, revision: int, pages: int) -> None:
        self.events += defined(revision, pages=pages, campaign_id=self.campaign_id, title=f"活动第{revision}版")

    def complete(self, viewer_id: str, how: str, beside: list[str]) -> None:
        if viewer_id in self.completed_by:
            return
        self.completed_by[viewer_id] = how
        event = checked_in if how == "check-in" else made_good
        self.events.append(event(viewer_id, campaign_id=self.campaign_id))
        if others := [other for other in beside if other != viewer_id]:
            self.events.append(event(*others, completes=False, campaign_id=self.campaign_id))

    def enrol(self, viewer_id: str, name: str | None, phone: str | None, at: datetime, enrolment_id: str) -> None:
        event = enrolled((viewer_id, name, phone), at=at, campaign_id=self.campaign_id)
        self.events.append(event.model_copy(update={"enrolment_ids": [enrolment_id]}))
        usable = {
            "name": name if name and len(name) <= 50 else None,
            "phone_tail": phone_tail(phone) if phone else None,
        }
        for field_name, text in usable.items():
            if text is not None:
                known = self.contact_data.get((viewer_id, field_name))
                self.contact_data[viewer_id, field_name] = max(
                    known or (at, enrolment_id, text), (at, enrolment_id, text)
                )

    def latest(self, viewer_id: str, field_name: str) -> str | None:
        return self.contact_data[viewer_id, field_name][2] if (viewer_id, field_name) in self.contact_data else None

    def nameless(self) -> list[str]:
        """Viewers who completed and never told a name. They may claim at any time, since no name can come too late for them."""
        return [viewer for viewer in self.completed_by if (viewer, "name") not in self.contact_data]

    def comes_to(self) -> dict[str, tuple[Any, ...]]:
        """viewer → (name, lessons, unit, group, phone tail, claimed)."""
        places = {"check-in": ("111-EDU", "student"), "make-good": ("unassigned", "unassigned")}
        return {
            viewer: (self.latest(viewer, "name"), LESSONS, *places[how], self.latest(viewer, "phone_tail"), True)
            for viewer, how in self.completed_by.items()
        }


Step = Event | str  # an event, "sweep", or a viewer who tries to claim


@st.composite
def deliveries(draw: st.DrawFn) -> tuple[History, list[Step]]:
    """A history, and steps: its events in any order, some of them repeated, with sweeps and claims in between."""
    history = History(f"campaign-{next(_campaigns)}")
    for revision in range(1, draw(st.integers(1, 3)) + 1):
        history.define(revision, draw(st.integers(1, 3)))
    for number in range(draw(st.integers(1, 14))):
        viewer_id = draw(st.sampled_from(VIEWERS))
        if draw(st.booleans()):
            how = draw(st.sampled_from(["check-in", "make-good"]))
            history.complete(viewer_id, how, draw(st.lists(st.sampled_from(VIEWERS), unique=True, max_size=3)))
        else:
            name, phone = draw(st.sampled_from([None, *NAMES])), draw(st.sampled_from([None, *PHONES]))
            history.enrol(viewer_id, name, phone, BEFORE + timedelta(seconds=draw(st.integers(0, 3))), f"e-{number}")
    repeated = draw(st.lists(st.sampled_from(history.events), max_size=8))
    claims = draw(st.lists(st.sampled_from(history.nameless()), max_size=4)) if history.nameless() else []
    sweeps = ["sweep"] * draw(st.integers(0, 4))
    return history, draw(st.permutations([*history.events, *repeated, *claims, *sweeps]))


@pytest.fixture(scope="module")
async def shared_service(
    postgres: RunningPostgres, tmp_path_factory: pytest.TempPathFactory
) -> AsyncIterator[CertificateService]:
    """One database for the module: every history is a campaign of its own."""
    fresh = await fresh_database(postgres, "certificate")
    running = CertificateService(fresh.url, tmp_path_factory.mktemp("certificate"))
    running.clock_is(CLAIM_FROM)
    yield running
    await running.close()
    await postgres.drop(fresh.name)


@given(deliveries())
@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
async def test_any_order_and_duplication_gives_the_same_certificates(
    shared_service: CertificateService, delivered: tuple[History, list[Step]]
) -> None:
    history, steps = delivered
    for step in steps:
        await take(shared_service, history, step)
    await shared_service.sweep()
    for viewer_id in history.completed_by:
        await claim(shared_service, history, viewer_id)
    assert await state(shared_service, history.campaign_id) == history.comes_to()
    await published_once(shared_service, history)


async def take(service: CertificateService, history: History, step: Step) -> None:
    if step == "sweep":
        await service.sweep()
    elif isinstance(step, str):
        await claim(service, history, step)
    else:
        await service.deliver(step)


async def claim(service: CertificateService, history: History, viewer_id: str) -> None:
    """Claims the viewer's certificate, where there is one already, with the phone tail that is known by now."""
    async with service.db.transaction() as tx:
        row = await store.last_of(tx, history.campaign_id, viewer_id)
        contact = (await store.contacts(tx, history.campaign_id, [viewer_id])).get(viewer_id, store.KnownContact())
    if row is not None:
        bound_to = f"{history.campaign_id}/{viewer_id}"
        tail = (await service.keys_to_read(history.campaign_id)).decrypt(contact.phone_tail, bound_to)
        code = certificates.claim_code_of(row, service.keys)
        await service.db.in_transaction(lambda tx: usecases.claim(tx, service.keys, code, tail, ADDRESS, CLAIM_FROM))


async def state(service: CertificateService, campaign_id: str) -> dict[str, tuple[Any, ...]]:
    """What the service holds, decrypted, in the form of `History.comes_to`. Fails for a certificate that is not genuine or
    valid."""
    rows = await service.certificates(campaign_id)
    async with service.db.transaction() as tx:
        contacts = await store.contacts(tx, campaign_id, [row.viewer_id for row in rows])
    campaign_keys = await service.keys_to_read(campaign_id)
    ending: dict[str, tuple[Any, ...]] = {}
    for row in rows:
        assert row.revoked_at is None
        assert row.viewer_id not in ending
        content = certificates.content_of(row, campaign_keys)
        document = domain.certificate_document(content, domain.Signature(row.key_id, row.signature))
        signing = service.keys.signing
        assert domain.verify_document(document, {signing.key_id: signing.public_key}) is Verdict.GENUINE
        sealed = contacts.get(row.viewer_id, store.KnownContact()).phone_tail
        tail = campaign_keys.decrypt(sealed, f"{campaign_id}/{row.viewer_id}")
        ending[row.viewer_id] = (
            content.name,
            row.credited_lessons,
            row.unit_code,
            row.group_code,
            tail,
            row.claimed_at is not None,
        )
    return ending


async def published_once(service: CertificateService, history: History) -> None:
    for contract in (CertificateIssuedV1, CertificateClaimedV1):
        events = [event for event in await service.published(contract) if event.campaign_id == history.campaign_id]
        published_pairs = sorted(pair for event in events for pair in zip(event.viewer_ids, event.serials, strict=True))
        assert published_pairs == [
            (row.viewer_id, row.serial) for row in await service.certificates(history.campaign_id)
        ]


# ---- a crash between any two steps -----------------------------------------------------------------------------------


class Killed(Exception):
    pass


class Mortal(Database):
    """A database on which step number `dies_at` raises `Killed` before it is done. A step is a statement or a commit."""

    dies_at = 0
    steps = 0

    def step(self) -> None:
        self.steps += 1
        if self.steps == self.dies_at:
            raise Killed

    @asynccontextmanager
    async def transaction(self) -> AsyncIterator[Transaction]:
        async with super().transaction() as tx:
            yield Steps(tx, self)
            self.step()


class Steps(Transaction):
    def __init__(self, tx: Transaction, mortal: Mortal) -> None:
        super().__init__(tx._connection, tx.attached)
        self._on_commit, self._step = tx._on_commit, mortal.step

    async def fetch(self, *arguments: Any) -> Any:
        self._step()
        return await super().fetch(*arguments)

    async def fetchrow(self, *arguments: Any) -> Any:
        self._step()
        return await super().fetchrow(*arguments)

    async def fetchval(self, *arguments: Any) -> Any:
        self._step()
        return await super().fetchval(*arguments)

    async def execute(self, *arguments: Any) -> Any:
        self._step()
        return await super().execute(*arguments)

    async def copy_records(self, *arguments: Any) -> None:
        self._step()
        await super().copy_records(*arguments)


@pytest.fixture
async def service(database: DatabaseFactory, tmp_path: Path) -> AsyncIterator[CertificateService]:
    running = CertificateService((await database("certificate")).url, tmp_path)
    yield running
    await running.close()


Operation = Callable[[Database, CertificateService], Awaitable[object]]


async def issue(db: Database, service: CertificateService) -> object:
    return await db.in_transaction(lambda tx: usecases.issue_due(tx, service.definitions, service.keys, CLAIM_FROM))


async def claim_once(db: Database, service: CertificateService) -> object:
    code = (await service.claim_codes())["anna"]
    return await db.in_transaction(lambda tx: usecases.claim(tx, service.keys, code, None, ADDRESS, CLAIM_FROM))


async def revoke(db: Database, service: CertificateService) -> object:
    return await db.in_transaction(lambda tx: usecases.revoke(tx, CAMPAIGN, "anna", "tester", "冒名", CLAIM_FROM))


async def reissue(db: Database, service: CertificateService) -> object:
    return await db.in_transaction(
        lambda tx: usecases.reissue(tx, service.keys, CAMPAIGN, "anna", "王示例", "tester", "更正", CLAIM_FROM)
    )


async def hear_a_name(db: Database, service: CertificateService) -> None:
    bus = Bus(NATS_AWAY, "certificate", routers=[build_consumers(db, service.definitions, service.keys)])
    await bus.handle("certificate-contacts", LATE_NAME.model_dump_json().encode())


async def hear_of_a_campaign(db: Database, service: CertificateService) -> None:
    bus = Bus(NATS_AWAY, "certificate", routers=[build_consumers(db, service.definitions, service.keys)])
    await bus.handle("certificate-definitions", NEXT_CAMPAIGN.model_dump_json().encode())


(NEXT_CAMPAIGN,) = defined(campaign_id="next-2024")
LATE_NAME: ViewerEnrolledV1 = enrolled(("anna", "王示例", None))


@pytest.mark.parametrize(
    ("operation", "certificates", "events", "steps"),
    [
        (issue, 1, ["certificate_issued"], 7),
        (claim_once, 1, ["certificate_issued", "certificate_claimed"], 5),
        (revoke, 1, ["certificate_issued", "certificate_revoked"], 5),
        (reissue, 2, ["certificate_issued", "certificate_revoked", "certificate_issued"], 6),
        (hear_a_name, 1, ["certificate_issued"], 6),
        (hear_of_a_campaign, 1, ["certificate_issued", "certificate_key_made"], 12),
    ],
)
async def test_a_crash_before_any_step_leaves_nothing_and_the_next_try_does_it_once(
    service: CertificateService, operation: Operation, certificates: int, events: list[str], steps: int
) -> None:
    await service.deliver(*defined(), checked_in("anna"))
    if operation is not issue:
        await issue(service.db, service)
    before = await everything(service.db)
    mortal = Mortal(service.settings.database_url)
    deaths = 0
    while True:
        mortal.steps, mortal.dies_at = 0, deaths + 1
        try:
            await operation(mortal, service)
            break
        except Killed:
            deaths += 1
            assert await everything(service.db) == before
    await mortal.close()
    assert deaths >= steps, "fewer steps than there are: it did not die where it could"
    rows = await service.certificates()
    assert len(rows) == certificates
    assert sum(row.revoked_at is None for row in rows) == (operation is not revoke)
    assert [event.FACT for event in await service.published()] == ["certificate_key_made", *events]
    assert mortal.steps == deaths  # the last run, which was not killed, took all steps


async def everything(db: Database) -> dict[str, list[str]]:
    async with db.transaction() as tx:
        tables = [row[0] for row in await tx.fetch("SELECT tablename FROM pg_tables WHERE schemaname = 'public'")]
        return {table: [str(row) for row in await tx.fetch(f'SELECT t::text FROM "{table}" t')] for table in tables}
