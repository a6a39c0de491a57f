"""The office's pages about the course, viewers and lessons made good: what they show, what they change, and to whom."""

import asyncio
import html
import itertools
import re
from collections.abc import AsyncIterator
from datetime import timedelta
from pathlib import Path
from typing import Any

import httpx
import pytest

from services.checkin.erasure import Erasure
from services.checkin.office import domain
from shared.database import Database
from shared.people.erasure import new_name
from shared.service.sessions import COOKIE
from shared.service.tokens import ALL_CAMPAIGNS, ROLES, Role
from shared.sheets import Page, as_xlsx
from tests.support.campaigns import campaign_content, unit
from tests.support.checkin import (
    CAMPAIGN,
    DURING,
    HEARD_KEPT_EVERY_S,
    REPLAY,
    SECOND_LIVE,
    CheckinUnderTest,
    checkin,
    enrolment,
    running_checkin,
)
from tests.support.databases import DatabaseFactory
from tests.support.nats_support import eventually
from tests.support.office import ORIGIN, submit
from tests.support.service import session_cookie

COURSE, VIEWERS, MAKE_GOODS = "/campaigns", "/campaigns/viewers", "/campaigns/make-goods"
PREVIEW = f"{MAKE_GOODS}/preview"
OTHER = "other-2024"
UNITS = [*campaign_content()["units"], unit("112", "11", "county"), unit("112-EDU", "112", "unit")]


@pytest.fixture
async def service(database: DatabaseFactory, tmp_path: Path) -> AsyncIterator[CheckinUnderTest]:
    """Two counties; anna is of the first, ben of the second, carl of none, dora was only ever refused."""
    platforms = [{"source": "standard", "title": "快手直播", "modes": ["live", "replay"]}]
    async with running_checkin(await database("checkin"), tmp_path) as running:
        await running.define(campaign_content(units=UNITS, platforms=platforms))
        await running.define(campaign_content(campaign_id=OTHER, title="别的活动"))
        await running.post(
            enrolment("anna", unit_code="111-EDU", group="student"),
            enrolment("ben", unit_code="112-EDU"),
            checkin("anna"), checkin("anna", SECOND_LIVE),
            checkin("ben"), checkin("ben", REPLAY),
            checkin("carl", REPLAY),
            checkin("dora", "2024-06-30T19:10:00+08:00"),
            checkin("only-there", campaign_id=OTHER),
        )  # fmt: skip
        yield running


def signed_in(
    service: CheckinUnderTest, role: Role = "office", campaign: str = CAMPAIGN, unit: str | None = None
) -> httpx.AsyncClient:
    browser = service.browser()
    cookie = session_cookie(role, campaign=campaign, unit=unit, subject="王芳")
    browser.cookies.set(COOKIE, cookie, domain="office.test")
    return browser


def words(page: str) -> str:
    """What a page says, without its tags."""
    body = page[page.index("<main") :]
    return " ".join(html.unescape(re.sub(r"<[^>]*>", " ", body)).split())


def figures(page: str) -> list[list[int]]:
    """The numbers of the table of lessons: live, replay, late, made good, not credited."""
    rows = re.findall(r"<tr>\s*<th scope=\"row\">.*?</tr>", page, re.DOTALL)
    return [[int(number) for number in re.findall(r'class="number">([\d,]+)<', row)] for row in rows]


async def kept(service: CheckinUnderTest) -> list[tuple[Any, ...]]:
    """What the office's pages could change."""
    tables = ("make_good", "viewer_link_given", "viewer", "outbox")
    return [row for table in tables for row in await service.rows(f"SELECT t::text FROM {table} AS t ORDER BY 1")]


# ---- the course ------------------------------------------------------------------------------------------------------


