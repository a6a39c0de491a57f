"""A hundred thousand inputs, most of them strange, through the real services on a real Postgres; what must come of each is known.

`0 × 5xx, 0 hangs, 0 good items spoiled`. The figures are printed (`pytest -m long tests/e2e/fuzz -s`). `FUZZ_SEED` plays other
inputs, `FUZZ_SCALE=10` ten times as many.
"""

import asyncio
import base64
import hmac
import json
import os
import random
import re
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest

from cli.import_events import Reading
from cli.import_file import open_table
from shared.bus import Poison
from shared.sheets import FileFault
from tests.e2e.fuzz import certificates, export_files
from tests.e2e.fuzz.asgi import Answer, Tally, all_of, call
from tests.e2e.fuzz.live_events import CAMPAIGN, MALFORMED, Made, Maker, Outcome, items_in
from tests.support.campaigns import campaign, campaign_content
from tests.support.certificate import CertificateService
from tests.support.checkin import SECRET, CheckinUnderTest, running_checkin, token
from tests.support.databases import DatabaseFactory

pytestmark = [pytest.mark.long, pytest.mark.timeout(1800)]

SEED = int(os.environ.get("FUZZ_SEED", "1"))
SCALE = float(os.environ.get("FUZZ_SCALE", "1"))
WEBHOOK, BUS, IMPORTS, CLAIMS, VERIFY = (int(n * SCALE) for n in (50_000, 20_000, 15_000, 5_000, 10_000))
ITEMS_MAX, BODY_MAX_BYTES = 1000, 1024 * 1024


@pytest.fixture
async def checkin(database: DatabaseFactory, tmp_path: Path) -> AsyncIterator[CheckinUnderTest]:
    async with running_checkin(await database("checkin"), tmp_path) as running:
        await running.define(campaign_content())
        yield running


@asynccontextmanager
async def tallied(way: str, capsys: pytest.CaptureFixture[str]) -> AsyncIterator[Tally]:
    """Says what came of the inputs, and fails where anything was wrong."""
    tally = Tally(way, SEED)
    yield tally
    with capsys.disabled():
        print(f"\n{tally.line()}")  # noqa: T201 - the figures of docs/reliability.md
    assert (tally.server_errors, tally.hangs, tally.spoiled, tally.faults) == (0, 0, 0, []), tally.shown()


# ---- bodies of the live platform ---------------------------------------------------------------------------------------


def signed(body: bytes) -> dict[str, str]:
    seconds = str(int(time.time()))
    key = base64.b64decode(SECRET.removeprefix("whsec_"))
    digest = base64.b64encode(hmac.digest(key, f"m.{seconds}.".encode() + body, "sha256")).decode()
    return {"webhook-id": "m", "webhook-timestamp": seconds, "webhook-signature": f"v1,{digest}"}


def body_of(rng: random.Random, maker: Maker, items: list[Made]) -> bytes:
    if len(items) == 1 and items[0].text.startswith("{") and rng.random() < 0.5:
        return f"{maker.write.space()}{items[0].text}{maker.write.space()}".encode()
    separated = ",".join(f"{maker.write.space()}{item.text}{maker.write.space()}" for item in items)
    return f"{maker.write.space()}[{separated}]{maker.write.space()}".encode()


def damaged(rng: random.Random, body: bytes) -> bytes:
    """Some bytes of it gone, doubled, exchanged or made up."""
    text = bytearray(body)
    for _ in range(rng.choice((1, 1, 2, 8))):
        at = rng.randrange(len(text) + 1)
        match rng.randrange(4):
            case 0:
                del text[at : at + rng.choice((1, 1, 5, len(text)))]
            case 1:
                text[at:at] = text[at : at + rng.randrange(40)]
            case 2:
                text[at:at] = rng.choice(
                    (b'"', b"[", b"]", b"{", b"}", b",", b"\\", b"\0", b"\xff", b"\xef\xbb\xbf", b"NaN")
                )
            case _:
                text[at : at + 1] = rng.randbytes(1)
    return bytes(text)


