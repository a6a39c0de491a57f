"""Export files as they come: encodings, column names, Excel's cells."""

import json
import resource
import zipfile
from contextlib import nullcontext
from datetime import date, datetime, time, timedelta
from pathlib import Path
from typing import Any

import openpyxl
import pytest

from cli.import_events import with_day
from cli.import_file import open_table
from shared.sheets import FileFault, WorkbookLimits

ROWS = "观看账号,签到时间,单位代码\nks_1,2024/6/29 19:31,140902\nks_2,2024/6/29 19:32,\n"


def read(path: Path, told: dict[str, str] | None = None, limits: WorkbookLimits | None = None) -> list[dict[str, Any]]:
    with open_table(path, told or {}, limits) as table:
        return [row.fields for row in table.rows]


def write(folder: Path, name: str, content: str, encoding: str = "utf-8") -> Path:
    path = folder / name
    path.write_bytes(content.encode(encoding))
    return path


@pytest.mark.parametrize("encoding", ["utf-8", "utf-8-sig", "gb18030"])
def test_reads_csv_in_every_encoding(tmp_path: Path, encoding: str) -> None:
    assert read(write(tmp_path, "a.csv", ROWS, encoding)) == [
        {"viewer_id": "ks_1", "occurred_at": "2024/6/29 19:31", "unit_code": "140902"},
        {"viewer_id": "ks_2", "occurred_at": "2024/6/29 19:32"},
    ]


def test_one_gb18030_character_far_into_the_file_is_enough_to_tell_the_encoding(tmp_path: Path) -> None:
    content = "uid,时间,姓名\n" + "ks_1,2024/6/29 19:31,a\n" * 100_000 + "ks_1,2024/6/29 19:31,𠮷䶮\n"
    assert read(write(tmp_path, "a.csv", content, "gb18030"))[-1]["name"] == "𠮷䶮"


def test_a_file_in_no_known_encoding_is_named(tmp_path: Path) -> None:
    (tmp_path / "a.csv").write_bytes(b"a,b\n\xff\xff\xff")
    with pytest.raises(FileFault, match="GB18030"):
        read(tmp_path / "a.csv")


@pytest.mark.parametrize(("encoding", "other"), [("utf-8", "gb18030"), ("utf-8-sig", "gb18030"), ("gb18030", "utf-8")])
@pytest.mark.parametrize("ending", ["\n", "\r\n", "\r"])
def test_a_line_in_another_encoding_than_the_file_is_named(
    tmp_path: Path, encoding: str, other: str, ending: str
) -> None:
    lines = ["账号,时间,姓名", *(f"ks_{n},2024/6/29 19:31,张三" for n in range(20))]
    rows = [
        (line + ending).encode(encoding if n == 0 else encoding.removesuffix("-sig")) for n, line in enumerate(lines)
    ]
    rows[13] = f"ks_13,2024/6/29 19:31,李四{ending}".encode(other)
    (tmp_path / "a.csv").write_bytes(b"".join(rows))
    with pytest.raises(FileFault, match="只有第 14 行"):
        read(tmp_path / "a.csv")


def test_a_mark_at_the_start_says_the_encoding_whatever_most_lines_are(tmp_path: Path) -> None:
    (tmp_path / "a.csv").write_bytes(b"\xef\xbb\xbfuid,occurred_at,name\n" + "a,b,李四\na,b,李四\n".encode("gb18030"))
    with pytest.raises(FileFault, match="第 2 行"):
        read(tmp_path / "a.csv")


def test_names_that_are_utf_8_by_chance_do_not_spoil_a_gb18030_file(tmp_path: Path) -> None:
    """The bytes of the first name are two letters of UTF-8, those of the second two Chinese characters."""
    assert ["撸撸".encode("gb18030").decode(), "浣夸僵".encode("gb18030").decode()] == ["ߣߣ", "使佩"]
    lines = ["账号,时间,姓名", *("ks_1,2024/6/29 19:31,张三" for _ in range(5))]
    for name in ("撸撸", "浣夸僵"):
        lines.append(f"ks_2,2024/6/29 19:31,{name}")
    assert read(write(tmp_path, "a.csv", "\n".join(lines), "gb18030"))[-1]["name"] == "浣夸僵"


