"""What becomes of a batch of events, without a database: it is sorted out, the database's answers are given, and decided."""

import json
from datetime import datetime, timedelta
from typing import Any

from services.checkin.deciding import Decisions, Stored, ViewerRow, decide
from services.checkin.domain import Campaign, Lessons
from services.checkin.live_events import read_body
from services.checkin.sorting import Arrival, Part, sort_out
from shared.contracts.campaign import CampaignDefinition
from tests.support.campaigns import campaign_content
from tests.support.checkin import CAMPAIGN, DURING, LIVE, REPLAY, SECOND_LIVE, checkin, enrolment

CAMPAIGNS = {CAMPAIGN: Campaign.of(1, 1, CampaignDefinition.model_validate(campaign_content()))}


def arrivals_of(*events: Any, at: datetime = DURING, source: str = "standard") -> list[Arrival]:
    return [Arrival(item, source, at) for item in read_body(json.dumps(events).encode())]


def decided(arrivals: list[Arrival], stored: Stored | None = None) -> Decisions:
    """What `recording.record` decides for one campaign if the database answers `stored`."""
    refusals, parts = sort_out(arrivals, CAMPAIGNS)
    return decide(arrivals, refusals, [(part, stored or Stored()) for part in parts], lambda raw: b"digest")


def part_of(arrivals: list[Arrival]) -> Part:
    _, [part] = sort_out(arrivals, CAMPAIGNS)
    return part


def verdicts(decisions: Decisions) -> list[tuple[str, str | None]]:
    return [(result.verdict, result.reason) for result in decisions.results]


def row(viewer: str, before: Lessons | None = None, live: int = 0, replay: int = 0, **more: Any) -> ViewerRow:
    """A changed row as the database returns it; the viewer stays in one unit unless said otherwise."""
    values: dict[str, Any] = {
        "made_good": 0,
        "unit_before": "11" if before else None,
        "unit_after": "11",
        "group_before": "student" if before else None,
        "group_after": "student",
        "enrolled_before": None,
    }
    return ViewerRow(viewer, before, live, replay, **(values | more))


def test_what_cannot_count_is_refused_in_the_order_of_reasons() -> None:
    far = (DURING + timedelta(seconds=61)).isoformat()
    arrivals = arrivals_of(
        {"no": "event"},
        checkin("a", type="viewer.danced", campaign_id="another", event_id="t"),
        checkin("a", campaign_id="another", event_id="c"),
        checkin("a", far, event_id="f"),
        checkin("a", "2024-06-01T19:31:00+08:00", event_id="w"),
    )
    decisions = decided(arrivals)
    reasons = ["malformed", "unknown_type", "unknown_campaign", "in_future", "outside_window"]
    assert verdicts(decisions) == [("rejected", reason) for reason in reasons]
    assert [(kept.event_key, kept.reason) for kept in decisions.uncounted] == list(
        zip([b"digest".hex(), "t", "c", "f", "w"], reasons, strict=True)
    )


def test_a_refusal_is_counted_once_and_only_where_it_was_new() -> None:
    early = checkin("a", "2024-06-01T19:31:00+08:00", event_id="w")
    decisions = decided(arrivals_of(early, early, early | {"event_id": "known"}))
    assert not decisions.counts
    decisions.count_refusals({("standard", "w")})
    assert decisions.counts == {(CAMPAIGN, "viewer.checked_in", "", "", "rejected", "outside_window", ""): 1}


def test_a_time_is_too_far_ahead_from_the_sixty_first_second() -> None:
    at = datetime.fromisoformat(LIVE)
    for ahead_s, refused in ((60, False), (61, True)):
        arrivals = arrivals_of(checkin("a", LIVE), at=at - timedelta(seconds=ahead_s))
        assert bool(part_of(arrivals).refusals) is refused


