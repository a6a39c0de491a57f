"""A form's workbook: handed out, filled in, read, and handed back with what is wrong (DESIGN §5.2)."""

import io
import re
import zipfile
from collections.abc import Callable, Mapping
from datetime import date
from pathlib import Path
from typing import Any

import openpyxl
import pytest

from services.reporting.obligations.templates import SheetUnit, template
from services.reporting.obligations.uploads import CELLS_MAX, CellFault, Upload, read, returned
from services.reporting.obligations.values import Facts, check
from shared.contracts.campaign_forms import Form
from shared.sheets import FileFault, as_xlsx
from shared.sheets import Page as SheetPage
from tests.support import forms

OPTIONS = [{"id": "red", "title": "红"}, {"id": "green", "title": "绿"}]
FORM = Form.model_validate(
    forms.form(
        fields=[
            forms.number("viewers", title="个人观看", unit="人数", required=True, max=1000),
            {"id": "day", "title": "日期", "type": "date"},
            {"id": "colour", "title": "颜色", "type": "choice", "options": OPTIONS},
            {"id": "colours", "title": "多种颜色", "type": "choices", "options": OPTIONS},
            {"id": "note", "title": "情况", "type": "text"},
            {"id": "photos", "title": "照片", "type": "pictures"},
            {
                "id": "sites",
                "title": "点位",
                "type": "table",
                "rows": "free",
                "columns": [forms.number("posters", title="海报", unit="份")],
            },
            {
                "id": "villages",
                "title": "各村/社区",
                "type": "table",
                "rows": "villages",
                "columns": [forms.number("told", title="告知")],
            },
        ]
    )
)
PLAIN = Form.model_validate(forms.form(fields=[FORM.fields[0].model_dump(), FORM.fields[4].model_dump()]))
UNITS = [
    SheetUnit("0140", "=五台县", {"villages": {"v1": "东村", "v2": "西村"}}),
    SheetUnit("140902", "忻府区", {"villages": {"v3": "南村"}}),
]
ABOUT = [("期", "2024-06-29"), ("截止", "=7月1日 18:00")]
Fill = Callable[[dict[str, Any]], None]


def handed_out(form: Form = FORM) -> Any:
    return openpyxl.load_workbook(io.BytesIO(template(form, ABOUT, UNITS)))


def upload_of(folder: Path, book: Any, form: Form = FORM, cells_max: int = CELLS_MAX) -> Upload:
    path = folder / "filled-in.xlsx"
    book.save(path)
    return read(path, form, UNITS, cells_max)


def filled_in(folder: Path, cells: Mapping[str, Any], form: Form = FORM) -> Upload:
    """The template with these cells, `填报!C3`, read."""
    book = handed_out(form)
    for at, value in cells.items():
        sheet, _, cell = at.partition("!")
        book[sheet][cell] = value
    return upload_of(folder, book, form)


def told(upload: Upload) -> list[tuple[str, int, int | None, str]]:
    return [(*fault.cell, fault.text) for fault in upload.faults]


# ---- handed out ------------------------------------------------------------------------------------------------------


def test_the_template_has_a_row_per_unit_and_a_sheet_per_table() -> None:
    book = handed_out()
    assert book.sheetnames == ["填报", "点位", "各村 社区", "说明"]
    main = [[cell.value for cell in row] for row in book["填报"].iter_rows()]
    assert main[0] == ["单位代码", "单位名称", "个人观看（人数）", "日期", "颜色", "多种颜色", "情况"]
    assert main[1] == ["示例", "这一行不用删，不会计入", "0", "2024-06-29", "红", "红、绿", "文字"]
    assert [row[:2] for row in main[2:]] == [["0140", "=五台县"], ["140902", "忻府区"]]
    villages = [[cell.value for cell in row] for row in book["各村 社区"].iter_rows(min_row=3)]
    assert [row[:4] for row in villages] == [
        ["0140", "=五台县", "v1", "东村"],
        ["0140", "=五台县", "v2", "西村"],
        ["140902", "忻府区", "v3", "南村"],
    ]
    notes = {row[0].value: row[1].value for row in book["说明"].iter_rows()}
    assert notes["个人观看（人数）"] == "必填；整数，最小 0，最大 1000"
    assert (notes["照片"], notes["多种颜色"]) == (
        "图片和文件不能放在这里：请在填报页面上传",
        "可选多项，用顿号分开：红、绿",
    )


def test_nothing_in_a_workbook_runs(tmp_path: Path) -> None:
    upload = filled_in(tmp_path, {"填报!C3": "x", "填报!G3": "'=1+1", "填报!G4": "http://example.org/"})
    for content in (template(FORM, ABOUT, UNITS), returned(upload, [])):
        with zipfile.ZipFile(io.BytesIO(content)) as parts:
            sheets = [parts.read(name) for name in parts.namelist() if name.startswith("xl/worksheets/sheet")]
        assert sheets
        assert not any(re.search(rb"<f[ >]|<hyperlink", sheet) for sheet in sheets)


