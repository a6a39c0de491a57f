"""checkin as its users meet it over HTTP: the live platform, the office, the viewer. Nobody gets a 5xx for bad input."""

import asyncio
import gzip
import hashlib
import json
import re
from collections import Counter
from collections.abc import AsyncIterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import httpx
import pytest

from services.checkin import usecases
from services.checkin.committer import ITEMS_FOR_A_SECOND
from services.checkin.recording import record
from shared.contracts.base import ColumnEvent
from shared.contracts.certificate import CertificateClaimedV1, CertificateRevokedV1
from shared.ids import new_event_id
from shared.service.tokens import ROLES, Role
from tests.support.campaigns import campaign_content
from tests.support.campaigns import unit as a_unit
from tests.support.checkin import (
    CAMPAIGN,
    DURING,
    OLD_SECRET,
    REPLAY,
    SECOND_LIVE,
    CheckinUnderTest,
    checkin,
    enrolment,
    running_checkin,
    signature,
    token,
)
from tests.support.databases import DatabaseFactory
from tests.support.forms import form
from tests.support.servers import RunningPostgres

PATH = f"/v1/campaigns/{CAMPAIGN}"


@pytest.fixture
async def service(database: DatabaseFactory, tmp_path: Path) -> AsyncIterator[CheckinUnderTest]:
    async with running_checkin(await database("checkin"), tmp_path) as running:
        await running.define(campaign_content())
        yield running


def problem_of(answer: httpx.Response) -> tuple[int, str]:
    assert answer.headers["content-type"] == "application/problem+json", answer.text
    body = answer.json()
    assert body["status"] == answer.status_code
    assert body["title"]
    return answer.status_code, body["type"].removeprefix("/problems/")


# ---- the live platform -----------------------------------------------------------------------------------------------


async def test_answers_in_the_order_sent(service: CheckinUnderTest) -> None:
    body = json.dumps(
        [checkin("a", event_id="e-1", channel=""), {"no": "event"}, 17, checkin("a", event_id="e-2")]
    ).encode()
    answer = await service.post_body(body)
    assert answer.json() == {
        "results": [
            {"event_id": "e-1", "verdict": "recorded", "reason": None},
            {"event_id": None, "verdict": "rejected", "reason": "malformed", "field": "event_id"},
            {"event_id": None, "verdict": "rejected", "reason": "malformed", "field": None},
            {"event_id": "e-2", "verdict": "duplicate", "reason": None},
        ],
        "counts": {"recorded": 1, "rejected": 2, "duplicate": 1},
    }


async def test_takes_one_event_without_an_array(service: CheckinUnderTest) -> None:
    answer = await service.post_body(b"  " + json.dumps(checkin("a")).encode())
    assert answer.json()["counts"] == {"recorded": 1}


GOOD = json.dumps(checkin("a")).encode()


@pytest.mark.parametrize(
    ("body", "expected"),
    [
        (b"[" + b" " * (1024 * 1024) + b"]", (413, "too-large")),
        (b"x" * (2 * 1024 * 1024), (413, "too-large")),
        (json.dumps([checkin("a")] * 1001).encode(), (413, "too-many-items")),
        (b"", (400, "not-json")),
        (b"[]", (400, "not-json")),
        (b"null", (400, "not-json")),
        (b'"text"', (400, "not-json")),
        (b"17", (400, "not-json")),
        (GOOD[:-3], (400, "not-json")),
        (b"[" + GOOD + b",", (400, "not-json")),
        (GOOD + b"}", (400, "not-json")),
        (GOOD.replace(b"small", b"\xff\xfe"), (400, "not-json")),
        (b"\xef\xbb\xbf" + GOOD, (400, "not-json")),
        (GOOD + b"," + GOOD, (400, "not-json")),
        (b"[" * 100_000 + b"]" * 99_999, (400, "not-json")),
        (gzip.compress(GOOD), (400, "not-json")),
    ],
)
async def test_refuses_a_whole_body_only_for_what_makes_it_unreadable(
    service: CheckinUnderTest, body: bytes, expected: tuple[int, str]
) -> None:
    assert problem_of(await service.post_body(body)) == expected
    assert await service.rows("SELECT count(*) FROM viewer") == [(0,)]


@pytest.mark.parametrize(
    "bad", [b"[" * 100_000 + b"]" * 100_000, b'{"a":' * 2_000 + b"1" + b"}" * 2_000, rb'"\ud83d"', b"1"]
)
async def test_one_bad_item_spoils_no_other(service: CheckinUnderTest, bad: bytes) -> None:
    good_too = json.dumps(checkin("b")).encode()
    answer = await service.post_body(b"[%b]" % b",".join([GOOD, bad, good_too]))
    verdicts = [(result["verdict"], result["reason"]) for result in answer.json()["results"]]
    assert verdicts == [("recorded", None), ("rejected", "malformed"), ("recorded", None)]


