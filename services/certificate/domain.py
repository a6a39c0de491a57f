"""What a certificate is: its content, signature, numbers, and how much of a person it shows.

Pure: time and randomness come in as arguments, nothing is read or written.
Rules come from DESIGN §5.4 and FACTS ("Chinese formats and habits").
"""

import base64
import binascii
import hashlib
import json
import re
import secrets
import unicodedata
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from datetime import UTC, date, datetime
from enum import StrEnum
from ipaddress import IPv4Address, IPv6Network, ip_address
from typing import Any, Final

from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey, Ed25519PublicKey
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat

from shared.codes import (
    ALPHABET,
    DrawBelow,
    grouped,
    normalised,
    random_symbols,
    valid_check_symbol,
    with_check_symbol,
)
from shared.people.masks import mask_account

# --- numbers and codes ------------------------------------------------------------------------------------------------

SERIAL_LENGTH: Final = 12  # 11 random symbols (54 bits: no two in ten million) and the check symbol
CODE_LENGTH: Final = 26  # 31**26 is just over 2**128
CLAIM_CODE_LENGTH: Final = 8  # 39 bits, behind a rate limit

_SERIAL_SHAPE: Final = re.compile(rf"(?:[{ALPHABET}]{{4}}-){{2}}[{ALPHABET}]{{4}}")


def new_serial(draw: DrawBelow = secrets.randbelow) -> str:
    """The number printed on a certificate, such as `7K3M-9QXV-2HDN`; random, so it tells neither order nor count."""
    return grouped(with_check_symbol(SERIAL_LENGTH - 1, draw))


def valid_serial(serial: str) -> bool:
    """True for what `new_serial` makes; false after any one wrong symbol or any two exchanged ones."""
    return bool(_SERIAL_SHAPE.fullmatch(serial)) and valid_check_symbol(serial.replace("-", ""))


def new_code(draw: DrawBelow = secrets.randbelow) -> str:
    """The code in the address that the QR leads to; nobody can guess it (128 bits)."""
    return random_symbols(CODE_LENGTH, draw)


def new_claim_code(draw: DrawBelow = secrets.randbelow) -> str:
    """What a viewer types to claim the certificate: 8 symbols."""
    return random_symbols(CLAIM_CODE_LENGTH, draw)


def normalise_serial(typed: str) -> str | None:
    """A serial as a person types it (`7k3m 9qxv2hdn`, full-width); None when it cannot be one."""
    symbols = normalised(typed, SERIAL_LENGTH)
    if symbols is None:
        return None
    serial = grouped(symbols)
    return serial if valid_serial(serial) else None


def normalise_code(typed: str) -> str | None:
    """The code of a QR as a person types it; None when it cannot be one."""
    return normalised(typed, CODE_LENGTH)


def normalise_claim_code(typed: str) -> str | None:
    """A claim code as a person types it: any case, full-width, with spaces, hyphens or the text's punctuation; None when
    it cannot be one."""
    return normalised(typed, CLAIM_CODE_LENGTH)


# --- content and signature --------------------------------------------------------------------------------------------

FORMAT: Final = "fanzha-certificate-1"


@dataclass(frozen=True)
class CertificateContent:
    """Everything the signature covers. Two equal contents have equal canonical bytes, whatever zone `issued_at` is in."""

    serial: str
    campaign_id: str
    campaign_title: str
    issuer: str
    viewer_id: str
    name: str | None  # normalised; None: issued under the platform account
    credited_lessons: tuple[date, ...]  # ascending
    issued_at: datetime  # aware; whole seconds count

    def __post_init__(self) -> None:
        if self.issued_at.tzinfo is None:
            raise ValueError("issued_at must be aware")
        if list(self.credited_lessons) != sorted(set(self.credited_lessons)):
            raise ValueError("credited_lessons must be ascending, each once")

    def as_json(self) -> dict[str, Any]:
        return {
            "format": FORMAT,
            "serial": self.serial,
            "campaign_id": self.campaign_id,
            "campaign_title": self.campaign_title,
            "issuer": self.issuer,
            "viewer_id": self.viewer_id,
            "name": self.name,
            "credited_lessons": [lesson.isoformat() for lesson in self.credited_lessons],
            "issued_at": self.issued_at.astimezone(UTC).strftime("%Y-%m-%dT%H:%M:%SZ"),
        }


