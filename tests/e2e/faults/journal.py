"""What the clients sent and what they were told, each line written before the next step is taken: the witness of a run.

An *identity* is what must exist once: `checkin v7 0 live`, `enrolment v7 e-12`, `claim SERIAL`. It may be sent several times.
"""

import itertools
import json
import time
from collections.abc import Iterable, Mapping, Sequence
from enum import StrEnum
from pathlib import Path
from typing import Any


class Outcome(StrEnum):
    OK = "ok"  # the stack said that it has it
    REFUSED = "refused"  # the stack said that it has not, or nothing was sent
    UNKNOWN = "unknown"  # no answer, a broken one, or one that does not say


class Journal:
    def __init__(self, path: Path) -> None:
        self.path = path
        self._file = path.open("a", buffering=1, encoding="utf-8")
        self._numbers = itertools.count(1)
        self._began = time.monotonic()

    def begin(self, do: str, via: str, identities: Sequence[str]) -> int:
        """To be called before anything is sent; the number of the operation."""
        number = next(self._numbers)
        self._write(op=number, do=do, via=via, of=list(identities))
        return number

    def end(self, number: int, outcomes: Sequence[Outcome], **more: Any) -> None:
        """The outcomes in the order of the identities."""
        self._write(op=number, was=list(outcomes), **more)

    def note(self, text: str) -> None:
        self._write(note=text)

    def live_deleted(self, generation: int, floor: int) -> None:
        """The stream LIVE is gone: of its messages, those up to `floor` had been acknowledged by checkin."""
        self._write(live_deleted=[generation, floor])

    def close(self) -> None:
        self._file.close()

    def _write(self, **line: Any) -> None:
        self._file.write(json.dumps({"t": round(time.monotonic() - self._began, 3), **line}, ensure_ascii=False) + "\n")


def read(path: Path) -> list[dict[str, Any]]:
    with path.open(encoding="utf-8") as lines:
        return [json.loads(line) for line in lines]


def outcomes(lines: Iterable[Mapping[str, Any]]) -> dict[str, Outcome]:
    """What became of each identity over all its tries: ok if one was, else unknown if one was, else refused."""
    begun: dict[int, Sequence[str]] = {}
    ended: dict[int, Mapping[str, Any]] = {}
    floors: dict[int, int] = {}
    for line in lines:
        if "of" in line:
            begun[line["op"]] = line["of"]
        elif "was" in line:
            ended[line["op"]] = line
        elif "live_deleted" in line:
            generation, floor = line["live_deleted"]
            floors[generation] = floor
    outcomes_by_id: dict[str, Outcome] = {}
    for number, identities in begun.items():
        for identity, outcome in zip(identities, _of_try(ended.get(number), len(identities), floors), strict=True):
            outcomes_by_id[identity] = max(outcomes_by_id.get(identity, Outcome.REFUSED), outcome, key=_certainty)
    return outcomes_by_id


def _of_try(end: Mapping[str, Any] | None, count: int, floors: Mapping[int, int]) -> list[Outcome]:
    if end is None:
        return [Outcome.UNKNOWN] * count
    if "live" in end:  # acknowledged by NATS, and then its stream was deleted before checkin had read it
        generation, sequence = end["live"]
        if generation in floors and sequence > floors[generation]:
            return [Outcome.UNKNOWN] * count
    return [Outcome(outcome) for outcome in end["was"]]


_CERTAINTY = (Outcome.REFUSED, Outcome.UNKNOWN, Outcome.OK)


def _certainty(outcome: Outcome) -> int:
    return _CERTAINTY.index(outcome)
