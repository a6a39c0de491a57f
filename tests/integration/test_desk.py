"""The office's desk: every number is the length of the list that it leads to, and a county's office sees its subtree only."""

import html
import io
import re
from collections.abc import AsyncIterator
from pathlib import Path

import httpx
import openpyxl
import pytest
from PIL import Image

from shared.service.sessions import COOKIE
from shared.service.tokens import Role
from tests.support.databases import DatabaseFactory
from tests.support.forms import form
from tests.support.obligations import BEFORE, CAMPAIGN, Reporter, at, definition_events
from tests.support.office import submit
from tests.support.pictures import encoded, scene
from tests.support.reporting_events import checkins
from tests.support.reporting_service import ReportingService
from tests.support.service import session_cookie

OWING = {"levels": ["county"], "units": ["11", "111-EDU"]}  # the city itself and an office of county 111 owe too
SATURDAY, SUNDAY = "2024-06-29", "2024-06-30"
LINKED_NUMBER = re.compile(r'href="(/desk/obligations[^"]*)">(\d+)<')


@pytest.fixture
async def service(database: DatabaseFactory, tmp_path: Path) -> AsyncIterator[ReportingService]:
    running = ReportingService(await database("reporting"), folder=tmp_path, now=BEFORE)
    await running.deliver(*definition_events(form(filled_by=OWING)))
    yield running
    await running.close()


def signed_in(service: ReportingService, role: Role = "office", unit: str | None = None) -> httpx.AsyncClient:
    browser = service.browser()
    cookie = session_cookie(role, campaign=CAMPAIGN, unit=unit, subject="王芳")
    browser.cookies.set(COOKIE, cookie, domain="office.test")
    return browser


async def opened(browser: httpx.AsyncClient, path: str) -> str:
    answer = await browser.get(path)
    assert answer.status_code == 200, (path, answer.text)
    return html.unescape(answer.text)


async def a_weekend_of_reports(service: ReportingService) -> None:
    """111 reports Saturday on time and Sunday late; 112 is let off Saturday, has Sunday returned; 113 owes Sunday only."""
    service.clock_is(at("06-30 20:00"))
    await service.do_due_work()
    office, liaison = Reporter(service), Reporter(service, "liaison", "111")
    assert (await liaison.send("111", SATURDAY)).status_code == 200
    assert (await Reporter(service, "liaison", "112").send("112", SUNDAY)).status_code == 200
    excused = await office.post(f"units/112/reports/daily/{SATURDAY}/excuse", reason="当天停电")
    due = "2024-07-02T17:00:00+08:00"
    returned = await office.post(f"units/112/reports/daily/{SUNDAY}/return", reason="请核对", due_at=due)
    assert (excused.status_code, returned.status_code) == (200, 200)
    service.clock_is(at("07-01 18:01"))
    assert (await liaison.send("111", SUNDAY)).status_code == 200


async def test_the_desk_opens_on_what_is_to_be_done_and_says_when_there_is_nothing(service: ReportingService) -> None:
    browser = signed_in(service)
    assert "现在没有要办的事" in await opened(browser, "/desk")
    service.clock_is(at("07-01 09:00"))
    await service.do_due_work()
    waiting = await opened(browser, "/desk")
    assert re.findall(r"<b>(\d+)</b>([^<]+)", waiting) == [
        ("0", "逾期未报"),
        ("9", "今天截止、还没有报"),
        ("0", "已退回、还没有重报"),
        ("0", "差异待核"),
        ("5", "没有联络员的单位"),
    ]
    assert (await opened(browser, "/desk/obligations?figure=due&today=true")).count("2024-07-01 18:00") == 9


async def test_what_is_missing_and_what_was_returned_waits_for_the_office(service: ReportingService) -> None:
    await a_weekend_of_reports(service)
    waiting = await opened(signed_in(service), "/desk")
    assert re.findall(r"<b>(\d+)</b>([^<]+)", waiting) == [
        ("5", "逾期未报"),
        ("0", "今天截止、还没有报"),
        ("1", "已退回、还没有重报"),
        ("0", "差异待核"),
        ("5", "没有联络员的单位"),
    ]