@pytest.mark.parametrize(
    ("rows", "line"),
    [
        ('ks_2,2024/6/29 19:32,"大山\nks_3,2024/6/29 19:33,a\nks_4,2024/6/29 19:34,b\n', 3),
        ('ks_2,2024/6/29 19:32,"大山\nks_3,2024/6/29 19:33,"大海"\n', 3),
        ('ks_2,2024/6/29 19:32,"大山\nks_3,2024/6/29 19:33,大海"\n', 3),
        ('"ks_2,2024/6/29 19:32,大山\nks_3,2024/6/29 19:33,a\n', 3),
        ('ks_2,2024/6/29 19:32,"大"山"\nks_3,2024/6/29 19:33,a\n', 3),
        ("ks_2,2024/6/29 19:32,a\n\0\0\0\0", 4),
    ],
)
def test_where_quotes_or_bytes_are_wrong_the_line_is_named_and_no_row_vanishes(
    tmp_path: Path, rows: str, line: int
) -> None:
    path = write(tmp_path, "a.csv", "账号,时间,姓名\nks_1,2024/6/29 19:31,甲\n" + rows)
    with pytest.raises(FileFault, match=f"第 {line} 行"):
        read(path)


def test_a_quoted_cell_may_span_lines_and_empty_lines_end_nothing(tmp_path: Path) -> None:
    content = '\n账号,时间,姓名\n\nks_1,2024/6/29 19:31,"大,\n山"\n,,\n\nks_2,2024/6/29 19:32,"a""b"\n'
    assert [row["name"] for row in read(write(tmp_path, "a.csv", content))] == ["大,\n山", 'a"b']


def test_a_row_with_more_cells_than_columns_is_refused_whole(tmp_path: Path) -> None:
    content = "账号,时间,姓名\nks_1,2024/6/29 19:31,大,山\nks_2,2024/6/29 19:31,乙,,\n"
    with open_table(write(tmp_path, "a.csv", content), {}) as table:
        assert [(row.number, row.fault) for row in table.rows] == [
            (2, "这一行有 4 格，表头只有 3 列：多半是某一格里的分隔符没有放在引号里"),
            (3, None),
        ]


@pytest.mark.parametrize("above", ["sep={}\n", '"sep={}"\r\n', "SEP={}\n\n"])
@pytest.mark.parametrize("delimiter", [",", ";", "\t", "|"])
def test_a_first_line_for_spreadsheets_says_the_delimiter(tmp_path: Path, above: str, delimiter: str) -> None:
    content = above.format(delimiter) + "账号,时间,姓名;\nks_1,2024/6/29 19:31,a\n".replace(",", delimiter)
    with open_table(write(tmp_path, "a.csv", content), {}) as table:
        assert [(row.number, row.fields["viewer_id"]) for row in table.rows] == [(content.count("\n"), "ks_1")]


@pytest.mark.parametrize("delimiter", [",", ";"])
@pytest.mark.parametrize("name", ["a.csv", "a.xlsx"])
def test_a_title_above_the_header_is_told_with_what_to_type(tmp_path: Path, name: str, delimiter: str) -> None:
    lines = [["6月29日签到明细"], ["导出时间 2024/6/30"], ["账号", "时间"], ["ks_1", "2024/6/29 19:31"]]
    if name == "a.csv":
        write(tmp_path, name, "\n".join(delimiter.join(cells) for cells in lines))
    else:
        workbook = openpyxl.Workbook()
        for cells in lines:
            workbook.active.append(cells)
        workbook.save(tmp_path / name)
    with pytest.raises(FileFault, match="--header-row 3"):
        read(tmp_path / name)
    with open_table(tmp_path / name, {}, header_row=3) as table:
        assert [(row.number, row.fields["viewer_id"]) for row in table.rows] == [(4, "ks_1")]


@pytest.mark.parametrize("name", ["a.csv", "a.ndjson"])
def test_day_and_time_may_be_two_columns(tmp_path: Path, name: str) -> None:
    csv, line = "账号,日期,时间\na,2024/6/29,19:31\n", '{"账号": "a", "日期": "2024/6/29", "时间": "19:31"}\n'
    path = write(tmp_path, name, csv if name == "a.csv" else line)
    assert read(path, {"occurred_at": "日期+时间"}) == [
        {"viewer_id": "a", "occurred_on": "2024/6/29", "occurred_at": "19:31"}
    ]


