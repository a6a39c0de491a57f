"""Reading a campaign file: the one we ship, and what is said about files that are wrong."""

import csv
import json
from datetime import UTC, date, datetime
from pathlib import Path

import jsonschema_rs
import pytest
import yaml

from cli.campaign_file import CampaignFileError, load
from cli.campaign_schema import as_text
from shared.contracts.campaign import CampaignDefinition
from tests.support.campaigns import campaign_content

CAMPAIGNS = Path(__file__).parents[2] / "campaigns"
HEADER = "unit_code,name,parent_code,level,kind,sector,residents,residents_year,residents_source,headcount,joins_on"
UNITS = f"{HEADER}\n1,忻州市,,city,city,,2689668,2020,普查,,\n11,五台县,1,county,county,,,,,120,2024/7/2\n"
LAST_LINES = "20,甲县,1,county,county,,,,,,\n21,乙县,1,county,county,,,,,,\n"


def write(folder: Path, units: str | bytes | None = None, channels: str | None = None, **changes: object) -> Path:
    """A campaign file; with `units` or `channels` as CSV beside it."""
    content = campaign_content() | {"channels": {}} | changes
    for key, table in (("units", units), ("channels", channels)):
        if table is not None:
            del content[key]
            content[f"{key}_file"] = f"{key}.csv"
            (folder / f"{key}.csv").write_bytes(table.encode() if isinstance(table, str) else table)
    path = folder / "c.yaml"
    path.write_text(yaml.safe_dump(content, allow_unicode=True))
    return path


def complaints(path: Path, **limits: int) -> str:
    with pytest.raises(CampaignFileError) as refused:
        load(path, **limits)
    return str(refused.value)


# --- the campaign we ship -------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def jinshan() -> CampaignDefinition:
    return load(CAMPAIGNS / "jinshan-2024.yaml")


def test_jinshan_has_its_sixteen_evenings(jinshan: CampaignDefinition) -> None:
    assert [lesson.date for lesson in jinshan.lessons] == [
        date(2024, 6, 29 + i) if i < 2 else date(2024, 7, i - 1) for i in range(16)
    ]
    assert (jinshan.required_days, jinshan.credit) == (16, ("live",))
    assert jinshan.certificate is not None
    assert jinshan.certificate.claim_from == datetime(2024, 7, 14, 12, tzinfo=UTC)
    assert [(w.mode, w.opens_at.hour, w.closes_at.hour) for w in jinshan.opens_closes(0)] == [
        ("live", 11, 12),
        ("replay", 12, 16),
        ("replay", 0, 11),
    ]


def test_jinshan_has_the_published_populations(jinshan: CampaignDefinition) -> None:
    cities = [unit.residents for unit in jinshan.units if unit.level == "city"]
    counties = [unit.residents for unit in jinshan.units if unit.level == "county" and unit.residents]
    assert (len(cities), sum(r.count for r in cities if r)) == (11, 34_915_616)
    assert (len(counties), sum(r.count for r in counties)) == (14, 2_845_600)
    assert {r.year for r in cities if r} == {2020}
    assert {r.year for r in counties} == {2016}
    xinzhou = jinshan.unit_by_code["140900"].residents
    assert xinzhou is not None
    assert xinzhou.count == 2_689_668


def test_jinshan_has_bureaus_branches_and_members(jinshan: CampaignDefinition) -> None:
    def children(parent: str) -> list[str]:
        return [unit.unit_code for unit in jinshan.units if unit.parent_code == parent]

    bureaus = [unit for unit in jinshan.units if unit.kind == "bureau" and unit.parent_code != "140900"]
    branches = {unit.name: unit for unit in jinshan.units if unit.kind == "branch"}
    counties = [unit.unit_code for unit in jinshan.units if unit.kind == "county"]
    assert {unit.parent_code for unit in bureaus} == set(counties) - {"140902"}
    assert sorted(name.removeprefix("忻州市公安局") for name in branches) == [
        "五台山分局",
        "忻府分局",
        "直属分局",
        "轩岗分局",
    ]
    assert all(unit.residents is None for unit in branches.values())
    assert all("140902-EDU".replace("140902", county) in children(county) for county in counties)
    assert all(jinshan.channels[code] in jinshan.unit_by_code for code in ("QR-0001", "QR-0137"))
    assert len({unit.name for unit in jinshan.units}) == len(jinshan.units)