def test_check_ins_are_new_or_repeats_of_the_batch_or_of_what_was_there() -> None:
    arrivals = arrivals_of(
        checkin("new", LIVE, "1"), checkin("new", LIVE, "2"), checkin("had", LIVE, "3"), checkin("absent", LIVE, "4")
    )
    stored = Stored(viewers=[row("new", live=1), row("had", Lessons(live=1, first=0), live=1)])
    decisions = decided(arrivals, stored)
    assert verdicts(decisions) == [("recorded", None)] + [("duplicate", None)] * 3
    [fact] = decisions.facts
    at = datetime.fromisoformat(LIVE)
    assert (fact.fields, fact.rows) == (
        {"lesson_date": "2024-06-29", "mode": "live", "source": "standard"},
        [("new", "11", "student", at, False, True, True, 1, None)],
    )
    assert decisions.days == {(CAMPAIGN, 0): -1, (CAMPAIGN, 1): 1}


def test_what_a_platform_cannot_have_sent_is_refused_last() -> None:
    platforms = [
        {"source": "kuaishou", "title": "快手", "modes": ["live"]},
        {"source": "tv", "title": "电视台", "windows": [{"from": "19:40", "to": "21:00"}]},
    ]
    definition = CampaignDefinition.model_validate(campaign_content(platforms=platforms))
    of_platforms = {CAMPAIGN: Campaign.of(1, 1, definition)}
    times = {"19:31": 0, "19:40": 1, "20:30": 2, "21:00": 3, "12:00": 4}

    def refused(source: str, *, kind: str = "viewer.checked_in") -> dict[str, str]:
        events = [checkin("a", f"2024-06-29T{at}:00+08:00", f"{n}", type=kind) for at, n in times.items()]
        arrivals = arrivals_of(*events, source=source)
        refusals, parts = sort_out(arrivals, of_platforms)
        return {list(times)[position]: reason for position, reason in [*refusals, *parts[0].refusals]}

    outside = {"12:00": "outside_window"}
    for kind in ("viewer.checked_in", "quiz.answered"):
        replays = dict.fromkeys(("20:30", "21:00"), "not_of_platform")
        assert refused("kuaishou", kind=kind) == replays | outside
        assert refused("tv", kind=kind) == dict.fromkeys(("19:31", "21:00"), "not_of_platform") | outside
        assert refused("bus", kind=kind) == outside
    assert refused("kuaishou", kind="viewer.enrolled") == {}


def test_check_ins_of_several_sources_in_one_commit_are_published_apart() -> None:
    arrivals = [
        *arrivals_of(checkin("a"), source="kuaishou"),
        *arrivals_of(checkin("b"), checkin("a"), source="bus"),
        *arrivals_of(checkin("c"), source="kuaishou"),
    ]
    decisions = decided(arrivals, Stored(viewers=[row(viewer, live=1) for viewer in "abc"]))
    published = [(fact.fields["source"], [viewer for viewer, *_ in fact.rows]) for fact in decisions.facts]
    assert published == [("bus", ["b"]), ("kuaishou", ["a", "c"])]  # who sent first has the check-in


def test_who_reaches_the_required_days_is_said_once_with_the_days() -> None:
    required = CAMPAIGNS[CAMPAIGN].course.required_days
    assert required == 2
    arrivals = arrivals_of(
        checkin("a", LIVE), checkin("a", SECOND_LIVE), checkin("b", LIVE), checkin("had-them", REPLAY)
    )
    had_them = row("had-them", Lessons(live=3, first=0), live=3, replay=1)
    decisions = decided(arrivals, Stored(viewers=[row("a", live=3), row("b", live=1), had_them]))
    dates = [(viewer, days) for fact in decisions.facts for viewer, *_, days in fact.rows]
    lessons = tuple(CAMPAIGNS[CAMPAIGN].course.lesson_dates[:2])
    assert dates == [("a", lessons), ("b", None), ("had-them", None), ("a", None)]


def test_what_earns_nothing_is_stored_with_its_reason() -> None:
    sealed = DURING + timedelta(days=30)
    decisions = decided(arrivals_of(checkin("a", LIVE), at=sealed), Stored(viewers=[row("a")]))
    assert verdicts(decisions) == [("stored", "late")]
    assert [(kept.event_key, kept.verdict, kept.reason) for kept in decisions.uncounted] == [
        (f"c-a-{LIVE[:16]}", "stored", "late")
    ]
    assert not decisions.days
    [fact] = decisions.facts
    assert fact.rows[0][4] is True


