"""A certificate as PDF and as picture: what can be read in it, and that no text breaks it."""

import hashlib
import io
import struct
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from datetime import UTC, date, datetime, timedelta
from pathlib import Path
from typing import Any
from zoneinfo import ZoneInfo

import pylopdf_fonts_zh_cn
import pytest
import segno
import zxingcpp
from fontTools.fontBuilder import FontBuilder
from fontTools.pens.ttGlyphPen import TTGlyphPen
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from PIL import Image
from pypdf import PdfReader
from pypdf.generic import ContentStream

from services.certificate.domain import CertificateContent
from services.certificate.renderer import MISSING, TEMPLATES, Renderer, Shape, Wording

RARE = "㐱𬭎䶮𠅤𫖯𰻝"
CODE = "7K3M9QXV2HD47K3M9QXV2HD4AB"
LESSONS = tuple(date(2024, 6, 29) + timedelta(days=day) for day in range(16))
TITLES = {lesson: f"防范第{number}种骗局" for number, lesson in enumerate(LESSONS, start=1)}
CONTENT = CertificateContent(
    serial="7K3M-9QXV-2HD4",
    campaign_id="jinshan-2024",
    campaign_title="晋善警美 全民反诈",
    issuer="示例市反诈中心",
    viewer_id="ks_8812",
    name="欧阳示例",
    credited_lessons=LESSONS,
    issued_at=datetime(2024, 7, 14, 12, 0, tzinfo=UTC),
)


@pytest.fixture(scope="module")
def renderer() -> Renderer:
    return Renderer(public_url="https://fanzha.example/", specimen=True)


def pdf(renderer: Renderer, content: CertificateContent = CONTENT, **options: Any) -> PdfReader:
    drawn = renderer.render(content, Shape.PDF, **{"code": CODE, "lesson_titles": TITLES} | options)
    return PdfReader(io.BytesIO(drawn))


def picture(renderer: Renderer, content: CertificateContent = CONTENT, **options: Any) -> Image.Image:
    drawn = renderer.render(content, Shape.PICTURE, **{"code": CODE, "lesson_titles": TITLES} | options)
    return Image.open(io.BytesIO(drawn)).convert("RGB")


def text(reader: PdfReader) -> str:
    """The text of the page without white space, because lines may break anywhere."""
    assert len(reader.pages) == 1
    return "".join(reader.pages[0].extract_text().split())


def embedded_fonts(reader: PdfReader) -> Iterator[Any]:
    resources: Any = reader.pages[0]["/Resources"]
    for font in resources["/Font"].values():
        yield font.get_object()["/DescendantFonts"][0].get_object()


def shown_glyphs(reader: PdfReader) -> set[int]:
    """The glyph numbers of the embedded fonts that the page draws; 0 is the empty box."""
    stream = ContentStream(reader.pages[0].get_contents(), reader)
    strings = [
        part
        for operands, operator in stream.operations
        if operator in (b"Tj", b"TJ")
        for operand in operands
        for part in (operand if isinstance(operand, list) else [operand])
        if hasattr(part, "original_bytes")
    ]
    glyphs = {glyph for part in strings for (glyph,) in struct.iter_unpack(">H", part.original_bytes)}
    assert len(glyphs) > 20, "the page's text was not found"
    return glyphs