def refused(rng: random.Random, good: bytes) -> tuple[bytes, set[int]]:
    """A body that is refused whole, and the answers it may get."""
    return rng.choice(
        (
            (b"", {400}),
            (b"[]", {400}),
            (b"\xef\xbb\xbf" + good, {400}),
            (good.rstrip() + b"," + good, {400}),
            (good.rstrip()[:-1], {400}),
            (good + b"]", {400}),
            (b'"' + good, {400}),
            (good.replace(b"small", b"\xff\xfe") + b"\xff", {400}),
            (rng.choice((b"17", b"null", b"true", b'"x"', b"NaN", b"\0")), {400}),
            (b"[" * 200_000, {400}),
            (b"[" + b"1," * ITEMS_MAX + b"1]", {413}),
            (b"[" + b" " * BODY_MAX_BYTES + b"]", {413}),
        )
    )


class LiveFuzz:
    """Makes bodies, remembers which check-ins must have been counted in the end."""

    def __init__(self, tally: Tally, prefix: str) -> None:
        self.tally = tally
        self.rng = random.Random(f"{SEED} {prefix}")
        self.maker = Maker(self.rng, prefix)
        self.counted: dict[str, tuple[int, str]] = {}
        self.uncertain: set[str] = set()  # viewers of damaged bodies, before and after the damage
        self._answered: list[Made] = []

    def items(self) -> list[Made]:
        rng = self.rng
        items = [self.maker.item() for _ in range(rng.choice((1, 1, 1, 2, 3, 5, 20, 60)))]
        if self._answered and rng.random() < 0.3:
            items.insert(rng.randrange(len(items) + 1), self._again())
        self.tally.inputs += len(items)
        return items

    def _again(self) -> Made:
        before = self.rng.choice(self._answered)
        accepted = before.outcome[0] in ("recorded", "stored")
        return Made(before.text, ("duplicate", None) if accepted else before.outcome, before.event_id)

    def expect(self, items: list[Made]) -> None:
        for item in items:
            if item.checkin:
                viewer, lesson, mode = item.checkin
                self.counted[viewer] = lesson, mode

    def answered(self, items: list[Made]) -> None:
        """From now on they may be sent again."""
        self._answered = (self._answered + items)[-500:]

    def check(self, items: list[Made], results: list[dict[str, Any]]) -> None:
        if len(results) != len(items):
            self.tally.spoil(f"{len(results)} answers to {len(items)} items", [item.text for item in items])
            return
        for item, result in zip(items, results, strict=True):
            answer = result["verdict"], result["reason"]
            self.tally.answers[result["reason"] or result["verdict"]] += 1
            if answer != item.outcome or result["event_id"] != item.event_id:
                self.tally.spoil(f"{result} and not {item.outcome}, {item.event_id}", item.text)


async def test_the_webhook(checkin: CheckinUnderTest, capsys: pytest.CaptureFixture[str]) -> None:
    async with tallied("webhook", capsys) as tally:
        fuzz = LiveFuzz(tally, "w")

        async def post(_: int) -> None:
            rng, items = fuzz.rng, fuzz.items()
            body = body_of(rng, fuzz.maker, items)
            kind = rng.random()
            if kind < 0.75:
                fuzz.expect(items)
                answer = await call(checkin.app, tally, "/v1/live/events", body, signed(body))
                check_answer(fuzz, items, body, answer)
                fuzz.answered(items)
            elif kind < 0.9:
                body = damaged(rng, body)
                fuzz.uncertain.update(item.checkin[0] for item in items if item.checkin)
                check_damaged(fuzz, items, body, await call(checkin.app, tally, "/v1/live/events", body, signed(body)))
            else:
                body, statuses = refused(rng, body)
                headers = signed(body)
                if rng.random() < 0.3:
                    statuses, headers = {413 if len(body) > BODY_MAX_BYTES else 401}, signed(body + b" ")
                answer = await call(checkin.app, tally, "/v1/live/events", body, headers)
                if answer and answer.status not in statuses | {429}:
                    tally.fault(f"{answer.status} and not one of {statuses}", body)

        await until(fuzz, WEBHOOK, post)
        await check_what_counts(checkin, fuzz)


