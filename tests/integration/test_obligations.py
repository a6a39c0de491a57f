"""What units owe: when it comes up, what becomes of it, and how many of them reported (DESIGN §5.2, FACTS A7-A9)."""

import asyncio
from collections.abc import AsyncIterator
from datetime import datetime
from pathlib import Path
from typing import Any
from uuid import uuid4

import pytest

from services.reporting.erasure import Erasure
from shared.clock import write_clock
from shared.contracts.reporting import ReportDueSoonV1, ReportOverdueV1, ReportSubmittedV1
from shared.database import Database
from tests.support.campaigns import WITHOUT_COURSE
from tests.support.databases import DatabaseFactory
from tests.support.forms import form, number
from tests.support.obligations import BEFORE, Reporter, at, definition_events
from tests.support.reporting_service import ReportingService

MONDAY = "07-01 18:00"  # Saturday's and Sunday's lessons are due then


@pytest.fixture
async def service(database: DatabaseFactory, tmp_path: Path) -> AsyncIterator[ReportingService]:
    running = ReportingService(await database("reporting"), folder=tmp_path, now=BEFORE)
    yield running
    await running.close()


async def time_is(service: ReportingService, text: str) -> None:
    service.clock_is(at(text))
    await service.do_due_work()


async def test_a_period_opens_with_its_lesson_for_the_units_that_have_joined(service: ReportingService) -> None:
    await service.deliver(*definition_events())
    office = Reporter(service)
    await time_is(service, "06-29 19:29")
    assert await office.states() == {}
    await time_is(service, "06-29 19:30")
    assert await office.states() == {("111", "2024-06-29"): "due", ("112", "2024-06-29"): "due"}
    await time_is(service, "06-30 19:30")
    assert set(await office.states(period="2024-06-30")) == {(code, "2024-06-30") for code in ("111", "112", "113")}
    rows = (await office.get("obligations")).json()["rows"]
    assert {row["due_at"] for row in rows} == {"2024-07-01T10:00:00Z"}


async def test_the_minute_of_the_deadline_is_on_time_and_zero_is_a_report(service: ReportingService) -> None:
    await service.deliver(*definition_events())
    await time_is(service, MONDAY)
    receipt = (await Reporter(service, "liaison", "111").send("111", viewers=0)).json()
    assert (receipt["state"], receipt["version"], receipt["due_at"]) == ("on_time", 1, "2024-07-01T10:00:00Z")
    service.clock_is(at("07-01 18:01"))
    assert (await Reporter(service, "liaison", "112").send("112")).json()["state"] == "late"
    office = Reporter(service)
    assert await office.states(period="2024-06-29") == {
        ("111", "2024-06-29"): "on_time",
        ("112", "2024-06-29"): "late",
    }
    assert (await office.get("obligations")).json()["counts"] == {
        "due": 0,
        "on_time": 1,
        "late": 1,
        "missing": 3,
        "returned": 0,
        "excused": 0,
    }
    rates = await office.rates(by="county")
    assert {key: (row["expected"], row["reported"], row["reporting_rate"]) for key, row in rates.items()} == {
        "111": (2, 1, 0.5),
        "112": (2, 1, 0.5),
        "113": (1, 0, 0.0),
    }


async def test_the_same_submission_has_one_receipt_and_a_stale_one_shows_both_versions(
    service: ReportingService,
) -> None:
    await service.deliver(*definition_events())
    await time_is(service, "06-30 09:00")
    liaison = Reporter(service, "liaison", "111")
    same = uuid4()
    receipts = [(await liaison.send("111", submission_id=same, viewers=7)).json() for _ in range(2)]
    assert receipts[0] == receipts[1]
    stale = await liaison.send("111", viewers=8)
    assert (stale.status_code, stale.json()["type"]) == (409, "/problems/stale-version")
    assert (stale.json()["current"], stale.json()["yours"]) == ({"viewers": 7}, {"viewers": 8})
    assert (await liaison.send("111", viewers=8, based_on_version=1)).json()["version"] == 2
    kept = (await liaison.get("units/111/reports/daily/2024-06-29")).json()
    assert [version["values"] for version in kept["versions"]] == [{"viewers": 7}, {"viewers": 8}]
    assert kept["state"] == "on_time"
    events = await service.published(ReportSubmittedV1)
    assert [(event.unit_code, event.forms, event.periods, event.versions) for event in events] == [
        ("111", ["daily"], ["2024-06-29"], [1]),
        ("111", ["daily"], ["2024-06-29"], [2]),
    ]


