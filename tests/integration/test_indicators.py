"""Indicators over reports and recorded totals, by unit and county, and their rankings (DESIGN §5.2)."""

from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest

from tests.support.databases import DatabaseFactory
from tests.support.forms import form, indicator, number
from tests.support.obligations import BEFORE, CAMPAIGN, UNITS, Reporter, at, definition_events
from tests.support.reporting_events import DAY_1, checkins
from tests.support.reporting_service import ReportingService

HEADCOUNTS = {"111": 100, "112": 50, "113": None}
TREE = [one | ({"headcount": HEADCOUNTS[one["unit_code"]]} if one["unit_code"] in HEADCOUNTS else {}) for one in UNITS]


@pytest.fixture
async def service(database: DatabaseFactory, tmp_path: Path) -> AsyncIterator[ReportingService]:
    running = ReportingService(await database("reporting"), folder=tmp_path, now=BEFORE)
    fields = [number("viewers", unit="人数"), number("leaflets", unit="份")]
    indicators = [
        indicator("daily.viewers / headcount", decimals=3),
        indicator("daily.leaflets", id="leaflets"),
        indicator("recorded.viewers", id="watched"),
    ]
    await running.deliver(*definition_events(form(fields=fields), units=TREE, indicators=indicators))
    running.clock_is(at("06-30 20:00"))
    await running.do_due_work()
    for code, period, viewers in (("111", "2024-06-29", 25), ("112", "2024-06-29", 25), ("111", "2024-06-30", 5)):
        values = {"viewers": viewers, "leaflets": 10}
        await Reporter(running, "liaison", code).send(code, period, values=values)
    await running.deliver(
        checkins(CAMPAIGN, [("111", "general"), ("111-EDU", "general"), ("112", "student")], lesson=DAY_1)
    )
    yield running
    await running.close()


async def rows(reporter: Reporter, path: str, **query: Any) -> dict[str, tuple[Any, ...]]:
    answer = await reporter.get(path, **query)
    assert answer.status_code == 200, answer.text
    return {row["key"]: tuple(row.get(key) for key in ("value", "rank")) for row in answer.json()["rows"]}


async def test_a_rate_of_a_period_by_county_and_of_what_is_above(service: ReportingService) -> None:
    answer = (await Reporter(service).get("indicators/rate", by="county", period="2024-06-29")).json()
    assert [
        (row["key"], row["value"], row["numerator"], row["denominator"], row["units"]) for row in answer["rows"]
    ] == [
        ("1", None, None, None, 0),
        ("11", None, None, None, 0),
        ("111", 0.25, 25.0, 100.0, 1),
        ("112", 0.5, 25.0, 50.0, 1),
        ("113", None, None, None, 0),
    ]
    assert await rows(Reporter(service), "indicators/rate", by="city", period="2024-06-29") == {
        "1": (None, None),
        "11": (0.333, None),
    }


async def test_people_are_not_added_up_over_periods_and_copies_are(service: ReportingService) -> None:
    assert (await rows(Reporter(service), "indicators/rate", by="county"))["111"] == (None, None)
    assert (await rows(Reporter(service), "indicators/leaflets", by="county"))["111"] == (20.0, None)


async def test_recorded_totals_are_those_of_the_lesson_or_of_the_campaign(service: ReportingService) -> None:
    counties = await rows(Reporter(service), "indicators/watched", by="county", period="2024-06-29")
    assert {key: value for key, (value, _) in counties.items()} == {
        "1": None,
        "11": None,
        "111": 2.0,
        "112": 1.0,
        "113": 0.0,
    }
    assert (await rows(Reporter(service), "indicators/watched", by="county", period="2024-W27"))["111"] == (None, None)


async def test_a_ranking_hides_nobody(service: ReportingService) -> None:
    ranked = await rows(Reporter(service), "rankings/leaflets", by="county", period="2024-06-29")
    assert ranked == {"111": (10.0, 1), "112": (10.0, 1), "1": (None, None), "11": (None, None), "113": (None, None)}
    assert list(ranked)[:2] == ["111", "112"]


async def test_a_county_sees_its_own_rows_and_an_unknown_indicator_is_named(service: ReportingService) -> None:
    assert set(await rows(Reporter(service, "office", "111"), "rankings/rate", by="unit")) == {"111", "111-EDU"}
    unknown = await Reporter(service).get("indicators/none")
    assert (unknown.status_code, unknown.json()["title"]) == (404, "这个活动没有指标 none")
