"""Where in a course a time falls, and what a viewer's bits say: small and finite, so it is enumerated against a plain model."""

import json
from collections.abc import Iterable
from datetime import date, datetime
from itertools import product
from typing import Any, NamedTuple

import pytest

from services.checkin.domain import (
    TYPES,
    Counted,
    Course,
    Lessons,
    LessonState,
    LessonView,
    Reason,
    Slot,
    current_lesson,
    first_code,
    lesson_view,
    ones,
    open_window,
    subtree_of_definition,
)
from shared.contracts.base import Mode
from shared.contracts.campaign import CampaignDefinition
from tests.support.campaigns import campaign, campaign_content, unit
from tests.support.forms import form, indicator

LIVE_ONLY = Course(campaign())
REPLAY_ONLY = Course(campaign(credit=["replay"], required_days=1))
BOTH = Course(campaign(credit=["live", "replay"], required_days=1))


def at(text: str) -> datetime:
    return datetime.fromisoformat(f"2024-{text}+08:00")


SEALED = (at("07-02T19:00"), at("07-03T19:00"))  # the last window's end and 48 hours

# ---- the timetable ---------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("since", "before", "lesson", "mode"),
    [
        ("06-29T19:30", "06-29T20:00", 0, "live"),
        ("06-29T20:00", "06-30T00:00", 0, "replay"),
        ("06-30T08:00", "06-30T19:00", 0, "replay"),
        ("06-30T19:30", "06-30T20:00", 1, "live"),
        ("06-30T20:00", "07-01T00:00", 1, "replay"),
        ("07-01T08:00", "07-01T19:00", 1, "replay"),
    ],
)
def test_a_window_has_its_first_instant_and_not_its_last(since: str, before: str, lesson: int, mode: Mode) -> None:
    opens, closes = at(since).timestamp(), at(before).timestamp()
    slot = Slot(lesson, mode, SEALED[lesson].timestamp())
    assert [LIVE_ONLY.locate(moment) for moment in (opens, (opens + closes) / 2, closes - 0.001)] == [slot] * 3
    assert LIVE_ONLY.locate(opens - 0.001) != slot
    assert LIVE_ONLY.locate(closes) != slot
    for moment in (opens, closes - 0.001):
        assert open_window(LIVE_ONLY.rules, datetime.fromtimestamp(moment, at(since).tzinfo)) == (lesson, mode)


@pytest.mark.parametrize(
    "text", ["06-29T19:29:59", "06-30T00:00", "06-30T07:59:59", "06-30T19:00", "07-01T19:00", "01-01T00:00"]
)
def test_outside_of_every_window_there_is_no_lesson(text: str) -> None:
    assert LIVE_ONLY.locate(at(text).timestamp()) is None
    assert open_window(LIVE_ONLY.rules, at(text)) is None


def test_a_board_shows_a_lesson_from_its_first_window_and_the_last_for_thirty_days_after_its_seal() -> None:
    shown = [
        ("06-29T19:29:59", None),
        ("06-29T19:30", 0),
        ("06-30T19:29:59", 0),
        ("06-30T19:30", 1),
        ("08-02T18:59:59", 1),
        ("08-02T19:00", None),
    ]
    assert [(text, current_lesson(LIVE_ONLY.rules, at(text))) for text, _ in shown] == shown


# ---- credit ----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("mode", "late"), list(product(("live", "replay"), (False, True))))
def test_late_or_in_a_mode_without_credit_does_not_count(mode: Mode, late: bool) -> None:
    late_or = Reason.LATE if late else None
    assert BOTH.uncredited(mode, late) == late_or
    assert LIVE_ONLY.uncredited(mode, late) == (late_or or (Reason.REPLAY_NOT_CREDITED if mode == "replay" else None))


@pytest.mark.parametrize(("live", "replay", "made_good"), list(product(range(4), repeat=3)))
def test_credited_is_earned_or_made_good(live: int, replay: int, made_good: int) -> None:
    lessons = Lessons(live=live, replay=replay, late_live=3, late_replay=3, made_good=made_good)
    assert (LIVE_ONLY.earned(lessons), BOTH.earned(lessons)) == (live, live | replay)
    assert (LIVE_ONLY.earned(lessons, []), LIVE_ONLY.earned(lessons, ["replay"])) == (0, replay)
    assert (LIVE_ONLY.credited(lessons), BOTH.credited(lessons)) == (live | made_good, live | replay | made_good)
    assert REPLAY_ONLY.credited(lessons) == replay | made_good
    for course in (LIVE_ONLY, REPLAY_ONLY, BOTH):
        assert course.credited_of(live, replay, made_good) == course.credited(lessons)


@pytest.mark.parametrize(("before", "after"), list(product(range(4), repeat=2)))
def test_the_required_days_are_reached_once(before: int, after: int) -> None:
    had, has = before.bit_count(), after.bit_count()
    assert LIVE_ONLY.reaches(Lessons(live=before), after) is (had < 2 and has == 2)
    assert BOTH.reaches(Lessons(live=before), after) is (had == 0 and has >= 1)