@pytest.mark.parametrize("by", ["county", "unit", "form", "period"])
async def test_every_number_is_the_length_of_the_list_that_it_leads_to(service: ReportingService, by: str) -> None:
    await a_weekend_of_reports(service)
    browser = signed_in(service)
    numbers = LINKED_NUMBER.findall(await opened(browser, f"/desk/rates?by={by}"))
    assert len(numbers) >= 5
    for path, number in numbers:
        listed = await opened(browser, path)
        assert (f"{number} 份</h1>" in listed, listed.count('<tr><th scope="row">')) == (True, int(number)), path


async def test_tables_are_filtered_and_download_as_they_are_filtered(service: ReportingService) -> None:
    await a_weekend_of_reports(service)
    browser = signed_in(service)
    page = await opened(browser, f"/desk/rates?by=county&form=&period={SATURDAY}&unit=")
    files = re.findall(r'href="(/desk/rates\.[^"]+)"', page)
    assert len(files) == 2
    book = openpyxl.load_workbook(io.BytesIO((await browser.get(files[0])).content))
    rows = [list(row) for row in book.active.values]
    assert rows[1:] == [
        ["11", "单位11", 1, 0, 0, 0, 1, 0, 0, 0],
        ["111", "单位111", 2, 1, 1, 0, 1, 0, 0.5, 0.5],
        ["112", "单位112", 0, 0, 0, 0, 0, 1, None, None],
        [None, "合计", 3, 1, 1, 0, 2, 1, 0.3333, 0.3333],
    ]
    text = (await browser.get(files[1])).content.decode("utf-8-sig")
    assert text.splitlines()[0] == "代码,县（市、区）,应报,已报,按时,迟报,未报,免报,报送率,按时率"
    missing = (await browser.get("/desk/obligations.csv?figure=missing")).content.decode("utf-8-sig").splitlines()
    assert [line.split(",")[0] for line in missing[1:]] == ["11", "111-EDU"] * 2 + ["113"]
    for wrong in ("?figure=all", "?unti=111", "?period=x", "?cursor=x"):
        assert (await browser.get(f"/desk/obligations{wrong}")).status_code == 422


async def test_a_countys_office_sees_its_subtree_only(service: ReportingService) -> None:
    await a_weekend_of_reports(service)
    browser = signed_in(service, unit="112")
    for path in ("/desk", "/desk/rates", "/desk/rates?by=unit", "/desk/chase?figure=returned"):
        page = await opened(browser, path)
        assert not re.search(r"\b11[13]\b", page), path
    assert "合计,1," in (await browser.get("/desk/rates.csv")).content.decode()
    for path in (
        "rates?unit=111",
        "obligations?unit=111",
        "obligations.csv?unit=11",
        "chase?unit=113",
        "rates.xlsx?unit=1",
    ):
        assert (await browser.get(f"/desk/{path}")).status_code == 422, path
    assert (await signed_in(service, "liaison", "111").get("/desk")).status_code == 403
    assert (await service.browser().get("/desk")).headers["location"] == "/sign-in?to=/desk"


async def test_the_list_to_chase_by_names_units_only_by_county(service: ReportingService) -> None:
    await a_weekend_of_reports(service)
    browser = signed_in(service)
    page = await opened(browser, "/desk/chase")
    assert re.findall(r"<textarea[^>]*>([^<]*)</textarea>", page) == ["单位11\n单位111：单位111-EDU\n单位113"]
    assert "催报名单：3 个单位" in page
    assert "没有要催的单位" in await opened(browser, "/desk/chase?unit=112")


ON_DESK = f"/desk/units/{{}}/reports/daily/{SATURDAY}"


