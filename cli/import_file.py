"""Export files as rows: CSV (UTF-8 or GB18030), NDJSON and XLSX, whatever their columns are called.

Sheets are read by shared/sheets; NDJSON is streamed here.
"""

import re
import shlex
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any, NamedTuple, TextIO

import msgspec

from shared.sheets import (
    LINE_MAX_CHARS,
    SUFFIXES,
    FileFault,
    Sheet,
    SheetRow,
    WorkbookLimits,
    bytes_read,
    encoding_of,
    open_sheet,
    value_of,
)

COLUMNS_LISTED_MAX = 30

LINES = (".ndjson", ".jsonl")

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


class Row(NamedTuple):
    """One row: its number as an editor shows it, its cells as they came, and its fields, which are mapped cells without empty
    ones.

    `fault` says why the row cannot be sent, whatever its fields.
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
def open_table(
    path: Path, told: Mapping[str, str], limits: WorkbookLimits | None = None, sheet_name: str | None = None
) -> Iterator[Table]:
    """`told`: field → column, over the names in `COLUMNS`; `sheet_name`: which sheet of a workbook, where several hold something.
    Raises `FileFault`, also while rows are read."""
    if not path.is_file():
        raise FileFault(f"找不到文件 {path}")
    unknown = sorted(told.keys() - COLUMNS.keys())
    if unknown:
        raise FileFault(f"--map 里的 {unknown[0]} 不是字段名。可用的有：{'、'.join(COLUMNS)}")
    suffix = path.suffix.lower()
    if suffix in SUFFIXES:
        with open_sheet(path, limits, sheet_name) as sheet:
            if sheet.others and sheet_name is None:
                names = [sheet.name, *sheet.others]
                raise FileFault(
                    f"{path.name} 有 {len(names)} 个有内容的工作表（隐藏的也算）：{'、'.join(names)}。"
                    f"请用 --sheet 工作表名 逐个导入，如 --sheet {shlex.quote(sheet.name)}；用不着的可以不导"
                )
            yield _of_sheet(sheet, told)
    elif suffix in LINES:
        with path.open(encoding=encoding_of(path), newline="") as file:
            yield _of_lines(file, told, path.stat().st_size)
    else:
        raise FileFault(f"不认识的文件类型 {suffix or path.name}。可以导入 CSV、NDJSON（.ndjson、.jsonl）和 XLSX")


def _of_sheet(sheet: Sheet, told: Mapping[str, str]) -> Table:
    columns = match_columns(sheet.header, told)
    places = sheet.places(columns)
    rows = (Row(row.number, row.cells, row.values(places), _surplus(row, sheet.header)) for row in sheet.rows)
    return Table(sheet.header, columns, rows, sheet.size, sheet.position)


def _surplus(row: SheetRow, header: Sequence[str]) -> str | None:
    """A row with more cells than columns has shifted, or has something that would be lost."""
    if not row.beyond(header):
        return None
    return f"这一行有 {len(row.cells)} 格，表头只有 {len(header)} 列：多半是某一格里的分隔符没有放在引号里"


def match_columns(header: Sequence[str], told: Mapping[str, str]) -> dict[str, str]:
    """Field → column: those in `told`, and those recognised by their names. Raises `FileFault` where one is missing."""
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


# ---- NDJSON ----------------------------------------------------------------------------------------------------------


def _of_lines(file: TextIO, told: Mapping[str, str], size: int) -> Table:
    """Reads NDJSON. It has no header: the first object must have the required columns, and later ones may have more."""
    lines = iter(partial(file.readline, LINE_MAX_CHARS), "")
    first = next((content for line in lines if (content := _object(line)) is not None), {})
    file.seek(0)
    required = {field: column for field, column in told.items() if field in REQUIRED}
    columns = match_columns(list(first), required) | dict(told)
    names = {field: [columns[field]] if field in told else list(COLUMNS[field]) for field in COLUMNS}
    return Table(["原始内容"], columns, _line_rows(file, names), size, bytes_read(file))


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
            cells = {
                field_of[_plain(key)]: value_of(value) for key, value in content.items() if _plain(key) in field_of
            }
            yield Row(number, [text], {field: value for field, value in cells.items() if value not in ("", None)})
        elif text:
            yield Row(number, [text], {}, "这一行不是 JSON 对象")


def _object(line: str) -> dict[str, Any] | None:
    try:
        return msgspec.json.decode(line, type=dict[str, Any])
    except (msgspec.MsgspecError, RecursionError):
        return None


# ---- columns ------------------------------------------------------------------------------------------------------------


def _plain(column: str) -> str:
    """A column's name for comparisons, without case, spaces, punctuation and what stands in brackets."""
    return re.sub(r"[（(].*?[)）]|[\s_*:：]", "", column).lower() or column


def _listed(header: Sequence[str]) -> str:
    return "、".join(f"“{column}”" for column in header[:COLUMNS_LISTED_MAX]) or "（没有）"
