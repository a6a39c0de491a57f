"""Makes what no platform should send and every platform does: malformed items, and bodies that are refused as a whole."""

from collections.abc import Sequence
from typing import Any

from demo.deliveries import Fault, Item, Post, body_of, item_of


def items(good: dict[str, Any]) -> list[Item]:
    """Items that are each wrong in one way; their ids are made from that of `good`. The last of the changes is wrong in a field
    that a check-in has no use for, so it counts."""
    event_id = good["event_id"]
    changes: list[dict[str, Any]] = [
        {"type": "viewer.left"},
        {"campaign_id": "another-campaign"},
        {"viewer_id": "ks 1"},
        {"viewer_id": 1},
        {"viewer_id": "k" * 65},
        {"occurred_at": "2024-06-29T19:31:05"},
        {"occurred_at": "yesterday"},
        {"occurred_at": "1999-12-31T19:31:05+08:00"},
        {"occurred_at": "9999-12-31T19:31:05+08:00"},
        {"type": "quiz.answered", "quiz": "a\x00b"},
        {"type": "viewer.enrolled", "group": "学生"},
        {"type": "quiz.answered", "quiz": "长" * 101},
        {"channel": "", "unit_code": 7, "quiz": "长" * 101},
    ]
    wrong = [item_of(good | {"event_id": f"odd-{event_id}-{n}"} | change) for n, change in enumerate(changes)]
    without_id: list[Any] = [good | {"event_id": "e 1"}, {"hello": event_id}, ["an", "array", event_id], event_id, None]
    return [*wrong, *(item_of(value) for value in without_id)]


def posts(ghosts: Sequence[Item], number: int) -> list[Post]:
    """Two posts with `ghosts`, none of which may count: one has a wrong signature, one is broken in the `number`-th other way."""
    good = body_of(ghosts)
    bodies: dict[Fault, bytes] = {
        "not_utf8": good.replace(b"viewer.checked_in", b"viewer.\xff\xfe"),
        "truncated": good[:-20],
        "too_many": body_of([ghosts[0]] * 1001),
        "too_large": good + b" " * (2 * 1024 * 1024),
        "empty": b"[]",
        "not_json": "签到".encode(),
    }
    other = list(bodies)[number % len(bodies)]
    return [Post([], good, "wrong_signature"), Post([], bodies[other], other)]