async def until(fuzz: LiveFuzz, inputs: int, post: Any) -> None:
    def numbers() -> Any:
        number = 0
        while fuzz.tally.inputs < inputs:
            yield (number := number + 1)

    await all_of(numbers(), post)


def check_answer(fuzz: LiveFuzz, items: list[Made], body: bytes, answer: Answer | None) -> None:
    if answer is None:
        return
    if answer.status == 200:
        fuzz.check(items, answer.json()["results"])
    elif len(body) <= BODY_MAX_BYTES:
        fuzz.tally.spoil(f"{answer.status} {answer.body[:200]!r}", body)


def check_damaged(fuzz: LiveFuzz, items: list[Made], body: bytes, answer: Answer | None) -> None:
    """As the standard library reads it; items that came through whole must fare as if nothing had happened."""
    if answer is None or answer.status == 413:
        return
    try:
        sent_items = items_in(body)
    except RecursionError:  # it cannot tell
        fuzz.uncertain.update(re.findall(r"w\d[-\w.:]*", body.decode(errors="replace")))
        return
    fuzz.uncertain.update(str(value.get("viewer_id")) for value in sent_items or [] if isinstance(value, dict))
    fuzz.tally.answers[f"damaged: {answer.status}"] += 1
    if answer.status != (400 if sent_items is None else 200):
        fuzz.tally.spoil(f"{answer.status} to a damaged body", body)
    elif sent_items is not None:
        results = answer.json()["results"]
        whole = {item.event_id: item for item in items if item.event_id and item.outcome != MALFORMED}
        texts = {event_id: items_in(item.text.encode()) for event_id, item in whole.items()}
        for value, result in zip(sent_items, results, strict=True):
            event_id = value.get("event_id") if isinstance(value, dict) else None
            made = whole.get(event_id) if isinstance(event_id, str) else None
            outcome: Outcome = result["verdict"], result["reason"]
            if made and [value] == texts[str(event_id)] and outcome not in (made.outcome, ("duplicate", None)):
                fuzz.tally.spoil(f"{outcome} and not {made.outcome} beside damage", made.text)


async def check_what_counts(checkin: CheckinUnderTest, fuzz: LiveFuzz) -> None:
    """Every check-in that was answered stands in the database, and no other; nothing refused keeps a phone."""
    sql = "SELECT viewer_id, live, replay FROM viewer WHERE live | replay | late_live | late_replay <> 0"
    readings = {
        viewer: ((live or replay).bit_length() - 1, "live" if live else "replay")
        for viewer, live, replay in await checkin.rows(sql)
        if viewer not in fuzz.uncertain
    }
    expected = {viewer: slot for viewer, slot in fuzz.counted.items() if viewer not in fuzz.uncertain}
    if readings != expected:
        fuzz.tally.spoil("counted otherwise", sorted(readings.items() ^ expected.items())[:20])
    kept = await checkin.rows("SELECT count(*) FROM uncounted u WHERE u::text LIKE '%1390000%'")
    if kept != [(0,)]:
        fuzz.tally.fault("phones are kept", kept)


async def test_the_bus(checkin: CheckinUnderTest, capsys: pytest.CaptureFixture[str]) -> None:
    """Parked whole, or each item is what it is; told by what stands in the database."""
    async with tallied("bus", capsys) as tally:
        fuzz = LiveFuzz(tally, "b")

        async def deliver(_: int) -> None:
            items = fuzz.items()
            body = body_of(fuzz.rng, fuzz.maker, items)
            is_refused = fuzz.rng.random() < 0.15
            if is_refused:
                body = refused(fuzz.rng, body)[0]
            else:
                fuzz.expect(items)
            try:
                async with asyncio.timeout(30):
                    await checkin.service.bus.handle("checkin-live", body)
            except Poison:
                tally.answers["parked"] += 1
                if not is_refused:
                    tally.spoil("parked", body)
            except TimeoutError:
                tally.hangs += 1
            except Exception as error:  # would be retried for ever
                tally.fault(repr(error), body)
            else:
                tally.answers["taken"] += 1
                if is_refused:
                    tally.fault("not parked", body)
                fuzz.answered(items if not is_refused else [])

        await until(fuzz, BUS, deliver)
        await check_what_counts(checkin, fuzz)


