"""Export files with rows of which it is known what must come; some of the files are damaged afterwards."""

import csv
import io
import json
import random
from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime, timedelta
from pathlib import Path

import openpyxl

from tests.e2e.fuzz.live_events import MALFORMED, NANO, Outcome, outcome_of

FIRST_DAY = datetime(2024, 6, 29)
SHEET_EPOCH = datetime(1899, 12, 30)
UNIX_EPOCH = datetime(1970, 1, 1, 8)  # local


@dataclass(frozen=True)
class MadeRow:
    cells: tuple[str, ...]
    outcome: Outcome | None = None  # None: the command does not send it
    checkin: tuple[str, int, str] | None = None

    @property
    def refused_here(self) -> bool:
        return self.outcome is None


@dataclass(frozen=True)
class MadeFile:
    path: Path
    rows: list[MadeRow]
    damaged: bool

    def counted(self) -> dict[str, tuple[int, str]]:
        return {row.checkin[0]: row.checkin[1:] for row in self.rows if row.checkin}


def make(rng: random.Random, folder: Path, number: int) -> MadeFile:
    damaged = rng.random() < 0.25
    name = "maybe" if damaged else "good"
    rows = [_row(rng, f"{name}-{number}-{n}") for n in range(rng.choice((1, 20, 200, 700)))]
    kind = "xlsx" if number % 25 == 0 else rng.choice(("csv", "csv", "csv", "ndjson"))
    path = folder / f"{number}.{kind}"
    path.write_bytes(_WRITE[kind](rng, rows))
    if damaged:
        path.write_bytes(_damage(rng, path.read_bytes()))
    return MadeFile(path, rows, damaged)


def _row(rng: random.Random, viewer_id: str) -> MadeRow:
    second = rng.choice(
        (rng.randrange(2 * 86_400 - 4 * 3600), rng.randrange(19 * 3600 + 1800, 20 * 3600), 20 * 3600 - 1)
    )
    at = FIRST_DAY + timedelta(seconds=second)
    if rng.random() < 0.7:
        outcome, slot = outcome_of("viewer.checked_in", "small-2024", second * NANO)
        return MadeRow(
            (viewer_id, _time(rng, at), _name(rng), rng.choice(("", "题"))),
            outcome,
            (viewer_id, *slot) if slot else None,
        )
    bad_viewers = ("a b", "观众", "x" * 65, "=1+1", "a\u0007b")
    bad_times = (
        "昨天",
        "2024/6/29",
        "2024/13/29 19:31",
        "45472",
        "9" * 30,
        "19:31",
        "\u0001",
        "2024-02-30T19:31:00+08:00",
    )
    match rng.randrange(4):
        case 0:
            return MadeRow((rng.choice(bad_viewers), _time(rng, at), "", ""), MALFORMED)
        case 1:
            return MadeRow((f"bad-{viewer_id}", rng.choice(bad_times), "", ""), MALFORMED)
        case 2:
            return MadeRow((rng.choice(("8.8012E+15", "1e+20")), _time(rng, at), "", ""))
        case _:
            return MadeRow((f"bad-{viewer_id}", _time(rng, at), "", "长" * 1001))


def _name(rng: random.Random) -> str:
    return rng.choice(("张三", "O'Neil", 'a "b", c', "=HYPERLINK(1)", "𠮷", "换\n行", ""))


def _time(rng: random.Random, at: datetime) -> str:
    """One of the ways in which tables write a time; each means this second."""
    fraction = rng.choice(("", "", ".0", ".999", ".9999999"))
    afternoon = "下午" if at.hour >= 12 else "上午"
    return rng.choice(
        (
            f"{at.year}/{at.month}/{at.day} {at.hour}:{at.minute:02}:{at.second:02}{fraction}",
            f"{at:%Y-%m-%d %H:%M:%S}{fraction}",
            f"{at:%Y.%m.%d} {at.hour}：{at.minute:02}：{at.second:02}",
            f"{at.year}年{at.month}月{at.day}日 {at.hour}时{at.minute}分{at.second}秒",
            f"{at.year}/{at.month}/{at.day} {afternoon}{(at.hour + 11) % 12 + 1}:{at.minute:02}:{at.second:02}",
            f"{at:%Y-%m-%dT%H:%M:%S}{fraction}+08:00",
            f"{at - timedelta(hours=8):%Y-%m-%dT%H:%M:%S}Z",
            str(int((at - UNIX_EPOCH).total_seconds())),
            str(int((at - UNIX_EPOCH).total_seconds()) * 1000),
            repr((at - SHEET_EPOCH) / timedelta(days=1)),
        )
    )


# ---- writing -----------------------------------------------------------------------------------------------------------


HEADERS = ("观看账号", "签到时间", "姓名", "题目")


def _csv(rng: random.Random, rows: list[MadeRow]) -> bytes:
    file = io.StringIO()
    writer = csv.writer(file, delimiter=rng.choice(",,\t;"), quoting=rng.choice((csv.QUOTE_MINIMAL, csv.QUOTE_ALL)))
    writer.writerow(HEADERS)
    writer.writerows(row.cells for row in rows)
    return file.getvalue().encode(rng.choice(("utf-8", "utf-8-sig", "gb18030")))


def _ndjson(rng: random.Random, rows: list[MadeRow]) -> bytes:
    names = rng.choice((HEADERS, ("viewer_id", "occurred_at", "name", "quiz")))
    lines = (json.dumps(dict(zip(names, row.cells, strict=True)), ensure_ascii=rng.random() < 0.5) for row in rows)
    return "\n".join(lines).encode()


def _xlsx(_: random.Random, rows: list[MadeRow]) -> bytes:
    workbook = openpyxl.Workbook()
    sheet = workbook.active
    assert sheet is not None
    sheet.append(HEADERS)
    for number, row in enumerate(rows, start=2):
        for column, text in enumerate(row.cells, start=1):
            cell = sheet.cell(number, column)
            cell.value = (
                "".join(character if character >= " " or character == "\n" else " " for character in text) or None
            )
            cell.data_type = "s" if cell.value else cell.data_type
    file = io.BytesIO()
    workbook.save(file)
    return file.getvalue()


_WRITE: dict[str, Callable[[random.Random, list[MadeRow]], bytes]] = {"csv": _csv, "ndjson": _ndjson, "xlsx": _xlsx}


def _damage(rng: random.Random, content: bytes) -> bytes:
    text = bytearray(content)
    for _ in range(rng.choice((1, 3, 20))):
        at = rng.randrange(len(text) + 1)
        match rng.randrange(3):
            case 0:
                del text[at : at + rng.choice((1, 3, 200))]
            case 1:
                text[at:at] = rng.choice((b'"', b",", b"\n", b"\0", b"\xff", b"\xfe\xff", b"{", b"[", b"\\u"))
            case _:
                text[at : at + 1] = rng.randbytes(1)
    return bytes(text)
