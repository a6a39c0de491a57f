"""Small pictures as phones send them, and as nobody should: each is generated, and none is large when it is sent."""

import random
import struct
import zlib
from io import BytesIO
from typing import Any

import pillow_heif
from PIL import Image

pillow_heif.register_heif_opener()

GPS = {1: "N", 2: (38.0, 25.0, 12.0), 3: "E", 4: (112.0, 44.0, 3.0)}
CAMERA = "Vivo X100 serial 860123456789012"


def scene(seed: int = 1, size: tuple[int, int] = (480, 360)) -> Image.Image:
    """Patches of colour, smooth as in a photograph; another seed is another scene."""
    small = Image.frombytes("RGB", (12, 9), random.Random(seed).randbytes(12 * 9 * 3))
    return small.resize(size, Image.Resampling.BICUBIC)


def quarters(size: tuple[int, int] = (80, 40)) -> Image.Image:
    """Red, green, blue and white quarters: upper left, upper right, lower left, lower right."""
    picture = Image.new("RGB", size, "white")
    width, height = size[0] // 2, size[1] // 2
    for colour, corner in (("red", (0, 0)), ("lime", (width, 0)), ("blue", (0, height))):
        picture.paste(colour, (*corner, corner[0] + width, corner[1] + height))
    return picture


def encoded(picture: Image.Image, kind: str = "JPEG", **options: Any) -> bytes:
    out = BytesIO()
    picture.save(out, kind, **options)
    return out.getvalue()


def exif(orientation: int = 1) -> Image.Exif:
    """What a camera writes: where, with what, and which side is up."""
    tags = Image.Exif()
    tags[0x0112] = orientation
    tags[0x010F] = CAMERA
    tags.get_ifd(0x8825).update(GPS)
    return tags


def turned(orientation: int, kind: str = "JPEG") -> bytes:
    """`quarters` as a camera held this way stores it (EXIF 2.32, tag 0x0112): upright when shown as the tag says."""
    stored_by = {
        2: Image.Transpose.FLIP_LEFT_RIGHT,
        3: Image.Transpose.ROTATE_180,
        4: Image.Transpose.FLIP_TOP_BOTTOM,
        5: Image.Transpose.TRANSPOSE,
        6: Image.Transpose.ROTATE_90,
        7: Image.Transpose.TRANSVERSE,
        8: Image.Transpose.ROTATE_270,
    }
    picture = quarters()
    if orientation in stored_by:
        picture = picture.transpose(stored_by[orientation])
    return encoded(picture, kind, exif=exif(orientation), quality=95)


def png(width: int, height: int, pixels: bytes = b"") -> bytes:
    """A PNG that says it has so many black and white pixels, whatever follows."""
    header = struct.pack(">IIBBBBB", width, height, 1, 0, 0, 0, 0)
    chunks = ((b"IHDR", header), (b"IDAT", zlib.compress(pixels)), (b"IEND", b""))
    return b"\x89PNG\r\n\x1a\n" + b"".join(_chunk(*chunk) for chunk in chunks)


def _chunk(name: bytes, content: bytes) -> bytes:
    return struct.pack(">I", len(content)) + name + content + struct.pack(">I", zlib.crc32(name + content))


def black_png(width: int, height: int) -> bytes:
    """As `png`, with all of its pixels, which compress to next to nothing."""
    return png(width, height, bytes((1 + (width + 7) // 8) * height))


def heic_of(width: int, height: int) -> bytes:
    """A small HEIC that says it has so many pixels."""
    small = encoded(quarters((64, 64)), "HEIF")
    at = small.index(b"ispe") + 8  # after the name, version and flags
    return small[:at] + struct.pack(">II", width, height) + small[at + 8 :]


def webp_of(width: int, height: int) -> bytes:
    """An animated WebP that says it has so many pixels (24 bits each, less one)."""
    small = encoded(quarters(), "WEBP", save_all=True, append_images=[scene(size=(80, 40))])
    at = small.index(b"VP8X") + 12  # after name, length and flags
    sides = (width - 1).to_bytes(3, "little") + (height - 1).to_bytes(3, "little")
    return small[:at] + sides + small[at + 6 :]


def jpeg_of(width: int, height: int) -> bytes:
    """A small JPEG that says it has so many pixels."""
    small = encoded(quarters())
    at = small.index(b"\xff\xc0") + 5  # after marker, length and precision
    return small[:at] + struct.pack(">HH", height, width) + small[at + 4 :]


def markers(jpeg: bytes) -> list[int]:
    """The markers of a JPEG up to its pixels; nothing may follow its end."""
    assert jpeg.startswith(b"\xff\xd8")
    assert jpeg.endswith(b"\xff\xd9")
    at, seen = 2, []
    while jpeg[at + 1] != 0xDA:
        assert jpeg[at] == 0xFF
        seen.append(jpeg[at + 1])
        at += 2 + int.from_bytes(jpeg[at + 2 : at + 4])
    return seen
