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
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from datetime import UTC, date, datetime
from enum import StrEnum
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
from shared.people.names import mask_name

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


# --- how much of the holder is shown ----------------------------------------------------------------------------------


def mask_holder(content: CertificateContent) -> str:
    """Who holds the certificate, as the public page may show it."""
    return mask_name(content.name) if content.name else mask_account(content.viewer_id)
