"""What is sent, and what must come of it. Everything follows from a viewer's number, so every process can compute both.

A benchmark campaign has 20 lessons on consecutive days. The clock stands at 19:55 on the last day: check-ins of the last
two days' live windows still count (sealing is 48 h after the replay).
"""

import hashlib
import hmac
import itertools
import json
import random
from base64 import b64decode, b64encode
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from datetime import date, datetime, timedelta
from functools import cache
from typing import Any, NamedTuple

from cli.campaign_file import load
from devstack.home import REPOSITORY

CAMPAIGN_FILE = REPOSITORY / "campaigns" / "jinshan-2024.yaml"
LESSONS = 20
LAST_DAY = date(2024, 7, 14)
DAYS = [LAST_DAY - timedelta(days=LESSONS - 1 - n) for n in range(LESSONS)]
CLOCK_AT = datetime.fromisoformat("2024-07-14T19:55:00+08:00")
CLAIM_FROM = datetime.fromisoformat("2024-07-14T20:00:00+08:00")
CLAIM_LATER = datetime.fromisoformat("2024-08-01T20:00:00+08:00")  # for cases that do not measure certificates
WINDOW_S = 25 * 60  # check-ins lie in the part of the live window that has passed, 19:30 to 19:55
COMPLETING = 16  # every 16th check-in completes somebody's course, as on average in a course of 16 lessons
SCATTER = 2654435761  # scatters the ids of successive viewers over the whole index
SLOTS = 4096
RESIDENTS_MIN, RESIDENTS_MAX = 20_000, 500_000  # limits: a bureau has no residents, a city all of its counties'
UNASSIGNED = "unassigned"


_DATES = [day.isoformat() for day in DAYS]
_CLOCKS = [f"T19:{30 + second // 60}:{second % 60:02}+08:00" for second in range(WINDOW_S)]


class Checkin(NamedTuple):
    viewer: int
    lesson: int  # index


def viewer_id(number: int) -> str:
    return f"ks_{number * SCATTER % 2**32:010d}"


@cache
def places() -> tuple[list[str], list[str]]:
    """Units and groups as drawn by viewers, with repetition: units by residents, six of ten viewers in the general public."""
    definition = load(CAMPAIGN_FILE)
    rng = random.Random(1)
    units = [unit for unit in definition.units if unit.level != "province"]
    residents = [min(unit.residents.count, RESIDENTS_MAX) if unit.residents else RESIDENTS_MIN for unit in units]
    codes = [group.code for group in definition.groups]
    return (
        rng.choices([unit.unit_code for unit in units], residents, k=SLOTS),
        rng.choices(codes, [60 if code == "general" else 5 for code in codes], k=SLOTS),
    )


def unit_of(number: int) -> str:
    return places()[0][number * 40503 % SLOTS]


def group_of(number: int) -> str:
    return places()[1][number * 30011 % SLOTS]


def definition(
    campaign_id: str, required_days: int, claim_from: datetime = CLAIM_LATER, *, seal_after_hours: int = 48
) -> dict[str, Any]:
    """The province's campaign, with 20 lessons up to 2024-07-14."""
    content = load(CAMPAIGN_FILE).model_dump(mode="json")
    return content | {
        "certificate": content["certificate"] | {"claim_from": claim_from.isoformat()},
        "campaign_id": campaign_id,
        "required_days": required_days,
        "seal_after_hours": seal_after_hours,
        "lessons": [{"date": day.isoformat(), "title": f"第{n}课"} for n, day in enumerate(DAYS, start=1)],
    }


@dataclass
class Traffic:
    """Check-ins of one campaign, and what they add to what is stored.

    `enrolled`: the viewers have a unit and a group. `completing`: the caller's campaign decides what counts as completed.
    """

    campaign_id: str
    checkins: Sequence[Checkin]
    enrolled: bool
    completed: frozenset[int]  # viewer numbers

    def __len__(self) -> int:
        return len(self.checkins)

    def totals(self) -> Counter[tuple[date, str, str]]:
        """Check-ins by lesson, unit and group."""
        if not self.enrolled:
            by_lesson = Counter(checkin.lesson for checkin in self.checkins)
            return Counter({(DAYS[lesson], UNASSIGNED, UNASSIGNED): n for lesson, n in by_lesson.items()})
        return Counter((DAYS[lesson], unit_of(viewer), group_of(viewer)) for viewer, lesson in self.checkins)

    def first(self, n: int) -> "Traffic":
        """The same traffic, but only its first `n` check-ins."""
        some = self.checkins[:n]
        both = Counter(checkin.viewer for checkin in some)
        return Traffic(self.campaign_id, some, self.enrolled, frozenset(v for v, times in both.items() if times == 2))

    def bodies(self, per_post: int) -> Iterator[bytes]:
        return bodies(self.campaign_id, self.checkins, per_post)


