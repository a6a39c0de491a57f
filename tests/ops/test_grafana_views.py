"""The views that boards read: the figures of the API, and nothing about a person."""

import asyncio
from collections.abc import AsyncIterator
from typing import Any

import asyncpg
import pytest

from devstack.home import REPOSITORY
from devstack.processes import environment
from tests.support.databases import DatabaseFactory, FreshDatabase
from tests.support.reporting_events import DAY_2, checkins, defined, issued
from tests.support.reporting_service import ReportingService, column
from tests.support.servers import RunningPostgres
from tests.support.service import token

C = "boards-2024"
EDU, FIN, DEP, COUNTY = (
    ("140902-EDU", "student"),
    ("140921-FIN", "general"),
    ("1409-DEP", "general"),
    ("140902", "women"),
)
PLACES = [
    EDU,
    ("140902-EDU-1", "student"),
    COUNTY,
    FIN,
    DEP,
    ("14", "general"),
    ("unassigned", "unassigned"),
    ("9999", "x"),
]


@pytest.fixture
async def fresh(database: DatabaseFactory) -> FreshDatabase:
    return await database("reporting")


@pytest.fixture
async def service(fresh: FreshDatabase) -> AsyncIterator[ReportingService]:
    running = ReportingService(fresh)
    yield running
    await running.close()


async def rows(fresh: FreshDatabase, sql: str) -> list[tuple[Any, ...]]:
    connection = await asyncpg.connect(fresh.owner_url)
    try:
        return [tuple(row) for row in await connection.fetch(sql)]
    finally:
        await connection.close()


async def test_sums_by_unit_and_county_are_those_of_the_api(service: ReportingService, fresh: FreshDatabase) -> None:
    await service.deliver(
        *defined(C), checkins(C, PLACES), checkins(C, PLACES[:3], lesson=DAY_2), issued(C, [EDU, FIN])
    )
    for by, key in (("unit", "unit_code"), ("county", "county_code")):
        for figure in ("checkins", "credited", "late", "viewers"):
            column_ = "new_viewers" if figure == "viewers" else figure
            shown = await rows(fresh, f"SELECT {key}, sum({column_})::int FROM boards.unit_total GROUP BY 1")
            assert dict(shown) == column(await service.totals(C, by=by), figure), (by, figure)
    named = dict(await rows(fresh, "SELECT county_code, county_name FROM boards.unit_total"))
    assert {**named, "9999": None} == {**column(await service.totals(C, by="county"), "name"), "9999": None}
    assert await rows(fresh, "SELECT sum(issued)::int, sum(claimed)::int FROM boards.unit_certificate") == [(2, 0)]


async def test_sums_by_platform_are_those_of_the_api(service: ReportingService, fresh: FreshDatabase) -> None:
    platforms = [{"source": "kuaishou", "title": "快手"}, {"source": "douyin", "title": "抖音"}]
    sent = [
        checkins(C, PLACES, source="kuaishou"),
        checkins(C, PLACES[:3], lesson=DAY_2, source="bus"),
        checkins(C, PLACES[:2], lesson=DAY_2, mode="replay", source="kuaishou"),
    ]
    await service.deliver(*defined(C, platforms=platforms), *sent)
    for figure in ("checkins", "credited", "late", "viewers"):
        column_ = "new_viewers" if figure == "viewers" else figure
        found = await rows(fresh, f"SELECT source, sum({column_})::int FROM boards.platform_total GROUP BY 1")
        assert dict(found) == column(await service.totals(C, by="platform"), figure), figure
    named = await rows(fresh, "SELECT DISTINCT source, name FROM boards.platform_total")
    assert dict(named) == {"kuaishou": "快手", "bus": "bus"}


async def test_facts_before_their_definition_are_there_without_names(
    service: ReportingService, fresh: FreshDatabase
) -> None:
    await service.deliver(checkins(C, PLACES))
    assert await rows(fresh, "SELECT sum(checkins)::int, count(credited) FROM boards.unit_total") == [(len(PLACES), 0)]


async def test_lessons_are_numbered_and_the_latest_is_the_last_with_figures(
    service: ReportingService, fresh: FreshDatabase
) -> None:
    await service.deliver(*defined(C))
    assert await rows(fresh, "SELECT latest_lesson FROM boards.campaign") == [(None,)]
    await service.deliver(checkins(C, PLACES, lesson=DAY_2))
    assert await rows(fresh, "SELECT latest_lesson FROM boards.campaign") == [(DAY_2,)]
    assert await rows(fresh, "SELECT number, title FROM boards.lesson ORDER BY 1") == [(1, "第一课"), (2, "第二课")]


@pytest.mark.parametrize(
    ("sizes", "shown"),
    [
        ({"student": 30, "general": 12, "women": 11}, {"学生": 30, "其他群众": 12, "women": 11}),
        ({"student": 30, "general": 12, "women": 9}, {"学生": 30, "其余人群": 21}),  # else the sum would tell `women`
        ({"student": 30, "general": 12, "women": 9, "x": 3}, {"学生": 30, "其他群众": 12, "其余人群": 12}),
        ({"student": 30, "general": 12, "women": 4, "x": 3}, {"学生": 30, "其余人群": 19}),
        ({"general": 4, "women": 3}, {}),
    ],
)
async def test_small_groups_are_not_told_apart(
    service: ReportingService, fresh: FreshDatabase, sizes: dict[str, int], shown: dict[str, int]
) -> None:
    places = [("140902", group) for group, size in sizes.items() for _ in range(size)]
    await service.deliver(*defined(C), checkins(C, places))
    assert dict(await rows(fresh, "SELECT name, viewers::int FROM boards.group_total")) == shown
    withheld = (await service.totals(C, token("liaison"), by="group"))["rows"]
    assert {row["viewers"] for row in withheld} == {n for name, n in shown.items() if name != "其余人群"}


async def test_the_boards_role_reads_the_views_and_nothing_else(
    postgres: RunningPostgres, fresh: FreshDatabase
) -> None:
    """watchers.sql once before the migration, as `provision` runs it, and once after it."""
    script = REPOSITORY / "deploy" / "postgres" / "watchers.sql"
    passwords = {"REPORTING_READER_PASSWORD": "pw_r", "POSTGRES_EXPORTER_PASSWORD": "pw_e"}
    for _ in range(2):
        command = postgres.server.psql(script)
        job = await asyncio.create_subprocess_exec(
            *command, env=environment({**postgres.server.psql_environment(), **passwords}), cwd="/"
        )
        assert await job.wait() == 0
    reader = await asyncpg.connect(postgres.server.url("reporting_reader", "pw_r", "fanzha_reporting"))
    try:
        views = await reader.fetch("SELECT viewname FROM pg_views WHERE schemaname = 'boards'")
        assert {row[0] for row in views} >= {"unit_total", "group_total", "campaign"}
        for row in views:
            await reader.fetch(f'SELECT * FROM boards."{row[0]}"')
        for forbidden in ("public.viewer_move", "public.person", "public.session", "public.outbox"):
            with pytest.raises(asyncpg.InsufficientPrivilegeError):
                await reader.fetch(f"SELECT FROM {forbidden}")
    finally:
        await reader.close()
