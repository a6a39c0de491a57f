"""Says in zh-Hans what is wrong with a field of a request. What pydantic says is English, and quotes what was sent."""

from collections.abc import Mapping, Sequence
from typing import Any

from shared.contracts.base import ID_PATTERN, ONE_LINE_PATTERN

_ABOUT = "请求"
_SAYS = {
    "missing": "没有写，请补上",
    "extra_forbidden": "不是这里能用的名称，请核对拼写或去掉",
    "string_type": "应为文字",
    "string_too_short": "至少 {min_length} 个字符",
    "string_too_long": "最多 {max_length} 个字符",
    "string_pattern_mismatch": "格式不对，应符合 {pattern}",  # what `_PATTERNS` does not know
    "int_type": "应为整数",
    "int_parsing": "应为整数",
    "int_parsing_size": "数太大",
    "int_from_float": "应为整数，不能带小数",
    "float_type": "应为数字",
    "float_parsing": "应为数字",
    "finite_number": "应为有限的数",
    "bool_type": "应为 true 或 false",
    "bool_parsing": "应为 true 或 false",
    "greater_than": "应大于 {gt}",
    "greater_than_equal": "不能小于 {ge}",
    "less_than": "应小于 {lt}",
    "less_than_equal": "不能大于 {le}",
    "literal_error": "只能是 {expected} 之一",
    "enum": "只能是 {expected} 之一",
    "list_type": "应为列表",
    "tuple_type": "应为列表",
    "set_type": "应为列表",
    "too_short": "至少 {min_length} 项",
    "too_long": "最多 {max_length} 项",
    "dict_type": "应为键与值的对照",
    "model_type": "应为键与值的对照",
    "model_attributes_type": "应为键与值的对照",
    "json_invalid": "不是有效的 JSON",
    "json_type": "不是有效的 JSON",
    "timezone_aware": "没有写时区，请写成 2024-06-29T19:30:00+08:00",
    "string_unicode": "含有无效字符",
    "string_sub_type": "应为文字",
}
_PATTERNS = {
    ID_PATTERN: "只能用英文字母、数字和 . _ : -，1 到 64 个字符",
    ONE_LINE_PATTERN: "不能有换行等控制字符",
}
_BY_BEGINNING = {
    "date_": "不是日期，请写成 2024-06-29",
    "datetime_": "不是时间，请写成 2024-06-29T19:30:00+08:00",
    "timezone_": "不是时间，请写成 2024-06-29T19:30:00+08:00",
    "time_": "不是时刻，请写成 19:30",
    "uuid_": "不是 UUID",
}


def errors_of(items: Sequence[Mapping[str, Any]]) -> list[dict[str, str]]:
    """Pydantic's findings as pairs: the place (`query.n`), and a sentence that begins with the field's name."""
    return [{"at": ".".join(map(str, item["loc"])), "message": _sentence(item)} for item in items]


def _sentence(item: Mapping[str, Any]) -> str:
    kind: str = item["type"]
    place = [str(part) for part in item["loc"]][1:]  # without where it stands: query, path, body
    name = ".".join(place) if place and kind != "json_invalid" else _ABOUT
    context = {key: _readable(value) for key, value in (item.get("ctx") or {}).items()}
    if kind == "value_error" and not str(context.get("error", "")).isascii():  # of our own validators, in Chinese
        return f"{name}：{context['error']}"
    known = (
        _PATTERNS.get(context.get("pattern", ""))
        or _SAYS.get(kind)
        or next((text for beginning, text in _BY_BEGINNING.items() if kind.startswith(beginning)), "不符合要求")
    )
    return f"{name}：{known.format_map(context)}"


def _readable(value: Any) -> str:
    return str(value).replace("' or '", "'、'").replace("', '", "'、'")