@pytest.mark.parametrize("encoding", ["gzip", "br, gzip", "GZIP", "x"])
async def test_a_compressed_body_is_refused_before_it_is_read(service: CheckinUnderTest, encoding: str) -> None:
    body = gzip.compress(GOOD)
    for path in ("/v1/live/events", "/v1/live/events/kuaishou", "/v1/campaigns/small-2024/imports"):
        answer = await service.client.post(path, content=body, headers=signature(body) | {"content-encoding": encoding})
        assert problem_of(answer) == (400, "compressed")
        assert encoding.lower() in answer.json()["detail"]
    headers = signature(GOOD) | {"content-encoding": "identity"}
    assert (await service.client.post("/v1/live/events", content=GOOD, headers=headers)).status_code == 200


async def test_head_is_answered_as_get_without_its_body(service: CheckinUnderTest) -> None:
    for path in ("/health/live", "/metrics", "/v1/campaigns", "/v1/campaigns/small-2024", "/docs", "/me/none"):
        head, get = await service.client.head(path), await service.client.get(path)
        assert (head.status_code, head.headers["content-type"]) == (get.status_code, get.headers["content-type"]), path
        assert head.content == b""
    assert (await service.client.head("/v1/live/events")).status_code == 405
    assert (await service.client.head("/v1/campaigns", headers={"Authorization": ""})).status_code == 401
    assert "head" not in (await service.client.get("/openapi.json")).json()["paths"]["/v1/campaigns"]


async def test_a_window_ends_before_its_last_second_is_full(service: CheckinUnderTest) -> None:
    await service.post(checkin("a", "2024-06-29T19:59:59.9999999+08:00"), checkin("b", "2024-06-29T20:00:00+08:00"))
    facts = await service.facts("checkin_recorded")
    assert {fact["mode"]: fact["viewer_ids"] for fact in facts} == {"live": ["a"], "replay": ["b"]}


async def test_bytes_that_are_no_text_need_a_signature_first(service: CheckinUnderTest) -> None:
    body = GOOD.replace(b"small", b"\xff\xfe")
    answer = await service.client.post("/v1/live/events", content=body, headers=signature(GOOD))
    assert problem_of(answer) == (401, "signature")


async def test_a_thousand_items_are_taken(service: CheckinUnderTest) -> None:
    answer = await service.post_body(json.dumps([checkin(f"v{n}") for n in range(1000)]).encode())
    assert answer.json()["counts"] == {"recorded": 1000}


async def test_a_body_without_length_is_measured_as_it_comes(service: CheckinUnderTest) -> None:
    async def endless() -> AsyncIterator[bytes]:
        for _ in range(40):
            yield b"x" * 65536

    answer = await service.client.post("/v1/live/events", content=endless(), headers=signature(b"anything"))
    assert problem_of(answer) == (413, "too-large")


@pytest.mark.parametrize(
    "change",
    [
        {"webhook-signature": "v1,AAAA"},
        {"webhook-signature": "nonsense"},
        {"webhook-signature": "v1,é".encode().decode("latin-1")},
        {"webhook-signature": "v2,AAAA"},
        {"webhook-id": "another"},
        {"webhook-timestamp": "0"},
        {"webhook-timestamp": "NaN"},
        {"webhook-timestamp": "9" * 400},
    ],
)
async def test_refuses_what_is_not_signed(service: CheckinUnderTest, change: dict[str, str]) -> None:
    headers = {key.encode(): value.encode("latin-1") for key, value in (signature(GOOD) | change).items()}
    answer = await service.client.post("/v1/live/events", content=GOOD, headers=headers)
    assert problem_of(answer) == (401, "signature")


async def test_signature_is_over_these_bytes_by_wall_time(service: CheckinUnderTest) -> None:
    stale = signature(GOOD, at=datetime.now(UTC) - timedelta(minutes=6))
    assert (await service.client.post("/v1/live/events", content=GOOD, headers=stale)).status_code == 401
    assert (
        await service.client.post("/v1/live/events", content=GOOD + b" ", headers=signature(GOOD))
    ).status_code == 401
    assert (await service.client.post("/v1/live/events", content=GOOD)).status_code == 401
    assert (await service.post_body(GOOD, secret=OLD_SECRET)).status_code == 200


async def test_other_sources_sign_in_their_own_way(service: CheckinUnderTest) -> None:
    post = service.client.post
    kwaisign = hashlib.md5(GOOD + b"ks-secret", usedforsecurity=False).hexdigest()
    assert (await post("/v1/live/events/kuaishou", content=GOOD, headers={"kwaisign": kwaisign})).status_code == 200
    assert (await post("/v1/live/events/kuaishou", content=GOOD, headers={"kwaisign": "0" * 32})).status_code == 401
    challenge = b'{"event": "verify_webhook", "content": {"challenge": 12345}}'
    sign = hashlib.sha1(b"dy-secret" + challenge, usedforsecurity=False).hexdigest()
    answer = await post("/v1/live/events/douyin", content=challenge, headers={"x-douyin-signature": sign})
    assert answer.json() == {"challenge": 12345}
    assert problem_of(await post("/v1/live/events/nobody", content=GOOD)) == (404, "not-found")


