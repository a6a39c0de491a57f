"""Reads a form's workbook that was filled in (templates.py), and hands a refused one back with its faults.

    upload = read(path, form, units)        # raises FileFault where there is no telling row from row
    …check each of upload.reports…          # upload.place(report, "sites[2].posters") is a cell
    returned(upload, faults)                # XLSX with a column 错误原因 and marked cells

All rows count or none: the caller submits nothing while there is a fault. A unit whose row is empty reports nothing. CSV takes
the place of a workbook where the form has no tables.
"""

import io
import re
import unicodedata
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import date, datetime
from pathlib import Path
from typing import Any, Final, NamedTuple

import xlsxwriter  # type: ignore[import-untyped]

from services.reporting.obligations.templates import (
    CODE,
    MAIN_SHEET,
    NAME,
    REASON,
    ROW_CODE,
    SAMPLE,
    TEXT_ONLY,
    SheetLayout,
    SheetUnit,
    layouts,
)
from services.reporting.obligations.values import Values
from shared.contracts.campaign_forms import NUMBERS, ROW_KEY, Column, Form
from shared.sheets import UNCALCULATED, FileFault, Sheet, SheetRow, WorkbookLimits, open_sheet, value_of

LIMITS: Final = WorkbookLimits(
    file_max_bytes=8 * 1024**2,
    unpacked_max_bytes=50 * 1024**2,
    memory_max_bytes=256 * 1024**2,  # 20,000 rows of 60 columns take less than 192
    cpu_max_s=20,  # and 3 of these
)
CELLS_MAX: Final = 300_000  # rows by columns, of all sheets: 5,000 units with sixty fields; handed back they take 50 MB
FAULTS_MAX: Final = 1_000  # that are marked
REASON_MAX_CHARS: Final = 2_000  # of a row

_BETWEEN_CHOICES = re.compile(r"[、,，;；\n]")
_AT = re.compile(r"([a-z0-9_]+)(?:\[([0-9]+)\])?(?:\.(.*))?", re.DOTALL)


class Cell(NamedTuple):
    """`row` as a spreadsheet numbers it; `column` from 0, None where the whole row is meant."""

    sheet: str
    row: int
    column: int | None


class CellFault(NamedTuple):
    cell: Cell
    text: str  # what is wrong and what to do, in zh-Hans


@dataclass
class UnitReport:
    """What the workbook says for one unit. `row`: its row in 填报. `table_rows`: table → the sheet's rows, as in `given`."""

    unit_code: str
    row: int
    given: Values = field(default_factory=dict)
    table_rows: dict[str, list[int]] = field(default_factory=dict)


class SheetRead(NamedTuple):
    layout: SheetLayout
    header: list[str]
    rows: list[SheetRow]
    merged: Sequence[tuple[int, int]]  # row and column of merged cells

    @property
    def places(self) -> dict[str, int]:
        return {heading: self.header.index(heading) for heading in self.layout.header}


@dataclass
class Upload:
    """`reports`: of the units with anything in their rows."""

    sheets: list[SheetRead]
    reports: list[UnitReport] = field(default_factory=list)
    faults: list[CellFault] = field(default_factory=list)

    def wrong(self, sheet: SheetRead, row: int, heading: str | None, text: str) -> None:
        self.faults.append(CellFault(Cell(sheet.layout.title, row, sheet.places.get(heading or "")), text))

    def cell(self, report: UnitReport, at: str) -> Cell:
        """Where the field `at` of a unit's report stands in the workbook; its row in 填报 where it stands nowhere."""
        found = _AT.fullmatch(at)
        name, index, column = found.groups() if found else (at, None, None)
        for sheet in self.sheets:
            if sheet.layout.table is None and index is None:
                if (heading := _heading(sheet.layout, name)) is not None:
                    return Cell(MAIN_SHEET, report.row, sheet.places[heading])
            elif sheet.layout.table is not None and sheet.layout.table.id == name:
                rows = report.table_rows.get(name, [])
                if not rows:
                    break
                heading = ROW_CODE if column == ROW_KEY else _heading(sheet.layout, column or "")
                place = None if heading is None else sheet.places[heading]
                return Cell(sheet.layout.title, rows[int(index or 0)], place)
        return Cell(MAIN_SHEET, report.row, None)


def _heading(layout: SheetLayout, column_id: str) -> str | None:
    return next((heading for heading, column in layout.headings.items() if column.id == column_id), None)


