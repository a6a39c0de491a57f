"""Phone numbers: however one is typed it has one spelling, and that is what is stored, looked up and texted.

The library `phonenumbers` (well kept; 48 MB, 26 µs a number) is not used: phones are found by an HMAC of their spelling,
which must stay the same for ever, while the library's answers follow tables that change every other week. It also spells mainland
numbers differently from what databases already have, and reads `13800001111.0` of a spreadsheet as a number of twelve digits.
"""

import re
import unicodedata
from typing import Final

_NUMBER: Final = re.compile(r"\+?[0-9]{7,15}")
_FILLERS: Final = re.compile(r"[\s\-‐‑–—().]+")
_OF_A_SPREADSHEET: Final = re.compile(r"([^.]*)\.0+")
_MAINLAND: Final = re.compile(r"(?:\+86|0086|86)(1[0-9]{10})")


def normalise_phone(typed: str) -> str | None:
    """`13812345678` for a mobile number of the mainland, with or without its country; others as dialled, such as `+85291234567`
    or `03503021234`. None for what is no phone number."""
    plain = _plain(typed)
    if cell := _OF_A_SPREADSHEET.fullmatch(plain):
        plain = cell[1]
    number = _FILLERS.sub("", plain)
    if mainland := _MAINLAND.fullmatch(number):
        return mainland[1]
    return number if _NUMBER.fullmatch(number) else None


def phone_tail(phone: str) -> str | None:
    """The last four digits, which a viewer types to claim; None for what is no phone number."""
    number = normalise_phone(phone)
    return None if number is None else number[-4:]


def normalise_phone_tail(typed: str) -> str:
    """A typed tail, to be compared with `phone_tail`."""
    return _FILLERS.sub("", _plain(typed))


def _plain(typed: str) -> str:
    """Digits of any script as 0 to 9, full-width signs as ASCII, without the invisible marks that come along when copied."""
    visible = (char for char in unicodedata.normalize("NFKC", typed) if unicodedata.category(char) != "Cf")
    return "".join(str(unicodedata.digit(char)) if char.isdecimal() else char for char in visible).strip()