def test_titles_that_are_no_names_of_sheets_or_come_twice_are_made_such() -> None:
    titles = ["History", "填报", "说明", "[a]:*?/\\b", "A" * 100, "a" * 100, "'"]
    column = forms.number("posters", title="单位代码", unit="份")
    twin = forms.number("posters_2", title="单位代码", unit="份")
    plain = [{"id": "code", "title": "单位代码", "type": "text"}, {"id": "code_2", "title": "错误原因", "type": "text"}]
    tables = [
        {"id": f"t{number}", "title": title, "type": "table", "rows": "free", "columns": [column, twin]}
        for number, title in enumerate(titles)
    ]
    book = openpyxl.load_workbook(
        io.BytesIO(template(Form.model_validate(forms.form(fields=plain + tables)), [], UNITS))
    )
    assert book.sheetnames[:5] == ["填报", "History 2", "填报 2", "说明 2", "a      b"]
    assert book.sheetnames[5:] == ["A" * 27, f"{'a' * 27} 2", "t6", "说明"]
    assert [cell.value for cell in book["填报"][1]][2:] == ["单位代码 code", "错误原因 code_2"]
    assert [cell.value for cell in book["t6"][1]][2:] == ["单位代码（份）", "单位代码（份） posters_2"]


# ---- read ------------------------------------------------------------------------------------------------------------


def test_what_is_filled_in_is_what_check_takes(tmp_path: Path) -> None:
    upload = filled_in(
        tmp_path,
        {
            "填报!C3": 12,
            "填报!D3": date(2024, 6, 29),
            "填报!E3": "绿",
            "填报!F3": "绿, 红",
            "填报!G3": 2024,
            "点位!C3": "0",
            "点位!A5": "0140",
            "点位!C5": 3,
            "各村 社区!E3": 0,
            "各村 社区!E4": 5,
        },
    )
    assert upload.faults == []
    [report] = upload.reports  # the other unit's row is empty
    assert (report.unit_code, report.row) == ("0140", 3)
    facts = Facts(rows=UNITS[0].rows)
    assert check(FORM, report.given, facts).faults == []
    assert check(FORM, report.given, facts).values == {
        "viewers": 12,
        "day": "2024-06-29",
        "colour": "green",
        "colours": ["red", "green"],
        "note": "2024",
        "sites": [{"posters": 0}, {"posters": 3}],
        "villages": [{"key": "v1", "told": 0}, {"key": "v2", "told": 5}],
    }


def test_a_fault_of_check_stands_in_its_cell(tmp_path: Path) -> None:
    upload = filled_in(tmp_path, {"填报!C3": "12人", "点位!A5": "0140", "点位!C5": True, "各村 社区!E4": -1})
    [report] = upload.reports
    faults = check(FORM, report.given, Facts(rows=UNITS[0].rows)).faults
    cells = {at: tuple(upload.cell(report, at)) for at, _ in faults}
    assert cells == {
        "viewers": ("填报", 3, 2),
        "sites[0].posters": ("点位", 5, 2),
        "villages[1].told": ("各村 社区", 4, 4),
    }
    assert tuple(upload.cell(report, "villages")) == ("各村 社区", 3, None)
    assert tuple(upload.cell(report, "villages[1].key")) == ("各村 社区", 4, 2)
    assert [tuple(upload.cell(report, at)) for at in ("photos", "x[1].y", "\n")] == [("填报", 3, None)] * 3


def test_rows_that_nobody_can_place_are_told(tmp_path: Path) -> None:
    cells = {
        "填报!B3": "定襄县",
        "填报!A5": 140902,
        "填报!C5": 1,
        "填报!A6": "999",
        "填报!C6": 1,
        "填报!C7": 1,
        "填报!C4": "=1+1",
        "点位!C3": 1,
    }
    assert told(filled_in(tmp_path, cells)) == [
        ("填报", 3, 1, "代码 0140 是=五台县，与名称不一致；请核对是否排错了行"),
        ("填报", 4, 2, "公式还没有结果；请直接填写，或在表格软件里打开、保存后再传"),
        ("填报", 5, 0, "140902 重复，第 4 行已有；请只留一行"),
        ("填报", 6, 0, "没有 999 这个单位，或不归您填报；请用模板里的代码"),
        ("填报", 7, 0, "没有写单位代码；请照模板填写"),
        ("点位", 3, 0, "“填报”里没有 0140 这一行；请在那里加上"),
    ]


def test_merged_cells_are_told(tmp_path: Path) -> None:
    book = handed_out()
    book["填报"]["C3"] = 7
    book["填报"].merge_cells("C3:C4")
    assert told(upload_of(tmp_path, book)) == [("填报", 3, 2, "有合并的单元格，只有第一格有值；请取消合并，逐格填写")]


def without_heading(book: Any) -> None:
    book["填报"]["C1"] = "观看"


