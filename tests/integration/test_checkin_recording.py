"""What becomes of events: verdicts, facts, and that arrival order changes nothing that counts. On a real Postgres."""

import asyncio
import base64
import itertools
import json
import random
from collections import Counter
from collections.abc import AsyncIterator
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from services.checkin.domain import Lessons
from services.checkin.sorting import Enrolment, Told
from services.checkin.store import upsert_viewers
from services.checkin.usecases import ATTRIBUTED_PER_TRANSACTION, Draft, define_campaign
from shared.contracts.base import SealedColumn
from shared.contracts.checkin import CheckinRecordedV1, LiveRoomActionsRecordedV1, ViewerEnrolledV1, ViewerReassignedV1
from shared.people import sealing
from tests.support.campaigns import campaign, campaign_content
from tests.support.checkin import (
    DURING,
    LIVE,
    RECIPIENTS,
    REPLAY,
    SECOND_LIVE,
    CheckinUnderTest,
    checkin,
    enrolment,
    running_checkin,
)
from tests.support.databases import DatabaseFactory, FreshDatabase, fresh_database
from tests.support.servers import RunningPostgres

NEW, TWICE = ("recorded", None), ("duplicate", None)


@pytest.fixture
async def service(database: DatabaseFactory, tmp_path: Path) -> AsyncIterator[CheckinUnderTest]:
    async with running_checkin(await database("checkin"), tmp_path) as running:
        assert (await running.define(campaign_content())).json() == {"revision": 1, "changed": True, "attributed": 0}
        yield running


async def test_a_check_in_counts_once_whatever_its_event_id(service: CheckinUnderTest) -> None:
    assert await service.post(checkin("a"), checkin("a"), checkin("a", event_id="other")) == [NEW, TWICE, TWICE]
    assert await service.post(checkin("a", "2024-06-29T19:59:59.999+08:00", "later")) == [TWICE]


async def test_live_and_replay_of_a_lesson_are_two_identities(service: CheckinUnderTest) -> None:
    assert await service.post(checkin("a", REPLAY), checkin("a", LIVE)) == [("stored", "replay_not_credited"), NEW]
    first_live = (await service.facts("checkin_recorded"))[0]
    assert (first_live["mode"], first_live["first_for_lesson"]) == ("live", [False])


@pytest.mark.parametrize(
    ("at", "expected"),
    [
        ("2024-06-29T19:29:59.999999+08:00", ("rejected", "outside_window")),
        ("2024-06-29T19:30:00+08:00", NEW),
        ("2024-06-29T11:30:00Z", NEW),
        ("2024-06-29T19:59:59.999999+08:00", NEW),
        ("2024-06-29T20:00:00+08:00", ("stored", "replay_not_credited")),
        ("2024-06-29T23:59:59+08:00", ("stored", "replay_not_credited")),
        ("2024-06-30T00:00:00+08:00", ("rejected", "outside_window")),
        ("2024-06-30T08:00:00+08:00", ("stored", "replay_not_credited")),
        ("2024-06-30T19:00:00+08:00", ("rejected", "outside_window")),
        ("2024-06-30T20:31:00+08:00", ("stored", "replay_not_credited")),  # 60 s ahead: a clock's tolerance
        ("2024-06-30T20:31:00.001+08:00", ("rejected", "in_future")),
        ("2024-07-02T19:31:00+08:00", ("rejected", "in_future")),
        ("1999-12-31T00:00:00Z", ("rejected", "malformed")),
        ("0001-01-01T00:00:00+14:00", ("rejected", "malformed")),
        ("2024-06-29T19:31:00", ("rejected", "malformed")),
        ("2024-02-30T19:31:00+08:00", ("rejected", "malformed")),
        ("yesterday", ("rejected", "malformed")),
    ],
)
async def test_windows_are_half_open_and_times_have_an_offset(
    service: CheckinUnderTest, at: str, expected: tuple[str, str | None]
) -> None:
    assert await service.post(checkin("a", at, "e-1")) == [expected]


def with_channels(**channels: str) -> dict[str, Any]:
    return campaign_content(channels={"QR-1": "111-EDU", **channels})