async def test_a_report_that_was_returned_as_empty_counts_as_none(service: ReportingService) -> None:
    await service.deliver(*definition_events())
    await time_is(service, "06-30 09:00")
    office, liaison = Reporter(service), Reporter(service, "liaison", "111")
    await liaison.send("111")
    path = "units/111/reports/daily/2024-06-29"
    due = "2024-07-02T12:00:00+08:00"
    returned = (await office.post(f"{path}/return", reason="没有填写内容", due_at=due, empty=True)).json()
    assert (returned["state"], returned["submitted_at"], returned["reason"]) == ("returned", None, "没有填写内容")
    assert (await office.rates(by="form"))["daily"]["reported"] == 0
    await time_is(service, "07-02 09:00")
    assert (await office.rates(by="form"))["daily"] | {"key": 0} == {
        "key": 0,
        "name": "每日学习情况",
        "expected": 5,
        "reported": 0,
        "on_time": 0,
        "late": 0,
        "missing": 5,
        "excused": 0,
        "reporting_rate": 0.0,
        "on_time_rate": 0.0,
    }
    assert (await liaison.send("111", based_on_version=1)).json()["state"] == "late"


async def test_a_returned_report_keeps_its_timeliness_once_it_is_corrected(service: ReportingService) -> None:
    await service.deliver(*definition_events())
    await time_is(service, "06-30 09:00")
    office, liaison = Reporter(service), Reporter(service, "liaison", "111")
    await liaison.send("111")
    path = "units/111/reports/daily/2024-06-29"
    await office.post(f"{path}/return", reason="人数有误", due_at="2024-07-03T12:00:00+08:00")
    await time_is(service, "07-02 09:00")
    assert (await office.states(unit="111", period="2024-06-29"))["111", "2024-06-29"] == "returned"
    assert (await office.rates(by="unit", period="2024-06-29"))["111"]["on_time"] == 1
    receipt = (await liaison.send("111", viewers=6, based_on_version=1)).json()
    assert (receipt["state"], receipt["version"]) == ("on_time", 2)
    again = await office.post(f"{path}/return", reason="仍有误", due_at="2024-07-01T12:00:00+08:00")
    assert (again.status_code, again.json()["type"]) == (422, "/problems/due-in-the-past")


async def test_an_excused_report_leaves_the_denominator_until_it_is_owed_again(service: ReportingService) -> None:
    await service.deliver(*definition_events())
    await time_is(service, "07-02 09:00")
    office = Reporter(service)
    path = "units/112/reports/daily/2024-06-29/excuse"
    assert (await office.post(path, reason="停电")).json()["state"] == "excused"
    row = (await office.rates(by="unit", period="2024-06-29"))["112"]
    assert (row["expected"], row["excused"], row["reporting_rate"]) == (0, 1, None)
    assert (await office.post(path, reason="已恢复", owed_again=True)).json()["state"] == "missing"
    assert (await office.rates(by="unit", period="2024-06-29"))["112"]["expected"] == 1


async def test_the_office_files_on_behalf_and_corrects_with_a_reason(service: ReportingService) -> None:
    await service.deliver(*definition_events())
    await time_is(service, "06-30 09:00")
    office = Reporter(service)
    assert (await office.send("111", viewers=3)).status_code == 200
    refused = await office.send("111", viewers=4, based_on_version=1)
    assert (refused.status_code, refused.json()["type"]) == (422, "/problems/reason-missing")
    assert (await office.send("111", viewers=4, based_on_version=1, reason="电话核实")).status_code == 200
    kept = (await office.get("units/111/reports/daily/2024-06-29")).json()
    assert [(one["kind"], one["actor"], one["reason"]) for one in kept["versions"]] == [
        ("on_behalf", "office None", None),
        ("corrected", "office None", "电话核实"),
    ]


