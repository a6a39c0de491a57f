"""Every event that notification consumes, twice, on a real database: the state changes once."""

from collections.abc import AsyncIterator

import pytest

from services.notification.consumers import build_consumers
from shared import topology
from shared.bus import Bus
from shared.contracts.base import Event
from shared.db import Database
from tests.support.databases import DatabaseFactory
from tests.support.notification import DURABLES, defined, deliver, enrolled, final_state, issued, new_secrets, revoked

EVENTS: list[Event] = [
    defined(),
    enrolled(("ks_000001", "13800000001"), ("ks_000002", None)),
    issued(("ks_000001", "S1"), ("ks_000002", "S2")),
    revoked(("ks_000001", "S1")),
]


@pytest.fixture
async def db(database: DatabaseFactory) -> AsyncIterator[Database]:
    opened = Database((await database("notification")).url)
    yield opened
    await opened.close()


def test_every_durable_of_the_topology_is_exercised() -> None:
    expected = {each.name: each.subject for each in topology.DURABLES if each.service == "notification"}
    assert {DURABLES[type(event)]: event.subject() for event in EVENTS} == expected


@pytest.mark.parametrize("event", EVENTS, ids=lambda event: type(event).__name__)
async def test_an_event_applies_once(db: Database, event: Event) -> None:
    bus = Bus("nats://127.0.0.1:1", "notification", routers=[build_consumers(db, new_secrets())])
    before = await final_state(db)
    await deliver(bus, event)
    once = await final_state(db)
    assert once != before
    await deliver(bus, event)
    assert await final_state(db) == once
    async with db.transaction() as tx:
        assert await tx.fetchval("SELECT count(*) FROM inbox") == 1