async def test_a_channel_that_comes_after_its_viewers_takes_them(service: CheckinUnderTest) -> None:
    await service.post(
        *(enrolment(viewer, channel="QR-9999", group="student") for viewer in "abc"),
        enrolment("d", channel="QR-9998"),
        enrolment("e", "2024-06-29T19:20:00+08:00", channel="QR-9999"),
        enrolment("e", channel="QR-9998"),
        enrolment("f"),
        enrolment("g", unit_code="11", channel="QR-9999"),
        *(checkin(viewer) for viewer in "abcdefg"),
        checkin("a", REPLAY),
    )
    content = with_channels(**{"QR-9999": "111"})
    for attributed in (4, 0):  # a, b, c by their channel, e by the only one of two that is known
        assert (await service.define(content)).json()["attributed"] == attributed
    units = dict(await service.rows("SELECT viewer_id, unit_code FROM viewer"))
    assert units == dict.fromkeys("abce", "111") | dict.fromkeys("df", "unassigned") | {"g": "11"}
    moved = [
        row
        for fact in await service.facts("viewer_reassigned")
        for row in zip(
            *(fact[name] for name in ("viewer_ids", "modes", "from_unit_codes", "to_unit_codes", "to_groups")),
            strict=True,
        )
    ]
    assert sorted(moved) == [
        ("a", "live", "unassigned", "111", "student"),
        ("a", "replay", "unassigned", "111", "student"),
        ("b", "live", "unassigned", "111", "student"),
        ("c", "live", "unassigned", "111", "student"),
        ("e", "live", "unassigned", "111", "unassigned"),
    ]
    assert (await service.define(with_channels(**{"QR-9999": "111-EDU"}))).json()["attributed"] == 0  # moves nobody
    assert dict(await service.rows("SELECT viewer_id, unit_code FROM viewer")) == units


async def test_the_same_definition_again_attributes_what_a_crash_left(service: CheckinUnderTest) -> None:
    await service.post(enrolment("a", channel="QR-9999"), checkin("a"))
    content = with_channels(**{"QR-9999": "111"})
    async with service.service.db.transaction() as tx:  # the process dies after the definition's commit
        await define_campaign(tx, Draft.of(campaign(channels=content["channels"])), "office", DURING)
    assert await service.rows("SELECT unit_code FROM viewer") == [("unassigned",)]
    assert (await service.define(content)).json() == {"revision": 2, "changed": False, "attributed": 1}
    assert len(await service.facts("viewer_reassigned")) == 1


async def test_attributing_goes_on_after_the_viewer_where_a_page_ended(service: CheckinUnderTest) -> None:
    viewers = [f"v{number:05}" for number in range(ATTRIBUTED_PER_TRANSACTION + 3)]
    for start in range(0, len(viewers), 1000):
        await service.post(*(enrolment(viewer, channel="QR-9999") for viewer in viewers[start : start + 1000]))
    assert (await service.define(with_channels(**{"QR-9999": "111"}))).json()["attributed"] == len(viewers)
    assert await service.rows("SELECT unit_code, count(*) FROM viewer GROUP BY 1") == [("111", len(viewers))]
    assert await service.facts("viewer_reassigned") == []  # nobody had checked in


async def test_a_platform_sends_only_what_it_broadcasts(service: CheckinUnderTest) -> None:
    platforms = [{"source": "standard", "title": "快手", "modes": ["live"]}]
    assert (await service.define(campaign_content(platforms=platforms))).json()["revision"] == 2
    assert await service.post(checkin("a"), checkin("a", REPLAY, "r")) == [NEW, ("rejected", "not_of_platform")]
    answer = await service.client.post("/v1/campaigns/small-2024/imports", json=[checkin("a", REPLAY, "r")])
    assert answer.json()["results"][0]["reason"] == "replay_not_credited"  # from a file it may come
    counted = await service.rows("SELECT campaign_id, type, n FROM verdict_count WHERE reason = 'not_of_platform'")
    assert counted == [("small-2024", "viewer.checked_in", 1)]