async def test_the_webhook_takes_posts_only_and_is_measured_under_its_route(service: CheckinUnderTest) -> None:
    refused = await service.client.get("/v1/live/events")
    assert problem_of(refused) == (405, "method-not-allowed")
    assert refused.headers["allow"] == "POST"
    assert (await service.post_body(GOOD)).status_code == 200
    for unheard_of in ("PROPFIND", "MKCOL"):  # callers must not be able to make series
        await service.client.request(unheard_of, "/v1/live/events")
    text = (await service.client.get("/metrics")).text
    for method, status, times in (("GET", 405, 1), ("POST", 200, 1), ("other", 405, 2)):
        labels = f'method="{method}",route="/v1/live/events",status="{status}"'
        assert f"fanzha_http_request_duration_seconds_count{{{labels}}} {times}.0" in text


async def test_too_much_at_once_is_told_to_come_back(database: DatabaseFactory, tmp_path: Path) -> None:
    async with running_checkin(await database("checkin"), tmp_path, items_waiting_max=1) as service:
        await service.define(campaign_content())
        answer = await service.post_body(json.dumps([checkin("a"), checkin("b")]).encode())
        assert problem_of(answer) == (429, "busy")
        assert int(answer.headers["retry-after"]) >= 1
        assert (await service.post_body(GOOD)).status_code == 200


async def test_without_database_503_and_nothing_is_lost_after_a_retry(
    service: CheckinUnderTest, database: DatabaseFactory, tmp_path: Path
) -> None:
    await service.service.db.close()
    (tmp_path / "elsewhere").mkdir()
    nowhere = "postgresql://checkin_app:x@127.0.0.1:1/nowhere"
    async with running_checkin(await database("checkin"), tmp_path / "elsewhere", database_url=nowhere) as away:
        answer = await away.post_body(GOOD)
        assert problem_of(answer) == (503, "database-away")
        assert int(answer.headers["retry-after"]) >= 1
        assert (await away.client.get("/health/ready")).status_code == 503
        assert (await away.client.get("/health/live")).status_code == 200
        metrics = (await away.client.get("/metrics")).text
        assert "fanzha_live_events" not in metrics  # exact totals are left out, never 0
        assert "fanzha_scrape_database_errors_total 1.0" in metrics


async def test_one_posts_misfortune_is_not_its_neighbours(database: DatabaseFactory, tmp_path: Path) -> None:
    """A bug that one post's content triggers answers that post with 500 and the others as ever."""

    async def faulty(tx: Any, arrivals: Any, *rest: Any) -> Any:
        if any(arrival.item.event_id == "cursed" for arrival in arrivals):
            raise ZeroDivisionError("cursed")
        return await record(tx, arrivals, *rest)

    bodies = [json.dumps(checkin(f"v{n}", event_id="cursed" if n == 3 else f"e{n}")).encode() for n in range(8)]
    async with running_checkin(await database("checkin"), tmp_path, record=faulty) as service:
        await service.define(campaign_content())
        answers = await asyncio.gather(*(service.post_body(body) for body in bodies))
    assert [answer.status_code for answer in answers] == [200, 200, 200, 500, 200, 200, 200, 200]
    assert problem_of(answers[3]) == (500, "internal")


async def test_a_second_transaction_is_opened_beside_the_first_only_for_much(
    database: DatabaseFactory, tmp_path: Path
) -> None:
    go, sizes = asyncio.Event(), list[int]()
    opened: asyncio.Queue[None] = asyncio.Queue()

    async def held(tx: Any, arrivals: Any, *rest: Any) -> Any:
        sizes.append(len(arrivals))
        opened.put_nowait(None)
        await go.wait()
        return await record(tx, arrivals, *rest)

    async with running_checkin(await database("checkin"), tmp_path, record=held) as service:
        await service.define(campaign_content())

        def post(first: int, number: int) -> asyncio.Task[Any]:
            events = [checkin(f"v{n}") for n in range(first, first + number)]
            return asyncio.create_task(service.post_body(json.dumps(events).encode()))

        posts = [post(0, 1)]
        await asyncio.wait_for(opened.get(), 10)
        posts += [post(1, 10), post(5, 10)]
        await asyncio.sleep(0.1)
        assert sizes == [1]
        posts.append(post(0, ITEMS_FOR_A_SECOND))
        await asyncio.wait_for(opened.get(), 10)
        assert sizes == [1, 20 + ITEMS_FOR_A_SECOND]
        go.set()
        answers = await asyncio.gather(*posts)
    verdicts = sum((Counter(answer.json()["counts"]) for answer in answers), Counter[str]())
    assert verdicts == {"recorded": 1_000, "duplicate": 21}  # both transactions had v0


async def test_degraded_without_the_bus_and_still_recording(service: CheckinUnderTest) -> None:
    ready = await service.client.get("/health/ready")
    assert (ready.status_code, ready.json()["status"]) == (200, "degraded")
    assert (await service.post_body(GOOD)).status_code == 200


# ---- campaigns -------------------------------------------------------------------------------------------------------