def read(path: Path, form: Form, units: Sequence[SheetUnit], cells_max: int = CELLS_MAX) -> Upload:
    """What the file says for these units, with the faults of its rows. Raises `FileFault`."""
    upload = Upload(_sheets(path, form, cells_max))
    reports: dict[str, UnitReport] = {}
    by_code = {unit.code: unit for unit in units}
    main, *tables = upload.sheets
    for row, code, values in _rows(upload, main, by_code):
        if code in reports:
            upload.wrong(main, row.number, CODE, f"{code} 重复，第 {reports[code].row} 行已有；请只留一行")
            continue
        reports[code] = UnitReport(code, row.number, _given(upload, main, row.number, values))
    for sheet in tables:
        _add_rows(upload, sheet, reports, by_code)
    upload.reports = [report for report in reports.values() if report.given]
    return upload


def _sheets(path: Path, form: Form, cells_max: int) -> list[SheetRead]:
    wanted = layouts(form)
    is_text = path.suffix.lower() in (".csv", ".txt", ".tsv")
    if is_text and len(wanted) > 1:
        raise FileFault(f"这张表还有“{wanted[1].title}”，CSV 文件放不下；请用 XLSX 模板填写")
    sheets: list[SheetRead] = []
    cells = 0
    for layout in wanted:
        with open_sheet(path, LIMITS, None if is_text else layout.title) as sheet:
            sheets.append(_read_sheet(sheet, layout))
            for row in sheet.rows:
                sheets[-1].rows.append(row)
                cells += len(sheet.header)
                if cells > cells_max:
                    raise FileFault(f"文件超过 {cells_max} 格。请删掉下面多余的行，或分几次上传")
    return sheets


def _read_sheet(sheet: Sheet, layout: SheetLayout) -> SheetRead:
    """The sheet without its rows, where it has the template's columns."""
    where = f"工作表“{layout.title}”"
    if missing := [heading for heading in layout.header if heading not in sheet.header]:
        raise FileFault(f"{where}少了这些栏：{'、'.join(missing[:10])}。请用下载的模板填写，不要改表头")
    known = {*layout.header, REASON, ""}
    if unknown := [heading for heading in sheet.header if heading not in known]:
        raise FileFault(f"{where}多了这些栏：{'、'.join(unknown[:10])}。没有地方收它们，请删除后再传")
    merged = [(part.first_row, part.place) for part in sheet.merged]
    return SheetRead(layout, [_text(heading) for heading in sheet.header], [], merged)


def _rows(
    upload: Upload, sheet: SheetRead, units: Mapping[str, SheetUnit]
) -> Iterable[tuple[SheetRow, str, dict[str, Any]]]:
    """The rows of these units, with the code and the values by heading; the sample row and empty rows are left out."""
    for first_row, place in sheet.merged:
        heading = sheet.header[place] if place < len(sheet.header) else None
        upload.wrong(sheet, first_row, heading, "有合并的单元格，只有第一格有值；请取消合并，逐格填写")
    for row in sheet.rows:
        values = row.values({**sheet.places})
        code = _text(values.pop(CODE, ""))
        if code == SAMPLE or not (code or values):
            continue
        name = _text(values.pop(NAME, ""))
        if row.beyond(sheet.header):
            upload.wrong(sheet, row.number, None, "最后一栏的右边还有内容；请移到对应的栏里，或删除")
        if code not in units:
            text = (
                f"没有 {code[:40]} 这个单位，或不归您填报；请用模板里的代码" if code else "没有写单位代码；请照模板填写"
            )
            upload.wrong(sheet, row.number, CODE, text)
        elif name and name != _text(units[code].name):
            upload.wrong(sheet, row.number, NAME, f"代码 {code} 是{units[code].name}，与名称不一致；请核对是否排错了行")
        else:
            yield row, code, values


def _add_rows(upload: Upload, sheet: SheetRead, reports: dict[str, UnitReport], units: Mapping[str, SheetUnit]) -> None:
    table = sheet.layout.table
    assert table is not None  # noqa: S101 - only 填报 has none, and it is the first sheet
    for row, code, values in _rows(upload, sheet, units):
        given = _given(upload, sheet, row.number, values)
        report = reports.get(code)
        if report is None:
            if given:
                upload.wrong(sheet, row.number, CODE, f"“{MAIN_SHEET}”里没有 {code} 这一行；请在那里加上")
            continue
        if table.rows != "free":
            given = {ROW_KEY: _text(values.get(ROW_CODE, ""))} | given
        if given:
            report.given.setdefault(table.id, []).append(given)
            report.table_rows.setdefault(table.id, []).append(row.number)
    for report in reports.values():
        if all(not row.keys() - {ROW_KEY} for row in report.given.get(table.id, ())):
            report.given.pop(table.id, None)  # nothing was added to what was filled in beforehand