async def test_an_enrolment_with_blank_codes_takes_nothing_back(service: CheckinUnderTest) -> None:
    blank = {"unit_code": "", "channel": "", "group": ""}
    told = enrolment("a", unit_code="111", group="student")
    later = enrolment("a", "2024-06-29T19:29:00+08:00", **blank)
    assert await service.post(told, later, enrolment("b", **blank)) == [NEW] * 3
    rows = await service.rows("SELECT viewer_id, unit_code, group_code, channel FROM viewer ORDER BY 1")
    assert rows == [("a", "111", "student", None), ("b", "unassigned", "unassigned", None)]


async def test_reasons_have_a_precedence(service: CheckinUnderTest) -> None:
    everything_wrong = {"type": "gift.sent", "campaign_id": "other", "at": "2031-01-01T00:00:00+08:00"}
    assert await service.post(
        checkin("a\u0000", **everything_wrong),
        checkin("a", "2031-01-01T00:00:00+08:00", "e1", type="gift.sent", campaign_id="other"),
        checkin("a", "2031-01-01T00:00:00+08:00", "e2", campaign_id="other"),
        checkin("a", "2031-01-01T00:00:00+08:00", "e3"),
        checkin("a", "2024-06-29T12:00:00+08:00", "e4"),
    ) == [
        ("rejected", reason)
        for reason in ("malformed", "unknown_type", "unknown_campaign", "in_future", "outside_window")
    ]


async def test_one_bad_item_never_spoils_its_batch(service: CheckinUnderTest) -> None:
    deep: Any = "x"
    for _ in range(200):
        deep = [deep]
    too_long, bell = enrolment("z", name="长" * 51), enrolment("z", name="\u0007")
    wrong_type, no_id = checkin("z", name=7, type="viewer.enrolled"), checkin("a b")
    bad: list[Any] = [
        5,
        None,
        "text",
        [],
        {},
        {"event_id": "only-id"},
        checkin("a" * 65),
        no_id,
        deep,
        wrong_type,
        bell,
        too_long,
    ]
    events = [checkin("good-1"), *bad, checkin("good-2")]
    verdicts = await service.post(*events)
    assert verdicts[0] == verdicts[-1] == NEW
    assert set(verdicts[1:-1]) == {("rejected", "malformed")}
    assert await service.rows("SELECT count(*) FROM viewer") == [(2,)]


async def test_a_refused_event_is_kept_once_with_its_reason_and_without_its_content(service: CheckinUnderTest) -> None:
    refused = enrolment("a", "2031-01-01T00:00:00+08:00", "future", name="张三", phone="19900000001", extra="secret")
    for _ in range(2):
        assert await service.post(refused, {"nonsense": "张三"}) == [
            ("rejected", "in_future"),
            ("rejected", "malformed"),
        ]
    kept = await service.rows("SELECT event_key, reason, viewer_id, length(body_hmac), uncounted::text FROM uncounted")
    assert sorted(row[1:4] for row in kept) == [("in_future", "a", 32), ("malformed", None, 32)]
    assert not any("张三" in row[4] or "19900000001" in row[4] or "secret" in row[4] for row in kept)
    counted = await service.rows("SELECT reason, sum(n)::int FROM verdict_count WHERE verdict = 'rejected' GROUP BY 1")
    assert dict(counted) == {"in_future": 1, "malformed": 1}


async def test_late_is_kept_and_not_credited(service: CheckinUnderTest) -> None:
    sealed = datetime.fromisoformat("2024-07-02T19:00:00+08:00")  # last window's end + 48 h
    service.clock_is(sealed - timedelta(microseconds=1))
    assert await service.post(checkin("in-time")) == [NEW]
    service.clock_is(sealed)
    assert await service.post(checkin("late"), checkin("late"), checkin("in-time")) == [
        ("stored", "late"),
        TWICE,
        TWICE,
    ]
    assert [fact["late"] for fact in await service.facts("checkin_recorded")] == [[False], [True]]


