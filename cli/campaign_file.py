"""Reads a campaign file: YAML, with units and channels as CSV beside it (`units_file`, `channels_file`)."""

import csv
import io
import re
from pathlib import Path
from typing import Any

import yaml
from pydantic import ValidationError

from cli.import_events import says_nothing
from shared.contracts.campaign import DEFINITION_MAX_BYTES, CampaignDefinition
from shared.contracts.campaign_errors import Finding, explain
from shared.sheets import decoded

YAML_MAX_BYTES = 1024 * 1024
CSV_MAX_BYTES = DEFINITION_MAX_BYTES

RESIDENTS_COLUMNS = {"residents": "count", "residents_year": "year", "residents_source": "source"}
UNIT_COLUMNS = ("unit_code", "name", "parent_code", "level", "kind")
UNIT_COLUMNS_OPTIONAL = ("sector", *RESIDENTS_COLUMNS, "headcount", "joins_on")
CHANNEL_COLUMNS = ("channel", "unit_code")

SPREADSHEET_DATE = re.compile(r"^(\d{4})/(\d{1,2})/(\d{1,2})$")  # what Excel makes of 2024-06-29
UNIT_PATH = re.compile(r"^units\[(\d+)\]\.?(.*)$")
FULL_WIDTH_BRACES = re.compile(r"｛\s*([a-z_]+)\s*｝")
FULL_WIDTH_COLON = re.compile(r"^[\s-]*([A-Za-z_]+)\s*：")
LEADING_ZERO = re.compile(r"^0[0-9]+$")
WHOLE_AS_FRACTION = re.compile(r"^([0-9]+)\.0+$")  # what a spreadsheet makes of a code that it took for a number
CODE_COLUMNS = ("unit_code", "parent_code", "channel")
IN_CSV = re.compile(r" 第 [0-9]+ 行")
LAST_STEP = re.compile(r"(\.[^.\[]*|\[[0-9]+\]|^[^.\[]+)$")
CHANNEL_PATH = re.compile(r"^channels\.(.+)$")


class CampaignFileError(Exception):
    """The file is not a campaign definition. The text has all findings, each with key or line, value and remedy."""

    def __init__(self, findings: list[Finding]) -> None:
        super().__init__("\n".join(map(str, findings)))
        self.findings = findings


class Row(dict[str, str]):
    """A CSV row by column, empty cells left out; `line` is where it stands in the file."""

    line: int


def load(path: Path, yaml_max_bytes: int = YAML_MAX_BYTES) -> CampaignDefinition:
    """The definition in `path`, or `CampaignFileError`."""
    text = _text(path, yaml_max_bytes)
    content = _yaml(path, text)
    lines = _lines(text)
    units = _table(path, content, "units", UNIT_COLUMNS, UNIT_COLUMNS_OPTIONAL)
    channels = _table(path, content, "channels", CHANNEL_COLUMNS, ())
    if units is not None:
        content["units"] = [_unit(row) for row in units.rows]
    if channels is not None:
        content["channels"] = _channels(channels)
    try:
        definition = CampaignDefinition.model_validate(content)
    except ValidationError as error:
        found = [_placed(finding, units, channels) for finding in explain(error)]
        raise CampaignFileError([_with_line(finding, path, lines) for finding in found]) from error
    if contradictions := _contradictions(definition):
        raise CampaignFileError([_with_line(finding, path, lines) for finding in contradictions])
    return definition


def _contradictions(definition: CampaignDefinition) -> list[Finding]:
    """What is a valid definition, and not what its author can have meant."""
    findings = []
    texts = {f"messages[{index}].template": rule.template for index, rule in enumerate(definition.messages)}
    for at, text in ({"certificate.body": definition.certificate.body} | texts).items():
        if braces := FULL_WIDTH_BRACES.search(text):
            message = f"全角花括号不是占位符，会照样印出来；请改为半角 {{{braces[1]}}}"
            findings.append(Finding(at, braces[0], message))
    claim_from = definition.certificate.claim_from
    there = claim_from.astimezone(definition.zone)
    if claim_from.utcoffset() and claim_from.utcoffset() != there.utcoffset():
        message = (
            f"时区是 UTC{there:%z}，与 certificate.claim_from 的 UTC{claim_from:%z} 矛盾；中国大陆请写 Asia/Shanghai"
        )
        findings.append(Finding("time_zone", repr(definition.time_zone), message))
    return findings