async def test_the_same_content_again_is_the_same_revision(service: CheckinUnderTest) -> None:
    content = campaign_content()
    assert (await service.define(content)).json() == {"revision": 1, "changed": False, "attributed": 0}
    reordered = dict(reversed(content.items()))
    assert (await service.define(reordered)).json() == {"revision": 1, "changed": False, "attributed": 0}
    assert (await service.define(content | {"title": "新名"})).json() == {
        "revision": 2,
        "changed": True,
        "attributed": 0,
    }
    read = await service.client.get(PATH)
    assert (read.json()["title"], read.headers["x-revision"]) == ("新名", "2")
    assert len(await service.facts("campaign_defined")) == 2


async def test_a_change_takes_effect_without_a_restart_until_it_would_falsify_the_past(
    service: CheckinUnderTest,
) -> None:
    both = campaign_content(credit=["live", "replay"])
    assert (await service.define(both)).status_code == 200
    assert await service.post(checkin("a", REPLAY)) == [("recorded", None)]
    refused = await service.define(campaign_content(credit=["live"]))
    assert problem_of(refused) == (409, "campaign-frozen")
    assert any("credit" in reason for reason in refused.json()["reasons"])
    assert (await service.define(both | {"organiser": "新主办方"})).status_code == 200


@pytest.mark.parametrize(
    ("content", "expected"),
    [
        ({"campaign_id": CAMPAIGN}, (422, "invalid-definition")),
        (campaign_content(surprise=1), (422, "invalid-definition")),
        (campaign_content(required_days=3), (422, "invalid-definition")),
        (campaign_content(forms=[form(filled_by={"units": ["999"]})]), (422, "invalid-definition")),
        (campaign_content(campaign_id="another"), (422, "other-campaign")),
    ],
)
async def test_a_wrong_definition_is_explained(
    service: CheckinUnderTest, content: dict[str, Any], expected: tuple[int, str]
) -> None:
    assert problem_of(await service.client.put(PATH, json=content)) == expected


async def test_definition_bodies_may_be_large_but_not_endless(service: CheckinUnderTest) -> None:
    assert problem_of(await service.client.put(PATH, content=b" " * (2 * 1024 * 1024))) == (422, "invalid-definition")
    assert problem_of(await service.client.put(PATH, content=b" " * (9 * 1024 * 1024))) == (413, "too-large")


async def test_concurrent_definitions_get_one_revision_each(service: CheckinUnderTest) -> None:
    answers = await asyncio.gather(*(service.define(campaign_content(title=f"名称{n}")) for n in range(6)))
    assert sorted(answer.json()["revision"] for answer in answers) == [2, 3, 4, 5, 6, 7]


@pytest.mark.parametrize(
    ("unit", "units", "channels"),
    [
        ("1", ["1", "11", "111", "111-EDU", "112"], {"QR-1": "111-EDU", "QR-2": "112"}),
        ("111", ["111", "111-EDU"], {"QR-1": "111-EDU"}),
        ("112", ["112"], {"QR-2": "112"}),
    ],
)
async def test_a_token_of_a_unit_reads_the_definition_as_if_there_were_no_other(
    service: CheckinUnderTest, unit: str, units: list[str], channels: dict[str, str]
) -> None:
    whole = campaign_content()
    whole["units"].append(a_unit("112", "11", "county"))
    whole["channels"]["QR-2"] = "112"
    await service.define(whole)
    for role in ROLES:
        answer = await service.client.get(PATH, headers={"Authorization": f"Bearer {token(role, unit=unit)}"})
        read = answer.json()
        assert [row["unit_code"] for row in read["units"]] == units
        assert (read["units"][0]["parent_code"], read["channels"]) == (None, channels)
        assert (read["title"], len(read["lessons"]), answer.headers["x-revision"]) == ("小活动", 2, "2")
    entire = await service.client.get(PATH)
    assert answer.headers["etag"] != entire.headers["etag"]
    assert len(entire.json()["units"]) == 5


@pytest.mark.parametrize("unit", ["2", "11 ", "unassigned", "' OR 1=1"])
async def test_a_token_of_a_unit_outside_the_tree_reads_no_definition(service: CheckinUnderTest, unit: str) -> None:
    answer = await service.client.get(PATH, headers={"Authorization": f"Bearer {token('liaison', unit=unit)}"})
    assert problem_of(answer) == (403, "unit-not-in-campaign")


# ---- viewers ---------------------------------------------------------------------------------------------------------


async def test_a_viewer_is_told_what_counts_why_and_what_is_possible(service: CheckinUnderTest) -> None:
    await service.post(
        enrolment("a", unit_code="111"), checkin("a", REPLAY), checkin("a", "2024-06-29T12:00:00+08:00", "x")
    )
    answer = (await service.client.get(f"{PATH}/viewers/a")).json()
    assert (answer["unit_name"], answer["credited_days"], answer["required_days"]) == ("单位111", 0, 2)
    assert [(lesson["state"], lesson["final"], lesson["reason"], lesson["modes"]) for lesson in answer["lessons"]] == [
        ("not_credited", False, "replay_not_credited", ["replay"]),
        ("not_seen", False, None, []),
    ]
    assert (answer["reachable_days"], answer["can_complete"]) == (2, True), (
        "neither is sealed: the live ones may be on their way"
    )
    assert {entry["reason"] for entry in answer["uncounted"]} == {"outside_window", "replay_not_credited"}


