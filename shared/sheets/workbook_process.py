"""The process that reads a workbook for workbooks.py and may be ended by a limit: `python -m shared.sheets.workbook_process`."""

import resource
import sys
from collections.abc import Iterator, Sequence
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Any

import python_calamine

from shared.sheets.cells import UNCALCULATED
from shared.sheets.formulas import uncalculated

ROWS_AT_ONCE = 1_000


def read(path: str, to: Connection, memory_max_bytes: int, cpu_max_s: int, name: str) -> None:
    """Sends the sheets that hold anything; of the one called `name` (of the first, where it is "") the number of rows, what is
    merged, the rows in portions, and an empty portion; or, as text, what is wrong; or a limit ends it."""
    resource.setrlimit(resource.RLIMIT_AS, (memory_max_bytes, memory_max_bytes))
    resource.setrlimit(resource.RLIMIT_CPU, (cpu_max_s, cpu_max_s))
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    try:
        book = python_calamine.CalamineWorkbook.from_path(path)
        names: list[str] = []
        wanted: python_calamine.CalamineSheet | None = None
        for sheet_name in book.sheet_names:
            sheet = _sheet(book, sheet_name)
            if sheet is not None and sheet.start is not None:
                names.append(sheet_name)
                wanted = sheet if sheet_name == name or not (name or wanted) else wanted
        to.send(names)
        if name and wanted is None:
            wrong = f"工作表“{name}”是空的" if name in book.sheet_names else f"没有名为“{name}”的工作表"
            to.send(f"{wrong}。有内容的工作表：{'、'.join(names) or '（没有）'}")
            return
        to.send(wanted.total_height if wanted else 0)
        to.send((wanted.merged_cell_ranges if wanted else None) or [])
        portion: list[Sequence[Any]] = []
        for row in _rows(Path(path), wanted) if wanted else ():
            portion.append(row)
            if len(portion) == ROWS_AT_ONCE:
                to.send(portion)
                portion = []
        if portion:
            to.send(portion)
        to.send([])
    except (python_calamine.CalamineError, OSError) as error:
        to.send(f"{Path(path).name} 打不开：{_why(error)}。请在表格软件里打开，另存为 XLSX 或“CSV UTF-8”")


def _rows(path: Path, sheet: python_calamine.CalamineSheet) -> Iterator[Sequence[Any]]:
    """The rows from the top; a cell with a formula that was never worked out holds `UNCALCULATED`, and not nothing."""
    places = uncalculated(path, sheet.name)
    at = next(places, None)
    number = 0
    for number, row in enumerate(sheet.iter_rows(), start=1):
        cells: list[Any] = row
        while at is not None and at[0] <= number:
            if at[0] == number and at[1] < len(cells):
                cells[at[1]] = UNCALCULATED
            at = next(places, None)
        yield cells
    while at is not None:  # rows of nothing else, which the library takes for the end of the sheet
        number, cells = number + 1, []
        while at is not None and at[0] <= number:
            cells += [""] * (at[1] - len(cells)) + [UNCALCULATED]
            at = next(places, None)
        yield cells


def _why(error: Exception) -> str:
    match error:
        case PermissionError():
            return "没有权限"
        case python_calamine.PasswordError():
            return "它有密码"
        case python_calamine.ZipError() | python_calamine.XmlError():
            return "它不是 XLSX 或 ODS 文件，或者没有传完整"
    return f"它不是表格文件，或者损坏了（{error}）"


def _sheet(book: python_calamine.CalamineWorkbook, name: str) -> python_calamine.CalamineSheet | None:
    """None for charts and macros, which are sheets without cells."""
    try:
        return book.get_sheet_by_name(name)
    except python_calamine.WorksheetNotFound:
        return None


if __name__ == "__main__":
    _path, _descriptor, _memory_max_bytes, _cpu_max_s, _name = sys.argv[1:]
    read(_path, Connection(int(_descriptor), readable=False), int(_memory_max_bytes), int(_cpu_max_s), _name)
