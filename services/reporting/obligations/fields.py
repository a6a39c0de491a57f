"""One answer to one question of a form: what it may be, and as what it is kept. Pure (DESIGN §5.2).

| type | kept as | given as, besides |
|---|---|---|
| integer | a whole number | a text of digits, `12.0` |
| decimal | a text of digits without superfluous zeros, `"12.5"`: a hash or a sum over floats is not exact | a number, a text |
| choice, choices | the option's id; a list of ids in the order of the options | |
| date | `"2024-06-29"` | `2024/6/29`, `2024.6.29`, `2024年6月29日` |
| text | NFC, lines end with LF, no blanks around it | |
| pictures, file | a list of the ids of pictures; the id of a file | |
| link | a text that begins with https:// | |

Nothing, a text of blanks and an empty list are no answer: the result is None, never 0. A number is at least 0 unless `min` says
less.
"""

import math
import re
import unicodedata
from collections.abc import Collection, Sequence
from datetime import date
from decimal import Decimal
from typing import Any, Final
from urllib.parse import urlsplit

from shared.contracts.base import ID_PATTERN
from shared.contracts.campaign_forms import (
    DECIMALS_MAX,
    NUMBER_MAX,
    PICTURES_MAX,
    TEXT_MAX_CHARACTERS,
    Column,
    FormField,
)
from shared.contracts.campaign_parts import CONTROL_CHARACTER_IN_PROSE

NUMBER_MAX_CHARS: Final = 40  # of a number that is typed; one more digit is a slip
FIRST_YEAR, LAST_YEAR = 2000, 2099

_NUMBER = re.compile(r"-?[0-9]+(\.[0-9]+)?")
_DATE = re.compile(r"([0-9]{4})(?:-([0-9]{1,2})-|/([0-9]{1,2})/|\.([0-9]{1,2})\.|年([0-9]{1,2})月)([0-9]{1,2})日?")
_ID = re.compile(ID_PATTERN)
_BLANK = re.compile(r"\s")

_DIGITS_ONLY = "只写半角数字，如 1234；不要写单位、逗号、空格或其他符号"
_LINK_ONLY = "请只粘贴以 https:// 开头的完整链接，前后不要带文字"

Known = Collection[str] | None
"""The ids of what was sent up before; None: not known, so any id will do."""


class Wrong(Exception):
    """What is wrong with an answer and what to do, as a sentence in zh-Hans."""


def answer(column: Column | FormField, given: Any, sent_up: Known) -> Any:
    """What is kept of an answer, None where none was given. `sent_up`: the pictures and files that there are. Raises `Wrong`."""
    if is_no_answer(given):
        return None
    match column.type:
        case "integer" | "decimal":
            return _number(column, given)
        case "choice":
            return _choice(column, given)
        case "choices":
            return _choices(column, given)
        case "date":
            return _date(given)
        case "text":
            return text_as_kept(given)
        case "link":
            return _link(given)
    return _ids(column.type == "pictures", given, sent_up)


def is_no_answer(given: Any) -> bool:
    """Whether nothing was filled in: nothing, an empty list, or a text of blanks; zero and False are something."""
    if isinstance(given, str):
        return not given.strip(" \t\r\n\u3000")
    return given is None or given == []


def number_of(kept: int | float | str) -> Decimal:
    """The exact value of a number as it is kept, or as a form's limit says it."""
    return Decimal(str(kept))


def _number(column: Column, given: Any) -> int | str:
    number = _exact(given)
    if abs(number) > NUMBER_MAX:
        raise Wrong(f"数字太大，最多 {NUMBER_MAX}；请核对")
    decimals = 0 if column.type == "integer" else column.decimals or DECIMALS_MAX
    if number != round(number, decimals):
        raise Wrong("应为整数；请去掉小数" if column.type == "integer" else f"最多 {decimals} 位小数；请四舍五入后再填")
    if number < (least := number_of(column.min or 0)):
        raise Wrong(f"不能小于 {shown_number(least)}；请核对后重填")
    if column.max is not None and number > (most := number_of(column.max)):
        raise Wrong(f"不能大于 {shown_number(most)}；请核对，是否多打了一位")
    return int(number) if column.type == "integer" else shown_number(number)


