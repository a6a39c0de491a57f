"""Sheets that people hand in: CSV (UTF-8 or GB18030) and workbooks (XLSX, XLSM, XLS, ODS) as a header and numbered rows, within
limits; and sheets that are handed out (CSV, XLSX), of which no cell runs.

    with open_sheet(path) as sheet:                    # raises FileFault, also while rows are read
        places = sheet.places()                        # column → place, or under names of one's own
        for row in sheet.rows:
            values = row.values(places)                # a dict, without empty cells; `row.number` is what a spreadsheet shows
"""

from shared.sheets.cells import SHEET_DIGITS, UNCALCULATED, cell_text, code_text, inert, spoilt, without_apostrophe
from shared.sheets.opening import SUFFIXES, open_sheet
from shared.sheets.sheet import FileFault, Sheet, SheetRow, value_of
from shared.sheets.texts import LINE_MAX_CHARS, bytes_read, csv_rows, decoded, encoding_of
from shared.sheets.workbooks import WorkbookLimits
from shared.sheets.writing import CSV_TYPE, XLSX_TYPE, Cell, Page, as_csv, as_xlsx

__all__ = [
    "CSV_TYPE",
    "LINE_MAX_CHARS",
    "SHEET_DIGITS",
    "SUFFIXES",
    "UNCALCULATED",
    "XLSX_TYPE",
    "Cell",
    "FileFault",
    "Page",
    "Sheet",
    "SheetRow",
    "WorkbookLimits",
    "as_csv",
    "as_xlsx",
    "bytes_read",
    "cell_text",
    "code_text",
    "csv_rows",
    "decoded",
    "encoding_of",
    "inert",
    "open_sheet",
    "spoilt",
    "value_of",
    "without_apostrophe",
]
