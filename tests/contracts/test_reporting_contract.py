"""What the published examples say to reporting: the same figures in whatever order and number they are delivered.

That each of them applies once is tested for all services in test_consumers.py.
"""

import random
from collections.abc import AsyncIterator

import pytest

from shared.contracts.base import Event
from shared.contracts.checkin import CheckinRecordedV1, LessonMadeGoodV1
from shared.contracts.registry import BY_SUBJECT
from tests.contracts.conftest import examples_for
from tests.support.databases import DatabaseFactory
from tests.support.reporting_service import DURABLE_OF, ReportingService

EXAMPLES: list[Event] = [
    BY_SUBJECT[subject].model_validate_json(body)
    for subject in DURABLE_OF
    for body in examples_for(BY_SUBJECT[subject])
]


@pytest.fixture
async def service(database: DatabaseFactory) -> AsyncIterator[ReportingService]:
    running = ReportingService(await database("reporting"))
    yield running
    await running.close()


@pytest.fixture
async def other_service(database: DatabaseFactory) -> AsyncIterator[ReportingService]:
    running = ReportingService(await database("reporting"))
    yield running
    await running.close()


@pytest.mark.parametrize("seed", range(3))
async def test_examples_in_any_order_and_number_give_the_same_figures(
    service: ReportingService, other_service: ReportingService, seed: int
) -> None:
    await service.deliver(*EXAMPLES)
    shuffled = EXAMPLES * 2
    random.Random(seed).shuffle(shuffled)
    await other_service.deliver(*shuffled)
    assert await other_service.state() == await service.state()


async def test_every_check_in_and_made_good_lesson_of_the_examples_is_counted(service: ReportingService) -> None:
    await service.deliver(*EXAMPLES)
    async with service.db.transaction() as tx:
        counted = await tx.fetchrow("SELECT sum(checkins), sum(made_good) FROM total")
    assert counted is not None
    assert tuple(counted) == tuple(
        sum(len(event) for event in EXAMPLES if isinstance(event, kind))
        for kind in (CheckinRecordedV1, LessonMadeGoodV1)
    )
