"""The office's people on a real database: invited, signed in, signed out; a wrong request is refused and changes nothing."""

import asyncio
import re
from collections.abc import AsyncIterator
from dataclasses import replace
from datetime import UTC, datetime, timedelta

import httpx
import pytest

from devstack.secrets import Secrets
from services.reporting.erasure import Erasure
from services.reporting.people import usecases
from shared.database import Database
from shared.service.sessions import COOKIE, SessionSigner, SessionVerifier
from shared.service.tokens import Role, create_token
from tests.support.databases import fresh_database
from tests.support.office import ORIGIN, PASSPHRASE, accept, invite, is_signed_in, person_at, sign_in, submit
from tests.support.reporting_events import defined
from tests.support.reporting_service import ReportingService
from tests.support.servers import RunningPostgres
from tests.support.service import SESSION_KEY, SESSION_PUBLIC_KEY, token

C, OTHER = "small-2024", "other-2024"


@pytest.fixture
async def service(postgres: RunningPostgres) -> AsyncIterator[ReportingService]:
    fresh = await fresh_database(postgres, "reporting")
    running = ReportingService(fresh)
    await running.deliver(*defined(C), *defined(OTHER))
    yield running
    await running.close()
    await postgres.drop(fresh.name)


async def rows(service: ReportingService, table: str) -> list[str]:
    async with service.db.transaction() as tx:
        return [row[0] for row in await tx.fetch(f"SELECT t::text FROM {table} t ORDER BY t")]


async def test_an_invitation_is_used_once_and_signs_in(service: ReportingService) -> None:
    invited = await invite(service, C, " 王　芳 ", unit="140902")
    assert (invited["name"], invited["page"]) == ("王 芳", "/invitation")
    code = invited["code"]
    browser = service.browser()
    typed = code.lower().replace("-", " ")
    answer = await accept(browser, typed)
    assert (answer.status_code, answer.headers["location"]) == (303, "/account")
    cookie = next(line for line in answer.headers.get_list("set-cookie") if line.startswith(f"{COOKIE}="))
    assert cookie.startswith("__Host-")
    assert {part.strip().lower() for part in cookie.split(";")[1:]} == {"path=/", "secure", "httponly", "samesite=lax"}
    page = await browser.get("/account")
    assert page.status_code == 200
    for says in ("王 芳", "反诈办", C, "140902", 'href="/account" aria-current="page"', "退出"):
        assert says in page.text
    again = await accept(service.browser(), code)
    assert (again.status_code, "已经用过" in again.text) == (404, True)
    for table in ("person", "session", "person_change", "outbox"):
        assert code.replace("-", "") not in str(await rows(service, table)).upper()
    assert "王" not in str(await rows(service, "outbox"))


async def test_the_passphrase_signs_in_and_a_wrong_one_is_told_like_an_unknown_name(service: ReportingService) -> None:
    await accept(service.browser(), (await invite(service, C, "王芳"))["code"])
    browser = service.browser()
    answers = [await sign_in(browser, name, word) for name, word in (("王芳", "x" * 12), ("李四", PASSPHRASE))]
    assert {answer.status_code for answer in answers} == {401}
    assert len({re.sub(r"value=.*?>", "", answer.text) for answer in answers}) == 1
    assert not await is_signed_in(browser)
    answer = await sign_in(browser, "王芳", PASSPHRASE, to="/desk?by=county")
    assert (answer.status_code, answer.headers["location"]) == (303, "/desk?by=county")
    assert await is_signed_in(browser)
    kept = await rows(service, "person")
    assert PASSPHRASE not in str(kept)
    assert "$argon2id$" in str(kept)


@pytest.mark.parametrize(
    "to", ["https://evil.test/", "//evil.test", "/\\evil.test", "/desk/../sign-out", "/deskx", "/v1/x"]
)
async def test_one_is_never_led_elsewhere(service: ReportingService, to: str) -> None:
    await accept(service.browser(), (await invite(service, C, "王芳"))["code"])
    answer = await sign_in(service.browser(), "王芳", to=to)
    assert (answer.status_code, answer.headers["location"]) == (303, "/account")