def test_jinshan_quotes_its_times_and_is_read_the_same_by_any_yaml_reader() -> None:
    plain = yaml.safe_load((CAMPAIGNS / "jinshan-2024.yaml").read_text())
    assert plain["windows"]["replay"][0] == {"from": "20:00", "to": "24:00"}
    assert plain["closing_time"] == "18:00"
    assert isinstance(plain["lessons"][0]["date"], str)


def test_the_schema_for_editors_is_the_definitions_own_and_takes_the_shipped_campaign() -> None:
    written = CAMPAIGNS.parent / "docs" / "campaign.schema.json"
    assert written.read_text() == as_text(), "write it anew: fanzha campaign schema > docs/campaign.schema.json"
    plain = yaml.safe_load((CAMPAIGNS / "jinshan-2024.yaml").read_text())
    validator = jsonschema_rs.validator_for(json.loads(written.read_text()))
    assert [error.message for error in validator.iter_errors(plain)] == []
    assert not validator.is_valid(plain | {"tittle": "x"})
    assert not validator.is_valid({key: value for key, value in plain.items() if key != "units_file"})


# --- YAML -----------------------------------------------------------------------------------------------------------


def test_an_unquoted_time_is_told_how_to_be_quoted(tmp_path: Path) -> None:
    path = write(tmp_path)
    path.write_text(path.read_text().replace("'19:30'", "19:30"))
    line = 1 + next(number for number, line in enumerate(path.read_text().splitlines()) if "from: 19:30" in line)
    assert (
        complaints(path)
        == f'c.yaml 第 {line} 行 windows.live[0].from（现为 19:30）：没有加引号的时间会被 YAML 读成数字；请给时间加引号："19:30"'
    )


def test_a_key_written_twice_is_found(tmp_path: Path) -> None:
    path = write(tmp_path)
    path.write_text(path.read_text() + "required_days: 1\n")
    assert "键 required_days 重复（第" in complaints(path)


@pytest.mark.parametrize(
    ("text", "complaint"),
    [
        ("a: [1", "c.yaml 第 1 行第 6 列：不是有效的 YAML"),
        ("a: &x 1\nb: *x\n", "不支持锚点引用"),
        ("- a\n", "内容不是“键: 值”"),
        (" \n", "c.yaml：文件是空的"),
        ("# 6月29日\n", "文件里没有内容，只有注释"),
        ("? [a]\n: 1\n", "不是有效的 YAML"),
        ("a: 1\nb: 2024-02-30\n", "c.yaml 第 2 行第 4 列：2024-02-30 不是有效的日期"),
        ("a: !!int x\n", "c.yaml 第 1 行第 4 列：x 不是有效的日期或数字"),
        ("a: 1\nb: \x07\n", "c.yaml 第 2 行第 4 列：不是有效的 YAML：有看不见的控制字符 U+0007"),
        ("[" * 5000, "嵌套太深"),
        ("!!python/object:os.system {}", "不是有效的 YAML"),
        ("1: 2\n", "c.yaml 第 1 行 [1]（现为 1）：键应为文字"),
    ],
)
def test_what_is_no_campaign_file_is_refused_with_its_place(tmp_path: Path, text: str, complaint: str) -> None:
    (tmp_path / "c.yaml").write_text(text)
    assert complaint in complaints(tmp_path / "c.yaml")


def test_a_missing_file_and_a_folder_are_named(tmp_path: Path) -> None:
    assert "none.yaml：读不了：没有这个文件或文件夹" in complaints(tmp_path / "none.yaml")
    assert "读不了：这是文件夹，不是文件" in complaints(tmp_path)