async def test_the_course_shows_lessons_figures_and_feeds(service: CheckinUnderTest) -> None:
    page = await signed_in(service).get(COURSE)
    assert page.status_code == 200
    text = words(page.text)
    for says in (
        "2024-06-29 至 2024-06-30",
        "首播签到计入，累计 2 天结课",
        "1. 第一课",
        "其中未归属 1",
        "查一位观众为什么少一天",
    ):
        assert says in text
    assert figures(page.text) == [[2, 2, 0, 0, 2], [1, 0, 0, 0, 0]]
    assert re.findall(r"<dd>([\d,]+)</dd>", page.text) == ["3", "1", "2", "1"]  # known, unassigned, credited, completed
    stages = re.findall(r'class="stage ([a-z]+)"', page.text)
    assert stages == ["waiting", "replay"]


async def test_feeds_say_when_they_were_last_heard_and_files_and_refusals_do_not_count(
    service: CheckinUnderTest,
) -> None:
    browser = signed_in(service)

    async def says_when() -> str:
        found = re.search("快手直播 standard ：(.*?) 只算平台推送的", words((await browser.get(COURSE)).text))
        assert found
        return found[1]

    async def heard(text: str) -> None:
        async def is_shown() -> bool:
            return await says_when() == text

        await eventually(is_shown, within_s=5, what=text)

    await heard("最近一次 今天 20:30 收到")
    service.clock_is(DURING + timedelta(minutes=9))
    await service.post(checkin("eva", "2024-06-30T05:00:00+08:00", "refused"))
    await service.client.post(f"/v1/campaigns/{CAMPAIGN}/imports", json=[checkin("eva", SECOND_LIVE, "of a file")])
    await asyncio.sleep(4 * HEARD_KEPT_EVERY_S)
    assert await says_when() == "最近一次 今天 20:30 收到"
    service.clock_is(DURING + timedelta(minutes=12))
    await service.post(checkin("eva"))
    await heard("最近一次 今天 20:42 收到")


async def test_a_units_figures_are_its_subtree_and_the_roots_are_all(service: CheckinUnderTest) -> None:
    await service.client.post(
        f"/v1/campaigns/{CAMPAIGN}/make-goods",
        json={"lesson_date": "2024-06-30", "reason": "平台故障", "viewer_ids": ["ben"]},
    )
    service.clock_is(DURING + timedelta(days=9))
    await service.post(checkin("anna", REPLAY, "late"), checkin("ben", SECOND_LIVE, "late"))
    shown = {root: figures((await signed_in(service, unit=root).get(COURSE)).text) for root in ("1", "111", "112")}
    assert shown["111"] == [[1, 0, 1, 0, 1], [1, 0, 0, 0, 0]]
    assert shown["112"] == [[1, 1, 0, 0, 1], [0, 0, 1, 1, 1]]
    whole = figures((await signed_in(service).get(COURSE)).text)
    assert shown["1"] == [
        [a + b for a, b in zip(*rows, strict=True)] for rows in zip(shown["111"], shown["112"], strict=True)
    ]
    assert whole == [[2, 2, 1, 0, 3], [1, 0, 1, 1, 1]]  # and carl's replay, who is of no unit
    assert "未归属" not in words((await signed_in(service, unit="111").get(COURSE)).text)
    assert (await signed_in(service, unit="no-such").get(COURSE)).status_code == 404


async def test_who_is_of_all_campaigns_chooses_one(service: CheckinUnderTest) -> None:
    browser = signed_in(service, "admin", ALL_CAMPAIGNS)
    choice = await browser.get(COURSE)
    assert set(re.findall(r'href="(/campaigns\?campaign=[^"]+)"', choice.text)) == {
        f"/campaigns?campaign={campaign}" for campaign in (CAMPAIGN, OTHER)
    }
    chosen = await browser.get(f"{COURSE}?campaign={OTHER}")
    assert "别的活动" in chosen.text
    assert f'href="{MAKE_GOODS}?campaign={OTHER}"' in chosen.text
    found = await submit(browser, f"{VIEWERS}?campaign={OTHER}", f"{VIEWERS}?campaign={OTHER}", typed="only-there")
    assert found.headers["location"] == f"{VIEWERS}/only-there?campaign={OTHER}"
    for page in (VIEWERS, MAKE_GOODS, f"{VIEWERS}/anna"):
        assert (await browser.get(page)).headers["location"] == COURSE
    own = await signed_in(service).get(f"{COURSE}?campaign={OTHER}")
    assert "别的活动" not in own.text