async def test_after_the_lock_only_what_was_reopened_is_taken(service: ReportingService) -> None:
    await service.deliver(*definition_events(form(deadline={"lock_after_days": 1})))
    await time_is(service, "07-02 18:00")
    liaison = Reporter(service, "liaison", "111")
    locked = await liaison.send("111")
    assert (locked.status_code, locked.json()["type"]) == (409, "/problems/period-locked")
    path = "units/111/reports/daily/2024-06-29/reopen"
    assert (await liaison.post(path, reason="补报", until="2024-07-03T12:00:00+08:00")).status_code == 403
    assert (await Reporter(service).post(path, reason="补报", until="2024-07-03T12:00:00+08:00")).status_code == 200
    assert (await liaison.send("111")).json()["state"] == "late"


async def test_approval_by_the_parent_changes_no_state(service: ReportingService) -> None:
    await service.deliver(*definition_events(form(approval="parent")))
    await time_is(service, "06-30 09:00")
    liaison = Reporter(service, "liaison", "111")
    await liaison.send("111")
    path = "units/111/reports/daily/2024-06-29/approve"
    assert (await liaison.post(path, version=1)).json()["type"] == "/problems/not-above"
    approved = (await Reporter(service, "liaison", "11").post(path, version=1)).json()
    assert (approved["state"], approved["approved_at"]) == ("on_time", "2024-06-30T01:00:00Z")
    await liaison.send("111", viewers=9, based_on_version=1)
    assert (await Reporter(service).get("obligations", unit="111")).json()["rows"][0]["approved_at"] is None


@pytest.mark.parametrize(
    ("values", "fields"),
    [
        ({}, ["viewers"]),
        ({"viewers": -1, "other": 1}, ["viewers", "other"]),
        ({"viewers": "１２"}, ["viewers"]),
        ({"viewers": True}, ["viewers"]),
        ({"viewers": 1, "sites": [{"posters": "x"}]}, ["sites[0].posters"]),
    ],
)
async def test_every_wrong_value_is_named(service: ReportingService, values: Any, fields: list[str]) -> None:
    await service.deliver(*definition_events(form(fields=[number("viewers", required=True), form()["fields"][1]])))
    await time_is(service, "06-30 09:00")
    refused = await Reporter(service, "liaison", "111").send("111", values=values)
    assert (refused.status_code, refused.json()["type"]) == (422, "/problems/values-wrong")
    assert {error["field"] for error in refused.json()["errors"]} == set(fields)


async def test_what_a_change_of_the_rules_finds_open_keeps_the_rules_of_before(service: ReportingService) -> None:
    """Also where nobody looked in between: the first lesson opened on Saturday, and only Sunday's change wakes the service."""
    await service.deliver(*definition_events())
    service.clock_is(at("06-30 12:00"))
    later = definition_events(form(deadline={"at": "20:00"}), revision=2, when=at("06-30 11:00"), closing_time="17:00")
    await service.deliver(*reversed(later))
    await time_is(service, "06-30 19:30")
    due = {row["period"]: row["due_at"] for row in (await Reporter(service).get("obligations")).json()["rows"]}
    assert due == {"2024-06-29": "2024-07-01T10:00:00Z", "2024-06-30": "2024-07-01T12:00:00Z"}


async def test_what_opened_before_the_campaign_had_the_form_is_owed_by_nobody_but_once_is(
    service: ReportingService,
) -> None:
    once = form(id="plan", every="once", by="2024-07-05")
    over = form(id="early", every="once", by="2024-06-27", deadline={"day": "same_day"})
    await service.deliver(*definition_events(form(), once, over, when=at("06-30 09:00")))
    await time_is(service, "06-30 12:00")
    assert await Reporter(service).states() == {("111", "once"): "due", ("112", "once"): "due"}


