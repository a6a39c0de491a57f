"""`fanzha outbox` and `fanzha dead-letters`, on a service's real database; the running service is played by the test."""

import asyncio
import itertools
import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from datetime import UTC, datetime

import pytest
from typer.testing import CliRunner, Result

from cli.ledger_commands import dead_letters_app, outbox_app
from shared.bus import outbox
from shared.bus.dead_letters import DeadLetters, Replays, park
from shared.bus.outgoing import Outgoing
from shared.database import Database
from shared.failures import Poison
from shared.ids import new_event_id
from tests.support.databases import DatabaseFactory
from tests.support.parking import parked_message

EVENTS = 5


@pytest.fixture
async def db(database: DatabaseFactory, monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[Database]:
    fresh = await database("checkin")
    monkeypatch.setenv("DATABASE_URL", fresh.url)
    found = Database(fresh.url)
    yield found
    await found.close()


async def run(app: object, *arguments: str) -> Result:
    return await asyncio.to_thread(CliRunner().invoke, app, arguments)  # type: ignore[arg-type]


def last_line(done: Result) -> str:
    """The service that the test plays logs to the same place."""
    return done.stdout.splitlines()[-1]


async def store_events(db: Database, *, published: bool) -> None:
    at = datetime(2024, 6, 29, tzinfo=UTC)
    async with db.transaction() as tx:
        events = [Outgoing(new_event_id(), "events.checkin.x.v1", "c", at, b"{}") for _ in range(EVENTS)]
        await outbox.add_outgoing(tx, events)
        if published:
            await tx.execute("DELETE FROM outbox_pending")


async def test_status_counts_what_waits(db: Database) -> None:
    await store_events(db, published=False)
    (depth,) = json.loads((await run(outbox_app, "status", "--json")).stdout).values()
    assert depth["pending"] == EVENTS
    assert "正在重新发布" not in (await run(outbox_app, "status")).output


@asynccontextmanager
async def relay_of(db: Database) -> AsyncIterator[None]:
    """A relay that publishes only what was marked for republishing, a little at a time."""

    async def publish() -> None:
        while True:
            await asyncio.sleep(0.05)
            async with db.transaction() as tx:
                await tx.execute(
                    "DELETE FROM outbox_pending WHERE event_id IN "
                    "(SELECT event_id FROM outbox_pending WHERE since = '-infinity' LIMIT 2)"
                )

    task = asyncio.create_task(publish())
    try:
        yield
    finally:
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)


async def test_republish_waits_for_the_whole_ledger_and_not_for_new_traffic(db: Database) -> None:
    await store_events(db, published=True)
    await store_events(db, published=False)
    async with relay_of(db):
        done = await run(outbox_app, "republish", "--json")
    assert done.exit_code == 0, done.output
    assert list(json.loads(done.stdout)["republished"].values()) == [EVENTS]


async def test_republish_without_a_running_service_says_so(db: Database) -> None:
    await store_events(db, published=True)
    done = await run(outbox_app, "republish", "--within-s", "1")
    assert done.exit_code == 1
    assert "5 个事件没有发布" in done.output
    assert "正在重新发布" in (await run(outbox_app, "status")).output


_seqs = itertools.count(1)


async def dead_letter(db: Database, *, body: bytes, kept: bool, durable: str = "checkin-live") -> None:
    async with db.transaction() as tx:
        await park(tx, parked_message(body, durable=durable, stream_seq=next(_seqs)))
        if kept:
            await tx.execute(
                "UPDATE dead_letter SET payload = $1 WHERE payload IS NULL AND id = (SELECT max(id) FROM dead_letter)",
                body,
            )


@asynccontextmanager
async def service_of(db: Database) -> AsyncIterator[None]:
    """Handles replays as a running service does: `good` succeeds, the rest is refused again."""

    async def handle(_: str, payload: bytes) -> None:
        if payload != b"good":
            raise Poison("仍然坏")

    async def sweep() -> None:
        while True:
            await Replays(db, handle).run(datetime.now(UTC))
            await asyncio.sleep(0.05)

    task = asyncio.create_task(sweep())
    try:
        yield
    finally:
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)


async def test_replay_tells_what_became_of_each(db: Database) -> None:
    for body, kept in ((b"good", True), (b"bad", True), (b"secret", False)):
        await dead_letter(db, body=body, kept=kept)
    async with service_of(db):
        done = await run(dead_letters_app, "replay", "--json")
    assert done.exit_code == 1
    assert json.loads(last_line(done)) == {
        "requested": 2,
        "replayed": 1,
        "refused_again": 1,
        "waiting": 0,
        "not_replayable": 1,
    }
    listed = json.loads((await run(dead_letters_app, "list", "--json")).stdout)
    assert [(letter["reason"], letter["replayable"]) for letter in listed] == [("仍然坏", True), ("坏了", False)]


async def test_one_letter_by_its_id(db: Database) -> None:
    await dead_letter(db, body=b"good", kept=True)
    await dead_letter(db, body=b"bad", kept=True)
    (first, _) = json.loads((await run(dead_letters_app, "list", "--json")).stdout)
    async with service_of(db):
        done = await run(dead_letters_app, "replay", "--id", str(first["id"]))
    assert (done.exit_code, last_line(done)) == (0, "已重放 1 条")
    unknown = await run(dead_letters_app, "replay", "--id", "999")
    assert unknown.exit_code == 1
    assert "999" in unknown.output


