"""What becomes of an uploaded picture: upright, small, a JPEG of nothing but pixels; or a refusal that says why."""

import json
from datetime import datetime, timedelta
from io import BytesIO

import pytest
from PIL import Image, ImageOps

from services.reporting.obligations.pictures import domain, reencoding
from services.reporting.obligations.pictures.reencoding import PictureRefused, near_hash, reencode
from shared.contracts.campaign import read_rules
from tests.support import pictures
from tests.support.campaigns import campaign
from tests.support.pictures import encoded, exif, markers, quarters, scene

HTML = b"<html><script>alert(1)</script></html>"
SVG = (
    b'<?xml version="1.0"?><svg xmlns="http://www.w3.org/2000/svg" width="9" height="9"><script>alert(1)</script></svg>'
)
ZIP = b"PK\x03\x04" + bytes(40)
COLOURS = [(255, 0, 0), (0, 255, 0), (0, 0, 255), (255, 255, 255)]


def shown(upload: bytes) -> Image.Image:
    """What is kept of the upload, decoded."""
    picture = Image.open(BytesIO(reencode(upload)[0]))
    assert (picture.format, picture.mode) == ("JPEG", "RGB")
    return picture


def corners(picture: Image.Image) -> list[tuple[int, ...]]:
    """The colours of the four quarters, each channel 0, 128 or 255."""
    width, height = picture.size
    points = [(x * width // 4, y * height // 4) for y in (1, 3) for x in (1, 3)]
    return [
        tuple(round(value / 127.5) * 127 + (value > 191) for value in _channels(picture, point)) for point in points
    ]


def _channels(picture: Image.Image, point: tuple[int, int]) -> tuple[int, ...]:
    value = picture.getpixel(point)
    assert isinstance(value, tuple)
    return tuple(int(channel) for channel in value)


# ---- what is taken ---------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("kind", ["JPEG", "WEBP", "PNG"])
@pytest.mark.parametrize("orientation", range(1, 9))
def test_a_picture_is_turned_upright(orientation: int, kind: str) -> None:
    picture = shown(pictures.turned(orientation, kind))
    assert picture.size == (80, 40)
    assert corners(picture) == COLOURS


@pytest.mark.parametrize(
    "upload",
    [
        encoded(quarters(), "HEIF", quality=95),
        encoded(quarters().convert("CMYK"), quality=95),
        encoded(quarters().quantize(4), "PNG"),
        encoded(quarters().convert("RGBA"), "PNG"),
        encoded(quarters(), "WEBP", lossless=True),
        encoded(quarters(), "WEBP", lossless=True, save_all=True, append_images=[scene(size=(80, 40))]),
        encoded(quarters(), progressive=True, quality=95),
        encoded(quarters(), "MPO", save_all=True, append_images=[scene(size=(80, 40))], quality=95),
    ],
    ids=["heic", "cmyk", "palette", "rgba", "webp", "animated webp", "progressive", "two in one"],
)
def test_every_kind_keeps_its_colours(upload: bytes) -> None:
    assert corners(shown(upload)) == COLOURS


def test_sixteen_bits_of_grey_are_not_all_white() -> None:
    half = encoded(Image.new("I;16", (20, 20), 0x8000), "PNG")
    assert corners(shown(half)) == [(127, 127, 127)] * 4


def test_what_is_transparent_becomes_white() -> None:
    palette = Image.new("P", (20, 20), 0)
    palette.putpalette([0, 0, 0])
    for upload in (
        encoded(Image.new("RGBA", (20, 20), (0, 0, 0, 0)), "PNG"),
        encoded(palette, "PNG", transparency=0),
        encoded(Image.new("LA", (20, 20), (0, 0)), "PNG"),
    ):
        assert corners(shown(upload)) == [(255, 255, 255)] * 4


@pytest.mark.parametrize(
    ("size", "kept", "thumbnail"),
    [
        ((3200, 1200), (1600, 600), (240, 90)),
        ((100, 6000), (27, 1600), (4, 240)),
        ((1600, 1600), (1600, 1600), (240, 240)),
        ((300, 200), (300, 200), (240, 160)),
        ((1, 1), (1, 1), (1, 1)),
    ],
)
@pytest.mark.parametrize("kind", ["JPEG", "PNG"])
def test_it_is_made_smaller_and_never_larger(
    kind: str, size: tuple[int, int], kept: tuple[int, int], thumbnail: tuple[int, int]
) -> None:
    jpeg, small, _ = reencode(encoded(scene(size=size), kind))
    assert (Image.open(BytesIO(jpeg)).size, Image.open(BytesIO(small)).size) == (kept, thumbnail)


@pytest.mark.parametrize("kind", ["JPEG", "PNG", "WEBP", "HEIF"])
def test_nothing_but_pixels_gets_through(kind: str) -> None:
    """No place, camera, comment, profile or embedded thumbnail; nothing behind the picture."""
    extra = {"comment": b"comment " + HTML} if kind == "JPEG" else {}
    upload = encoded(
        scene(), kind, exif=exif().tobytes(), icc_profile=b"profile " * 20, xmp=b"<xmp>place</xmp>", **extra
    )
    upload += HTML + ZIP
    for secret in (b"860123456789012", HTML, ZIP):
        assert secret in upload
    for picture in reencode(upload)[:2]:
        assert set(markers(picture)) == {0xE0, 0xDB, 0xC0, 0xC4}  # JFIF, quantization, frame, Huffman
        for secret in (b"860123456789012", b"profile", b"xmp", b"script", b"PK\x03\x04", b"Exif"):
            assert secret not in picture


# ---- what is refused -------------------------------------------------------------------------------------------------

KINDS = {"JPEG": "JPEG", "PNG": "PNG", "WEBP": "WEBP", "HEIC": "HEIF"}


@pytest.mark.parametrize(
    ("upload", "refusal"),
    [
        (pictures.png(60_000, 60_000), "picture-too-large"),
        (pictures.black_png(8_001, 5_000), "picture-too-large"),
        (pictures.png(50_000, 1), "picture-too-large"),
        (pictures.black_png(20_001, 2), "picture-too-large"),
        (pictures.heic_of(30_000, 30_000), "picture-too-large"),
        (pictures.webp_of(16_000, 16_000), "picture-too-large"),
        (pictures.jpeg_of(65_000, 65_000), "picture-too-large"),
        (SVG, "picture-kind"),
        (HTML, "picture-kind"),
        (ZIP, "picture-kind"),
        (b"\x00", "picture-kind"),
        (encoded(scene(), "GIF") + ZIP, "picture-kind"),
        (encoded(scene(), "BMP"), "picture-kind"),
        (encoded(scene(), "TIFF"), "picture-kind"),
        (encoded(scene(), "AVIF"), "picture-kind"),
        (HTML + encoded(scene()), "picture-kind"),
        (pictures.png(100, 100), "picture-unreadable"),
        (pictures.heic_of(70, 64), "picture-unreadable"),
        *((encoded(scene(), kind)[:-200], "picture-unreadable") for kind in KINDS.values()),
    ],
    ids=[
        *(
            "png bomb",
            "40 megapixels and a little",
            "50,000 px wide",
            "20,001 px wide",
            "heic bomb",
            "webp bomb",
            "jpeg bomb",
        ),
        *("svg", "html", "zip", "one byte", "gif with a zip", "bmp", "tiff", "avif", "html before a jpeg"),
        *("png without pixels", "heic that says more than it has"),
        *(f"{kind} cut off" for kind in KINDS),
    ],
)
def test_what_is_no_picture_for_us_is_refused(upload: bytes, refusal: str) -> None:
    with pytest.raises(PictureRefused) as refused:
        reencode(upload)
    assert refused.value.name == refusal
    assert json.loads(reencoding.answer(upload)) == {"refused": refusal}


def test_forty_megapixels_are_taken() -> None:
    assert shown(pictures.black_png(8_000, 5_000)).size == (1600, 1000)


# ---- what it is recognized by ----------------------------------------------------------------------------------------


def bits_between(one: int | None, other: int | None) -> int:
    assert one is not None
    assert other is not None
    return ((one ^ other) & (2**64 - 1)).bit_count()


def test_a_near_hash_is_the_same_for_ever() -> None:
    picture = Image.new("L", (9, 8))
    picture.putdata([(8 - x if y % 2 else x) * 20 for y in range(8) for x in range(9)])  # every other row gets darker
    assert near_hash(picture) == 0x00FF00FF00FF00FF
    assert near_hash(ImageOps.flip(picture)) == 0xFF00FF00FF00FF00 - 2**64


def test_a_picture_sent_on_is_recognized_and_another_one_is_not() -> None:
    hashes = [reencode(encoded(scene(seed)))[2] for seed in range(20)]
    for seed, known in enumerate(hashes):
        smaller = encoded(scene(seed).resize((300, 225)), "WEBP", quality=40)
        assert bits_between(reencode(smaller)[2], known) <= 5
        assert min(bits_between(other, known) for other in hashes if other != known) > 10


def test_pictures_of_one_colour_are_not_taken_for_each_other() -> None:
    for colour in ("white", "black", (200, 30, 30)):
        assert reencode(encoded(Image.new("RGB", (300, 200), colour)))[2] is None


# ---- how many, how long ----------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("unit_bytes", "campaign_bytes", "refusal"),
    [
        (0, 0, None),
        (domain.UNIT_PICTURES_MAX_BYTES - 1, 999, None),
        (domain.UNIT_PICTURES_MAX_BYTES, 999, "unit-pictures-full"),
        (0, 1000, "campaign-pictures-full"),
    ],
)
def test_a_unit_and_a_campaign_are_full_at_their_quota(
    unit_bytes: int, campaign_bytes: int, refusal: str | None
) -> None:
    assert domain.full(unit_bytes, campaign_bytes, 1000) == refusal


def test_a_picture_is_kept_for_a_week_unused_and_as_long_as_the_campaigns_data_in_a_report() -> None:
    rules = read_rules(campaign().rules())
    ends = datetime.fromisoformat("2024-07-01T00:00:00+08:00")
    assert domain.unused_until(ends) == ends + timedelta(days=7)
    for used, begins in ((ends - timedelta(days=2), ends), (ends + timedelta(days=3), ends + timedelta(days=3))):
        assert domain.used_until(used, rules) == begins + timedelta(days=180)
    assert domain.used_until(ends, None) == ends + timedelta(days=180)