async def test_what_the_office_decides_is_said_and_recorded_with_who_and_why(service: ReportingService) -> None:
    await a_weekend_of_reports(service)
    browser, page = signed_in(service), ON_DESK.format("111")
    for action, typed, says in (
        ("return", {"reason": "人数不对", "due_at": "2024-07-03T17:00"}, "已退回"),
        ("excuse", {"reason": "停电"}, "已免报"),
        ("owe-again", {"reason": "来电了"}, "已恢复应报"),
        ("reopen", {"reason": "补报", "until": "2024-09-01T17:00"}, "已重新开放"),
    ):
        done = await submit(browser, page, f"{page}/{action}", **typed)
        assert done.status_code == 303, done.text
        shown = await opened(browser, done.headers["location"])
        assert (says in shown, f'王芳</td><td class="long">{typed["reason"]}' in shown) == (True, True), action
    assert "2024-07-03 17:00" in shown
    assert [
        row[:2] for row in await service.rows("SELECT what, actor FROM obligation_change ORDER BY id OFFSET 2")
    ] == [(what, "王芳") for what in ("returned", "excused", "owed_again", "reopened")]


async def test_what_cannot_be_done_is_told_beside_what_was_typed(service: ReportingService) -> None:
    await a_weekend_of_reports(service)
    browser, page = signed_in(service), ON_DESK.format("111")
    for action, typed, status, says in (
        ("return", {"reason": " ", "due_at": "2024-07-03T17:00"}, 422, "请写明原因"),
        ("return", {"reason": "不对", "due_at": "明天"}, 422, "请填写新的截止时间"),
        ("return", {"reason": "不对", "due_at": "2024-07-01T17:00"}, 422, "已经过去"),
        ("approve", {"version": "1"}, 409, "不用上级审核"),
        ("reopen", {"reason": "补报", "until": ""}, 422, "请填写新的截止时间"),
    ):
        answer = await submit(browser, page, f"{page}/{action}", **typed)
        assert (answer.status_code, says in answer.text, "没有做任何改动" in answer.text) == (status, True, True), typed
        assert f'value="{typed.get("reason", "")}"' in answer.text
    assert (await submit(signed_in(service, unit="111"), page, f"{page}/excuse", reason="停电")).status_code == 403
    assert (await submit(signed_in(service, "auditor"), "/account", f"{page}/excuse", reason="停电")).status_code == 403
    assert (await submit(signed_in(service, unit="112"), "/desk", f"{page}/excuse", reason="停电")).status_code == 422
    assert (await submit(signed_in(service, unit="112"), "/desk", f"{page}/reopen", reason="停电")).status_code == 422
    assert await service.rows("SELECT count(*) FROM obligation_change") == [(2,)]


async def test_the_office_corrects_with_a_reason_and_files_on_behalf(service: ReportingService) -> None:
    await a_weekend_of_reports(service)
    browser, page = signed_in(service), ON_DESK.format("111")
    fill = f"{page}/fill"
    hidden = dict(re.findall(r'name="(_submission|_version)" value="([^"]+)"', await opened(browser, fill)))
    wrong = await submit(browser, fill, fill, **hidden, viewers="十个", _why="核对")
    assert (wrong.status_code, 'href="#f-viewers"' in wrong.text, 'value="十个"' in wrong.text) == (422, True, True)
    assert (await submit(browser, fill, fill, **hidden, viewers="7")).status_code == 422  # no reason
    typed = hidden | {"viewers": "7", "sites.0.posters": "3", "_why": "与单位核对"}
    typed |= {f"sites.{row}.posters": "" for row in range(1, 40)}  # more fields than other forms may have
    for _ in range(2):  # a second click
        kept = await submit(browser, fill, fill, **typed)
        assert kept.headers.get("location") == f"{page}?done=submitted", kept.text
    shown = await opened(browser, page)
    assert "第 2 版 · 更正" in shown
    assert "<del>5</del> → <ins>7</ins>" in shown
    assert ("原因：与单位核对" in shown, "第 3 版" in shown) == (True, False)
    stale = await submit(browser, fill, fill, **(typed | {"_submission": "0190649b-1a2b-7c3d-8e4f-5a6b7c8d9e0f"}))
    assert (stale.status_code, "已有新的版本" in stale.text) == (409, True)
    other = ON_DESK.format("111-EDU")
    hidden = dict(re.findall(r'name="(_submission|_version)" value="([^"]+)"', await opened(browser, f"{other}/fill")))
    assert (await submit(browser, f"{other}/fill", f"{other}/fill", **hidden, viewers="0")).status_code == 303
    assert "第 1 版 · 代报 · 迟报" in await opened(browser, other)