def table_of(folder: Path, name: str, header: str, *rows: list[Any]) -> Path:
    """A file of that kind with these rows."""
    path, columns = folder / name, header.split(",")
    if path.suffix == ".xlsx":
        workbook = openpyxl.Workbook()
        for cells in (columns, *rows):
            workbook.active.append(cells)
        workbook.save(path)
        return path
    lines = [",".join(map(str, cells)) for cells in (columns, *rows)]
    if path.suffix == ".ndjson":
        lines = [json.dumps(dict(zip(columns, map(str, cells), strict=True)), ensure_ascii=False) for cells in rows]
    return write(folder, name, "\n".join(lines))


@pytest.mark.parametrize("name", ["a.csv", "a.xlsx", "a.ndjson"])
@pytest.mark.parametrize(
    "header",
    ["用户ID,日期,时间", "用户ID,签到日期,签到时间", "用户ID,日期,签到时间", "用户ID,观看 日期,观看时间（必填）"],
)
def test_a_column_of_times_of_day_is_joined_with_that_of_its_days(tmp_path: Path, name: str, header: str) -> None:
    rows = ["ks_1", date(2024, 6, 29), time(19, 31)], ["ks_2", date(2024, 6, 30), time(19, 32)]
    with open_table(table_of(tmp_path, name, header, *rows), {}) as table:
        days = [with_day(row.fields)["occurred_at"] for row in table.rows]
        assert table.columns["occurred_on"] == header.split(",")[1]
        assert not table.unused
    assert [str(day) for day in days] == ["2024-06-29 19:31:00", "2024-06-30 19:32:00"]


@pytest.mark.parametrize("name", ["a.csv", "a.xlsx", "a.ndjson"])
@pytest.mark.parametrize(
    ("header", "hint"),
    [
        ("用户ID,签到日期,签到时刻", "--map occurred_at=签到日期+签到时刻 指明"),
        ("用户ID,Date,Time", "--map occurred_at=Date+Time 指明"),
        ("用户ID,开课日期,签到时间", "“签到时间”一列只有钟点，没有日期.*--map occurred_at=开课日期+签到时间 "),
        ("用户ID,开课 日期,签到时间", "--map 'occurred_at=开课 日期\\+签到时间' "),
        ("用户ID,备注,签到时间", "只有钟点.*--map occurred_at=日期列名+签到时间 合成.*请补上一列"),
    ],
)
def test_where_it_is_not_beyond_doubt_what_to_type_is_told(tmp_path: Path, name: str, header: str, hint: str) -> None:
    path = table_of(tmp_path, name, header, ["ks_1", date(2024, 6, 29), time(19, 31)])
    with pytest.raises(
        FileFault, match=hint.replace("日期+", "日期\\+").replace("Date+", "Date\\+").replace("名+", "名\\+")
    ):
        read(path)


@pytest.mark.parametrize("name", ["a.csv", "a.xlsx", "a.ndjson"])
def test_whole_times_stay_alone_beside_a_column_of_days(tmp_path: Path, name: str) -> None:
    path = table_of(
        tmp_path, name, "用户ID,签到日期,签到时间", ["ks_1", date(2024, 6, 29), datetime(2024, 6, 29, 19, 31)]
    )
    with open_table(path, {}) as table:
        assert "occurred_on" not in table.columns
        assert [str(row.fields["occurred_at"]) for row in table.rows] == ["2024-06-29 19:31:00"]


@pytest.mark.parametrize("delimiter", [",", ";", "\t"])
def test_delimiters(tmp_path: Path, delimiter: str) -> None:
    assert len(read(write(tmp_path, "a.csv", ROWS.replace(",", delimiter)))) == 2


def test_columns_are_recognised_whatever_their_dress(tmp_path: Path) -> None:
    content = "* 用户 ID（必填）, 签到时间：,备注\nks_1,2024/6/29 19:31,x\n"
    assert read(write(tmp_path, "a.csv", content)) == [{"viewer_id": "ks_1", "occurred_at": "2024/6/29 19:31"}]


def test_told_columns_go_before_recognised_ones(tmp_path: Path) -> None:
    path = write(tmp_path, "a.csv", "账号,昵称,时间\nks_1,x_9,2024/6/29 19:31\n")
    assert read(path, {"viewer_id": "昵称"})[0]["viewer_id"] == "x_9"