# ---- export files --------------------------------------------------------------------------------------------------------


async def test_imports(checkin: CheckinUnderTest, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Every row of a file as the command reads and sends it; damaged files are refused in words, never by an exception."""
    async with tallied("imports", capsys) as tally:
        rng = random.Random(f"{SEED} imports")
        reading = Reading.of(campaign(), "viewer.checked_in")
        headers = {"authorization": f"Bearer {token()}", "content-type": "application/json"}
        counted: dict[str, tuple[int, str]] = {}

        async def send(rows: list[tuple[Any, export_files.MadeRow | None]]) -> None:
            ready = [(reading.event(row.fields), row, made) for row, made in rows if row.fault is None]
            events = [(outcome.event, made) for outcome, _, made in ready if outcome.event is not None]
            for outcome, row, made in ready:
                if made and (outcome.event is None) != made.refused_here:
                    tally.spoil(f"{outcome}", row)
            if not events:
                return
            body = json.dumps([event for event, _ in events]).encode(errors="replace")
            answer = await call(checkin.app, tally, f"/v1/campaigns/{CAMPAIGN}/imports", body, headers)
            if answer is None or answer.status != 200:
                tally.spoil(f"{answer and answer.status}", body)
                return
            for (event, made), result in zip(events, answer.json()["results"], strict=True):
                tally.answers[result["reason"] or result["verdict"]] += 1
                if made and (result["verdict"], result["reason"]) != made.outcome:
                    tally.spoil(f"{result} and not {made.outcome}", event)

        number = 0
        while tally.inputs < IMPORTS:
            number += 1
            file = export_files.make(rng, tmp_path, number)
            tally.inputs += len(file.rows)
            try:
                with open_table(file.path, {}) as table:
                    rows = list(table.rows)
            except FileFault as fault:
                tally.answers["file refused"] += 1
                if not file.damaged:
                    tally.spoil(str(fault), file.path.read_bytes()[:500])
                continue
            except Exception as error:
                tally.spoil(repr(error), file.path.read_bytes()[:500])
                continue
            if not file.damaged and len(rows) != len(file.rows):
                tally.spoil(f"{len(rows)} of {len(file.rows)} rows", file.path)
                continue
            counted |= {} if file.damaged else file.counted()
            made: list[export_files.MadeRow | None] = list(file.rows)
            for start in range(0, len(rows), 500):
                expected = made[start : start + 500] if not file.damaged else [None] * 500
                await send(list(zip(rows[start : start + 500], expected, strict=False)))
        stored = await checkin.rows("SELECT viewer_id, live, replay FROM viewer WHERE viewer_id LIKE 'good-%'")
        stands = {
            viewer: ((live or replay).bit_length() - 1, "live" if live else "replay") for viewer, live, replay in stored
        }
        if stands != counted:
            tally.spoil("counted otherwise", sorted(stands.items() ^ counted.items())[:20])


# ---- certificates --------------------------------------------------------------------------------------------------------


@pytest.fixture
async def issued(database: DatabaseFactory, tmp_path: Path) -> AsyncIterator[certificates.Issued]:
    service = CertificateService((await database("certificate")).url, tmp_path)
    yield await certificates.issue(service)
    await service.close()


async def test_claims(issued: certificates.Issued, capsys: pytest.CaptureFixture[str]) -> None:
    async with tallied("claims", capsys) as tally:
        rng = random.Random(f"{SEED} claims")
        await all_of(range(CLAIMS), lambda number: certificates.claim(issued, tally, rng, number))
        tally.inputs += CLAIMS


async def test_verify(issued: certificates.Issued, capsys: pytest.CaptureFixture[str]) -> None:
    async with tallied("verify", capsys) as tally:
        rng = random.Random(f"{SEED} verify")
        await all_of(range(VERIFY), lambda number: certificates.verify(issued, tally, rng, number))
        tally.inputs += VERIFY
