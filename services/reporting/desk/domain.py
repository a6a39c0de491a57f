"""What the desk makes of obligations: words, days, the list to chase units by. Pure (DESIGN §5.5)."""

import re
from collections.abc import Iterable, Mapping, Sequence
from datetime import datetime, time, timedelta, tzinfo
from typing import Any, NamedTuple

from services.reporting.obligations.domain import Figure, State

PIECE_MAX_CHARACTERS = 2_000  # what a group chat takes as one message
NUMBERED_MAX_CHARACTERS = 12  # "（100/100）" and the end of its line

FIGURE_NAMES: dict[Figure, str] = {
    "expected": "应报",
    "reported": "已报",
    "on_time": "按时",
    "late": "迟报",
    "missing": "未报",
    "excused": "免报",
    "due": "待报",
    "returned": "退回待重报",
}
STATE_NAMES: dict[State, str] = {
    "due": "待报",
    "on_time": "按时",
    "late": "迟报",
    "missing": "未报",
    "returned": "退回",
    "excused": "免报",
}
KIND_NAMES = {"submitted": "本单位报送", "on_behalf": "代报", "corrected": "更正"}
DECISION_NAMES = {
    "returned": "退回",
    "excused": "免报",
    "owed_again": "恢复应报",
    "approved": "审核通过",
    "reopened": "重新开放",
}


class Todo(NamedTuple):
    """Something that waits for the office: how many of it, and the page that lists them."""

    title: str
    number: int
    path: str


class Line(NamedTuple):
    """An answer of a report as people read it. `pictures`: the ids of those that it consists of."""

    title: str
    text: str
    pictures: Sequence[str] = ()


Typed = Mapping[str, Sequence[str]]
"""What stands in the inputs of a page, by name: `viewers`, `sites.0.posters`, `_reason.posters`."""

PLACE = re.compile(r"\[([0-9]+)\]")
ROW_NUMBER = re.compile(r"\.([0-9]+)\.")


def day_ends(now: datetime, zone: tzinfo) -> datetime:
    """The local midnight after `now`."""
    local = now.astimezone(zone)
    return datetime.combine(local.date() + timedelta(days=1), time(), zone)


def local_minute(moment: datetime | None, zone: tzinfo) -> str:
    """`2024-07-01 18:00`; nothing for no time."""
    return "" if moment is None else f"{moment.astimezone(zone):%Y-%m-%d %H:%M}"


def period_text(period: str) -> str:
    """`2024年第27周` of `2024-W27`, `一次` of `once`; days and months as they are."""
    if period == "once":
        return "一次"
    year, week, number = period.partition("-W")
    return f"{year}年第{int(number)}周" if week else period


# ---- a list to chase units by ----------------------------------------------------------------------------------------


def chase_pieces(counties: Iterable[tuple[str, Sequence[str]]]) -> list[str]:
    """The names of units by county, in pieces of at most `PIECE_MAX_CHARACTERS`, numbered where there are several. A county that
    goes on in the next piece is named there again; one that lacks nothing but its own report is named once."""
    most = PIECE_MAX_CHARACTERS - NUMBERED_MAX_CHARACTERS
    pieces: list[str] = []
    for county, units in counties:
        named = False  # whether the last piece has the county's name
        for unit in units:
            begun = county if list(units) == [county] else f"{county}：{unit}"
            more = f"、{unit}" if named else f"\n{begun}"
            if not pieces or len(pieces[-1]) + len(more) > most:
                pieces.append(begun)
            else:
                pieces[-1] += more
            named = True
    if len(pieces) <= 1:
        return pieces
    return [f"（{number}/{len(pieces)}）\n{piece}" for number, piece in enumerate(pieces, start=1)]


# ---- what is typed ---------------------------------------------------------------------------------------------------


def input_of(at: str) -> str:
    """The input that a fault is about: `sites[2].posters` stands in `sites.2.posters`."""
    return PLACE.sub(r".\1", at)


def texts(value: Any) -> list[str]:
    """A value as the texts of its inputs; nothing for no value."""
    if value is None:
        return []
    return [str(item) for item in value] if isinstance(value, list) else [str(value)]


def rows_typed(typed: Typed, table: str) -> int:
    """How many rows of a table the inputs reach."""
    numbers = [int(found[1]) for name in typed if name.startswith(f"{table}.") and (found := ROW_NUMBER.search(name))]
    return max(numbers, default=-1) + 1


def minute_typed(typed: str, zone: tzinfo) -> datetime | None:
    """A time as a browser sends it, `2024-07-02T17:00`, in local time; None for anything else."""
    try:
        moment = datetime.fromisoformat(typed.strip())
    except ValueError:
        return None
    return (
        moment.replace(tzinfo=zone) if moment.tzinfo is None and len(typed.strip()) >= len("2024-07-02T17:00") else None
    )