@pytest.mark.parametrize(
    ("header", "told", "column"),
    [
        ("用户（昵称）,用户（ID）,签到时间", {"viewer_id": "用户（ID）"}, "用户（ID）"),
        ("用户（昵称）,用户（ID）,签到时间", {"viewer_id": "用户(ID)"}, "用户（ID）"),
        ("用户（昵称）,用户（ID）,签到时间", {}, "用户（ID）"),
        ("账号（昵称）,账号（必填）,签到时间（yyyy-mm-dd）", {}, "账号（必填）"),
        ("账号,UID,时间", {"viewer_id": "UID"}, "UID"),
    ],
)
def test_a_column_is_taken_by_its_whole_name(tmp_path: Path, header: str, told: dict[str, str], column: str) -> None:
    with open_table(write(tmp_path, "a.csv", f"{header}\na,b,c\n"), told) as table:
        assert table.columns["viewer_id"] == column
        assert list(table.unused) == [name for name in header.split(",")[:2] if name != column]


@pytest.mark.parametrize(
    ("header", "told", "says"),
    [
        ("账号（昵称）,时间", {}, "认不出必需的列：viewer_id"),
        ("账号,UID,时间", {}, r"都像 viewer_id：“账号”、“UID”.*--map viewer_id=列名"),
        ("账号,报名时间,签到时间", {}, "都像 occurred_at"),
        ("账号,时间,手机号,手机号", {}, "都像 phone"),
        ("账号,时间,手机号,手机号", {"phone": "手机号"}, "可以指几列"),
        ("账号,时间,手 机,手_机", {"phone": "手机"}, "可以指几列：“手 机”、“手_机”"),
        ("账号,时间（EST）", {"occurred_at": "时间（EST）"}, "EST 是哪个时区"),
        ("账号,签到时间（美东时间）", {"occurred_at": "签到时间（美东时间）"}, "美东时间 是哪个时区"),
    ],
)
def test_where_two_columns_could_be_meant_or_none_it_asks(
    tmp_path: Path, header: str, told: dict[str, str], says: str
) -> None:
    with pytest.raises(FileFault, match=says):
        read(write(tmp_path, "a.csv", f"{header}\na,b,c,d\n"), told)


@pytest.mark.parametrize(
    ("column", "offset_h"),
    [
        ("签到时间", None),
        ("签到时间（UTC）", 0),
        ("签到时间(GMT)", 0),
        ("签到时间（UTC+8）", 8),
        ("签到时间（UTC-05:00）", -5),
        ("签到时间（北京时间）", 8),
    ],
)
@pytest.mark.parametrize("name", ["a.csv", "a.ndjson"])
def test_a_zone_in_the_name_of_the_column_is_the_zone_of_its_times(
    tmp_path: Path, name: str, column: str, offset_h: int | None
) -> None:
    csv, line = f"账号,{column}\nks_1,2024/6/29 11:31\n", f'{{"账号": "ks_1", "{column}": "2024/6/29 11:31"}}\n'
    with open_table(write(tmp_path, name, csv if name == "a.csv" else line), {}) as table:
        offset = table.zone and table.zone.utcoffset(datetime(2024, 6, 29))
    assert offset == (None if offset_h is None else timedelta(hours=offset_h))


def test_an_object_that_names_the_account_twice_is_refused(tmp_path: Path) -> None:
    content = (
        '{"账号": "a", "时间": "t"}\n{"账号": "a", "UID": "b", "时间": "t"}\n{"账号": "", "UID": "b", "时间": "t"}\n'
    )
    with open_table(write(tmp_path, "a.ndjson", content), {}) as table:
        assert [row.fault for row in table.rows] == [None, "有几个字段都像 viewer_id", None]


@pytest.mark.parametrize(
    ("content", "told", "says"),
    [
        ("昵称,时间\na,b\n", {}, r"viewer_id.*“昵称”、“时间”.*--map viewer_id=列名"),
        ("账号,时间\na,b\n", {"name": "大名"}, r"没有“大名”这一列"),
        ("账号,时间\na,b\n", {"nme": "账号"}, r"nme 不是字段名"),
        ("", {}, r"a\.csv：文件是空的"),
        ("\ufeff", {}, r"a\.csv：文件是空的"),
        ("\r\n , ,\n", {}, r"a\.csv：文件是空的"),
        ("账号|时间\na|b\n", {}, r"只成了一列.*逗号、分号"),
        ('账号,时间\n"a,b\n' + "x" * 200_000, {}, r"引号"),
    ],
)
def test_faults_say_what_to_do(tmp_path: Path, content: str, told: dict[str, str], says: str) -> None:
    with pytest.raises(FileFault, match=says):
        read(write(tmp_path, "a.csv", content), told)


