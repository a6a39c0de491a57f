"""Those who use the stack while it suffers: the live platform by webhook and bus, viewers who claim, and readiness probes."""

import asyncio
import json
import random
import re
import time
import uuid
from collections import deque
from collections.abc import Awaitable, Callable
from contextlib import suppress
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import TypeVar

import httpx
import nats
import nats.errors
from standardwebhooks import Webhook

from shared.bus.topology import LIVE_SUBJECT, inbox_prefix
from tests.e2e.faults.course import CAMPAIGN_ID, Event, Traffic
from tests.e2e.faults.journal import Journal, Outcome
from tests.e2e.faults.stack import Cluster, keep_quiet

POSTERS, PUBLISHERS, CLAIMERS, PROBES_PER_REPLICA = 5, 2, 2, 2
PAUSE_S = (0.05, 0.4)
BATCH = (1, 1, 1, 5, 25)
TIMEOUTS_S = (2, 5, 12, 35)  # the platform's patience
PUBACK_TIMEOUT_S = 5
PROBE_EVERY_S, PROBE_TIMEOUT_S = 0.5, 10

TRIES_MAX, TRIED_AGAIN, TRY_AGAIN_AFTER_S = 5, 0.6, (0.2, 5.0)
WRONG_SIGNATURE = 0.01
WRONG_TAIL, CLAIMED, PDF_FETCHED = 0.02, 0.7, 0.3

T = TypeVar("T")

SERIAL, CLAIM_CODE = re.compile(r"证书编号 ([0-9A-Z-]{14})"), re.compile(r"领取码 ([0-9A-Z]{8})")


@dataclass
class Batch:
    events: list[Event]
    tries: int = 0
    via: str | None = None  # where it was sent last
    wrong_signature: bool = False


@dataclass
class Claim:
    """With a wrong phone tail it is made once, and must leave the certificate as it was where it is refused."""

    serial: str
    claim_code: str
    tail: str
    wrong_tail: bool
    tries: int = 0


