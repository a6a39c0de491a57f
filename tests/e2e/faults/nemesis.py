"""Which faults a seed gets, and playing them: several at a time, each for as long as it was dealt, never two on one target.

Every `SEEDS_PER_DECK` seeds share a deck that has each kind of fault once: seeds 1–5 together play all of them, as do 6–10.
"""

import asyncio
import random
import time
from collections.abc import Awaitable, Callable, Iterable, Sequence
from dataclasses import dataclass

from tests.e2e.faults.journal import Journal
from tests.e2e.faults.stack import Cluster

SEEDS_PER_DECK = 5
AT_ONCE = 2
PAUSE_S = (0.5, 4.0)
HOLDS_S = ((0.5, (1, 6)), (0.35, (6, 30)), (0.15, (30, 90)))  # share, range
FAULT_WITHIN_S = 240  # beyond its hold: restarts, waiting for a server that another fault took away


@dataclass(frozen=True)
class Fault:
    """`play(cluster, rng, hold_s)` does it, holds it, takes it back and says in words what it was."""

    kind: str
    targets: frozenset[str]
    play: Callable[[Cluster, random.Random, float], Awaitable[str]]


@dataclass(frozen=True)
class Planned:
    fault: Fault
    hold_s: float
    seed: str  # of the draws inside the fault


@dataclass
class Played:
    kind: str
    words: str
    began_s: float
    took_s: float
    error: str | None = None


def deal(seed: int, kinds: Sequence[Fault], longest_s: float) -> list[Planned]:
    """The hand of a seed. The same for the same seed, kinds and limit."""
    number, hand = divmod(seed - 1, SEEDS_PER_DECK)
    deck = list(kinds)
    random.Random(f"deck {number}").shuffle(deck)
    rng = random.Random(f"seed {seed}")
    return [
        Planned(fault, min(_hold(rng), longest_s), f"seed {seed} {fault.kind}") for fault in deck[hand::SEEDS_PER_DECK]
    ]


def _hold(rng: random.Random) -> float:
    (limits,) = rng.choices([limits for _, limits in HOLDS_S], [share for share, _ in HOLDS_S])
    return round(rng.uniform(*limits), 1)


class Nemesis:
    def __init__(self, cluster: Cluster, journal: Journal, hand: Iterable[Planned], rng: random.Random) -> None:
        self._cluster = cluster
        self._journal = journal
        self._waiting = list(hand)
        self._rng = rng
        self._busy: set[str] = set()
        self._began = time.monotonic()
        self.played: list[Played] = []

    async def run(self) -> None:
        """Plays the whole hand."""
        await asyncio.gather(*(self._play_for_ever() for _ in range(AT_ONCE)))

    async def _play_for_ever(self) -> None:
        while self._waiting:
            await asyncio.sleep(self._rng.uniform(*PAUSE_S))
            planned = self._next()
            if planned is None:  # its targets are taken, or there is nothing left
                continue
            self._busy |= planned.fault.targets
            try:
                await self._play(planned)
            finally:
                self._busy -= planned.fault.targets

    def _next(self) -> Planned | None:
        for planned in self._waiting:
            if not planned.fault.targets & self._busy:
                self._waiting.remove(planned)
                return planned
        return None

    async def _play(self, planned: Planned) -> None:
        began = time.monotonic()
        played = Played(planned.fault.kind, "", round(began - self._began, 1), 0)
        self._journal.note(f"begins: {planned.fault.kind}, {planned.hold_s:g} s")
        try:
            async with asyncio.timeout(planned.hold_s + FAULT_WITHIN_S):
                played.words = await planned.fault.play(self._cluster, random.Random(planned.seed), planned.hold_s)
        except Exception as error:
            played.error = f"{type(error).__name__}: {error}"[:300]
        played.took_s = round(time.monotonic() - began, 1)
        self._journal.note(f"ended: {played.kind}: {played.words or played.error}")
        self.played.append(played)