@pytest.mark.parametrize("name", ["a.pdf", "a"])
def test_other_kinds_of_file_are_refused(tmp_path: Path, name: str) -> None:
    with pytest.raises(FileFault, match="CSV"):
        read(write(tmp_path, name, ROWS))


def test_ndjson_reads_every_object_by_the_same_names(tmp_path: Path) -> None:
    content = (
        '{"viewer_id": "ks_1", "occurred_at": "2024-06-29T19:31:05+08:00"}\n\n'
        'not json\n[1]\n{"账号": 8812, "时间": "2024/6/29 19:31", "姓名": "张三", "more": {}}\n"\\ud800"\n'
    )
    with open_table(write(tmp_path, "a.ndjson", content), {}) as table:
        rows = list(table.rows)
    assert [(row.number, row.fault is None) for row in rows] == [
        (1, True),
        (3, False),
        (4, False),
        (5, True),
        (6, False),
    ]
    assert rows[3].fields == {"viewer_id": 8812, "occurred_at": "2024/6/29 19:31", "name": "张三"}


@pytest.mark.parametrize(
    ("name", "content", "encoding", "says"),
    [
        ("a.csv", ROWS, "utf-16", "UTF-16"),
        ("a.ndjson", '[{"账号": "ks_1", "时间": "2024/6/29 19:31"}]', "utf-8", "每行一个对象"),
        ("a.csv", "", "utf-8", "文件是空的"),
        ("a.ndjson", "", "utf-8", "文件是空的"),
        ("a.csv", "账号，时间\nks_1，2024/6/29 19:31\n", "utf-8", "全角逗号"),
    ],
)
def test_what_is_another_kind_of_file_is_told(
    tmp_path: Path, name: str, content: str, encoding: str, says: str
) -> None:
    with pytest.raises(FileFault, match=says):
        read(write(tmp_path, name, content, encoding))


@pytest.mark.parametrize(
    ("merged", "says"),
    [
        ("C4:C5", "“单位”一列有合并的单元格（第 4 到 5 行）"),
        ("A3:A6", "“账号”"),
        ("D4:D5", ""),
        ("A1:C1", ""),
        ("C4:D4", ""),
        ("B4:C4", "“单位”"),
    ],
)
def test_rows_below_a_merged_cell_are_not_taken_for_empty(tmp_path: Path, merged: str, says: str) -> None:
    workbook = openpyxl.Workbook()
    sheet = workbook.active
    assert sheet is not None
    sheet.append(["名单"])
    sheet.append(["账号", "时间", "单位", "备注"])
    for number in range(4):
        sheet.append([f"ks_{number}", "2024/6/29 19:31", "111", "x"])
    sheet.merge_cells(merged)
    workbook.save(tmp_path / "a.xlsx")
    outcome = pytest.raises(FileFault, match=says) if says else nullcontext()
    with outcome, open_table(tmp_path / "a.xlsx", {}, header_row=2) as table:
        assert len([row for row in table.rows if "viewer_id" in row.fields]) == 4


def test_ndjson_names_the_keys_that_belong_to_no_field(tmp_path: Path) -> None:
    content = (
        '{"viewer_id": "ks_1", "时间": "2024/6/29 19:31", "昵称": "x"}\n'
        '{"viewer_id": "ks_2", "时间": "2024/6/29 19:31", "单位号": "111"}\n'
    )
    with open_table(write(tmp_path, "a.ndjson", content), {}) as table:
        assert [row.fault for row in table.rows] == [None, None]
        assert list(table.unused) == ["昵称", "单位号"]


@pytest.mark.parametrize(("key", "fault"), [("时间", True), ("时间（UTC）", False), ("时间 (UTC+0)", False)])
def test_ndjson_rows_do_not_take_the_zone_of_another_key(tmp_path: Path, key: str, fault: bool) -> None:
    content = (
        '{"viewer_id": "ks_1", "签到时间（UTC）": "2024/6/29 11:31"}\n'
        f'{{"viewer_id": "ks_2", "{key}": "2024/6/29 19:31"}}\n'
    )
    with open_table(write(tmp_path, "a.ndjson", content), {}) as table:
        assert [row.fault is not None for row in table.rows] == [False, fault]


def test_ndjson_without_an_object_says_so(tmp_path: Path) -> None:
    with pytest.raises(FileFault, match="文件是空的"):
        read(write(tmp_path, "a.ndjson", ""))
    with pytest.raises(FileFault, match="没有一行是 JSON 对象"):
        read(write(tmp_path, "a.ndjson", "账号,时间\na,b\n"))


