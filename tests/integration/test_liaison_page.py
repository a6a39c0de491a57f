"""The liaison's page `/r` through the app, as a phone without script uses it (DESIGN §5.2, FACTS A7-A10)."""

import re
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from tests.support.databases import DatabaseFactory
from tests.support.forms import form, number
from tests.support.liaison_phone import FormsOfPage, Phone, bound_phone
from tests.support.obligations import BEFORE, CAMPAIGN, Reporter, at, definition_events
from tests.support.reporting_events import checkins
from tests.support.reporting_service import ReportingService

DAILY = form(
    fields=[
        number("viewers", title="个人观看", unit="人数", required=True, max=1000),
        number("posts", title="发布", kind="running_total", unit="篇"),
        {"id": "how", "title": "情况", "type": "text"},
        {"id": "photos", "title": "照片", "type": "pictures"},
        {"id": "sites", "title": "点位", "type": "table", "rows": "free", "columns": [number("posters", title="海报")]},
    ],
    checks=[{"field": "viewers", "at_most": "headcount"}],
)
NAMING = form(
    id="liaison",
    title="指定联络员",
    asks="liaison",
    every="once",
    by="2024-07-05",
    deadline={"day": "same_day"},
    fields=[{"id": "named_on", "title": "指定日期", "type": "date", "required": True}],
)
SATURDAY, SUNDAY = "daily/2024-06-29", "daily/2024-06-30"


@pytest.fixture
async def service(database: DatabaseFactory, tmp_path: Path) -> AsyncIterator[ReportingService]:
    running = ReportingService(await database("reporting"), folder=tmp_path, now=BEFORE)
    await running.deliver(*definition_events(DAILY))
    yield running
    await running.close()


async def time_is(service: ReportingService, text: str) -> None:
    service.clock_is(at(text))
    await service.do_due_work()


@pytest.fixture
async def phone(service: ReportingService) -> Phone:
    await time_is(service, "07-01 09:00")
    return await bound_phone(service, "111")


async def test_all_that_is_due_at_one_time_is_one_screen_and_one_button(
    service: ReportingService, phone: Phone
) -> None:
    await phone.open()
    assert "今天 18:00 截止" in phone.words
    [(action, _)] = FormsOfPage(phone.page.text).forms
    assert (action, phone.page.text.count('class="button send"')) == ("/r/reports", 1)
    assert "平台记录" not in phone.words
    answer = await phone.fill(typed={f"{SATURDAY}:viewers": "0", f"{SUNDAY}:viewers": "７"})
    assert answer.status_code == 422  # full-width digits are told, and the other report is in nevertheless
    assert len(phone.numbers) == 1
    assert "已收到 1 份" in phone.words
    assert re.search(r'href="#f-daily-2024-06-30-viewers">每日学习情况 6月30日 周日，个人观看</a>', phone.page.text)
    assert (await phone.fill(typed={f"{SUNDAY}:viewers": "7"})).status_code == 200
    assert "现在没有要报的" in phone.words
    office = Reporter(service)
    assert await office.states(unit="111") == {("111", "2024-06-29"): "on_time", ("111", "2024-06-30"): "on_time"}


async def test_a_report_sent_twice_is_one_and_its_receipt_is_shown_again(
    service: ReportingService, phone: Phone
) -> None:
    await phone.open()
    before = phone.page
    await phone.fill(typed={f"{SATURDAY}:viewers": "5"})
    first, phone.page = phone.numbers[0], before
    await phone.fill(typed={f"{SATURDAY}:viewers": "5"})
    assert phone.numbers[0] == first
    report = (await Reporter(service).get("units/111/reports/daily/2024-06-29")).json()
    assert [version["version"] for version in report["versions"]] == [1]