def test_sizes_are_limited(tmp_path: Path) -> None:
    (tmp_path / "c.yaml").write_text("#" * 1025)
    assert "超过 1 KiB" in complaints(tmp_path / "c.yaml", yaml_max_bytes=1024)


def with_groups(folder: Path, groups: str) -> Path:
    """A campaign file with this text as its groups."""
    path = write(folder, groups="GROUPS")
    path.write_text(path.read_text().replace("groups: GROUPS", f"groups:\n{groups}"))
    return path


def test_zones_that_contradict_each_other_are_not_meant(tmp_path: Path) -> None:
    contradiction = "time_zone（现为 'Etc/GMT+8'）：时区是 UTC-0800，与 certificate.claim_from 的 UTC+0800 矛盾"
    assert contradiction in complaints(write(tmp_path, time_zone="Etc/GMT+8"))


@pytest.mark.parametrize(
    ("code", "complaint"),
    [
        ("0137", '（现为 0137）：应为文字，却是数字；请加引号："0137"'),
        ("1_000", '（现为 1_000）：应为文字，却是数字；请加引号："1_000"'),
        ("1.50", '（现为 1.50）：应为文字，却是数字；请加引号："1.50"'),
        ("no", '（现为 no）：应为文字，却被读成了“否”；请加引号："no"'),
        ("2024-06-29", '（现为 2024-06-29）：应为文字，却是日期；请加引号："2024-06-29"'),
        ("12:30:00", '（现为 12:30:00）：应为文字，却是数字；请加引号："12:30:00"'),
        ("null", '（现为 null）：应为文字；请加引号："null"'),
        ("", "（现为 空）：不能为空；请填写"),
        ("10246.0", "（现为 '10246.0'）：表格软件把代码变成了小数；请改为 10246"),
        ('"10246.0"', "（现为 '10246.0'）：表格软件把代码变成了小数；请改为 10246"),
        ("1.4E+05", "（现为 '1.4E+05'）：表格软件把代码变成了科学计数法"),
    ],
)
def test_a_code_is_told_by_what_its_author_wrote(tmp_path: Path, code: str, complaint: str) -> None:
    assert f"groups[0].code{complaint}" in complaints(with_groups(tmp_path, f"- code: {code}\n  name: 学生"))


@pytest.mark.parametrize("channels", ["{QR-1: 140902.0}", '{"140902.0": "140902"}'])
def test_codes_of_channels_are_no_fractions_either(tmp_path: Path, channels: str) -> None:
    path = write(tmp_path)
    path.write_text(path.read_text().replace("channels: {}", f"channels: {channels}"))
    assert "请改为 140902（" in complaints(path)


@pytest.mark.parametrize(
    ("written", "advice"), [("9:05", "09:05"), ("20.15", "20:15"), ("19:30:00", "19:30"), ("1930", "19:30")]
)
def test_a_time_is_told_by_what_its_author_wrote(tmp_path: Path, written: str, advice: str) -> None:
    path = write(tmp_path)
    path.write_text(path.read_text().replace("'19:30'", written, 1))
    assert f'（现为 {written}）：没有加引号的时间会被 YAML 读成数字；请给时间加引号："{advice}"' in complaints(path)


@pytest.mark.parametrize(
    ("body", "complaint"),
    [
        (
            "｛credited_days｝",
            "（现为 …累计签到｛credited_days｝天…）：全角花括号不是占位符，会照样印出来；请改为半角 {credited_days}",
        ),
        (
            "{credited_days｝",
            "（现为 …累计签到{credited_days｝天…）：全角花括号不是占位符，会照样印出来；请改为半角 {credited_days}",
        ),
        ("｛ credited_days}", "请改为半角 {credited_days}"),
        ("credited_days}", "（现为 …d_days}天…）：单独的花括号会照样印出来"),
        ("{credited_days", "（现为 …累计签到{credit…）：单独的花括号会照样印出来"),
        ("{credited_days}｝", "：单独的花括号会照样印出来"),
        ("﹛credited_days", "：单独的花括号会照样印出来"),
    ],
)
def test_a_brace_that_would_be_printed_is_refused_where_it_stands(tmp_path: Path, body: str, complaint: str) -> None:
    content = campaign_content()
    path = write(tmp_path, certificate=content["certificate"] | {"body": f"累计签到{body}天"})
    assert complaint in complaints(path)
    message = f"{{serial｝拨打 96110。证书 {body.replace('credited_days', 'serial')}"
    path = write(tmp_path, messages=[{"event": "certificate_ready", "channel": "file", "template": message}])
    assert "messages[0].template（现为 …{serial｝拨打 961…）" in complaints(path)


