"""Compares the answers of the three ways in with what they must have been."""

from collections import Counter
from collections.abc import Mapping
from typing import Any

from demo.comparison import Check
from demo.deliveries import Export, Post, Step
from demo.expectation import STATUS_OF_FAULT, Expected


class Answers:
    """Compares the answers of the three ways in with what they must have been, step by step.

    `exact` is False where services were killed: a first answer may have been lost, and its repeat is a `duplicate`.
    """

    def __init__(self, *, exact: bool = True) -> None:
        self._exact = exact
        self.posts = Check("webhook: answer to every event")
        self.bodies = Check("webhook: bodies refused as a whole")
        self.files = Check("import: rows by verdict and reason")

    def hold(self, step: Step, expected: Mapping[int, list[Expected]]) -> None:
        firsts: Counter[tuple[str, ...]] = Counter()
        unsure: set[tuple[str, ...]] = set()  # identities whose first answer may have been lost
        new: set[tuple[str, ...]] = set()
        for post in step.posts:
            self._post(post, expected[id(post)], firsts, unsure, new)
        on_bus = {_subject(item.value) for message in step.bus for item in message.items}
        for identity in new:
            certain = identity not in unsure and (identity[0], identity[1]) not in on_bus
            wanted = 1 if certain else min(firsts[identity], 1)
            if firsts[identity] != wanted:
                self.posts.equal((*identity, "times first"), wanted, firsts[identity])
        for export in step.exports:
            self._export(export, expected[id(export)])

    def _post(
        self,
        post: Post,
        expected: list[Expected],
        firsts: Counter[tuple[str, ...]],
        unsure: set[tuple[str, ...]],
        new: set[tuple[str, ...]],
    ) -> None:
        answer = post.answer
        assert answer is not None  # noqa: S101 - the player raises where no answer came
        if post.fault:
            self.bodies.equal(post.fault, STATUS_OF_FAULT[post.fault], answer.status)
            self.bodies.equal(f"{post.fault}: kind of answer", "application/problem+json", answer.kind)
            return
        self.posts.equal(f"status of {len(post.items)} events", 200, answer.status)
        self.posts.equal("number of results", len(post.items), len(answer.results))
        self.posts.equal("counts", Counter(result["verdict"] for result in answer.results), Counter(answer.counts))
        for item, wanted, result in zip(post.items, expected, answer.results, strict=False):
            answered = (result["verdict"], result["reason"])
            if wanted.identity is None:
                self.posts.equal(item.value, (wanted.verdict, wanted.reason), answered)
                continue
            self.posts.equal("event_id", item.value["event_id"], result["event_id"])
            first = answered == (wanted.verdict, wanted.reason) and not wanted.known
            if not first:
                self.posts.equal(item.value, ("duplicate", None), answered)
            if not wanted.known:
                new.add(wanted.identity)
                firsts[wanted.identity] += first
                if answer.tries > 1 or not self._exact:
                    unsure.add(wanted.identity)

    def _export(self, export: Export, expected: list[Expected]) -> None:
        """Checks the answer to an export file, whose rows have an order because it is read from top to bottom."""
        counts: Counter[tuple[str, str]] = Counter()
        seen: set[tuple[str, ...]] = set()
        for wanted in expected:
            repeated = wanted.identity is not None and (wanted.known or wanted.identity in seen)
            counts[("duplicate", wanted.repeated) if repeated else (wanted.verdict, wanted.reason or "")] += 1
            if wanted.identity is not None:
                seen.add(wanted.identity)
        assert export.answer is not None  # noqa: S101 - the player raises otherwise
        answered: Counter[tuple[str, str]] = Counter()
        for verdict, number in export.answer["verdicts"].items():
            reasons = export.answer["reasons"].get(verdict, {})
            answered[verdict, ""] = number - sum(reasons.values())
            answered |= Counter({(verdict, reason): n for reason, n in reasons.items()})
        if not self._exact:
            counts, answered = _only_taken_or_rejected(counts), _only_taken_or_rejected(answered)
        self.files.same(_named(export.name, counts), _named(export.name, answered))


def _subject(event: Any) -> tuple[str, str]:
    return (str(event.get("type")), str(event.get("viewer_id"))) if isinstance(event, dict) else ("", "")


def _only_taken_or_rejected(counts: Mapping[tuple[str, str], int]) -> Counter[tuple[str, str]]:
    folded: Counter[tuple[str, str]] = Counter()
    for (verdict, reason), number in counts.items():
        folded[(verdict, reason) if verdict == "rejected" else ("taken", "")] += number
    return folded


def _named(name: str, counts: Mapping[tuple[str, str], int]) -> dict[tuple[str, ...], int]:
    return {(name, *key): number for key, number in counts.items() if number}