@dataclass(frozen=True)
class Signature:
    key_id: str
    value: bytes  # 64 bytes


class SigningKey:
    """The deployment's Ed25519 key. Its id is derived from its public key, so no key can go under another one's id."""

    def __init__(self, raw: bytes) -> None:
        self._private = Ed25519PrivateKey.from_private_bytes(raw)
        self.public_key = self._private.public_key()
        self.key_id = key_id(self.public_key)
        self.public_bytes = self.public_key.public_bytes(Encoding.Raw, PublicFormat.Raw)

    def sign(self, content: CertificateContent) -> Signature:
        return Signature(self.key_id, self._private.sign(canonical_bytes(content)))


class Verdict(StrEnum):
    GENUINE = "genuine"
    ALTERED = "altered"
    UNKNOWN_KEY = "unknown_key"


def key_id(public_key: Ed25519PublicKey) -> str:
    """The first 16 hex digits of the SHA-256 of the raw public key."""
    raw = public_key.public_bytes(Encoding.Raw, PublicFormat.Raw)
    return hashlib.sha256(raw).hexdigest()[:16]


def public_keys(raw: Iterable[bytes]) -> dict[str, Ed25519PublicKey]:
    """Public keys by their ids. Each id is derived from its key and not taken from anywhere else."""
    keys = [Ed25519PublicKey.from_public_bytes(key) for key in raw]
    return {key_id(key): key for key in keys}


def canonical_bytes(content: CertificateContent) -> bytes:
    """What is signed: the JSON of `as_json()` with sorted keys, no white space, UTF-8 (RFC 8785 for this shape)."""
    return _canonical_json(content.as_json())


def certificate_document(content: CertificateContent, signature: Signature) -> dict[str, Any]:
    """The JSON file a holder downloads and anybody may send to `POST /v1/verify`."""
    return {
        "content": content.as_json(),
        "signature": {
            "algorithm": "Ed25519",
            "key_id": signature.key_id,
            "value": base64.b64encode(signature.value).decode(),
        },
    }


def verify_document(document: object, public_keys: Mapping[str, Ed25519PublicKey]) -> Verdict:
    """Whether one of our keys signed exactly this content. Never raises: a document that is no certificate is `altered`.

    Says nothing about revocation, which only the database knows.
    """
    try:
        content, signature = document["content"], document["signature"]  # type: ignore[index]
        if content["format"] != FORMAT or signature["algorithm"] != "Ed25519":
            return Verdict.ALTERED
        public_key = public_keys.get(signature["key_id"])
        if public_key is None:
            return Verdict.UNKNOWN_KEY
        public_key.verify(base64.b64decode(signature["value"], validate=True), _canonical_json(content))
    except (TypeError, KeyError, ValueError, RecursionError, binascii.Error, InvalidSignature):
        return Verdict.ALTERED
    return Verdict.GENUINE


def _canonical_json(value: object) -> bytes:
    text = json.dumps(value, ensure_ascii=False, allow_nan=False, sort_keys=True, separators=(",", ":"))
    return text.encode()


# --- whose address a request comes from -------------------------------------------------------------------------------


def network_of(address: str) -> str:
    """The part of an address that belongs to one subscriber: all of IPv4, the /64 of IPv6; any other text is returned
    unchanged."""
    try:
        parsed = ip_address(address)
    except ValueError:
        return address
    if isinstance(parsed, IPv4Address):
        return str(parsed)
    if parsed.ipv4_mapped is not None:
        return str(parsed.ipv4_mapped)
    return str(IPv6Network((int(parsed) >> 64 << 64, 64)))


# --- names and how much of them is shown ------------------------------------------------------------------------------

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


def mask_holder(content: CertificateContent) -> str:
    """Who holds the certificate, as the public page may show it."""
    return mask_name(content.name) if content.name else mask_account(content.viewer_id)


def _mask_chinese(name: str) -> str:
    if len(name) > 2 and name[:2] in _COMPOUND_SURNAMES:
        return name[:2] + _stars(len(name) - 2)
    return f"{name[0]}*{name[2]}" if len(name) == 3 else _initial(name)


def _initial(word: str) -> str:
    return word[0] + _stars(len(word) - 1) if len(word) > 1 else "*"


def _stars(count: int) -> str:
    return "*" * min(count, _MASK_MAX_STARS)