async def test_what_is_due_at_one_time_is_one_reminder_and_only_for_the_missing(service: ReportingService) -> None:
    await service.deliver(*definition_events())
    await time_is(service, "06-30 20:00")
    for period in ("2024-06-29", "2024-06-30"):
        await Reporter(service, "liaison", "112").send("112", period)
    await Reporter(service, "liaison", "113").send("113", "2024-06-30")
    await time_is(service, "07-01 17:29")
    assert await service.published(ReportDueSoonV1) == []
    await time_is(service, "07-01 17:30")
    [soon] = await service.published(ReportDueSoonV1)
    assert (soon.unit_code, soon.forms, soon.periods) == ("111", ["daily"] * 2, ["2024-06-29", "2024-06-30"])
    await time_is(service, MONDAY)
    assert await service.published(ReportOverdueV1) == []
    await time_is(service, "07-01 18:01")
    await time_is(service, "07-01 18:02")
    [overdue] = await service.published(ReportOverdueV1)
    assert (overdue.unit_code, overdue.periods, overdue.due_at) == ("111", soon.periods, at(MONDAY))
    assert len(await service.published(ReportDueSoonV1)) == 1


async def test_a_late_scheduler_tells_what_is_overdue_and_not_that_it_was_due_soon(service: ReportingService) -> None:
    await service.deliver(*definition_events())
    await time_is(service, "07-04 09:00")
    assert [event.unit_code for event in await service.published(ReportOverdueV1)] == ["111", "112", "113"]
    assert await service.published(ReportDueSoonV1) == []


async def test_nobody_sees_or_changes_what_is_outside_of_their_subtree(service: ReportingService) -> None:
    await service.deliver(*definition_events())
    await time_is(service, "06-30 09:00")
    county = Reporter(service, "office", "111")
    assert {unit for unit, _ in await county.states()} == {"111"}
    assert set(await county.rates(by="county")) == {"111"}
    for answer in (
        await county.send("112"),
        await county.get("units/112/reports/daily/2024-06-29"),
        await county.get("obligations", unit="112"),
        await county.post("units/112/reports/daily/2024-06-29/excuse", reason="x"),
    ):
        assert (answer.status_code, answer.json()["type"]) == (422, "/problems/no-such-unit")
    assert (await Reporter(service, "auditor").send("111")).status_code == 403


async def test_anybody_checks_a_receipt_and_sees_no_value(service: ReportingService) -> None:
    await service.deliver(*definition_events())
    await time_is(service, "06-30 09:00")
    liaison = Reporter(service, "liaison", "111")
    receipt = (await liaison.send("111", viewers=4321)).json()
    verify = "/v1/receipts/verify"
    typed = receipt["number"].replace("-", " ").lower()
    good = (await service.client.post(verify, json={"number": typed, "sha256": receipt["sha256"]})).json()
    assert (good["genuine"], good["unit_code"], good["receipt"], good["superseded"]) == (True, "111", receipt, False)
    assert "4321" not in str(good)
    for wrong in ({"number": typed, "sha256": "0" * 64}, {"number": "2222-2222-2223"}, {"number": "退订"}):
        answer = await service.client.post(verify, json=wrong)
        assert (answer.status_code, answer.json()["genuine"]) == (200, False)


async def test_two_replicas_open_a_period_and_remind_once(database: DatabaseFactory, tmp_path: Path) -> None:
    fresh = await database("reporting")
    replicas = [ReportingService(fresh, folder=tmp_path, now=BEFORE) for _ in range(2)]
    await replicas[0].deliver(*definition_events())
    write_clock(tmp_path / "clock", at("07-01 17:45"))
    await asyncio.gather(*(replica.do_due_work() for replica in replicas))
    write_clock(tmp_path / "clock", at("07-01 18:30"))
    await asyncio.gather(*(replica.do_due_work() for replica in replicas))
    assert len(await Reporter(replicas[0]).states()) == 5
    for contract in (ReportDueSoonV1, ReportOverdueV1):
        assert sorted(event.unit_code for event in await replicas[0].published(contract)) == ["111", "112", "113"]
    for replica in replicas:
        await replica.close()