async def test_replay_without_a_running_service_leaves_the_request(db: Database) -> None:
    await dead_letter(db, body=b"good", kept=True)
    done = await run(dead_letters_app, "replay", "--within-s", "1")
    assert done.exit_code == 1
    assert "1 条还在等服务处理" in done.output


async def test_an_empty_list_says_so(db: Database) -> None:
    assert (await run(dead_letters_app, "list")).output == "没有死信\n"


@pytest.mark.parametrize(
    ("url", "says"),
    [("postgresql://a:b@127.0.0.1:1/fanzha_checkin", "连不上数据库 127.0.0.1:1/fanzha_checkin"), ("", "make up")],
)
async def test_a_database_out_of_reach_is_named_without_its_password(
    monkeypatch: pytest.MonkeyPatch, tmp_path: object, url: str, says: str
) -> None:
    monkeypatch.setenv("FANZHA_HOME", str(tmp_path))
    monkeypatch.setenv("DATABASE_URL", url)
    done = await run(outbox_app, "status")
    assert done.exit_code == 1
    assert says in done.output
    assert "a:b" not in done.output


async def numbers(*durables: str) -> list[int]:
    letters = json.loads((await run(dead_letters_app, "list", "--json")).stdout)
    return [letter["id"] for letter in letters if not durables or letter["durable"] in durables]


CLOSE = ("close", "--reason", "平台已重发")


async def test_many_are_closed_at_once_by_number_consumer_or_cause(db: Database) -> None:
    for number in range(8):
        await dead_letter(db, body=b"%d" % number, kept=False, durable="checkin-live" if number < 6 else "other")
    first, second, *rest = await numbers()
    unknown = await run(dead_letters_app, *CLOSE, "--id", str(first), "--id", "999999")
    assert (unknown.exit_code, "999999" in unknown.output, len(await numbers())) == (1, True, 8), "all or none"
    closed = await run(dead_letters_app, *CLOSE, "--id", str(first), "--id", str(second))
    assert (closed.exit_code, "已关闭 2 条" in closed.output, await numbers()) == (0, True, rest)
    shown = await run(dead_letters_app, *CLOSE, "--durable", "checkin-live")
    assert (shown.exit_code, "将要关闭 4 条死信（没有动）" in shown.output, await numbers()) == (0, True, rest)
    assert (await run(dead_letters_app, *CLOSE, "--durable", "checkin-live", "--yes")).exit_code == 0
    assert await numbers() == await numbers("other") == rest[-2:]
    await run(dead_letters_app, *CLOSE, "--parked-for", "no such cause", "--yes")
    assert await numbers() == rest[-2:]
    await run(dead_letters_app, *CLOSE, "--all", "--yes")
    assert await numbers() == []


@pytest.mark.parametrize("which", [(), ("--all", "--id", "1"), ("--all", "--durable", "checkin-live")])
async def test_which_ones_to_close_is_said_in_one_way(db: Database, which: tuple[str, ...]) -> None:
    await dead_letter(db, body=b"no event", kept=False)
    assert (await run(dead_letters_app, *CLOSE, *which, "--yes")).exit_code == 1
    assert len(await numbers()) == 1


async def test_one_that_was_dealt_with_otherwise_is_closed_and_kept(db: Database) -> None:
    await dead_letter(db, body=b"no event", kept=False)
    (letter,) = json.loads((await run(dead_letters_app, "list", "--json")).stdout)
    this = ("close", "--id", str(letter["id"]))
    assert (await run(dead_letters_app, *this, "--reason", " ")).exit_code == 1
    closed = await run(dead_letters_app, *this, "--reason", "平台已重发")
    assert closed.exit_code == 0, closed.output
    assert json.loads((await run(dead_letters_app, "list", "--json")).stdout) == []
    async with db.transaction() as tx:
        kept = await tx.fetchval("SELECT reason FROM dead_letter WHERE id = $1", letter["id"])
    assert kept == f"closed: 平台已重发; {letter['reason']}"
    again = await run(dead_letters_app, *this, "--reason", "平台已重发")
    assert (again.exit_code, "已处理" in again.output) == (1, True)
    await dead_letter(db, body=b"no event", kept=False)  # came once more: it was not dealt with
    assert len(json.loads((await run(dead_letters_app, "list", "--json")).stdout)) == 1


async def test_park_lets_a_consumer_that_stands_go_on(db: Database) -> None:
    assert (await run(dead_letters_app, "park", "checkin-certificate-keys")).exit_code == 1
    letters = DeadLetters(db)
    message = parked_message(b"", durable="checkin-certificate-keys", stream_seq=7, reason="读不懂")
    assert not await letters.hold(message)
    listed = (await run(dead_letters_app, "list")).output
    assert "checkin-certificate-keys 停在第 7 条消息上：读不懂" in listed
    done = await run(dead_letters_app, "park", "checkin-certificate-keys", "--count", "2")
    assert (done.exit_code, "最多 2 条" in done.output) == (0, True)
    assert [await letters.hold(message) for _ in range(3)] == [True, True, False]