async def test_states_of_a_lesson_over_time(database: DatabaseFactory, tmp_path: Path) -> None:
    steps = [
        ("2024-06-29T10:00:00+08:00", ["upcoming", "upcoming"], 2),
        ("2024-06-29T19:30:00+08:00", ["open", "upcoming"], 2),
        ("2024-06-29T20:00:00+08:00", ["not_seen", "upcoming"], 2),
        ("2024-07-02T19:00:00+08:00", ["missed", "not_seen"], 1),
        ("2024-07-03T19:00:00+08:00", ["missed", "missed"], 0),
    ]
    async with running_checkin(await database("checkin"), tmp_path, datetime.fromisoformat(steps[0][0])) as service:
        await service.define(campaign_content())
        await service.post(enrolment("a", "2024-06-29T09:00:00+08:00"))
        for at, states, reachable in steps:
            service.clock_is(datetime.fromisoformat(at))
            answer = (await service.client.get(f"{PATH}/viewers/a")).json()
            assert ([lesson["state"] for lesson in answer["lessons"]], answer["reachable_days"]) == (
                states,
                reachable,
            ), at


async def test_unknown_viewer_and_campaign(service: CheckinUnderTest) -> None:
    assert problem_of(await service.client.get(f"{PATH}/viewers/nobody")) == (404, "not-found")
    assert problem_of(await service.client.get("/v1/campaigns/none/viewers/a")) == (404, "not-found")
    assert (await service.client.get(f"{PATH}/viewers/a%00b")).status_code == 422


async def test_the_viewers_own_page_opens_by_its_link_only(service: CheckinUnderTest) -> None:
    await service.post(checkin("a"))
    url = (await service.client.post(f"{PATH}/viewers/a/link")).json()["url"]
    async with httpx.AsyncClient(transport=httpx.ASGITransport(service.app), base_url="http://checkin.test") as viewer:
        page = await viewer.get(url)
        assert page.status_code == 200
        assert "第一课" in page.text
        assert "default-src 'none'" in page.headers["content-security-policy"]
        assert (await viewer.get(url[:-4] + "AAAA")).status_code == 404


async def test_the_page_says_what_became_of_the_certificate(service: CheckinUnderTest) -> None:
    """Whichever comes first: a reissue is a certificate revoked, and another claimed when the first one was."""
    await service.post(checkin("a"), checkin("a", SECOND_LIVE))
    url = (await service.client.post(f"{PATH}/viewers/a/link")).json()["url"]
    claimed, revoked = "checkin-certificates-claimed", "checkin-certificates-revoked"
    steps = [
        (claimed, certificate_event(CertificateClaimedV1, "s-1", claimed_at=[DURING]), "结课证书已领取"),
        (revoked, certificate_event(CertificateRevokedV1, "s-2", **revocation(reissued_as="s-3")), "结课证书已领取"),
        (revoked, certificate_event(CertificateRevokedV1, "s-1", **revocation(reissued_as="s-2")), "领取结课证书"),
        (claimed, certificate_event(CertificateClaimedV1, "s-3", claimed_at=[DURING]), "结课证书已领取"),
        (revoked, certificate_event(CertificateRevokedV1, "s-3", **revocation(reissued_as=None)), "结课证书已撤销"),
    ]
    for durable, event, says in steps:
        await service.service.bus.handle(durable, event.model_dump_json().encode())
        page = await service.client.get(url)
        assert re.findall(r"<h2>(.*证书.*)</h2>", page.text) == [says]


def certificate_event(contract: type[ColumnEvent], serial: str, **columns: Any) -> ColumnEvent:
    ids = {"event_id": new_event_id(), "campaign_id": CAMPAIGN, "viewer_ids": ["a"], "serials": [serial]}
    return contract.model_validate({**ids, "occurred_at": DURING, **columns})


def revocation(reissued_as: str | None) -> dict[str, Any]:
    return {"revoked_at": [DURING], "reasons": ["姓名有误"], "reissued_as": [reissued_as]}


async def test_whatif_counts_and_changes_nothing(service: CheckinUnderTest) -> None:
    await service.post(checkin("a"), checkin("a", SECOND_LIVE), checkin("b"), checkin("b", "2024-06-30T20:10:00+08:00"))
    answer = (await service.client.get(f"{PATH}/whatif", params={"credit": "live,replay"})).json()
    assert (answer["completing"], answer["completing_now"]) == (2, 1)
    assert (await service.client.get(f"{PATH}/whatif", params={"credit": "sometimes"})).status_code == 422


