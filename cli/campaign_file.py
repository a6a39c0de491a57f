"""Reads a campaign file: YAML, with units and channels as CSV beside it (`units_file`, `channels_file`)."""

import io
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from pydantic import ValidationError

from cli.campaign_yaml import NotReadable, Written, content_of, written_in
from cli.import_events import says_nothing
from shared.contracts.campaign import DEFINITION_MAX_BYTES, CampaignDefinition
from shared.contracts.campaign_errors import Finding, explain
from shared.forms.applying import form_faults
from shared.os_errors import os_reason
from shared.sheets import FileFault, csv_rows, decoded

YAML_MAX_BYTES = 1024 * 1024
CSV_MAX_BYTES = DEFINITION_MAX_BYTES

RESIDENTS_COLUMNS = {"residents": "count", "residents_year": "year", "residents_source": "source"}
UNIT_COLUMNS = ("unit_code", "name", "parent_code", "level", "kind")
UNIT_COLUMNS_OPTIONAL = ("sector", *RESIDENTS_COLUMNS, "headcount", "joins_on", "leaves_on")
CHANNEL_COLUMNS = ("channel", "unit_code")
DATE_COLUMNS = ("joins_on", "leaves_on")

SPREADSHEET_DATE = re.compile(r"^(\d{4})/(\d{1,2})/(\d{1,2})$")  # what Excel makes of 2024-06-29
UNIT_PATH = re.compile(r"^units\[(\d+)\]\.?(.*)$")
BRACES = re.compile(r"[{｛﹛]\s*(\w+)\s*[}｝﹜]|[{｛﹛}｝﹜]")
BRACES_SHOWN_AROUND = 6  # characters before and after, so that they are found in a long text
WHOLE_AS_FRACTION = re.compile(r"^([0-9]+)\.0+$")  # what a spreadsheet makes of a code that it reads as a number
SCIENTIFIC = re.compile(r"^[0-9](\.[0-9]+)?[eE]\+[0-9]+$")  # what it makes of a long code
CODE_COLUMNS = ("unit_code", "parent_code", "channel")
CODE_PATH = re.compile(r"(^|\.)(code|unit_code|parent_code|units\[[0-9]+\])$|^channels\.")
IN_CSV = re.compile(r" 第 [0-9]+ 行")
LAST_STEP = re.compile(r"(^|[.\[])[^.\[]*$")
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
    try:
        content = content_of(text)
    except NotReadable as error:
        raise CampaignFileError([error.finding(path.name)]) from error
    written = written_in(text)
    if spoilt := _spoilt_codes(written):
        raise CampaignFileError([_with_line(finding, path, written) for finding in spoilt])
    units = _table(path, content, "units", UNIT_COLUMNS, UNIT_COLUMNS_OPTIONAL)
    channels = _table(path, content, "channels", CHANNEL_COLUMNS, ())
    if units is not None:
        content["units"] = [_unit(row) for row in units.rows]
    if channels is not None:
        content["channels"] = _channels(channels)
    try:
        definition = CampaignDefinition.model_validate(content)
    except ValidationError as error:
        texts = {at: value.text for at, value in written.items() if value.text is not None}
        findings = [_placed(finding, units, channels) for finding in explain(error, texts)]
        raise CampaignFileError([_with_line(finding, path, written) for finding in findings]) from error
    in_forms = [Finding(fault.at, None, fault.message) for fault in form_faults(definition)]
    if contradictions := _contradictions(definition) + in_forms:
        raise CampaignFileError([_with_line(finding, path, written) for finding in contradictions])
    return definition


def _contradictions(definition: CampaignDefinition) -> list[Finding]:
    """Findings about what is valid in a definition but cannot be what its author meant."""
    findings = []
    texts = {f"messages[{index}].template": rule.template for index, rule in enumerate(definition.messages)}
    if definition.certificate:
        texts["certificate.body"] = definition.certificate.body
    for at, text in texts.items():
        findings += _wrong_braces(at, text)
    claim_from = definition.certificate.claim_from if definition.certificate else None
    local = claim_from.astimezone(definition.zone) if claim_from else None
    if claim_from and local and claim_from.utcoffset() and claim_from.utcoffset() != local.utcoffset():
        message = (
            f"时区是 UTC{local:%z}，与 certificate.claim_from 的 UTC{claim_from:%z} 矛盾；中国大陆请写 Asia/Shanghai"
        )
        findings.append(Finding("time_zone", repr(definition.time_zone), message))
    return findings


def _wrong_braces(at: str, text: str) -> list[Finding]:
    """Braces that are no placeholder, and would be printed: full-width ones, and single ones."""
    findings = []
    for braces in BRACES.finditer(text):
        if braces[0] != f"{{{braces[1]}}}":
            around = text[max(0, braces.start() - BRACES_SHOWN_AROUND) : braces.end() + BRACES_SHOWN_AROUND]
            message = "单独的花括号会照样印出来；请删除，或者补成一对半角花括号，如 {campaign_title}"
            if braces[1]:
                message = f"全角花括号不是占位符，会照样印出来；请改为半角 {{{braces[1]}}}"
            findings.append(Finding(at, f"…{around}…", message))
    return findings


