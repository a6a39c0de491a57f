"""Who sees what: one county's token cannot read another county's numbers, and small groups stay in the office."""

import itertools
from collections.abc import AsyncIterator
from typing import Any

import pytest

from shared.service.tokens import ROLES
from tests.support.databases import fresh_database
from tests.support.reporting_events import (
    DAY_1,
    DAY_2,
    TREE,
    Place,
    checkins,
    claimed,
    defined,
    issued,
    live_room,
    made_good,
    moved,
)
from tests.support.reporting_service import ReportingService, by_key, column
from tests.support.servers import RunningPostgres
from tests.support.service import token

SUBTREES = {
    "14": [unit["unit_code"] for unit in TREE],
    "1409": ["1409", "1409-DEP", "140902", "140902-EDU", "140902-EDU-1", "140921", "140921-FIN"],
    "140902": ["140902", "140902-EDU", "140902-EDU-1"],
    "140902-EDU": ["140902-EDU", "140902-EDU-1"],
    "140921": ["140921", "140921-FIN"],
    "1401": ["1401", "140105"],
}
PLACES: list[Place] = [(unit["unit_code"], group) for unit in TREE for group in ("student", "general")]
PLACES += [("unassigned", "unassigned"), ("9999", "general")]
QUESTIONS: list[dict[str, Any]] = [
    {"by": by} | lesson | mode
    for by, lesson, mode in itertools.product(
        ("unit", "subtree", "county", "city", "group", "lesson", "mode"),
        ({}, {"lesson": DAY_1}),
        ({}, {"mode": "live"}),
    )
]


@pytest.fixture(scope="module")
async def service(postgres: RunningPostgres) -> AsyncIterator[ReportingService]:
    fresh = await fresh_database(postgres, "reporting")
    running = ReportingService(fresh)
    yield running
    await running.close()
    await postgres.drop(fresh.name)


async def deliver_facts(service: ReportingService, campaign_id: str, places: list[Place]) -> None:
    """The same facts for each place, whoever else is there."""
    await service.deliver(
        *defined(campaign_id),
        checkins(campaign_id, places * 6),
        checkins(campaign_id, places, lesson=DAY_2, mode="replay", late=True, first_for_campaign=False),
        made_good(campaign_id, places),
        issued(campaign_id, places),
        claimed(campaign_id, *range(0, len(places), 2)),
        live_room(campaign_id, places, "prize_won", "保温杯"),
    )


@pytest.mark.parametrize("unit", SUBTREES)
async def test_a_token_of_a_unit_reads_as_if_there_were_no_other(service: ReportingService, unit: str) -> None:
    """Its answers are those of a campaign in which nothing happened outside its subtree."""
    everything, alone = f"all-{unit}", f"own-{unit}"
    await deliver_facts(service, everything, PLACES)
    await deliver_facts(service, alone, [place for place in PLACES if place[0] in SUBTREES[unit]])
    outside = [other["unit_code"] for other in TREE if other["unit_code"] not in SUBTREES[unit]]
    for role, question in itertools.product(ROLES, QUESTIONS):
        bearer = token(role, unit=unit)
        answer = await service.totals(everything, bearer, **question)
        assert without_ids(answer) == without_ids(await service.totals(alone, bearer, **question))
        assert answer["rows"]
        assert answer["sum"]["attributed_share"] is None
        for code in outside:
            assert f"'{code}'" not in str(answer)
            assert f"单位{code}'" not in str(answer)
    for by in ("unit", "county", "city", "lesson", "item"):
        bearer = token("liaison", unit=unit)
        answer = await service.live_room(everything, bearer, by=by)
        assert without_ids(answer) == without_ids(await service.live_room(alone, bearer, by=by))


def without_ids(answer: dict[str, Any]) -> dict[str, Any]:
    return {key: value for key, value in answer.items() if key not in ("campaign_id", "as_of")}


async def test_rows_roll_up_no_higher_than_the_tokens_unit(service: ReportingService) -> None:
    await deliver_facts(service, "high", PLACES)
    county = token(unit="140902")
    assert list(by_key(await service.totals("high", county, by="city"))) == ["140902"]
    assert list(by_key(await service.totals("high", county, by="county"))) == ["140902"]
    assert list(by_key(await service.totals("high", token(unit="1409"), by="county"))) == ["1409", "140902", "140921"]


async def test_a_certificate_that_moved_away_is_no_longer_seen(service: ReportingService) -> None:
    here, there = ("140902-EDU", "student"), ("140921-FIN", "general")
    await service.deliver(
        *defined("moving"), checkins("moving", [here]), issued("moving", [here]), moved("moving", "v0", here, there)
    )
    left = await service.totals("moving", token(unit="140902"), by="unit")
    assert (column(left, "viewers"), left["sum"]["certificates_issued"], left["sum"]["viewers"]) == ({}, 0, 0)
    got = await service.totals("moving", token(unit="140921"), by="unit")
    assert (got["sum"]["certificates_issued"], got["sum"]["viewers"]) == (1, 1)


@pytest.mark.parametrize("unit", ["9999", "unassigned", "", "140902' OR '1'='1"])
async def test_a_token_of_a_unit_outside_the_tree_sees_nothing(service: ReportingService, unit: str) -> None:
    await deliver_facts(service, "outside", PLACES)
    for path in ("totals", "live-room"):
        answer = await service.get(f"/v1/campaigns/outside/{path}", token(unit=unit), by="unit")
        assert (answer.status_code, answer.json()["type"]) == (403, "/problems/unit-not-in-campaign")


async def test_a_token_of_a_unit_sees_nothing_before_the_definition(service: ReportingService) -> None:
    await service.deliver(checkins("early", [("140902", "general")]))
    answer = await service.get("/v1/campaigns/early/totals", token(unit="140902"), by="unit")
    assert answer.status_code == 403


async def test_a_unit_that_left_the_tree_takes_its_tokens_along(service: ReportingService) -> None:
    await service.deliver(*defined("shrinking"), checkins("shrinking", [("140921", "general")]))
    await service.totals("shrinking", token(unit="140921"), by="unit")
    smaller = [unit for unit in TREE if not unit["unit_code"].startswith("140921")]
    await service.deliver(*defined("shrinking", revision=2, units=smaller))
    answer = await service.get("/v1/campaigns/shrinking/totals", token(unit="140921"), by="unit")
    assert answer.status_code == 403


async def test_small_groups_are_withheld_outside_the_office(service: ReportingService) -> None:
    places = [
        ("140902", group) for group, size in (("student", 30), ("general", 12), ("elderly", 9)) for _ in range(size)
    ]
    await service.deliver(*defined("groups"), checkins("groups", places))
    for role in ("admin", "office", "auditor"):
        answer = await service.totals("groups", token(role), by="group")
        assert (len(answer["rows"]), answer["withheld"]) == (3, 0)
    answer = await service.totals("groups", token("liaison"), by="group")
    assert list(by_key(answer)) == ["student"]  # with `general` shown, the sum would tell `elderly`
    assert (answer["withheld"], answer["sum"]["viewers"]) == (2, 51)