@pytest.mark.parametrize(
    ("text", "complaint"),
    [
        ("title: a\norganiser：b\ncredit: [live]\n", "c.yaml 第 2 行：organiser 后面是全角冒号"),
        ("title：a\n", "c.yaml 第 1 行：title 后面是全角冒号"),
        ("windows:\n\tlive: []\n", "c.yaml 第 2 行：用制表符（Tab）缩进"),
        ("a: 1\nb:\n- { code: student, name：学生: x: y }\n", "c.yaml 第 3 行：name 后面是全角冒号"),
        ("a: 1\nb: { code: x， name: y }\n", "第 2 行有全角的 ，（半角是 ,）：不是文字里的标点，就请改为半角"),
        ("a: 1\nb: { code: x ｝\n", "第 2 行有全角的 ｝（半角是 }）"),
        ("a: 1\nb: “x: y”\n", '第 2 行有全角的 “ ”（半角是 " "）'),
        ('a: 1\nb: "x”\n', '第 2 行有全角的 ”（半角是 "）'),
        ("a: 1\nb: [live， replay］\n", "第 2 行有全角的 ， ］（半角是 , ]）"),
    ],
)
def test_full_width_signs_and_tabs_are_named(tmp_path: Path, text: str, complaint: str) -> None:
    (tmp_path / "c.yaml").write_text(text)
    assert complaint in complaints(tmp_path / "c.yaml")


@pytest.mark.parametrize(
    ("group", "complaint"),
    [
        (
            "- { code：student, name: 学生 }",
            "groups[0].code：student（现为 空）：code 后面是全角冒号；请改为半角冒号加一个空格",
        ),
        (
            "- code：student",
            "groups[0]（现为 'code：student'）：应为键与值的对照；请写成 “键: 值”；里面有全角的 ：（半角是 :）",
        ),
        (
            "- ｛code: student｝",
            "groups[0].｛code（现为 'student｝'）：不认识的键；里面有全角的 ｛（半角是 {），请改为半角",
        ),
        ("- { code: “student”, name: 学生 }", '1 到 64 个字符；里面有全角的 “ ”（半角是 " "）'),
    ],
)
def test_full_width_signs_in_what_yaml_reads_as_text_are_named(tmp_path: Path, group: str, complaint: str) -> None:
    assert complaint in complaints(with_groups(tmp_path, group))


def test_a_missing_key_is_told_with_the_line_of_what_it_is_missing_in(tmp_path: Path) -> None:
    path = with_groups(tmp_path, "- name: 学生")
    text = "# 说明\n\n" + path.read_text().replace("organiser: ", "organizer: ", 1)
    path.write_text(text)
    line = 1 + text.splitlines().index("- name: 学生")
    assert f"c.yaml 第 {line} 行 groups[0].code：缺少这一项" in complaints(path)
    assert "c.yaml 第 3 行 organiser：缺少这一项" in complaints(path)


def test_a_finding_about_all_units_has_the_line_that_names_their_file(tmp_path: Path) -> None:
    path = write(tmp_path, UNITS.replace("11,五台县,1", "11,五台县,12").replace("1,忻州市,,", "1,忻州市,11,"))
    line = 1 + path.read_text().splitlines().index("units_file: units.csv")
    assert f"c.yaml 第 {line} 行 units：没有根单位" in complaints(path)


