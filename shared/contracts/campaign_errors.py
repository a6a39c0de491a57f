"""Says in zh-Hans what is wrong with a campaign definition: the key, the value, and the remedy."""

import difflib
import re
import reprlib
from collections.abc import Mapping, Sequence
from datetime import date
from typing import Any, NamedTuple, get_args

from pydantic import BaseModel, ValidationError

from shared.contracts.base import ID_PATTERN
from shared.contracts.campaign import CampaignDefinition
from shared.contracts.campaign_checks import Faults
from shared.contracts.campaign_forms import UNIT_WORD_PATTERN

FINDINGS_MAX = 100
KEY_SHOWN_MAX = 64
HALF_WIDTH = {chr(code): chr(code - 0xFEE0) for code in range(0xFF01, 0xFF5F)} | dict(
    zip("，、。“”‘’【】　", ",,.\"\"''[] ", strict=True)
)
FORMAL = (
    "string_pattern_mismatch",
    "literal_error",
    "date_",
    "datetime_",
    "int_",
    "float_",
    "decimal_",
    "bool_",
    "model_",
)

CLOCK_KEYS = {"from", "to", "at", "closing_time"}
CLOCK = re.compile(r"([0-9]{1,2})[:.]([0-9]{2})")
EXAMPLES = {
    "date": "2024-06-29",
    "joins_on": "2024-06-29",
    "leaves_on": "2024-06-29",
    "by": "2024-07-01",
    "starts_on": "2024-06-29",
    "ends_on": "2024-07-14",
    "non_working_days": "2024-06-10",
    "extra_working_days": "2024-06-10",
    "claim_from": "2024-07-14T20:00:00+08:00",
}
SIMPLE = {
    "missing": "缺少这一项；请补上",
    "int_parsing": "应为整数；请改为不带引号和单位的整数",
    "int_type": "应为整数；请改为不带引号和单位的整数",
    "int_from_float": "应为整数，不能带小数",
    "string_unicode": "含有无效字符；请删除",
    "timezone_aware": "缺少时区；请写成 2024-07-14T20:00:00+08:00",
    "tuple_type": "应为列表；请在每一项前加 “- ”",
    "dict_type": "应为键与值的对照；请写成 “键: 值”",
    "model_type": "应为键与值的对照；请写成 “键: 值”",
    "model_attributes_type": "应为键与值的对照；请写成 “键: 值”",
    "bool_type": "应为 true 或 false；请去掉引号",
    "bool_parsing": "应为 true 或 false",
    "invalid_key": "键应为文字；请给它加引号",
}


class Finding(NamedTuple):
    """One thing to put right. `at`: path such as `windows.live[0].from`; `value`: what stands there, shortened."""

    at: str
    value: str | None
    message: str

    def __str__(self) -> str:
        value = "" if self.value is None else f"（现为 {self.value}）"
        return f"{self.at or '整个文件'}{value}：{self.message}"


def explain(error: ValidationError, written: Mapping[str, str] | None = None) -> list[Finding]:
    """Every finding of a failed `CampaignDefinition.model_validate`, at most `FINDINGS_MAX`. `written`: path → the value as its
    author wrote it, where that is known: `no`, `0137` and `1_000` are something else once they are read."""
    findings: list[Finding] = []
    for item in _without_echoes(error.errors(include_url=False)):
        at = path(item["loc"])
        cause = item.get("ctx", {}).get("error")
        if isinstance(cause, Faults):
            findings += [Finding(_below(at, fault.at), None, fault.message) for fault in cause.faults]
        else:
            text = (written or {}).get(at)
            findings.append(Finding(at, _value(item, text), _message(item, text)))
    return findings[:FINDINGS_MAX]


def _without_echoes(items: Sequence[Any]) -> list[Any]:
    """Leaves out "too short" for a list that is short only because its items were refused: the findings about the items are
    enough."""
    places = [item["loc"] for item in items]

    def is_echo(item: Any) -> bool:
        place = item["loc"]
        return item["type"] == "too_short" and any(p != place and p[: len(place)] == place for p in places)

    return [item for item in items[:FINDINGS_MAX] if not is_echo(item)]


def _below(at: str, key: str) -> str:
    """The path of `key` inside the part that stands at `at`."""
    return f"{at}{key}" if key.startswith("[") else ".".join(filter(None, (at, key)))


def path(location: Sequence[int | str]) -> str:
    """`("units", 3, "name")` → `units[3].name`."""
    text = ""
    for part in location:
        if part == "[key]":
            continue
        text += f"[{part}]" if isinstance(part, int) else f".{_readable(part)}"
    return text.removeprefix(".")


def _value(item: Any, text: str | None) -> str | None:
    """The value as shown in a finding: as its author wrote it, where YAML read it as something other than text."""
    if item["type"] == "missing":
        return None
    return reprlib.repr(item["input"]) if isinstance(item["input"], str) else text or _shown(item["input"])


def full_width(text: str) -> str | None:
    """Names the full-width signs in a text that has to be of half-width ones."""
    signs = [sign for sign in dict.fromkeys(text) if sign in HALF_WIDTH]
    return f"全角的 {' '.join(signs)}（半角是 {' '.join(HALF_WIDTH[sign] for sign in signs)}）" if signs else None