class Table:
    """The rows of a CSV file, and the places to name in findings about them."""

    def __init__(self, name: str, rows: list[Row]) -> None:
        self.name = name
        self.rows = rows

    def at(self, line: int, column: str) -> str:
        return f"{self.name} 第 {line} 行" + (f" {column} 列" if column else "")


def _table(
    path: Path, content: dict[str, Any], key: str, required: tuple[str, ...], optional: tuple[str, ...]
) -> Table | None:
    """The table that `<key>_file` names, relative to the YAML file; None where the key is absent."""
    name = content.pop(f"{key}_file", None)
    if name is None:
        return None
    if key in content:
        raise CampaignFileError([Finding(f"{key}_file", None, f"{key} 与 {key}_file 只能写一个；请删除其中之一")])
    if not isinstance(name, str):
        raise CampaignFileError([Finding(f"{key}_file", str(name), "应为文件名；请写 CSV 文件的相对路径")])
    return Table(name, _rows(path.parent / name, required, optional))


def _rows(path: Path, required: tuple[str, ...], optional: tuple[str, ...]) -> list[Row]:
    name = path.name
    reader = csv.reader(io.StringIO(_text(path, CSV_MAX_BYTES), newline=""), strict=True)
    line = 1
    try:
        header = [cell.strip() for cell in next(reader, [])]
        findings = _header_findings(name, header, required, optional)
        rows: list[Row] = []
        line = reader.line_num + 1
        for cells in [] if findings else reader:
            if any(cell.strip() for cell in cells):
                if len(cells) != len(header):
                    findings.append(
                        Finding(
                            f"{name} 第 {line} 行", None, f"有 {len(cells)} 列，应为 {len(header)} 列；请核对逗号和引号"
                        )
                    )
                told = {key: cell.strip() for key, cell in zip(header, cells, strict=False) if cell.strip()}
                row = Row({key: cell for key, cell in told.items() if not (key in optional and says_nothing(cell))})
                row.line = line
                rows.append(row)
                findings += _fractions(name, row)
            line = reader.line_num + 1
    except csv.Error as error:
        raise CampaignFileError(
            [Finding(f"{name} 第 {line} 行", None, f"不是有效的 CSV（{error}），从这一行开始；请核对引号")]
        ) from error
    if findings:
        raise CampaignFileError(findings)
    return rows


def _header_findings(
    name: str, header: list[str], required: tuple[str, ...], optional: tuple[str, ...]
) -> list[Finding]:
    at = f"{name} 第 1 行"
    if len(header) == 1 and (other := next((mark for mark in ";\t|" if mark in header[0]), None)):
        mark = "制表符" if other == "\t" else other
        return [Finding(at, None, f"列之间是 {mark}，应为逗号；请在表格软件里另存为“CSV UTF-8（逗号分隔）”")]
    findings = [Finding(at, None, f"缺少 {column} 列；请补上") for column in required if column not in header]
    for column in header:
        if column not in required + optional:
            findings.append(
                Finding(at, repr(column), f"不认识的列；可用的列有 {'、'.join(required + optional)}，其余请删除")
            )
    if len(set(header)) != len(header):
        findings.append(Finding(at, None, "列名有重复；请删除重复的列"))
    return findings


