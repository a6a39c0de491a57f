"""checkin as composed, on a real database, with a clock that tests move and without NATS, which checkin must bear."""

import asyncio
import base64
import hmac
import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import httpx
import nacl.public

from services.checkin.app import build_app
from services.checkin.committer import ITEMS_WAITING_MAX
from services.checkin.live_platform import Source
from services.checkin.recording import Record, record
from services.checkin.settings import Settings
from shared.bus.connection import LAG_EVERY_S
from shared.service.tokens import ALL_CAMPAIGNS, Role
from tests.support import service
from tests.support.databases import FreshDatabase
from tests.support.service import ServiceUnderTest, settings_of, text_of

CAMPAIGN = "small-2024"
SECRET = "whsec_" + base64.b64encode(b"a secret of the live platform").decode()
OLD_SECRET = "whsec_" + base64.b64encode(b"the secret before that one").decode()
RECIPIENTS = {name: nacl.public.PrivateKey.generate() for name in ("certificate", "notification")}
LIVE = "2024-06-29T19:31:05+08:00"
REPLAY = "2024-06-30T09:00:00+08:00"  # on D+1: the replay of lesson D (FACTS A2)
SECOND_LIVE = "2024-06-30T19:45:00+08:00"
HEARD_KEPT_EVERY_S = 0.05
DURING = datetime.fromisoformat("2024-06-30T20:30:00+08:00")  # both lessons' live windows are over, nothing is sealed


def token(role: Role = "admin", campaign: str = ALL_CAMPAIGNS, unit: str | None = None) -> str:
    return service.token(role, campaign, unit, subject="t")


def checkin(viewer: str, at: str = LIVE, event_id: str = "", **more: Any) -> dict[str, Any]:
    return {
        "event_id": event_id or f"c-{viewer}-{at[:16]}",
        "type": "viewer.checked_in",
        "campaign_id": CAMPAIGN,
        "viewer_id": viewer,
        "occurred_at": at,
    } | more


def enrolment(viewer: str, at: str = "2024-06-29T19:28:00+08:00", event_id: str = "", **more: Any) -> dict[str, Any]:
    return checkin(viewer, at, event_id or f"n-{viewer}-{at[:16]}", type="viewer.enrolled") | more


class CheckinUnderTest(ServiceUnderTest):
    """A running service and ways to use it as its users do."""

    async def define(self, content: dict[str, Any]) -> httpx.Response:
        return await self.client.put(f"/v1/campaigns/{content['campaign_id']}", json=content)

    async def post(self, *events: Any) -> list[tuple[str, str | None]]:
        """(verdict, reason) of each event of one signed post."""
        answer = await self.post_body(json.dumps(events).encode())
        assert answer.status_code == 200, answer.text
        return [(result["verdict"], result["reason"]) for result in answer.json()["results"]]

    async def post_body(self, body: bytes, *, secret: str = SECRET, path: str = "/v1/live/events") -> httpx.Response:
        return await self.client.post(path, content=body, headers=signature(body, secret))

    async def facts(self, name: str) -> list[dict[str, Any]]:
        """The events of one kind in the ledger, in order."""
        rows = await self.rows("SELECT payload FROM outbox WHERE subject LIKE $1 ORDER BY event_id", f"%.{name}.v1")
        return [json.loads(row[0]) for row in rows]


def signature(body: bytes, secret: str = SECRET, at: datetime | None = None) -> dict[str, str]:
    """Standard Webhooks headers over these bytes, text or not (the library signs text only)."""
    seconds = str(int((at or datetime.now(UTC)).timestamp()))
    key = base64.b64decode(secret.removeprefix("whsec_"))
    digest = hmac.digest(key, f"msg_1.{seconds}.".encode() + body, "sha256")
    return {
        "webhook-id": "msg_1",
        "webhook-timestamp": seconds,
        "webhook-signature": f"v1,{base64.b64encode(digest).decode()}",
        "content-type": "application/json",
    }


@asynccontextmanager
async def running_checkin(
    database: FreshDatabase,
    folder: Path,
    now: datetime = DURING,
    *,
    record: Record = record,
    items_waiting_max: int = ITEMS_WAITING_MAX,
    lag_every_s: float = LAG_EVERY_S,
    **more: Any,
) -> AsyncIterator[CheckinUnderTest]:
    """The service with its loops running, as in production. `more`: settings."""
    values: dict[str, Any] = {
        "webhook_sources": {
            "standard": Source(verifier="standard", secrets=[SECRET, OLD_SECRET]),
            "kuaishou": Source(verifier="kuaishou", secrets=["ks-secret"]),
            "douyin": Source(verifier="douyin", secrets=["dy-secret"]),
        },
        "sealing_public_keys": {name: text_of(key.public_key) for name, key in RECIPIENTS.items()},
        "link_key": text_of(b"k" * 32),
    }
    settings = Settings(**settings_of("checkin", database.url, folder, now) | values | more)
    app = build_app(
        settings,
        record=record,
        items_waiting_max=items_waiting_max,
        lag_every_s=lag_every_s,
        keep_heard_every_s=HEARD_KEPT_EVERY_S,
    )
    async with CheckinUnderTest(app, caller=token()).running() as running:
        yield running
        await asyncio.sleep(0)
