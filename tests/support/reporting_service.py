"""The reporting service on a fresh database: its figures as users ask for them, and its tables."""

from datetime import datetime
from pathlib import Path
from typing import Any

import httpx

from services.reporting.app import build_app
from services.reporting.settings import Settings
from tests.support.databases import FreshDatabase
from tests.support.notification import SEALING_PUBLIC_KEY
from tests.support.service import (
    NATS_AWAY,
    SESSION_KEY,
    ServiceUnderTest,
    bearer,
    durables_of,
    settings_of,
    text_of,
    token,
)

LIAISON_KEY = text_of(b"c" * 32)
DURABLE_OF = durables_of("reporting")


class ReportingService(ServiceUnderTest):
    """Its client calls without a token: each call says which one."""

    def __init__(
        self,
        fresh: FreshDatabase,
        nats_url: str = NATS_AWAY,
        *,
        folder: Path = Path(),
        now: datetime | None = None,
        **changes: Any,
    ) -> None:
        """`now`: begins a simulated clock, a file in `folder`; `changes`: of other settings."""
        values = settings_of("reporting", fresh.url, folder, now) | {
            "database_pool_size": 8,
            "nats_url": nats_url,
            "session_signing_key": SESSION_KEY,
            "liaison_key": LIAISON_KEY,
            "sealing_public_keys": {"notification": SEALING_PUBLIC_KEY},
        }
        self.owner_url = fresh.owner_url
        super().__init__(build_app(Settings(**values | changes)), caller=None)

    async def get(self, path: str, bearer_token: str | None = None, **parameters: Any) -> httpx.Response:
        return await self.client.get(path, params=parameters, headers=bearer(bearer_token))

    async def post(self, path: str, body: Any, bearer_token: str | None = None) -> httpx.Response:
        """As an admin, unless said otherwise."""
        return await self.client.post(path, json=body, headers=bearer(bearer_token or token("admin")))

    async def sheet(self, path: str, media_type: str, **parameters: Any) -> httpx.Response:
        """`path` below `/v1/campaigns/`, with this `Accept`."""
        headers = bearer(token()) | {"Accept": media_type}
        return await self.client.get(f"/v1/campaigns/{path}", params=parameters, headers=headers)

    async def totals(self, campaign_id: str, bearer_token: str | None = None, **parameters: Any) -> Any:
        """The answer's body; fails unless it is 200."""
        answer = await self.get(f"/v1/campaigns/{campaign_id}/totals", bearer_token or token(), **parameters)
        assert answer.status_code == 200, answer.text
        return answer.json()

    async def live_room(self, campaign_id: str, bearer_token: str | None = None, **parameters: Any) -> Any:
        answer = await self.get(f"/v1/campaigns/{campaign_id}/live-room", bearer_token or token(), **parameters)
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
        return {table: await self.rows(f"SELECT * FROM {table} AS whole ORDER BY whole") for table in tables}


def by_key(answer: Any) -> dict[str, Any]:
    return {row["key"]: row for row in answer["rows"]}


def column(answer: Any, name: str) -> dict[str, Any]:
    """Row key → the figure `name`, in the order of the answer. Rows in which nothing was counted are left out."""
    return {row["key"]: row[name] for row in answer["rows"] if not _is_empty(row)}


def _is_empty(row: dict[str, Any]) -> bool:
    """Whether all figures of the row are 0 or not known."""
    words = ("key", "name", "residents")
    return not any(value for name, value in row.items() if name not in words)
