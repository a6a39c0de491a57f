"""The office's pages to find, revoke and reissue certificates: holders are masked, and only the session's campaign is reached."""

import re
from collections.abc import AsyncIterator
from pathlib import Path

import httpx
import pytest

from shared.service.sessions import COOKIE
from shared.service.tokens import Role
from tests.support.certificate import CAMPAIGN, CertificateService, certificate_rules, checked_in, defined, enrolled
from tests.support.databases import DatabaseFactory
from tests.support.office import submit
from tests.support.service import session_cookie

NAME, PHONE = "欧阳示例", "13800005678"
FIND, OTHER = "/certificates", "other-2025"


@pytest.fixture
async def service(database: DatabaseFactory, tmp_path: Path) -> AsyncIterator[CertificateService]:
    running = CertificateService((await database("certificate")).url, tmp_path)
    await running.issue(checked_in("anna"), enrolled(("anna", NAME, PHONE)))
    yield running
    await running.close()


def signed_in(service: CertificateService, role: Role = "office", campaign: str = CAMPAIGN) -> httpx.AsyncClient:
    browser = service.browser()
    browser.cookies.set(COOKIE, session_cookie(role, campaign=campaign, subject="王芳"), domain="office.test")
    return browser


async def serials(service: CertificateService) -> list[str]:
    return [row.serial for row in await service.certificates()]


async def request_id(browser: httpx.AsyncClient, page: str) -> str:
    field = re.search(r'name="request_id" value="([^"]+)"', (await browser.get(page)).text)
    assert field
    return field[1]


async def test_a_certificate_is_found_by_what_the_office_has_and_shown_masked(service: CertificateService) -> None:
    browser, (serial,) = signed_in(service), await serials(service)
    code = (await service.claim_codes())["anna"]
    for typed in (serial, serial.lower().replace("-", " "), code, code.lower(), "anna", " anna "):
        answer = await submit(browser, FIND, FIND, typed=typed)
        assert (answer.status_code, answer.headers.get("location")) == (303, f"{FIND}/{serial}"), typed
    page = (await browser.get(f"{FIND}/{serial}")).text
    assert (serial in page, "欧阳**" in page, "有效" in page) == (True, True, True)
    for secret in (NAME, PHONE, PHONE[-4:], code):
        assert secret not in page
    for typed, says in (("bert", "请核对"), ("2222-2222-2222", "请核对"), ("a\0b", "请核对"), ("x" * 5_000, "请核对")):
        answer = await submit(browser, FIND, FIND, typed=typed)
        assert (answer.status_code, says in answer.text) == (404, True), typed
    await service.deliver(checked_in("carl"))
    assert "正在签发" in (await submit(browser, FIND, FIND, typed="carl")).text


async def test_another_campaigns_office_neither_finds_nor_changes_it(service: CertificateService) -> None:
    """Not even where the same account has a certificate in both campaigns."""
    (serial,), code = await serials(service), (await service.claim_codes())["anna"]
    other = defined(campaign_id=OTHER, certificate=certificate_rules())
    await service.deliver(*other, checked_in("anna", campaign_id=OTHER))
    await service.sweep()
    page, stranger = f"{FIND}/{serial}", signed_in(service, campaign=OTHER)
    for typed in (serial, code):
        assert (await submit(stranger, FIND, FIND, typed=typed)).status_code == 404
    assert (await stranger.get(page)).status_code == 404
    assert (await submit(stranger, FIND, f"{page}/revoke", reason="冒名")).status_code == 404
    answer = await submit(stranger, FIND, f"{page}/reissue", name="王五", reason="更名", request_id="r")
    assert answer.status_code == 404
    assert await service.rows("SELECT revoked_at FROM certificate") == [(None,), (None,)]


async def test_revoking_needs_a_reason_and_records_who(service: CertificateService) -> None:
    (serial,) = await serials(service)
    browser, page = signed_in(service), f"{FIND}/{serial}"
    for poor in ("", "   ", "长" * 501, "a\tb"):
        answer = await submit(browser, page, f"{page}/revoke", reason=poor)
        assert (answer.status_code, "请写明原因" in answer.text) == (422, True), poor
    reader = signed_in(service, "auditor")
    assert (await submit(reader, FIND, f"{page}/revoke", reason="冒名")).status_code == 403
    assert "撤销这张证书" not in (await reader.get(page)).text
    assert (await submit(browser, page, f"{page}/revoke", reason="冒名")).headers["location"] == page
    assert await service.rows("SELECT revoked_by, revoke_reason FROM certificate") == [("王芳", "冒名")]
    shown = (await browser.get(page)).text
    assert ("已撤销" in shown, "撤销这张证书" in shown) == (True, False)
    again = await submit(browser, FIND, f"{page}/revoke", reason="冒名")
    assert (again.status_code, "该证书已撤销" in again.text) == (409, True)


async def test_a_second_click_reissues_once_and_an_old_page_changes_nothing(service: CertificateService) -> None:
    (serial,) = await serials(service)
    browser, page = signed_in(service), f"{FIND}/{serial}"
    typed = {"name": "欧阳更正", "reason": "姓名更正", "request_id": await request_id(browser, page)}
    poor = await submit(browser, page, f"{page}/reissue", **(typed | {"name": " "}))
    assert poor.status_code == 422
    first = await submit(browser, FIND, f"{page}/reissue", **typed)
    second = await submit(browser, FIND, f"{page}/reissue", **typed)
    assert first.status_code == second.status_code == 303
    assert first.headers["location"] == second.headers["location"] != page
    assert len(await serials(service)) == 2
    assert await service.names() == {"anna": "欧阳更正"}
    assert first.headers["location"] in (await browser.get(page)).text
    for old in (
        await submit(browser, FIND, f"{page}/reissue", **(typed | {"request_id": "another"})),
        await submit(browser, FIND, f"{page}/revoke", reason="冒名"),
    ):
        assert (old.status_code, "已经换发" in old.text) == (409, True)
    assert [row.revoked_at is None for row in await service.certificates()] == [True, False]