# ---- one viewer ------------------------------------------------------------------------------------------------------


async def test_a_viewer_is_found_by_account_and_each_lesson_says_why(service: CheckinUnderTest) -> None:
    browser = signed_in(service)
    found = await submit(browser, VIEWERS, VIEWERS, typed=" ben ")
    assert (found.status_code, found.headers["location"]) == (303, f"{VIEWERS}/ben")
    await service.post(
        checkin("ben", "2024-06-30T12:00:00+08:00", "x"), checkin("ben", "2024-07-30T12:00:00+08:00", "y")
    )
    text = words((await browser.get(f"{VIEWERS}/ben")).text)
    for says in (
        "单位112-EDU（112-EDU）", "首播、重播已签到", "直播平台的名单在", "并有该观众，就会自动计入",
            "已计入 1 天，结课需要 2 天",
        "7月30日 12:00 签到，拒收：时间晚于收到的时刻",
    ):  # fmt: skip
        assert says in text, (says, text)
    assert "您" not in text
    assert "未归属" in words((await browser.get(f"{VIEWERS}/carl")).text)
    assert "不在任何一课的签到时段内" in words((await browser.get(f"{VIEWERS}/dora")).text)
    for typed in ("nobody", "only-there", "", "张三", "a\0b", "x" * 99):
        answer = await submit(browser, VIEWERS, VIEWERS, typed=typed)
        assert (answer.status_code, "没有找到这个账号" in answer.text) == (404, True), typed


async def test_make_goods_of_a_viewer_have_reason_and_actor(service: CheckinUnderTest) -> None:
    path = f"/v1/campaigns/{CAMPAIGN}/make-goods"
    for reason, audience in (
        ("补给名单", {"viewer_ids": ["ben", "carl"]}),
        ("补给签到的人", {"checked_in_on": ["2024-06-29"]}),
        ("补给别人的", {"viewer_ids": ["carl"]}),
    ):
        body = {"lesson_date": "2024-06-30", "reason": reason, **audience}
        assert (await service.client.post(path, json=body)).status_code == 200
    text = words((await signed_in(service).get(f"{VIEWERS}/ben")).text)
    assert "第 2 课 6月30日 周日 第二课：补给名单 t，今天 20:30" in text
    assert "补给签到的人" in text
    assert "补给别人的" not in text
    anna = words(
        (await signed_in(service).get(f"{VIEWERS}/anna")).text
    )  # had it by check-in: nothing was granted to her
    assert "补给" not in anna


async def test_a_county_sees_its_own_viewers_and_others_are_like_unknown_ones(service: CheckinUnderTest) -> None:
    county = signed_in(service, unit="111")
    assert (await county.get(f"{VIEWERS}/anna")).status_code == 200
    pages = [await county.get(f"{VIEWERS}/{viewer}") for viewer in ("nobody", "ben", "carl", "dora", "only-there")]
    assert {(page.status_code, page.text) for page in pages} == {(404, pages[0].text)}
    posts = [await submit(county, VIEWERS, VIEWERS, typed=viewer) for viewer in ("nobody", "ben", "carl", "dora")]
    assert {(post.status_code, post.text) for post in posts} == {(404, posts[0].text)}


