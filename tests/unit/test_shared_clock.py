from datetime import UTC, datetime, timedelta, timezone
from pathlib import Path

import pytest

from shared.clock import SimulatedClock, WallClock, clock_from, read_clock, write_clock

EVENING = datetime(2024, 6, 29, 19, 0, tzinfo=timezone(timedelta(hours=8)))


@pytest.fixture
def path(tmp_path: Path) -> Path:
    write_clock(tmp_path / "clock", EVENING)
    return tmp_path / "clock"


def test_the_simulated_clock_stands_still_and_answers_in_utc(path: Path) -> None:
    clock = SimulatedClock(path)
    assert clock.now() == clock.now() == EVENING
    assert clock.now().tzinfo is UTC


def test_every_process_sees_a_new_time(path: Path) -> None:
    one, other = SimulatedClock(path), SimulatedClock(path)
    write_clock(path, EVENING + timedelta(hours=1))
    assert one.now() == other.now() == EVENING + timedelta(hours=1)


def test_the_clock_is_never_set_back(path: Path) -> None:
    with pytest.raises(ValueError, match="never goes back"):
        write_clock(path, EVENING - timedelta(seconds=1))
    assert read_clock(path) == EVENING
    write_clock(path, EVENING)  # the same time again is no step back


def test_a_file_replaced_by_hand_with_an_earlier_time_changes_nothing(path: Path) -> None:
    clock = SimulatedClock(path)
    path.unlink()
    write_clock(path, EVENING - timedelta(days=1))
    assert clock.now() == EVENING


@pytest.mark.parametrize(
    "torn", [None, "", "2024-06-29T", "2024-06-29T19:00:00"], ids=["gone", "empty", "half", "naive"]
)
def test_while_the_file_is_missing_or_torn_the_last_time_stands(path: Path, torn: str | None) -> None:
    clock = SimulatedClock(path)
    if torn is None:
        path.unlink()
    else:
        path.write_text(torn)
    assert clock.now() == EVENING


@pytest.mark.parametrize("unreadable", ["", "19:00", "2024-06-29T19:00:00"])
def test_a_service_does_not_start_on_an_unreadable_clock(tmp_path: Path, unreadable: str) -> None:
    (tmp_path / "clock").write_text(unreadable)
    with pytest.raises(ValueError, match=r".+"):
        SimulatedClock(tmp_path / "clock")


def test_without_a_file_time_is_wall_time() -> None:
    clock = clock_from(None)
    assert isinstance(clock, WallClock)
    assert not clock.simulated
    assert clock.now().tzinfo is UTC
