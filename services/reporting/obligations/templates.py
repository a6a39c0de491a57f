"""A form as a workbook that a unit, or a parent for all units below it, fills in: 填报 has a row per unit, each table of the
form a sheet of its own, 说明 says what may stand where. What comes back is read by uploads.py.

Codes are text cells; a sample row, which nobody reads, stands above the first unit. No text of the campaign or of a person is
ever a formula or a link.
"""

import io
import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Final, NamedTuple

import xlsxwriter  # type: ignore[import-untyped]

from services.reporting.obligations.fields import number_of, shown_number
from shared.contracts.campaign_forms import DECIMALS_MAX, NUMBERS, TEXT_MAX_CHARACTERS, Column, Form, FormField

MAIN_SHEET: Final = "填报"
NOTES_SHEET: Final = "说明"
CODE, NAME = "单位代码", "单位名称"
ROW_CODE, ROW_NAME = "行代码", "行名称"
REASON: Final = "错误原因"
SAMPLE: Final = "示例"  # stands in the place of a code
NOT_IN_SHEETS: Final = frozenset({"pictures", "file"})  # sent up on the page
SHEET_NAME_MAX_CHARS: Final = 31  # of Excel
TEXT_ONLY: Final = {"strings_to_formulas": False, "strings_to_urls": False, "strings_to_numbers": False}

_NOT_IN_A_SHEET_NAME = re.compile(r"[\[\]:*?/\\'\x00-\x1f]")
_WIDTH_MAX_CHARS = 40
_CHOICES_MAX_CHARS = 255  # of Excel's list to choose from

Style = dict[str, Any]
_HEAD: Style = {"bold": True, "text_wrap": True, "valign": "top", "bg_color": "#DDEBF7", "border": 1}
_SAMPLE: Style = {"italic": True, "font_color": "#808080", "num_format": "@"}
_CODES: Style = {"num_format": "@", "bg_color": "#F2F2F2"}


@dataclass(frozen=True)
class SheetUnit:
    """A unit that the workbook has a row for. `rows`: table → key → name of the rows filled in beforehand."""

    code: str
    name: str
    rows: Mapping[str, Mapping[str, str]] = field(default_factory=dict)


class SheetLayout(NamedTuple):
    """A sheet of the workbook: of the fields that are no tables, or of one table. `headings`: heading → column."""

    title: str
    table: FormField | None
    headings: Mapping[str, Column]

    @property
    def before(self) -> list[str]:
        """The headings of what is filled in beforehand."""
        return [CODE, NAME] if self.table is None or self.table.rows == "free" else [CODE, NAME, ROW_CODE, ROW_NAME]

    @property
    def header(self) -> list[str]:
        return [*self.before, *self.headings]

    def rows_of(self, unit: SheetUnit) -> list[list[str]]:
        """What is filled in beforehand for a unit; free tables get one row, and as many as somebody inserts."""
        if self.table is None or self.table.rows == "free":
            return [[unit.code, unit.name]]
        return [[unit.code, unit.name, key, name] for key, name in unit.rows.get(self.table.id, {}).items()]


def layouts(form: Form) -> list[SheetLayout]:
    """The sheets to fill in, 填报 first."""
    plain = [field_ for field_ in form.fields if field_.type != "table" and field_.type not in NOT_IN_SHEETS]
    sheets = [SheetLayout(MAIN_SHEET, None, _headings(plain))]
    for table in form.fields:
        if table.type == "table":
            taken = {NOTES_SHEET, *(sheet.title for sheet in sheets)}
            sheets.append(SheetLayout(_sheet_title(table, taken), table, _headings(table.columns)))
    return sheets


def _headings(columns: Sequence[Column]) -> dict[str, Column]:
    headings: dict[str, Column] = {}
    for column in columns:
        heading = f"{column.title}（{column.unit}）" if column.unit else column.title
        taken = heading in headings or heading in (CODE, NAME, ROW_CODE, ROW_NAME, REASON)
        headings[f"{heading} {column.id}" if taken else heading] = column
    return headings


def _sheet_title(table: FormField, taken: set[str]) -> str:
    title = _NOT_IN_A_SHEET_NAME.sub(" ", table.title).strip()[: SHEET_NAME_MAX_CHARS - 4] or table.id
    names = (title, *(f"{title} {number}" for number in range(2, 100)))
    lower = {name.lower() for name in taken} | {"history"}  # Excel keeps this one for itself
    return next(name for name in names if name.lower() not in lower)


def template(form: Form, about: Sequence[tuple[str, str]], units: Sequence[SheetUnit]) -> bytes:
    """The workbook to fill in. `about`: lines for 说明, such as the period and when it is due."""
    content = io.BytesIO()
    with xlsxwriter.Workbook(content, {"in_memory": True, **TEXT_ONLY}) as book:
        for layout in layouts(form):
            _write_sheet(book, layout, units)
        _write_notes(book, form, about)
    return content.getvalue()