def test_bits_become_dates() -> None:
    assert [LIVE_ONLY.dates(bits) for bits in range(4)] == [
        (),
        (date(2024, 6, 29),),
        (date(2024, 6, 30),),
        (date(2024, 6, 29), date(2024, 6, 30)),
    ]
    assert list(ones(0b1101001)) == [0, 3, 5, 6]


# ---- a viewer's check-ins in any order -------------------------------------------------------------------------------


class Arrival(NamedTuple):
    lesson: int
    mode: Mode
    late: bool


MODES: tuple[Mode, ...] = ("live", "replay")
ARRIVALS = [Arrival(lesson, mode, late) for lesson in (0, 1) for mode in MODES for late in (False, True)]


def counted(arrivals: Iterable[Arrival]) -> list[Counted]:
    """The model: for each lesson and mode only the first check-in counts."""
    counted: dict[tuple[int, str], Counted] = {}
    for lesson, mode, late in arrivals:
        if (lesson, mode) not in counted:
            of_lesson = not any(key[0] == lesson for key in counted)
            counted[lesson, mode] = Counted(lesson, mode, late, of_lesson, not counted)
    return list(counted.values())


@pytest.mark.parametrize("first", ARRIVALS)
def test_every_order_of_four_check_ins_counts_each_once_with_the_flags_it_was_published_with(first: Arrival) -> None:
    for others in product(ARRIVALS, repeat=3):
        lessons, so_far = Lessons(), list[Counted]()
        for arrival in (first, *others):
            before = Lessons(**{name: getattr(lessons, name) for name in lessons.__struct_fields__})
            had = before.has(arrival.lesson, arrival.mode)
            assert lessons.take(*arrival) is not had
            if not had:
                flags = lessons.flags(arrival.lesson, arrival.mode, before)
                so_far.append(Counted(*arrival, *flags))
        assert so_far == counted((first, *others))
        assert sorted(lessons.checkins()) == sorted(so_far)
        assert lessons.any_live == bits(of.lesson for of in so_far if of.mode == "live")
        assert lessons.any_replay == bits(of.lesson for of in so_far if of.mode == "replay")
        assert lessons.any == bits(of.lesson for of in so_far)
        assert lessons.live | lessons.replay == bits(of.lesson for of in so_far if not of.late)


def bits(lessons: Iterable[int]) -> int:
    checked = 0
    for lesson in lessons:
        checked |= 1 << lesson
    return checked


def test_a_replay_after_a_live_check_in_published_together_is_not_the_first() -> None:
    both = Lessons()
    both.take(0, "live", False)
    both.take(0, "replay", False)
    assert both.flags(0, "live", Lessons()) == (True, True)
    assert both.flags(0, "replay", Lessons()) == (False, False)


@pytest.mark.parametrize(("known", "new"), list(product(ARRIVALS, ARRIVALS)))
def test_a_batch_that_holds_one_check_in_is_first_only_of_what_the_viewer_did_not_have(
    known: Arrival, new: Arrival
) -> None:
    before, batch = Lessons(), Lessons()
    before.take(*known)
    batch.take(*new)
    assert batch.flags(new.lesson, new.mode, Lessons()) == (True, True)
    assert batch.flags(new.lesson, new.mode, before) == (known.lesson != new.lesson, False)


def test_lessons_made_good_are_counted_apart_and_are_first_of_nothing() -> None:
    assert list(Lessons(made_good=0b101).checkins()) == [
        Counted(0, "made_good", False, False, False),
        Counted(2, "made_good", False, False, False),
    ]


def test_the_first_check_in_is_stored_as_it_always_was() -> None:
    assert [first_code(lesson, mode) for lesson in (0, 1, 15) for mode in ("live", "replay")] == [0, 1, 2, 3, 30, 31]


def test_the_types_of_events_are_those_of_the_webhook() -> None:
    assert sorted(TYPES) == ["account.followed", "prize.won", "quiz.answered", "viewer.checked_in", "viewer.enrolled"]


# ---- what a viewer is told -------------------------------------------------------------------------------------------

LIVE_ENDS, REPLAY_ENDS = at("06-29T20:00"), at("06-30T19:00")


