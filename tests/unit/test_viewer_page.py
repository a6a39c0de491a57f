"""The viewer's own page says what counts, why a day is missing, and honestly what is still possible (FACTS A5)."""

import base64
import hashlib
import re
from datetime import date, datetime, timedelta
from typing import Any

import pytest

from services.checkin import pages
from services.checkin.domain import Campaign, Lessons, lesson_view
from services.checkin.store import Viewer
from services.checkin.usecases import ViewerReport
from shared.contracts.campaign import CampaignDefinition
from tests.support.campaigns import campaign

DAYS = 16


def definition(**changes: Any) -> CampaignDefinition:
    days = [date(2024, 6, 29) + timedelta(days=number) for number in range(DAYS)]
    lessons = [{"date": day.isoformat(), "title": f"第{number}讲"} for number, day in enumerate(days, 1)]
    return campaign(lessons=lessons, required_days=DAYS, help=[{"title": "怎样签到", "text": "点三下"}], **changes)


def bits(*numbers: int) -> int:
    return sum(1 << (number - 1) for number in numbers)


def at(text: str) -> datetime:
    return datetime.fromisoformat(f"2024-{text}+08:00")


def uncounted(reason: str, occurred_at: str, received_at: str, type: str = "viewer.checked_in") -> dict[str, Any]:
    return {"reason": reason, "type": type, "occurred_at": at(occurred_at), "received_at": at(received_at)}


def report(lessons: Lessons, now: datetime, rows: list[Any], definition: CampaignDefinition, unit: str) -> ViewerReport:
    campaign_in_force = Campaign.of(1, 1, definition)
    views = [lesson_view(campaign_in_force.course, lessons, index, now) for index in range(len(definition.lessons))]
    return ViewerReport(campaign_in_force, Viewer("ks_8812", unit, "general", None, None, lessons), views, rows)


def page(
    lessons: Lessons, now: str, *rows: Any, unit: str = "111-EDU", claim_page_url: str | None = None, **changes: Any
) -> str:
    return pages.viewer(report(lessons, at(now), list(rows), definition(**changes), unit), at(now), claim_page_url)


def text_of(html: str) -> str:
    body = re.sub(r"<style>.*?</style>", "", html, flags=re.DOTALL)
    return re.sub(r"\s+", " ", re.sub(r"<[^>]+>", " ", body))


def lesson(html: str, number: int) -> str:
    """The text of one lesson's row."""
    item = re.search(rf'<li id="lesson-{number}".*?</li>', html, re.DOTALL)
    assert item
    return text_of(item[0])


# ---- what is still possible ------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("credited", "reachable", "waiting", "says"),
    [
        (16, 16, 0, "恭喜"),
        (3, 16, 0, "一天也不能漏"),
        (3, 18, 0, "最多还可以漏 2 天"),
        (15, 15, 1, "正在核对"),
        (2, 13, 0, "每天都看也只能累计 13 天，无法达到 16 天"),
        (2, 13, 1, "每天都看也只能累计 14 天，无法达到 16 天"),
        (12, 12, 2, "最多累计 14 天，无法达到 16 天"),
        (12, 12, 0, "累计 12 天，未达到 16 天"),
    ],
)
def test_outlook(credited: int, reachable: int, waiting: int, says: str) -> None:
    outlook = pages.outlook(credited, 16, reachable, waiting)
    assert says in outlook.headline + outlook.detail


def test_who_starts_on_day_4_is_told_that_16_is_out_of_reach() -> None:
    html = page(Lessons(live=bits(4)), "07-10T10:00:00")
    assert "无法达到 16 天" in text_of(html)


def test_from_the_first_evening_on_16_can_be_reached() -> None:
    text = text_of(page(Lessons(), "06-29T19:10:00"))
    assert "还差 16 天，可以完成" in text
    assert "下一次签到 今天 19:30 开始" in text


def test_during_the_live_lesson_the_deadline_is_the_headline() -> None:
    html = page(Lessons(live=bits(1)), "06-30T19:40:00")
    assert "现在可以签到 今天 20:00 前" in text_of(html)
    assert "可签到" in lesson(html, 2)


def test_the_certificate_says_when_and_where() -> None:
    text = text_of(page(Lessons(live=bits(*range(1, 17))), "07-14T20:10:00"))
    assert "领取结课证书 现在可以领取" in text
    assert "下一次签到" not in text


def test_who_may_claim_is_led_to_where() -> None:
    url = "https://fanzha.example/claim"
    done = Lessons(live=bits(*range(1, 17)))
    assert f'href="{url}"' in page(done, "07-14T20:10:00", claim_page_url=url)
    assert url not in page(done, "06-30T19:50:00", claim_page_url=url)
    assert url not in page(Lessons(), "07-14T20:10:00", claim_page_url=url)