class TestContent:
    def test_says_who_what_when_and_from_whom(self, renderer: Renderer) -> None:
        page = text(pdf(renderer))
        for part in (
            "结课证书",
            "欧阳示例",
            "晋善警美全民反诈",
            "示例市反诈中心",
            "7K3M-9QXV-2HD4",
            "二〇二四年七月十四日",
        ):
            assert part in page
        assert "于2024年6月29日至2024年7月14日参加" in page
        assert "累计签到16天" in page

    def test_says_it_in_the_campaigns_words(self, renderer: Renderer) -> None:
        body = "{name}：{first_date}起，{last_date}止，“{campaign_title}”{credited_days}课，\n#发证"
        page = text(pdf(renderer, wording=Wording("反诈学习证明", body)))
        assert "欧阳示例：2024年6月29日起，2024年7月14日止，“晋善警美全民反诈”16课，#发证" in page
        assert "反诈学习证明" in page
        assert "结课" not in page.replace("不作为结课证明", "")

    def test_a_placeholder_in_a_name_is_only_text(self, renderer: Renderer) -> None:
        content = replace(CONTENT, name="{credited_days}", campaign_title="{name}")
        page = text(pdf(renderer, content, wording=Wording("证", "授予{name}，“{campaign_title}”")))
        assert "授予{credited_days}，“{name}”" in page

    @pytest.mark.parametrize("size", [1, 6, 100])
    def test_any_title_stands_in_one_line(self, renderer: Renderer, size: int) -> None:
        assert "证" * size in text(pdf(renderer, wording=Wording("证" * size, "文" * 2000)))

    def test_lists_every_credited_lesson_with_its_number_among_all(self, renderer: Renderer) -> None:
        content = replace(CONTENT, credited_lessons=LESSONS[3:])
        page = text(pdf(renderer, content))
        for number, lesson in enumerate(LESSONS, start=1):
            assert (f"第{number}课{lesson:%m-%d}{TITLES[lesson]}" in page) == (lesson in content.credited_lessons)

    def test_lists_dates_where_titles_are_unknown(self, renderer: Renderer) -> None:
        page = text(pdf(renderer, lesson_titles={}))
        assert all(lesson.isoformat() in page for lesson in LESSONS)

    def test_without_a_name_shows_the_account(self, renderer: Renderer) -> None:
        assert "平台账号ks_8812" in text(pdf(renderer, replace(CONTENT, name=None)))

    def test_with_a_name_does_not_show_the_account(self, renderer: Renderer) -> None:
        assert "ks_8812" not in text(pdf(renderer))

    def test_says_in_plain_words_how_to_verify(self, renderer: Renderer) -> None:
        reader = pdf(renderer)
        page = text(reader)
        assert "扫码验证真伪也可打开下面的网址，输入编号https://fanzha.example/v/" in page
        annotations: Any = reader.pages[0]["/Annots"]
        assert [annotation.get_object()["/A"]["/URI"] for annotation in annotations] == [
            f"https://fanzha.example/v/{CODE}"
        ]
        everything = "".join(path.read_text() for path in TEMPLATES.iterdir()) + page
        for talk in ("Ed25519", "签名", "公钥", "指纹", "加密", "算法", "JSON）"):
            assert talk not in everything

    def test_the_date_is_that_of_the_campaigns_zone(self, renderer: Renderer) -> None:
        content = replace(CONTENT, issued_at=datetime(2024, 12, 31, 18, 0, tzinfo=UTC))
        assert "二〇二五年一月一日" in text(pdf(renderer, content))
        assert "二〇二四年十二月三十一日" in text(pdf(renderer, content, time_zone=ZoneInfo("UTC")))

    def test_a_specimen_says_so_and_a_real_one_does_not(self, renderer: Renderer) -> None:
        assert "演示样证" in text(pdf(renderer))
        assert "样证" not in text(pdf(Renderer(public_url="https://fanzha.example", specimen=False)))

    def test_metadata_names_the_campaign_and_no_person(self, renderer: Renderer) -> None:
        metadata = pdf(renderer).metadata
        assert metadata is not None
        assert metadata.title == "结课证书 · 晋善警美 全民反诈"
        assert metadata.author == "示例市反诈中心"
        assert not any("欧阳" in str(value) or "ks_8812" in str(value) for value in metadata.values())

    def test_the_same_certificate_gives_the_same_bytes(self, renderer: Renderer) -> None:
        for shape in Shape:
            first, second = (renderer.render(CONTENT, shape, code=CODE, lesson_titles=TITLES) for _ in range(2))
            assert first == second

    def test_a_seal_is_one_more_image_in_the_pdf_and_stands_in_the_picture(self, renderer: Renderer) -> None:
        buffer = io.BytesIO()
        segno.make_qr("seal").save(buffer, kind="png", scale=9, dark="#00ff00", light=None)
        sealed = Renderer(public_url="https://fanzha.example/", specimen=True, seal=buffer.getvalue())
        assert len(pdf(sealed).pages[0].images) == 1
        colours = [
            {colour for _, colour in picture(one_renderer).getcolors(1 << 24) or []}
            for one_renderer in (renderer, sealed)
        ]
        assert [(0, 255, 0) in palette for palette in colours] == [False, True]
        assert sealed.look != renderer.look, "else what was rendered without it stays"
        for damaged in (buffer.getvalue()[:-30], buffer.getvalue()[:20]):
            with pytest.raises(ValueError, match="损坏"):
                Renderer(public_url="https://fanzha.example/", specimen=True, seal=damaged)


