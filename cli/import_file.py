"""Export files as rows: CSV (UTF-8 or GB18030), NDJSON and XLSX, whatever their columns are called.

CSV and NDJSON are streamed; an XLSX sheet is read whole, in a process of its own (import_sheet.py). Formulas are plain text and
stay so.
"""

import csv
import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any, NamedTuple, TextIO

import msgspec

from cli.import_sheet import SheetFault, open_sheet

LINE_MAX_CHARS = 64 * 1024
READ_BYTES = 1024 * 1024
COLUMNS_LISTED_MAX = 30

TEXTS = (".csv", ".tsv", ".txt")
LINES = (".ndjson", ".jsonl")
SHEETS = (".xlsx", ".xlsm", ".xls", ".ods")

REQUIRED = ("viewer_id", "occurred_at")
COLUMNS: dict[str, tuple[str, ...]] = {
    "event_id": ("event_id", "事件ID", "事件编号", "流水号", "记录ID"),
    "type": ("type", "事件类型", "类型"),
    "campaign_id": ("campaign_id", "活动ID", "活动编号"),
    "viewer_id": (
        "viewer_id",
        "用户ID",
        "账号",
        "观看账号",
        "平台账号",
        "用户账号",
        "观众ID",
        "观众账号",
        "快手号",
        "UID",
    ),
    "occurred_at": ("occurred_at", "签到时间", "时间", "发生时间", "报名时间", "观看时间", "打卡时间", "操作时间"),
    "unit_code": ("unit_code", "单位代码", "单位编码", "单位编号", "单位", "所属单位", "单位名称"),
    "channel": ("channel", "渠道码", "渠道", "渠道代码", "渠道编码"),
    "group": ("group", "重点人群", "人群", "群体", "人群类别"),
    "name": ("name", "姓名", "真实姓名"),
    "phone": ("phone", "手机号", "手机", "手机号码", "电话", "联系电话"),
    "quiz": ("quiz", "题目", "题号"),
    "prize": ("prize", "奖品", "奖品名称"),
    "account": ("account", "关注账号", "官方账号", "公众号"),
}

_FORMULA_START = ("=", "+", "-", "@", "\t", "\r")


class FileFault(Exception):
    """The file cannot be read (further); the text says what is wrong and what to do."""


class Row(NamedTuple):
    """One row: its number as an editor shows it, its cells as they came, and those mapped to fields, empty ones left out.

    `fault` says why there are no fields at all.
    """

    number: int
    cells: Sequence[Any]
    fields: dict[str, Any]
    fault: str | None = None


@dataclass(frozen=True)
class Table:
    """An open file. `size` and `position()` are in one unit (bytes or rows), for a progress bar."""

    header: list[str]
    columns: dict[str, str]  # field → column, as told or recognised
    rows: Iterator[Row]
    size: int
    position: Callable[[], int]


@contextmanager
def open_table(path: Path, told: Mapping[str, str]) -> Iterator[Table]:
    """`told`: field → column, over the names in `COLUMNS`. Raises `FileFault`, also while rows are read."""
    if not path.is_file():
        raise FileFault(f"找不到文件 {path}")
    unknown = sorted(told.keys() - COLUMNS.keys())
    if unknown:
        raise FileFault(f"--map 里的 {unknown[0]} 不是字段名。可用的有：{'、'.join(COLUMNS)}")
    suffix = path.suffix.lower()
    if suffix in SHEETS:
        with _sheet(path, told) as table:
            yield table
    elif suffix in TEXTS or suffix in LINES:
        read = _text if suffix in TEXTS else _lines
        with path.open(encoding=encoding_of(path), newline="") as file:
            yield read(file, told, path.stat().st_size)
    else:
        raise FileFault(f"不认识的文件类型 {suffix or path.name}。可以导入 CSV、NDJSON（.ndjson、.jsonl）和 XLSX")


def match_columns(header: Sequence[str], told: Mapping[str, str]) -> dict[str, str]:
    """Field → column: those told, and those recognised by their names. Raises `FileFault` where one is missing."""
    by_name = {_plain(column): column for column in reversed(header) if column}
    found: dict[str, str] = {}
    for field, column in told.items():
        if _plain(column) not in by_name:
            raise FileFault(f"文件里没有“{column}”这一列。文件的列有：{_listed(header)}")
        found[field] = by_name[_plain(column)]
    for field, names in COLUMNS.items():
        free = (by_name[_plain(name)] for name in names if _plain(name) in by_name)
        column_found = next((column for column in free if column not in found.values()), None)
        if field not in found and column_found is not None:
            found[field] = column_found
    missing = [field for field in REQUIRED if field not in found]
    if missing:
        hints = " ".join(f"--map {field}=列名" for field in missing)
        raise FileFault(f"认不出必需的列：{'、'.join(missing)}。文件的列有：{_listed(header)}。请用 {hints} 指明")
    return found


def encoding_of(path: Path) -> str:
    """`utf-8-sig` where every byte of the file is UTF-8, else `gb18030`. Raises `FileFault` where neither reads it."""
    for encoding in ("utf-8-sig", "gb18030"):
        try:
            with path.open(encoding=encoding, newline="") as file:
                while file.read(READ_BYTES):
                    pass
        except UnicodeDecodeError:
            continue
        return encoding
    raise FileFault(f"{path.name} 既不是 UTF-8 也不是 GB18030 编码。请在表格软件里另存为“CSV UTF-8”")


def inert(cell: str) -> str:
    """The cell as a spreadsheet shows it and never runs it: an apostrophe stands before a formula's first character."""
    return f"'{cell}" if cell.startswith(_FORMULA_START) else cell


