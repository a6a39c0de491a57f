"""Draws the certificate as PDF and as pictures, by Typst. Owns the fonts, the inputs of the templates, and what is drawn for a
character that no font has.

Everything it needs comes with the installed packages: it uses no system font, no network and no temporary file
(docs/decisions/certificate-font.md).
"""

import base64
import hashlib
import json
import struct
import threading
import unicodedata
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import date
from enum import StrEnum
from functools import cache
from pathlib import Path
from typing import Any, Final, cast
from zoneinfo import ZoneInfo

import pylopdf_fonts_zh_cn
import segno
import typst
from fontTools.ttLib import TTFont

from services.certificate.domain import CertificateContent, mask_holder
from shared.contracts.campaign import fill

TEMPLATES: Final = Path(__file__).with_name("typst")
FONT_DIR: Final = pylopdf_fonts_zh_cn.serif_path().parent  # Noto Serif SC and Noto Sans SC
MISSING: Final = "〓"  # the printer's mark for a type that is missing; an empty box would look like a broken file

_SHANGHAI: Final = ZoneInfo("Asia/Shanghai")
_CHINESE_DIGITS: Final = str.maketrans("0123456789", "〇一二三四五六七八九")
_SEAL_ALONE: Final = b"#set page(width: 9cm, height: 9cm); #image(bytes(json(bytes(sys.inputs.seal))))"
_NO_TITLES: Final[Mapping[date, str]] = {}


class Shape(StrEnum):
    """How a certificate is drawn."""

    PDF = "pdf"  # one A4 page
    PICTURE = "picture"  # PNG for a phone, 1080 pixels wide
    PREVIEW = "preview"  # PNG that a chat shows of a link, 1200 × 630 pixels; its holder is masked


_TEMPLATE: Final = {Shape.PDF: "page.typ", Shape.PICTURE: "picture.typ", Shape.PREVIEW: "preview.typ"}
_PIXELS_PER_INCH: Final = {Shape.PICTURE: 216.0, Shape.PREVIEW: 144.0}  # 1080 pixels of 360 pt, 1200 of 600 pt


@dataclass(frozen=True)
class Wording:
    """What the campaign's definition lets a certificate say: its heading, and a text with `CERTIFICATE_PLACEHOLDERS`."""

    title: str
    body: str


DEFAULT_WORDING: Final = Wording(  # used where the definition has not arrived
    "结课证书",
    "于{first_date}至{last_date}参加“{campaign_title}”课程学习，累计签到{credited_days}天，完成规定课程，准予结课，特发此证。",
)


class Renderer:
    """Renders certificates; one per process. May be called from several threads: renders one certificate at a time."""

    def __init__(
        self, *, public_url: str, specimen: bool, seal: bytes | None = None, extra_font_dirs: Sequence[Path] = ()
    ) -> None:
        """`specimen` prints 演示样证 across the page; `seal` is the deployer's own PNG, set over the issuer's name;
        `extra_font_dirs` hold fonts for names that ours lack. Raises ValueError for a seal that cannot be drawn."""
        self._public_url = public_url.rstrip("/")
        self._specimen = specimen
        self._seal_svg = _in_svg(_drawable(seal)) if seal else None
        fonts = typst.Fonts(
            include_system_fonts=False, include_embedded_fonts=False, font_paths=[FONT_DIR, *extra_font_dirs]
        )
        self._families = fonts.families()
        self._covered = _covered_characters(fonts.fonts())
        further_fonts = {path for font in fonts.fonts() if (path := Path(str(font.path))).parent != FONT_DIR}
        self.look = _digest(
            self._public_url.encode(),
            bytes([specimen]),
            seal or b"",
            *(path.read_bytes() for path in sorted({*TEMPLATES.iterdir(), *further_fonts})),
        )
        """A hash of everything that the deployment contributes to a drawing (address, specimen or not, seal, fonts, templates).
        Where it has changed, drawings are rendered again."""
        self._compiler = typst.Compiler(root=TEMPLATES, font_paths=fonts)
        self._one_at_a_time = threading.Lock()

    def render(
        self,
        certificate: CertificateContent,
        shape: Shape,
        *,
        code: str,
        wording: Wording = DEFAULT_WORDING,
        lesson_titles: Mapping[date, str] = _NO_TITLES,
        time_zone: ZoneInfo = _SHANGHAI,
    ) -> bytes:
        """A PDF or PNG of one page. The same arguments give the same bytes.

        `code` goes into the QR; `wording`, `lesson_titles` (of all lessons) and `time_zone` are the campaign's.
        """
        holder = mask_holder(certificate) if shape is Shape.PREVIEW else certificate.name or certificate.viewer_id
        inputs = {
            **self._certificate_texts(certificate, holder, wording, lesson_titles, time_zone),
            **self._proof(code),
            "specimen": self._specimen,
            "seal_svg": self._seal_svg,
            "extra_families": self._families,
        }
        with self._one_at_a_time:
            drawn = self._compiler.compile(
                TEMPLATES / _TEMPLATE[shape],
                format="pdf" if shape is Shape.PDF else "png",
                ppi=_PIXELS_PER_INCH.get(shape),
                sys_inputs={"certificate": json.dumps(inputs, ensure_ascii=False)},
                timestamp=certificate.issued_at,
            )
        return cast(bytes, drawn)  # a list only for several pages of PNG or SVG

    def missing_characters(self, text: str) -> str:
        """The visible characters that no font has, each once. `MISSING` is drawn in their place."""
        return "".join(dict.fromkeys(char for char in text if not self._is_covered(char) and not _is_invisible(char)))

    def _certificate_texts(
        self,
        certificate: CertificateContent,
        holder: str,
        wording: Wording,
        lesson_titles: Mapping[date, str],
        time_zone: ZoneInfo,
    ) -> dict[str, Any]:
        lessons = certificate.credited_lessons
        numbers = {lesson: number for number, lesson in enumerate(sorted(lesson_titles), start=1)}
        return {
            "serial": certificate.serial,
            "campaign_title": self._printable(certificate.campaign_title),
            "title": self._printable(wording.title),
            "holder_kind": "" if certificate.name else "平台账号",
            "holder": self._printable(holder),
            "statement": self._printable(fill(wording.body, _values(certificate, holder))),
            "days": f"累计签到 {len(lessons)} 天",
            "lessons_heading": f"计入课程 · 共 {len(lessons)} 课",
            "titled": all(lesson in lesson_titles for lesson in lessons),
            "lessons": [
                {
                    "number": f"第{numbers[lesson]}课" if lesson in numbers else "",
                    "day": f"{lesson:%m-%d}",
                    "date": lesson.isoformat(),
                    "title": self._printable(lesson_titles.get(lesson, "")),
                }
                for lesson in lessons
            ],
            "issuer": self._printable(certificate.issuer),
            "issued_on": _date_in_characters(certificate.issued_at.astimezone(time_zone).date()),
        }

    def _proof(self, code: str) -> dict[str, Any]:
        """The two ways to verify that are printed: a QR to scan, and the address of a page on which the serial is typed."""
        url = f"{self._public_url}/v/{code}"
        return {
            "verify_url": url,
            "verify_page": self._printable(f"{self._public_url}/v/"),
            # Comparing all eight masks would take 6 ms, a third of the certificate; every reader reads any of them.
            "qr_svg": segno.make_qr(url, error="m", mask=0).svg_inline(border=1, dark="#2b2622"),
        }

    def _printable(self, text: str) -> str:
        """One line of characters that the fonts have. The signed content keeps the original."""
        one_line = " ".join(text.split())
        return "".join(char if self._is_covered(char) else "" if _is_invisible(char) else MISSING for char in one_line)

    def _is_covered(self, char: str) -> bool:
        return ord(char) in self._covered