@pytest.mark.parametrize(
    ("course", "lessons", "now", "expected"),
    [
        (LIVE_ONLY, Lessons(live=1), "06-29T19:45", (LessonState.CREDITED, None, None)),
        (LIVE_ONLY, Lessons(live=2), "06-29T19:45", (LessonState.OPEN, None, LIVE_ENDS)),
        (LIVE_ONLY, Lessons(made_good=1), "06-29T19:45", (LessonState.MADE_GOOD, None, None)),
        (LIVE_ONLY, Lessons(live=1, made_good=1), "06-29T19:45", (LessonState.CREDITED, None, None)),
        (LIVE_ONLY, Lessons(late_live=1), "06-29T19:45", (LessonState.NOT_CREDITED, Reason.LATE, LIVE_ENDS)),
        (LIVE_ONLY, Lessons(late_replay=1), "06-29T20:00", (LessonState.NOT_CREDITED, Reason.LATE, None)),
        (LIVE_ONLY, Lessons(replay=1), "06-29T21:00", (LessonState.NOT_CREDITED, Reason.REPLAY_NOT_CREDITED, None)),
        (
            LIVE_ONLY,
            Lessons(replay=1, late_live=2),
            "06-29T21:00",
            (LessonState.NOT_CREDITED, Reason.REPLAY_NOT_CREDITED, None),
        ),
        (BOTH, Lessons(replay=1), "06-29T21:00", (LessonState.CREDITED, None, None)),
        (BOTH, Lessons(late_live=1), "06-29T21:00", (LessonState.NOT_CREDITED, Reason.LATE, REPLAY_ENDS)),
        (LIVE_ONLY, Lessons(), "06-29T19:29:59", (LessonState.UPCOMING, None, LIVE_ENDS)),
        (LIVE_ONLY, Lessons(), "06-29T19:30", (LessonState.OPEN, None, LIVE_ENDS)),
        (LIVE_ONLY, Lessons(), "06-29T20:00", (LessonState.NOT_SEEN, None, None)),
        (BOTH, Lessons(), "06-29T20:00", (LessonState.OPEN, None, REPLAY_ENDS)),
        (BOTH, Lessons(), "06-30T00:00", (LessonState.UPCOMING, None, REPLAY_ENDS)),
        (BOTH, Lessons(), "06-30T19:00", (LessonState.NOT_SEEN, None, None)),
        (LIVE_ONLY, Lessons(), "07-02T18:59:59", (LessonState.NOT_SEEN, None, None)),
        (LIVE_ONLY, Lessons(), "07-02T19:00", (LessonState.MISSED, None, None)),
    ],
)
def test_why_a_lesson_counts_or_not_and_until_when_it_may(
    course: Course, lessons: Lessons, now: str, expected: tuple[Any, ...]
) -> None:
    state, reason, earn_until = expected
    final = state in (LessonState.CREDITED, LessonState.MADE_GOOD, LessonState.MISSED)
    assert lesson_view(course, lessons, 0, at(now)) == LessonView(0, state, reason, earn_until, final)


@pytest.mark.parametrize(("now", "final"), [("07-02T18:59:59", False), ("07-02T19:00", True)])
def test_what_does_not_count_is_final_once_the_lesson_is_sealed(now: str, final: bool) -> None:
    reason = Reason.REPLAY_NOT_CREDITED
    expected = LessonView(0, LessonState.NOT_CREDITED, reason, None, final)
    assert lesson_view(LIVE_ONLY, Lessons(replay=1), 0, at(now)) == expected


# ---- what a unit sees ------------------------------------------------------------------------------------------------

UNITS = [
    unit("1", None, "province"),
    unit("11", "1", "city"),
    unit("111", "11", "county"),
    unit("111-EDU", "111", "unit"),
    unit("12", "1", "city"),
]


@pytest.mark.parametrize(
    ("seen_by", "units", "channels"),
    [
        ("1", ["1", "11", "111", "111-EDU", "12"], {"QR-1": "111-EDU", "QR-2": "12"}),
        ("11", ["11", "111", "111-EDU"], {"QR-1": "111-EDU"}),
        ("111-EDU", ["111-EDU"], {"QR-1": "111-EDU"}),
        ("12", ["12"], {"QR-2": "12"}),
    ],
)
def test_a_unit_sees_its_subtree_as_if_that_were_all(seen_by: str, units: list[str], channels: dict[str, str]) -> None:
    whole = campaign_content(units=UNITS, channels={"QR-1": "111-EDU", "QR-2": "12"})
    seen = json.loads(subtree_of_definition(json.dumps(whole), seen_by) or b"null")
    assert [node["unit_code"] for node in seen["units"]] == units
    parents = {node["unit_code"]: node["parent_code"] for node in UNITS}
    assert [node["parent_code"] for node in seen["units"]] == [None, *(parents[code] for code in units[1:])]
    assert seen["channels"] == channels
    assert {**seen, "units": 0, "channels": 0} == {**whole, "units": 0, "channels": 0}
    assert subtree_of_definition(json.dumps(whole), "13") is None


def test_a_unit_sees_no_code_of_another_subtree_in_forms() -> None:
    whole = campaign(
        forms=[
            form(filled_by={"levels": ["county"], "units": ["11", "111"]}),
            form(id="city", filled_by={"units": ["11"]}),
        ],
        indicators=[
            indicator("daily.viewers", id="of_daily"),
            indicator("daily.viewers / city.viewers", id="of_both"),
        ],
    )
    seen = CampaignDefinition.model_validate_json(subtree_of_definition(whole.model_dump_json(), "111") or b"")
    assert [(one.id, one.filled_by.levels, one.filled_by.units) for one in seen.forms] == [
        ("daily", ("county",), ("111",))
    ]
    assert [one.id for one in seen.indicators] == ["of_daily"]
    assert subtree_of_definition(whole.model_dump_json(), "1") == whole.model_dump_json().encode()
