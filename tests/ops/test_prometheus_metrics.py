"""The figures that alerts and boards stand on and that no other test needs: the timetable, the platform's own count."""

import time
from collections.abc import AsyncIterator
from datetime import datetime, timedelta
from pathlib import Path

import httpx
import pytest
from prometheus_client.parser import text_string_to_metric_families

from services.checkin.domain import current_lesson, open_window
from tests.support.campaigns import campaign, campaign_content
from tests.support.checkin import (
    CAMPAIGN,
    LIVE,
    CheckinUnderTest,
    checkin,
    enrolment,
    running_checkin,
    token,
)
from tests.support.databases import DatabaseFactory

FIRST, SECOND = "2024-06-29", "2024-06-30"


@pytest.fixture
async def service(database: DatabaseFactory, tmp_path: Path) -> AsyncIterator[CheckinUnderTest]:
    start = datetime.fromisoformat("2024-06-29T19:00:00+08:00")
    async with running_checkin(await database("checkin"), tmp_path, start) as running:
        assert (await running.define(campaign_content())).status_code == 200
        yield running


async def samples(service: CheckinUnderTest, name: str) -> dict[tuple[str, ...], float]:
    """Values of a metric by its label values, the campaign left out."""
    page = (await service.client.get("/metrics")).text
    return {
        tuple(value for label, value in sample.labels.items() if label != "campaign"): sample.value
        for family in text_string_to_metric_families(page)
        for sample in family.samples
        if sample.name == name
    }


@pytest.mark.parametrize(
    ("at", "lesson", "window"),
    [
        ("2024-06-29T19:29:59+08:00", None, None),
        ("2024-06-29T19:30:00+08:00", 0, (0, "live")),
        ("2024-06-29T20:00:00+08:00", 0, (0, "replay")),
        ("2024-06-30T07:59:59+08:00", 0, None),
        ("2024-06-30T09:00:00+08:00", 0, (0, "replay")),
        ("2024-06-30T19:30:00+08:00", 1, (1, "live")),
        ("2024-07-01T19:00:00+08:00", 1, None),
        ("2024-08-02T18:59:59+08:00", 1, None),
        ("2024-08-02T19:00:00+08:00", None, None),  # 30 days after it was sealed
    ],
)
def test_the_current_lesson_and_the_open_window(at: str, lesson: int | None, window: tuple[int, str] | None) -> None:
    rules, now = campaign(), datetime.fromisoformat(at)
    assert (current_lesson(rules, now), open_window(rules, now)) == (lesson, window)


async def test_metrics_tell_the_timetable(service: CheckinUnderTest) -> None:
    closed = {(FIRST, "live"): 0, (FIRST, "replay"): 0, (SECOND, "live"): 0, (SECOND, "replay"): 0}
    assert await samples(service, "fanzha_window_open") == closed
    assert await samples(service, "fanzha_lesson_current") == {}
    service.clock_is(datetime.fromisoformat(LIVE))
    assert await samples(service, "fanzha_window_open") == closed | {(FIRST, "live"): 1}
    assert await samples(service, "fanzha_lesson_current") == {(FIRST, "1", "第一课"): 1}
    assert await samples(service, "fanzha_campaign_info") == {("小活动",): 1}


async def test_refusals_begin_with_0(service: CheckinUnderTest) -> None:
    """A series that begins with the first thousand refusals has not grown: alert FeedRefused would not hear of them."""
    before = await samples(service, "fanzha_live_events_total")
    assert set(before.values()) == {0}
    kinds = ("viewer.checked_in", "quiz.answered", "prize.won", "account.followed")
    early, never = "2024-06-28T19:31:05+08:00", "2024-07-20T19:31:05+08:00"
    events = [checkin(kind, at, f"{kind}-{at[:10]}", type=kind) for kind in kinds for at in (early, never)]
    events += [enrolment("e", never), enrolment("e", campaign_id="nowhere"), {"event_id": "malformed"}]
    events += [checkin(kind, type=kind, campaign_id="nowhere", event_id=f"{kind}-nowhere") for kind in kinds]
    events += [checkin("t", type="viewer.left", event_id="type")]
    assert {verdict for verdict, _ in await service.post(*events)} == {"rejected"}
    after = await samples(service, "fanzha_live_events_total")
    assert after == {labels: labels[2] != "not_of_platform" for labels in before}, (
        "no platform of this campaign is limited"
    )


async def test_wrong_signatures_begin_with_0(service: CheckinUnderTest) -> None:
    for path, route in (("/v1/live/events", "/v1/live/events"), ("/v1/live/events/x", "/v1/live/events/{source}")):
        labels = ("POST", route, "401")
        assert (await samples(service, "fanzha_http_request_duration_seconds_count"))[labels] == 0
        await service.post_body(b"{}", secret="whsec_AAAA", path=path.replace("/x", "/standard"))
        assert (await samples(service, "fanzha_http_request_duration_seconds_count"))[labels] == 1