def _exact(given: Any) -> Decimal:
    """The number that is given, or typed. Raises `Wrong`."""
    match given:
        case int() if not isinstance(given, bool):
            return Decimal(given)
        case float() if math.isfinite(given):
            return Decimal(repr(given))
        case str():
            typed = given.strip()
            if len(typed) > NUMBER_MAX_CHARS:
                raise Wrong(f"数字太长，最多 {NUMBER_MAX}；请核对")
            if not _NUMBER.fullmatch(typed):
                raise Wrong(_DIGITS_ONLY)
            return Decimal(typed)
    raise Wrong(f"应为数字；{_DIGITS_ONLY}")


def shown_number(number: Decimal) -> str:
    """Without exponent, superfluous zeros, or the minus of a zero."""
    text = f"{number:f}"
    text = text.rstrip("0").rstrip(".") if "." in text else text
    return "0" if text == "-0" else text


def _choice(column: Column, given: Any) -> str:
    if not isinstance(given, str):
        raise Wrong("应选一项；请从选项中选择")
    if all(option.id != given for option in column.options):
        raise Wrong(f"没有这个选项；可选 {_titles(column)}")
    return given


def _choices(column: Column, given: Any) -> list[str]:
    if not isinstance(given, list) or not all(isinstance(chosen, str) for chosen in given):
        raise Wrong("应为选项的列表；请从选项中选择")
    known = [option.id for option in column.options]
    if not set(given) <= set(known):
        raise Wrong(f"有不认识的选项；可选 {_titles(column)}")
    return [option for option in known if option in given]


def _titles(column: Column) -> str:
    return "、".join(option.title for option in column.options[:10]) + ("……" if len(column.options) > 10 else "")


def _date(given: Any) -> str:
    wrong = Wrong("应为日期，如 2024-06-29；请填年、月、日")
    found = _DATE.fullmatch(given.strip()) if isinstance(given, str) else None
    if found is None or ("年" in found[0]) != ("日" in found[0]):
        raise wrong
    year, month, day = (int(part) for part in found.groups() if part)
    if not FIRST_YEAR <= year <= LAST_YEAR:
        raise Wrong(f"年份应在 {FIRST_YEAR} 到 {LAST_YEAR} 之间；请核对")
    try:
        return str(date(year, month, day))
    except ValueError:
        raise Wrong("没有这一天；请核对月和日") from None


def text_as_kept(given: Any) -> str:
    """A text as it is kept. Raises `Wrong`."""
    if not isinstance(given, str):
        raise Wrong("应为文字；请重新填写")
    if len(given) > 2 * TEXT_MAX_CHARACTERS:
        raise Wrong(f"太长，最多 {TEXT_MAX_CHARACTERS} 个字；请缩短")
    text = given.replace("\r\n", "\n").replace("\r", "\n")
    if CONTROL_CHARACTER_IN_PROSE.search(text):
        raise Wrong("含有看不见的控制字符；请删掉后重新输入，不要从别处粘贴")
    if any("\ud800" <= character <= "\udfff" for character in text):
        raise Wrong("含有不完整的字符；请删掉后重新输入")
    text = unicodedata.normalize("NFC", text).strip()
    if len(text) > TEXT_MAX_CHARACTERS:
        raise Wrong(f"有 {len(text)} 个字，最多 {TEXT_MAX_CHARACTERS} 个；请缩短")
    return text


def _link(given: Any) -> str:
    link = text_as_kept(given)
    try:
        parts = urlsplit(link)
        named = "." in (parts.hostname or "") and parts.port != 0
    except ValueError:
        named = False
    if not named or _BLANK.search(link) or not link.lower().startswith("https://") or "@" in parts.netloc:
        raise Wrong(_LINK_ONLY)
    return link


def _ids(many: bool, given: Any, sent_up: Known) -> str | list[str]:
    thing = "图片" if many else "文件"
    if not isinstance(given, list if many else str):
        raise Wrong(f"应为已上传的{thing}；请重新上传")
    listed: Sequence[Any] = given if many else [given]
    if len(listed) > PICTURES_MAX:
        raise Wrong(f"最多 {PICTURES_MAX} 张图片，这里有 {len(listed)} 张；请删去一些")
    if not all(isinstance(id_, str) and _ID.fullmatch(id_) for id_ in listed):
        raise Wrong(f"应为已上传的{thing}；请重新上传")
    if sent_up is not None and not set(listed) <= set(sent_up):
        raise Wrong(f"有{thing}还没有传上来；请重新上传后再提交")
    return list(dict.fromkeys(listed)) if many else given