def _fractions(name: str, row: Row) -> list[Finding]:
    found = {column: WHOLE_AS_FRACTION.match(row.get(column, "")) for column in CODE_COLUMNS}
    return [
        Finding(
            f"{name} 第 {row.line} 行 {column} 列",
            repr(code[0]),
            f"表格软件把代码变成了小数；请把这一列设为文本，写成 {code[1]}",
        )
        for column, code in found.items()
        if code
    ]


def _unit(row: Row) -> dict[str, Any]:
    unit: dict[str, Any] = {"parent_code": None}
    residents: dict[str, str] = {}
    for column, cell in row.items():
        if column in RESIDENTS_COLUMNS:
            residents[RESIDENTS_COLUMNS[column]] = cell
        else:
            unit[column] = _iso_date(cell) if column == "joins_on" else cell
    return unit | ({"residents": residents} if residents else {})


def _iso_date(cell: str) -> str:
    return SPREADSHEET_DATE.sub(lambda found: f"{found[1]}-{int(found[2]):02}-{int(found[3]):02}", cell)


def _channels(table: Table) -> dict[str, str]:
    channels: dict[str, str] = {}
    findings: list[Finding] = []
    for row in table.rows:
        for column in CHANNEL_COLUMNS:
            if column not in row:
                findings.append(Finding(table.at(row.line, column), None, "不能为空；请填写"))
        code = row.get("channel", "")
        if code in channels:
            findings.append(Finding(table.at(row.line, "channel"), repr(code), "渠道码重复；请删除其中一行"))
        channels[code] = row.get("unit_code", "")
    if findings:
        raise CampaignFileError(findings)
    return channels


def _placed(finding: Finding, units: Table | None, channels: Table | None) -> Finding:
    """The finding with file, line and column where its key came from a CSV file."""
    if units is not None and (found := UNIT_PATH.match(finding.at)):
        columns = {f"residents.{key}": column for column, key in RESIDENTS_COLUMNS.items()}
        column = columns.get(found[2], found[2])
        return finding._replace(at=units.at(units.rows[int(found[1])].line, column))
    if channels is not None and (found := CHANNEL_PATH.match(finding.at)):
        line = next((row.line for row in channels.rows if row["channel"] == found[1]), 1)
        return finding._replace(at=channels.at(line, ""))
    return finding


def _with_line(finding: Finding, path: Path, lines: dict[str, int]) -> Finding:
    """The finding with file and line of its key, or of the nearest key around it; of a CSV file they are told already."""
    if not IN_CSV.search(finding.at):
        key = finding.at
        while key and key not in lines:
            key = LAST_STEP.sub("", key)
        if key:
            return finding._replace(at=f"{path.name} 第 {lines[key]} 行 {finding.at}")
    return finding


def _lines(text: str) -> dict[str, int]:
    """Path of every key and item (`windows.live[0].from`) → its line in the YAML file."""
    found: dict[str, int] = {}

    def walk(node: yaml.Node | None, path: str) -> None:
        if isinstance(node, yaml.MappingNode):
            for key, value in node.value:
                if isinstance(key, yaml.ScalarNode):
                    below = f"{path}.{key.value}".removeprefix(".")
                    found[below] = key.start_mark.line + 1
                    walk(value, below)
        elif isinstance(node, yaml.SequenceNode):
            for index, value in enumerate(node.value):
                found[f"{path}[{index}]"] = value.start_mark.line + 1
                walk(value, f"{path}[{index}]")

    walk(yaml.compose(text, _Loader), "")
    return found


def _text(path: Path, max_bytes: int) -> str:
    """The text of a file in UTF-8 or GB18030."""
    try:
        with path.open("rb") as file:
            body = file.read(max_bytes + 1)
    except OSError as error:
        message = f"读不了这个文件（{error.strerror}）；请核对文件名和权限"
        raise CampaignFileError([Finding(str(path), None, message)]) from error
    if len(body) > max_bytes:
        raise CampaignFileError([Finding(path.name, None, f"超过 {max_bytes // 1024} KiB；请拆分或精简")])
    text = decoded(body)
    if text is None:
        raise CampaignFileError([Finding(path.name, None, "既不是 UTF-8 也不是 GB18030 编码；请另存为 UTF-8")])
    return text


