"""Plays the traffic through the public interfaces: signed webhook posts, the live platform's NATS subject, `fanzha import`.

A delivery that is not answered is sent again, as a live platform does; an earlier try may have recorded it.
"""

import asyncio
import base64
import hashlib
import hmac
import json
import time
import uuid
from collections.abc import AsyncIterator, Awaitable, Callable, Iterable
from contextlib import asynccontextmanager
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Any, TypeVar

import httpx
import nats
import nats.errors
from nats.js import JetStreamContext
from tenacity import AsyncRetrying, retry_if_exception_type, stop_after_delay, wait_random_exponential

from cli.clock_commands import NotSettled, settle
from cli.import_events import Reading
from demo import exports
from demo.campaign import Campaign
from demo.deliveries import Answer, BusMessage, Export, Post, Step
from devstack.home import Home, read_env
from shared.bus.topology import LIVE_SUBJECT, SERVICES, inbox_prefix
from shared.clock import write_clock
from shared.contracts.campaign import CampaignDefinition

T = TypeVar("T")
W = TypeVar("W")

POSTS_AT_ONCE = 8
PUBLISHES_AT_ONCE = 8
TIMEOUT_S = 30
GIVE_UP_AFTER_S = 120  # a killed Postgres is back within seconds, a service within ten
PUBACK_TIMEOUT_S = 5
SETTLE_WITHIN_S = 180


class NotAnswered(Exception):
    """Refused connection, broken connection, time-out, 429 or 5xx: worth another try."""


class GaveUp(Exception):
    """The stack did not take an event or finish its work in the time allowed."""


@dataclass(frozen=True)
class Addresses:
    urls: dict[str, str]
    nats_url: str
    sources: dict[str, dict[str, Any]]  # verifier and secrets of each
    admin_token: str

    @classmethod
    def of(cls, home: Home) -> "Addresses":
        env = read_env(home.env)
        urls = {service: env[f"{service.upper()}_URL"] for service in SERVICES}
        return cls(urls, env["LIVE_NATS_URL"], json.loads(env["WEBHOOK_SOURCES"]), env["ADMIN_TOKEN"])


async def until_answered(attempt: Callable[[], Awaitable[T]]) -> T:
    """Repeats while `attempt` raises `NotAnswered`; raises `GaveUp` in the end."""
    retrying = AsyncRetrying(
        retry=retry_if_exception_type(NotAnswered),
        stop=stop_after_delay(GIVE_UP_AFTER_S),
        wait=wait_random_exponential(multiplier=0.05, max=1.0),
        reraise=True,
    )
    try:
        async for retry in retrying:
            with retry:
                return await attempt()
    except NotAnswered as error:
        raise GaveUp(str(error)) from error
    raise AssertionError("unreachable")


async def call(http: httpx.AsyncClient, method: str, url: str, **arguments: Any) -> httpx.Response:
    """Tries once; returns the response where it is final, else raises `NotAnswered`."""
    try:
        response = await http.request(method, url, **arguments)
    except httpx.TransportError as error:
        raise NotAnswered(f"{url}: {type(error).__name__} {error}") from error
    if response.status_code == 429 or response.status_code >= 500:
        raise NotAnswered(f"{url}: {response.status_code} {response.text[:200]}")
    return response


