"""Sheets as whoever reads an upload sees them, whatever its columns are called. Limits and damage: test_import_file.py."""

import io
from datetime import datetime
from pathlib import Path
from typing import Any

import openpyxl
import pytest

from shared.service.sheets import kind_asked
from shared.sheets import (
    CSV_TYPE,
    XLSX_TYPE,
    FileFault,
    Page,
    as_csv,
    as_xlsx,
    decoded,
    inert,
    open_sheet,
    without_apostrophe,
)

HEADER = ("单位", "人数", "", "单位")


def rows(path: Path, columns: dict[str, str] | None = None) -> list[tuple[int, dict[str, Any]]]:
    with open_sheet(path) as sheet:
        places = sheet.places(columns)
        return [(row.number, row.values(places)) for row in sheet.rows]


def workbook(path: Path) -> Path:
    book = openpyxl.Workbook()
    sheet = book.active
    assert sheet is not None
    for cells in (HEADER, (" 五台县 ", 12, "x", "第二个"), (), ("'=A1", datetime(2024, 6, 29, 19, 31))):
        sheet.append(cells)
    book.save(path)
    return path


def test_rows_are_dicts_with_the_numbers_that_a_spreadsheet_shows(tmp_path: Path) -> None:
    (tmp_path / "a.csv").write_text(f"{','.join(HEADER)}\n 五台县 ,12,x,第二个\n\n'=A1,,,\n", encoding="gb18030")
    assert rows(tmp_path / "a.csv") == [(2, {"单位": "五台县", "人数": "12"}), (4, {"单位": "=A1"})]
    assert rows(tmp_path / "a.csv", {"unit": "单位"}) == [(2, {"unit": "五台县"}), (4, {"unit": "=A1"})]


def test_a_workbook_reads_alike_and_keeps_its_kinds_of_cells(tmp_path: Path) -> None:
    expected = [(2, {"单位": "五台县", "人数": 12}), (4, {"单位": "=A1", "人数": datetime(2024, 6, 29, 19, 31)})]
    assert rows(workbook(tmp_path / "a.xlsx")) == expected


def test_another_kind_of_file_is_refused(tmp_path: Path) -> None:
    (tmp_path / "a.pdf").write_bytes(b"%PDF")
    with pytest.raises(FileFault, match=r"\.pdf"):
        rows(tmp_path / "a.pdf")


def test_what_is_in_memory_is_decoded_alike() -> None:
    texts = [decoded("单位".encode(encoding)) for encoding in ("utf-8", "utf-8-sig", "gb18030")]
    assert texts == ["单位"] * 3
    assert decoded(b"\xff\xff") is None


@pytest.mark.parametrize("cell", ["=1+1", "+8613800000000", "-1", "@a", "\t=1"])
def test_what_a_spreadsheet_would_run_is_made_inert_and_comes_back(cell: str) -> None:
    assert inert(cell) == "'" + cell
    assert without_apostrophe(inert(cell)) == cell


@pytest.mark.parametrize("cell", ["ks_1", "'quoted'", "", "O'Neil"])
def test_other_cells_stay_as_they_are(cell: str) -> None:
    assert inert(cell) == cell == without_apostrophe(cell)


DANGEROUS = ["=1+1", "+1", "-1", "@SUM(A1)", "\t=1", "http://example.org/", "mailto:a@example.org", "0137"]


def test_what_is_handed_out_is_text_and_numbers_and_nothing_that_runs(tmp_path: Path) -> None:
    page = Page("汇总", ["代码", "人数"], [[text, number] for number, text in enumerate(DANGEROUS)])
    sheet = openpyxl.load_workbook(io.BytesIO(as_xlsx(page)))["汇总"]
    assert [(row[0].value, row[0].data_type, row[0].hyperlink) for row in sheet.iter_rows(min_row=2)] == [
        (text, "s", None) for text in DANGEROUS
    ]
    assert [row[1].value for row in sheet.iter_rows(min_row=2)] == [*range(len(DANGEROUS))]
    path = tmp_path / "handed-out.csv"
    path.write_bytes(as_csv(page))
    assert [cells["代码"] for _, cells in rows(path)] == DANGEROUS
    starts = [line[0] for line in path.read_text(encoding="utf-8-sig").splitlines()[1:]]
    assert starts == ["'"] * 5 + ["h", "m", "0"]


@pytest.mark.parametrize(
    ("accept", "kind"),
    [
        ("", None),
        ("*/*", None),
        ("text/html,application/xhtml+xml,application/xml;q=0.9,*/*;q=0.8", None),
        ("application/json, text/csv", None),
        ("text/csv", CSV_TYPE),
        ("TEXT/CSV; charset=utf-8", CSV_TYPE),
        ("application/json;q=0.5, text/csv", CSV_TYPE),
        (f"text/csv; q=0.1, {XLSX_TYPE}", XLSX_TYPE),
        ("text/csv;q=0", None),
        ("text/csv;q=x", CSV_TYPE),
    ],
)
def test_a_sheet_is_for_those_who_ask_for_one(accept: str, kind: str | None) -> None:
    assert kind_asked(accept) == kind