def another_heading(book: Any) -> None:
    book["填报"]["H1"] = "备注"


def without_sheet(book: Any) -> None:
    del book["点位"]


def many_rows(book: Any) -> None:
    for _ in range(20):
        book["点位"].append(["0140", "", 1])


@pytest.mark.parametrize(
    ("change", "text"),
    [
        (without_heading, "工作表“填报”少了这些栏：个人观看（人数）。请用下载的模板填写，不要改表头"),
        (another_heading, "工作表“填报”多了这些栏：备注。没有地方收它们，请删除后再传"),
        (without_sheet, "没有名为“点位”的工作表"),
        (many_rows, "文件超过 60 格。请删掉下面多余的行"),
    ],
)
def test_a_file_that_is_not_the_template_is_refused_as_a_whole(tmp_path: Path, change: Fill, text: str) -> None:
    book = handed_out()
    change(book)
    with pytest.raises(FileFault, match=text):
        upload_of(tmp_path, book, cells_max=60)


@pytest.mark.parametrize("encoding", ["utf-8-sig", "gb18030"])
def test_a_form_without_tables_may_come_as_csv(tmp_path: Path, encoding: str) -> None:
    (tmp_path / "a.csv").write_bytes("单位代码,单位名称,个人观看（人数）,情况\n0140,,１２,好\n".encode(encoding))
    upload = read(tmp_path / "a.csv", PLAIN, UNITS)
    assert [(report.unit_code, report.given) for report in upload.reports] == [
        ("0140", {"viewers": "１２", "note": "好"})
    ]
    with pytest.raises(FileFault, match="这张表还有“点位”，CSV 文件放不下"):
        read(tmp_path / "a.csv", FORM, UNITS)


@pytest.mark.parametrize("name", ["a.xlsx", "../x.pdf"])
def test_what_is_no_sheet_is_refused(tmp_path: Path, name: str) -> None:
    path = tmp_path / name.rpartition("/")[2]
    path.write_bytes(b"PK\x03\x04 nothing")
    with pytest.raises(FileFault):
        read(path, PLAIN, UNITS)


def test_a_file_that_unpacks_to_more_than_fifty_mebibytes_is_refused(tmp_path: Path) -> None:
    with zipfile.ZipFile(tmp_path / "a.xlsx", "w", zipfile.ZIP_DEFLATED) as packed:
        packed.writestr("xl/worksheets/sheet1.xml", b"0" * (50 * 1024**2 + 1))
    with pytest.raises(FileFault, match="解压后超过 50 MiB"):
        read(tmp_path / "a.xlsx", PLAIN, UNITS)


# ---- handed back -----------------------------------------------------------------------------------------------------


def test_a_refused_file_comes_back_marked_and_can_be_handed_in_again(tmp_path: Path) -> None:
    upload = filled_in(tmp_path, {"填报!C3": "12人", "填报!D3": date(2024, 6, 29), "填报!G3": "=a", "填报!C4": 7})
    report = upload.reports[0]
    faults = [
        *upload.faults,
        CellFault(upload.cell(report, "viewers"), "只写半角数字"),
        CellFault(upload.cell(report, "note"), "请缩短"),
        CellFault(upload.cell(report, "photos"), "还没有填"),
    ]
    book = openpyxl.load_workbook(io.BytesIO(returned(upload, faults)))
    main = book["填报"]
    assert main["H1"].value == "错误原因"
    assert main["H3"].value == (
        "情况：公式还没有结果；请直接填写，或在表格软件里打开、保存后再传\n"
        "个人观看（人数）：只写半角数字\n情况：请缩短\n还没有填"
    )
    assert main["H4"].value is None
    marked = [cell.coordinate for row in main.iter_rows(min_row=2) for cell in row if cell.fill.fill_type]
    assert marked == ["A3", "C3", "G3", "H3"]
    assert (main["C3"].value, main["C4"].value, main["D3"].value.date()) == ("12人", 7, date(2024, 6, 29))
    main["C3"], main["G3"] = 12, "好"
    again = upload_of(tmp_path, book)
    assert again.faults == []
    assert [report.given["viewers"] for report in again.reports] == [12, 7]


def test_a_returned_file_is_no_wider_each_time(tmp_path: Path) -> None:
    header = ["错误原因", "单位代码", "单位名称", "个人观看（人数）", "情况"]
    (tmp_path / "a.xlsx").write_bytes(as_xlsx(SheetPage("填报", header, [["旧", "0140", "", "x", ""]])))
    upload = read(tmp_path / "a.xlsx", PLAIN, UNITS)
    book = openpyxl.load_workbook(
        io.BytesIO(returned(upload, [CellFault(upload.cell(upload.reports[0], "viewers"), "新")]))
    )
    rows = [[cell.value for cell in row] for row in book["填报"].iter_rows()]
    assert rows == [[*header[1:], "错误原因"], ["0140", None, "x", None, "个人观看（人数）：新"]]