async def test_a_period_of_an_unknown_year_waits_for_its_working_days_and_stops_no_other(
    service: ReportingService,
) -> None:
    """The library's calendar ends with 2026; the metric tells beforehand."""
    days = form(id="days", every="day")
    dates = {**WITHOUT_COURSE, "starts_on": "2026-12-30", "ends_on": "2026-12-31"}
    await service.deliver(*definition_events(days, when=at("06-28 12:00"), **dates))
    service.clock_is(datetime.fromisoformat("2026-12-31T12:00:00+08:00"))
    await service.do_due_work()
    assert set(await Reporter(service).states(unit="111")) == {("111", "2026-12-30")}
    assert 'fanzha_periods_without_due_time{campaign="small-2024"} 1.0' in (await service.get("/metrics")).text
    later = definition_events(
        days,
        revision=2,
        when=datetime.fromisoformat("2026-12-31T13:00:00+08:00"),
        non_working_days=["2027-01-01"],
        **dates,
    )
    await service.deliver(*later)
    await service.do_due_work()
    assert set(await Reporter(service).states(unit="111")) == {("111", "2026-12-30"), ("111", "2026-12-31")}


async def test_the_metrics_count_by_county_and_tell_what_is_due_within_an_hour(service: ReportingService) -> None:
    await service.deliver(*definition_events())
    await time_is(service, "06-30 20:00")
    await Reporter(service, "liaison", "112").send("112")
    service.clock_is(at("07-01 17:00"))
    page = (await service.get("/metrics")).text
    assert 'fanzha_obligations{campaign="small-2024",county="112",form="daily",state="on_time"} 1.0' in page
    assert 'fanzha_obligations{campaign="small-2024",county="112",form="daily",state="expected"} 2.0' in page
    assert 'fanzha_reports_due_within_an_hour{campaign="small-2024"} 4.0' in page
    service.clock_is(at("07-01 18:06"))
    assert 'fanzha_reminders_waiting{campaign="small-2024"} 4.0' in (await service.get("/metrics")).text
    await service.do_due_work()
    page = (await service.get("/metrics")).text
    assert 'fanzha_reminders_waiting{campaign="small-2024"} 0.0' in page
    assert 'fanzha_obligations{campaign="small-2024",county="111",form="daily",state="missing"} 2.0' in page


async def test_an_erasure_of_the_campaign_takes_what_was_written_about_reports(
    database: DatabaseFactory, tmp_path: Path
) -> None:
    fresh = await database("reporting")
    service = ReportingService(fresh, folder=tmp_path, now=BEFORE)
    await service.deliver(*definition_events())
    await time_is(service, "06-30 09:00")
    office, path = Reporter(service), "units/{}/reports/daily/2024-06-29/{}"
    await office.send("111")
    await office.send("111", based_on_version=1, reason="李主任说的")
    await office.post(path.format("111", "return"), reason="李主任退的", due_at="2024-07-02T12:00:00+08:00")
    await office.post(path.format("112", "excuse"), reason="李主任请假")
    tables = ("obligation", "obligation_change", "report")

    async def written() -> str:
        return "".join([str(await service.rows(f"SELECT t::text FROM {table} t")) for table in tables])

    assert "李主任" in await written()
    owner = Database(fresh.owner_url)
    for expected in (1, 0):
        async with owner.transaction() as tx:
            counts = await Erasure({}).forget_people(tx, "small-2024")
        assert [bool(counts[table]) for table in tables] == [bool(expected)] * 3
    assert "李主任" not in await written()
    assert len(await service.rows("SELECT version FROM report")) == 2
    await owner.close()
    await service.close()
