"""The demo's traffic keeps its promises, its expectation reads the rules right, and its watcher sees people's data."""

from collections import Counter
from datetime import UTC, datetime
from uuid import UUID

import pytest

from demo.campaign import Campaign, read
from demo.comparison import Check
from demo.deliveries import Item, Post, Step, item_of
from demo.expectation import ACTIONS, Expectation, printed
from demo.main import CAMPAIGN
from demo.people import SPECIAL_NAMES
from demo.privacy import Seen, Watcher, accounts_out_of_place
from demo.traffic import Traffic
from shared.contracts.certificate import CertificateRevokedV1

VIEWERS = 300


@pytest.fixture(scope="module")
def campaign() -> Campaign:
    return read(CAMPAIGN)


@pytest.fixture(scope="module")
def steps(campaign: Campaign) -> list[Step]:
    return list(Traffic(campaign, VIEWERS, 1).steps())


def everything(step: Step) -> list[Item]:
    posts = [item for post in step.posts for item in post.items]
    bus = [item for message in step.bus for item in message.items]
    return posts + bus + [item for export in step.exports for item in export.rows]


def test_the_same_seed_is_the_same_traffic(campaign: Campaign, steps: list[Step]) -> None:
    again = list(Traffic(campaign, VIEWERS, 1).steps())
    assert [everything(step) for step in again] == [everything(step) for step in steps]
    assert [everything(step) for step in Traffic(campaign, VIEWERS, 2).steps()] != [everything(step) for step in steps]


def test_time_never_goes_back(steps: list[Step]) -> None:
    assert [step.at for step in steps] == sorted(step.at for step in steps)


def test_nothing_inside_a_step_depends_on_order(steps: list[Step]) -> None:
    for step in steps:
        events = [item.value for item in everything(step) if isinstance(item.value, dict)]
        sound = [event for event in events if str(event.get("event_id")).startswith("e-")]
        enrolments = {(event["viewer_id"], event["event_id"]) for event in sound if event["type"] == "viewer.enrolled"}
        enrolled = Counter(viewer_id for viewer_id, _ in enrolments)
        assert not [viewer_id for viewer_id, number in enrolled.items() if number > 1], step.title
        acting = {event["viewer_id"] for event in sound if event["type"] in ACTIONS}
        assert not acting & enrolled.keys(), step.title


def test_the_bus_carries_no_contact_data(steps: list[Step]) -> None:
    for step in steps:
        for message in step.bus:
            assert b"phone" not in message.payload
            assert b'"name"' not in message.payload


def test_everything_that_can_happen_happens(campaign: Campaign, steps: list[Step]) -> None:
    expectation = Expectation(campaign)
    for step in steps:
        expectation.take(step)
        for decision in step.make_goods:
            expectation.make_good(decision)
        expectation.settle(step.at)
    seen = {(verdict, reason) for *_, verdict, reason in expectation.verdicts}
    assert seen == {
        ("recorded", ""),
        ("duplicate", ""),
        *(("stored", reason) for reason in ("replay_not_credited", "late", "superseded")),
        *(
            ("rejected", reason)
            for reason in (
                "malformed",
                "unknown_type",
                "unknown_campaign",
                "in_future",
                "outside_window",
                "not_of_platform",
            )
        ),
    }
    assert {post.fault for step in steps for post in step.posts} >= {
        "wrong_signature",
        "not_utf8",
        "truncated",
        "too_many",
    }
    assert expectation.dead_letters == 2
    assert expectation.granted.keys() == {"mg-late", "mg-lost"}
    assert 0.08 * VIEWERS < len(expectation.certificates) < 0.25 * VIEWERS
    assert {certificate.message.status for certificate in expectation.certificates} >= {"delivered", "suppressed"}
    assert {printed(name) for name in SPECIAL_NAMES} <= {certificate.name for certificate in expectation.certificates}


def test_what_a_platform_broadcasts_no_replay_of_is_not_its(campaign: Campaign) -> None:
    value = event("2024-06-29T20:10:00+08:00")
    for source, reason in (
        ("douyin", "not_of_platform"),
        ("standard", "replay_not_credited"),
        ("tv", "replay_not_credited"),
    ):
        step = Step(
            datetime.fromisoformat("2024-06-29T22:30:00+08:00"), "", [Post([item_of(value)], b"", source=source)]
        )
        (answers,) = Expectation(campaign).take(step).values()
        assert answers[0].reason == reason


def test_a_viewers_check_ins_of_a_step_are_of_one_source(steps: list[Step]) -> None:
    """Otherwise the platform that a check-in counts for would depend on the order of arrival."""
    used: Counter[str] = Counter()
    for step in steps:
        sources: dict[str, set[str]] = {}
        sent = [(post.source, post.items) for post in step.posts] + [("bus", message.items) for message in step.bus]
        for source, items in sent + [(export.source, export.rows) for export in step.exports]:
            used[source] += len(items)
            for value in (item.value for item in items if isinstance(item.value, dict)):
                if value.get("type") == "viewer.checked_in":
                    sources.setdefault(str(value["viewer_id"]), set()).add(source)
        assert [viewer for viewer, used_by in sources.items() if len(used_by) > 1] == [], step.title
    assert min(used[source] for source in ("standard", "douyin", "bus", "import")) > VIEWERS