def _given(upload: Upload, sheet: SheetRead, row: int, values: Mapping[str, Any]) -> Values:
    """The answers of a row by the ids of columns."""
    given: Values = {}
    for heading, column in sheet.layout.headings.items():
        cell = values.get(heading)
        if cell == UNCALCULATED:
            upload.wrong(sheet, row, heading, "公式还没有结果；请直接填写，或在表格软件里打开、保存后再传")
        elif cell is not None:
            given[column.id] = _answer(column, cell)
    return given


def _answer(column: Column, cell: Any) -> Any:
    """A cell as `check` takes it: titles of options become their ids; numbers that stand for texts become texts."""
    if column.type in NUMBERS and isinstance(cell, bool | int | float):
        return cell
    if column.type == "date" and isinstance(cell, date):
        return f"{cell:%Y-%m-%d}"
    ids = {option.title: option.id for option in column.options}
    text = _text(cell)
    if column.type == "choices":
        chosen = [text] if text in ids else [part.strip() for part in _BETWEEN_CHOICES.split(text)]
        return [ids.get(part, part) for part in chosen if part]
    return ids.get(text, text) if column.type == "choice" else text


def _text(cell: Any) -> str:
    """A cell as text: codes that a spreadsheet took for numbers lose their `.0`."""
    if isinstance(cell, float) and cell.is_integer():
        cell = int(cell)
    return unicodedata.normalize("NFC", str(value_of(cell))).strip()


# ---- what goes back --------------------------------------------------------------------------------------------------


def returned(upload: Upload, faults: Sequence[CellFault]) -> bytes:
    """The workbook as it came, as texts, numbers and dates, with the column 错误原因 and the cells at fault marked."""
    content = io.BytesIO()
    with xlsxwriter.Workbook(content, {"in_memory": True, **TEXT_ONLY}) as book:
        for sheet in upload.sheets:
            _write_back(book, sheet, [fault for fault in faults[:FAULTS_MAX] if fault.cell.sheet == sheet.layout.title])
    return content.getvalue()


def _write_back(book: Any, sheet: SheetRead, faults: Sequence[CellFault]) -> None:
    bold = book.add_format({"bold": True, "text_wrap": True, "valign": "top"})
    marked = {"bg_color": "#FFC7CE", "font_color": "#9C0006"}
    styles = {
        (is_marked, kind): book.add_format({"num_format": kind, **(marked if is_marked else {})})
        for is_marked in (False, True)
        for kind in ("General", "@", "yyyy-mm-dd")
    }
    reason_style = book.add_format({**marked, "text_wrap": True})
    header = [heading for heading in sheet.header if heading != REASON]
    kept = [place for place, heading in enumerate(sheet.header) if heading != REASON]
    page = book.add_worksheet(sheet.layout.title)
    for place, heading in enumerate([*header, REASON]):
        page.write_string(0, place, heading, bold)
    at_fault = {(fault.cell.row, fault.cell.column) for fault in faults}
    for row in sheet.rows:
        for to, place in enumerate(kept):
            cell = row.cells[place] if place < len(row.cells) else ""
            is_marked = (row.number, place) in at_fault or ((row.number, None) in at_fault and to == 0)
            _write_cell(page, row.number - 1, to, cell, is_marked, styles)
        reasons = [_reason(sheet, fault) for fault in faults if fault.cell.row == row.number]
        if reasons:
            page.write_string(row.number - 1, len(header), "\n".join(reasons)[:REASON_MAX_CHARS], reason_style)
    page.freeze_panes(1, 2)
    page.set_column(0, len(header) - 1, 16)
    page.set_column(len(header), len(header), 60)


def _reason(sheet: SheetRead, fault: CellFault) -> str:
    column = fault.cell.column
    return fault.text if column is None else f"{sheet.header[column]}：{fault.text}"


def _write_cell(
    page: Any, row: int, place: int, cell: Any, is_marked: bool, styles: Mapping[tuple[bool, str], Any]
) -> None:
    """A cell as it came; whatever is no number and no date is a text, which nothing runs."""
    if isinstance(cell, int | float) and not isinstance(cell, bool):
        page.write_number(row, place, cell, styles[is_marked, "General"])
    elif isinstance(cell, datetime | date):
        page.write_datetime(row, place, cell, styles[is_marked, "yyyy-mm-dd"])
    elif cell == "" and is_marked:
        page.write_blank(row, place, None, styles[True, "@"])
    elif cell != "":
        page.write_string(row, place, str(cell), styles[is_marked, "@"])