class Player:
    """`async with player_of(home)`."""

    def __init__(self, home: Home, campaign: Campaign, addresses: Addresses, http: httpx.AsyncClient) -> None:
        self.home = home
        self.addresses = addresses
        self.http = http
        self._campaign = campaign
        self._jetstream: JetStreamContext | None = None

    @property
    def admin(self) -> dict[str, str]:
        return {"authorization": f"Bearer {self.addresses.admin_token}"}

    def set_clock(self, at: datetime) -> None:
        write_clock(self.home.clock, at)

    async def play(self, step: Step, progress: Callable[[int], None] = lambda _: None) -> None:
        """Sends everything of a step, at once and in no order, and returns when all of it is answered."""

        async def post(delivery: Post) -> None:
            await self._post(delivery)
            progress(len(delivery.items))

        async def publish(delivery: BusMessage) -> None:
            await self._publish(delivery)
            progress(len(delivery.items))

        await asyncio.gather(
            run_concurrently(step.posts, post, POSTS_AT_ONCE), run_concurrently(step.bus, publish, PUBLISHES_AT_ONCE)
        )
        for export in step.exports:
            await self._import(export)
            progress(len(export.rows))

    async def fetch(
        self, method: str, where: str, path: str = "", *, token: str | None = None, **arguments: Any
    ) -> httpx.Response:
        """The answer of `where`, a service or a whole address; `token`: the admin's unless given."""
        url = f"{self.addresses.urls.get(where, where)}{path}"
        headers = {"authorization": f"Bearer {token}"} if token else self.admin
        return await until_answered(lambda: call(self.http, method, url, headers=headers, **arguments))

    async def ask(self, method: str, where: str, path: str, *, status: int = 200, **arguments: Any) -> Any:
        """The JSON of an answer that must have this status."""
        response = await self.fetch(method, where, path, **arguments)
        if response.status_code != status:
            asked = f"{method} {response.request.url.path}"
            raise GaveUp(f"{asked}: expected {status}, found {response.status_code} {response.text[:300]}")
        return response.json()

    async def settle(self, now: datetime) -> None:
        """Returns when all services have done what is due at `now`."""
        try:
            await asyncio.to_thread(settle, self.addresses.urls, now, within_s=SETTLE_WITHIN_S, pause_s=0.02)
        except NotSettled as error:
            raise GaveUp(str(error)) from error

    # ---- three ways in -----------------------------------------------------------------------------------------------

    async def _post(self, post: Post) -> None:
        tries = 0

        async def attempt() -> httpx.Response:
            nonlocal tries
            tries += 1
            headers = self._signature(post, wrong=post.fault == "wrong_signature")
            url = f"{self.addresses.urls['checkin']}/v1/live/events" + (
                "" if post.source == "standard" else f"/{post.source}"
            )
            return await call(self.http, "POST", url, content=post.body, headers=headers)

        response = await until_answered(attempt)
        body = response.json()
        kind = response.headers["content-type"]
        post.answer = Answer(response.status_code, body.get("results", []), body.get("counts", {}), kind, tries)

    def _signature(self, post: Post, *, wrong: bool) -> dict[str, str]:
        """The signature headers of this source. They are written from the specification, independently of checkin's code."""
        source = self.addresses.sources[post.source]
        secret = source["secrets"][0]
        if source["verifier"] == "douyin":
            digest = hashlib.sha1(secret.encode() + post.body, usedforsecurity=False).hexdigest()
            return {"content-type": "application/json", "x-douyin-signature": digest[::-1] if wrong else digest}
        key = base64.b64decode(secret.removeprefix("whsec_"))
        return _standard_webhooks(key[::-1] if wrong else key, post.body)

    async def _publish(self, message: BusMessage) -> None:
        assert self._jetstream is not None  # noqa: S101 - play runs inside player_of
        jetstream = self._jetstream

        async def attempt() -> None:
            try:
                await jetstream.publish(LIVE_SUBJECT, message.payload, timeout=PUBACK_TIMEOUT_S)
            except (nats.errors.Error, OSError) as error:
                raise NotAnswered(f"NATS: {type(error).__name__} {error}") from error

        await until_answered(attempt)

    async def _import(self, export: Export) -> None:
        path = exports.write(self.home.root / "exports", export, self._campaign)

        async def attempt() -> None:
            try:
                importing = self._import_by_command if export.by_command else self._import_here
                export.answer = await importing(path, export.source)
            except exports.ImportFailed as error:
                raise NotAnswered(str(error)) from error

        await until_answered(attempt)

    async def _import_by_command(self, path: Path, source: str) -> dict[str, Any]:
        return await exports.import_by_command(path, self.home, self._campaign, source)

    async def _import_here(self, path: Path, source: str) -> dict[str, Any]:
        definition = (await self.fetch("GET", "checkin", f"/v1/campaigns/{self._campaign.id}")).json()
        reading = Reading.of(CampaignDefinition.model_validate(definition, extra="ignore"), "viewer.checked_in")
        url = self.addresses.urls["checkin"]
        with httpx.Client(base_url=url, headers=self.admin, timeout=TIMEOUT_S, trust_env=False) as http:
            return await asyncio.to_thread(
                exports.import_here, path, reading, http, source, give_up_after_s=GIVE_UP_AFTER_S
            )


def _standard_webhooks(key: bytes, body: bytes) -> dict[str, str]:
    message_id, timestamp = f"msg_{uuid.uuid4().hex}", str(int(time.time()))
    digest = hmac.new(key, b".".join((message_id.encode(), timestamp.encode(), body)), hashlib.sha256).digest()
    return {
        "content-type": "application/json",
        "webhook-id": message_id,
        "webhook-timestamp": timestamp,
        "webhook-signature": "v1," + base64.b64encode(digest).decode(),
    }


@asynccontextmanager
async def player_of(home: Home, campaign: Campaign) -> AsyncIterator[Player]:
    addresses = Addresses.of(home)
    limits = httpx.Limits(max_connections=16, max_keepalive_connections=16)
    async with httpx.AsyncClient(timeout=TIMEOUT_S, limits=limits, trust_env=False) as http:
        player = Player(home, campaign, addresses, http)
        client = await nats.connect(
            addresses.nats_url,
            name="live platform",
            inbox_prefix=inbox_prefix("live"),
            max_reconnect_attempts=-1,
            reconnect_time_wait=0.2,
            error_cb=_keep_quiet,
        )
        player._jetstream = client.jetstream()
        try:
            yield player
        finally:
            await client.close()


async def _keep_quiet(error: Exception) -> None:
    """Ignores failed reconnects, all of which are reported here: a publish that fails is tried again and raises in the end."""


async def run_concurrently(work: Iterable[W], do: Callable[[W], Awaitable[None]], at_once: int) -> None:
    """Calls `do` for every item of `work`, at most `at_once` of them at a time."""
    waiting = iter(work)

    async def worker() -> None:
        for item in waiting:
            await do(item)

    await asyncio.gather(*(worker() for _ in range(at_once)))
