"""The one way to a definition in force: kept only where it can be read, prepared once per revision."""

import itertools
from collections.abc import AsyncIterator, Sequence

import pytest

from shared.contracts.checkin import CampaignDefinedV1
from shared.database import Database
from shared.definitions import Definitions, InForce, is_defined
from shared.failures import Poison
from tests.support.databases import DatabaseFactory
from tests.support.reporting_events import defined

C, OTHER = "c-1", "c-2"


class Service:
    """A service that works with titles and unit codes, and remembers which revisions it prepared."""

    def __init__(self, db: Database, *, with_units: bool) -> None:
        self.db = db
        self.prepared: list[tuple[str, int]] = []
        self.definitions = Definitions(self._prepare, with_units=with_units)

    def _prepare(self, in_force: InForce) -> tuple[str, list[str]]:
        self.prepared.append((in_force.rules.campaign_id, in_force.revision))
        return in_force.rules.title, [unit.unit_code for unit in in_force.units]

    async def hear(self, *events: CampaignDefinedV1) -> list[bool]:
        kept = []
        for event in events:
            async with self.db.transaction() as tx:
                kept.append(await self.definitions.keep(tx, event))
        return kept

    async def all(self) -> dict[str, tuple[str, list[str]]]:
        async with self.db.transaction() as tx:
            return await self.definitions.all(tx)

    async def in_force(self, campaign_id: str = C) -> tuple[str, list[str]] | None:
        async with self.db.transaction() as tx:
            return await self.definitions.in_force(tx, campaign_id)


@pytest.fixture
async def db(database: DatabaseFactory) -> AsyncIterator[Database]:
    opened = Database((await database("reporting")).url)
    yield opened
    await opened.close()


@pytest.fixture
def service(db: Database) -> Service:
    return Service(db, with_units=True)


def codes(pages: Sequence[CampaignDefinedV1]) -> list[str]:
    return [str(unit["unit_code"]) for page in pages for unit in page.units]


async def test_in_any_order_the_newest_complete_revision_is_in_force(service: Service) -> None:
    for number, order in enumerate(itertools.permutations(range(4))):
        campaign_id = f"c-{number}"
        old, new = defined(campaign_id, title="一"), defined(campaign_id, revision=2, title="二")
        pages = [*old, *new]
        await service.hear(*(pages[position] for position in order))
        assert await service.in_force(campaign_id) == ("二", codes(new))


async def test_a_revision_is_prepared_once_and_a_newer_one_again(service: Service) -> None:
    assert await service.hear(*defined(C, title="一"), *defined(OTHER)) == [False, True, False, True]
    first = await service.in_force()
    assert await service.in_force() is first
    assert (await service.all())[C] is first
    assert await service.hear(*defined(C, revision=2, title="二")) == [False, True]
    assert [title for title, _ in (await service.all()).values()] == ["二", "小活动"]
    assert service.prepared == [(C, 1), (OTHER, 1), (C, 2)]


async def test_what_has_no_definition_is_left_out(service: Service) -> None:
    page, _ = defined(C)
    await service.hear(page, *defined(OTHER))
    async with service.db.transaction() as tx:
        assert list(await service.definitions.of(tx, [C, OTHER, "nothing"])) == [OTHER]
        assert await service.definitions.of(tx, []) == {}
        assert [await is_defined(tx, campaign_id) for campaign_id in (C, OTHER)] == [False, True]
    assert await service.in_force() is None


async def test_an_older_snapshot_sees_its_own_revision_whatever_others_have_prepared(service: Service) -> None:
    await service.hear(*defined(C, title="一"))
    async with service.db.transaction() as snapshot:
        await snapshot.execute("SET TRANSACTION ISOLATION LEVEL REPEATABLE READ, READ ONLY")
        await snapshot.fetchval("SELECT 1")
        await service.hear(*defined(C, revision=2, title="二"))
        assert (await service.all())[C][0] == "二"
        assert (await service.definitions.all(snapshot))[C][0] == "一"
    assert (await service.all())[C][0] == "二"


async def test_who_reads_no_units_is_given_none_and_refuses_no_page_for_them(db: Database) -> None:
    service = Service(db, with_units=False)
    first, second = defined(C)
    spoilt = second.model_copy(update={"units": [{"unit_code": "14"}]})
    assert await service.hear(first, spoilt) == [False, True]
    assert await service.in_force() == ("小活动", [])


@pytest.mark.parametrize(
    ("spoilt", "at"),
    [
        ({"rules": {"campaign_id": C, "title": "王示例"}}, "organiser"),
        ({"units": [{"unit_code": "王示例"}]}, "unit_code"),
    ],
)
async def test_a_page_that_cannot_be_read_is_parked_with_the_place_and_no_value(
    service: Service, spoilt: dict[str, object], at: str
) -> None:
    first, second = defined(C)
    with pytest.raises(Poison) as caught:
        await service.hear(first.model_copy(update=spoilt))
    assert at in caught.value.reason
    assert "王示例" not in caught.value.reason
    assert await service.hear(second) == [False]
    assert await service.hear(first) == [True]