def _values(certificate: CertificateContent, holder: str) -> dict[str, str]:
    """The text for each of `CERTIFICATE_PLACEHOLDERS`. The dates are those of the holder's credited lessons."""
    lessons = certificate.credited_lessons
    return {
        "name": holder,
        "credited_days": str(len(lessons)),
        "campaign_title": certificate.campaign_title,
        "first_date": _date(lessons[0]) if lessons else "—",
        "last_date": _date(lessons[-1]) if lessons else "—",
    }


def _date(day: date) -> str:
    return f"{day.year}年{day.month}月{day.day}日"


def _date_in_characters(day: date) -> str:
    """二〇二四年七月十四日, as a certificate is dated."""
    return f"{day.year}".translate(_CHINESE_DIGITS) + f"年{_up_to_99(day.month)}月{_up_to_99(day.day)}日"


def _up_to_99(number: int) -> str:
    tens, ones = divmod(number, 10)
    leading = "" if tens == 0 else "十" if tens == 1 else f"{tens}十".translate(_CHINESE_DIGITS)
    return leading + (str(ones).translate(_CHINESE_DIGITS) if ones else "")


def _is_invisible(char: str) -> bool:
    """Whether the character is a control, joiner, variation selector or mark, which is left out where no font has it."""
    return unicodedata.category(char) in ("Cc", "Cf", "Mn", "Me", "Zs")


def _drawable(png: bytes) -> bytes:
    """The same picture, after it was drawn once. Raises ValueError for a damaged one, which inside an SVG would silently be left
    out."""
    try:
        typst.compile(_SEAL_ALONE, format="png", sys_inputs={"seal": json.dumps(list(png))}, ignore_system_fonts=True)
    except typst.TypstError as error:
        raise ValueError("印章 SEAL_IMAGE 损坏了，画不出来：请重新导出为 PNG") from error
    return png


def _in_svg(png: bytes) -> str:
    """The PNG inside an SVG, as text. Templates get their data as JSON, and an array of 100,000 numbers would take longer than
    the rest of the drawing."""
    width, height = struct.unpack(">II", png[16:24])  # of IHDR, which comes first
    inside = f'<image width="{width}" height="{height}" href="data:image/png;base64,{base64.b64encode(png).decode()}"/>'
    return f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {width} {height}">{inside}</svg>'


def _digest(*parts: bytes) -> str:
    return hashlib.sha256(b"".join(hashlib.sha256(part).digest() for part in parts)).hexdigest()[:8]


def _covered_characters(fonts: Iterable[typst.FontInfo]) -> frozenset[int]:
    return frozenset[int]().union(*(_characters_of(str(font.path), font.index) for font in fonts))


@cache  # reading takes 0.1 s a font, and tests build the service some hundred times
def _characters_of(path: str, index: int) -> frozenset[int]:
    with TTFont(path, fontNumber=index, lazy=True) as file:
        return frozenset(file.getBestCmap())
