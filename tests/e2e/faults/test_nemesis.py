"""Dealing: every kind is played once by the seeds that share a deck; the same seed has the same hand."""

from collections import Counter

from tests.e2e.faults import kinds
from tests.e2e.faults.__main__ import seeds_of
from tests.e2e.faults.nemesis import SEEDS_PER_DECK, deal

FOUND, _ = kinds.available()
LONGEST_S = 35.0


def test_the_seeds_of_a_deck_play_every_kind_once() -> None:
    for first in (1, 1 + SEEDS_PER_DECK):
        hands = [deal(seed, FOUND, LONGEST_S) for seed in range(first, first + SEEDS_PER_DECK)]
        played = Counter(planned.fault.kind for hand in hands for planned in hand)
        assert played == Counter(fault.kind for fault in FOUND)
        assert set(played.values()) == {1}


def test_a_seed_has_one_hand() -> None:
    assert deal(7, FOUND, LONGEST_S) == deal(7, FOUND, LONGEST_S)
    assert [planned.fault.kind for planned in deal(7, FOUND, 90)] == [
        planned.fault.kind for planned in deal(7, FOUND, LONGEST_S)
    ]
    assert deal(7, FOUND, LONGEST_S) != deal(12, FOUND, LONGEST_S)


def test_no_fault_is_held_longer_than_asked() -> None:
    assert max(planned.hold_s for seed in range(1, 41) for planned in deal(seed, FOUND, LONGEST_S)) == LONGEST_S


def test_seeds_are_read_as_typed() -> None:
    assert seeds_of("7") == [7]
    assert seeds_of("1-3,9") == [1, 2, 3, 9]