async def test_whoever_reaches_the_required_days_is_told_of_once(service: CheckinUnderTest) -> None:
    await service.post(checkin("a"), checkin("b"))
    await service.post(checkin("a", SECOND_LIVE), checkin("a", REPLAY), checkin("c", SECOND_LIVE))
    facts = [CheckinRecordedV1.model_validate(fact) for fact in await service.facts("checkin_recorded")]
    told = [(row.viewer_id, row.credited_days, row.credited_lessons) for fact in facts for row in fact.rows()]
    both = [day for fact in facts for row in fact.rows() if row.credited_lessons for day in row.credited_lessons]
    assert [entry[:2] for entry in told if entry[2]] == [("a", 2)]
    assert [day.isoformat() for day in both] == ["2024-06-29", "2024-06-30"]
    days = await service.rows(
        "SELECT days, sum(n)::int FROM credited_days_count GROUP BY 1 HAVING sum(n) <> 0 ORDER BY 1"
    )
    assert days == [(1, 2), (2, 1)]


async def test_the_latest_enrolment_wins_and_moves_what_was_counted(service: CheckinUnderTest) -> None:
    assert await service.post(checkin("a")) == [NEW]
    new, older = (
        enrolment("a", unit_code="111", group="student"),
        enrolment("a", "2024-06-29T19:00:00+08:00", channel="QR-1"),
    )
    assert await service.post(new, older, new) == [NEW, ("stored", "superseded"), TWICE]
    assert await service.rows("SELECT unit_code, group_code FROM viewer") == [("111", "student")]
    (move,) = [ViewerReassignedV1.model_validate(fact) for fact in await service.facts("viewer_reassigned")]
    (row,) = move.rows()
    assert (row.from_unit_code, row.to_unit_code, row.first_for_lesson, row.first_for_campaign) == (
        "unassigned",
        "111",
        True,
        True,
    )
    assert len(await service.facts("viewer_enrolled")) == 1  # one post, both enrolments


async def test_unit_is_as_given_else_by_channel_else_unassigned(service: CheckinUnderTest) -> None:
    await service.post(
        enrolment("given", unit_code="11", channel="QR-1"),
        enrolment("by-channel", channel="QR-1"),
        enrolment("unknown-channel", channel="QR-404"),
        enrolment("unknown-unit", unit_code="no-such"),
    )
    assert dict(await service.rows("SELECT viewer_id, unit_code FROM viewer")) == {
        "given": "11",
        "by-channel": "111-EDU",
        "unknown-channel": "unassigned",
        "unknown-unit": "no-such",
    }


async def test_contacts_leave_sealed_and_only_recipients_open_them(service: CheckinUnderTest) -> None:
    name = "欧阳·𰻝㐱"
    await service.post(enrolment("a", name=name, phone="19900000001"), enrolment("b", name="", phone=None))
    (fact,) = [ViewerEnrolledV1.model_validate(fact) for fact in await service.facts("viewer_enrolled")]
    assert isinstance(fact.contacts, SealedColumn)
    for recipient, key in RECIPIENTS.items():
        private = base64.b64encode(bytes(key)).decode()
        opened = sealing.unseal(fact.contacts, recipient, private, fact.viewer_ids)
        assert [box and json.loads(box) for box in opened] == [{"name": name, "phone": "19900000001"}, None]
    everything = await service.rows(
        "SELECT v::text FROM viewer v UNION ALL SELECT e::text FROM enrolment e UNION ALL SELECT u::text FROM uncounted u "
        "UNION ALL SELECT convert_from(payload, 'utf8') FROM outbox"
    )
    assert not [row for row in everything if name in row[0] or "19900000001" in row[0]]


async def test_live_room_actions_are_counted_once_under_the_viewers_unit(service: CheckinUnderTest) -> None:
    prize = checkin("a", event_id="p-1", type="prize.won", prize="保温杯")
    quiz = checkin("b", event_id="q-1", type="quiz.answered", quiz="第一题")
    assert await service.post(enrolment("a", unit_code="111"), prize, prize, quiz) == [NEW, NEW, TWICE, NEW]
    facts = [
        LiveRoomActionsRecordedV1.model_validate(fact) for fact in await service.facts("live_room_actions_recorded")
    ]
    counted = {(fact.action, row.viewer_id, row.unit_code, row.item) for fact in facts for row in fact.rows()}
    assert counted == {("prize_won", "a", "111", "保温杯"), ("quiz_answered", "b", "unassigned", "第一题")}