async def test_the_link_to_the_viewers_own_page_needs_a_reason_and_leaves_a_record(service: CheckinUnderTest) -> None:
    browser, page = signed_in(service), f"{VIEWERS}/anna"
    for poor in ("", "短", "长" * 501, "原因\n两行"):
        answer = await submit(browser, page, f"{page}/link", reason=poor)
        assert (answer.status_code, "请写明原因" in answer.text, "/me/" in answer.text) == (422, True, False), poor
    assert await service.rows("SELECT * FROM viewer_link_given") == []
    answer = await submit(browser, page, f"{page}/link", reason="观众来电核对")
    link = re.search(r'href="(http://checkin\.test/me/[^"]+)"', answer.text)
    assert link
    assert "第一课" in (await service.client.get(link[1])).text
    columns = "campaign_id, viewer_id, actor, reason"
    given = await service.rows(f"SELECT {columns} FROM viewer_link_given")
    assert given == [(CAMPAIGN, "anna", "王芳", "观众来电核对")]
    later = await signed_in(service, "auditor").get(page)
    assert "王芳：观众来电核对" in words(later.text)
    assert ("/me/" in later.text, "给我链接" in later.text) == (False, False)


async def test_forgetting_a_viewer_renames_the_record_of_links_too(database: DatabaseFactory, tmp_path: Path) -> None:
    fresh = await database("checkin")
    async with running_checkin(fresh, tmp_path) as service:
        await service.define(campaign_content())
        await service.post(checkin("anna"))
        page = f"{VIEWERS}/anna"
        assert (await submit(signed_in(service), page, f"{page}/link", reason="观众来电核对")).status_code == 200
        owner, name = Database(fresh.owner_url, pool_size=1), new_name()
        await owner.in_transaction(lambda tx: Erasure({}).forget_viewer(tx, CAMPAIGN, "anna", name))
        await owner.close()
        assert await service.rows("SELECT viewer_id, actor FROM viewer_link_given") == [(name.account, "王芳")]


# ---- lessons made good -----------------------------------------------------------------------------------------------


async def previewed(browser: httpx.AsyncClient, **typed: Any) -> httpx.Response:
    wanted = {"lesson": "2024-06-30", "reason": "平台故障补记"} | typed
    return await submit(browser, MAKE_GOODS, PREVIEW, **wanted)


def numbers(page: str) -> list[int]:
    """Of a preview: reached, already credited, to be granted, and of a list what it does not match."""
    return [int(number.replace(",", "")) for number in re.findall(r"<div><dt>.*?</dt><dd>([\d,]+)</dd></div>", page)]


async def confirmed(browser: httpx.AsyncClient, page: str, **changed: str) -> httpx.Response:
    """Sends the form of a preview as it stands, or with fields changed."""
    assert "补记这" in page, words(page)
    fields: dict[str, Any] = {}
    for name, value in re.findall(r'<input type="hidden" name="([a-z_]+)" value="([^"]*)">', page):
        fields.setdefault(name, []).append(html.unescape(value))
    return await browser.post(MAKE_GOODS, data=fields | changed, headers={"origin": ORIGIN})


async def test_a_preview_counts_exactly_and_what_it_shows_is_what_is_granted(service: CheckinUnderTest) -> None:
    browser, before = signed_in(service), await kept(service)
    page = await previewed(browser, accounts="anna\nben, carl；ghost 张三 ben")
    assert (page.status_code, numbers(page.text)) == (200, [3, 1, 2, 2])
    text = words(page.text)
    assert ("名单 4 个账号" in text, "ghost" in text, "张三" in text) == (True, True, True)
    assert await kept(service) == before
    done = await confirmed(browser, page.text)
    assert done.status_code == 303, words(done.text)
    shown = words((await browser.get(done.headers["location"])).text)
    assert "已补记 2 人：第 2 课 6月30日 周日 第二课" in shown
    assert "2 名单 4 个账号 平台故障补记 王芳 今天 20:30" in shown
    again = await confirmed(browser, page.text)
    assert again.headers["location"] == done.headers["location"]
    assert await service.rows("SELECT viewer_id FROM viewer WHERE made_good = 2 ORDER BY 1") == [("ben",), ("carl",)]
    assert await service.rows("SELECT actor, reason, granted::int FROM make_good") == [("王芳", "平台故障补记", 2)]
    (fact,) = await service.facts("lesson_made_good")
    assert fact["viewer_ids"] == ["ben", "carl"]


