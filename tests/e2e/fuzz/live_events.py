"""Events of a live platform, made together with what must come of each; and a second opinion on bodies that were damaged.

Nothing of checkin is used: times are whole nanoseconds of local time, windows are minutes, texts are written by hand.
"""

import json
import random
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

CAMPAIGN = "small-2024"
FIRST_DAY = 29
NOW_S = 86_400 + 20 * 3600 + 1800  # 20:30 on the second day; nothing is sealed
ACTIONS = ("quiz.answered", "prize.won", "account.followed")
TYPES = ("viewer.checked_in", "viewer.enrolled", *ACTIONS)
REQUIRED = ("event_id", "type", "campaign_id", "viewer_id", "occurred_at")
NANO = 10**9

Outcome = tuple[str, str | None]
MALFORMED: Outcome = ("rejected", "malformed")
NEEDED = {
    "viewer.enrolled": ("unit_code", "channel", "group", "name", "phone"),
    "quiz.answered": ("quiz",),
    "prize.won": ("prize",),
    "account.followed": ("account",),
}  # besides the five that every event needs; a fault in another field spoils nothing


@dataclass(frozen=True)
class Made:
    """One item: its text, what must come of it, and the check-in it is, if it counts as one."""

    text: str
    outcome: Outcome
    event_id: str | None
    checkin: tuple[str, int, str] | None = None  # viewer, lesson, mode
    knows_id: bool = True  # whether the answer must name the event


# ---- what must come of an event --------------------------------------------------------------------------------------


def window(local_ns: int) -> tuple[int, str] | None:
    """Lesson and mode of a local time, in nanoseconds since the first day began (FACTS A2)."""
    for lesson in (0, 1):
        since = local_ns - lesson * 86_400 * NANO
        minute = since // (60 * NANO)
        if 19 * 60 + 30 <= minute < 20 * 60:
            return lesson, "live"
        if 20 * 60 <= minute < 24 * 60 or 32 * 60 <= minute < 43 * 60:
            return lesson, "replay"
    return None


def outcome_of(kind: str, campaign: str, local_ns: int) -> tuple[Outcome, tuple[int, str] | None]:
    if kind not in TYPES:
        return ("rejected", "unknown_type"), None
    if campaign != CAMPAIGN:
        return ("rejected", "unknown_campaign"), None
    if local_ns // 1000 * 1000 > (NOW_S + 60) * NANO:  # kept to the microsecond
        return ("rejected", "in_future"), None
    if kind == "viewer.enrolled":
        return ("recorded", None), None
    slot = window(local_ns)
    if slot is None:
        return ("rejected", "outside_window"), None
    if kind == "viewer.checked_in" and slot[1] == "replay":
        return ("stored", "replay_not_credited"), slot
    return ("recorded", None), slot


# ---- writing JSON ----------------------------------------------------------------------------------------------------


class Writer:
    """JSON in any of its spellings."""

    def __init__(self, rng: random.Random) -> None:
        self.rng = rng

    def space(self) -> str:
        return self.rng.choice(("", "", "", " ", "\n", "\t", " \r\n"))

    def text(self, value: str) -> str:
        if self.rng.random() < 0.6:
            halves = any("\ud800" <= character <= "\udfff" for character in value)
            return json.dumps(value, ensure_ascii=halves or self.rng.random() < 0.5)
        return '"' + "".join(self._character(character) for character in value) + '"'

    def _character(self, character: str) -> str:
        code = ord(character)
        if code < 0x20 or 0xD800 <= code < 0xE000 or character in '"\\' or self.rng.random() < 0.2:
            units = [code] if code < 0x10000 else [0xD800 + (code - 0x10000 >> 10), 0xDC00 + (code - 0x10000 & 0x3FF)]
            return "".join(f"\\u{unit:04{self.rng.choice('xX')}}" for unit in units)
        return "\\/" if character == "/" else character

    def value(self, value: Any) -> str:
        match value:
            case dict():
                return self.object([(key, self.value(item)) for key, item in value.items()])
            case list():
                return f"[{','.join(self.space() + self.value(item) + self.space() for item in value)}]"
            case str():
                return self.text(value)
            case _:
                return json.dumps(value)

    def object(self, fields: list[tuple[str, str]]) -> str:
        pairs = (f"{self.space()}{self.text(key)}{self.space()}:{self.space()}{text}" for key, text in fields)
        return "{" + ",".join(pairs) + self.space() + "}"


# ---- making events ---------------------------------------------------------------------------------------------------

ID_CHARACTERS = "abcXYZ019._:-"
NAMES = ("张三", "买买提·吐尔逊", "𠮷田", "e\u0301lan", "长" * 50, "e\u0301" * 50, "O'Neil", "", "😀", "\u0958" * 25)
TEXTS = ("题1", "保温杯", "“刷单”=诈骗？\\/", "𠮷" * 100, "", "国家反诈中心")
UNKNOWN = ("nick", "", "event_id ", "Event_id", "扩展", "a" * 300, "\ud83d", "x\u0000y", "occurred_at2")
HALVES = ("\\ud83d", "\\uDE00", "好\\udbff", "\\ud83d\\ud83d\\ude00", "\\ude00\\ud83d")