async def test_what_somebody_else_has_sent_meanwhile_is_shown_before_it_is_replaced(
    service: ReportingService, phone: Phone
) -> None:
    await phone.open()
    await Reporter(service, "liaison", "111").send("111", viewers=9)
    assert (await phone.fill(typed={f"{SATURDAY}:viewers": "5"})).status_code == 422
    assert "已经报了第 1 版：个人观看 9" in phone.words
    assert (await phone.fill()).status_code == 200
    await phone.open(f"/r/reports/{CAMPAIGN}/111/{SATURDAY}")
    assert "个人观看： 9 → 5" in phone.words


async def test_recorded_checkins_are_shown_only_after_the_report(service: ReportingService, phone: Phone) -> None:
    await service.deliver(checkins(CAMPAIGN, [("111", "general")] * 57))
    assert "57 人" not in await phone.open()
    await phone.open(f"/r/reports/{CAMPAIGN}/111/{SATURDAY}")
    assert "57 人" not in phone.words
    await phone.open()
    await phone.fill(typed={f"{SATURDAY}:viewers": "60"})
    assert "平台记录：本单位 57 人签到" in phone.words


async def test_a_returned_report_comes_first_with_its_reason_and_what_stood_in_it(
    service: ReportingService, phone: Phone
) -> None:
    await phone.open()
    await phone.fill(typed={f"{SUNDAY}:viewers": "12", f"{SUNDAY}:sites.0.posters": "3"})
    path = "units/111/reports/daily/2024-06-30/return"
    await Reporter(service).post(path, reason="海报数请核对", due_at="2024-07-03T12:00:00+08:00")
    await phone.open()
    first, _ = FormsOfPage(phone.page.text).forms
    assert (f"{SUNDAY}:sites.0.posters", "3") in first[1]
    assert phone.words.index("海报数请核对") < phone.words.index("今天 18:00 截止")
    await phone.fill(typed={f"{SUNDAY}:sites.0.posters": "4"})
    assert len(phone.numbers) == 1


async def test_a_report_that_is_in_can_be_read_and_corrected(service: ReportingService, phone: Phone) -> None:
    await phone.open()
    await phone.fill(typed={f"{SATURDAY}:viewers": "5", f"{SATURDAY}:how": "<b>很好</b>"})
    page = await phone.open(f"/r/reports/{CAMPAIGN}/111/{SATURDAY}")
    assert "&lt;b&gt;很好&lt;/b&gt;" in page
    [link] = re.findall(r'href="(/r\?[^"]*correct=[^"]*)"', page)
    await phone.open(link.replace("&amp;", "&"))
    assert (f"{SATURDAY}:viewers", "5") in FormsOfPage(phone.page.text).forms[0][1]
    await phone.fill(typed={f"{SATURDAY}:viewers": "6"})
    assert await Reporter(service).states(period="2024-06-29", unit="111") == {("111", "2024-06-29"): "on_time"}


async def test_anybody_checks_a_receipt_and_is_shown_no_values(service: ReportingService, phone: Phone) -> None:
    await phone.open()
    await phone.fill(typed={f"{SATURDAY}:viewers": "77"})
    stranger = Phone(service)
    await stranger.open(f"/r/receipts/{phone.numbers[0].lower().replace('-', ' ')}")
    assert stranger.page.status_code == 200
    assert "每日学习情况 6月29日 周六，第 1 版" in stranger.words
    assert "按时" in stranger.words
    assert "77" not in stranger.words.replace(phone.numbers[0], "")
    assert (await stranger.browser.get("/r/receipts/2222-2222-2222")).status_code == 404


async def test_an_empty_report_is_not_sent(service: ReportingService, phone: Phone) -> None:
    await phone.open()
    await phone.fill()
    assert "还没有填" in phone.words
    await phone.fill(typed={f"{SATURDAY}:viewers": "1"})
    assert "每日学习情况 6月30日 周日 没有填，没有发出" in phone.words
    assert ("111", "2024-06-30") in await Reporter(service).states(state="due")


