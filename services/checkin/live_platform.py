"""The live platform's side: how its posts are signed. What is in them is in live_events.py.

A *source* says how its posts are verified. `standard` is Standard Webhooks. `kuaishou` and `douyin` are unconfirmed adapters: no
public course check-in event of either platform is documented (FACTS, "How a live platform really behaves").
"""

import hashlib
import hmac
import time
from base64 import b64decode, b64encode
from collections.abc import Callable, Mapping
from functools import cache
from math import floor
from typing import Literal, NamedTuple

import msgspec
from pydantic import BaseModel, ConfigDict, Field

TOLERANCE_S = 5 * 60  # how far a signature's time stamp may be off, either way


class Source(BaseModel):
    """A configured sender of posts. Several secrets are valid at once, so that they can be rotated."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    verifier: Literal["standard", "kuaishou", "douyin"]
    secrets: list[str] = Field(min_length=1, max_length=5, repr=False)

    def may_be_signed(self, headers: Mapping[str, str]) -> bool:
        """Whether the headers are such that the body is worth reading: a signature, and a time stamp that still counts."""
        if self.verifier == "standard":
            return _standard_headers(headers) is not None
        return bool(headers.get(_SIGNATURE_HEADERS[self.verifier]))

    def signed(self, headers: Mapping[str, str], body: bytes) -> bool:
        """Whether one of the secrets signed exactly these bytes. Time tolerance (5 minutes) is by wall clock."""
        return any(_VERIFIERS[self.verifier](secret, headers, body) for secret in self.secrets)


def _standard(secret: str, headers: Mapping[str, str], body: bytes) -> bool:
    """Standard Webhooks: HMAC-SHA256 over `id.timestamp.body`, tolerance 5 minutes.

    Verifies the bytes as they came. The scheme's own library verifies only text, but a sender without a right gets 401 for a body
    in any encoding (DESIGN §5.1). Tests show that the two agree on text, with one exception: a token that cannot be read ends the
    search of the library, and here the next one is tried.
    """
    given = _standard_headers(headers)
    if given is None:
        return False
    try:
        digest = hmac.digest(_key(secret), f"{given.id}.{given.signed_at_s}.".encode() + body, "sha256")
    except ValueError:  # the secret is not base64
        return False
    expected = b"v1," + b64encode(digest)
    return any(hmac.compare_digest(expected, signature.encode()) for signature in given.signatures.split(" "))


class _StandardHeaders(NamedTuple):
    id: str
    signed_at_s: int
    signatures: str


def _standard_headers(headers: Mapping[str, str]) -> _StandardHeaders | None:
    """The headers; None where one is missing, or the time stamp is invalid or more than 5 minutes away."""
    signed_id, timestamp = headers.get("webhook-id"), headers.get("webhook-timestamp")
    signatures = headers.get("webhook-signature")
    if not (signed_id and timestamp and signatures):
        return None
    try:
        signed_at_s = float(timestamp)
    except ValueError:
        return None
    if not abs(time.time() - signed_at_s) <= TOLERANCE_S:  # so that NaN fails, too
        return None
    return _StandardHeaders(signed_id, floor(signed_at_s), signatures)


@cache
def _key(secret: str) -> bytes:
    """The key in `whsec_<base64>`, padded or not."""
    return b64decode(secret.removeprefix("whsec_") + "==")


def _kuaishou(secret: str, headers: Mapping[str, str], body: bytes) -> bool:
    """`kwaisign` = md5(body + secret), as the platform's general callback documentation says; unconfirmed."""
    expected = hashlib.md5(body + secret.encode(), usedforsecurity=False).hexdigest()
    return hmac.compare_digest(expected.encode(), headers.get(_SIGNATURE_HEADERS["kuaishou"], "").encode())


def _douyin(secret: str, headers: Mapping[str, str], body: bytes) -> bool:
    """`X-Douyin-Signature` = sha1(secret + body), as the platform's general callback documentation says; unconfirmed."""
    expected = hashlib.sha1(secret.encode() + body, usedforsecurity=False).hexdigest()
    return hmac.compare_digest(expected.encode(), headers.get(_SIGNATURE_HEADERS["douyin"], "").encode())


_SIGNATURE_HEADERS = {"kuaishou": "kwaisign", "douyin": "x-douyin-signature"}
_VERIFIERS: dict[str, Callable[[str, Mapping[str, str], bytes], bool]] = {
    "standard": _standard,
    "kuaishou": _kuaishou,
    "douyin": _douyin,
}


def challenge_of(body: bytes) -> object | None:
    """Douyin's `verify_webhook` handshake: the challenge to send back, or None where the body is not one."""
    try:
        handshake = msgspec.json.decode(body, type=_Handshake)
    except (msgspec.MsgspecError, RecursionError):
        return None
    return handshake.content.challenge if handshake.event == "verify_webhook" else None


class _Challenge(msgspec.Struct):
    challenge: int | str


class _Handshake(msgspec.Struct):
    event: str
    content: _Challenge
