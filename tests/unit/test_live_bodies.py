"""Bodies of the live platform: one bad item spoils no other (DESIGN §5.1)."""

import json

import pytest

from services.checkin.live_platform import BodyRefused, read_body

GOOD = json.dumps(
    {
        "event_id": "e-1",
        "type": "viewer.checked_in",
        "campaign_id": "c",
        "viewer_id": "v",
        "occurred_at": "2024-06-29T19:31:05+08:00",
    }
)


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
        r'["\ud83d", ' + "[" * 100_000 + "]" * 100_000 + "]",
    ],
)
def test_what_is_no_json_stays_refused(body: str) -> None:
    with pytest.raises(BodyRefused):
        read_body(body.encode())
