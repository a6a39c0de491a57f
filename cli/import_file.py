"""Export files as rows: CSV (UTF-8 or GB18030), NDJSON and XLSX, whatever their columns are called.

Sheets are read by shared/sheets; NDJSON is streamed here.
"""

import re
import shlex
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from datetime import time, timedelta, timezone
from functools import lru_cache, partial
from itertools import chain, islice
from pathlib import Path
from typing import Any, NamedTuple, TextIO
from zoneinfo import ZoneInfo

import msgspec

from shared.sheets import (
    LINE_MAX_CHARS,
    SUFFIXES,
    UNCALCULATED,
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
ROWS_ABOVE_MAX = 20  # rows above a header, such as titles, that are searched
ROWS_LOOKED_AT = 20  # rows that show whether a column of times has only times of day

LINES = (".ndjson", ".jsonl")

_REMARK = re.compile(
    r"[（(](?:\*|必填项?|选填|非必填|可选|可不填|文本|文本格式|string|text|required|optional|[ymdhs年月日时分秒/:.\s-]+"
    r"|(?:UTC|GMT)[+\-−\d:\s]*|北京时间|东八区|中国标准时间)[)）]",
    re.IGNORECASE,
)
_UTC = re.compile(r"(?<![A-Za-z])(?:UTC|GMT)(?:\s*([+\-−])\s*(\d{1,2})(?::?(\d{2}))?)?(?![A-Za-z])", re.IGNORECASE)
_BEIJING = re.compile(r"北京时间|东八区|中国标准时间|Asia/Shanghai")
_OTHER_ZONE = re.compile(
    r"(?<![A-Za-z])(?:[ECMP][SD]T|CEST|CET|BST|JST|KST|IST|MSK)(?![A-Za-z])|[东西][一二三四五六七九十]+区|零时区|时区"
    r"|(?:格林|世界|国际|美东|美西|太平洋|东京|伦敦|纽约|莫斯科)\S*?时间?|[A-Z][a-z]+/[A-Z][A-Za-z_]+"
)
_DAY_COLUMN = re.compile(r"(.*?)(?:日期|date)", re.IGNORECASE)
_CLOCK_COLUMN = re.compile(r"(.*?)(?:时间|时刻|钟点|time)", re.IGNORECASE)
_TIME_OF_DAY = re.compile(r"(?:上午|下午)?\s*\d{1,2}[:：时]\d{1,2}(?:[:：分]\d{1,2})?(?:\.\d+)?[分秒]?")

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
    "occurred_on": (),  # the day, where `--map occurred_at=日期+时间` names two columns
    "unit_code": ("unit_code", "单位代码", "单位编码", "单位编号", "单位", "所属单位", "单位名称"),
    "channel": ("channel", "渠道码", "渠道", "渠道代码", "渠道编码"),
    "group": ("group", "重点人群", "人群", "群体", "人群类别"),
    "name": ("name", "姓名", "真实姓名"),
    "phone": ("phone", "手机号", "手机", "手机号码", "电话", "联系电话"),
    "guardian_consent": ("guardian_consent", "监护人同意", "家长同意", "监护人是否同意", "家长是否同意"),
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
    zone: ZoneInfo | timezone | None = None  # of times without an offset, where the column's name says so
    unused: Sequence[str] = ()  # columns that belong to no field


@contextmanager
def open_table(
    path: Path,
    told: Mapping[str, str],
    limits: WorkbookLimits | None = None,
    sheet_name: str | None = None,
    header_row: int = 1,
) -> Iterator[Table]:
    """`told`: field → column, over the names in `COLUMNS`; `sheet_name`: which sheet of a workbook, where several hold something.
    Raises `FileFault`, also while rows are read."""
    if not path.is_file():
        raise FileFault(f"找不到文件 {path}")
    if not path.stat().st_size:
        raise FileFault(f"{path.name}：文件是空的")
    unknown = sorted(told.keys() - COLUMNS.keys())
    if unknown:
        raise FileFault(f"--map 里的 {unknown[0]} 不是字段名。可用的有：{'、'.join(COLUMNS)}")
    suffix = path.suffix.lower()
    if suffix in SUFFIXES:
        with open_sheet(path, limits, sheet_name, header_row) as sheet:
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
    try:
        columns = match_columns(sheet.header, told)
    except FileFault as fault:
        raise _header_below(sheet, told) or fault from None
    first = list(islice(sheet.rows, ROWS_LOOKED_AT))
    columns |= _day_of(columns, sheet.header, [row.values(sheet.places(columns)).get("occurred_at") for row in first])
    places = sheet.places(columns)
    _check_merged(sheet, places, columns)
    rows = (_row(row, places, sheet.header) for row in chain(first, sheet.rows))
    unused = [column for column in sheet.header if column and column not in columns.values()]
    zone = zone_of(columns["occurred_at"])
    return Table(sheet.header, columns, rows, sheet.size, sheet.position, zone, unused)


def _header_below(sheet: Sheet, told: Mapping[str, str]) -> FileFault | None:
    """The fault to report where a title stands above the header: it names the row of the header. None where no row looks like
    one."""
    for row in islice(sheet.rows, ROWS_ABOVE_MAX):
        with suppress(FileFault):
            match_columns([str(cell).strip() for cell in row.cells], told)
            return FileFault(
                f"表头好像在第 {row.number} 行，上面是标题或说明。请加上 --header-row {row.number}，或者删掉它上面的行"
            )
    return None


def _row(row: SheetRow, places: Mapping[str, int], header: Sequence[str]) -> Row:
    fields = row.values(places)
    fault = _surplus(row, header)
    if formula := next((header[places[field]] for field, value in fields.items() if value == UNCALCULATED), None):
        fault = f"“{formula}”是公式，还没有算过，格里没有值；请在表格软件里打开文件，保存后再导入"
    return Row(row.number, row.cells, fields, fault)


def _check_merged(sheet: Sheet, places: Mapping[str, int], columns: Mapping[str, str]) -> None:
    """Raises `FileFault` where a column that is read has merged cells: only their first row has the value, and the rows below
    would be read as rows without it."""
    for field, place in places.items():
        merged = [cells for cells in sheet.merged if cells.place == place]
        if merged:
            more = f"等 {len(merged)} 处" if len(merged) > 1 else ""
            raise FileFault(
                f"“{columns[field]}”一列有合并的单元格（第 {merged[0].first_row} 到 {merged[0].last_row} 行{more}）："
                "合并后只有左上角一格有内容。请取消合并，把每一格都填上，再导入"
            )


def _surplus(row: SheetRow, header: Sequence[str]) -> str | None:
    """What is wrong with a row that has more cells than the header has columns (zh-Hans): its cells have shifted, or some would
    be lost. Else None."""
    if not row.beyond(header):
        return None
    return f"这一行有 {len(row.cells)} 格，表头只有 {len(header)} 列：多半是某一格里的分隔符没有放在引号里"


def match_columns(header: Sequence[str], told: Mapping[str, str]) -> dict[str, str]:
    """Field → column: the columns in `told`, and those recognised by their names. Raises `FileFault` where a required column is
    missing, or several fit."""
    columns = {field: _told_column(header, column) for field, column in _two_columns(header, told).items()}
    alike: dict[str, list[str]] = {}
    for column in header:
        alike.setdefault(_plain(column), []).append(column)
    for field, names in COLUMNS.items():
        if field in columns:
            continue
        candidates = [
            column for name in names for column in alike.get(_plain(name), []) if column not in columns.values()
        ]
        if len(candidates) > 1 and (field in REQUIRED or _plain(candidates[0]) == _plain(candidates[1])):
            raise FileFault(
                f"有几列都像 {field}：{_listed(candidates)}。请用 --map {field}=列名 指明（列名相同的，请先改得不同）"
            )
        if candidates:
            columns[field] = candidates[0]
    missing = [field for field in REQUIRED if field not in columns]
    if not header:
        raise FileFault("文件是空的")
    if missing:
        asked = dict.fromkeys(missing, "列名")
        pairs = [f"{day}+{clock}" for clock in header for day in _days_beside(clock, header)]
        if pairs and "occurred_at" in asked:
            asked["occurred_at"] = pairs[0]
        hints = " ".join(_map(field, column) for field, column in asked.items())
        mark = "分隔符是全角逗号，应为半角" if "，" in header[0] else "分隔符应为逗号、分号或制表符"
        shape = f"整行只成了一列，{mark}。" if len(header) == 1 else ""
        raise FileFault(
            f"认不出必需的列：{'、'.join(missing)}。文件的列有：{_listed(header)}。{shape}请用 {hints} 指明"
        )
    return columns


def _two_columns(header: Sequence[str], told: Mapping[str, str]) -> dict[str, str]:
    """`told`, with `occurred_at` split in two fields where it names two columns: the day and the time of day, `日期+时间`. A
    single column of that name is not split."""
    day, plus, clock = told.get("occurred_at", "").partition("+")
    if not plus or told["occurred_at"] in header:
        return dict(told)
    return dict(told) | {"occurred_on": day, "occurred_at": clock}


def _day_of(columns: Mapping[str, str], header: Sequence[str], cells: Sequence[Any]) -> dict[str, str]:
    """The column of days that belongs to a column with only times of day, as the field `occurred_on`. `cells`: the first cells
    of the column of times. The column of days is the one with a similar name, or the one called 日期. Raises `FileFault` where
    none or several fit. Empty where the times have days, or the days are known already."""
    clocks = [cell for cell in cells if cell not in ("", None)]
    if "occurred_on" in columns or not clocks or not all(map(_is_time_of_day, clocks)):
        return {}
    clock = columns["occurred_at"]
    free = [column for column in header if column not in columns.values()]
    if len(days := _days_beside(clock, free)) == 1:
        return {"occurred_on": days[0]}
    days = days or [column for column in free if _DAY_COLUMN.fullmatch(_plain(column))]
    joined = _map("occurred_at", f"{days[0] if days else '日期列名'}+{clock}")
    raise FileFault(
        f"“{clock}”一列只有钟点，没有日期。日期在另一列的，请用 {joined} 合成一个时间；文件里没有日期的，请补上一列。"
        f"文件的列有：{_listed(header)}"
    )


def _days_beside(clock: str, columns: Sequence[str]) -> list[str]:
    """The columns of days that go with a column of times: 签到日期 with 签到时刻, else 日期."""
    if not (of_clock := _CLOCK_COLUMN.fullmatch(_plain(clock))):
        return []
    stems = {column: day[1].lower() for column in columns if (day := _DAY_COLUMN.fullmatch(_plain(column)))}
    return [column for column, stem in stems.items() if stem == of_clock[1].lower()] or [
        column for column, stem in stems.items() if not stem
    ]


def _is_time_of_day(cell: Any) -> bool:
    if isinstance(cell, str):
        return _TIME_OF_DAY.fullmatch(cell) is not None
    return isinstance(cell, time | timedelta) or (isinstance(cell, float) and 0 <= cell < 1)


def _map(field: str, column: str) -> str:
    """What to type; quoted where the shell would read it otherwise."""
    told = f"{field}={column}"
    return f"--map {told}" if re.fullmatch(r"[\w=+-]+", told) else f"--map {shlex.quote(told)}"


def _told_column(header: Sequence[str], column: str) -> str:
    """The column of exactly this name, else the one whose name differs only as `_plain` ignores it (case, spaces, brackets).
    Raises `FileFault` where there is none, or several."""
    matches = [name for name in header if name == column.strip()] or [
        name for name in header if name and _plain(name) == _plain(column)
    ]
    if not matches:
        raise FileFault(f"文件里没有“{column}”这一列。文件的列有：{_listed(header)}")
    if len(matches) > 1:
        raise FileFault(f"“{column}”可以指几列：{_listed(matches)}。请写出完整的列名；列名相同的，请先在文件里改得不同")
    return matches[0]


# ---- NDJSON ----------------------------------------------------------------------------------------------------------


def _of_lines(file: TextIO, told: Mapping[str, str], size: int) -> Table:
    """Reads NDJSON. It has no header: the first object must have the required columns, and later ones may have more."""
    lines = iter(partial(file.readline, LINE_MAX_CHARS), "")
    objects = (content for line in lines if (content := _object(line)) is not None)
    first = next(objects, None)
    if first is None:
        raise FileFault(
            "没有一行是 JSON 对象。NDJSON 是每行一个对象；整个文件是一个列表的，可用 jq -c '.[]' 原文件 > 新文件.ndjson 转换"
        )
    file.seek(0)
    required = {field: column for field, column in told.items() if field in REQUIRED}
    columns = dict(told) | match_columns(list(first), required)
    columns |= _day_of(columns, list(first), [first[columns["occurred_at"]]])
    exact = told.keys() | {"occurred_on"}
    names = {
        field: [columns[field]] if field in exact and field in columns else list(COLUMNS[field]) for field in COLUMNS
    }
    unused: list[str] = []
    rows = _line_rows(file, names, columns["occurred_at"], unused)
    return Table(["原始内容"], columns, rows, size, bytes_read(file), zone_of(columns["occurred_at"]), unused)


def _line_rows(file: TextIO, names: Mapping[str, list[str]], time_key: str, unused: list[str]) -> Iterator[Row]:
    """`time_key`: the key of the time in the first object; its name may give the time zone. Keys that belong to no field are
    added to `unused`."""
    field_of = {_plain(name): field for field, known in names.items() for name in reversed(known)}
    zone = zone_of(time_key)
    number = 0
    while line := file.readline(LINE_MAX_CHARS):
        number += 1
        if len(line) == LINE_MAX_CHARS and not line.endswith("\n"):
            raise FileFault(f"第 {number} 行超过 {LINE_MAX_CHARS} 个字符，不像 NDJSON（每行一个 JSON 对象）")
        text = line.strip()
        content = _object(text)
        if content is not None:
            told = [
                (field_of[_plain(key)], value_of(value)) for key, value in content.items() if _plain(key) in field_of
            ]
            given = [(field, value) for field, value in told if value not in ("", None)]
            count = Counter(field for field, _ in given)
            twice = next((field for field in REQUIRED if count[field] > 1), None)
            fault = f"有几个字段都像 {twice}" if twice else None
            for key in content:
                if (field := field_of.get(_plain(key))) is None:
                    if key not in unused and len(unused) <= COLUMNS_LISTED_MAX:
                        unused.append(key)
                elif field == "occurred_at" and key != time_key and zone_of(key) != zone:
                    fault = f"时间字段“{key}”与第一行的“{time_key}”不是同一个时区"
            yield Row(number, [text], dict(reversed(given)), fault)
        elif text:
            yield Row(number, [text], {}, "这一行不是 JSON 对象")


def _object(line: str) -> dict[str, Any] | None:
    try:
        return msgspec.json.decode(line, type=dict[str, Any])
    except (msgspec.MsgspecError, RecursionError):
        return None


# ---- columns ------------------------------------------------------------------------------------------------------------


@lru_cache(1_000)  # NDJSON has its keys in every line
def _plain(column: str) -> str:
    """A column's name as it is compared: case, spaces and punctuation do not matter, nor brackets that say how to fill it in."""
    name = _REMARK.sub("", column)
    return re.sub(r"[（()）\[\]【】\s_*:：]", "", name).lower() or column


def zone_of(column: str) -> ZoneInfo | timezone | None:
    """The time zone that a column's name says, such as `签到时间（UTC）`; None where it says none. Raises `FileFault` where it
    says one that is not understood."""
    if match := _UTC.search(column):
        sign, hours, minutes = match.groups()
        offset = timedelta(hours=int(hours or 0), minutes=int(minutes or 0))
        return timezone(-offset if sign in ("-", "−") else offset)
    if _BEIJING.search(column):
        return ZoneInfo("Asia/Shanghai")
    if match := _OTHER_ZONE.search(column):
        raise FileFault(
            f"列名“{column}”里的 {match[0]} 是哪个时区，看不懂。请把列名里的时区写成 UTC、UTC+8 这样，"
            "或者把时间换成北京时间并去掉列名里的时区"
        )
    return None


def _listed(header: Sequence[str]) -> str:
    return "、".join(f"“{column}”" for column in header[:COLUMNS_LISTED_MAX]) or "（没有）"
