"""Makes a small JPEG without metadata of an uploaded picture: `python -m services.reporting.obligations.pictures.reencoding`.

Decoders have faults, and a picture may be made to use one. So each is read by a process of its own (`processes.py` starts it)
that has no secrets, writes no files, and is ended by the kernel where it takes too much memory or time. The upload comes on
standard input. The answer on standard output is a line of JSON, `{"refused": NAME}` or `{"near_hash": …, "jpeg": BYTES,
"thumbnail": BYTES}`, and then the two pictures, as long as said. Only pixels get through: place, camera, comments, embedded
thumbnails, colour profiles and whatever stands behind the picture do not.
"""

import contextlib
import json
import resource
import sys
import warnings
from io import BytesIO
from pathlib import Path

import pillow_heif
from PIL import Image, ImageOps, UnidentifiedImageError

KINDS = ("JPEG", "PNG", "WEBP", "HEIF")
PIXELS_MAX = 40_000_000
SIDE_MAX_PX = 20_000  # a phone's widest panorama has about 16,000
JPEG_SIDE_MAX_PX = 1600
THUMBNAIL_SIDE_MAX_PX = 240
JPEG_QUALITY, THUMBNAIL_QUALITY = 80, 70
MEMORY_MAX_BYTES = 800 * 1024 * 1024  # of addresses: a transparent WebP of 40 megapixels takes 740 MiB, all others less
CPU_MAX_S = 15  # 40 megapixels take 0.4 to 1.5 s; what takes ten times as long is made to
HASH_BITS, HASH_BITS_MIN = 64, 6  # a picture of one colour has a hash of next to no bits, as all others of one colour


class PictureRefused(Exception):
    """The picture is not taken; the name says why."""

    def __init__(self, name: str) -> None:
        super().__init__(name)
        self.name = name


def reencode(upload: bytes) -> tuple[bytes, bytes, int | None]:
    """The picture upright as JPEG, its thumbnail, and its near-hash. Raises `PictureRefused`."""
    Image.MAX_IMAGE_PIXELS = PIXELS_MAX // 2  # Pillow warns of more, and opens nothing that has more than twice as many
    warnings.simplefilter("ignore", Image.DecompressionBombWarning)
    pillow_heif.register_heif_opener(thumbnails=False, depth_images=False, aux_images=False, decode_threads=1)
    try:
        picture = Image.open(BytesIO(upload), formats=KINDS)  # reads what is said before the pixels
        if max(picture.size) > SIDE_MAX_PX:
            raise PictureRefused("picture-too-large")
        small = _small(picture)
    except Image.DecompressionBombError:
        raise PictureRefused("picture-too-large") from None
    except UnidentifiedImageError:
        raise PictureRefused("picture-kind") from None
    except (MemoryError, PictureRefused):
        raise
    except Exception:  # each decoder has its own for bytes that are not as they should be
        raise PictureRefused("picture-unreadable") from None
    thumbnail = small.copy()
    thumbnail.thumbnail((THUMBNAIL_SIDE_MAX_PX, THUMBNAIL_SIDE_MAX_PX))
    return _jpeg(small, JPEG_QUALITY), _jpeg(thumbnail, THUMBNAIL_QUALITY), near_hash(small)


def _small(picture: Image.Image) -> Image.Image:
    """The picture's pixels and nothing else: upright, RGB, at most `JPEG_SIDE_MAX_PX`."""
    if picture.mode.startswith("I"):  # 16 bits of grey
        picture.load()
        picture = picture.point(lambda value: value * (1 / 256)).convert("L")
    elif picture.mode in ("1", "P", "PA"):
        picture = picture.convert("RGBA" if "transparency" in picture.info else "RGB")
    scale = min(1.0, JPEG_SIDE_MAX_PX / max(picture.size))
    twice = int(picture.width * scale * 2), int(picture.height * scale * 2)
    picture.draft(None, twice)  # so that of a large JPEG only a half or less is decoded
    picture.thumbnail((JPEG_SIDE_MAX_PX, JPEG_SIDE_MAX_PX))
    upright = ImageOps.exif_transpose(picture)
    if upright.has_transparency_data:
        upright = upright.convert("RGBA")
        small = Image.new("RGB", upright.size, "white")
        small.paste(upright, mask=upright.getchannel("A"))
    else:
        small = upright.convert("RGB")
    small.info.clear()
    return small


def _jpeg(picture: Image.Image, quality: int) -> bytes:
    out = BytesIO()
    picture.save(out, "JPEG", quality=quality, optimize=True)
    return out.getvalue()


def near_hash(picture: Image.Image) -> int | None:
    """64 bits, signed as Postgres has them: each says whether one of 8 × 9 fields is brighter than its neighbour. Another size,
    quality or format of a picture changes few of them. None for a picture of next to one colour."""
    grey = picture.convert("L").resize((9, 8), Image.Resampling.BOX).tobytes()
    bits = 0
    for row in range(8):
        for column in range(8):
            bits = bits << 1 | (grey[row * 9 + column] > grey[row * 9 + column + 1])
    if not HASH_BITS_MIN <= bits.bit_count() <= HASH_BITS - HASH_BITS_MIN:
        return None
    return bits - (1 << HASH_BITS) if bits >> (HASH_BITS - 1) else bits


def answer(upload: bytes) -> bytes:
    """What the process says about the upload."""
    try:
        jpeg, thumbnail, bits = reencode(upload)
    except PictureRefused as refused:
        return json.dumps({"refused": refused.name}).encode() + b"\n"
    except MemoryError:
        return json.dumps({"refused": "picture-too-complex"}).encode() + b"\n"
    head = {"near_hash": bits, "jpeg": len(jpeg), "thumbnail": len(thumbnail)}
    return json.dumps(head).encode() + b"\n" + jpeg + thumbnail


def main() -> None:
    with contextlib.suppress(OSError):  # not on every system
        Path("/proc/self/oom_score_adj").write_text(
            "1000"
        )  # where memory runs out this process goes, and not the service
    for limit, value in (
        (resource.RLIMIT_AS, MEMORY_MAX_BYTES),
        (resource.RLIMIT_CPU, CPU_MAX_S),
        (resource.RLIMIT_FSIZE, 0),
        (resource.RLIMIT_CORE, 0),
    ):
        resource.setrlimit(limit, (value, value))
    sys.stdout.buffer.write(answer(sys.stdin.buffer.read()))


if __name__ == "__main__":
    main()
