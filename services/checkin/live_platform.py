"""The live platform's side: what its events look like, and how its posts are signed.

The body is always ours (DESIGN §5.1); a *source* says how its posts are verified. `standard` is Standard Webhooks.
`kuaishou` and `douyin` are unconfirmed adapters: no public course check-in event of either platform is documented
(FACTS, "How a live platform really behaves").
"""

import hashlib
import hmac
import re
import time
import unicodedata
from base64 import b64decode
from collections.abc import Callable, Mapping
from datetime import datetime
from functools import cache
from math import floor
from typing import Annotated, Literal, NamedTuple, TypeVar

import msgspec
from pydantic import BaseModel, ConfigDict, Field

ITEMS_MAX = 1000
TOLERANCE_S = 5 * 60  # of a signature's time stamp, either way
NAME_MAX_CHARS = 50  # in NFC, as it goes on a certificate
NAME_SENT_MAX_CHARS = 4 * NAME_MAX_CHARS  # decomposed, a letter is a base and its marks
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
    name: Annotated[str, _text(NAME_SENT_MAX_CHARS)] | None = None
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


class _OnlyTime(msgspec.Struct):
    occurred_at: str


_Item = TypeVar("_Item")


class BodyRefused(Exception):
    """The whole body is refused: `too_many` items, or `not_json` (also not UTF-8, empty, or neither object nor array)."""

    def __init__(self, reason: Literal["too_many", "not_json"], detail: str) -> None:
        super().__init__(detail)
        self.reason = reason


_LONG_FRACTION = re.compile(r"(\.\d{6})\d+")
# Halves of a character outside the basic plane that have lost each other (`\ud83d` alone). Other escapes are passed over whole.
_LONE_HALF = re.compile(
    rb"\\(?:u[dD][89abAB][0-9a-fA-F]{2}\\u[dD][c-fC-F][0-9a-fA-F]{2}|(u[dD][89a-fA-F][0-9a-fA-F]{2})|.)", re.DOTALL
)
# Texts, runs of brackets, commas; the last is a text that never ends. Possessive: no position is looked at twice.
_MARKS = re.compile(rb'"[^"\\]*+(?:\\.[^"\\]*+)*+"|[\[{]++|[\]}]++|,|"', re.DOTALL)
_WHITE_SPACE = b" \t\n\r"

_raw_items = msgspec.json.Decoder(list[msgspec.Raw])
_raw_item = msgspec.json.Decoder(msgspec.Raw)
_event = msgspec.json.Decoder(LiveEvent)
_only_id = msgspec.json.Decoder(_OnlyId)
_only_time = msgspec.json.Decoder(_OnlyTime)


def read_body(body: bytes) -> list[Item]:
    """The items of a post, in order. An item that is not an event spoils nothing else. Raises `BodyRefused`."""
    try:
        raws = _split(body)
    except (ValueError, msgspec.MsgspecError) as error:
        raise BodyRefused(
            "not_json", "the body is neither an event object nor an array of events, in UTF-8 JSON"
        ) from error
    if not raws:
        raise BodyRefused("not_json", "the array is empty")
    may_be_rounded = b".999999" in body or b"\\" in body  # a digit or the point can be written as an escape
    return [_read_item(raw, may_be_rounded) for raw in raws]


def _split(body: bytes) -> list[msgspec.Raw]:
    body.decode()  # msgspec checks only the strings it reads
    text = body.strip(_WHITE_SPACE)
    try:
        raws = [_raw_item.decode(text)] if text.startswith(b"{") else _raw_items.decode(text)
    except (msgspec.MsgspecError, RecursionError):
        # Either no JSON, or JSON of which msgspec takes no item because of one: half an emoji, or a thousand brackets.
        items = _few_enough(_cut(_LONE_HALF.sub(_whole, text)))
        return [_checked(item) for item in items]
    return _few_enough(raws)


def _few_enough(items: list[_Item]) -> list[_Item]:
    if len(items) > ITEMS_MAX:
        raise BodyRefused("too_many", f"{len(items)} items; at most {ITEMS_MAX} are taken in one post")
    return items


def _whole(escape: re.Match[bytes]) -> bytes:
    return b"?" if escape[1] else escape[0]


def _cut(text: bytes) -> list[bytes]:
    """The object, or the items of the array, whatever is in them: in one pass and without recursion. Raises `ValueError`."""
    items, start, end, depth = [], 1, 0, 0
    for mark in _MARKS.finditer(text):
        end = mark.end()
        match text[mark.start()]:
            case 0x5B | 0x7B:  # [ {
                depth += len(mark[0])
            case 0x5D | 0x7D:  # ] }
                depth -= len(mark[0])
                if depth <= 0:
                    break
            case 0x2C if depth == 1:  # a comma between items
                items.append(text[start : mark.start()])
                start = end
            case 0x22 if len(mark[0]) == 1:
                break
    if text[:1] + text[-1:] not in (b"[]", b"{}") or depth != 0 or end != len(text):
        raise ValueError("neither an array nor an object")
    return [*items, text[start:-1]] if text.startswith(b"[") else [text]


def _checked(item: bytes) -> msgspec.Raw:
    """One item of a body that was cut by hand. Raises `MsgspecError` where it is not JSON."""
    try:
        return _raw_item.decode(item)
    except RecursionError:
        return msgspec.Raw(item)  # too deep to be an event, or to be read


def _read_item(raw: msgspec.Raw, may_be_rounded: bool) -> Item:
    try:
        event = _event.decode(raw)
    except (msgspec.MsgspecError, RecursionError):
        return Item(None, _id_of(raw), raw)
    at = event.occurred_at
    if may_be_rounded and at.microsecond == 0:
        event = _with_exact_time(event, raw)
    if event.name is not None:
        event = msgspec.structs.replace(event, name=unicodedata.normalize("NFC", event.name))
    acceptable = at.year in _YEARS and (event.name is None or len(event.name) <= NAME_MAX_CHARS)
    return Item(event if acceptable else None, event.event_id, raw)


def _with_exact_time(event: LiveEvent, raw: msgspec.Raw) -> LiveEvent:
    """With the time cut off after six digits, where msgspec rounds: 19:59:59.9999999 is before 20:00, when a window ends."""
    exact = _LONG_FRACTION.sub(r"\1", _only_time.decode(raw).occurred_at)
    return msgspec.structs.replace(event, occurred_at=msgspec.convert(exact, datetime))


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
