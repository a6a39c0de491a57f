"""A unit without a liaison owes a report, and naming one files it: in the same transaction, on time or late."""

from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from shared.contracts.reporting import LiaisonNamedV1, ReportSubmittedV1
from tests.support.databases import DatabaseFactory
from tests.support.forms import form
from tests.support.liaisons import name
from tests.support.obligations import BEFORE, CAMPAIGN, Reporter, at, definition_events
from tests.support.reporting_service import ReportingService

ASKING = form(
    id="liaison",
    title="指定联络员",
    asks="liaison",
    every="once",
    by="2024-07-01",
    deadline={"day": "same_day", "lock_after_days": 2},
    fields=[{"id": "named_on", "title": "指定日期", "type": "date", "required": True}],
)


@pytest.fixture
async def service(database: DatabaseFactory, tmp_path: Path) -> AsyncIterator[ReportingService]:
    running = ReportingService(await database("reporting"), folder=tmp_path, now=BEFORE)
    await running.deliver(*definition_events(ASKING))
    yield running
    await running.close()


async def time_is(service: ReportingService, text: str) -> None:
    service.clock_is(at(text))
    await service.do_due_work()


async def test_naming_files_the_report_that_asks_for_it(service: ReportingService) -> None:
    await name(service, CAMPAIGN, "113")  # before the period opens
    await time_is(service, "06-29 00:00")
    office = Reporter(service)
    assert (await office.states())[("111", "once")] == "due"
    answer = await name(service, CAMPAIGN, "111")
    assert answer.status_code == 200, answer.text
    await time_is(service, "07-01 18:01")
    await name(service, CAMPAIGN, "112")
    assert await office.states() == {("111", "once"): "on_time", ("112", "once"): "late"}
    versions = (await office.get("units/111/reports/liaison/once")).json()["versions"]
    assert [(version["values"], version["kind"]) for version in versions] == [({"named_on": "2024-06-29"}, "on_behalf")]
    await name(service, CAMPAIGN, "111", deputy={"name": "王芳", "phone": "13987654321"})  # nothing is owed any more
    assert len(await service.published(ReportSubmittedV1)) == 2


async def test_who_was_named_before_the_period_opened_owes_nothing(service: ReportingService) -> None:
    await name(service, CAMPAIGN, "111")
    assert await service.published(ReportSubmittedV1) == []
    await time_is(service, "06-29 00:00")
    assert await Reporter(service).states() == {("111", "once"): "on_time", ("112", "once"): "due"}
    ((values,),) = await service.rows("SELECT values->>'named_on' FROM report")
    assert values == "2024-06-28"


async def test_naming_goes_on_where_the_report_is_locked(service: ReportingService) -> None:
    await time_is(service, "07-04 18:01")
    assert (await name(service, CAMPAIGN, "111")).status_code == 200
    await service.do_due_work()
    assert (await Reporter(service).states())[("111", "once")] == "missing"
    assert len(await service.published(LiaisonNamedV1)) == 1
