"""Names of people: as they are signed, printed and kept, and how much of one may be shown. Pure."""

import re
import unicodedata
from typing import Final

NAME_MAX_CHARS: Final = 50
_PADDED_MAX_CHARS: Final = 4  # a longer name with a space, such as 买买提 吐尔逊, has two parts
_MASK_MAX_STARS: Final = 4  # so that the mask does not tell how long a name is

_MIDDLE_DOTS: Final = re.compile(r"\s*[·•・･‧∙⋅][\s·•・･‧∙⋅]*")
_HAN: Final = re.compile(r"[〇㐀-䶿一-鿿豈-﫿\U00020000-\U0003ffff]+")
_JOINERS: Final = (
    "\u200c\u200d"  # shape letters in some scripts; every other format character only hides or reverses text
)
_COMPOUND_SURNAMES: Final = frozenset(
    re.findall(
        "..",
        "欧阳歐陽太史端木上官司马司馬东方東方独孤獨孤南宫南宮万俟闻人聞人夏侯诸葛諸葛尉迟尉遲公羊赫连赫連澹台皇甫濮阳濮陽公冶"
        "申屠公孙公孫慕容仲孙仲孫钟离鍾離长孙長孫宇文司徒鲜于鮮于司空闾丘閭丘令狐轩辕軒轅拓跋呼延东郭東郭南门南門西门西門左丘梁丘"
        "段干百里达奚褚师纳兰納蘭",
    )
)


class NameRefused(ValueError):
    """The text cannot be printed as a name; `str(error)` says why and does not repeat it."""


def normalise_name(raw: str) -> str | None:
    """The name as it is signed and printed; None where the text has nothing visible. Raises `NameRefused`.

    Normalised by NFC and not by NFKC, which would replace characters that people have in their names. Every kind of middle dot
    becomes `·`. A short Chinese name loses its inner spaces, because forms pad it to the width of longer names (李　四).
    """
    if any(unicodedata.category(char) in ("Cc", "Cs") for char in raw):
        raise NameRefused("姓名里有看不见的控制字符")
    visible = "".join(char for char in raw if char in _JOINERS or unicodedata.category(char) != "Cf")
    name = " ".join(_MIDDLE_DOTS.sub("·", unicodedata.normalize("NFC", visible)).split()).strip("· " + _JOINERS)
    unpadded = name.replace(" ", "")
    if len(unpadded) <= _PADDED_MAX_CHARS and _HAN.fullmatch(unpadded):
        name = unpadded
    if len(name) > NAME_MAX_CHARS:
        raise NameRefused(f"姓名最长 {NAME_MAX_CHARS} 个字符")
    return name or None


def mask_name(name: str) -> str:
    """The name with stars, such as 李*, 刘*亮, 欧阳**, 买买提·吐**, J*** S****. Something of every name is hidden, and all of a
    name of one character."""
    parts = [part for part in name.split("·") if part.strip()]
    if not all(_HAN.fullmatch(part) for part in parts):
        return "·".join(" ".join(_initial(word) for word in part.split()) for part in parts)
    if len(parts) < 2:
        return "".join(_mask_chinese(part) for part in parts)
    given, second, *others = parts
    return "·".join([given, _initial(second), *(_stars(len(other)) for other in others)])


def _mask_chinese(name: str) -> str:
    if len(name) > 2 and name[:2] in _COMPOUND_SURNAMES:
        return name[:2] + _stars(len(name) - 2)
    return f"{name[0]}*{name[2]}" if len(name) == 3 else _initial(name)


def _initial(word: str) -> str:
    return word[0] + _stars(len(word) - 1) if len(word) > 1 else "*"


def _stars(count: int) -> str:
    return "*" * min(count, _MASK_MAX_STARS)