@pytest.mark.parametrize(
    ("passphrase", "repeated", "says"),
    [
        ("a" * 11, "a" * 11, "至少 12 个字符"),
        ("1" * 30, "1" * 30, "重复的字符太多"),
        ("王芳王芳王芳王芳王芳王芳", "王芳王芳王芳王芳王芳王芳", "重复的字符太多"),
        (PASSPHRASE, PASSPHRASE + "x", "两次输入的口令不一样"),
        ("长" * 5_000, "长" * 5_000, "最多 128 个字符"),
    ],
)
async def test_a_poor_passphrase_is_not_taken_and_the_invitation_stays(
    service: ReportingService, passphrase: str, repeated: str, says: str
) -> None:
    code = (await invite(service, C, "王芳"))["code"]
    browser = service.browser()
    answer = await submit(browser, "/invitation", "/invitation", code=code, passphrase=passphrase, repeated=repeated)
    assert (answer.status_code in (413, 422), await is_signed_in(browser)) == (True, False)
    assert answer.status_code == 413 or says in answer.text
    assert (await accept(browser, code)).status_code == 303


async def test_signing_out_ends_one_session_and_signing_in_again_the_former(service: ReportingService) -> None:
    phone = await person_at(service, C, "王芳")
    desk = service.browser()
    await sign_in(desk, "王芳")
    stolen = dict(desk.cookies)
    await sign_in(desk, "王芳")
    assert dict(desk.cookies) != stolen
    thief = service.browser()
    thief.cookies.update(stolen)
    assert not await is_signed_in(thief)
    assert (await is_signed_in(phone), await is_signed_in(desk)) == (True, True)
    stolen = dict(desk.cookies)
    answer = await submit(desk, "/account", "/sign-out")
    assert (answer.status_code, answer.headers["location"], COOKIE in desk.cookies) == (303, "/sign-in", False)
    thief.cookies.update(stolen)
    assert (await is_signed_in(thief), await is_signed_in(phone)) == (False, True)
    assert len(await rows(service, "ended_session")) == 2


async def test_revoking_inviting_again_and_leaving_everywhere_end_all_sessions(service: ReportingService) -> None:
    invited = await invite(service, C, "王芳")
    first = service.browser()
    await accept(first, invited["code"])
    await submit(first, "/account", "/account/sign-out-everywhere")
    second, third = service.browser(), service.browser()
    assert not await is_signed_in(first)
    await sign_in(second, "王芳")
    refused = await service.post(f"/v1/campaigns/{C}/people", {"name": "王芳", "role": "office"})
    assert (refused.status_code, refused.json()["type"]) == (409, "/problems/already-invited")
    again = await invite(service, C, "王芳", role="auditor", again=True)
    assert again["person_id"] == invited["person_id"]
    assert not await is_signed_in(second)
    assert (await sign_in(third, "王芳")).status_code == 401  # inviting again has made the old passphrase void
    await accept(third, again["code"])
    assert "只读" in (await third.get("/account")).text
    path = f"/v1/campaigns/{C}/people/{invited['person_id']}/revoke"
    assert (await service.post(path, {"reason": "调离"})).json()["state"] == "revoked"
    assert not await is_signed_in(third)
    assert (await sign_in(third, "王芳")).status_code == 401
    listed = (await service.get(f"/v1/campaigns/{C}/people", token("admin"))).json()["rows"]
    assert [(row["name"], row["state"], row["sessions"]) for row in listed] == [("王芳", "revoked", 0)]


async def test_two_sessions_and_a_token_of_one_name_are_one_person(service: ReportingService) -> None:
    browsers = [await person_at(service, C, "王芳"), service.browser()]
    await sign_in(browsers[1], "王芳")
    sessions = [SessionVerifier(SESSION_PUBLIC_KEY).verify(browser.cookies[COOKIE]) for browser in browsers]
    subjects = {session.principal.subject for session in sessions if session}
    assert subjects == {"王芳"}
    taken = await service.post(f"/v1/campaigns/{OTHER}/people", {"name": "王芳", "role": "office"})
    assert (taken.status_code, taken.json()["type"]) == (409, "/problems/name-taken")


async def test_a_form_from_elsewhere_or_without_its_token_changes_nothing(service: ReportingService) -> None:
    browser = await person_at(service, C, "王芳")
    for origin in ("https://office.test:8445", "http://office.test", "https://evil.test", "null"):
        answer = await submit(browser, "/account", "/sign-out", origin=origin)
        assert (answer.status_code, await is_signed_in(browser)) == (403, True)
    no_origin = await browser.post("/sign-out", data={})
    for form in ({}, {"form_token": "0" * 64}):
        answer = await browser.post("/sign-out", data=form, headers={"origin": ORIGIN})
        assert (answer.status_code, no_origin.status_code, await is_signed_in(browser)) == (403, 403, True)
    visitor = service.browser()
    for headers in ({"origin": ORIGIN}, {"origin": "https://evil.test"}, {}):
        answer = await visitor.post("/sign-in", data={"name": "王芳", "passphrase": PASSPHRASE}, headers=headers)
        assert (answer.status_code, COOKIE in visitor.cookies) == (403, False)


