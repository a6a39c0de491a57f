"""差异待核: reports are looked at once kept and after their due time; units explain, the office closes (FACTS A12)."""

from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import asyncpg
import httpx
import pytest

from shared.service.sessions import COOKIE
from shared.service.tokens import Role
from shared.sheets import CSV_TYPE
from tests.support.databases import DatabaseFactory
from tests.support.forms import form, number
from tests.support.obligations import BEFORE, CAMPAIGN, Reporter, at, definition_events
from tests.support.office import submit
from tests.support.reporting_events import checkins
from tests.support.reporting_service import ReportingService
from tests.support.service import session_cookie

SATURDAY, SUNDAY = "2024-06-29", "2024-06-30"
VIEWERS = number("viewers", title="个人观看", unit="人数", compared_with="recorded.viewers")
DUE = "07-01 18:00"


@pytest.fixture
async def service(database: DatabaseFactory, tmp_path: Path) -> AsyncIterator[ReportingService]:
    """Sunday evening: both lessons have begun, and their reports are due on Monday."""
    running = ReportingService(await database("reporting"), folder=tmp_path, now=BEFORE)
    await running.deliver(*definition_events(form(fields=[VIEWERS])))
    running.clock_is(at("06-30 20:00"))
    await running.do_due_work()
    yield running
    await running.close()


def signed_in(service: ReportingService, role: Role = "office", unit: str | None = None) -> httpx.AsyncClient:
    browser = service.browser()
    cookie = session_cookie(role, campaign=CAMPAIGN, unit=unit, subject="王芳")
    browser.cookies.set(COOKIE, cookie, domain="office.test")
    return browser


async def looked_at(service: ReportingService, when: str) -> None:
    service.clock_is(at(when))
    await service.do_due_work()


async def reported(service: ReportingService, unit: str, viewers: int, period: str = SATURDAY, **more: Any) -> None:
    answer = await Reporter(service, "liaison", unit).send(unit, period, viewers=viewers, **more)
    assert answer.status_code == 200, answer.text


async def found(reporter: Reporter, **query: Any) -> list[dict[str, Any]]:
    answer = await reporter.get("findings", **query)
    assert answer.status_code == 200, answer.text
    rows: list[dict[str, Any]] = answer.json()["rows"]
    return rows


async def test_what_a_rule_saw_is_raised_once_and_changes_no_state(service: ReportingService) -> None:
    await reported(service, "111", 101)
    await reported(service, "112", 101)  # nobody knows how many people it has
    for when in ("06-30 20:01", "06-30 20:02", DUE, "07-02 09:00"):
        await looked_at(service, when)
    office = Reporter(service)
    [row] = await found(office)
    assert {name: row[name] for name in ("unit_code", "form", "period", "version", "rule", "text", "state")} == {
        "unit_code": "111",
        "form": "daily",
        "period": SATURDAY,
        "version": 1,
        "rule": "over_headcount",
        "text": "个人观看 101，超过单位人数 100，待核",
        "state": "open",
    }
    assert (row["reported"], row["against"]) == ({"viewers": 101}, {"headcount": 100})
    assert (await office.states(unit="111", period=SATURDAY))["111", SATURDAY] == "on_time"


async def test_what_is_recorded_is_held_against_the_report_after_the_due_time(service: ReportingService) -> None:
    await reported(service, "111", 99)
    await reported(service, "112", 100)
    await service.deliver(checkins(CAMPAIGN, [("111", "a")] * 50))
    await looked_at(service, "07-01 17:59")
    office = Reporter(service)
    assert await found(office) == []
    await service.deliver(checkins(CAMPAIGN, [("112", "a")] * 300))  # a platform sends late
    await looked_at(service, DUE)
    [row] = await found(office)
    assert (row["unit_code"], row["rule"], row["reported"]) == ("112", "far_from_recorded", {"viewers": 100})
    assert row["against"] == {"recorded": 300, "attributed": 1.0}
    assert row["text"] == "上报 个人观看 100，系统记录 300 人（全活动归属率 100.0%），待核"
    [own] = await found(Reporter(service, "liaison", "112"))
    assert own["against"] == {"recorded": 300}  # the rate is of the whole campaign
    assert own["text"] == "上报 个人观看 100，系统记录 300 人，待核"


