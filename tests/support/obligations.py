"""A small campaign whose units owe reports, as checkin publishes it, and the reports themselves."""

from datetime import datetime
from typing import Any
from uuid import UUID, uuid4

import httpx

from shared.contracts.checkin import CampaignDefinedV1, FormsDefinedV1
from shared.ids import new_event_id
from tests.support.campaigns import campaign, unit
from tests.support.forms import form
from tests.support.reporting_service import ReportingService
from tests.support.service import bearer, token

CAMPAIGN = "small-2024"
BEFORE = datetime.fromisoformat("2024-06-28T12:00:00+08:00")  # a Friday; the lessons are on Saturday and Sunday
UNITS = [
    unit("1", None, "province"),
    unit("11", "1", "city"),
    unit("111", "11", "county", headcount=100),
    unit("111-EDU", "111", "unit"),
    unit("112", "11", "county"),
    unit("113", "11", "county", joins_on="2024-06-30"),
]


def at(text: str) -> datetime:
    """`06-29 19:30` of 2024 in China."""
    return datetime.fromisoformat(f"2024-{text.replace(' ', 'T')}:00+08:00")


def definition_events(
    *forms: dict[str, Any], revision: int = 1, when: datetime = BEFORE, **changes: Any
) -> list[CampaignDefinedV1 | FormsDefinedV1]:
    """The events of one revision. Without forms: the daily form of the counties; `changes` replace the definition's keys."""
    content = {"units": UNITS, "channels": {}, "forms": list(forms or [form()]), **changes}
    definition = campaign(**content)
    meta: dict[str, Any] = {"occurred_at": when, "campaign_id": definition.campaign_id, "revision": revision}
    [units] = definition.unit_pages()
    return [
        CampaignDefinedV1(event_id=new_event_id(), **meta, page=1, pages=1, rules=definition.rules(), units=units),
        FormsDefinedV1(event_id=new_event_id(), **meta, **definition.reported()),
    ]


class Reporter:
    """Somebody who calls reporting's routes with one token."""

    def __init__(self, service: ReportingService, role: Any = "office", unit: str | None = None) -> None:
        self.service = service
        self.headers = bearer(token(role, CAMPAIGN, unit, subject=f"{role} {unit}"))

    async def post(self, path: str, **body: Any) -> httpx.Response:
        return await self.service.client.post(f"/v1/campaigns/{CAMPAIGN}/{path}", json=body, headers=self.headers)

    async def get(self, path: str, **query: Any) -> httpx.Response:
        return await self.service.client.get(f"/v1/campaigns/{CAMPAIGN}/{path}", params=query, headers=self.headers)

    async def send(
        self,
        unit_code: str,
        period: str = "2024-06-29",
        *,
        form: str = "daily",
        submission_id: UUID | None = None,
        viewers: Any = 5,
        **more: Any,
    ) -> httpx.Response:
        body = {"submission_id": str(submission_id or uuid4()), "values": {"viewers": viewers}} | more
        return await self.post(f"units/{unit_code}/reports/{form}/{period}", **body)

    async def states(self, **query: Any) -> dict[tuple[str, str], str]:
        """(unit, period) → state."""
        rows = (await self.get("obligations", **query)).json()["rows"]
        return {(row["unit_code"], row["period"]): row["state"] for row in rows}

    async def rates(self, **query: Any) -> dict[str, dict[str, Any]]:
        return {row["key"]: row for row in (await self.get("rates", **query)).json()["rows"]}
