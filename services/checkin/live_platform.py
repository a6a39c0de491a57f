"""The live platform's side: what its events look like, and how its posts are signed.

The body is always ours (DESIGN §5.1); a *source* says how its posts are verified. `standard` is Standard Webhooks.
`kuaishou` and `douyin` are unconfirmed adapters: no public course check-in event of either platform is documented (FACTS).
"""

import hashlib
import hmac
import json
import re
import time
from base64 import b64decode
from collections.abc import Callable, Mapping
from datetime import datetime
from functools import cache
from math import floor
from typing import Annotated, Literal, NamedTuple

import msgspec
from pydantic import BaseModel, ConfigDict, Field

ITEMS_MAX = 1000
TOLERANCE_S = 5 * 60  # of a signature's time stamp, either way
NAME_MAX_CHARS = 50
PHONE_MAX_CHARS = 32
ITEM_MAX_CHARS = 100

_Id = Annotated[str, msgspec.Meta(pattern=r"^[A-Za-z0-9._:-]{1,64}\Z")]
_Time = Annotated[datetime, msgspec.Meta(tz=True)]
_YEARS = range(2000, 2200)
_NO_CONTROL = r"^[^\x00-\x1f\x7f]*\Z"


def _text(max_length: int) -> msgspec.Meta:
    return msgspec.Meta(max_length=max_length, pattern=_NO_CONTROL)


class LiveEvent(msgspec.Struct, frozen=True, gc=False):
    """One event as the platform sends it. Unknown fields are ignored."""

    event_id: _Id
    type: Annotated[str, _text(64)]
    campaign_id: _Id
    viewer_id: _Id
    occurred_at: _Time
    unit_code: _Id | None = None
    channel: _Id | None = None
    group: _Id | None = None
    name: Annotated[str, _text(NAME_MAX_CHARS)] | None = None
    phone: Annotated[str, _text(PHONE_MAX_CHARS)] | None = None
    quiz: Annotated[str, _text(ITEM_MAX_CHARS)] | None = None
    prize: Annotated[str, _text(ITEM_MAX_CHARS)] | None = None
    account: Annotated[str, _text(ITEM_MAX_CHARS)] | None = None

    @property
    def item(self) -> str | None:
        """Which quiz, prize or account a live-room action was about."""
        return self.quiz or self.prize or self.account


class Item(msgspec.Struct, frozen=True, gc=False):
    """One item of a post: its event, or None where it is malformed. `raw` is hashed if it is refused, and never kept."""

    event: LiveEvent | None
    event_id: str | None
    raw: msgspec.Raw


class _OnlyId(msgspec.Struct):
    event_id: _Id


class BodyRefused(Exception):
    """The whole body is refused: `too_many` items, or `not_json` (also not UTF-8, empty, or neither object nor array)."""

    def __init__(self, reason: Literal["too_many", "not_json"], detail: str) -> None:
        super().__init__(detail)
        self.reason = reason


_HALF_CHARACTER = re.compile(rb"\\u[dD][89a-fA-F]")

_raw_items = msgspec.json.Decoder(list[msgspec.Raw])
_event = msgspec.json.Decoder(LiveEvent)
_only_id = msgspec.json.Decoder(_OnlyId)


def read_body(body: bytes) -> list[Item]:
    """The items of a post, in order. An item that is not an event spoils nothing else. Raises `BodyRefused`."""
    try:
        raws = _split(body)
    except (ValueError, msgspec.MsgspecError, RecursionError) as error:
        raise BodyRefused(
            "not_json", "the body is neither an event object nor an array of events, in UTF-8 JSON"
        ) from error
    if not raws:
        raise BodyRefused("not_json", "the array is empty")
    if len(raws) > ITEMS_MAX:
        raise BodyRefused("too_many", f"{len(raws)} items; at most {ITEMS_MAX} are taken in one post")
    return [_read_item(raw) for raw in raws]


def _split(body: bytes) -> list[msgspec.Raw]:
    body.decode()  # msgspec checks only the strings it reads
    array = b"[%b]" % body if body.lstrip()[:1] == b"{" else body
    try:
        return _raw_items.decode(array)
    except msgspec.MsgspecError:
        if not _HALF_CHARACTER.search(array):
            raise
    # A nickname cut inside an emoji (`\ud83d` alone) is JSON, though msgspec refuses it with all other items.
    items = json.loads(array, parse_constant=_no_number)
    if not isinstance(items, list):
        raise ValueError("not an array")
    return [msgspec.Raw(json.dumps(item, ensure_ascii=False).encode(errors="replace")) for item in items]


def _no_number(constant: str) -> float:
    raise ValueError(f"{constant} is not JSON")


def _read_item(raw: msgspec.Raw) -> Item:
    try:
        event = _event.decode(raw)
    except (msgspec.MsgspecError, RecursionError):
        return Item(None, _id_of(raw), raw)
    return Item(event if event.occurred_at.year in _YEARS else None, event.event_id, raw)


def _id_of(raw: msgspec.Raw) -> str | None:
    try:
        return _only_id.decode(raw).event_id
    except (msgspec.MsgspecError, RecursionError):
        return None


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

    Over the bytes as they came: its library verifies text only, and who may not send gets 401 for a body in any encoding
    (DESIGN §5.1). For text, tests hold the two together.
    """
    given = _standard_headers(headers)
    if given is None:
        return False
    try:
        expected = hmac.digest(_key(secret), f"{given.id}.{given.signed_at_s}.".encode() + body, "sha256")
        for versioned in given.signatures.split(" "):
            version, signature = versioned.split(",")
            if version == "v1" and hmac.compare_digest(expected, b64decode(signature)):
                return True
    except ValueError:  # not base64, not version and signature
        return False
    return False


class _StandardHeaders(NamedTuple):
    id: str
    signed_at_s: int
    signatures: str


def _standard_headers(headers: Mapping[str, str]) -> _StandardHeaders | None:
    """None where one is missing, or the time stamp is none or more than 5 minutes away."""
    signed_id, timestamp = headers.get("webhook-id"), headers.get("webhook-timestamp")
    signatures = headers.get("webhook-signature")
    if not (signed_id and timestamp and signatures):
        return None
    try:
        signed_at_s = float(timestamp)
    except ValueError:
        return None
    if not abs(time.time() - signed_at_s) <= TOLERANCE_S:  # NaN is no time either
        return None
    return _StandardHeaders(signed_id, floor(signed_at_s), signatures)


@cache
def _key(secret: str) -> bytes:
    """Of `whsec_<base64>`, padded or not."""
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