async def test_a_lesson_made_good_is_credited_once_and_audited(service: CheckinUnderTest) -> None:
    await service.post(checkin("a"), checkin("b"), checkin("c", REPLAY))
    wanted = {
        "make_good_id": "mg-1",
        "lesson_date": "2024-06-30",
        "reason": "平台故障",
        "checked_in_on": ["2024-06-29"],
    }
    preview = await service.client.post(f"{PATH}/make-goods", params={"dry_run": True}, json=wanted)
    assert preview.json() == {"matched": 3, "already": [], "dry_run": True}
    first, again = [(await service.client.post(f"{PATH}/make-goods", json=wanted)).json() for _ in range(2)]
    assert (first["granted"], again["granted"], again["matched"]) == (3, 0, 3)
    (fact,) = await service.facts("lesson_made_good")
    assert dict(zip(fact["viewer_ids"], fact["credited_days"], strict=True)) == {"a": 2, "b": 2, "c": 1}
    assert [bool(lessons) for lessons in fact["credited_lessons"]] == [True, True, False]
    assert await service.rows("SELECT actor, reason, granted::int FROM make_good") == [("t", "平台故障", 3)]
    lessons = (await service.client.get(f"{PATH}/viewers/a")).json()["lessons"]
    assert [lesson["state"] for lesson in lessons] == ["credited", "made_good"]
    other = wanted | {"lesson_date": "2024-06-29"}
    assert problem_of(await service.client.post(f"{PATH}/make-goods", json=other)) == (409, "make-good-id-used")
    no_lesson = wanted | {"make_good_id": "mg-2", "lesson_date": "2024-08-01"}
    assert problem_of(await service.client.post(f"{PATH}/make-goods", json=no_lesson)) == (422, "no-such-lesson")
    assert (
        await service.client.post(f"{PATH}/make-goods", json={"lesson_date": "2024-06-29", "reason": "no one"})
    ).status_code == 422


async def test_a_lesson_is_made_good_for_more_viewers_than_one_transaction_holds(service: CheckinUnderTest) -> None:
    viewers = [f"v{number:05}" for number in range(usecases.GRANTS_PER_TRANSACTION + 1)]
    for start in range(0, len(viewers), 1000):
        await service.post(*map(checkin, viewers[start : start + 1000]))
    wanted = {
        "make_good_id": "mg-1",
        "lesson_date": "2024-06-30",
        "reason": "平台故障",
        "checked_in_on": ["2024-06-29"],
    }
    first, again = [(await service.client.post(f"{PATH}/make-goods", json=wanted)).json() for _ in range(2)]
    assert first == {"make_good_id": "mg-1", "matched": len(viewers), "granted": len(viewers), "already": []}
    assert (again["matched"], again["granted"], len(again["already"])) == (len(viewers), 0, usecases.NAMED_MAX)
    facts = await service.facts("lesson_made_good")
    assert Counter(viewer for fact in facts for viewer in fact["viewer_ids"]) == Counter(viewers)


async def test_a_listed_viewer_who_gets_nothing_is_named(service: CheckinUnderTest) -> None:
    await service.post(checkin("a"), checkin("b", SECOND_LIVE))
    wanted = {
        "lesson_date": "2024-06-30",
        "reason": "平台故障",
        "viewer_ids": ["b", "nobody", "a", "nobody"],
        "checked_in_on": ["2024-06-29"],
    }
    preview = await service.client.post(f"{PATH}/make-goods", params={"dry_run": True}, json=wanted)
    assert preview.json() == {"matched": 1, "already": [], "unmatched": ["b", "nobody"], "dry_run": True}
    answer = (await service.client.post(f"{PATH}/make-goods", json=wanted)).json()
    assert (answer["matched"], answer["granted"], answer["unmatched"]) == (1, 1, ["b", "nobody"])


async def test_who_is_listed_is_granted_seen_before_or_not_and_who_has_the_lesson_is_left_alone(
    service: CheckinUnderTest,
) -> None:
    """Listed viewers of whom no event has ever arrived are granted the lesson and named in the answer. Before, nobody was
    granted and only a number showed it."""
    await service.post(checkin("has", SECOND_LIVE), checkin("watched-replay", "2024-06-30T20:10:00+08:00"))
    wanted = {
        "lesson_date": "2024-06-30",
        "reason": "平台故障",
        "viewer_ids": ["watched-replay", "never-seen", "has"],
    }
    named = {"matched": 3, "already": ["has"], "unseen": ["never-seen"]}
    preview = await service.client.post(f"{PATH}/make-goods", params={"dry_run": True}, json=wanted)
    assert preview.json() == named | {"dry_run": True}
    assert await service.facts("lesson_made_good") == [], "a preview changes nothing"
    answer = (await service.client.post(f"{PATH}/make-goods", json=wanted)).json()
    assert answer == named | {"granted": 2, "make_good_id": answer["make_good_id"]}
    (fact,) = await service.facts("lesson_made_good")
    assert fact["viewer_ids"] == ["never-seen", "watched-replay"]
    lesson = (await service.client.get(f"{PATH}/viewers/never-seen")).json()["lessons"][1]
    assert lesson["state"] == "made_good"
    await service.post(checkin("never-seen", SECOND_LIVE))
    assert (await service.client.get(f"{PATH}/viewers/never-seen")).json()["credited_days"] == 1