def event(at: str, **fields: object) -> dict[str, object]:
    known = {"event_id": "e-1", "type": "viewer.checked_in", "campaign_id": "jinshan-2024", "viewer_id": "v-1"}
    return known | {"occurred_at": at} | fields


def answer_to(campaign: Campaign, value: dict[str, object], now: str) -> tuple[str, str | None]:
    post = Post([item_of(value)], b"")
    step = Step(datetime.fromisoformat(now), "", [post])
    expected = Expectation(campaign).take(step)[id(post)][0]
    return expected.verdict, expected.reason


@pytest.mark.parametrize(
    ("at", "now", "expected"),
    [
        ("2024-06-29T19:29:59.999+08:00", "2024-06-29T20:00:00+08:00", ("rejected", "outside_window")),
        ("2024-06-29T19:30:00+08:00", "2024-06-29T20:00:00+08:00", ("recorded", None)),
        ("2024-06-29T19:59:59+08:00", "2024-06-29T20:00:00+08:00", ("recorded", None)),
        ("2024-06-29T20:00:00+08:00", "2024-06-29T20:00:00+08:00", ("stored", "replay_not_credited")),
        ("2024-06-29T11:45:00Z", "2024-06-29T20:00:00+08:00", ("recorded", None)),
        ("2024-06-30T00:00:00+08:00", "2024-06-30T09:00:00+08:00", ("rejected", "outside_window")),
        ("2024-06-30T08:00:00+08:00", "2024-06-30T09:00:00+08:00", ("stored", "replay_not_credited")),
        ("2024-06-30T19:00:00+08:00", "2024-06-30T20:00:00+08:00", ("rejected", "outside_window")),
        ("2024-06-29T19:31:00+08:00", "2024-06-29T19:30:00+08:00", ("recorded", None)),
        ("2024-06-29T19:31:01+08:00", "2024-06-29T19:30:00+08:00", ("rejected", "in_future")),
        ("2024-06-29T19:31:00+08:00", "2024-07-02T18:59:59+08:00", ("recorded", None)),
        ("2024-06-29T19:31:00+08:00", "2024-07-02T19:00:00+08:00", ("stored", "late")),
    ],
)
def test_the_expectation_reads_windows_and_sealing(
    campaign: Campaign, at: str, now: str, expected: tuple[str, str | None]
) -> None:
    assert answer_to(campaign, event(at), now) == expected


@pytest.mark.parametrize(
    ("changes", "reason"),
    [
        ({"viewer_id": 1, "type": "other", "campaign_id": "other"}, "malformed"),
        ({"type": "other", "campaign_id": "other"}, "unknown_type"),
        ({"campaign_id": "other", "occurred_at": "2025-01-01T00:00:00Z"}, "unknown_campaign"),
        ({"occurred_at": "2025-01-01T00:00:00Z"}, "in_future"),
    ],
)
def test_the_expectation_knows_which_reason_comes_first(
    campaign: Campaign, changes: dict[str, object], reason: str
) -> None:
    now = "2024-06-29T20:00:00+08:00"
    assert answer_to(campaign, event("2024-06-29T19:31:00+08:00") | changes, now) == ("rejected", reason)


def test_the_watcher_sees_names_and_phones_in_every_dress(campaign: Campaign) -> None:
    viewers = Traffic(campaign, VIEWERS, 1).viewers
    viewer = next(viewer for viewer in viewers[len(SPECIAL_NAMES) :] if viewer.name)
    assert viewer.name is not None
    watcher = Watcher(viewers)

    def sees(data: str | bytes) -> bool:
        return bool(list(watcher.seen("here", data)))

    escaped = viewer.name.encode("unicode_escape").decode()
    assert sees(f"error: {viewer.name}已报名")
    assert sees(f'{{"name": "{escaped}"}}')
    assert sees(viewer.name.encode())
    assert sees("to=19900000123.")
    assert sees("+86 199-0000-0123")
    assert sees("hello <b>赵霁</b>")
    assert not sees("viewer ks_000123 of 忻州市公安局反诈中心, 199****0123, event 0190000001234567")


def test_the_watcher_sees_an_account_where_no_erasure_would_look() -> None:
    event = CertificateRevokedV1(
        event_id=UUID(int=1),
        occurred_at=datetime(2024, 7, 1, tzinfo=UTC),
        campaign_id="c",
        viewer_ids=["ks_000001"],
        serials=["S1"],
        revoked_at=[datetime(2024, 7, 1, tzinfo=UTC)],
        reasons=["冒用 ks_000002"],
        reissued_as=[None],
    )
    seen = accounts_out_of_place("event", event.subject(), event.model_dump_json().encode())
    assert list(seen) == [Seen("event reasons", "ks_000002")]


def test_a_check_counts_every_difference() -> None:
    check = Check("x")
    check.same({"a": 1, "b": 2, "c": 0}, {"a": 1, "b": 3, "d": 4})
    assert sorted(check.differences) == ["b: expected 2, found 3", "d: expected 0, found 4"]
    check = Check("y")
    check.at_least("duplicates", 5, 4)
    assert check.differences
