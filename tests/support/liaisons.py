"""Acts as the office that names liaisons and prints slips, and as the phone on which a slip's code is typed."""

from typing import Any

import httpx

from services.reporting.liaisons.usecases import COOKIE
from shared.contracts.checkin import FormsDefinedV1
from tests.support.forms import form
from tests.support.reporting_events import meta
from tests.support.reporting_service import ReportingService
from tests.support.service import OFFICE, bearer, token

NAME, PHONE = "刘小亮", "13812345678"
MASKS = {"name": "刘*亮", "phone": "138****5678"}


def forms_of_units(campaign_id: str, *, revision: int = 1, **changes: Any) -> FormsDefinedV1:
    """A form that all units at the bottom of the tree fill; `changes` replace its keys."""
    told = form(**({"filled_by": {"levels": ["unit"]}} | changes))
    return FormsDefinedV1(**meta(campaign_id), revision=revision, forms=[told], indicators=[])


async def name(
    service: ReportingService, campaign_id: str, unit: str, *, bearer_token: str | None = None, **more: Any
) -> httpx.Response:
    """As an admin, unless said otherwise."""
    body = {"name": NAME, "phone": PHONE} | more
    path = f"/v1/campaigns/{campaign_id}/units/{unit}/liaison"
    return await service.client.put(path, json=body, headers=bearer(bearer_token or token("admin")))


async def slips(service: ReportingService, campaign_id: str, *units: str) -> dict[str, str]:
    """New codes by unit: of these units, or of all."""
    answer = await service.post(f"/v1/campaigns/{campaign_id}/slips", {"units": list(units) or None})
    assert answer.status_code == 200, answer.text
    return {row["unit_code"]: row["code"] for row in answer.json()["rows"]}


async def bind(phone: httpx.AsyncClient, code: str) -> httpx.Response:
    """As the script of our page does."""
    return await phone.post("/r/devices", json={"code": code}, headers={"origin": OFFICE, "accept": "application/json"})


def cookie_of(phone: httpx.AsyncClient) -> str:
    return phone.cookies[COOKIE]