async def test_days_and_viewers_listed_twice_are_listed_once(service: CheckinUnderTest) -> None:
    """Days are bits. Adding the first day twice gave the second day, and 473 other viewers got the lesson."""
    await service.post(checkin("a"), checkin("b", SECOND_LIVE), checkin("c"), checkin("c", SECOND_LIVE))
    wanted = {"make_good_id": "mg-1", "lesson_date": "2024-06-30", "reason": "平台故障"}
    twice = wanted | {"checked_in_on": ["2024-06-29", "2024-06-29"]}
    preview = await service.client.post(f"{PATH}/make-goods", params={"dry_run": True}, json=twice)
    assert preview.json()["matched"] == 2
    assert (await service.client.post(f"{PATH}/make-goods", json=twice)).json()["granted"] == 1
    (fact,) = await service.facts("lesson_made_good")
    assert fact["viewer_ids"] == ["a"], "c has the second lesson already"
    once = wanted | {"checked_in_on": ["2024-06-29"]}
    assert (await service.client.post(f"{PATH}/make-goods", json=once)).json()["granted"] == 0, "the same decision"


async def test_a_decision_kept_with_repeats_by_an_older_version_can_be_finished(
    service: CheckinUnderTest, postgres: RunningPostgres
) -> None:
    await service.post(checkin("a"), checkin("b"))
    wanted = {"make_good_id": "mg-1", "lesson_date": "2024-06-30", "reason": "平台故障", "viewer_ids": ["b", "a"]}
    assert (await service.client.post(f"{PATH}/make-goods", json=wanted)).json()["granted"] == 2
    as_it_was_sent = '{"viewer_ids": ["b", "a", "b"], "checked_in_on": []}'
    ((name,),) = await service.rows("SELECT current_database()::text")
    sql = f"UPDATE make_good SET audience = '{as_it_was_sent}'"
    await postgres.execute(sql, role="checkin_owner", database=name)
    again = await service.client.post(f"{PATH}/make-goods", json=wanted | {"viewer_ids": ["b", "b", "a"]})
    assert (again.status_code, again.json()["granted"]) == (200, 0)


async def test_an_import_is_the_same_use_case_without_a_signature(service: CheckinUnderTest) -> None:
    await service.post(checkin("a"))
    answer = await service.client.post(
        f"{PATH}/imports", json=[checkin("a", event_id="row-1"), checkin("b", event_id="row-2")]
    )
    assert answer.json()["counts"] == {"duplicate": 1, "recorded": 1}
    named = await service.client.post(f"{PATH}/imports?source=kuaishou", json=[checkin("c", event_id="row-3")])
    assert named.json()["counts"] == {"recorded": 1}
    sources = [(fact["source"], fact["viewer_ids"]) for fact in await service.facts("checkin_recorded")]
    assert sources == [("standard", ["a"]), ("import", ["b"]), ("kuaishou", ["c"])]
    foreign = [checkin("c", campaign_id="other-campaign")]
    assert problem_of(await service.client.post(f"{PATH}/imports", json=foreign)) == (422, "other-campaign")


# ---- who may ---------------------------------------------------------------------------------------------------------


CALLS = [
    ("PUT", PATH, {"admin"}),
    ("GET", PATH, {"admin", "office", "auditor", "liaison"}),
    ("GET", f"{PATH}/viewers/a", {"admin", "office", "auditor"}),
    ("GET", f"{PATH}/whatif?credit=live", {"admin", "office", "auditor"}),
    ("POST", f"{PATH}/viewers/a/link", {"admin", "office"}),
    ("POST", f"{PATH}/viewer-links", {"admin", "office"}),
    ("GET", f"{PATH}/units/11/viewers", {"admin", "office", "auditor"}),  # a liaison: of the own unit
    ("GET", f"{PATH}/units/11/viewers/a", {"admin", "office", "auditor"}),
    ("POST", f"{PATH}/make-goods", {"admin", "office"}),
    ("POST", f"{PATH}/imports", {"admin", "office"}),
]


@pytest.mark.parametrize(("method", "path", "allowed"), CALLS)
async def test_every_call_needs_a_token_of_the_right_role(
    service: CheckinUnderTest, method: str, path: str, allowed: set[Role]
) -> None:
    async def status(bearer: str | None) -> int:
        headers = {"Authorization": f"Bearer {bearer}" if bearer else ""}
        return (await service.client.request(method, path, json={}, headers=headers)).status_code

    assert await status(None) == 401
    assert await status(token()[:-6] + "AAAAAA") == 401
    roles: tuple[Role, ...] = ("admin", "office", "auditor", "liaison")
    for role in roles:
        refused = await status(token(role)) == 403
        assert refused == (role not in allowed), role
    assert await status(token("admin", campaign="another")) == 403


async def test_a_units_token_reads_no_viewer(service: CheckinUnderTest) -> None:
    await service.post(checkin("a"))
    scoped = {"Authorization": f"Bearer {token('office', CAMPAIGN, '111')}"}
    assert problem_of(await service.client.get(f"{PATH}/viewers/a", headers=scoped)) == (403, "unit-scoped")


