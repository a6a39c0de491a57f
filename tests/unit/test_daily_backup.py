"""The daily backup on a clock that is moved by waiting: when it is due, and what becomes of a run that fails."""

from collections.abc import Callable
from datetime import UTC, datetime, time, timedelta
from pathlib import Path

import pytest
from structlog.testing import capture_logs

from upkeep import recent_backup
from upkeep.daily import LOOK_EVERY_S, RETRY_AFTER, keep_going, next_after

AT = time(2, 30)


def china(text: str) -> datetime:
    return datetime.fromisoformat(f"2024-{text}+08:00")


@pytest.mark.parametrize(
    ("moment", "expected"),
    [
        ("06-29T01:00:00", "06-29T02:30:00"),
        ("06-29T02:29:59", "06-29T02:30:00"),
        ("06-29T02:30:00", "06-30T02:30:00"),
        ("06-29T23:00:00", "06-30T02:30:00"),
        ("06-30T08:00:00", "07-01T02:30:00"),
    ],
)
def test_the_next_time(moment: str, expected: str) -> None:
    assert next_after(china(moment), AT) == china(expected)
    assert next_after(china(moment).astimezone(UTC), AT) == china(expected)


class Over(BaseException):
    """Ends the test at its last day. It is no `Exception`, because the code under test takes these for failed backups."""


class Days:
    """A machine from `start` to `end`. `runs`: when backups were begun; `trouble`: what the next runs raise, None: nothing."""

    def __init__(self, folder: Path, start: datetime, end: datetime) -> None:
        self.folder, self.now, self.end = folder, start, end
        self.runs: list[datetime] = []
        self.trouble: list[Exception | None] = []
        self.by_hand: datetime | None = None

    def sleep(self, seconds: float) -> None:
        assert 0 < seconds <= LOOK_EVERY_S
        self.now += timedelta(seconds=seconds)
        if self.by_hand and self.now >= self.by_hand:
            self.add(self.by_hand)
            self.by_hand = None
        if self.now > self.end:
            raise Over

    def take(self) -> None:
        self.runs.append(self.now)
        if self.trouble and (error := self.trouble.pop(0)):
            raise error
        self.add(self.now)
        self.now += timedelta(minutes=3)

    def add(self, at: datetime) -> None:
        (self.folder / f"fanzha-{at.astimezone(UTC):%Y%m%dT%H%M%SZ}").mkdir()

    def pass_by(self) -> list[datetime]:
        with pytest.raises(Over):
            keep_going(self.folder, AT, self.take, now=lambda: self.now, sleep=self.sleep)
        return self.runs


@pytest.fixture
def days(tmp_path: Path) -> Callable[[str, str], Days]:
    return lambda start, end: Days(tmp_path, china(start), china(end))


def test_the_first_is_taken_at_once_and_then_one_a_day(days: Callable[[str, str], Days]) -> None:
    taken = days("06-29T20:00:00", "07-02T12:00:00").pass_by()
    assert taken == [china(text) for text in ("06-29T20:00:00", "06-30T02:30:00", "07-01T02:30:00", "07-02T02:30:00")]


def test_one_that_is_there_counts_after_a_restart(days: Callable[[str, str], Days]) -> None:
    machine = days("06-29T20:00:00", "06-30T12:00:00")
    machine.add(china("06-29T02:30:00"))
    assert machine.pass_by() == [china("06-30T02:30:00")]


def test_one_that_was_missed_is_made_up_for(days: Callable[[str, str], Days]) -> None:
    machine = days("06-30T09:00:00", "06-30T23:00:00")
    machine.add(china("06-29T02:30:00"))
    assert machine.pass_by() == [china("06-30T09:00:00")]


def test_one_that_failed_is_tried_again_and_its_reason_is_logged(days: Callable[[str, str], Days]) -> None:
    machine = days("06-29T20:00:00", "06-30T23:00:00")
    machine.add(china("06-29T19:00:00"))
    machine.trouble = [OSError(28, "No space left on device"), ConnectionError(), None]
    with capture_logs() as logged:
        taken = machine.pass_by()
    first = china("06-30T02:30:00")
    assert taken == [first, first + RETRY_AFTER, first + 2 * RETRY_AFTER]
    failures = [entry for entry in logged if entry["log_level"] == "error"]
    assert [entry["reason"] for entry in failures] == ["[Errno 28] No space left on device", "ConnectionError"]
    assert failures[0]["again_at"] == "2024-06-30T02:40:00+08:00"
    assert [entry["next_at"] for entry in logged if entry["event"] == "backup taken"] == ["2024-07-01T02:30:00+08:00"]


def test_one_by_hand_between_two_tries_is_enough(days: Callable[[str, str], Days]) -> None:
    machine = days("06-30T02:00:00", "06-30T23:00:00")
    machine.add(china("06-29T02:30:00"))
    machine.trouble = [OSError()]
    machine.by_hand = china("06-30T02:33:00")
    assert machine.pass_by() == [china("06-30T02:30:00")]


def test_one_that_a_wrong_clock_named_does_not_stop_the_others(days: Callable[[str, str], Days]) -> None:
    machine = days("06-29T20:00:00", "07-01T12:00:00")
    machine.add(china("06-29T02:30:00"))
    (machine.folder / "fanzha-20310101T000000Z").mkdir()
    assert machine.pass_by() == [china("06-30T02:30:00"), china("07-01T02:30:00")]


@pytest.mark.parametrize(
    ("names", "recent"),
    [
        (["20240628T120000Z"], True),
        (["20240628T093000Z"], False),
        (["20240628T093000Z", "20310101T000000Z"], False),
        ([], False),
    ],
)
def test_the_container_is_healthy_while_there_is_a_recent_one(tmp_path: Path, names: list[str], recent: bool) -> None:
    for name in names:
        (tmp_path / f"fanzha-{name}").mkdir()
    assert recent_backup.is_recent(tmp_path, china("06-29T20:00:00")) is recent