def without_apostrophe(cell: str) -> str:
    """What `inert` was given, so that refused rows can be corrected and imported again."""
    return cell[1:] if cell.startswith("'") and cell[1:].startswith(_FORMULA_START) else cell


# ---- CSV -------------------------------------------------------------------------------------------------------------


def _text(file: TextIO, told: Mapping[str, str], size: int) -> Table:
    first = file.readline(LINE_MAX_CHARS)
    file.seek(0)
    reader = csv.reader(_lines_of(file), delimiter=max(",\t;", key=first.count))
    header = [column.strip() for column in next(reader, [])]
    columns = match_columns(header, told)
    return Table(header, columns, _text_rows(reader, _places(header, columns)), size, _bytes_read(file))


def _lines_of(file: TextIO) -> Iterator[str]:
    """The lines of a CSV file; none is read that is longer than a row can be."""
    for number, line in enumerate(iter(partial(file.readline, LINE_MAX_CHARS), ""), start=1):
        if len(line) == LINE_MAX_CHARS and not line.endswith("\n"):
            raise FileFault(f"第 {number} 行超过 {LINE_MAX_CHARS} 个字符，多半是前面少了一个引号。请改好后重新导入")
        yield line


def _text_rows(reader: Any, places: Mapping[str, int]) -> Iterator[Row]:
    """A quoted cell may span lines; the row's number is then its last line."""
    while True:
        try:
            cells = next(reader, None)
        except csv.Error as error:
            raise FileFault(
                f"第 {reader.line_num} 行读不下去（{error}），多半是前面少了一个引号。请改好后重新导入"
            ) from error
        if cells is None:
            return
        if any(cells):
            yield Row(reader.line_num, cells, _fields(cells, places))


# ---- NDJSON ----------------------------------------------------------------------------------------------------------


def _lines(file: TextIO, told: Mapping[str, str], size: int) -> Table:
    """There is no header: the first object shows the required columns, and each object may have more than it."""
    lines = iter(partial(file.readline, LINE_MAX_CHARS), "")
    first = next((content for line in lines if (content := _object(line)) is not None), {})
    file.seek(0)
    required = {field: column for field, column in told.items() if field in REQUIRED}
    columns = match_columns(list(first), required) | dict(told)
    names = {field: [columns[field]] if field in told else list(COLUMNS[field]) for field in COLUMNS}
    return Table(["原始内容"], columns, _line_rows(file, names), size, _bytes_read(file))


def _line_rows(file: TextIO, names: Mapping[str, list[str]]) -> Iterator[Row]:
    field_of = {_plain(name): field for field, known in names.items() for name in reversed(known)}
    number = 0
    while line := file.readline(LINE_MAX_CHARS):
        number += 1
        if len(line) == LINE_MAX_CHARS and not line.endswith("\n"):
            raise FileFault(f"第 {number} 行超过 {LINE_MAX_CHARS} 个字符，不像 NDJSON（每行一个 JSON 对象）")
        text = line.strip()
        content = _object(text)
        if content is not None:
            cells = {field_of[_plain(key)]: _cell(value) for key, value in content.items() if _plain(key) in field_of}
            yield Row(number, [text], {field: value for field, value in cells.items() if value not in ("", None)})
        elif text:
            yield Row(number, [text], {}, "这一行不是 JSON 对象")


def _object(line: str) -> dict[str, Any] | None:
    try:
        return msgspec.json.decode(line, type=dict[str, Any])
    except (msgspec.MsgspecError, RecursionError):
        return None


# ---- XLSX ------------------------------------------------------------------------------------------------------------


@contextmanager
def _sheet(path: Path, told: Mapping[str, str]) -> Iterator[Table]:
    """The first sheet; its header is its first row that holds anything."""
    try:
        with open_sheet(path) as (height, all_rows):
            numbered = enumerate(all_rows, start=1)
            header = next(([str(cell).strip() for cell in row] for _, row in numbered if any(row)), [])
            columns = match_columns(header, told)
            places = _places(header, columns)
            at = [0]

            def rows() -> Iterator[Row]:
                for number, cells in numbered:
                    at[0] = number
                    if any(cell != "" for cell in cells):
                        yield Row(number, cells, _fields(cells, places))

            yield Table(header, columns, rows(), height, lambda: at[0])
    except SheetFault as fault:
        raise FileFault(str(fault)) from None


# ---- cells -----------------------------------------------------------------------------------------------------------


def _places(header: Sequence[str], columns: Mapping[str, str]) -> dict[str, int]:
    return {field: header.index(column) for field, column in columns.items()}


def _fields(cells: Sequence[Any], places: Mapping[str, int]) -> dict[str, Any]:
    found = {field: _cell(cells[place]) for field, place in places.items() if place < len(cells)}
    return {field: value for field, value in found.items() if value != ""}


def _cell(value: Any) -> Any:
    return without_apostrophe(value.strip()) if isinstance(value, str) else value


def _bytes_read(file: TextIO) -> Callable[[], int]:
    return lambda: file.buffer.tell()  # the text layer forbids its own tell() while it is iterated


def _plain(column: str) -> str:
    """A column's name as it is compared: case, spaces, punctuation and what stands in brackets do not matter."""
    return re.sub(r"[（(].*?[)）]|[\s_*:：]", "", column).lower() or column


def _listed(header: Sequence[str]) -> str:
    return "、".join(f"“{column}”" for column in header[:COLUMNS_LISTED_MAX]) or "（没有）"