async def test_one_phone_reports_for_several_units_and_for_no_other(service: ReportingService, phone: Phone) -> None:
    await phone.open(unit=f"{CAMPAIGN}/112")
    assert 'id="code"' in phone.page.text
    two = await bound_phone(service, "111", "112")
    page = await two.open(unit=f"{CAMPAIGN}/112")
    assert page.count("2 份待报") == 2
    await two.fill(typed={f"{SATURDAY}:viewers": "3"})
    assert len(two.numbers) == 1
    await phone.open()
    foreign = await phone.fill(typed={f"{SATURDAY}:viewers": "3", "unit": f"{CAMPAIGN}/112"})
    assert foreign.status_code == 403
    assert ("112", "2024-06-30") in await Reporter(service).states(state="due")
    assert (await phone.browser.get(f"/r/reports/{CAMPAIGN}/112/{SATURDAY}")).status_code == 403


async def test_a_form_of_another_page_or_phone_is_not_taken(service: ReportingService, phone: Phone) -> None:
    await phone.open()
    page = phone.page
    for changes in ({"headers": {"origin": "https://evil.test"}}, {"without": ("form_token",)}):
        phone.page = page
        answer = await phone.fill(typed={f"{SATURDAY}:viewers": "3"}, **changes)
        assert answer.status_code == 403
    assert ("111", "2024-06-29") in await Reporter(service).states(state="due")


async def test_a_table_gets_a_row_without_script_and_keeps_what_was_typed(
    service: ReportingService, phone: Phone
) -> None:
    await phone.open()
    await phone.fill(
        typed={f"{SATURDAY}:viewers": "3", f"{SATURDAY}:sites.0.posters": "8", "add_row": f"{SATURDAY}:sites"}
    )
    pairs = FormsOfPage(phone.page.text).forms[0][1]
    assert (f"{SATURDAY}:sites.0.posters", "8") in pairs
    assert (f"{SATURDAY}:sites.1.posters", "") in pairs
    assert (f"{SUNDAY}:sites.1.posters", "") not in pairs
    await phone.fill(typed={f"{SATURDAY}:sites.1.posters": "9"})
    report = (await Reporter(service).get("units/111/reports/daily/2024-06-29")).json()
    assert report["versions"][0]["values"] == {"viewers": 3, "sites": [{"posters": 8}, {"posters": 9}]}


async def test_the_people_of_a_unit_are_named_and_shown_masked(service: ReportingService, phone: Phone) -> None:
    await service.deliver(*definition_events(DAILY, NAMING, revision=2, when=at("07-01 09:00")))
    await service.do_due_work()
    await phone.open()
    assert "7月5日 18:00 截止" in phone.words
    assert "liaison/once:named_on" not in phone.page.text
    await phone.open("/r/people", unit=f"{CAMPAIGN}/111")
    await phone.fill(typed={"liaison_name": "刘小亮", "liaison_phone": "13812345678", "leader_name": "欧阳明"})
    assert phone.page.status_code == 422
    assert "分管领导：电话" in phone.words
    await phone.fill(typed={"leader_phone": "0350-3021234"})
    assert phone.page.status_code == 303
    page = await phone.open(phone.page.headers["location"])
    for masked in ("刘*亮", "138****5678", "欧阳*", "已保存"):
        assert masked in page
    assert "13812345678" not in page
    assert await Reporter(service).states(form="liaison", unit="111") == {("111", "once"): "on_time"}
    await phone.fill(form=1)
    assert 'id="code"' in await phone.open()


async def test_the_worker_may_serve_the_page_and_is_new_with_each_release(service: ReportingService) -> None:
    worker = await service.client.get("/r/worker.js")
    assert (worker.status_code, worker.headers["service-worker-allowed"]) == (200, "/r")
    assert re.search(r'"fanzha-r-[0-9a-f]{16}"', worker.text)
    assert "RELEASE" not in worker.text