# ---- why a day counts or does not ------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("lessons", "rows", "says"),
    [
        (Lessons(live=bits(7)), [], "已计入 7. 第7讲 首播已签到"),
        (Lessons(made_good=bits(7)), [], "反诈办核实后已补记"),
        (Lessons(replay=bits(7)), [], "只有重播签到，不计入；首播签到才计入"),
        (
            Lessons(late_live=bits(7)),
            [uncounted("late", "07-05T19:31:00", "07-09T10:00:00")],
            "来得太晚（7月9日 10:00 才收到），7月8日 19:00 已截止",
        ),
        (Lessons(late_live=bits(7)), [], "签到记录来得太晚，7月8日 19:00 已截止"),
        (Lessons(), [], "未签到 7. 第7讲 没有收到签到"),
        (
            Lessons(),
            [uncounted("outside_window", "07-05T19:12:00", "07-05T19:12:01")],
            "收到的签到是 7月5日 19:12 的，不在签到时段内",
        ),
        (Lessons(), [uncounted("in_future", "07-05T19:31:00", "07-05T18:00:00")], "签到时间有误"),
        (Lessons(), [uncounted("outside_window", "07-05T19:12:00", "07-05T19:12:01", "prize.won")], "没有收到签到"),
    ],
)
def test_why_day_7_is_missing(lessons: Lessons, rows: list[Any], says: str) -> None:
    assert says in lesson(page(lessons, "07-12T10:00:00", *rows), 7)


def test_until_it_is_sealed_a_day_may_still_arrive() -> None:
    html = page(Lessons(), "07-07T10:00:00")
    assert "待核对" in lesson(html, 7)
    assert "7月8日 19:00" not in lesson(html, 7)  # that is tomorrow
    assert "明天 19:00 前送到" in lesson(html, 7)


def test_who_has_only_the_replay_is_not_told_too_early_that_it_is_over() -> None:
    """The live check-in counts until the lesson is sealed, so it may still be on its way."""
    lessons = Lessons(live=bits(*range(1, 16)), replay=bits(16))
    waiting, sealed = page(lessons, "07-17T18:59:00"), page(lessons, "07-17T19:00:00")
    assert "正在核对" in lesson(waiting, 16)
    assert "今天 19:00 前送到并有您的首播签到，就会自动计入" in lesson(waiting, 16)
    assert 'class="not_seen"' in waiting
    assert "还差 1 天，正在核对" in text_of(waiting)
    assert "无法达到" not in text_of(waiting)
    assert "未计入 16. 第16讲 只有重播签到，不计入" in lesson(sealed, 16)
    assert "累计 15 天，未达到 16 天" in text_of(sealed)


def test_a_window_to_midnight_ends_at_24_00() -> None:
    windows = {"live": [{"from": "19:30", "to": "24:00"}]}
    html = page(Lessons(), "06-29T20:00:00", windows=windows)
    assert "今天 24:00 前签到可以计入" in lesson(html, 1)
    assert "签到时段 19:30–24:00" in lesson(html, 2)


def test_where_replays_count_a_missed_evening_can_be_made_up_next_day() -> None:
    html = page(Lessons(), "06-30T09:00:00", credit=["live", "replay"])
    assert "今天 19:00 前签到可以计入" in lesson(html, 1)
    assert "还差 16 天，可以完成" in text_of(html)


def test_every_lesson_has_its_date_and_weekday() -> None:
    assert "6月29日 周六" in lesson(page(Lessons(), "06-29T10:00:00"), 1)


# ---- the page itself -------------------------------------------------------------------------------------------------


def test_the_style_is_allowed_by_its_hash_and_nothing_else_is() -> None:
    html = page(Lessons(), "06-29T19:10:00")
    (style,) = re.findall(r"<style>(.*?)</style>", html, re.DOTALL)
    digest = base64.b64encode(hashlib.sha256(style.encode()).digest()).decode()
    policy = pages.PAGES.headers()["content-security-policy"]
    assert f"style-src 'sha256-{digest}'" in policy
    assert "default-src 'none'" in policy
    html = html.replace('<link rel="icon" href="/favicon.ico">', "")
    assert not re.findall(r"<script|<img|<link|style=|\son\w+=|https?://", html)


@pytest.mark.parametrize("unit", ["<script>alert(1)</script>", "unassigned"])
def test_an_unknown_unit_is_left_out(unit: str) -> None:
    assert "所属单位" not in page(Lessons(), "06-29T19:10:00", unit=unit)


def test_campaign_texts_are_text() -> None:
    html = page(Lessons(), "06-29T19:10:00", title="<b>反诈</b> & 课程")
    assert "&lt;b&gt;反诈&lt;/b&gt; &amp; 课程" in html


@pytest.mark.parametrize("html", [pages.unknown_link(), pages.nothing_yet()])
def test_other_answers_say_what_to_do_and_name_the_hotline(html: str) -> None:
    assert "96110" in html
    assert "请" in html


def test_the_page_says_what_is_kept_how_long_and_how_it_is_deleted() -> None:
    text = text_of(page(Lessons(), "06-29T19:10:00"))
    for says in (
        "保存什么 您的平台账号",
        "在报名 180 天后自动删除",
        "到课程结束并发证 180 天后",
        "怎样删除 向反诈办提出",
    ):
        assert says in text
    assert "在报名 60 天后自动删除" in text_of(page(Lessons(), "06-29T19:10:00", retain_days=60))