def new_viewers(campaign_id: str, first: int, checkins: int, *, enrolled: bool = False) -> Traffic:
    """Viewers numbered from `first`; one in 15 checks in on the last two days (2 required days), the others on the last only."""
    viewers = checkins * (COMPLETING - 1) // COMPLETING
    numbers = list(range(first, first + viewers))
    random.Random(first).shuffle(numbers)
    both = numbers[: checkins - viewers]
    rows = [Checkin(number, LESSONS - 2) for number in both]
    random.Random(first + 1).shuffle(numbers)
    rows += [Checkin(number, LESSONS - 1) for number in numbers]
    return Traffic(campaign_id, rows, enrolled, frozenset(both))


def known_viewers(campaign_id: str, numbers: range, completing: int, seed: int) -> Traffic:
    """Viewers of a preloaded campaign (preload.py) check in to its last lesson; every `completing`th completes the course."""
    chosen = list(numbers)
    random.Random(seed).shuffle(chosen)
    completed = frozenset(number for number in chosen if number % completing == 0)
    return Traffic(campaign_id, [Checkin(number, LESSONS - 1) for number in chosen], True, completed)


def bodies(campaign_id: str, checkins: Sequence[Checkin], per_post: int) -> Iterator[bytes]:
    """JSON arrays of `per_post` events (a single event is an object, as a platform sends it)."""
    texts = _texts(campaign_id, checkins)
    while some := list(itertools.islice(texts, per_post)):
        yield (some[0] if per_post == 1 else f"[{','.join(some)}]").encode()


def endless(campaign_id: str, first: int, posts: int, per_post: int) -> Iterator[bytes]:
    """For long runs: new viewers, numbered from `first`, check in to the last lesson. Bodies are made while they are sent."""
    for start in range(first, first + posts * per_post, per_post):
        yield from bodies(campaign_id, [Checkin(n, LESSONS - 1) for n in range(start, start + per_post)], per_post)


def course(campaign_id: str, viewers: int, lessons: int, per_post: int) -> Iterator[bytes]:
    """For long runs: the same viewers check in to lesson after lesson, each time in another order. Bodies are made while they are
    sent."""
    for lesson in range(lessons):
        step = pow(SCATTER, lesson + 1, viewers)  # SCATTER is prime: every viewer has one turn
        for start in range(0, viewers, per_post):
            turns = range(start, min(start + per_post, viewers))
            yield from bodies(campaign_id, [Checkin(turn * step % viewers, lesson) for turn in turns], per_post)


def _texts(campaign_id: str, checkins: Sequence[Checkin]) -> Iterator[str]:
    for number, lesson in checkins:
        yield (
            f'{{"event_id":"c-{number}-{lesson}","type":"viewer.checked_in","campaign_id":"{campaign_id}",'
            f'"viewer_id":"ks_{number * SCATTER % 2**32:010d}","occurred_at":"{_DATES[lesson]}{_CLOCKS[number % WINDOW_S]}"}}'
        )


def checked_in_at(checkin: Checkin) -> datetime:
    start = datetime.fromisoformat(f"{DAYS[checkin.lesson]}T19:30:00+08:00")
    return start + timedelta(seconds=checkin.viewer % WINDOW_S)


def enrolment_bodies(campaign_id: str, numbers: range, per_post: int) -> Iterator[bytes]:
    """Enrolments with unit, group, name and phone."""
    for start in range(numbers.start, numbers.stop, per_post):
        events = [_enrolment(campaign_id, n) for n in range(start, min(start + per_post, numbers.stop))]
        yield json.dumps(events, ensure_ascii=False, separators=(",", ":")).encode()


def _enrolment(campaign_id: str, number: int) -> dict[str, str]:
    return {
        "event_id": f"n-{number}",
        "type": "viewer.enrolled",
        "campaign_id": campaign_id,
        "viewer_id": viewer_id(number),
        "occurred_at": "2024-06-25T08:00:00+08:00",
        "unit_code": unit_of(number),
        "group": group_of(number),
        "name": f"测试{'甲乙丙丁戊己庚辛'[number % 8]}",
        "phone": phone_of(number),
    }


def phone_of(number: int) -> str:
    return f"138{number % 10**8:08}"


@dataclass(frozen=True)
class Signer:
    """Signs by Standard Webhooks in code of its own, so that the generator is not the bottleneck."""

    secret: str = field(repr=False)

    def head(self, host: str, message_id: str, timestamp: str, body: bytes) -> bytes:
        """A whole HTTP request up to its body."""
        key = b64decode(self.secret.removeprefix("whsec_"))
        signed = hmac.digest(key, f"{message_id}.{timestamp}.".encode() + body, hashlib.sha256)
        return (
            f"POST /v1/live/events HTTP/1.1\r\nhost: {host}\r\ncontent-type: application/json\r\n"
            f"content-length: {len(body)}\r\nwebhook-id: {message_id}\r\nwebhook-timestamp: {timestamp}\r\n"
            f"webhook-signature: v1,{b64encode(signed).decode()}\r\n\r\n"
        ).encode()
