"""Group commit: posts that wait at the same time are committed together; none waits for others to come.

A transaction costs one fsync whatever it holds, so under load each takes all posts that came while the last one ran (STACK,
"HTTP"). While one waits for Postgres, a second begins only if many events wait: otherwise both would be small and dear
(docs/performance.md).
"""

import asyncio
import random
import time
from collections import Counter
from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import NamedTuple

import structlog

from services.checkin.campaigns import Catalogue
from services.checkin.deciding import Counted, Decisions
from services.checkin.domain import CHECKED_IN, Result
from services.checkin.recording import Record, Seal, record
from services.checkin.sorting import Arrival, Digest
from shared.clock import Clock
from shared.database import Database, DatabaseAway, Transaction

log = structlog.get_logger()

ITEMS_PER_COMMIT_MAX = 4_000  # bounds how long one transaction keeps the others waiting
TRANSACTIONS_MAX = 2
ITEMS_FOR_A_SECOND = 1_000  # so many must wait before a second transaction is worth its cost
ITEMS_WAITING_MAX = 20_000  # about 20 MB of events; beyond that senders are told to come back
COUNT_SLOTS = 64


class Overloaded(Exception):
    """More is waiting than should be held in memory: come back later."""


class _Waiting(NamedTuple):
    arrivals: Sequence[Arrival]
    answer: "asyncio.Future[list[Result]]"


class Committer:
    """`submit` returns when the events are committed. `run` must be running."""

    def __init__(
        self,
        db: Database,
        clock: Clock,
        catalogue: Catalogue,
        seal: Seal,
        digest: Digest,
        *,
        record: Record = record,
        items_waiting_max: int = ITEMS_WAITING_MAX,
    ) -> None:
        self._db = db
        self._clock = clock
        self._catalogue = catalogue
        self._seal = seal
        self._digest = digest
        self._record = record
        self._items_waiting_max = items_waiting_max
        self._waiting: list[_Waiting] = []
        self._items_waiting = 0
        self._open = 0  # transactions
        self._changed = asyncio.Event()
        # Campaign → wall time at which this process last committed an event from a feed that was not refused.
        self.last_taken_s: dict[str, float] = {}
        # (campaign, source) → the clock's time at which this process last committed an event of that feed.
        self.heard_at: dict[tuple[str, str], datetime] = {}
        # (campaign, lesson date, source) → live check-ins that this process has taken from a platform's feed, repeats included.
        self.live_taken: Counter[tuple[str, str, str]] = Counter()
        self._slot = random.randrange(COUNT_SLOTS)  # noqa: S311 - spreads replicas over rows

    async def submit(self, arrivals: Sequence[Arrival]) -> list[Result]:
        """Commits events and returns their results. Raises `Overloaded` or `DatabaseAway`; then nothing was committed, or nobody
        knows (the connection broke during commit). Sending again is right in both cases."""
        if self._items_waiting + len(arrivals) > self._items_waiting_max:
            raise Overloaded
        answer: asyncio.Future[list[Result]] = asyncio.get_running_loop().create_future()
        self._waiting.append(_Waiting(arrivals, answer))
        self._items_waiting += len(arrivals)
        self._changed.set()
        return await answer

    async def run(self) -> None:
        """Commits posts until it is cancelled; posts that still wait then fail as not committed."""
        try:
            async with asyncio.TaskGroup() as tasks:
                for number in range(TRANSACTIONS_MAX):
                    tasks.create_task(self._commit_for_ever((self._slot + number) % COUNT_SLOTS))
        finally:
            while self._waiting:
                _fail(self._next_group(), DatabaseAway("the service is stopping"))

    async def _commit_for_ever(self, slot: int) -> None:
        while True:
            while self._items_waiting < (ITEMS_FOR_A_SECOND if self._open else 1):
                self._changed.clear()
                await self._changed.wait()
            self._open += 1
            try:
                if group := self._next_group():
                    await self._commit(group, slot)
            finally:
                self._open -= 1
                self._changed.set()

    def _next_group(self) -> list[_Waiting]:
        """Takes the posts that have waited longest, and drops those whose sender is gone."""
        group: list[_Waiting] = []
        size = 0
        for waiting in self._waiting:
            if group and size + len(waiting.arrivals) > ITEMS_PER_COMMIT_MAX:
                break
            group.append(waiting)
            size += len(waiting.arrivals)
        del self._waiting[: len(group)]
        self._items_waiting -= size
        return [waiting for waiting in group if not waiting.answer.cancelled()]

    async def _commit(self, group: list[_Waiting], slot: int) -> None:
        try:
            results = await self._recorded([arrival for waiting in group for arrival in waiting.arrivals], slot)
        except asyncio.CancelledError:
            _fail(group, DatabaseAway("the service is stopping"))
            raise
        except DatabaseAway as error:
            _fail(group, error)
        except Exception as error:
            await self._commit_one_by_one(group, slot, error)
        else:
            _answer(group, results)

    async def _commit_one_by_one(self, group: list[_Waiting], slot: int, error: Exception) -> None:
        """Commits each post alone after their common transaction failed, so that only the post that causes the error fails."""
        if len(group) == 1:
            log.error("a post could not be recorded", exc_info=error)
            _fail(group, error)
            return
        for waiting in group:
            await self._commit([waiting], slot)

    async def _recorded(self, arrivals: list[Arrival], slot: int) -> list[Result]:
        async def work(tx: Transaction) -> Decisions:
            campaigns = await self._catalogue.held(tx)
            now = self._clock.now()
            return await self._record(tx, arrivals, campaigns, now, self._seal, self._digest, slot)

        decisions = await self._db.in_transaction(work)
        self._note_taken(decisions.counts)
        return decisions.results

    def _note_taken(self, counts: Mapping[Counted, int]) -> None:
        """Notes when a feed was last heard, and how many live check-ins it sent. Repeats count too. Imported files and refused
        events do not count, because they have no feed."""
        for (campaign_id, type_, lesson_date, mode, _, _, feed), number in counts.items():
            if feed:
                self.last_taken_s[campaign_id] = time.time()
                self.heard_at[campaign_id, feed] = self._clock.now()
            if feed and type_ == CHECKED_IN and mode == "live":
                self.live_taken[campaign_id, lesson_date, feed] += number


def _answer(group: list[_Waiting], results: list[Result]) -> None:
    start = 0
    for arrivals, answer in group:
        if not answer.done():
            answer.set_result(results[start : start + len(arrivals)])
        start += len(arrivals)


def _fail(group: list[_Waiting], error: Exception) -> None:
    for waiting in group:
        if not waiting.answer.done():
            waiting.answer.set_exception(error)