class Maker:
    """Makes items. Every event has a viewer of its own, so that no outcome depends on the order of arrival."""

    def __init__(self, rng: random.Random, prefix: str) -> None:
        self.rng = rng
        self.write = Writer(rng)
        self._prefix = prefix
        self._number = 0

    def new_id(self) -> str:
        self._number += 1
        short_id = f"{self._prefix}{self._number}"
        longest = self.rng.choice((0, 0, 3, 64 - len(short_id) - 1))
        return short_id + "-" * bool(longest) + "".join(self.rng.choices(ID_CHARACTERS, k=longest))

    def moment(self) -> tuple[str, int]:
        """A time as it is written, and what it is: nanoseconds of local time since the first day began."""
        rng = self.rng
        second = rng.choice(
            (
                rng.randrange(2 * 86_400),
                rng.randrange(19 * 3600 + 1800, 20 * 3600),
                20 * 3600 - 1,
                20 * 3600,
                NOW_S + 60,
            )
        ) + rng.choice((0, 0, 86_400))
        digits = rng.choice(
            ("", "", "0", "5", "999", "999999", "9999999", "9999995", "999999999999", "0000001", "123456")
        )
        offset_min = rng.choice((480, 480, 480, 0, 840, -330, -720, 1439))
        utc_second = second - 8 * 3600
        day, of_day = divmod(utc_second + offset_min * 60, 86_400)
        month, day_of_month = (6, FIRST_DAY + day) if FIRST_DAY + day <= 30 else (7, FIRST_DAY + day - 30)
        sign, minutes = ("-", -offset_min) if offset_min < 0 else ("+", offset_min)
        zone = f"{sign}{minutes // 60:02}:{minutes % 60:02}" if offset_min or rng.random() < 0.3 else rng.choice("Zz")
        fraction = f".{digits}" if digits else ""
        text = (
            f"2024-{month:02}-{day_of_month:02}{rng.choice('TTt')}"
            f"{of_day // 3600:02}:{of_day // 60 % 60:02}:{of_day % 60:02}{fraction}{zone}"
        )
        return text, second * NANO + int(f"{digits:0<9}"[:9] or 0)

    def fields(self) -> tuple[dict[str, Any], int]:
        text, local_ns = self.moment()
        rng = self.rng
        fields: dict[str, Any] = {
            "event_id": self.new_id(),
            "type": rng.choice(
                (*TYPES, "viewer.checked_in", "viewer.checked_in", "viewer.enrolled", "viewer.left", "")
            ),
            "campaign_id": rng.choice((CAMPAIGN,) * 12 + ("other", "Small-2024")),
            "viewer_id": self.new_id(),
            "occurred_at": text,
        }
        optional: dict[str, Callable[[], Any]] = {
            "unit_code": lambda: rng.choice(("111-EDU", "nowhere", "", None)),
            "channel": lambda: rng.choice(("QR-1", "QR-?".replace("?", "9"), "", None)),
            "group": lambda: rng.choice(("student", "", None)),
            "name": lambda: rng.choice((*NAMES, None)),
            "phone": lambda: rng.choice((f"1390000{rng.randrange(10**4):04}", "+86 139-0000", "9" * 32, "", None)),
            "quiz": lambda: rng.choice((*TEXTS, None)),
            "prize": lambda: rng.choice(TEXTS),
            "account": lambda: rng.choice(TEXTS),
        }
        fields |= {name: optional[name]() for name in rng.sample(list(optional), rng.choice((0, 0, 1, 3, 8)))}
        return fields, local_ns

    def unknown(self) -> list[tuple[str, str]]:
        """Fields that nobody knows, with any JSON in them; also half an emoji."""
        rng = self.rng
        texts = (
            lambda: self.write.value([1, {"a": [None, True, -0.5e-7]}, "],[{"]),
            lambda: "[" * 60 + "]" * 60,
            lambda: "9" * 6000,
            lambda: "1e999",
            lambda: f'"{rng.choice(HALVES)}"',
            lambda: self.write.text("\\\"'\u2028\u202e" * 3),
            lambda: "{}",
        )
        names = rng.sample(UNKNOWN, rng.choice((0, 0, 1, 2)))
        return [(name, rng.choice(texts)()) for name in names]

    def good(self) -> Made:
        """An event that can be read, whatever becomes of it."""
        fields, local_ns = self.fields()
        written = [(name, self.write.value(value)) for name, value in fields.items()] + self.unknown()
        self.rng.shuffle(written)
        return self._made(fields, written, local_ns)

    def _made(self, fields: dict[str, Any], written: list[tuple[str, str]], local_ns: int) -> Made:
        outcome, slot = outcome_of(fields["type"], fields["campaign_id"], local_ns)
        counts = slot is not None and fields["type"] == "viewer.checked_in"
        checkin = (fields["viewer_id"], *slot) if counts and slot else None
        return Made(self.write.object(written), outcome, fields["event_id"], checkin)

    def bad(self) -> Made:
        """An item with a fault: malformed, unless only a field has it that the event does not need."""
        rng = self.rng
        if rng.random() < 0.2:
            deep = (
                "[" * 1500 + "]" * 1500,
                '{"a":' * 2000 + "1" + "}" * 2000,
                "[[[],[{}]],[" + "[" * 3000 + "]" * 3000 + "]]",
            )
            others = ("17", "null", '"text"', "[]", "{}", "-0.0", "true", f'"{rng.choice(HALVES)}"', "9" * 5000)
            text = rng.choice((*others, *deep))
            return Made(text, MALFORMED, None)
        fields, local_ns = self.fields()
        event_id = fields["event_id"]
        written = {name: self.write.value(value) for name, value in fields.items()}
        name, defect = rng.choice(self._defects())()
        if defect is None:
            del written[name]
        else:
            written[name] = defect
        pairs = list(written.items())
        rng.shuffle(pairs)
        is_deep = defect is not None and "[" * 1000 in defect
        if name not in REQUIRED and name not in NEEDED.get(fields["type"], ()) and not is_deep:
            return self._made(fields, pairs, local_ns)
        known = None if name == "event_id" or is_deep else event_id
        return Made(self.write.object(pairs), MALFORMED, known)

    def _defects(self) -> list[Callable[[], tuple[str, str | None]]]:
        """(field, JSON in place of its value or None for no such field)."""
        rng, required = self.rng, REQUIRED
        ids = ("event_id", "campaign_id", "viewer_id", "unit_code", "channel", "group")
        bad_ids = ('"a b"', f'"{"x" * 65}"', '"\\u0000"', '"中"', '"a\\n"', '"\\ud83d"', '"a/b"', '"é"')
        bad_times = (
            *('"2024-06-29T19:31:05"', '"2024-06-29"', '"now"', '""', "1719660665", '"2024-06-29T24:00:00+08:00"'),
            *(
                '"2024-06-29T19:31:60+08:00"',
                '"2024-02-30T19:31:00Z"',
                '"1999-12-31T00:00:00Z"',
                '"2200-01-01T00:00:00Z"',
            ),
            *('"2024-06-29T19:31:05+08:00\\u0000"', '" 2024-06-29T19:31:05Z"', '"99999-06-29T19:31:05Z"'),
        )
        long_names = ("长" * 51, "e\u0301" * 51, "\u0958" * 26, "\u0007", "a\u007f", "x" * 3000)
        wrong = ("17", "true", "[]", "{}", "0.5")
        return [
            lambda: (rng.choice(required), None),
            lambda: (rng.choice(required), rng.choice((*wrong, "null"))),
            lambda: (rng.choice(("unit_code", "name", "phone", "quiz", "prize")), rng.choice(wrong)),
            lambda: (rng.choice(ids), rng.choice(bad_ids)),
            lambda: (rng.choice(("event_id", "campaign_id", "viewer_id")), '""'),
            lambda: ("occurred_at", rng.choice(bad_times)),
            lambda: ("name", json.dumps(rng.choice(long_names))),
            lambda: ("phone", json.dumps(rng.choice(("9" * 33, "1\u00002", "\n")))),
            lambda: (rng.choice(("quiz", "prize", "account")), json.dumps(rng.choice(("长" * 101, "\u001b[0m")))),
            lambda: ("type", json.dumps(rng.choice(("t" * 65, "viewer\u0000")))),
            lambda: (rng.choice(("nick", "name", "event_id")), "[" * 1500 + "]" * 1500),
        ]

    def item(self) -> Made:
        return self.good() if self.rng.random() < 0.75 else self.bad()


# ---- a second opinion on damaged bodies --------------------------------------------------------------------------------


def items_in(body: bytes) -> list[Any] | None:
    """The items of a body as the standard library reads them; None where it is no array or object of JSON.

    Raises RecursionError where it cannot tell.
    """

    def no_number(constant: str) -> float:
        raise ValueError(constant)

    def pairs_of(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
        """What has a name twice is nothing that was made here: which of the two counts is not agreed."""
        return dict(pairs) | ({"\0twice": True} if len(dict(pairs)) < len(pairs) else {})

    try:
        items = json.loads(body.decode(), parse_constant=no_number, parse_int=float, object_pairs_hook=pairs_of)
    except ValueError:
        return None
    if isinstance(items, dict):
        return [items]
    return items if isinstance(items, list) and items else None