@pytest.mark.parametrize(
    ("typed", "reached"),
    [
        ({"unit": "111"}, [1, 1, 0]),
        ({"unit": "11"}, [2, 1, 1]),
        ({"from_at": "2024-06-30T19:00", "until": "2024-06-30T19:30"}, [1, 0, 1]),
        ({"from_at": "2024-06-30T19:10", "until": "2024-06-30T19:10:01"}, [1, 0, 1]),
        ({"from_at": "2024-06-30T19:00", "until": "2024-06-30T19:10"}, [0, 0, 0]),
        ({"from_at": "2024-06-30T09:00", "until": "2024-06-30T09:01"}, [2, 0, 2]),
        ({"from_at": "2024-06-30T09:00", "until": "2024-06-30T09:01", "unit": "112"}, [1, 0, 1]),
        ({"from_at": "2024-06-30T09:00", "until": "2024-06-30T09:01", "accounts": "carl anna"}, [1, 0, 1, 1]),
        ({"days": "2024-06-29"}, [3, 1, 2]),
        ({"days": ["2024-06-29", "2024-06-30"]}, [1, 1, 0]),
        ({"days": "2024-06-29", "unit": "112"}, [1, 0, 1]),
    ],
)
async def test_scopes_narrow_each_other(service: CheckinUnderTest, typed: dict[str, Any], reached: list[int]) -> None:
    """Whom an outage hit: those whose check-ins of a time were not credited, a subtree, those of a list, those of other days."""
    page = await previewed(signed_in(service), **typed)
    assert (page.status_code, numbers(page.text)) == (200, reached), words(page.text)


async def test_who_was_only_refused_is_granted_too(service: CheckinUnderTest) -> None:
    browser = signed_in(service)
    page = await previewed(browser, from_at="2024-06-30T19:00", until="2024-06-30T19:30")
    assert (await confirmed(browser, page.text)).status_code == 303
    assert await service.rows("SELECT made_good::int FROM viewer WHERE viewer_id = 'dora'") == [(2,)]


async def test_data_that_changed_after_the_preview_refuses_it_and_shows_the_new_one(service: CheckinUnderTest) -> None:
    browser = signed_in(service)
    page = await previewed(browser, days="2024-06-29")
    await service.post(checkin("ben", SECOND_LIVE))
    before = await kept(service)
    answer = await confirmed(browser, page.text)
    assert (answer.status_code, numbers(answer.text)) == (409, [3, 2, 1])
    assert "预览之后数据有变化" in words(answer.text)
    for field, value in (("reason", "别的原因呢"), ("accounts", "carl"), ("unit", "111"), ("lesson", "2024-06-29")):
        changed = await confirmed(browser, answer.text, **{field: value})
        assert changed.status_code == 409, field
    assert await kept(service) == before
    assert (await confirmed(browser, answer.text)).status_code == 303
    assert await service.rows("SELECT viewer_id FROM viewer WHERE made_good > 0") == [("carl",)]


async def test_a_decision_of_many_is_granted_page_by_page(service: CheckinUnderTest) -> None:
    viewers = [f"v{number:05}" for number in range(5_001)]
    for start in range(0, len(viewers), 1000):
        await service.post(*map(checkin, viewers[start : start + 1000]))
    browser = signed_in(service)
    page = await previewed(browser, accounts="\n".join(viewers))
    assert numbers(page.text) == [5001, 0, 5001, 0]
    done = await confirmed(browser, page.text)
    assert "已补记 5,001 人" in (await browser.get(done.headers["location"])).text