async def test_the_last_event_that_was_taken_has_a_time(service: CheckinUnderTest) -> None:
    started = time.time()
    await service.post(checkin("a", "2024-07-20T19:31:05+08:00"))
    assert await samples(service, "fanzha_last_event_timestamp_seconds") == {}
    service.clock_is(datetime.fromisoformat(LIVE))
    await service.client.post(f"/v1/campaigns/{CAMPAIGN}/imports", json=[checkin("f")])
    assert await samples(service, "fanzha_last_event_timestamp_seconds") == {}  # a file is no feed
    for event in (checkin("a"), checkin("a")):  # a repeat, too
        await service.post(event)
        assert (
            started <= (await samples(service, "fanzha_last_event_timestamp_seconds"))[()] <= (started := time.time())
        )


PLATFORMS = [
    {"source": "standard", "title": "快手"},
    {"source": "douyin", "title": "抖音", "modes": ["live"], "windows": [{"from": "19:45", "to": "20:00"}]},
    {"source": "kuaishou", "title": "重播台", "modes": ["replay"]},
    {"source": "files", "title": "只给文件"},
    {"source": "bus", "title": "总线"},
]


async def test_metrics_tell_what_comes_from_each_platform_while_it_broadcasts(service: CheckinUnderTest) -> None:
    """A platform's series begin with 0. One that only hands over files, or broadcasts replays only, has no feed that stops."""
    assert (await service.define(campaign_content(platforms=PLATFORMS))).status_code == 200
    heard = [(lesson, source) for lesson in (FIRST, SECOND) for source in ("standard", "douyin", "bus")]
    nothing = dict.fromkeys(heard, 0)
    assert await samples(service, "fanzha_platform_checkins_total") == nothing
    assert await samples(service, "fanzha_platform_window_open") == nothing
    titles = {("standard", "快手"), ("douyin", "抖音"), ("kuaishou", "重播台"), ("bus", "总线")}
    assert (await samples(service, "fanzha_platform_info")).keys() == titles
    service.clock_is(datetime.fromisoformat(LIVE))  # 19:31
    open_now = nothing | {(FIRST, "standard"): 1, (FIRST, "bus"): 1}
    assert await samples(service, "fanzha_platform_window_open") == open_now
    await service.post(checkin("a"), checkin("a"), enrolment("a"), checkin("b", "2024-07-20T19:31:05+08:00", "late"))
    imports = f"/v1/campaigns/{CAMPAIGN}/imports"
    for source in ("standard", "files", "anybody"):  # of a file nobody concludes that the feed is alive
        answer = await service.client.post(imports, params={"source": source}, json=[checkin("c", event_id=source)])
        assert answer.status_code == 200
    assert await samples(service, "fanzha_platform_checkins_total") == nothing | {(FIRST, "standard"): 2}
    service.clock_is(datetime.fromisoformat("2024-06-29T20:10:00+08:00"))
    await service.post(checkin("a", "2024-06-29T20:05:00+08:00", "replay"))
    assert await samples(service, "fanzha_platform_checkins_total") == nothing | {(FIRST, "standard"): 2}
    assert await samples(service, "fanzha_platform_window_open") == nothing
    await service.define(campaign_content())
    assert await samples(service, "fanzha_platform_checkins_total") == {}


async def state(service: CheckinUnderTest, lesson: str = FIRST, **counts: int) -> httpx.Response:
    return await service.client.put(f"/v1/campaigns/{CAMPAIGN}/lessons/{lesson}/platform-count", json=counts)


async def test_the_platforms_count_is_held_against_ours(service: CheckinUnderTest) -> None:
    service.clock_is(datetime.fromisoformat(LIVE) + timedelta(hours=1))
    await service.post(checkin("a"), checkin("a"), checkin("b"), checkin("c", "2024-06-29T20:10:00+08:00"))
    answer = await state(service, live=5)
    assert answer.json()["counts"] == {"live": {"platform": 5, "ours": 2}}
    assert (await state(service, live=4, replay=1)).json()["counts"]["replay"] == {"platform": 1, "ours": 1}
    assert await samples(service, "fanzha_platform_count") == {(FIRST, "live"): 4, (FIRST, "replay"): 1}
    rows = await service.rows("SELECT mode, n, actor FROM platform_count ORDER BY 1")
    assert rows == [("live", 4, "t"), ("replay", 1, "t")]


async def test_a_platform_count_is_refused_where_it_makes_no_sense(service: CheckinUnderTest) -> None:
    assert (await state(service)).status_code == 422
    assert (await state(service, live=-1)).status_code == 422
    assert (await state(service, "2024-07-09", live=1)).status_code == 422
    path = f"/v1/campaigns/nowhere/lessons/{FIRST}/platform-count"
    assert (await service.client.put(path, json={"live": 1})).status_code == 404
    for role, unit in (("auditor", None), ("liaison", "111"), ("office", "111")):
        headers = {"Authorization": f"Bearer {token(role, CAMPAIGN, unit)}"}  # type: ignore[arg-type]
        answer = await service.client.put(
            f"/v1/campaigns/{CAMPAIGN}/lessons/{FIRST}/platform-count", json={"live": 1}, headers=headers
        )
        assert answer.status_code == 403
