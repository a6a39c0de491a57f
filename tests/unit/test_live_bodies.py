"""Bodies of the live platform: one bad item spoils no other (DESIGN §5.1)."""

import json
import time
from contextlib import suppress
from datetime import datetime

import pytest

from services.checkin.live_events import BodyRefused, read_body

GOOD = json.dumps(
    {
        "event_id": "e-1",
        "type": "viewer.checked_in",
        "campaign_id": "c",
        "viewer_id": "v",
        "occurred_at": "2024-06-29T19:31:05+08:00",
    }
)


DEEP = "[" * 2_000 + "]" * 2_000


def with_field(name: str, value: str) -> str:
    """A good event with one more field; `value` is JSON text."""
    return GOOD.replace("{", f'{{"{name}": {value}, ', 1)


@pytest.mark.parametrize("half", [r"\ud83d", r"\uD83D", r"\ude00", r"好\udbff"])
def test_half_an_emoji_spoils_neither_its_batch_nor_its_item(half: str) -> None:
    body = f"[{GOOD}, {with_field('nick', f'{chr(34)}小{half}{chr(34)}')}, 17]"
    first, second, third = read_body(body.encode())
    assert first.event is not None
    assert first.event == second.event
    assert third.event is None


def test_half_an_emoji_in_an_id_makes_its_item_malformed() -> None:
    body = f"[{GOOD}, {GOOD.replace('e-1', chr(92) + 'ud83d')}]"
    first, second = read_body(body.encode())
    assert first.event is not None
    assert (second.event, second.event_id) == (None, None)


BASE = ("event_id", "type", "campaign_id", "viewer_id", "occurred_at")
NEEDED = {
    "viewer.checked_in": (),
    "viewer.enrolled": ("unit_code", "channel", "group", "name", "phone"),
    "quiz.answered": ("quiz",),
    "prize.won": ("prize",),
    "account.followed": ("account",),
    "viewer.left": (),
}
OPTIONAL = sorted({field for fields in NEEDED.values() for field in fields})
BAD = ["17", '"' + "x" * 300 + '"', '"a\\u0000"']


@pytest.mark.parametrize("kind", NEEDED)
@pytest.mark.parametrize("bad", BAD)
def test_only_a_field_that_its_type_needs_makes_an_event_malformed(kind: str, bad: str) -> None:
    good = GOOD.replace("viewer.checked_in", kind)
    for field in OPTIONAL:
        (item,) = read_body(good.replace("{", f'{{"{field}": {bad}, "quiz": "题", ', 1).encode())
        if field in NEEDED[kind]:
            assert (item.event, item.event_id, item.fault) == (None, "e-1", field)
        else:
            assert item.event is not None
            assert (item.event.type, item.event.viewer_id, item.fault) == (kind, "v", None)
            assert getattr(item.event, field) is None


@pytest.mark.parametrize("field", OPTIONAL)
def test_an_optional_field_that_is_blank_is_as_if_it_was_not_given(field: str) -> None:
    kind = next(kind for kind, fields in NEEDED.items() if field in fields)
    (item,) = read_body(json.dumps(json.loads(GOOD) | {"type": kind, field: ""}).encode())
    assert item.event is not None
    assert not getattr(item.event, field)


@pytest.mark.parametrize("kind", NEEDED)
@pytest.mark.parametrize("field", BASE)
def test_a_fault_names_its_field_whether_it_is_wrong_or_missing(kind: str, field: str) -> None:
    event = json.loads(GOOD) | {"type": kind}
    for wrong in (
        event | {field: 17},
        event | {field: "x" * 65 + " "},
        {key: event[key] for key in event if key != field},
    ):
        (item,) = read_body(json.dumps(wrong).encode())
        assert (item.event, item.fault) == (None, field)


def test_a_name_is_measured_as_it_is_printed_and_a_time_by_its_year() -> None:
    enrolled = GOOD.replace("viewer.checked_in", "viewer.enrolled").replace("{", '{"name": "%s", ' % ("长" * 51), 1)
    items = read_body(
        f"[{enrolled}, {with_field('name', json.dumps('长' * 51))}, {GOOD.replace('2024', '1999')}]".encode()
    )
    assert [(item.event is None, item.fault) for item in items] == [
        (True, "name"),
        (False, None),
        (True, "occurred_at"),
    ]


@pytest.mark.parametrize("item", ["17", "null", "[]", '"text"', DEEP])
def test_what_is_no_object_has_no_field_to_name(item: str) -> None:
    (_, item_read) = read_body(f"[{GOOD}, {item}]".encode())
    assert (item_read.event, item_read.event_id, item_read.fault) == (None, None, None)


def test_half_an_emoji_in_a_single_event() -> None:
    (item,) = read_body(with_field("nick", r'"\ud83d"').encode())
    assert item.event is not None


