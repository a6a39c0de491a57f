"""Where a lesson stands at each of its turning points, and what a list, a scope and a preview are."""

from dataclasses import replace
from datetime import date, datetime, timedelta

import pytest

from services.checkin.office.domain import (
    ACCOUNTS_MAX,
    MATCHED_MAX,
    REASON_MAX_CHARS,
    REASON_MIN_CHARS,
    Accounts,
    Decision,
    LessonFigures,
    Matched,
    Preview,
    Scope,
    Stage,
    account_column,
    is_account_title,
    reaches,
    split,
    stage,
)
from tests.support.campaigns import campaign

DAY = date(2024, 6, 29)


@pytest.mark.parametrize(
    ("at", "expected"),
    [
        ("2024-06-29T19:30", (Stage.UPCOMING, Stage.OPEN)),
        ("2024-06-29T20:00", (Stage.OPEN, Stage.REPLAY)),
        ("2024-06-30T08:00", (Stage.REPLAY, Stage.REPLAY)),  # nothing is open from midnight on; the next is a replay
        ("2024-06-30T19:00", (Stage.REPLAY, Stage.WAITING)),
        ("2024-07-02T19:00", (Stage.WAITING, Stage.SEALED)),
    ],
)
def test_the_stage_of_a_lesson_changes_at_its_minute(at: str, expected: tuple[Stage, Stage]) -> None:
    moment = datetime.fromisoformat(f"{at}:00+08:00")
    stages = stage(campaign(), 0, moment - timedelta(seconds=1)), stage(campaign(), 0, moment)
    assert stages == expected


@pytest.mark.parametrize(("credit", "number"), [(["live"], 7), (["live", "replay"], 3), (["replay"], 13), ([], 17)])
def test_what_is_late_or_of_another_mode_is_not_credited(credit: list[str], number: int) -> None:
    assert LessonFigures(live=10, replay=4, late=3, made_good=2).uncredited(credit) == number


def test_a_list_is_each_account_once_and_what_is_none() -> None:
    assert split(" ks_1\n") == ["ks_1"]
    entries = split("ks_1, ks_2；ks_1\n张三\tks:3\r\n、\0ks_2")
    assert Accounts.of([*entries, " ks_4 ", "", "a b", "x" * 65]) == (
        ("ks:3", "ks_1", "ks_2", "ks_4"),
        ("a b", "x" * 65, "张三"),
    )


@pytest.mark.parametrize(
    ("header", "place"),
    [
        (["姓名", "平台账号"], 1),
        (["UID", "账号"], 0),
        (["序号", "用户ID", "快手号"], 1),
        (["谁知道"], 0),
        (["姓名", "手机号"], None),
        (["账号", "账号"], 0),
        (["UID"], 0),
    ],
)
def test_the_column_of_accounts_goes_by_its_title(header: list[str], place: int | None) -> None:
    assert account_column(header) == place
    assert is_account_title(header[place or 0]) == (place is not None and header != ["谁知道"])


def test_limits_are_those_that_the_pages_name() -> None:
    assert (ACCOUNTS_MAX, MATCHED_MAX, REASON_MIN_CHARS, REASON_MAX_CHARS) == (10_000, 100_000, 4, 500)
    assert LessonFigures() == (0, 0, 0, 0)


PREVIEW = Preview(
    DAY,
    "平台故障",
    Scope(accounts=("a", "b", "c", "d"), unit="111", days=(DAY,)),
    [Matched("a", True), Matched("b", False), Matched("d", False)],
)


def test_a_preview_counts_who_is_reached_who_has_it_and_who_is_not_found() -> None:
    assert (PREVIEW.already, PREVIEW.to_grant, PREVIEW.unmatched) == (["a"], ["b", "d"], ["c"])
    assert PREVIEW.digest == replace(PREVIEW).digest
    assert replace(PREVIEW, scope=Scope(unit="111")).unmatched == []


def test_the_record_says_how_viewers_were_chosen_and_not_who() -> None:
    begins = datetime.fromisoformat("2024-06-29T19:30:00+08:00")
    scope = Scope(("a", "b"), "111", begins, begins + timedelta(minutes=30), (DAY,))
    assert scope.told() == {
        "listed": 2,
        "unit": "111",
        "from": "2024-06-29T19:30:00+08:00",
        "until": "2024-06-29T20:00:00+08:00",
        "days": ["2024-06-29"],
    }
    assert Scope(unit="111").told() == {"listed": None, "unit": "111", "from": None, "until": None, "days": []}


@pytest.mark.parametrize(
    "changed",
    [
        {"lesson_date": DAY + timedelta(days=1)},
        {"reason": "别的故障"},
        {"scope": replace(PREVIEW.scope, unit="112")},
        {"scope": replace(PREVIEW.scope, unit=None)},
        {"scope": replace(PREVIEW.scope, days=())},
        {"scope": replace(PREVIEW.scope, accounts=("a", "b", "d", "e"))},
        {"scope": replace(PREVIEW.scope, from_at=datetime.fromisoformat("2024-06-29T19:30:00+08:00"))},
        {"matched": PREVIEW.matched[:2]},
        {"matched": PREVIEW.matched[1:]},
        {"matched": [Matched("a", False), *PREVIEW.matched[1:]]},
        {"matched": [Matched("a", True), Matched("b", True), Matched("d", False)]},
        {"matched": [*PREVIEW.matched, Matched("e", False)]},
    ],
)
def test_the_digest_changes_with_whatever_the_preview_shows(changed: dict[str, object]) -> None:
    assert replace(PREVIEW, **changed).digest != PREVIEW.digest  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("scope", "nobody"),
    [
        (Scope(), True),
        (Scope(accounts=()), False),
        (Scope(unit="1"), False),
        (Scope(days=(DAY,)), False),
        (Scope(from_at=datetime(2024, 6, 29), until=datetime(2024, 6, 30)), False),
    ],
)
def test_a_scope_without_any_condition_is_nobody(scope: Scope, nobody: bool) -> None:
    assert scope.is_nobody == nobody


@pytest.mark.parametrize(("lessons", "expected"), [(0b01, False), (0b11, True), (0b10, False)])
def test_a_decision_reaches_those_who_checked_in_on_all_of_its_days(lessons: int, expected: bool) -> None:
    days = (DAY, DAY + timedelta(days=1))
    decision = Decision("m", DAY, "r", "a", datetime(2024, 7, 1), 1, None, days, None)
    assert reaches(decision, days, lessons) == expected