CSV = "序号,平台账号\n1,ben\n2,8812\n3,\n4,ghost\n"


@pytest.mark.parametrize(
    ("name", "content", "reached"),
    [
        ("a.csv", CSV.encode("gb18030"), [1, 0, 1, 2]),
        (
            "A.XLSX",
            as_xlsx(Page("名单", ["平台账号", "姓名"], [["ben", "x"], [8812, "y"], ["=1+1", "z"]])),
            [1, 0, 1, 2],
        ),
        ("one.csv", b"ben\ncarl\n", [2, 0, 2, 0]),
        ("../../x.csv", "UID\ncarl\n".encode("utf-8-sig"), [1, 0, 1, 0]),
    ],
)
async def test_a_list_is_uploaded_as_a_sheet(
    service: CheckinUnderTest, name: str, content: bytes, reached: list[int]
) -> None:
    answer = await upload(signed_in(service), name, content)
    assert (answer.status_code, numbers(answer.text)) == (200, reached), words(answer.text)


async def upload(browser: httpx.AsyncClient, name: str, content: bytes) -> httpx.Response:
    token = re.search(r'name="form_token" value="([0-9a-f]{64})"', (await browser.get(MAKE_GOODS)).text)
    assert token
    fields = {"form_token": token[1], "lesson": "2024-06-30", "reason": "平台故障补记", "accounts": "", "from_at": ""}
    return await browser.post(PREVIEW, data=fields, files={"file": (name, content)}, headers={"origin": ORIGIN})


@pytest.mark.parametrize(
    ("name", "content", "says"),
    [
        ("a.pdf", b"%PDF", "文件应为 CSV 或 XLSX"),
        ("a.xlsx", b"PK\x03\x04 broken", "打不开"),
        ("a.csv", b"\xff\xfea\0", "UTF-16"),
        ("a.csv", b"a,b\n1,2\n", "找不到账号这一列"),
        ("a.csv", "账号\n1.23E+15\n".encode(), "后几位已丢失"),
        ("a.csv", b"uid\n" + b"a\n" * 10_001, "超过 10,000 个"),
        ("a.csv", b"uid\n" + b"a" * (768 * 1024), "超过 768 KiB"),
    ],
)
async def test_a_sheet_that_cannot_be_read_says_so(
    service: CheckinUnderTest, name: str, content: bytes, says: str
) -> None:
    answer = await upload(signed_in(service), name, content)
    assert (answer.status_code, says in words(answer.text)) == (422, True), words(answer.text)
    assert "平台故障补记" in answer.text  # what was typed stands there to be corrected


@pytest.mark.parametrize(
    ("typed", "says"),
    [
        ({}, "没有写补给谁"),
        ({"unit": "111", "reason": "短"}, "请写明原因"),
        ({"unit": "111", "lesson": "2024-08-01"}, "没有课程"),
        ({"unit": "111", "lesson": "x"}, "请选一节课"),
        ({"unit": "no-such"}, "没有该单位"),
        ({"unit": "一中队"}, "单位请写代码"),
        ({"from_at": "2024-06-30T19:00"}, "两个时刻"),
        ({"from_at": "2024-06-30T19:00", "until": "2024-06-30T19:00"}, "早于"),
        ({"from_at": "soon", "until": "later"}, "时刻请写成"),
        ({"days": "2024-08-01"}, "没有课程"),
    ],
)
async def test_a_form_that_is_wrong_says_what_is(service: CheckinUnderTest, typed: dict[str, str], says: str) -> None:
    answer = await previewed(signed_in(service), **typed)
    assert (answer.status_code in (404, 422), says in words(answer.text)) == (True, True), words(answer.text)


