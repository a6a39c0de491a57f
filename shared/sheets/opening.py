"""Which kind of sheet a file is, by its name's ending."""

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from shared.sheets.sheet import FileFault, Sheet
from shared.sheets.texts import open_csv
from shared.sheets.workbooks import WorkbookLimits, open_workbook

TEXTS = (".csv", ".tsv", ".txt")
WORKBOOKS = (".xlsx", ".xlsm", ".xls", ".ods")
SUFFIXES = TEXTS + WORKBOOKS


@contextmanager
def open_sheet(
    path: Path, limits: WorkbookLimits | None = None, name: str | None = None, header_row: int = 1
) -> Iterator[Sheet]:
    """A CSV file, or of a workbook the sheet called `name`, else the first that holds anything: `Sheet.others` says what else
    there is to read. The header is the first row from `header_row` on that holds anything. Raises `FileFault`, also while
    rows are read."""
    suffix = path.suffix.lower()
    if suffix not in SUFFIXES:
        raise FileFault(f"不认识的文件类型 {suffix or path.name}。可以用 CSV 和 XLSX")
    with (
        open_csv(path, header_row)
        if suffix in TEXTS
        else open_workbook(path, limits or WorkbookLimits(), name, header_row) as sheet
    ):
        if not sheet.header:
            part = f"：工作表“{sheet.name}”" if sheet.name else "：文件"
            empty = "是空的" if header_row == 1 else f"从第 {header_row} 行起是空的，请核对表头在第几行"
            raise FileFault(f"{path.name}{part}{empty}")
        yield sheet
