"""Acts as somebody of the office at a browser: uses an invitation, signs in, and sends the forms of pages."""

import re
from typing import Any

import httpx

from shared.service.sessions import COOKIE
from tests.support.reporting_service import ReportingService
from tests.support.service import OFFICE

PASSPHRASE = "春风不度玉门关 1998 again"
ORIGIN = OFFICE


async def invite(service: ReportingService, campaign_id: str, name: str, role: str = "office", **more: Any) -> Any:
    """Invites a person; returns the body of the answer, with the invitation's code."""
    answer = await service.post(f"/v1/campaigns/{campaign_id}/people", {"name": name, "role": role, **more})
    assert answer.status_code == 200, answer.text
    return answer.json()


async def submit(
    browser: httpx.AsyncClient, page: str, action: str, origin: str = ORIGIN, **typed: str
) -> httpx.Response:
    """Opens the page and sends its form to `action`, with the page's token and the typed fields."""
    shown = await browser.get(page)
    token_field = re.search(r'name="form_token" value="([0-9a-f]{64})"', shown.text)
    assert token_field, shown.text
    return await browser.post(action, data={"form_token": token_field[1], **typed}, headers={"origin": origin})


async def accept(browser: httpx.AsyncClient, code: str, passphrase: str = PASSPHRASE) -> httpx.Response:
    return await submit(browser, "/invitation", "/invitation", code=code, passphrase=passphrase, repeated=passphrase)


async def sign_in(browser: httpx.AsyncClient, name: str, passphrase: str = PASSPHRASE, to: str = "") -> httpx.Response:
    return await submit(browser, "/sign-in", "/sign-in", name=name, passphrase=passphrase, to=to)


async def person_at(service: ReportingService, campaign_id: str, name: str, **more: Any) -> httpx.AsyncClient:
    """A browser in which a new person is signed in."""
    browser = service.browser()
    invited = await invite(service, campaign_id, name, **more)
    answer = await accept(browser, invited["code"])
    assert (answer.status_code, COOKIE in browser.cookies) == (303, True), answer.text
    return browser


async def is_signed_in(browser: httpx.AsyncClient, page: str = "/account") -> bool:
    answer = await browser.get(page)
    assert answer.status_code in (200, 303), answer.text
    return answer.status_code == 200
