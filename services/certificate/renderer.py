"""The certificate as PDF, by Typst. Owns the fonts, the template's inputs, and what happens to characters no font has.

Everything it needs comes with the installed packages: no system font, no network, no temporary file
(docs/decisions/certificate-font.md).
"""

import hashlib
import json
import threading
import unicodedata
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import date
from pathlib import Path
from typing import Any, Final, cast
from zoneinfo import ZoneInfo

import pylopdf_fonts_zh_cn
import segno
import typst
from fontTools.ttLib import TTFont

from services.certificate.domain import CertificateContent, fingerprint
from shared.contracts.campaign import fill

TEMPLATE: Final = Path(__file__).with_name("certificate.typ")
FONT_DIR: Final = pylopdf_fonts_zh_cn.serif_path().parent  # Noto Serif SC and Noto Sans SC
MISSING: Final = "〓"  # the printer's mark for a type that is missing; an empty box would look like a broken file

_SHANGHAI: Final = ZoneInfo("Asia/Shanghai")
_CHINESE_DIGITS: Final = str.maketrans("0123456789", "〇一二三四五六七八九")
_NO_TITLES: Final[Mapping[date, str]] = {}


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
        `extra_font_dirs` hold fonts for names that ours lack."""
        self._public_url = public_url.rstrip("/")
        self._specimen = specimen
        self._seal = seal
        fonts = typst.Fonts(
            include_system_fonts=False, include_embedded_fonts=False, font_paths=[FONT_DIR, *extra_font_dirs]
        )
        self._families = fonts.families()
        self._covered = _covered_characters(fonts.fonts())
        self.fonts_given = _digest(
            {path for font in fonts.fonts() if (path := Path(str(font.path))).parent != FONT_DIR}
        )
        """Names the further fonts; empty without any. A font that comes later prints what was missing before."""
        self._compiler = typst.Compiler(TEMPLATE, root=TEMPLATE.parent, font_paths=fonts)
        self._one_at_a_time = threading.Lock()

    def render(
        self,
        certificate: CertificateContent,
        *,
        code: str,
        key_id: str,
        wording: Wording = DEFAULT_WORDING,
        lesson_titles: Mapping[date, str] = _NO_TITLES,
        time_zone: ZoneInfo = _SHANGHAI,
    ) -> bytes:
        """The PDF (one page, about 60 KB, about 15 ms). The same arguments give the same bytes.

        `code` goes into the QR, `key_id` names the signing key; `wording`, `lesson_titles` (of all lessons) and `time_zone`
        are the campaign's.
        """
        inputs = {
            **self._certificate_texts(certificate, wording, lesson_titles, time_zone),
            **self._proof(certificate, code, key_id),
            "specimen": self._specimen,
            "seal_png": list(self._seal) if self._seal else None,
            "extra_families": self._families,
        }
        with self._one_at_a_time:
            pdf = self._compiler.compile(
                format="pdf",
                sys_inputs={"certificate": json.dumps(inputs, ensure_ascii=False)},
                timestamp=certificate.issued_at,
            )
        return cast(bytes, pdf)  # a list only for several pages of PNG or SVG

    def missing_characters(self, text: str) -> str:
        """The visible characters that no font has, each once. The PDF shows `MISSING` in their place."""
        return "".join(dict.fromkeys(char for char in text if not self._is_covered(char) and not _is_invisible(char)))

    def _certificate_texts(
        self, certificate: CertificateContent, wording: Wording, lesson_titles: Mapping[date, str], time_zone: ZoneInfo
    ) -> dict[str, Any]:
        lessons = certificate.credited_lessons
        numbers = {lesson: number for number, lesson in enumerate(sorted(lesson_titles), start=1)}
        return {
            "serial": certificate.serial,
            "campaign_title": self._printable(certificate.campaign_title),
            "title": self._printable(wording.title),
            "holder_kind": "" if certificate.name else "平台账号",
            "holder": self._printable(certificate.name or certificate.viewer_id),
            "statement": self._printable(fill(wording.body, _values(certificate))),
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

    def _proof(self, certificate: CertificateContent, code: str, key_id: str) -> dict[str, Any]:
        url = f"{self._public_url}/v/{code}"
        return {
            "verify_url": self._printable(url),
            # Comparing all eight masks would take 6 ms, a third of the certificate; every reader reads any of them.
            "qr_svg": segno.make_qr(url, error="m", mask=0).svg_inline(border=1, dark="#2b2622"),
            "fingerprint": fingerprint(certificate),
            "key_id": key_id,
        }

    def _printable(self, text: str) -> str:
        """One line of characters that the fonts have. The signed content keeps the original."""
        one_line = " ".join(text.split())
        return "".join(char if self._is_covered(char) else "" if _is_invisible(char) else MISSING for char in one_line)

    def _is_covered(self, char: str) -> bool:
        return ord(char) in self._covered


def _values(certificate: CertificateContent) -> dict[str, str]:
    """The text for each of `CERTIFICATE_PLACEHOLDERS`. The dates are those of the holder's credited lessons."""
    lessons = certificate.credited_lessons
    return {
        "name": certificate.name or certificate.viewer_id,
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


def _digest(paths: Iterable[Path]) -> str:
    contents = [hashlib.sha256(path.read_bytes()).digest() for path in sorted(paths)]
    return "-" + hashlib.sha256(b"".join(contents)).hexdigest()[:8] if contents else ""


def _covered_characters(fonts: Iterable[typst.FontInfo]) -> frozenset[int]:
    covered: set[int] = set()
    for font in fonts:
        with TTFont(font.path, fontNumber=font.index, lazy=True) as file:
            covered |= file.getBestCmap().keys()
    return frozenset(covered)