@pytest.mark.parametrize("key", ["[" * 70, "a[b" * 30, "." * 70])
def test_a_long_key_of_brackets_and_points_ends_no_search(tmp_path: Path, key: str) -> None:
    path = write(tmp_path)
    path.write_text(f'{path.read_text()}"{key}": 1\n')
    assert "不认识的键" in complaints(path)


def test_only_keys_of_that_place_are_suggested(tmp_path: Path) -> None:
    path = write(tmp_path, tittle="x")
    assert "tittle（现为 'x'）：不认识的键；是否想写 title？" in complaints(path)
    path = write(tmp_path, windows={"live": [{"from": "19:30", "to": "20:00", "tittle": "x"}]})
    assert "tittle（现为 'x'）：不认识的键；请删除，或核对拼写" in complaints(path)


# --- CSV ------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("encoding", ["utf-8", "utf-8-sig", "gb18030"])
def test_units_come_in_utf8_or_gb18030(tmp_path: Path, encoding: str) -> None:
    loaded = load(write(tmp_path, UNITS.encode(encoding), "channel,unit_code\nQR-1,11\n"))
    assert [unit.name for unit in loaded.units] == ["忻州市", "五台县"]
    assert loaded.units[0].residents is not None
    assert loaded.units[0].residents.count == 2_689_668
    assert loaded.units[1].joins_on == date(2024, 7, 2)  # as a spreadsheet writes it
    assert loaded.units[1].headcount == 120
    assert loaded.channels == {"QR-1": "11"}


def test_line_ends_and_empty_lines_do_not_matter(tmp_path: Path) -> None:
    plain = load(write(tmp_path, UNITS))
    assert load(write(tmp_path, UNITS.replace("\n", "\r\n") + "\r\n,,,,,,,,,,\r\n")) == plain


def test_words_that_mean_nothing_are_empty_where_a_column_may_be(tmp_path: Path) -> None:
    assert load(write(tmp_path, f"{UNITS}12,县,1,county,county,NULL,-,nan,无,N/A,—\n")) == load(
        write(tmp_path, f"{UNITS}12,县,1,county,county,,,,,,\n")
    )
    assert "parent_code 列：12 的上级 NULL 不存在" in complaints(
        write(tmp_path, f"{UNITS}12,县,NULL,county,county,,,,,,\n")
    )


@pytest.mark.parametrize(
    ("line", "complaint"),
    [
        ("12,,1,county,county,,,,,,", "units.csv 第 4 行 name 列：缺少这一项；请补上"),
        ("12,县,9,county,county,,,,,,", "units.csv 第 4 行 parent_code 列：12 的上级 9 不存在"),
        ("11,县,1,county,county,,,,,,", "units.csv 第 4 行 unit_code 列：11 重复"),
        ("12,县,1,conty,county,,,,,,", "units.csv 第 4 行 level 列（现为 'conty'）：只能是"),
        ("12,县,1,county,county,,五万,2020,x,,", "units.csv 第 4 行 residents 列（现为 '五万'）：应为整数"),
        ("12,县,1,county,county,,50000,,x,,", "units.csv 第 4 行 residents_year 列：缺少这一项"),
        ("12,县,1,county,county,,,,,,7月2日", "units.csv 第 4 行 joins_on 列（现为 '7月2日'）：不是有效的日期"),
        ("县 12,县,1,county,county,,,,,,", "units.csv 第 4 行 unit_code 列（现为 '县 12'）：代码只能用"),
        ("12,县,1,county,county", "units.csv 第 4 行：有 5 列，应为 11 列"),
        (
            "10246.0,县,1,county,county,,,,,,",
            "units.csv 第 4 行 unit_code 列（现为 '10246.0'）：表格软件把代码变成了小数",
        ),
        (
            "1.4E+05,县,1,county,county,,,,,,",
            "units.csv 第 4 行 unit_code 列（现为 '1.4E+05'）：表格软件把代码变成了科学",
        ),
        ('12,"县,1,county,county,,,,,,', "units.csv：第 4 行起读不下去。多半是一个引号没有配对"),
        (f'12,"县,1,county,county,,,,,,\n{LAST_LINES}', "units.csv：第 4 行起读不下去。多半是一个引号没有配对"),
        (f'12,"县,1,county,county,,,,,,\n{LAST_LINES}13,"县",', "units.csv：第 4 行起读不下去"),
        (
            f'12,县,1,county,"county,,,,,,\n{LAST_LINES}13,"',
            "units.csv：第 4 行有一格把后面的行（到第 7 行）也包了进去",
        ),
    ],
)
def test_a_csv_mistake_is_told_with_line_and_column(tmp_path: Path, line: str, complaint: str) -> None:
    assert complaint in complaints(write(tmp_path, f"{UNITS}{line}\n"))


