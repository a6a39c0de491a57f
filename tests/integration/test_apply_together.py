"""Events that share a transaction (shared/bus/inbox.py): each applied once, and one's misfortune is not its neighbours'."""

import asyncio
from collections.abc import AsyncIterator, Sequence
from datetime import UTC, datetime

import pytest

from shared.bus.inbox import ApplyTogether
from shared.contracts.certificate import CertificateClaimedV1
from shared.database import Database, DatabaseAway, Transaction
from shared.failures import Poison
from shared.ids import new_event_id
from tests.support.databases import DatabaseFactory

Claimed = CertificateClaimedV1

EFFECT = """
INSERT INTO credited_days_count AS known (campaign_id, days, slot, n) VALUES ($1, 1, 0, 1)
ON CONFLICT (campaign_id, days, slot) DO UPDATE SET n = known.n + 1
"""  # any table in which a second time shows


@pytest.fixture
async def db(database: DatabaseFactory) -> AsyncIterator[Database]:
    opened = Database((await database("checkin")).url, pool_size=4)
    yield opened
    await opened.close()


class Recorder:
    """Keeps an event's viewer as its effect, and remembers who came together."""

    def __init__(self) -> None:
        self.groups: list[list[str]] = []
        self.hold = asyncio.Event()
        self.hold.set()
        self.entered = asyncio.Event()

    async def __call__(self, tx: Transaction, events: Sequence[Claimed]) -> None:
        texts = sorted(event.viewer_ids[0] for event in events)
        self.groups.append(texts)
        self.entered.set()
        await self.hold.wait()
        for text in texts:
            if text == "cursed":
                raise ZeroDivisionError
            await tx.execute(EFFECT, text.replace("NUL", "\0"))


def event(text: str) -> Claimed:
    now = datetime(2024, 7, 14, 12, tzinfo=UTC)
    return Claimed(
        event_id=new_event_id(), occurred_at=now, campaign_id="c", viewer_ids=[text], serials=["s"], claimed_at=[now]
    )


async def effects(db: Database) -> list[str]:
    async with db.transaction() as tx:
        rows = await tx.fetch("SELECT campaign_id, n::int FROM credited_days_count ORDER BY 1")
    return [text for text, times in rows for _ in range(times)]


async def outcomes(together: ApplyTogether[Claimed], *events: Claimed) -> list[str]:
    outcomes = await asyncio.gather(*(together(event) for event in events), return_exceptions=True)
    return ["" if outcome is None else type(outcome).__name__ for outcome in outcomes]


async def test_what_waits_shares_one_transaction(db: Database) -> None:
    recorder = Recorder()
    together = ApplyTogether(db, "d", recorder)
    recorder.hold.clear()
    first = asyncio.create_task(together(event("a")))
    await recorder.entered.wait()
    others = [asyncio.create_task(together(event(text))) for text in "bcd"]
    await asyncio.sleep(0)
    recorder.hold.set()
    await asyncio.gather(first, *others)
    assert recorder.groups == [["a"], ["b", "c", "d"]]
    assert await effects(db) == ["a", "b", "c", "d"]


async def test_an_event_is_applied_once_however_often_it_comes_and_with_whom(db: Database) -> None:
    together = ApplyTogether(db, "d", Recorder())
    one, two = event("one"), event("two")
    assert await outcomes(together, one, two, one, one) == [""] * 4
    assert await outcomes(together, two, one) == [""] * 2
    assert await outcomes(ApplyTogether(db, "d", Recorder()), one, two) == [""] * 2  # another process
    assert await effects(db) == ["one", "two"]


async def test_two_processes_with_the_same_events_apply_each_once(db: Database) -> None:
    events = [event(f"{number:02}") for number in range(20)]
    here, there = ApplyTogether(db, "d", Recorder()), ApplyTogether(db, "d", Recorder())
    both = await asyncio.gather(outcomes(here, *events), outcomes(there, *reversed(events)))
    assert list(both) == [[""] * 20] * 2
    assert await effects(db) == [f"{number:02}" for number in range(20)]


@pytest.mark.parametrize(("text", "error"), [("cursed", "ZeroDivisionError"), ("NUL", "Poison")])
async def test_one_events_misfortune_is_not_its_neighbours(db: Database, text: str, error: str) -> None:
    recorder = Recorder()
    together = ApplyTogether(db, "d", recorder)
    bad = event(text)
    assert await outcomes(together, event("a"), bad, event("b"), event("c")) == ["", error, "", ""]
    assert await effects(db) == ["a", "b", "c"]
    assert [text] in recorder.groups
    assert await outcomes(together, bad, event("d")) == [error, ""]
    assert await effects(db) == ["a", "b", "c", "d"]


async def test_who_comes_after_a_failed_group_does_not_hide_it(db: Database) -> None:
    recorder = Recorder()
    together = ApplyTogether(db, "d", recorder)
    recorder.hold.clear()
    failing = [asyncio.create_task(together(event(text))) for text in ("a", "cursed", "b")]
    await recorder.entered.wait()
    later = [asyncio.create_task(together(event(text))) for text in "cde"]
    await asyncio.sleep(0)
    recorder.hold.set()
    results = await asyncio.gather(*failing, *later, return_exceptions=True)
    assert [type(outcome) for outcome in results if outcome] == [ZeroDivisionError]
    assert await effects(db) == list("abcde")


async def test_a_delivery_that_is_cancelled_takes_nobody_along(db: Database) -> None:
    recorder = Recorder()
    together = ApplyTogether(db, "d", recorder)
    recorder.hold.clear()
    leader, waiting, follower = (asyncio.create_task(together(event(text))) for text in "abc")
    await recorder.entered.wait()
    waiting.cancel()
    await asyncio.sleep(0)
    leader.cancel()
    recorder.hold.set()
    assert [type(outcome) for outcome in await asyncio.gather(leader, waiting, follower, return_exceptions=True)] == [
        asyncio.CancelledError,
        asyncio.CancelledError,
        type(None),
    ]
    assert await effects(db) == ["c"]
    assert await outcomes(together, event("a")) == [""]


async def test_without_a_database_everybody_tries_again(db: Database) -> None:
    recorder = Recorder()
    nowhere = Database("postgresql://nobody:x@127.0.0.1:1/nowhere")
    together = ApplyTogether(nowhere, "d", recorder)
    assert await outcomes(together, event("a"), event("b")) == [DatabaseAway.__name__] * 2
    assert recorder.groups == []
    await nowhere.close()


async def test_poison_stays_poison_alone(db: Database) -> None:
    with pytest.raises(Poison):
        await ApplyTogether(db, "d", Recorder())(event("NUL"))
    assert await effects(db) == []
