"""The list to chase units by is cut into pieces that a group chat takes; days end at local midnight."""

from datetime import datetime
from zoneinfo import ZoneInfo

import pytest

from services.reporting.desk.domain import PIECE_MAX_CHARACTERS, chase_pieces, day_ends, period_text


def test_a_short_list_is_one_piece_without_a_number() -> None:
    counties = [("忻府区", ["甲局", "乙局"]), ("定襄县", ["定襄县"]), ("五台县", ["五台县", "丙局"])]
    assert chase_pieces(counties) == ["忻府区：甲局、乙局\n定襄县\n五台县：五台县、丙局"]
    assert chase_pieces([]) == []


@pytest.mark.parametrize(("counties", "units", "length"), [(1, 600, 12), (130, 40, 20), (3, 30, 200), (400, 1, 150)])
def test_long_lists_are_numbered_pieces_that_name_every_unit_once(counties: int, units: int, length: int) -> None:
    named = [
        (f"县{county}", [f"{county}-{unit}".ljust(length, "局") for unit in range(units)]) for county in range(counties)
    ]
    pieces = chase_pieces(named)
    assert max(map(len, pieces)) <= PIECE_MAX_CHARACTERS
    assert min(map(len, pieces[:-1])) > PIECE_MAX_CHARACTERS / 2
    assert [piece.partition("\n")[0] for piece in pieces] == [
        f"（{n}/{len(pieces)}）" for n in range(1, len(pieces) + 1)
    ]
    lines = [line.partition("：") for piece in pieces for line in piece.split("\n")[1:]]
    assert [(county, name) for county, _, text in lines for name in text.split("、")] == [
        (county, name) for county, names in named for name in names
    ]


def test_a_day_ends_at_local_midnight() -> None:
    china = ZoneInfo("Asia/Shanghai")
    assert day_ends(datetime.fromisoformat("2024-06-30T16:00:00Z"), china).isoformat() == "2024-07-02T00:00:00+08:00"
    assert day_ends(datetime.fromisoformat("2024-06-30T15:59:59Z"), china).isoformat() == "2024-07-01T00:00:00+08:00"


def test_periods_are_told_in_words() -> None:
    assert [period_text(period) for period in ("once", "2024-W07", "2024-07", "2024-06-29")] == [
        "一次",
        "2024年第7周",
        "2024-07",
        "2024-06-29",
    ]