async def test_too_many_for_one_decision_are_told(
    service: CheckinUnderTest, database: DatabaseFactory, tmp_path: Path
) -> None:
    assert domain.MATCHED_MAX == 100_000
    await service.rows(
        "INSERT INTO viewer (campaign_no, viewer_id, unit_code) SELECT 1, 'm' || n, '111' FROM generate_series(1, 100000) n "
        "RETURNING 1"
    )
    answer = await previewed(signed_in(service), unit="111")
    assert (answer.status_code, "超过 10 万人" in answer.text) == (422, True)


# ---- every route, role and scope -------------------------------------------------------------------------------------

SCOPES = [(CAMPAIGN, None), (CAMPAIGN, "111"), (OTHER, None), (ALL_CAMPAIGNS, None)]


async def test_no_route_shows_or_changes_anything_outside_of_campaign_and_subtree(service: CheckinUnderTest) -> None:
    """Every page and button for every role and scope, as those who may not see would try them."""
    granted = await previewed(signed_in(service), accounts="carl")
    for role, (campaign, unit_code) in itertools.product(ROLES, SCOPES):
        browser = signed_in(service, role, campaign, unit_code)
        may_read = role != "liaison"
        before = await kept(service)
        for path in (COURSE, VIEWERS, f"{VIEWERS}/ben", MAKE_GOODS, f"{COURSE}?campaign={CAMPAIGN}"):
            answer = await browser.get(path)
            assert (answer.status_code == 403) == (not may_read or (unit_code is not None and path == MAKE_GOODS))
            if unit_code is not None or campaign == OTHER:
                assert not re.search("ben|carl|112", words(answer.text) if "<main" in answer.text else ""), path
        token = re.search(r'name="form_token" value="([0-9a-f]{64})"', (await browser.get(VIEWERS)).text)
        fields = {"form_token": token[1] if token else "0" * 64, "reason": "想看看别人的"}
        headers = {"origin": ORIGIN}
        may_all = role in ("admin", "office") and campaign == CAMPAIGN and unit_code is None
        forms = {
            name: html.unescape(value) for name, value in re.findall(r'name="([a-z_]+)" value="([^"]*)"', granted.text)
        }
        answers = {
            "link": await browser.post(f"{VIEWERS}/ben/link", data=fields, headers=headers),
            "preview": await browser.post(
                PREVIEW, data={**fields, "lesson": "2024-06-30", "accounts": "ben"}, headers=headers
            ),
            "grant": await browser.post(MAKE_GOODS, data=forms | fields | {"make_good_id": "mg-x"}, headers=headers),
        }
        statuses = {name: answer.status_code for name, answer in answers.items()}
        seen = (role, campaign, unit_code, statuses)
        if may_all:
            assert (statuses["link"], statuses["preview"], statuses["grant"]) == (200, 200, 409), seen
        else:
            assert statuses["link"] in (303, 403, 404), seen
            assert (await kept(service)) == before, seen
            for answer in answers.values():
                assert "/me/" not in answer.text
                assert not numbers(answer.text) or numbers(answer.text)[0] == 0, seen


async def test_a_form_from_elsewhere_or_without_its_token_changes_nothing(service: CheckinUnderTest) -> None:
    browser = signed_in(service)
    page = await previewed(browser, accounts="carl")
    before = await kept(service)
    forms = {name: html.unescape(value) for name, value in re.findall(r'name="([a-z_]+)" value="([^"]*)"', page.text)}
    link = f"{VIEWERS}/anna/link"
    for action, fields in ((MAKE_GOODS, forms), (PREVIEW, forms), (link, forms), (VIEWERS, forms)):
        for origin in ("https://office.test:8445", "http://office.test", "https://evil.test", "null"):
            assert (await browser.post(action, data=fields, headers={"origin": origin})).status_code == 403
        assert (await browser.post(action, data=fields)).status_code == 403
        for token in ("", "0" * 64):
            answer = await browser.post(action, data=fields | {"form_token": token}, headers={"origin": ORIGIN})
            assert answer.status_code == 403
    assert await kept(service) == before