def test_a_line_is_counted_right_after_a_cell_of_two_lines(tmp_path: Path) -> None:
    text = UNITS.replace("普查", '"第七次\n普查"')
    assert "units.csv 第 2 行 residents_source 列" in complaints(write(tmp_path, text))
    assert "units.csv 第 5 行 name 列" in complaints(write(tmp_path, text + "12,,1,county,county,,,,,,\n"))


@pytest.mark.parametrize(
    ("header", "complaint"),
    [
        (HEADER.replace("level", "lvl"), "units.csv 第 1 行：缺少 level 列"),
        (HEADER.replace("level", "lvl"), "units.csv 第 1 行（现为 'lvl'）：不认识的列"),
        (HEADER.replace("sector", "name"), "列名有重复"),
        ("", "units.csv 第 2 行：缺少 unit_code 列"),
        (HEADER.replace(",", ";"), "units.csv 第 1 行：列之间是 ;，应为逗号"),
    ],
)
def test_a_wrong_header_is_told(tmp_path: Path, header: str, complaint: str) -> None:
    assert complaint in complaints(write(tmp_path, UNITS.replace(HEADER, header)))


@pytest.mark.parametrize(
    ("rows", "complaint"),
    [
        ("QR-1,11\nQR-1,1\n", "channels.csv 第 3 行 channel 列（现为 'QR-1'）：渠道码重复"),
        ("QR-1,\n", "channels.csv 第 2 行 unit_code 列：不能为空"),
        ("QR-1,99\n", "channels.csv 第 2 行：指向不存在的单位 99"),
        ("QR 1,11\n", "channels.csv 第 2 行"),
    ],
)
def test_a_channel_mistake_is_told_with_its_line(tmp_path: Path, rows: str, complaint: str) -> None:
    assert complaint in complaints(write(tmp_path, UNITS, f"channel,unit_code\n{rows}"))


@pytest.mark.parametrize("content", ["", "\n\r\n", "\ufeff"])
def test_an_empty_table_is_said_to_be_empty(tmp_path: Path, content: str) -> None:
    assert complaints(write(tmp_path, content)) == "units.csv：文件是空的"


def test_bytes_of_no_encoding_are_refused(tmp_path: Path) -> None:
    assert "请另存为 UTF-8" in complaints(write(tmp_path, b"\xff\xff\xff"))


def test_units_are_given_once(tmp_path: Path) -> None:
    path = write(tmp_path, UNITS)
    path.write_text(path.read_text() + "units: []\n")
    assert "units 与 units_file 只能写一个" in complaints(path)


def test_a_file_name_is_a_text(tmp_path: Path) -> None:
    path = write(tmp_path, UNITS)
    path.write_text(path.read_text().replace("units_file: units.csv", "units_file: [a]"))
    assert "应为文件名" in complaints(path)


def test_no_people_in_the_shipped_files() -> None:
    """Nobody's phone: no run of eleven digits anywhere (FACTS, "Fixtures")."""
    for path in CAMPAIGNS.iterdir():
        for row in csv.reader(path.read_text().splitlines()):
            assert not any(cell.strip().isdigit() and len(cell.strip()) == 11 for cell in row), path