async def test_more_rows_than_one_event_holds_become_several(service: CheckinUnderTest) -> None:
    events = [checkin(f"v{number:04d}") for number in range(1000)]
    assert Counter(await service.post(*events)) == {NEW: 1000}
    facts = [CheckinRecordedV1.model_validate(fact) for fact in await service.facts("checkin_recorded")]
    assert [len(fact) for fact in facts] == [500, 500]


async def test_concurrent_posts_of_the_same_events_count_once(service: CheckinUnderTest) -> None:
    events = [checkin(f"v{number}") for number in range(50)]
    shuffled = [random.Random(seed).sample(events, len(events)) for seed in range(20)]
    verdicts = await asyncio.gather(*(service.post(*batch) for batch in shuffled))
    assert Counter(verdict for batch in verdicts for verdict in batch) == {NEW: 50, TWICE: 950}
    facts = await service.facts("checkin_recorded")
    assert sorted(viewer for fact in facts for viewer in fact["viewer_ids"]) == sorted(f"v{n}" for n in range(50))


async def test_two_replicas_share_the_load_without_counting_twice(service: CheckinUnderTest, tmp_path: Path) -> None:
    url = service.service.settings.database_url
    replica_of = FreshDatabase("shared", url, url)
    events = [
        entry for number in range(60) for entry in (checkin(f"v{number}"), enrolment(f"v{number}", unit_code="111"))
    ]
    async with running_checkin(replica_of, tmp_path) as other:
        batches = [random.Random(seed).sample(events, len(events)) for seed in range(12)]
        answers = await asyncio.gather(*((service, other)[n % 2].post(*batch) for n, batch in enumerate(batches)))
    assert Counter(verdict for answer in answers for verdict in answer)[NEW] == 120


# ---- any order, any duplication ---------------------------------------------------------------------------------------

VIEWERS, TIMES = ("a", "b", "c"), (LIVE, REPLAY, SECOND_LIVE)
ENROLMENTS = [
    enrolment("a", unit_code="111"),
    enrolment("a", "2024-06-29T21:00:00+08:00", unit_code="11", group="student"),
    enrolment("b", channel="QR-1", group="general"),
    enrolment("b", "2024-06-30T10:00:00+08:00", unit_code="111-EDU", group="general"),
    enrolment("b", "2024-06-30T10:01:00+08:00"),  # says nothing, and takes nothing back
    enrolment("c", "2024-06-30T10:00:00+08:00", "1", unit_code="111"),
    enrolment("c", "2024-06-30T10:01:00+08:00", "2", group="general"),
    enrolment("c", "2024-06-30T10:02:00+08:00", "3", channel="QR-1"),
    enrolment("c", "2024-06-30T10:03:00+08:00", "5", channel="QR-9999"),
    enrolment("c", "2024-06-30T10:03:00+08:00", "4", group="student"),
]
HISTORY = [checkin(viewer, at) for viewer, at in itertools.product(VIEWERS, TIMES)] + ENROLMENTS


@pytest.fixture(scope="module")
async def shuffled(
    postgres: RunningPostgres, tmp_path_factory: pytest.TempPathFactory
) -> AsyncIterator[CheckinUnderTest]:
    """One database for the module: every history is a campaign of its own."""
    fresh = await fresh_database(postgres, "checkin")
    async with running_checkin(fresh, tmp_path_factory.mktemp("checkin")) as running:
        yield running
    await postgres.drop(fresh.name)


_numbers = itertools.count(1)


