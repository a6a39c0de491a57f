"""The reporting service as its `build_app` composes it, on a fresh database: without a bus, and an API without a socket."""

import base64
from datetime import timedelta
from typing import Any

import httpx
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from services.reporting.app import build_app
from shared.bus.topology import DURABLES
from shared.contracts.base import Event
from shared.database import COLLISIONS, Database
from shared.service.tokens import ALL_CAMPAIGNS, Role, create_token
from shared.settings import ServiceSettings
from tests.support.databases import FreshDatabase

DURABLE_OF = {durable.subject: durable.name for durable in DURABLES if durable.service == "reporting"}
KEY = Ed25519PrivateKey.generate()
PRIVATE_KEY = base64.b64encode(KEY.private_bytes_raw()).decode()
PUBLIC_KEY = base64.b64encode(KEY.public_key().public_bytes_raw()).decode()


def token(role: Role = "office", *, unit: str | None = None, campaign: str = ALL_CAMPAIGNS) -> str:
    return create_token(
        PRIVATE_KEY, subject="tester", role=role, campaign=campaign, unit=unit, valid_for=timedelta(days=1)
    )


class ReportingService:
    def __init__(self, fresh: FreshDatabase, nats_url: str = "nats://reporting@127.0.0.1:1") -> None:
        settings = ServiceSettings(
            environment="test",
            port=0,
            database_url=fresh.url,
            database_pool_size=8,
            nats_url=nats_url,
            token_public_key=PUBLIC_KEY,
            public_url="http://reporting.test",
        )
        self.app = build_app(settings)
        self.db: Database = self.app.state.service.db
        self.collisions = 0
        self._http = httpx.AsyncClient(
            transport=httpx.ASGITransport(self.app, raise_app_exceptions=False), base_url="http://reporting.test"
        )

    async def close(self) -> None:
        await self._http.aclose()
        await self.db.close()

    async def deliver(self, *events: Event) -> None:
        """Hands events to the handler as the bus does. After a collision it delivers again, as after a NAK."""
        for event in events:
            while True:
                try:
                    await self.app.state.service.bus.handle(
                        DURABLE_OF[event.subject()], event.model_dump_json().encode()
                    )
                    break
                except COLLISIONS:
                    self.collisions += 1

    async def get(self, path: str, bearer: str | None = None, **parameters: Any) -> httpx.Response:
        headers = {"Authorization": f"Bearer {bearer}"} if bearer else {}
        return await self._http.get(path, params=parameters, headers=headers)

    async def sheet(self, path: str, media_type: str, **parameters: Any) -> httpx.Response:
        """`path` below `/v1/campaigns/`, with this `Accept`."""
        headers = {"Authorization": f"Bearer {token()}", "Accept": media_type}
        return await self._http.get(f"/v1/campaigns/{path}", params=parameters, headers=headers)

    async def totals(self, campaign_id: str, bearer: str | None = None, **parameters: Any) -> Any:
        """The answer's body; fails unless it is 200."""
        answer = await self.get(f"/v1/campaigns/{campaign_id}/totals", bearer or token(), **parameters)
        assert answer.status_code == 200, answer.text
        return answer.json()

    async def live_room(self, campaign_id: str, bearer: str | None = None, **parameters: Any) -> Any:
        answer = await self.get(f"/v1/campaigns/{campaign_id}/live-room", bearer or token(), **parameters)
        assert answer.status_code == 200, answer.text
        return answer.json()

    async def state(self) -> dict[str, list[tuple[Any, ...]]]:
        """Every row of reporting's own tables."""
        tables = (
            "total",
            "live_room_total",
            "platform_total",
            "certificate_holder",
            "certificate_total",
            "viewer_move",
            "definition",
            "unit",
        )
        async with self.db.transaction() as tx:
            return {
                table: [tuple(row) for row in await tx.fetch(f"SELECT * FROM {table} AS found ORDER BY found")]
                for table in tables
            }


def by_key(answer: Any) -> dict[str, Any]:
    return {row["key"]: row for row in answer["rows"]}


def column(answer: Any, name: str) -> dict[str, Any]:
    """Row key → one of its figures, in the order answered, of the rows in which something was counted."""
    return {row["key"]: row[name] for row in answer["rows"] if not _is_empty(row)}


def _is_empty(row: dict[str, Any]) -> bool:
    """All its figures are 0 or not known."""
    words = ("key", "name", "residents")
    return not any(value for name, value in row.items() if name not in words)
