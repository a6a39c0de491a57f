"""Any order, any duplication, any concurrency of deliveries gives the same totals (DESIGN §4.5), on a real Postgres."""

import asyncio
import itertools
import random
from collections import Counter
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from datetime import date, timedelta

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from services.reporting.definition import Definition
from services.reporting.totals import store
from services.reporting.totals.consumers import build_consumers
from shared.bus import Bus
from shared.contracts.base import Event
from shared.database import Database, Transaction
from shared.definitions import Definitions
from tests.support.databases import DatabaseFactory, fresh_database
from tests.support.reporting_events import DAY_1, checkins, moved
from tests.support.reporting_history import GROUPS, LESSONS, START, UNITS, VIEWERS, History, histories
from tests.support.reporting_service import ReportingService
from tests.support.servers import RunningPostgres

TOTALS = """
    SELECT lesson_date, mode, unit_code, group_code, checkins, late, first_for_lesson, first_for_campaign, made_good
    FROM total WHERE campaign_id = $1
"""
_campaigns = itertools.count(1)


@pytest.fixture(scope="module")
async def service(postgres: RunningPostgres) -> AsyncIterator[ReportingService]:
    """One database for the module: every history is a campaign of its own."""
    fresh = await fresh_database(postgres, "reporting")
    running = ReportingService(fresh)
    yield running
    await running.close()
    await postgres.drop(fresh.name)


def campaign_id() -> str:
    return f"campaign-{next(_campaigns)}"


async def totals(db: Database, campaign_id: str) -> dict[tuple[date, str, str, str], Counter[str]]:
    async with db.transaction() as tx:
        rows = await tx.fetch(TOTALS, campaign_id)
    names = ("checkins", "late", "first_for_lesson", "first_for_campaign", "made_good")
    sums = {tuple(row[:4]): Counter({name: row[name] for name in names if row[name]}) for row in rows}
    return {key: counts for key, counts in sums.items() if counts}


async def assert_is(db: Database, history: History) -> None:
    assert await totals(db, history.campaign_id) == history.totals()
    async with db.transaction() as tx:
        assert await store.certificates_by(tx, history.campaign_id, "unit") == history.issued_and_claimed(0)
        assert await store.certificates_by(tx, history.campaign_id, "group") == history.issued_and_claimed(1)


@st.composite
def deliveries(draw: st.DrawFn) -> tuple[History, list[Event]]:
    """A history, and its events shuffled, some of them more than once."""
    history = draw(histories(campaign_id()))
    again = draw(st.lists(st.sampled_from(history.events), max_size=10)) if history.events else []
    return history, draw(st.permutations(history.events + again))


@given(deliveries())
@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
async def test_any_order_and_duplication_gives_the_same_totals(
    service: ReportingService, delivered: tuple[History, list[Event]]
) -> None:
    history, events = delivered
    await service.deliver(*events)
    await assert_is(service.db, history)


async def test_concurrent_deliveries_give_the_same_totals(service: ReportingService) -> None:
    for seed in range(5):
        history = busy_history(random.Random(seed))
        events = history.events * 2
        random.Random(seed).shuffle(events)
        await asyncio.gather(*(service.deliver(event) for event in events))
        await assert_is(service.db, history)


async def test_events_that_touch_the_same_sums_in_opposite_order_do_not_collide(service: ReportingService) -> None:
    name = campaign_id()
    places = [(f"unit-{number}", "general") for number in range(500)]
    events = [checkins(name, order) for order in (places, places[::-1]) * 4]
    await asyncio.gather(*(service.deliver(event) for event in events))
    assert service.collisions == 0
    assert {counts["checkins"] for counts in (await totals(service.db, name)).values()} == {8}


class Listening(Database):
    """Keeps what its last transaction said to the server between BEGIN and COMMIT."""

    @asynccontextmanager
    async def transaction(self) -> AsyncIterator[Transaction]:
        self.statements: list[str] = []
        async with super().transaction() as tx:
            with tx._connection.query_logger(lambda query: self.statements.append(query.query)):
                yield tx


async def nothing_before(*_: object) -> None:
    """What must happen before a campaign is defined anew: nothing."""


async def test_an_event_of_500_rows_is_three_statements(database: DatabaseFactory) -> None:
    db = Listening((await database("reporting")).url, pool_size=1)
    routers = [build_consumers(db, Definitions(Definition.of), nothing_before)]
    bus = Bus("nats://reporting@127.0.0.1:1", "reporting", routers=routers)
    for _ in range(2):  # for the first one asyncpg asks what the column types are
        event = checkins(campaign_id(), [(f"unit-{number}", "general") for number in range(500)])
        await bus.handle("reporting-totals", event.model_dump_json().encode())
    await db.close()
    assert [sql.split()[2] for sql in db.statements] == ["inbox", "total", "platform_total"]


async def test_a_move_may_arrive_before_the_check_in_it_moves(service: ReportingService) -> None:
    name = campaign_id()
    here, there = ("111", "general"), ("112", "student")
    await service.deliver(moved(name, "v0", here, there))
    assert (await totals(service.db, name))[DAY_1, "live", *here]["checkins"] == -1
    await service.deliver(checkins(name, [here]))
    assert list(await totals(service.db, name)) == [(DAY_1, "live", *there)]


def busy_history(draw: random.Random) -> History:
    """Every viewer checks in to every lesson in both modes, while all are moved about and get certificates."""
    history = History(campaign_id())
    for lesson, mode in itertools.product(LESSONS, ("live", "replay")):
        for viewer_id in VIEWERS:
            history.check_in([viewer_id], lesson, mode, [draw.random() < 0.3])
            place = (draw.choice(UNITS), draw.choice(GROUPS))
            history.enrol(
                draw.sample(VIEWERS, 3), place, START + timedelta(seconds=draw.randrange(9)), str(draw.random())
            )
        history.make_good(draw.sample(VIEWERS, 4), lesson)
        for act in (history.issue, history.claim, history.revoke):
            act(draw.sample(VIEWERS, 3))
    return history