def _message(item: Any, text: str | None) -> str:
    signs = full_width(item["input"]) if isinstance(item["input"], str) and item["type"].startswith(FORMAL) else None
    return _complaint(item, text) + (f"；里面有{signs}" if signs else "")


def _complaint(item: Any, text: str | None) -> str:
    kind: str = item["type"]
    context: dict[str, Any] = item.get("ctx", {})
    key = _readable(next((part for part in reversed(item["loc"]) if isinstance(part, str) and part != "[key]"), ""))
    if kind in SIMPLE:
        return SIMPLE[kind]
    if kind == "value_error":
        return str(context["error"])
    if kind == "extra_forbidden":
        return _unknown_key(key, _keys_beside(item["loc"]))
    if kind == "string_type":
        return _not_a_text(key, item["input"], text)
    if kind == "string_pattern_mismatch":
        return _wrong_pattern(key, context["pattern"])
    if kind == "literal_error":
        return f"只能是 {context['expected'].replace(' or ', '、').replace(', ', '、')} 之一"
    if kind.startswith(("date_", "datetime_", "timezone_")):
        return f"不是有效的日期或时间；请写成 {EXAMPLES.get(key, EXAMPLES['date'])}"
    return _out_of_limits(kind, context) or f"不符合要求（{item['msg']}）"


def _unknown_key(key: str, allowed: Sequence[str]) -> str:
    name, colon, _ = key.partition("：")
    if colon and name.strip() in allowed:
        return f"{name.strip()} 后面是全角冒号；请改为半角冒号加一个空格"
    if signs := full_width(key):
        return f"不认识的键；里面有{signs}，请改为半角"
    close = difflib.get_close_matches(key, allowed, n=1)
    hint = f"；是否想写 {close[0]}？" if close else "；请删除，或核对拼写"
    return f"不认识的键{hint}"


def _not_a_text(key: str, value: Any, text: str | None) -> str:
    if key in CLOCK_KEYS:
        clock = CLOCK.match(text or "")
        example = f"{value // 60:02}:{value % 60:02}" if isinstance(value, int) and 0 <= value <= 1440 else "19:30"
        example = f"{int(clock[1]):02}:{clock[2]}" if clock else example
        return f'没有加引号的时间会被 YAML 读成数字；请给时间加引号："{example}"'
    if text == "":
        return "不能为空；请填写"
    match value:
        case bool():
            text = str(value).lower() if text is None else text
            return f'应为文字，却被读成了{"“是”" if value else "“否”"}；请加引号："{text}"'
        case int() | float():
            return f'应为文字，却是数字；请加引号："{value if text is None else text}"'
        case date():
            return f'应为文字，却是日期；请加引号："{value.isoformat() if text is None else text}"'
        case _:
            return f'应为文字；请加引号："{text}"' if text else "应为文字；请加引号"


def _wrong_pattern(key: str, pattern: str) -> str:
    if key in CLOCK_KEYS:
        end = "，结束时间可写 24:00" if key in {"to", "at"} else ""
        return f"不是有效的时间；请写成两位小时和两位分钟，如 19:30{end}"
    if pattern == UNIT_WORD_PATTERN:
        return "不能有空格；请写一个词，如 人次"
    if pattern == ID_PATTERN:
        return "代码只能用英文字母、数字和 . _ : -，1 到 64 个字符"
    return "应以小写英文字母开头，只含小写字母、数字和下划线，最长 32 个字符"


def _out_of_limits(kind: str, context: dict[str, Any]) -> str | None:
    match kind:
        case "string_too_short":
            return "不能为空；请填写"
        case "string_too_long":
            return f"最长 {context['max_length']} 个字符；请缩短"
        case "too_short":
            return f"至少要有 {context['min_length']} 项"
        case "too_long":
            return f"最多 {context['max_length']} 项"
        case "greater_than_equal":
            return f"不能早于 {context['ge']}" if isinstance(context["ge"], str) else f"不能小于 {context['ge']}"
        case "less_than_equal":
            return f"不能晚于 {context['le']}" if isinstance(context["le"], str) else f"不能大于 {context['le']}"
    return None


def _readable(key: str) -> str:
    """A key as a stranger wrote it, short and encodable."""
    return key[:KEY_SHOWN_MAX].encode(errors="replace").decode()


def _keys_beside(location: Sequence[int | str]) -> list[str]:
    """The keys that are allowed where the last one of `location` stands."""
    part: type[BaseModel] | None = CampaignDefinition
    for key in location[:-1]:
        if isinstance(key, str) and part is not None:
            fields = {field.alias or name: field for name, field in part.model_fields.items()}
            part = _part_in(fields[key].annotation) if key in fields else None
    return [] if part is None else sorted(field.alias or name for name, field in part.model_fields.items())


def _part_in(annotation: Any) -> type[BaseModel] | None:
    """The part of a definition that a field of this type holds, one or a list of them."""
    if isinstance(annotation, type) and issubclass(annotation, BaseModel):
        return annotation
    return next((part for inner in get_args(annotation) if (part := _part_in(inner))), None)


def _shown(value: Any) -> str | None:
    if value is None:
        return "空"
    if isinstance(value, date):
        return value.isoformat()
    if isinstance(value, dict | list | tuple):
        return None
    return reprlib.repr(value)
