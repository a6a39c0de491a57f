"""Cells: a sheet that we hand out shows text and runs nothing; one that we read may hold formulas without a value, and codes that
a spreadsheet took for numbers."""

import re
from datetime import date, datetime, time
from typing import Any

UNCALCULATED = "（公式没有算过）"  # what a cell holds whose formula no spreadsheet has worked out yet
SHEET_DIGITS = 15  # of a number in a spreadsheet; what follows is rounded to 0
SHEET_INTEGER_MAX = 10**SHEET_DIGITS
_FORMULA_START = ("=", "+", "-", "@", "\t", "\r")
_SCIENTIFIC = re.compile(r"\d(\.\d+)?[eE]\+\d+")
_WITH_POINT = re.compile(r"(\d{1,15})\.0+")
_AS_TEXT = re.compile(r"""="(?P<quoted>[^"]*)"|'(?P<marked>[^']*)""")  # a code begins with no apostrophe
_THOUSANDS = re.compile(r"\d{1,3}(,\d{3})+")


def inert(cell: str) -> str:
    """The cell as a spreadsheet shows it and never runs it: an apostrophe stands before a formula's first character."""
    return f"'{cell}" if cell.startswith(_FORMULA_START) else cell


def without_apostrophe(cell: str) -> str:
    """Undoes `inert`, so that refused rows can be corrected and handed in again."""
    return cell[1:] if cell.startswith("'") and cell[1:].startswith(_FORMULA_START) else cell


def cell_text(value: Any) -> str:
    """A cell as text: a spreadsheet's 8812.0 is the code 8812."""
    match value:
        case float() if value.is_integer() and abs(value) < SHEET_INTEGER_MAX:
            return str(int(value))
        case datetime() | date() | time():
            return value.isoformat()
        case _:
            return str(value)


def code_text(value: Any) -> str:
    """A code or phone as text: `8812.0`, `8,812`, `="8812"` and `'8812`, which spreadsheets and exports write for them, are
    8812."""
    text = cell_text(value)
    if match := _AS_TEXT.fullmatch(text) or _WITH_POINT.fullmatch(text):
        return next(group for group in match.groups() if group is not None)
    return text.replace(",", "") if _THOUSANDS.fullmatch(text) else text


def spoilt(value: Any, text: str) -> str | None:
    """What a spreadsheet turned a code into (zh-Hans), where the code cannot be restored; else None."""
    if isinstance(value, date | time | bool):  # a datetime is a date
        return "日期或是非"
    rounded = isinstance(value, float) and abs(value) >= SHEET_INTEGER_MAX
    return "数字，后几位已丢失" if rounded or _SCIENTIFIC.fullmatch(text) else None