class _Refused(yaml.MarkedYAMLError):
    """Valid YAML that would mislead; `problem` is a text for the operator."""


class _Written(int):
    """A number that is shown as it was written: 0137, which YAML reads as 95, was meant as a code."""

    def __new__(cls, number: int, text: str) -> "_Written":
        written = super().__new__(cls, number)
        written._text = text
        return written

    _text: str

    def __str__(self) -> str:
        return self._text

    __repr__ = __str__


class _Loader(yaml.SafeLoader):
    """Refuses what would silently mean something else: a key written twice, and aliases."""

    def compose_node(self, parent: yaml.Node | None, index: int) -> yaml.Node | None:
        if self.check_event(yaml.AliasEvent):
            mark = self.get_mark()
            raise _Refused(None, None, "不支持锚点引用（*）；请写出完整内容", mark)
        return super().compose_node(parent, index)

    def construct_mapping(self, node: yaml.MappingNode, deep: bool = False) -> dict[Any, Any]:
        seen: dict[str, int] = {}
        for key in (key for key, _ in node.value if isinstance(key, yaml.ScalarNode)):
            if key.value in seen:
                message = f"键 {key.value} 重复（第 {seen[key.value]} 行已有）；请删除其中一个"
                raise _Refused(None, None, message, key.start_mark)
            seen[key.value] = key.start_mark.line + 1
        return super().construct_mapping(node, deep)

    def construct_yaml_int(self, node: yaml.ScalarNode) -> int:
        number = super().construct_yaml_int(node)
        return _Written(number, node.value) if LEADING_ZERO.match(node.value) else number


_Loader.add_constructor("tag:yaml.org,2002:int", _Loader.construct_yaml_int)


def _yaml(path: Path, text: str) -> dict[str, Any]:
    try:
        content = yaml.load(text, _Loader)  # noqa: S506 - a SafeLoader
    except yaml.MarkedYAMLError as error:
        mark = error.problem_mark
        at = f"{path.name} 第 {mark.line + 1} 行第 {mark.column + 1} 列" if mark else path.name
        invalid = f"不是有效的 YAML（{error.problem}）；请核对缩进、冒号和引号"
        problem = str(error.problem) if isinstance(error, _Refused) else invalid
        if not isinstance(error, _Refused) and (mistyped := _mistyped(path, text, str(error.problem), mark)):
            raise CampaignFileError([mistyped]) from error
        raise CampaignFileError([Finding(at, None, problem)]) from error
    except (yaml.YAMLError, ValueError) as error:  # ValueError: a date such as 2024-02-30
        raise CampaignFileError([Finding(path.name, None, f"不是有效的 YAML：{error}")]) from error
    except RecursionError as error:
        raise CampaignFileError([Finding(path.name, None, "嵌套太深；请核对缩进")]) from error
    if not isinstance(content, dict) and (mistyped := _mistyped(path, text, "", None)):
        raise CampaignFileError([mistyped])
    if not isinstance(content, dict):
        raise CampaignFileError([Finding(path.name, None, "内容不是“键: 值”；请参照 campaigns/jinshan-2024.yaml")])
    return content


def _mistyped(path: Path, text: str, problem: str, mark: yaml.Mark | None) -> Finding | None:
    """What an input method or a tab key leaves behind, which YAML complains about elsewhere and otherwise."""
    if mark is not None and r"'\t'" in problem:
        return Finding(f"{path.name} 第 {mark.line + 1} 行", None, "用制表符（Tab）缩进；请改为空格")
    for number, line in enumerate(text.splitlines(), start=1):
        if key := FULL_WIDTH_COLON.match(line):
            return Finding(f"{path.name} 第 {number} 行", None, f"{key[1]} 后面是全角冒号；请改为半角冒号加一个空格")
    return None