@pytest.mark.parametrize(
    "body",
    [
        r'{"a": "\ud83d"',
        r'"\ud83d"',
        r'["\ud83d", NaN]',
        r'["\ud83d", -Infinity]',
        '["\\ud83d", "\x01"]',
        "[" * 100_000 + "]" * 99_999 + "}",
        "[" * 100_000 + "]" * 99_999,
        "[" * 100_000 + "]" * 100_001,
        f"{GOOD},{GOOD}",
        f"{GOOD} {GOOD}",
        f"{GOOD},",
        f"[{GOOD}]]",
        f"[{GOOD}],[{GOOD}]",
        f"[{DEEP},]",
        f"[,{DEEP}]",
        f"[{DEEP}, {{]}}]",
        f"[{DEEP}, tru]",
        f'[{DEEP}, "no end',
        f"{DEEP}x",
        f'{GOOD[:-1]}, "x": {DEEP}}},{GOOD}',
        f'{GOOD[:-1]}, "x": {DEEP}',
        f'{GOOD[:-1]}, "x": {DEEP}}}]',
        f"\ufeff[{GOOD}]",
    ],
)
def test_what_is_no_json_stays_refused(body: str) -> None:
    with pytest.raises(BodyRefused):
        read_body(body.encode())


# ---- items that the reader cannot look into ---------------------------------------------------------------------------


@pytest.mark.parametrize(
    "deep",
    [
        DEEP,
        f'{{"event_id": "e-1", "x": {DEEP}}}',
        '{"a":' * 2_000 + "1" + "}" * 2_000,
        f'[{DEEP}, "[,{{", "\\\\", "\\"]", "\\ud83d"]',
    ],
)
def test_an_item_too_deep_to_read_spoils_no_other(deep: str) -> None:
    good_too = with_field("nick", '"],["')
    items = read_body(f" [{GOOD}, {deep} ,{good_too}] ".encode())
    assert [item.event is not None for item in items] == [True, False, True]
    assert items[0].event == items[2].event
    assert bytes(items[1].raw).decode().strip() == deep.replace("\\ud83d", "?")


def test_a_single_event_too_deep_to_read_is_malformed() -> None:
    (item,) = read_body(with_field("x", DEEP).encode())
    assert item.event is None


def test_more_items_than_are_taken_are_too_many_whatever_is_in_them() -> None:
    with pytest.raises(BodyRefused, match="共 1001 项"):
        read_body(f"[{','.join([DEEP, *['1'] * 1000])}]".encode())


@pytest.mark.parametrize(
    "attack",
    [
        b"[" + b'\\"' * 500_000,
        b'["' + b'\\"' * 500_000,
        b"[" * 1_000_000,
        b"[{" * 250_000 + b"}]" * 250_000,
        b"[1," * 300_000,
        b'["\\ud83d",' + b"1," * 500_000 + b"1]",
        b'["' + b"\\ud83d" * 160_000 + b'"]',
        b'[""' + b',""' * 300_000,
        b"[[" + b"]" * 1_000_000,
    ],
)
def test_what_was_made_to_take_long_does_not(attack: bytes) -> None:
    """Bodies of 1 MiB. Code that looks at positions more than once takes minutes; the limit allows for a busy machine."""
    began = time.process_time()
    with suppress(BodyRefused):
        read_body(attack)
    assert time.process_time() - began < 5


# ---- times and names ---------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("sent", "means"),
    [
        ("19:59:59.9999999+08:00", "19:59:59.999999+08:00"),
        ("19:59:59.9999995+08:00", "19:59:59.999999+08:00"),
        (r"19:59:59.\u0039999999+08:00", "19:59:59.999999+08:00"),
        (r"19:59:59\u002e9999999Z", "19:59:59.999999+00:00"),
        ("19:59:59.999999+08:00", "19:59:59.999999+08:00"),
        ("20:00:00.0000009+08:00", "20:00:00.000001+08:00"),
        ("20:00:00+08:00", "20:00:00+08:00"),
        ("19:59:59.9999999Z", "19:59:59.999999+00:00"),
    ],
)
def test_a_time_lies_in_the_second_that_it_names(sent: str, means: str) -> None:
    """If times were rounded up, a check-in in the last tenth of a microsecond of a live window would count as a replay."""
    for nick in ("x", ".999999", "\\\\"):
        body = with_field("nick", f'"{nick}"').replace("19:31:05+08:00", sent)
        (item,) = read_body(body.encode())
        assert item.event is not None
        assert item.event.occurred_at == datetime.fromisoformat(f"2024-06-29T{means}")


@pytest.mark.parametrize(
    ("sent", "taken"),
    [
        ("长" * 50, "长" * 50),
        ("长" * 51, None),
        ("e\u0301" * 50, "é" * 50),
        ("e\u0301" * 51, None),
        ("\u0958" * 25, "\u0915\u093c" * 25),  # one character as it is sent, two in NFC
        ("\u0958" * 26, None),
        ("a" * 51, None),
    ],
)
def test_a_name_is_measured_as_it_is_printed(sent: str, taken: str | None) -> None:
    """A name may grow by normalisation. checkin accepted such names, and certificate dropped them without a word."""
    (item,) = read_body(with_field("name", json.dumps(sent)).replace("checked_in", "enrolled").encode())
    assert (item.event.name if item.event else None) == taken
    assert item.event_id == "e-1"
