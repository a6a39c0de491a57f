"""Sheets that people hand in: CSV (UTF-8 or GB18030) and workbooks (XLSX, XLSM, XLS, ODS) as a header and numbered rows, within
limits; and the guard that keeps spreadsheets from running cells that we hand out.

    with open_sheet(path) as sheet:                    # raises FileFault, also while rows are read
        places = sheet.places()                        # column → place, or under names of one's own
        for row in sheet.rows:
            values = row.values(places)                # a dict, without empty cells; `row.number` is what a spreadsheet shows
"""

from shared.sheets.cells import inert, without_apostrophe
from shared.sheets.opening import SUFFIXES, open_sheet
from shared.sheets.sheet import FileFault, Sheet, SheetRow, value_of
from shared.sheets.texts import LINE_MAX_CHARS, bytes_read, decoded, encoding_of
from shared.sheets.workbooks import WorkbookLimits

__all__ = [
    "LINE_MAX_CHARS",
    "SUFFIXES",
    "FileFault",
    "Sheet",
    "SheetRow",
    "WorkbookLimits",
    "bytes_read",
    "decoded",
    "encoding_of",
    "inert",
    "open_sheet",
    "value_of",
    "without_apostrophe",
]