def test_live_and_replay_of_a_lesson_are_two_check_ins_and_one_first() -> None:
    arrivals = arrivals_of(checkin("a", REPLAY), checkin("a", LIVE))
    decisions = decided(arrivals, Stored(viewers=[row("a", live=1, replay=1)]))
    flags = {fact.fields["mode"]: fact.rows[0][5:7] for fact in decisions.facts}
    assert flags == {"live": (False, False), "replay": (True, True)}


def test_enrolments_apply_in_the_order_they_arrived() -> None:
    late, early = "2024-06-29T19:28:00+08:00", "2024-06-29T19:20:00+08:00"
    arrivals = arrivals_of(
        enrolment("a", late, "2", unit_code="111"),
        enrolment("a", early, "1", unit_code="11", name="甲"),
        enrolment("a", late, "2", unit_code="111"),
        enrolment("b", early, "3"),
    )
    part = part_of(arrivals)
    assert [new.enrolment_id for new in part.enrolment_rows(lambda raw: b"digest")] == ["2", "1", "3"]
    enrolled = part.enrolled({("a", "1"), ("a", "2"), ("b", "3")})
    assert {viewer: told and told.latest.enrolment_id for viewer, _, told in part.viewers(enrolled)} == {
        "a": "2",
        "b": "3",
    }
    decisions = decided(arrivals, Stored(enrolled=enrolled, viewers=[row("a", unit_after="111")]))
    assert verdicts(decisions) == [
        ("recorded", None),
        ("stored", "superseded"),
        ("duplicate", None),
        ("stored", "superseded"),  # b was not changed: the database knew a later one
    ]
    [fact] = decisions.facts
    assert [row[:2] for row in fact.rows] == [("a", "2"), ("a", "1"), ("b", "3")]
    assert fact.contacts is not None
    assert [contact and json.loads(contact) for contact in fact.contacts] == [None, {"name": "甲", "phone": None}, None]


def test_what_a_viewer_had_moves_with_them() -> None:
    arrivals = arrivals_of(enrolment("a", event_id="n", unit_code="111"))
    enrolled = part_of(arrivals).enrolled({("a", "n")})
    stored = Stored(enrolled, [row("a", Lessons(live=1, first=0), live=1, unit_after="111", group_after="general")])
    [_, moved] = decided(arrivals, stored).facts
    at = datetime.fromisoformat("2024-06-29T19:28:00+08:00")
    assert moved.contract.FACT == "viewer_reassigned"
    assert moved.rows == [
        ("a", "2024-06-29", "live", False, True, True, "11", "student", "111", "general", at, "n"),
    ]


def test_unit_and_group_given_by_two_enrolments_are_two_moves() -> None:
    first, second = "2024-06-29T19:20:00+08:00", "2024-06-29T19:28:00+08:00"
    arrivals = arrivals_of(enrolment("a", second, "2", group="general"), enrolment("a", first, "1", unit_code="111"))
    enrolled = part_of(arrivals).enrolled({("a", "1"), ("a", "2")})
    stored = Stored(enrolled, [row("a", Lessons(live=1, first=0), live=1, unit_after="111", group_after="general")])
    [_, moved] = decided(arrivals, stored).facts
    assert [move[6:] for move in moved.rows] == [
        ("11", "student", "111", "student", datetime.fromisoformat(first), "1"),
        ("111", "student", "111", "general", datetime.fromisoformat(second), "2"),
    ]


def test_an_action_counts_once_under_the_unit_that_the_viewer_has_now() -> None:
    quiz = checkin("a", LIVE, "q", type="quiz.answered", quiz="第1题")
    known = quiz | {"event_id": "old", "quiz": "第2题"}
    arrivals = arrivals_of(quiz, quiz, quiz | {"viewer_id": "b"}, known, quiz | {"event_id": "r"})
    assert [row.event_id for row in part_of(arrivals).action_rows()] == ["q", "q", "old"]  # r is q once more
    stored = Stored(new_actions={("a", "q"), ("b", "q")}, units={"a": ("11", "student")})
    decisions = decided(arrivals, stored)
    assert [verdict for verdict, _ in verdicts(decisions)] == [
        "recorded",
        "duplicate",
        "recorded",
        "duplicate",
        "duplicate",
    ]
    [fact] = decisions.facts
    at = datetime.fromisoformat(LIVE)
    assert fact.rows == [("a", "11", "student", at, "第1题"), ("b", "unassigned", "unassigned", at, "第1题")]
