"""What the desk makes of obligations: words, days, the list to chase units by. Pure (DESIGN §5.5)."""

from collections.abc import Iterable, Sequence
from datetime import datetime, time, timedelta, tzinfo
from typing import NamedTuple

from services.reporting.obligations.domain import Figure, State

PIECE_MAX_CHARACTERS = 2_000  # what a group chat takes as one message (FACTS "Chinese formats")
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