def test_ndjson_line_without_end_is_a_fault_not_a_full_memory(tmp_path: Path) -> None:
    content = '{"viewer_id": "k", "occurred_at": "x"}\n' + "[" * 200_000
    with pytest.raises(FileFault, match="第 2 行"):
        read(write(tmp_path, "a.ndjson", content))


def test_xlsx_has_typed_cells_and_may_start_below_the_top(tmp_path: Path) -> None:
    workbook = openpyxl.Workbook()
    sheet = workbook.active
    assert sheet is not None
    sheet.append([])
    sheet.append(["账号", "时间", "手机号"])
    sheet.append([88120035, datetime(2024, 6, 29, 19, 31, 5), "13800000000"])
    sheet.append([])
    sheet.append(["ks_2", 45472.8, "'=HYPERLINK(1)"])
    workbook.save(tmp_path / "a.xlsx")
    with open_table(tmp_path / "a.xlsx", {}) as table:
        rows = list(table.rows)
    assert [row.number for row in rows] == [3, 5]
    assert rows[0].fields == {
        "viewer_id": 88120035.0,
        "occurred_at": datetime(2024, 6, 29, 19, 31, 5),
        "phone": "13800000000",
    }
    assert rows[1].fields["phone"] == "=HYPERLINK(1)"


@pytest.mark.parametrize("state", ["visible", "hidden", "veryHidden"])
def test_of_two_sheets_none_is_left_unread_without_a_word(tmp_path: Path, state: str) -> None:
    workbook = openpyxl.Workbook()
    workbook.create_sheet("空")
    for name, viewer in (("第一场", "ks_1"), ("第二场", "ks_2")):
        sheet = workbook.create_sheet(name)
        sheet.append(["账号", "时间"])
        sheet.append([viewer, "2024/6/29 19:31"])
    workbook["第二场"].sheet_state = state
    workbook.save(tmp_path / "a.xlsx")
    with pytest.raises(FileFault, match=r"第一场、第二场.*--sheet '第一场'"):
        read(tmp_path / "a.xlsx")
    with open_table(tmp_path / "a.xlsx", {}, sheet_name="第二场") as table:
        assert [row.fields["viewer_id"] for row in table.rows] == ["ks_2"]
    with pytest.raises(FileFault, match="第三场"), open_table(tmp_path / "a.xlsx", {}, sheet_name="第三场"):
        pass
    del workbook["第二场"]
    workbook.save(tmp_path / "a.xlsx")
    assert len(read(tmp_path / "a.xlsx")) == 1


def sheet_with(folder: Path, cell: str) -> Path:
    """A good sheet with one more cell."""
    workbook = openpyxl.Workbook()
    sheet = workbook.active
    assert sheet is not None
    sheet.append(["账号", "时间"])
    sheet.append(["ks_1", "2024/6/29 19:31"])
    sheet[cell] = "x"
    workbook.save(folder / "a.xlsx")
    return folder / "a.xlsx"


@pytest.mark.parametrize("cell", ["XFD1048576", "A1048576", "XFD2"])
def test_one_cell_far_away_does_not_end_the_process(tmp_path: Path, cell: str) -> None:
    """A file of 5 KB that claims 17 thousand million cells aborted the process; a single long column or row is read."""
    path = sheet_with(tmp_path, cell)
    if cell == "XFD1048576":
        with pytest.raises(FileFault, match=r"a\.xlsx.*Ctrl\+End.*CSV"):
            read(path)
    else:
        assert read(path)[0] == {"viewer_id": "ks_1", "occurred_at": "2024/6/29 19:31"}


def packed(folder: Path, megabytes: int) -> Path:
    """A sheet of one long column, which is compressed to a hundredth of its size."""
    row = '<row r="{0}"><c r="A{0}" t="inlineStr"><is><t>' + "x" * 2000 + "</t></is></c></row>"
    with zipfile.ZipFile(sheet_with(folder, "A3")) as whole:
        parts = {name: whole.read(name) for name in whole.namelist()}
    with zipfile.ZipFile(folder / "a.xlsx", "w", zipfile.ZIP_DEFLATED, compresslevel=1) as bomb:
        for name, content in parts.items():
            with bomb.open(name, "w", force_zip64=True) as part:
                if not name.endswith("sheet1.xml"):
                    part.write(content)
                    continue
                part.write(b'<worksheet xmlns="http://schemas.openxmlformats.org/spreadsheetml/2006/main"><sheetData>')
                for start in range(1, megabytes * 500, 500):
                    part.write("".join(row.format(number) for number in range(start, start + 500)).encode())
                part.write(b"</sheetData></worksheet>")
    return folder / "a.xlsx"