def _write_sheet(book: Any, layout: SheetLayout, units: Sequence[SheetUnit]) -> None:
    head, sample, codes = (book.add_format(style) for style in (_HEAD, _SAMPLE, _CODES))
    text = book.add_format({"num_format": "@"})
    sheet = book.add_worksheet(layout.title)
    write_texts(sheet, 0, layout.header, head)
    write_texts(sheet, 1, _sample_row(layout), sample)
    rows = [row for unit in units for row in layout.rows_of(unit)]
    for number, row in enumerate(rows, start=2):
        write_texts(sheet, number, row, codes)
    sheet.freeze_panes(1, len(layout.before))
    for place, heading in enumerate(layout.header):
        column = layout.headings.get(heading)
        is_number = column is not None and column.type in NUMBERS
        sheet.set_column(place, place, _width(heading), None if is_number or column is None else text)
        if column is not None and column.type == "choice":
            _offer(sheet, place, len(rows) + 1, [option.title for option in column.options])


def _offer(sheet: Any, place: int, last_row: int, titles: list[str]) -> None:
    """A list to choose from, where Excel can have it."""
    if len(",".join(titles)) <= _CHOICES_MAX_CHARS and not any("," in title or '"' in title for title in titles):
        sheet.data_validation(2, place, max(2, last_row), place, {"validate": "list", "source": titles})


def write_texts(sheet: Any, row: int, texts: Sequence[str], style: Any = None) -> None:
    """Cells that are texts, whatever they begin with."""
    for place, text in enumerate(texts):
        sheet.write_string(row, place, text, style)


def _sample_row(layout: SheetLayout) -> list[str]:
    before = [SAMPLE, "这一行不用删，不会计入", "", ""][: len(layout.before)]
    return before + [_sample(column) for column in layout.headings.values()]


def _sample(column: Column) -> str:
    match column.type:
        case "integer" | "decimal":
            return shown_number(number_of(column.min or 0))
        case "choice":
            return column.options[0].title
        case "choices":
            return "、".join(option.title for option in column.options[:2])
        case "date":
            return "2024-06-29"
        case "link":
            return "https://example.org/"
    return "文字"


def _write_notes(book: Any, form: Form, about: Sequence[tuple[str, str]]) -> None:
    bold, wrap = book.add_format({"bold": True}), book.add_format({"text_wrap": True, "valign": "top"})
    sheet = book.add_worksheet(NOTES_SHEET)
    sheet.set_column(0, 0, 28)
    sheet.set_column(1, 1, 80)
    lines = [("表格", form.title), *about, *_GENERAL, ("", ""), *_asked(form)]
    for number, (name, what) in enumerate(lines):
        sheet.write_string(number, 0, name, bold)
        sheet.write_string(number, 1, what, wrap)


_GENERAL: Final = (
    ("怎样填", f"在“{MAIN_SHEET}”里每个单位一行；表格栏另有工作表。灰色的代码和名称不要改。"),
    ("没有数", "没有就填 0；空着表示没有填报。整行空着的单位不会提交。"),
    ("数字", "只写半角数字，不带单位、逗号和公式。"),
    ("上传", f"有一处错误就一行也不收，退回的文件标出了错误的格，并有一栏“{REASON}”；改好后可以直接再传。"),
)


def _asked(form: Form) -> Iterator[tuple[str, str]]:
    """What each field takes."""
    for form_field in form.fields:
        if form_field.type in NOT_IN_SHEETS:
            yield form_field.title, "图片和文件不能放在这里：请在填报页面上传"
    for layout in layouts(form):
        for heading, column in layout.headings.items():
            where = heading if layout.table is None else f"{layout.title}：{heading}"
            yield where, "；".join([*(["必填"] if column.required else []), takes(column)])


def takes(column: Column) -> str:
    """What a column takes, in a sentence."""
    titles = "、".join(option.title for option in column.options)
    match column.type:
        case "integer" | "decimal":
            most = "" if column.max is None else f"，最大 {shown_number(number_of(column.max))}"
            least = f"最小 {shown_number(number_of(column.min or 0))}"
            kind = "整数" if column.type == "integer" else f"可带 {column.decimals or DECIMALS_MAX} 位小数"
            return f"{kind}，{least}{most}" + ("；累计数" if column.kind == "running_total" else "")
        case "choice":
            return f"从中选一项：{titles}"
        case "choices":
            return f"可选多项，用顿号分开：{titles}"
        case "date":
            return "日期，如 2024-06-29"
        case "link":
            return "以 https:// 开头的链接"
    return f"文字，最多 {TEXT_MAX_CHARACTERS} 个字"


def _width(heading: str) -> int:
    return min(_WIDTH_MAX_CHARS, max(12, 4 + sum(1 if ord(character) < 0x1100 else 2 for character in heading)))
