"""The live platform's events: what one is, and how a post of them is read. Pure: bytes in, items out.

The body is always ours (DESIGN §5.1), whichever platform sends it; how it is signed is in live_platform.py.
"""

import re
import unicodedata
from contextlib import suppress
from datetime import datetime
from typing import Annotated, Literal, TypeVar

import msgspec

ITEMS_MAX = 1000
NAME_MAX_CHARS = 50  # in NFC, as it goes on a certificate
NAME_SENT_MAX_CHARS = 4 * NAME_MAX_CHARS  # a decomposed letter has a base and marks
PHONE_MAX_CHARS = 32
ITEM_MAX_CHARS = 100

_Id = Annotated[str, msgspec.Meta(pattern=r"^[A-Za-z0-9._:-]{1,64}\Z")]
_IdOrBlank = Annotated[str, msgspec.Meta(pattern=r"^([A-Za-z0-9._:-]{1,64})?\Z")]  # "": not given
_Time = Annotated[datetime, msgspec.Meta(tz=True)]
_YEARS = range(2000, 2200)
_NO_CONTROL = r"^[^\x00-\x1f\x7f]*\Z"


def _text(max_length: int) -> msgspec.Meta:
    return msgspec.Meta(max_length=max_length, pattern=_NO_CONTROL)


_Text = Annotated[str, _text(ITEM_MAX_CHARS)] | None


class _AnyEvent(msgspec.Struct, frozen=True, gc=False):
    """What every event needs, and all that a check-in needs. Other fields are ignored."""

    event_id: _Id
    type: Annotated[str, _text(64)]
    campaign_id: _Id
    viewer_id: _Id
    occurred_at: _Time


class _Enrolled(_AnyEvent, frozen=True, gc=False):
    unit_code: _IdOrBlank | None = None
    channel: _IdOrBlank | None = None
    group: _IdOrBlank | None = None
    name: Annotated[str, _text(NAME_SENT_MAX_CHARS)] | None = None
    phone: Annotated[str, _text(PHONE_MAX_CHARS)] | None = None
    guardian_consent: bool | None = None  # of a minor: name and phone may be kept


class _QuizAnswered(_AnyEvent, frozen=True, gc=False):
    quiz: _Text = None


class _PrizeWon(_AnyEvent, frozen=True, gc=False):
    prize: _Text = None


class _AccountFollowed(_AnyEvent, frozen=True, gc=False):
    account: _Text = None


class LiveEvent(_Enrolled, frozen=True, gc=False):
    """One event as the platform sends it: every field that some type has a use for. Unknown fields are ignored."""

    quiz: _Text = None
    prize: _Text = None
    account: _Text = None

    @property
    def item(self) -> str | None:
        """The quiz, prize or account that a live-room action was about; what belongs to another action is ignored."""
        match self.type:
            case "quiz.answered":
                about = self.quiz
            case "prize.won":
                about = self.prize
            case _:
                about = self.account
        return (about or "").strip() or None


class Item(msgspec.Struct, frozen=True, gc=False):
    """One item of a post: its event, or None where it is malformed. `raw` is hashed if it is refused, and never kept.

    `fault`: the field that makes it malformed; None where no field does (it is no object, or nested too deep).
    """

    event: LiveEvent | None
    event_id: str | None
    raw: msgspec.Raw
    fault: str | None = None


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
# Finds escapes of half a character, a lone surrogate such as `\ud83d`. Other escapes are matched whole and kept.
_LONE_HALF = re.compile(
    rb"\\(?:u[dD][89abAB][0-9a-fA-F]{2}\\u[dD][c-fC-F][0-9a-fA-F]{2}|(u[dD][89a-fA-F][0-9a-fA-F]{2})|.)", re.DOTALL
)
# Matches texts, runs of brackets, commas, and a text that never ends. Possessive quantifiers: no position is looked at twice.
_MARKS = re.compile(rb'"[^"\\]*+(?:\\.[^"\\]*+)*+"|[\[{]++|[\]}]++|,|"', re.DOTALL)
_WHITE_SPACE = b" \t\n\r"

_raw_items = msgspec.json.Decoder(list[msgspec.Raw])
_raw_item = msgspec.json.Decoder(msgspec.Raw)
_event = msgspec.json.Decoder(LiveEvent)
_events = msgspec.json.Decoder(list[LiveEvent])
_any_event = msgspec.json.Decoder(_AnyEvent)
_needed: dict[str, msgspec.json.Decoder[_AnyEvent]] = {
    "viewer.enrolled": msgspec.json.Decoder(_Enrolled),
    "quiz.answered": msgspec.json.Decoder(_QuizAnswered),
    "prize.won": msgspec.json.Decoder(_PrizeWon),
    "account.followed": msgspec.json.Decoder(_AccountFollowed),
}
# How msgspec names the field in what it says about it; a test goes through all of them.
_FIELD = re.compile(r"at `\$\.(\w+)`$|required field `(\w+)`$")
_only_id = msgspec.json.Decoder(_OnlyId)
_only_time = msgspec.json.Decoder(_OnlyTime)