async def test_the_unit_explains_and_the_office_closes(service: ReportingService) -> None:
    await reported(service, "111", 101)
    await looked_at(service, "06-30 20:01")
    office, liaison, county = Reporter(service), Reporter(service, "liaison", "111"), Reporter(service, "office", "111")
    [row] = await found(liaison)
    path = f"findings/{row['id']}"
    explained = (await liaison.post(f"{path}/explain", text="含家属")).json()
    assert (explained["state"], explained["explanation"], explained["explained_by"]) == (
        "explained",
        "含家属",
        "liaison 111",
    )
    assert (await liaison.post(f"{path}/close", reason="好")).status_code == 403
    assert (await county.post(f"{path}/close", reason="好")).json()["type"] == "/problems/not-above"
    assert (await office.post(f"{path}/close", reason=" ")).status_code == 422
    closed = (await office.post(f"{path}/close", reason="电话核实")).json()
    assert (closed["state"], closed["close_reason"], closed["closed_by"]) == ("closed", "电话核实", "office None")
    assert closed["explanation"] == "含家属"
    again = await liaison.post(f"{path}/explain", text="再说明")
    assert (again.status_code, again.json()["type"]) == (409, "/problems/finding-closed")
    counts = (await office.get("findings", state="open")).json()
    assert (counts["rows"], counts["counts"]) == ([], {"open": 0, "explained": 0, "closed": 1})


async def test_a_newer_version_closes_what_was_found_in_the_one_before(service: ReportingService) -> None:
    await reported(service, "111", 101)
    await looked_at(service, "06-30 20:01")
    await reported(service, "111", 102, based_on_version=1)
    await looked_at(service, "06-30 20:02")
    first, second = await found(Reporter(service))
    assert (first["version"], first["state"], first["closed_by"]) == (1, "closed", "system")
    assert (second["version"], second["state"]) == (2, "open")


async def test_nobody_sees_or_changes_what_is_outside_of_their_subtree(service: ReportingService) -> None:
    for unit in ("111", "112"):
        await reported(service, unit, 7, SATURDAY)
        await reported(service, unit, 7, SUNDAY)
    await looked_at(service, "06-30 20:01")
    assert [row["unit_code"] for row in await found(Reporter(service))] == ["111", "112"]
    other = Reporter(service, "liaison", "112")
    [own] = await found(other, rule="same_as_last_period")
    assert own["unit_code"] == "112"
    assert (await other.get("findings", unit="111")).json()["type"] == "/problems/no-such-unit"
    [theirs] = await found(Reporter(service), unit="111")
    stranger = Reporter(service, "office", "112")
    for action, body in (("explain", {"text": "好"}), ("close", {"reason": "好"})):
        answer = await stranger.post(f"findings/{theirs['id']}/{action}", **body)
        assert answer.status_code == 404, answer.text
    page = (await Reporter(service).get("findings", limit=1)).json()
    [second] = await found(Reporter(service), limit=1, cursor=page["next_cursor"])
    assert (page["rows"][0]["unit_code"], second["unit_code"]) == ("111", "112")
    sheet = await service.sheet(f"{CAMPAIGN}/findings", CSV_TYPE, unit="111")
    assert sheet.text.splitlines()[1].split(",")[1:8] == [
        "111",
        "单位111",
        "每日学习情况",
        SUNDAY,
        "1",
        "与上一期完全相同",
        "各项数字与上一期完全相同：个人观看 7，待核",
    ]


