"""Sheets that are handed out. Text is text: no program runs it, follows it as a link or reads it as a number."""

import csv
import io
from collections.abc import Sequence
from typing import NamedTuple

import xlsxwriter  # type: ignore[import-untyped]

from shared.sheets.cells import inert

CSV_TYPE = "text/csv"
XLSX_TYPE = "application/vnd.openxmlformats-officedocument.spreadsheetml.sheet"

Cell = str | int | float | None  # None is an empty cell: not known, which is not 0

_TEXT_ONLY = {"strings_to_formulas": False, "strings_to_urls": False, "strings_to_numbers": False}
_WIDTH_MAX = 40  # in characters; a Chinese one counts twice


class Page(NamedTuple):
    """One table of a workbook."""

    title: str
    header: Sequence[str]
    rows: Sequence[Sequence[Cell]]


def as_csv(page: Page) -> bytes:
    """UTF-8 with a byte order mark, without which Excel reads Chinese as something else; lines end as RFC 4180 says."""
    text = io.StringIO(newline="")
    writer = csv.writer(text)
    for cells in (page.header, *page.rows):
        writer.writerow([inert(cell) if isinstance(cell, str) else cell for cell in cells])
    return text.getvalue().encode("utf-8-sig")


def as_xlsx(*pages: Page) -> bytes:
    content = io.BytesIO()
    with xlsxwriter.Workbook(content, {"in_memory": True, **_TEXT_ONLY}) as book:
        bold = book.add_format({"bold": True})
        for page in pages:
            sheet = book.add_worksheet(page.title)
            sheet.write_row(0, 0, page.header, bold)
            for number, cells in enumerate(page.rows, start=1):
                sheet.write_row(number, 0, cells)
            sheet.freeze_panes(1, 0)
            for column, width in enumerate(_widths(page)):
                sheet.set_column(column, column, width)
    return content.getvalue()


def _widths(page: Page) -> list[int]:
    columns = zip(*((str(cell or "") for cell in cells) for cells in (page.header, *page.rows)), strict=True)
    return [min(_WIDTH_MAX, 2 + max(map(_width, column))) for column in columns]


def _width(text: str) -> int:
    return sum(1 if ord(character) < 0x1100 else 2 for character in text)