async def test_a_units_page_has_what_is_recorded_beside_what_is_reported(service: ReportingService) -> None:
    await a_weekend_of_reports(service)
    people = [("111", "office")] * 8 + [("111-EDU", "office")] * 2 + [("unassigned", "office")] * 10
    await service.deliver(checkins(CAMPAIGN, people))
    browser = signed_in(service)
    page = await opened(browser, "/desk/units/111")
    assert page.count("/desk/units/111/reports/daily/") == 4  # two obligations, two reported numbers
    lessons = (await browser.get("/desk/units/111/lessons.csv")).content.decode("utf-8-sig").splitlines()
    assert lessons[:2] == [
        "课程,系统记录 人次,系统记录 人数,归属率（全活动）,单位上报 数（人次）",
        f"{SATURDAY},10,10,0.5,5",
    ]
    county = (await signed_in(service, unit="111").get("/desk/units/111/lessons.csv")).content.decode("utf-8-sig")
    assert county.splitlines()[1] == f"{SATURDAY},10,10,,5"
    for path in ("units/111", "units/111/lessons.csv", f"units/111/reports/daily/{SATURDAY}", "units/999"):
        assert (await signed_in(service, unit="112").get(f"/desk/{path}")).status_code == 422, path
    assert (await browser.get("/desk/units/111/reports/daily/2024-08-01")).status_code == 404


async def test_a_reports_pictures_are_seen_on_its_page_within_the_subtree(service: ReportingService) -> None:
    pictures = {"id": "site", "title": "现场照片", "type": "pictures"}
    await service.deliver(*definition_events(form(fields=[pictures]), revision=2))
    service.clock_is(at("06-30 09:00"))
    await service.do_due_work()
    county = Reporter(service, "liaison", "111")
    sent = await service.client.post(
        f"/v1/campaigns/{CAMPAIGN}/units/111/pictures",
        content=encoded(scene(1, size=(800, 600))),
        headers=county.headers,
    )
    picture_id = sent.json()["picture_id"]
    assert (await county.send("111", SATURDAY, values={"site": [picture_id]})).status_code == 200
    browser, path = signed_in(service), f"/desk/units/111/pictures/{picture_id}"
    page = await opened(browser, f"/desk/units/111/reports/daily/{SATURDAY}")
    assert f'<a href="{path}"><img src="{path}?size=thumbnail" alt="现场照片，第 1 张"' in page
    for query, width in (("", 800), ("?size=thumbnail", 240)):
        answer = await browser.get(path + query)
        kind, cached = answer.headers["content-type"], answer.headers["cache-control"]
        assert "sandbox" in answer.headers["content-security-policy"]
        assert (kind, cached, Image.open(io.BytesIO(answer.content)).width) == ("image/jpeg", "no-store", width)
    assert (await signed_in(service, unit="112").get(path)).status_code == 422
    assert (await browser.get(path.replace("/111/", "/112/"))).status_code == 404


async def test_units_without_a_liaison_are_listed_until_they_name_one(service: ReportingService) -> None:
    await a_weekend_of_reports(service)
    browser = signed_in(service)
    assert "还没有指定联络员" in await opened(browser, "/desk/units/112")
    answer = await service.client.put(
        f"/v1/campaigns/{CAMPAIGN}/units/112/liaison",
        json={"name": "欧阳示例", "phone": "13812345678"},
        headers=Reporter(service).headers,
    )
    assert answer.status_code == 200, answer.text
    listed = (await browser.get("/desk/without-liaison.csv")).content.decode("utf-8-sig").splitlines()
    assert [line.split(",")[0] for line in listed[1:]] == ["11", "111", "111-EDU", "113"]
    assert "没有联络员的单位 4 个" in await opened(browser, "/desk/without-liaison")
    assert "没有联络员的单位 0 个" in await opened(signed_in(service, unit="112"), "/desk/without-liaison")
    page = await opened(browser, "/desk/units/112")
    assert ("联络员 欧阳** 138****5678" in page, "13812345678" in page) == (True, False)