async def test_a_liaison_sees_the_days_of_the_own_units_people_and_nothing_else(service: CheckinUnderTest) -> None:
    content = campaign_content()
    content["units"].append(a_unit("112", "11", "county"))
    await service.define(content)
    contact = {"name": "王示例", "phone": "13800005678"}
    await service.post(
        enrolment("in", unit_code="111-EDU", **contact), checkin("in"), checkin("in", REPLAY, "r"),
        enrolment("beside", unit_code="112"), enrolment("above", unit_code="11"), checkin("nowhere"),
        enrolment("unheard-of", unit_code="999"),
    )  # fmt: skip
    await service.client.post(
        f"{PATH}/make-goods", json={"lesson_date": "2024-06-30", "reason": "平台中断", "viewer_ids": ["in"]}
    )
    liaison = {"Authorization": f"Bearer {token('liaison', CAMPAIGN, '111')}"}

    async def get(path: str) -> httpx.Response:
        return await service.client.get(f"{PATH}/units/{path}", headers=liaison)

    page = await get("111/viewers")
    assert page.json() == {
        "required_days": 2,
        "rows": [
            {"viewer_id": "in", "unit_code": "111-EDU", "group": "unassigned", "credited_days": 2, "reachable_days": 2,
             "can_complete": True, "not_credited": []},
        ],
        "next_cursor": None,
    }  # fmt: skip
    one = await get("111-EDU/viewers/in")
    assert [lesson["state"] for lesson in one.json()["lessons"]] == ["credited", "made_good"]
    for text in (page.text, one.text):
        assert not [secret for secret in ("王示例", "5678", "claim_code", "phone", 'name":"王') if secret in text]
    for viewer in ("beside", "above", "nowhere", "unheard-of", "nobody"):
        assert problem_of(await get(f"111/viewers/{viewer}")) == (404, "not-found")
    for unit in ("112", "11", "1", "999", "unassigned"):
        assert problem_of(await get(f"{unit}/viewers")) == (403, "other-unit")
        assert problem_of(await get(f"{unit}/viewers/beside")) == (403, "other-unit")
    whole = (await service.client.get(f"{PATH}/units/1/viewers?limit=2")).json()
    assert ([row["viewer_id"] for row in whole["rows"]], whole["next_cursor"]) == (["above", "beside"], "beside")


async def test_links_in_bulk_are_those_that_one_by_one_are(service: CheckinUnderTest) -> None:
    await service.post(enrolment("a", unit_code="111"), enrolment("b", unit_code="11"), checkin("c"))
    single = (await service.client.post(f"{PATH}/viewers/a/link")).json()["url"]
    whole = (await service.client.post(f"{PATH}/viewer-links", json={})).json()
    assert [(row["viewer_id"], row["unit_code"]) for row in whole["rows"]] == [
        ("a", "111"),
        ("b", "11"),
        ("c", "unassigned"),
    ]
    assert (whole["rows"][0]["url"], whole["next_cursor"]) == (single, None)
    of_unit = (await service.client.post(f"{PATH}/viewer-links", json={"unit": "111"})).json()["rows"]
    assert [row["viewer_id"] for row in of_unit] == ["a"]
    listed = (await service.client.post(f"{PATH}/viewer-links", json={"viewer_ids": ["a", "not-yet"]})).json()["rows"]
    assert [row["viewer_id"] for row in listed] == ["a", "not-yet"]
    assert listed[0]["url"] == single
    assert problem_of(await service.client.post(f"{PATH}/viewer-links", json={"unit": "7"})) == (404, "not-found")


async def test_metrics_count_exactly_and_docs_are_there(service: CheckinUnderTest) -> None:
    await service.post(checkin("a"), checkin("a"), checkin("b", REPLAY))
    text = (await service.client.get("/metrics")).text
    labels = f'campaign="{CAMPAIGN}",lesson="2024-06-29",mode="live",reason="",type="viewer.checked_in"'
    assert f'fanzha_live_events_total{{{labels},verdict="recorded"}} 1.0' in text
    assert f'fanzha_viewers_by_credited_days{{campaign="{CAMPAIGN}",days="1"}} 1.0' in text
    assert "fanzha_outbox_pending 2.0" in text or "fanzha_outbox_pending 3.0" in text
    openapi = (await service.client.get("/openapi.json")).json()
    assert "/v1/live/events" in openapi["paths"]
    assert (await service.client.get("/docs")).status_code == 200


async def test_the_docs_load_nothing_from_elsewhere(service: CheckinUnderTest) -> None:
    page = (await service.client.get("/docs")).text
    sources = re.findall(r'(?:src|href)="([^"]+)"', page)
    assert sources
    for source in sources:
        assert source.startswith(("/", "http://checkin.test/")), source
        assert (await service.client.get(source)).status_code == 200


async def test_campaigns_are_listed_for_whom_the_token_is(service: CheckinUnderTest) -> None:
    listed = (await service.client.get("/v1/campaigns")).json()
    assert listed == {"rows": [{"campaign_id": CAMPAIGN, "title": "小活动", "revision": 1}], "next_cursor": None}
    paged = (await service.client.get("/v1/campaigns", params={"limit": 1})).json()
    assert paged["next_cursor"] == CAMPAIGN
    after = (await service.client.get("/v1/campaigns", params={"limit": 1, "cursor": CAMPAIGN})).json()
    assert after == {"rows": [], "next_cursor": None}
    for campaign, rows in ((CAMPAIGN, 1), ("another", 0)):
        headers = {"Authorization": f"Bearer {token('liaison', campaign, '111')}"}
        assert len((await service.client.get("/v1/campaigns", headers=headers)).json()["rows"]) == rows