def read_body(body: bytes) -> list[Item]:
    """The items of a post, in order. One that is not an event does not affect the others. Raises `BodyRefused`."""
    text = body.strip(_WHITE_SPACE)
    try:
        raws = _split(body, text)
    except (ValueError, msgspec.MsgspecError) as error:
        raise BodyRefused("not_json", "应为 UTF-8 编码的 JSON：一个事件，或事件的列表") from error
    if not raws:
        raise BodyRefused("not_json", "列表是空的")
    may_be_rounded = b".999999" in body or b"\\" in body  # a digit or the point can be written as an escape
    if not may_be_rounded:
        with suppress(msgspec.MsgspecError, RecursionError):  # reads all at once; fails if one item is malformed
            return [_item(event, raw) for event, raw in zip(_events.decode(text), raws, strict=True)]
    return [_read_item(raw, may_be_rounded) for raw in raws]


def _split(body: bytes, text: bytes) -> list[msgspec.Raw]:
    """The items of the body as raw JSON. `text`: the body without the white space around it."""
    body.decode()  # msgspec checks only the strings it reads
    try:
        raws = [_raw_item.decode(text)] if text.startswith(b"{") else _raw_items.decode(text)
    except (msgspec.MsgspecError, RecursionError):
        # Either this is no JSON, or msgspec refuses all items because of one, such as half an emoji or a thousand brackets.
        items = _few_enough(_cut(_LONE_HALF.sub(_whole, text)))
        return [_checked(item) for item in items]
    return _few_enough(raws)


def _few_enough(items: list[_Item]) -> list[_Item]:
    if len(items) > ITEMS_MAX:
        raise BodyRefused("too_many", f"共 {len(items)} 项，一次最多 {ITEMS_MAX} 项")
    return items


def _whole(escape: re.Match[bytes]) -> bytes:
    return b"?" if escape[1] else escape[0]


def _cut(text: bytes) -> list[bytes]:
    """Cuts the body into its object, or its array's items, whatever is in them, in one pass without recursion. Raises
    `ValueError`."""
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
    """An item that `_cut` cut out. Raises `MsgspecError` where it is not JSON."""
    try:
        return _raw_item.decode(item)
    except RecursionError:
        return msgspec.Raw(item)  # too deep to be an event, or to be read


def _read_item(raw: msgspec.Raw, may_be_rounded: bool) -> Item:
    try:
        event = _lenient(raw)
    except msgspec.MsgspecError as error:
        return Item(None, _id_of(raw), raw, _field_of(error))
    except RecursionError:
        return Item(None, _id_of(raw), raw)
    if may_be_rounded and event.occurred_at.microsecond == 0:
        event = _with_exact_time(event, raw)
    return _item(event, raw)


def _lenient(raw: msgspec.Raw) -> LiveEvent:
    """Decodes an event. An invalid field that its type does not use is left out and does not make the event malformed; an
    invalid field that the type uses raises `msgspec.ValidationError`."""
    try:
        return _event.decode(raw)
    except msgspec.ValidationError:
        event = _any_event.decode(raw)
        if decoder := _needed.get(event.type):
            event = decoder.decode(raw)
        return LiveEvent(**msgspec.structs.asdict(event))


def _field_of(error: msgspec.MsgspecError) -> str | None:
    match = _FIELD.search(str(error))
    return (match[1] or match[2]) if match else None


def _item(event: LiveEvent, raw: msgspec.Raw) -> Item:
    fault = None if event.occurred_at.year in _YEARS else "occurred_at"
    if event.name is not None:
        event = msgspec.structs.replace(event, name=unicodedata.normalize("NFC", event.name))
        if len(event.name or "") > NAME_MAX_CHARS and event.type == "viewer.enrolled":
            fault = fault or "name"
    return Item(None if fault else event, event.event_id, raw, fault)


def _with_exact_time(event: LiveEvent, raw: msgspec.Raw) -> LiveEvent:
    """The event with its time cut off after six digits, where msgspec rounds: 19:59:59.9999999 is before 20:00, when a window
    ends."""
    exact = _LONG_FRACTION.sub(r"\1", _only_time.decode(raw).occurred_at)
    return msgspec.structs.replace(event, occurred_at=msgspec.convert(exact, datetime))


def _id_of(raw: msgspec.Raw) -> str | None:
    try:
        return _only_id.decode(raw).event_id
    except (msgspec.MsgspecError, RecursionError):
        return None
