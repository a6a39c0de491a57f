"""Signing out and revoking, on a real bus: another service refuses the cookie by itself, also when it was away meanwhile, and
also after a backup was restored that was taken while the session was open."""

from collections.abc import AsyncIterator
from contextlib import AsyncExitStack
from pathlib import Path
from typing import Any

import httpx
import pytest

from shared.service.sessions import COOKIE
from tests.support.campaigns import campaign_content
from tests.support.certificate import CertificateService
from tests.support.checkin import CAMPAIGN
from tests.support.databases import DatabaseFactory
from tests.support.deployment import WholeDeployment
from tests.support.deployment import stack as stack
from tests.support.nats_support import RunningNats, eventually
from tests.support.office import accept, invite, is_signed_in, person_at, sign_in, submit
from tests.support.reporting_events import defined
from tests.support.reporting_service import ReportingService
from tests.support.service import ServiceUnderTest
from upkeep import backup
from upkeep.restore import restore

C = "small-2024"
WITHIN_S = 20  # the promise is a minute


@pytest.fixture
async def bus(tmp_path: Path) -> AsyncIterator[RunningNats]:
    server = RunningNats(tmp_path)
    await server.start()
    await server.apply_topology()
    yield server
    await server.stop()


@pytest.fixture
async def office(bus: RunningNats, database: DatabaseFactory) -> AsyncIterator[ReportingService]:
    service = ReportingService(await database("reporting"), bus.url("reporting"))
    async with service.app.router.lifespan_context(service.app):
        await service.deliver(*defined(C))
        yield service
    await service.close()


async def certificate_answers(service: ServiceUnderTest, browser: httpx.AsyncClient) -> tuple[int, Any]:
    """Status and redirection of certificate's answer to this browser's cookie."""
    transport = httpx.ASGITransport(service.app)
    async with httpx.AsyncClient(
        transport=transport, base_url="https://office.test", cookies=browser.cookies
    ) as client:
        answer = await client.get("/certificates")
        return answer.status_code, answer.headers.get("location")


async def test_who_signs_out_or_is_revoked_is_out_everywhere_also_where_the_service_was_away(
    bus: RunningNats, office: ReportingService, database: DatabaseFactory, tmp_path: Path
) -> None:
    fresh = await database("certificate")
    leaving, staying = await person_at(office, C, "王芳"), office.browser()
    await sign_in(staying, "王芳")
    revoked = await person_at(office, C, "李强")
    signed_in_cookies = dict(leaving.cookies)
    async with AsyncExitStack() as running:
        first = CertificateService(fresh.url, tmp_path, nats_url=bus.url("certificate"))
        await running.enter_async_context(first.app.router.lifespan_context(first.app))
        for browser in (leaving, staying, revoked):
            assert await certificate_answers(first, browser) == (200, None)
        await submit(leaving, "/account", "/sign-out")
        leaving.cookies.update(signed_in_cookies)

        async def is_out() -> bool:
            return (await certificate_answers(first, leaving))[0] == 303

        await eventually(is_out, within_s=WITHIN_S, what="certificate knows that the session ended")
        assert await certificate_answers(first, leaving) == (303, "/sign-in?to=/certificates")
        assert await certificate_answers(first, staying) == (200, None)
    # Inviting again ends the person's sessions while certificate is away.
    assert (await invite(office, C, "李强", again=True))["person_id"]
    second = CertificateService(fresh.url, tmp_path, nats_url=bus.url("certificate"))
    async with second.app.router.lifespan_context(second.app):

        async def is_revoked() -> bool:
            return (await certificate_answers(second, revoked))[0] == 303

        await eventually(is_revoked, within_s=WITHIN_S, what="certificate knows the new generation")
        assert await certificate_answers(second, leaving) == (303, "/sign-in?to=/certificates")
        assert await certificate_answers(second, staying) == (200, None)
    await second.close()
    await first.close()


async def test_a_restored_backup_opens_no_session_again(stack: WholeDeployment, tmp_path: Path) -> None:
    """Neither one that ended after the backup, nor one that began after it in a generation that it does not know. Who was invited
    uses the invitation, and who has a passphrase signs in."""
    async with stack.running():
        reporting = stack.services["reporting"]
        await stack.put("checkin", f"/v1/campaigns/{CAMPAIGN}", campaign_content())
        await stack.settle()
        codes = {}
        for name in ("王芳", "李强", "赵六"):
            answer = await stack.post("reporting", f"/v1/campaigns/{CAMPAIGN}/people", {"name": name, "role": "office"})
            codes[name] = answer.json()["code"]
        leaving, changing = reporting.browser(), reporting.browser()
        await accept(leaving, codes["王芳"])
        await accept(changing, codes["李强"])
        cookies = [leaving.cookies[COOKIE]]
        taken, _ = await backup.take(stack.deployment(), tmp_path / "backups", keep=3)
        await submit(leaving, "/account", "/sign-out")
        await submit(changing, "/account", "/account/sign-out-everywhere")
        await sign_in(changing, "李强")
        cookies.append(changing.cookies[COOKIE])
    await restore(stack.deployment(), taken, wipe=True)
    async with stack.running():
        reporting = stack.services["reporting"]
        await stack.settle()
        for cookie in cookies:
            browser = reporting.browser()
            browser.cookies.set(COOKIE, cookie)
            assert not await is_signed_in(browser)
            assert (await certificate_answers(stack.services["certificate"], browser))[0] == 303
            renewed = await browser.get("/sign-in/renew?to=/account")
            assert renewed.headers["location"] == "/sign-in?to=/account"
        back, new = reporting.browser(), reporting.browser()
        assert (await sign_in(back, "王芳")).status_code == 303
        assert (await accept(new, codes["赵六"])).status_code == 303
        assert (await certificate_answers(stack.services["certificate"], back)) == (200, None)
