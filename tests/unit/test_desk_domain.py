"""The list to chase units by is cut into pieces that a group chat takes; days end at local midnight."""

from datetime import datetime
from zoneinfo import ZoneInfo

import pytest

from services.reporting.desk.domain import (
    DECISION_NAMES,
    FIGURE_NAMES,
    KIND_NAMES,
    NUMBERED_MAX_CHARACTERS,
    PIECE_MAX_CHARACTERS,
    STATE_NAMES,
    chase_pieces,
    day_ends,
    input_of,
    local_minute,
    minute_typed,
    period_text,
    rows_typed,
    texts,
)

CHINA = ZoneInfo("Asia/Shanghai")


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


def test_a_piece_ends_where_the_next_unit_would_not_fit_with_its_number() -> None:
    assert (PIECE_MAX_CHARACTERS, NUMBERED_MAX_CHARACTERS) == (2_000, 12)
    units = [
        "甲" * 900,
        "乙" * 900,
        "丙" * 182,
    ]  # 县： + 、 + 、 + these are 1,986 characters, and "丁" the two that are left
    assert len(chase_pieces([("县", units)])) == 1
    full = [*units[:2], "丙" * 184]
    assert [len(piece) for piece in chase_pieces([("县", full)])] == [1988]
    two = chase_pieces([("县", [*units[:2], "丙" * 185])])
    assert [piece[:5] for piece in two] == ["（1/2）", "（2/2）"]


def test_every_word_of_the_desk_is_known() -> None:
    assert list(FIGURE_NAMES.items()) == [
        ("expected", "应报"),
        ("reported", "已报"),
        ("on_time", "按时"),
        ("late", "迟报"),
        ("missing", "未报"),
        ("excused", "免报"),
        ("due", "待报"),
        ("returned", "退回待重报"),
    ]
    assert STATE_NAMES == {
        "due": "待报",
        "on_time": "按时",
        "late": "迟报",
        "missing": "未报",
        "returned": "退回",
        "excused": "免报",
    }
    assert KIND_NAMES == {"submitted": "本单位报送", "on_behalf": "代报", "corrected": "更正"}
    assert DECISION_NAMES == {
        "returned": "退回",
        "excused": "免报",
        "owed_again": "恢复应报",
        "approved": "审核通过",
        "reopened": "重新开放",
    }


@pytest.mark.parametrize(
    ("typed", "moment"),
    [
        ("2024-07-02T17:00", "2024-07-02T17:00:00+08:00"),
        (" 2024-07-02T17:00:30 ", "2024-07-02T17:00:30+08:00"),
        ("2024-07-02", None),
        ("2024-07-02T17", None),
        ("2024-07-02T17:00Z", None),
        ("17:00", None),
        ("", None),
    ],
)
def test_a_minute_is_local_time_as_a_browser_sends_it(typed: str, moment: str | None) -> None:
    found = minute_typed(typed, CHINA)
    assert (found.isoformat() if found else None) == moment


def test_times_and_values_as_texts_of_inputs() -> None:
    assert local_minute(datetime.fromisoformat("2024-06-30T16:00:59Z"), CHINA) == "2024-07-01 00:00"
    assert local_minute(None, CHINA) == ""
    assert [texts(value) for value in (None, 0, "甲", ["a", 2], [])] == [[], ["0"], ["甲"], ["a", "2"], []]
    assert [input_of(at) for at in ("sites[2].posters", "viewers", "a[10].b")] == [
        "sites.2.posters",
        "viewers",
        "a.10.b",
    ]


@pytest.mark.parametrize(
    ("names", "rows"),
    [
        ([], 0),
        (["viewers", "other.7.x"], 0),
        (["sites.0.posters"], 1),
        (["sites.4.posters", "sites.2.staff", "sites.posters"], 5),
        (["sites2.9.x", "sites.1.x"], 2),
    ],
)
def test_as_many_rows_as_the_inputs_reach(names: list[str], rows: int) -> None:
    assert rows_typed({name: ["1"] for name in names}, "sites") == rows