async def test_a_report_that_cannot_be_read_is_counted_and_blocks_no_other(service: ReportingService) -> None:
    await reported(service, "112", 5)
    await reported(service, "111", 101)
    owner = await asyncpg.connect(service.owner_url)
    try:
        await owner.execute("UPDATE obligation SET forms_revision = 99 WHERE unit_code = '112'")
        await looked_at(service, "06-30 20:01")
        assert [row["unit_code"] for row in await found(Reporter(service))] == ["111"]
        metrics = await service.client.get("/metrics")
        assert 'fanzha_reports_not_looked_at{campaign="small-2024"} 1.0' in metrics.text
        await owner.execute("UPDATE obligation SET forms_revision = 1 WHERE unit_code = '112'")
    finally:
        await owner.close()
    await looked_at(service, "06-30 21:01")
    metrics = await service.client.get("/metrics")
    assert 'fanzha_reports_not_looked_at{campaign="small-2024"} 0.0' in metrics.text


async def two_findings(service: ReportingService) -> tuple[int, int]:
    """One of county 111, one of county 112: their ids."""
    for unit in ("111", "112"):
        await reported(service, unit, 100)
        await reported(service, unit, 100, SUNDAY)
    await looked_at(service, "06-30 20:01")
    first, second = [row["id"] for row in await found(Reporter(service))]
    return first, second


async def test_the_desk_lists_findings_and_the_office_explains_and_closes_them(service: ReportingService) -> None:
    first, second = await two_findings(service)
    browser = signed_in(service)
    assert '<a href="/desk/findings?state=open"><b>2</b>' in (await browser.get("/desk")).text
    listed = (await browser.get("/desk/findings?state=open&rule=&unit=")).text
    assert ("差异待核 2 条" in listed, listed.count("与上一期完全相同</td>"), "待核</td>" in listed) == (True, 2, True)
    page = f"/desk/units/111/reports/daily/{SUNDAY}"
    assert f'action="{page}/findings/{first}/close"' in (await browser.get("/desk/units/111")).text
    explained = await submit(browser, "/desk/findings", f"{page}/findings/{first}/explain", reason="学校放假")
    assert "说明：学校放假" in (await browser.get(explained.headers["location"])).text
    poor = await submit(browser, page, f"{page}/findings/{first}/close", reason=" ")
    assert (poor.status_code, "请写明原因" in poor.text) == (422, True)
    other = await submit(browser, page, f"{page}/findings/{second}/close", reason="属实")
    assert other.status_code == 404  # it is of another report
    assert (
        await submit(browser, page, f"{page}/findings/{first}/close", "http://elsewhere.test", reason="属实")
    ).status_code == 403
    closed = await submit(browser, page, f"{page}/findings/{first}/close", reason="属实")
    told = (await browser.get(closed.headers["location"])).text
    assert ("核结：属实" in told, f"findings/{first}/" in told) == (True, False)
    assert "差异待核 1 条" in (await browser.get("/desk/findings?state=closed&unit=111")).text
    sheet = (await browser.get("/desk/findings.csv?state=closed")).content.decode("utf-8-sig").splitlines()
    assert [line.split(",")[0] for line in sheet[1:]] == [str(first)]
    assert (await browser.get("/desk/findings.xlsx")).status_code == 200
    assert (await browser.get("/desk/findings?stat=open")).status_code == 422


async def test_a_countys_office_sees_and_says_what_is_of_its_subtree_and_an_auditor_has_no_buttons(
    service: ReportingService,
) -> None:
    _, second = await two_findings(service)
    county, page = signed_in(service, unit="111"), f"/desk/units/112/reports/daily/{SUNDAY}"
    listed = (await county.get("/desk/findings")).text
    assert ("差异待核 1 条" in listed, "/explain" in listed, "/close" in listed) == (True, True, False)
    assert (await county.get("/desk/findings.csv")).content.decode("utf-8-sig").count("\n") == 2
    assert (await county.get("/desk/findings?unit=112")).status_code == 422
    assert (await submit(county, "/desk/findings", f"{page}/findings/{second}/explain", reason="好")).status_code == 422
    auditor = signed_in(service, "auditor")
    assert "/explain" not in (await auditor.get("/desk/findings")).text
    said = await submit(auditor, "/account", f"{page}/findings/{second}/close", reason="好")
    assert said.status_code == 403
    assert [row["state"] for row in await found(Reporter(service))] == ["open", "open"]