@settings(max_examples=40, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    events=st.lists(st.sampled_from(HISTORY), max_size=24).map(lambda more: HISTORY + more).flatmap(st.permutations),
    sizes=st.lists(st.integers(1, 6), min_size=40, max_size=40),
)
async def test_any_order_and_duplication_gives_the_same_viewers_and_totals(
    shuffled: CheckinUnderTest, events: list[dict[str, Any]], sizes: list[int]
) -> None:
    campaign = f"order-{next(_numbers)}"
    await shuffled.define(campaign_content(campaign_id=campaign))
    left = [event | {"campaign_id": campaign} for event in events]
    for size in sizes:
        batch, left = left[:size], left[size:]
        if batch:
            await shuffled.post(*batch)
    viewers = await shuffled.rows(
        "SELECT viewer_id, live, replay, unit_code, group_code FROM viewer JOIN campaign USING (campaign_no) "
        "WHERE campaign_id = $1 ORDER BY 1",
        campaign,
    )
    assert viewers == [
        ("a", 3, 1, "11", "student"),
        ("b", 3, 1, "111-EDU", "general"),
        ("c", 3, 1, "111-EDU", "student"),
    ]
    assert totals_of(await published(shuffled, campaign)) == {
        ("11", "student"): Counter(checkins=3, lessons=2, people=1),
        ("111-EDU", "general"): Counter(checkins=3, lessons=2, people=1),
        ("111-EDU", "student"): Counter(checkins=3, lessons=2, people=1),
    }
    for row in viewers:
        assert places_of(await published(shuffled, campaign), row[0]) <= {row[3], row[4]}


async def test_a_batch_may_hold_more_kinds_of_viewers_than_a_byte_counts(service: CheckinUnderTest) -> None:
    lessons = {f"v{n:04}": Lessons(live=n, replay=n + 1, first=n % 40) for n in range(1, 701)}
    enrolled = Enrolment(
        "v0300", "n-1", datetime.fromisoformat(LIVE), "111", "student", None, datetime.fromisoformat(LIVE)
    )
    changes = [(viewer, bits, Told.of(enrolled) if viewer == "v0300" else None) for viewer, bits in lessons.items()]

    async with service.service.db.transaction() as tx:
        changed = await upsert_viewers(tx, 1, changes)

    assert {row.viewer_id: row.live_after for row in changed} == {viewer: bits.live for viewer, bits in lessons.items()}
    rows = await service.rows("SELECT viewer_id, live, replay, first, unit_code, group_code FROM viewer ORDER BY 1")
    assert rows == [
        (
            viewer,
            bits.live,
            bits.replay,
            bits.first,
            *(("111", "student") if viewer == "v0300" else ("unassigned",) * 2),
        )
        for viewer, bits in lessons.items()
    ]


async def published(service: CheckinUnderTest, campaign: str) -> list[tuple[str, dict[str, Any]]]:
    rows = await service.rows("SELECT subject, payload FROM outbox WHERE campaign_id = $1", campaign)
    return [(subject, json.loads(payload)) for subject, payload in rows]


def totals_of(facts: list[tuple[str, dict[str, Any]]]) -> dict[tuple[str, str], Counter[str]]:
    """What a consumer that only adds and moves ends up with, by unit and group."""
    totals: dict[tuple[str, str], Counter[str]] = {}

    def add(unit: str, group: str, sign: int, lesson: bool, person: bool) -> None:
        counter = totals.setdefault((unit, group), Counter())
        counter.update({"checkins": sign, "lessons": sign * lesson, "people": sign * person})

    for subject, fact in facts:
        if subject == CheckinRecordedV1.subject():
            for row in CheckinRecordedV1.model_validate(fact).rows():
                add(row.unit_code, row.group, 1, row.first_for_lesson, row.first_for_campaign)
        if subject == ViewerReassignedV1.subject():
            for row in ViewerReassignedV1.model_validate(fact).rows():
                add(row.from_unit_code, row.from_group, -1, row.first_for_lesson, row.first_for_campaign)
                add(row.to_unit_code, row.to_group, 1, row.first_for_lesson, row.first_for_campaign)
    return {key: +counter for key, counter in totals.items() if +counter}


def places_of(facts: list[tuple[str, dict[str, Any]]], viewer_id: str) -> set[str]:
    """The unit and group of a viewer as a consumer knows them that keeps the latest move of each, in whatever order events
    come."""
    moves = [
        ViewerReassignedV1.model_validate(fact) for subject, fact in facts if subject == ViewerReassignedV1.subject()
    ]
    rows = [row for event in moves for row in event.rows() if row.viewer_id == viewer_id]
    units = [
        (row.enrolled_at, row.enrolment_id, row.to_unit_code) for row in rows if row.from_unit_code != row.to_unit_code
    ]
    groups = [(row.enrolled_at, row.enrolment_id, row.to_group) for row in rows if row.from_group != row.to_group]
    return {max(places)[-1] for places in (units, groups) if places}