async def test_an_idle_an_old_and_a_foreign_cookie_sign_nobody_in(service: ReportingService) -> None:
    browser = await person_at(service, C, "王芳")
    session = SessionVerifier(SESSION_PUBLIC_KEY).verify(browser.cookies[COOKIE])
    assert session is not None
    now = datetime.now(UTC)

    async def seen_with(cookie: str, page: str = "/account") -> httpx.Response:
        other = service.browser()
        return await other.get(page, headers={"cookie": f"{COOKIE}={cookie}"})

    sign = SessionSigner(SESSION_KEY).sign
    ageing = sign(replace(session, signed_at=now - timedelta(minutes=11)))
    sent = await seen_with(ageing)
    assert (sent.status_code, sent.headers["location"]) == (303, "/sign-in/renew?to=/account")
    renewed = await seen_with(ageing, "/sign-in/renew?to=/account")
    assert (renewed.headers["location"], COOKIE in renewed.cookies) == ("/account", True)
    idle = sign(replace(session, signed_at=now - timedelta(hours=2, seconds=1)))
    old = sign(replace(session, ends_at=now - timedelta(seconds=1)))
    forged = SessionSigner(Secrets().session_signing_key).sign(session)
    bearer = create_token(
        SESSION_KEY, subject="王芳", role="admin", campaign=C, unit=None, valid_for=timedelta(hours=1)
    )
    for cookie in (idle, old, forged, bearer, "x.y.z", ""):
        for page in ("/account", "/sign-in/renew?to=/account"):
            answer = await seen_with(cookie, page)
            assert answer.headers["location"].startswith("/sign-in?to=/account"), cookie
    as_bearer = await service.get(f"/v1/campaigns/{C}/people", browser.cookies[COOKIE])
    assert as_bearer.status_code == 401


async def test_wrong_tries_are_limited_by_name_and_by_address_however_many_at_once(service: ReportingService) -> None:
    await accept(service.browser(), (await invite(service, C, "王芳"))["code"])
    guesses = [service.browser(f"10.2.0.{n}") for n in range(usecases.BY_NAME_MAX + 5)]
    answers = await asyncio.gather(*(sign_in(guess, "王芳", "wrong passphrase 1") for guess in guesses))
    statuses = sorted(answer.status_code for answer in answers)
    assert statuses == [401] * usecases.BY_NAME_MAX + [429] * 5
    right = await sign_in(service.browser("10.2.1.1"), "王芳")
    assert (right.status_code, right.headers["retry-after"]) == (429, "900")
    one = service.browser("10.3.0.1")
    for number in range(usecases.BY_ADDRESS_MAX):
        assert (await accept(one, "2222222222222222")).status_code == 404, number
    assert (await accept(one, "2222222222222222")).status_code == 429
    assert "王芳" not in str(await rows(service, "wrong_try"))


@pytest.mark.parametrize("role", ["office", "auditor", "liaison"])
async def test_only_an_admin_of_the_campaign_invites(service: ReportingService, role: Role) -> None:
    body = {"name": "王芳", "role": "admin"}
    path = f"/v1/campaigns/{C}/people"
    for bearer in (token(role), token("admin", campaign=OTHER), token("admin", unit="1409")):
        assert (await service.post(path, body, bearer)).status_code == 403
    for wrong, status in (({"unit": "9999"}, 422), ({"role": "liaison"}, 422), ({"name": "\0"}, 422), ({"x": 1}, 422)):
        assert (await service.post(path, body | wrong)).status_code == status
    assert await rows(service, "person") == []
    revoke = await service.post(f"{path}/0190649b-1a2b-7c3d-8e4f-5a6b7c8d9e0f/revoke", {"reason": "无"})
    assert revoke.status_code == 404


async def test_forgetting_a_campaigns_people_forgets_the_office_too(service: ReportingService) -> None:
    browser, other = await person_at(service, C, "王芳"), await person_at(service, OTHER, "李强")
    await forget(service, C)
    assert (await is_signed_in(browser), await is_signed_in(other)) == (False, True)
    kept = {table: await rows(service, table) for table in ("person", "person_change", "session")}
    assert {table: len(kept_rows) for table, kept_rows in kept.items()} == {
        "person": 1,
        "person_change": 2,
        "session": 1,
    }
    assert "王芳" not in str(kept)


async def forget(service: ReportingService, campaign_id: str) -> None:
    owner = Database(service.owner_url, pool_size=2)
    try:
        await owner.in_transaction(lambda tx: Erasure({}).forget_people(tx, campaign_id))
    finally:
        await owner.close()