def test_what_unpacks_to_too_much_is_refused_before_it_is(tmp_path: Path) -> None:
    path = packed(tmp_path, 21)
    assert path.stat().st_size < 1_500_000
    with pytest.raises(FileFault, match=r"解压后超过 19 MiB.*CSV"):
        read(path, limits=WorkbookLimits(unpacked_max_bytes=20_000_000))


def test_an_archive_that_lies_about_its_size_ends_only_the_child(tmp_path: Path) -> None:
    path = packed(tmp_path, 250)
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    with pytest.raises(FileFault, match=r"a\.xlsx.*有效区域太大.*190 MiB"):
        read(path, limits=WorkbookLimits(unpacked_max_bytes=10**12, memory_max_bytes=200_000_000))
    assert resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before < 100_000


def test_a_csv_line_without_end_is_a_fault_not_a_full_memory(tmp_path: Path) -> None:
    with pytest.raises(FileFault, match=r"第 2 行.*引号"):
        read(write(tmp_path, "a.csv", "账号,时间\n" + "," * 200_000))


@pytest.mark.parametrize("name", ["a.xlsx", "a.ods"])
def test_a_file_that_only_says_xlsx_is_refused_in_chinese(tmp_path: Path, name: str) -> None:
    with pytest.raises(FileFault, match=r"打不开：它不是 XLSX 或 ODS 文件，或者没有传完整。请.*另存为"):
        read(write(tmp_path, name, ROWS))


def test_a_formula_that_was_never_worked_out_is_told_and_no_empty_cell(tmp_path: Path) -> None:
    workbook = openpyxl.Workbook()
    workbook.active.append(["另一个表"])
    sheet = workbook.create_sheet("六月 & 七月")
    for cells in (
        ["账号", "时间", "备注"],
        ["ks_1", "2024/6/29 19:31", "=A1"],
        [],
        ["=A2", "2024/6/29 19:31"],
        [],
        ["=A2", "=B2"],
    ):
        sheet.append(cells)
    sheet["AB2"] = "=1"
    workbook.save(tmp_path / "a.xlsx")
    with open_table(tmp_path / "a.xlsx", {}, sheet_name="六月 & 七月") as table:
        rows = list(table.rows)
    fault = "“账号”是公式，还没有算过，格里没有值；请在表格软件里打开文件，保存后再导入"
    assert [(row.number, row.fault) for row in rows][1:] == [(4, fault), (6, fault)]
    with zipfile.ZipFile(tmp_path / "a.xlsx") as old, zipfile.ZipFile(tmp_path / "b.xlsx", "w") as new:
        for part in old.namelist():
            new.writestr(
                part, old.read(part).replace(b'<c r="A4"><f>A2</f><v />', b'<c r="A4" t="str"><f>A2</f><v>k</v>')
            )
    with open_table(tmp_path / "b.xlsx", {}, sheet_name="六月 & 七月") as table:
        assert [(row.fields["viewer_id"], row.fault) for row in table.rows][:2] == [("ks_1", None), ("k", None)]


def test_an_empty_workbook_and_an_empty_sheet_are_said_to_be_empty(tmp_path: Path) -> None:
    workbook = openpyxl.Workbook()
    workbook.save(tmp_path / "a.xlsx")
    with pytest.raises(FileFault, match=r"a\.xlsx：文件是空的"):
        read(tmp_path / "a.xlsx")
    workbook.active.append([" ", " "])
    workbook.create_sheet("空")
    workbook.save(tmp_path / "a.xlsx")
    with pytest.raises(FileFault, match=r"a\.xlsx：工作表“Sheet”是空的"):
        read(tmp_path / "a.xlsx")
    with pytest.raises(FileFault, match="工作表“空”是空的。"), open_table(tmp_path / "a.xlsx", {}, sheet_name="空"):
        pass
    with (
        pytest.raises(FileFault, match="从第 9 行起是空的"),
        open_table(write(tmp_path, "a.csv", ROWS), {}, header_row=9),
    ):
        pass