def _spoilt_codes(written: Mapping[str, Written]) -> list[Finding]:
    """Codes in the YAML file that a spreadsheet took for numbers; the key of a channel is a code too."""
    codes = [(at, value.text) for at, value in written.items() if CODE_PATH.search(at)]
    codes += [(at, at.removeprefix("channels.")) for at in written if at.startswith("channels.")]
    return [Finding(at, repr(code), message) for at, code in codes if (message := _spoilt(code or ""))]


def _spoilt(code: str) -> str | None:
    """What a spreadsheet did to a code, and the remedy."""
    if whole := WHOLE_AS_FRACTION.match(code):
        return f"表格软件把代码变成了小数；请改为 {whole[1]}（在表格软件里先把这一列设为文本，在 YAML 里加引号）"
    if SCIENTIFIC.match(code):
        return "表格软件把代码变成了科学计数法，后几位可能已经丢失；请把这一列设为文本，再从原来的文件填写"
    return None


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
    text = _text(path, CSV_MAX_BYTES)
    if not text.strip():
        raise CampaignFileError([Finding(name, None, "文件是空的")])
    rows: list[Row] = []
    findings: list[Finding] = []
    try:
        table = csv_rows(io.StringIO(text, newline=""))
        top = next(table)
        header = [cell.strip() for cell in top.cells]
        findings += _header_findings(f"{name} 第 {top.number} 行", header, required, optional)
        for _, cells, line in () if findings else table:
            if len(cells) != len(header):
                message = f"有 {len(cells)} 列，应为 {len(header)} 列；请核对逗号和引号"
                findings.append(Finding(f"{name} 第 {line} 行", None, message))
            told = {key: cell.strip() for key, cell in zip(header, cells, strict=False) if cell.strip()}
            row = Row({key: cell for key, cell in told.items() if not (key in optional and says_nothing(cell))})
            row.line = line
            if row:
                rows.append(row)
                findings += _spoilt_cells(name, row)
    except FileFault as fault:
        raise CampaignFileError([Finding(name, None, str(fault))]) from fault
    if findings:
        raise CampaignFileError(findings)
    return rows


def _header_findings(at: str, header: list[str], required: tuple[str, ...], optional: tuple[str, ...]) -> list[Finding]:
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


def _spoilt_cells(name: str, row: Row) -> list[Finding]:
    return [
        Finding(f"{name} 第 {row.line} 行 {column} 列", repr(row[column]), message)
        for column in CODE_COLUMNS
        if (message := _spoilt(row.get(column, "")))
    ]


def _unit(row: Row) -> dict[str, Any]:
    unit: dict[str, Any] = {"parent_code": None}
    residents: dict[str, str] = {}
    for column, cell in row.items():
        if column in RESIDENTS_COLUMNS:
            residents[RESIDENTS_COLUMNS[column]] = cell
        else:
            unit[column] = _iso_date(cell) if column in DATE_COLUMNS else cell
    return unit | ({"residents": residents} if residents else {})


def _iso_date(cell: str) -> str:
    return SPREADSHEET_DATE.sub(lambda match: f"{match[1]}-{int(match[2]):02}-{int(match[3]):02}", cell)


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
    if units is not None and (match := UNIT_PATH.match(finding.at)):
        columns = {f"residents.{key}": column for column, key in RESIDENTS_COLUMNS.items()}
        column = columns.get(match[2], match[2])
        return finding._replace(at=units.at(units.rows[int(match[1])].line, column))
    if channels is not None and (match := CHANNEL_PATH.match(finding.at)):
        line = next((row.line for row in channels.rows if row["channel"] == match[1]), 1)
        return finding._replace(at=channels.at(line, ""))
    return finding


def _with_line(finding: Finding, path: Path, written: Mapping[str, Written]) -> Finding:
    """The finding with file and line of its key, or of the nearest key around it. A finding in a CSV file has them already."""
    if IN_CSV.search(finding.at):
        return finding
    key = finding.at
    while key not in written and f"{key}_file" not in written:
        key = LAST_STEP.sub("", key)
    line = written[key if key in written else f"{key}_file"].line
    return finding._replace(at=f"{path.name} 第 {line} 行 {finding.at}".rstrip())


def _text(path: Path, max_bytes: int) -> str:
    """The text of a file in UTF-8 or GB18030."""
    try:
        with path.open("rb") as file:
            body = file.read(max_bytes + 1)
    except OSError as error:
        message = f"读不了：{os_reason(error)}；请核对文件名和权限"
        raise CampaignFileError([Finding(str(path), None, message)]) from error
    if len(body) > max_bytes:
        raise CampaignFileError([Finding(path.name, None, f"超过 {max_bytes // 1024} KiB；请拆分或精简")])
    text = decoded(body)
    if text is None:
        raise CampaignFileError([Finding(path.name, None, "既不是 UTF-8 也不是 GB18030 编码；请另存为 UTF-8")])
    return text
