"""Whatever the order and repetition of its events, a history ends in the same tables, before and after sending (DESIGN §4.5)."""

import asyncio
import random
from collections.abc import AsyncIterator
from datetime import timedelta
from typing import Any, NamedTuple

import asyncpg
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from services.notification.plans import usecases
from services.notification.plans.certificates import usecases as certificates
from shared.contracts.base import Event
from shared.database import Database
from tests.support.campaigns import campaign
from tests.support.databases import DatabaseFactory
from tests.support.notification import (
    NOON,
    FakeProvider,
    NotificationWork,
    defined,
    empty,
    enrolled,
    final_state,
    issued,
    new_secrets,
    revoked,
    rules,
    statuses,
)
from tests.support.servers import RunningPostgres

DAY = timedelta(days=1)
HISTORY: list[Event] = [
    defined(1, rules(send_window={"from": "13:00", "to": "22:00"})),
    defined(2, campaign(messages=[])),
    defined(3, rules(send_window={"from": "08:00", "to": "20:00"})),
    enrolled(("v1", "13800000001"), ("v2", "13800000002"), ("v3", None), at=NOON - 5 * DAY),
    enrolled(("v1", "13900000001"), ("v1", "13900000011"), ("v4", None), at=NOON - 4 * DAY),
    enrolled(("v2", None), ("v5", "not a phone"), at=NOON - 3 * DAY),
    enrolled(("v6", "+86 138 0000 0006"), ("v7", "13800000007"), at=NOON + DAY),
    issued(("v1", "S1"), ("v2", "S2"), ("v3", "S3")),
    issued(("v4", "S4"), ("v5", "S5"), ("v6", "S6"), at=NOON - DAY),
    issued(("v7", "S7"), claim_codes=False),
    issued(("v2", "S2B"), ("v3", "S3B")),
    revoked(("v2", "S2"), ("v3", "S3")),
    revoked(("v6", "S6")),
]
EXPECTED_STATUSES = {
    "S1": ("accepted", None),
    "S2": ("cancelled", "revoked"),
    "S2B": ("accepted", None),
    "S3": ("cancelled", "revoked"),
    "S3B": ("queued", "no_contact"),
    "S4": ("queued", "no_contact"),
    "S5": ("queued", "no_contact"),
    "S6": ("cancelled", "revoked"),
    "S7": ("queued", "no_claim_code"),
}


class Ending(NamedTuple):
    planned: dict[str, Any]
    sent: dict[str, Any]
    texts: list[tuple[str, str]]


@pytest.fixture
async def work(database: DatabaseFactory) -> AsyncIterator[NotificationWork]:
    db = Database((await database("notification")).url)
    yield over_a_provider(db)
    await db.close()


def over_a_provider(db: Database, provider: FakeProvider | None = None) -> NotificationWork:
    return NotificationWork(db, {"file": provider or FakeProvider()})


async def play(db: Database, events: list[Event], plan_after: set[int]) -> Ending:
    """Delivers the events, planning after some of them; then plans what is left, then sends."""
    provider = FakeProvider()
    work = over_a_provider(db, provider)
    for position, event in enumerate(events):
        await work.deliver(event)
        if position in plan_after:
            await work.plan(NOON)
    await work.plan_all(NOON)
    planned = await final_state(db)
    await work.run_all(NOON)
    texts = sorted((message.to, message.text) for message in provider.arrived)
    return Ending(planned, await final_state(db), texts)


async def test_the_whole_history_ends_as_it_should(work: NotificationWork) -> None:
    ending = await play(work.db, HISTORY, set())
    assert await statuses(work.db) == EXPECTED_STATUSES
    assert [to for to, _ in ending.texts] == ["13800000002", "13900000011"]


@st.composite
def deliveries(draw: st.DrawFn) -> tuple[list[Event], list[Event], set[int]]:
    """Some events of the history; the same events shuffled, some repeated; and the positions after which plans are made."""
    events = draw(st.lists(st.sampled_from(HISTORY), unique_by=id))
    repeated = draw(st.lists(st.sampled_from(events), max_size=5)) if events else []
    shuffled = draw(st.permutations(events + repeated))
    return events, shuffled, draw(st.sets(st.integers(0, len(HISTORY))))


@given(deliveries())
@settings(max_examples=40, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
async def test_any_order_and_duplication_ends_in_the_same_tables(
    work: NotificationWork, postgres: RunningPostgres, delivery: tuple[list[Event], list[Event], set[int]]
) -> None:
    events, shuffled, plan_after = delivery
    await empty(work.db, postgres)
    expected = await play(work.db, events, set())
    await empty(work.db, postgres)
    assert await play(work.db, shuffled, plan_after) == expected


async def test_a_phone_and_a_certificate_that_arrive_at_the_same_moment_find_each_other(work: NotificationWork) -> None:
    await work.deliver(defined())
    viewers = [f"v{n}" for n in range(40)]
    events: list[Any] = [enrolled((viewer, f"138000000{n:02}")) for n, viewer in enumerate(viewers)]
    events += [issued((viewer, f"S{n}")) for n, viewer in enumerate(viewers)]
    random.Random(1).shuffle(events)

    async def plan_meanwhile() -> None:
        for _ in range(40):
            await work.plan(NOON)

    await asyncio.gather(
        work.deliver(*events[0::3]), work.deliver(*events[1::3]), work.deliver(*events[2::3]), plan_meanwhile()
    )
    await work.plan_all(NOON)
    assert set((await statuses(work.db)).values()) == {("queued", None)}
    assert len(await statuses(work.db)) == len(viewers)


@pytest.mark.parametrize("contact_first", [True, False])
async def test_neither_of_two_open_transactions_misses_the_other(work: NotificationWork, contact_first: bool) -> None:
    """One transaction keeps a viewer's contact, the other the certificate; the second begins while the first is open."""
    await work.deliver(defined())
    contact, certificate = enrolled(("v1", "13800000001")), issued(("v1", "S1"))
    async with work.db.transaction() as tx:
        if contact_first:
            await usecases.keep_contacts(tx, contact, new_secrets())
        else:
            await certificates.keep_issued(tx, certificate, new_secrets())
        second = asyncio.create_task(work.deliver(certificate if contact_first else contact))
        await blocked(work.db)
        await work.plan(NOON)
    await second
    await work.plan(NOON)
    assert await statuses(work.db) == {"S1": ("queued", None)}


async def blocked(db: Database) -> None:
    """Returns once a transaction of this database waits for another."""
    async with asyncio.timeout(10):
        while True:
            async with db.transaction() as tx:
                waiting = await tx.fetchval(
                    "SELECT count(*) FROM pg_stat_activity WHERE datname = current_database() AND wait_event_type = 'Lock'"
                )
            if waiting:
                return
            await asyncio.sleep(0.01)


async def test_there_is_one_notification_per_key_for_ever(work: NotificationWork) -> None:
    await work.deliver(defined(), issued(("v1", "S1")))
    await work.plan(NOON)
    with pytest.raises(asyncpg.UniqueViolationError):
        async with work.db.transaction() as tx:
            await tx.execute(
                "INSERT INTO notification SELECT gen_random_uuid(), campaign_id, kind, period, recipient, channel, status, "
                "reason, due_at, send_until, attempts, attempt, attempted_at, query_at, retry_at, updated_at FROM notification"
            )