class Clients:
    """`run` until `stop` is set; every operation ends in the journal."""

    def __init__(self, cluster: Cluster, traffic: Traffic, journal: Journal, rng: random.Random) -> None:
        self._cluster = cluster
        self._traffic = traffic
        self._journal = journal
        self._rng = rng
        self._webhook = Webhook(cluster.addresses["WEBHOOK_SECRET"])
        self._again: deque[tuple[float, Batch]] = deque()
        self._claims: deque[tuple[float, Claim]] = deque()
        self._messages_seen: set[Path] = set()
        self.stop = asyncio.Event()
        self.slowest_ok_s = 0.0
        self.operations = 0

    async def run(self) -> None:
        async with asyncio.TaskGroup() as tasks:
            for _ in range(POSTERS):
                tasks.create_task(self._for_ever(self._post))
            for _ in range(PUBLISHERS):
                tasks.create_task(self._publish_for_ever())
            for _ in range(CLAIMERS):
                tasks.create_task(self._for_ever(self._claim))
            for url in self._cluster.urls.values():
                for _ in range(PROBES_PER_REPLICA):
                    tasks.create_task(self._probe_for_ever(f"{url}/health/ready"))

    async def _for_ever(self, step: Callable[[httpx.AsyncClient], Awaitable[None]]) -> None:
        async with httpx.AsyncClient(trust_env=False) as http:
            while not self.stop.is_set():
                await step(http)
                await asyncio.sleep(self._rng.uniform(*PAUSE_S))

    # ---- the webhook -------------------------------------------------------------------------------------------------

    async def _post(self, http: httpx.AsyncClient) -> None:
        batch = _due(self._again) or self._new_batch()
        batch.via = self._other_than(batch.via, "checkin")
        batch.tries += 1
        body = json.dumps([event.body for event in batch.events], ensure_ascii=False).encode()
        number = self._journal.begin("post", batch.via, [event.identity for event in batch.events])
        began = time.monotonic()
        outcomes, why = await self._send(http, batch, body)
        took_s = time.monotonic() - began
        self._journal.end(number, outcomes, s=round(took_s, 3), why=why)
        self.operations += 1
        if Outcome.OK in outcomes:
            self.slowest_ok_s = max(self.slowest_ok_s, took_s)
        if why != "200" and not batch.wrong_signature and batch.tries < TRIES_MAX and self._rng.random() < TRIED_AGAIN:
            self._again.append((time.monotonic() + self._rng.uniform(*TRY_AGAIN_AFTER_S), batch))

    def _new_batch(self) -> Batch:
        events = self._traffic.take(self._rng.choice(BATCH))
        return Batch(events, wrong_signature=self._rng.random() < WRONG_SIGNATURE)

    async def _send(self, http: httpx.AsyncClient, batch: Batch, body: bytes) -> tuple[list[Outcome], str]:
        count = len(batch.events)
        try:
            response = await http.post(
                f"{self._cluster.public_urls[batch.via or '']}/v1/live/events",
                content=body,
                headers=self._signed(body, batch.wrong_signature),
                timeout=self._rng.choice(TIMEOUTS_S),
            )
        except httpx.TransportError as error:
            return [_of_error(error)] * count, type(error).__name__
        if response.status_code == 200:
            verdicts = [result["verdict"] for result in response.json()["results"]]
            return [Outcome.REFUSED if verdict == "rejected" else Outcome.OK for verdict in verdicts], "200"
        return [_of_status(response.status_code)] * count, str(response.status_code)

    def _signed(self, body: bytes, wrong: bool) -> dict[str, str]:
        name, now = f"msg_{uuid.uuid4().hex}", datetime.now(UTC)
        return {
            "content-type": "application/json",
            "webhook-id": name,
            "webhook-timestamp": str(int(now.timestamp())),
            "webhook-signature": self._webhook.sign(name, now, (body + b" " if wrong else body).decode()),
        }

    def _other_than(self, via: str | None, service: str) -> str:
        names = [f"{service}-a", f"{service}-b"]
        return self._rng.choice([name for name in names if name != via])

    # ---- the bus -----------------------------------------------------------------------------------------------------

    async def _publish_for_ever(self) -> None:
        client = await nats.connect(
            self._cluster.addresses["LIVE_NATS_URL"],
            inbox_prefix=inbox_prefix("live"),
            max_reconnect_attempts=-1,
            reconnect_time_wait=0.5,
            error_cb=keep_quiet,
        )
        jetstream, cluster = client.jetstream(), self._cluster
        try:
            while not self.stop.is_set():
                await asyncio.sleep(self._rng.uniform(*PAUSE_S))
                if not (client.is_connected and cluster.live_open.is_set()):
                    continue
                events = self._traffic.take(self._rng.choice(BATCH), by_bus=True)
                body = json.dumps([event.body for event in events]).encode()
                number = self._journal.begin("publish", "nats", [event.identity for event in events])
                cluster.live_in_flight += 1
                try:
                    ack = await jetstream.publish(LIVE_SUBJECT, body, timeout=PUBACK_TIMEOUT_S)
                except (nats.errors.Error, OSError) as error:
                    self._journal.end(number, [Outcome.UNKNOWN] * len(events), why=type(error).__name__)
                else:
                    self._journal.end(number, [Outcome.OK] * len(events), live=[cluster.live_generation, ack.seq])
                finally:
                    cluster.live_in_flight -= 1
                self.operations += 1
        finally:
            await client.close()

    # ---- claims ------------------------------------------------------------------------------------------------------

    async def _claim(self, http: httpx.AsyncClient) -> None:
        """What was texted is claimed with the code in the text, as a viewer does."""
        self._read_messages()
        claim = _due(self._claims)
        if claim is None:
            return
        claim.tries += 1
        via = self._other_than(None, "certificate")
        number = self._journal.begin("claim", via, [f"claim {claim.serial}"])
        answer = {"claim_code": claim.claim_code, "phone_tail": claim.tail}
        response = None
        try:
            url = f"{self._cluster.urls[via]}/v1/claims"
            response = await http.post(url, json=answer, timeout=self._rng.choice(TIMEOUTS_S))
            outcome = Outcome.OK if response.status_code == 200 else _of_status(response.status_code)
            why = str(response.status_code)
        except httpx.TransportError as error:
            outcome, why = _of_error(error), type(error).__name__
        self._journal.end(number, [outcome], why=why)
        self.operations += 1
        if outcome is not Outcome.OK and not claim.wrong_tail and claim.tries < TRIES_MAX:
            self._claims.append((time.monotonic() + self._rng.uniform(*TRY_AGAIN_AFTER_S), claim))
        elif response is not None and outcome is Outcome.OK and self._rng.random() < PDF_FETCHED:
            await self._fetch(http, response.json()["pdf_url"])

    def _read_messages(self) -> None:
        folder = self._cluster.home.messages / CAMPAIGN_ID / "certificate_ready"
        for path in set(folder.glob("*.txt")) - self._messages_seen:
            self._messages_seen.add(path)
            text = path.read_text(encoding="utf-8")
            serial, code = SERIAL.search(text), CLAIM_CODE.search(text)
            if serial and code and (draw := self._rng.random()) < CLAIMED:
                wrong = draw < WRONG_TAIL
                phone = text.split("\n", 1)[0]
                tail = f"{(int(phone[-4:]) + wrong) % 10_000:04d}"
                self._claims.append((0.0, Claim(serial[1], code[1], tail, wrong)))

    async def _fetch(self, http: httpx.AsyncClient, url: str) -> None:
        try:
            await http.get(url, timeout=10)
        except httpx.TransportError:
            return  # rendering is on the way of the faults; a certificate that cannot be fetched now can be later

    # ---- probes ------------------------------------------------------------------------------------------------------

    async def _probe_for_ever(self, url: str) -> None:
        async with httpx.AsyncClient(trust_env=False, timeout=PROBE_TIMEOUT_S) as http:
            while not self.stop.is_set():
                with suppress(httpx.TransportError):
                    await http.get(url)
                await asyncio.sleep(PROBE_EVERY_S)


def _due(waiting: deque[tuple[float, T]]) -> T | None:
    for entry in waiting:
        if entry[0] <= time.monotonic():
            waiting.remove(entry)
            return entry[1]
    return None


def _of_error(error: httpx.TransportError) -> Outcome:
    return Outcome.REFUSED if isinstance(error, httpx.ConnectError | httpx.ConnectTimeout) else Outcome.UNKNOWN


def _of_status(status: int) -> Outcome:
    return Outcome.REFUSED if status < 500 else Outcome.UNKNOWN
