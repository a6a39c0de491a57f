"""One seed: a fresh stack, traffic and faults, healing, the checker. The result is one JSON-ready row."""

import asyncio
import random
import tempfile
import time
from collections import Counter
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import httpx

from tests.e2e.faults import checker, journal, kinds, snapshot
from tests.e2e.faults.clients import Clients
from tests.e2e.faults.course import CAMPAIGN_ID, Course, Traffic
from tests.e2e.faults.healing import heal, recover
from tests.e2e.faults.journal import Journal, Outcome
from tests.e2e.faults.nemesis import Nemesis, Planned, deal
from tests.e2e.faults.stack import Cluster

CALM_BEFORE_S, CALM_AFTER_S = 5, 5
CLIENTS_END_WITHIN_S = 60
KEPT_OF_EACH = 10


@dataclass(frozen=True)
class Play:
    """What is to be played. `only` names kinds of faults instead of the seed's hand, each held for `longest_s`."""

    seed: int
    longest_s: float
    only: Sequence[str] = ()

    def hand(self) -> list[Planned]:
        faults, _ = kinds.available()
        if not self.only:
            return deal(self.seed, faults, self.longest_s)
        known = {fault.kind: fault for fault in faults}
        return [Planned(known[kind], self.longest_s, f"seed {self.seed} {kind}") for kind in self.only]


async def play_seed(play: Play, folder: Path) -> dict[str, Any]:
    """Raises what keeps the stack from starting or the checker from reading; a difference is in the row."""
    rng = random.Random(f"run {play.seed}")
    hand = play.hand()
    cluster = Cluster(folder, small_disks=any(planned.fault.kind.startswith("disk full") for planned in hand))
    kept = Journal(folder / "journal.ndjson")
    began = time.monotonic()
    try:
        await cluster.start()
        course = Course.at(datetime.now(UTC))
        await _define(cluster, course)
        cluster.on_live_deleted = _live_deleted(cluster, kept)
        started_s = time.monotonic() - began
        clients = Clients(cluster, Traffic(course, rng), kept, rng)
        nemesis = Nemesis(cluster, kept, hand, rng)
        loaded_s = await _suffer(clients, nemesis)
        healed_at = time.monotonic()
        await heal(cluster)
        _, still_open = await recover(cluster)
        recovered_s = time.monotonic() - healed_at
        lines = journal.read(kept.path)
        seen = await snapshot.take(cluster, lines)
    finally:
        kept.close()
        await cluster.stop()
    differences = checker.check(seen)
    sorts = Counter(difference.sort for difference in differences)
    told = Counter(seen.told.values())
    return {
        "seed": play.seed,
        "longest_s": play.longest_s,
        "faults": [asdict(played) for played in nemesis.played],
        "operations": clients.operations,
        "accepted": told[Outcome.OK],
        "refused": told[Outcome.REFUSED],
        "unknown": told[Outcome.UNKNOWN],
        "certificates": len(seen.certificates),
        "texts": len(seen.messages),
        "texts_scheduled": len(seen.scheduled),
        "lost": sorts[checker.Sort.LOST],
        "doubled": sorts[checker.Sort.DOUBLED],
        "refused_counted": sorts[checker.Sort.REFUSED_COUNTED],
        "differences": len(differences) + len(still_open),
        "by_sort": dict(sorts),
        "words": [*(f"still open: {fault}" for fault in still_open), *_some_of_each(differences)],
        "slowest_ok_s": round(clients.slowest_ok_s, 1),
        "started_s": round(started_s, 1),
        "loaded_s": round(loaded_s, 1),
        "recovered_s": round(recovered_s, 1),
    }


def _some_of_each(differences: Sequence[checker.Difference]) -> list[str]:
    kept = [
        [str(difference) for difference in differences if difference.sort is sort][:KEPT_OF_EACH]
        for sort in checker.Sort
    ]
    return [words for of_sort in kept for words in of_sort]


async def _define(cluster: Cluster, course: Course) -> None:
    headers = {"authorization": f"Bearer {cluster.addresses['ADMIN_TOKEN']}"}
    async with httpx.AsyncClient(trust_env=False, timeout=30, headers=headers) as http:
        url = f"{cluster.urls['checkin-a']}/v1/campaigns/{CAMPAIGN_ID}"
        (await http.put(url, json=course.definition())).raise_for_status()


def _live_deleted(cluster: Cluster, kept: Journal) -> Any:
    def note(floor: int) -> None:
        kept.live_deleted(cluster.live_generation, floor)
        cluster.live_generation += 1

    return note


async def _suffer(clients: Clients, nemesis: Nemesis) -> float:
    """Traffic from a little before the first fault to a little after the last; the seconds it ran."""
    began = time.monotonic()
    traffic = asyncio.create_task(clients.run())
    try:
        await asyncio.sleep(CALM_BEFORE_S)
        faults = asyncio.create_task(nemesis.run())
        done, _ = await asyncio.wait({traffic, faults}, return_when=asyncio.FIRST_COMPLETED)
        if traffic in done:  # only an error of ours ends it
            faults.cancel()
            await traffic
        await faults
        await asyncio.sleep(CALM_AFTER_S)
        clients.stop.set()
        await asyncio.wait_for(traffic, CLIENTS_END_WITHIN_S)
    finally:
        traffic.cancel()
    return time.monotonic() - began


def new_folder() -> Path:
    """For one run; Postgres must be able to pass through it as another user."""
    folder = Path(tempfile.mkdtemp(prefix="fanzha-faults-"))
    folder.chmod(0o755)
    return folder