def lesson_box(reader: PdfReader) -> tuple[float, float]:
    """Foot and top, in mm above the foot of the page, of the box of lessons: the only filled shape wider than 100 mm."""
    boxes: list[tuple[float, float]] = []
    path: list[float] = []
    # The vertical part of the matrix is enough, since no wide shape is rotated.
    scale, foot, saved = 1.0, 0.0, list[tuple[float, float]]()
    for operands, operator in ContentStream(reader.pages[0].get_contents(), reader).operations:
        numbers = [float(operand) for operand in operands] if operator in (b"cm", b"m", b"l", b"c") else []
        match operator:
            case b"q":
                saved.append((scale, foot))
            case b"Q":
                scale, foot = saved.pop()
            case b"cm":
                scale, foot = scale * numbers[3], foot + scale * numbers[5]
            case b"m" | b"l" | b"c":
                path += numbers
            case b"f" | b"f*" | b"S" | b"n":
                if operator in (b"f", b"f*") and max(path[::2]) - min(path[::2]) > 100 / 25.4 * 72:
                    ups = [(foot + scale * up) / 72 * 25.4 for up in path[1::2]]
                    boxes.append((min(ups), max(ups)))
                path = []
    (box,) = boxes
    return box


class TestLessons:
    @pytest.mark.parametrize(("count", "height"), [(1, 20), (3, 36), (16, 50)])
    def test_the_box_is_as_high_as_its_lessons_and_keeps_its_distance(
        self, renderer: Renderer, count: int, height: float
    ) -> None:
        foot, top = lesson_box(pdf(renderer, replace(CONTENT, credited_lessons=LESSONS[:count])))
        assert 0.8 * height < top - foot < height
        assert foot > 20 + 27 + 7, "above the QR"
        assert top < 210 - 78 - 15, "below the statement"

    def test_a_picture_is_as_high_as_its_lessons(self, renderer: Renderer) -> None:
        days = [date(2024, 6, 1) + timedelta(days=day) for day in range(62)]
        titles = {day: f"孝亲敬老百善当先，电信诈骗防范{number}" for number, day in enumerate(days)}
        heights = {}
        for count in (1, 3, 16, 31, 62):
            content = replace(CONTENT, credited_lessons=tuple(days[:count]))
            drawn = picture(renderer, content, lesson_titles=titles)
            assert drawn.width == 1080
            heights[count] = drawn.height
        assert 1500 < heights[1] < heights[3] < heights[16] < heights[31] < 3700
        assert heights[3] - heights[1] < 200

    @pytest.mark.parametrize("count", [3, 16])
    def test_the_code_in_a_picture_is_read_also_from_a_phones_screen(self, renderer: Renderer, count: int) -> None:
        drawn = picture(renderer, replace(CONTENT, credited_lessons=LESSONS[:count]))
        on_a_phone = drawn.resize((375, drawn.height * 375 // 1080))
        for seen in (drawn, on_a_phone):
            assert [code.text for code in zxingcpp.read_barcodes(seen)] == [f"https://fanzha.example/v/{CODE}"]


class TestPreview:
    def test_it_tells_no_more_of_a_holder_than_the_mask(self, renderer: Renderer) -> None:
        other = replace(CONTENT, name="欧阳王五", viewer_id="ks_1", serial="9XXX-9QXV-2HD4")
        drawn = [renderer.render(content, Shape.PREVIEW, code=CODE) for content in (CONTENT, other)]
        assert drawn[0] == drawn[1]
        assert Image.open(io.BytesIO(drawn[0])).size == (1200, 630)
        assert picture(renderer) != picture(renderer, other)

    def test_it_hides_an_account_as_well(self, renderer: Renderer) -> None:
        contents = [replace(CONTENT, name=None, viewer_id=account) for account in ("ks_8812", "kt_9992")]
        assert len({renderer.render(content, Shape.PREVIEW, code=CODE) for content in contents}) == 1


class TestAnyText:
    def test_rare_names_are_in_the_text_layer(self, renderer: Renderer) -> None:
        assert RARE in text(pdf(renderer, replace(CONTENT, name=RARE)))

    def test_no_glyph_is_missing_and_fonts_are_embedded_as_subsets(self, renderer: Renderer) -> None:
        reader = pdf(renderer, replace(CONTENT, name=RARE + "😀"))
        fonts = list(embedded_fonts(reader))
        assert {str(font["/BaseFont"])[8:].split("-")[0] for font in fonts} == {"NotoSerifSC", "NotoSansSC"}
        for font in fonts:
            assert str(font["/BaseFont"])[7] == "+", "not a subset"
            assert "/FontFile3" in font["/FontDescriptor"], "not embedded"
        assert 0 not in shown_glyphs(reader)

    @pytest.mark.parametrize(
        "name", ["李", "长" * 50, "W" * 50, '#panic() $x^2$ *b* _i_ \\ `c` <d> [e] "f" // @g', "a\\\nb"]
    )
    def test_printed_as_it_is_on_one_page(self, renderer: Renderer, name: str) -> None:
        assert "".join(name.split()) in text(pdf(renderer, replace(CONTENT, name=name)))

    def test_markup_in_every_text_is_only_text(self, renderer: Renderer) -> None:
        evil = '#panic("x")$]*'
        content = replace(CONTENT, name=evil, campaign_title=evil, issuer=evil, viewer_id=evil)
        page = text(pdf(renderer, content, lesson_titles=dict.fromkeys(LESSONS, evil)))
        assert page.count(evil) == 4 + len(LESSONS)  # name, issuer, the campaign's title twice

    def test_what_no_font_has_is_marked_and_reported(self, renderer: Renderer) -> None:
        name = "刘😀مُ👨\u200d👩亮\ufe0f"
        assert f"刘{MISSING * 2}{MISSING * 2}亮" in text(pdf(renderer, replace(CONTENT, name=name)))
        assert renderer.missing_characters(name) == "😀م👨👩"
        assert renderer.missing_characters(RARE) == ""

    def test_every_common_character_has_a_glyph(self, renderer: Renderer) -> None:
        unified_and_extension_a = "".join(map(chr, [*range(0x4E00, 0xA000), *range(0x3400, 0x4DC0)]))
        assert renderer.missing_characters(unified_and_extension_a) == ""

    @pytest.mark.parametrize("count", [0, 1, 40, 120, 366])
    def test_any_number_of_lessons_fits(self, renderer: Renderer, count: int) -> None:
        lessons = tuple(date(2024, 1, 1) + timedelta(days=day) for day in range(count))
        content = replace(CONTENT, credited_lessons=lessons)
        page = text(pdf(renderer, content, lesson_titles={}))
        assert all(lesson.isoformat() in page for lesson in lessons) or "清单见本证书的电子文件" in page
        assert picture(renderer, content, lesson_titles={}).height < 3700

    def test_long_texts_everywhere_fit(self, renderer: Renderer) -> None:
        content = replace(CONTENT, name="长" * 50, campaign_title="题" * 200, issuer="局" * 100, viewer_id="x" * 64)
        titles = dict.fromkeys(LESSONS, "课" * 30)
        page = text(pdf(renderer, content, lesson_titles=titles))
        assert page.count("课" * 30) == 16
        drawn = picture(renderer, content, lesson_titles=titles, wording=Wording("证" * 100, "文" * 2000))
        assert (drawn.width, drawn.height < 3700) == (1080, True)

    def test_dates_stand_where_titles_would_be_too_small(self, renderer: Renderer) -> None:
        lessons = tuple(date(2024, 1, 1) + timedelta(days=day) for day in range(60))
        for shown, titles in ((LESSONS, dict.fromkeys(LESSONS, "课" * 60)), (lessons, dict.fromkeys(lessons, "课"))):
            page = text(pdf(renderer, replace(CONTENT, credited_lessons=shown), lesson_titles=titles))
            assert all(lesson.isoformat() in page for lesson in shown)

    @settings(max_examples=25, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
    @given(st.text(st.characters(exclude_categories=["Cs"]), max_size=50), st.text(max_size=80))
    def test_never_fails_and_never_shows_an_empty_box(self, renderer: Renderer, name: str, title: str) -> None:
        content = replace(CONTENT, name=name, campaign_title=title.encode(errors="replace").decode())
        assert 0 not in shown_glyphs(pdf(renderer, content))

    def test_several_threads_may_render(self, renderer: Renderer) -> None:
        names = [f"刘{chr(0x4E00 + number)}亮" for number in range(12)]
        with ThreadPoolExecutor(4) as threads:
            pages = list(threads.map(lambda name: text(pdf(renderer, replace(CONTENT, name=name))), names))
        assert [name in page for name, page in zip(names, pages, strict=True)] == [True] * len(names)


class TestFonts:
    @pytest.mark.parametrize(
        ("path", "sha256"),
        [
            (pylopdf_fonts_zh_cn.sans_path(), "faa6c9df652116dde789d351359f3d7e5d2285a2b2a1f04a2d7244df706d5ea9"),
            (pylopdf_fonts_zh_cn.serif_path(), "e8f396decc1f0963a016a989c3d8852e863d1350996f573860a80767c83a1cd3"),
        ],
    )
    def test_are_the_pinned_files(self, path: Any, sha256: str) -> None:
        assert hashlib.sha256(path.read_bytes()).hexdigest() == sha256

    def test_a_deployment_can_add_fonts(self, renderer: Renderer, tmp_path: Path) -> None:
        save_square_font(tmp_path / "squares.ttf", "\U0002a6d6")
        content = replace(CONTENT, name="刘\U0002a6d6")
        assert renderer.missing_characters("刘\U0002a6d6") == "\U0002a6d6"
        extended = Renderer(public_url="https://fanzha.example", specimen=True, extra_font_dirs=[tmp_path])
        assert extended.missing_characters("刘\U0002a6d6") == ""
        assert extended.look != renderer.look, "else what was rendered without it stays"
        reader = pdf(extended, content)
        assert "刘\U0002a6d6" in text(reader)
        assert 0 not in shown_glyphs(reader)


def save_square_font(path: Path, character: str) -> None:
    pen = TTGlyphPen(None)
    pen.moveTo((100, 0))
    for point in ((900, 0), (900, 800), (100, 800)):
        pen.lineTo(point)
    pen.closePath()
    glyphs = [".notdef", "square"]
    font = FontBuilder(1000, isTTF=True)
    font.setupGlyphOrder(glyphs)
    font.setupCharacterMap({ord(character): "square"})
    font.setupGlyf(dict.fromkeys(glyphs, pen.glyph()))
    font.setupHorizontalMetrics(dict.fromkeys(glyphs, (1000, 100)))
    font.setupHorizontalHeader(ascent=880, descent=-120)
    names = {
        "familyName": "Squares",
        "styleName": "Regular",
        "fullName": "Squares Regular",
        "psName": "Squares-Regular",
    }
    font.setupNameTable(names)
    font.setupOS2()
    font.setupPost()
    font.save(path)
