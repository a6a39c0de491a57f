"""What people do on /account: change the passphrase, and sign in with a second step; each code is taken once."""

import asyncio
import html
import re
import time
from collections.abc import AsyncIterator
from typing import NamedTuple

import httpx
import pyotp
import pytest
import yaml
from prometheus_client.parser import text_string_to_metric_families

from devstack.home import REPOSITORY
from devstack.secrets import Secrets
from services.reporting.people import second_step, usecases
from services.reporting.people.keys import PeopleKeys
from services.reporting.people.metrics import WRONG_TRIES
from shared.service.sessions import COOKIE
from shared.service.tokens import wall_now
from tests.support.databases import fresh_database
from tests.support.office import ORIGIN, PASSPHRASE, accept, invite, is_signed_in, person_at, sign_in, submit
from tests.support.reporting_events import defined
from tests.support.reporting_service import ReportingService
from tests.support.servers import RunningPostgres
from tests.support.service import token

C = "small-2024"
OTHER_PASSPHRASE = "another sentence of 2024"


@pytest.fixture
async def service(postgres: RunningPostgres) -> AsyncIterator[ReportingService]:
    fresh = await fresh_database(postgres, "reporting")
    running = ReportingService(fresh)
    await running.deliver(*defined(C))
    yield running
    await running.close()
    await postgres.drop(fresh.name)


def hidden(page: str) -> dict[str, str]:
    """The hidden fields of the page's forms."""
    fields = re.findall(r'<input type="hidden" name="(\w+)" value="([^"]*)"', page)
    return {name: html.unescape(value) for name, value in fields}


async def send(browser: httpx.AsyncClient, page: httpx.Response, action: str, **typed: str) -> httpx.Response:
    """Sends the form of a page that is open already."""
    return await browser.post(action, data=hidden(page.text) | typed, headers={"origin": ORIGIN})


async def offered(browser: httpx.AsyncClient) -> tuple[httpx.Response, pyotp.TOTP]:
    page = await submit(browser, "/account", "/account/second-step")
    shown = re.search(r"手工输入密钥：<br><b>([A-Z2-7 ]+)</b>", page.text)
    assert shown, page.text
    return page, pyotp.TOTP(shown[1].replace(" ", ""))


class Phone(NamedTuple):
    app: pyotp.TOTP
    used: str  # the code that switched the second step on
    recovery_codes: list[str]

    def next_code(self) -> str:
        """A code later than the used one, which is taken already."""
        return self.app.at(time.time(), counter_offset=1)


async def switch_on(browser: httpx.AsyncClient) -> Phone:
    page, app = await offered(browser)
    done = await send(browser, page, "/account/second-step/on", code=(code := app.now()))
    codes = re.findall(r"<li><b>([0-9A-Z-]+)</b></li>", done.text)
    assert (done.status_code, len(set(codes))) == (200, 8)
    return Phone(app, code, codes)


async def test_a_new_passphrase_needs_the_old_one_and_signs_out_all_others(service: ReportingService) -> None:
    here, there = await person_at(service, C, "王芳"), service.browser()
    await sign_in(there, "王芳")
    before = here.cookies[COOKIE]

    async def change(old: str, new: str, repeated: str) -> httpx.Response:
        typed = {"old": old, "passphrase": new, "repeated": repeated}
        return await submit(here, "/account", "/account/passphrase", **typed)

    for old, new, repeated, status, says in (
        ("wrong passphrase 1", OTHER_PASSPHRASE, OTHER_PASSPHRASE, 401, "原来的口令不对"),
        (PASSPHRASE, OTHER_PASSPHRASE, OTHER_PASSPHRASE + "x", 422, "不一样"),
        (PASSPHRASE, "short", "short", 422, "至少 12 个字符"),
    ):
        answer = await change(old, new, repeated)
        assert (answer.status_code, says in answer.text, await is_signed_in(there)) == (status, True, True)
    done = await change(PASSPHRASE, OTHER_PASSPHRASE, OTHER_PASSPHRASE)
    assert (done.status_code, "口令已改" in done.text) == (200, True)
    assert (await is_signed_in(here), await is_signed_in(there)) == (True, False)
    old_cookie = service.browser()
    old_cookie.cookies.set(COOKIE, before)
    assert not await is_signed_in(old_cookie)
    assert (
        await send(here, done, "/account/sign-out-everywhere")
    ).status_code == 303  # the page's form is the new session's
    assert (await sign_in(there, "王芳")).status_code == 401
    assert (await sign_in(there, "王芳", OTHER_PASSPHRASE)).status_code == 303


async def test_signing_in_takes_two_steps_and_a_code_is_taken_once(service: ReportingService) -> None:
    phone = await switch_on(await person_at(service, C, "王芳"))
    browser = service.browser()
    first = await sign_in(browser, "王芳", to="/desk")
    assert (first.status_code, COOKIE in browser.cookies, "验证码" in first.text) == (200, False, True)
    used = await send(browser, first, "/sign-in/second-step", code=phone.used)
    assert (used.status_code, "已经用过" in used.text) == (401, True)
    typed = phone.next_code()
    done = await send(browser, used, "/sign-in/second-step", code=f" {typed[:3]} {typed[3:]}")
    assert (done.status_code, done.headers["location"]) == (303, "/desk")
    assert await is_signed_in(browser)
    for code in (typed, phone.used, "000000", "", "x" * 500):
        thief = service.browser()
        page = await sign_in(thief, "王芳")
        assert (await send(thief, page, "/sign-in/second-step", code=code)).status_code == 401, code
        assert not await is_signed_in(thief)


async def test_a_code_sent_twice_at_once_signs_in_once(service: ReportingService) -> None:
    phone = await switch_on(await person_at(service, C, "王芳"))
    for code in (phone.next_code(), phone.recovery_codes[0]):
        browsers = [service.browser() for _ in range(4)]
        pages = [await sign_in(browser, "王芳") for browser in browsers]
        sent = (send(at, page, "/sign-in/second-step", code=code) for at, page in zip(browsers, pages, strict=True))
        assert sorted(answer.status_code for answer in await asyncio.gather(*sent)) == [303, 401, 401, 401]


async def test_a_wrong_passphrase_and_an_unknown_name_are_answered_alike_with_a_second_step(
    service: ReportingService,
) -> None:
    await switch_on(await person_at(service, C, "王芳"))
    await person_at(service, C, "李强")
    answers = [await sign_in(service.browser(), name, "wrong passphrase 1") for name in ("王芳", "李强", "赵六")]
    assert {answer.status_code for answer in answers} == {401}
    assert len({re.sub(r"value=.*?>", "", answer.text) for answer in answers}) == 1


async def test_the_page_for_the_code_is_of_one_browser_and_of_one_generation(service: ReportingService) -> None:
    phone = await switch_on(await person_at(service, C, "王芳"))
    browser, other = service.browser(), service.browser()
    page = await sign_in(browser, "王芳")
    elsewhere = hidden((await other.get("/sign-in")).text) | {
        "passed": hidden(page.text)["passed"],
        "code": phone.next_code(),
    }
    for passed in (elsewhere["passed"], "", "x", "é"):
        stolen = await other.post(
            "/sign-in/second-step", data=elsewhere | {"passed": passed}, headers={"origin": ORIGIN}
        )
        assert (stolen.status_code, COOKIE in other.cookies) == (409, False)
    await invite(service, C, "王芳", again=True)
    late = await send(browser, page, "/sign-in/second-step", code=phone.next_code())
    assert (late.status_code, COOKIE in browser.cookies) == (409, False)


async def test_wrong_codes_are_wrong_tries(service: ReportingService) -> None:
    phone = await switch_on(await person_at(service, C, "王芳"))
    browser = service.browser()
    page = await sign_in(browser, "王芳")
    for _ in range(usecases.BY_NAME_MAX):
        page = await send(browser, page, "/sign-in/second-step", code="000000")
        assert page.status_code == 401
    for code in (phone.next_code(), phone.recovery_codes[0]):
        page = await send(browser, page, "/sign-in/second-step", code=code)
        assert (page.status_code, page.headers["retry-after"]) == (429, "900")
    assert (await sign_in(service.browser("10.9.9.9"), "王芳")).status_code == 429


async def test_metrics_tell_who_is_signed_in_and_count_wrong_tries_from_0(service: ReportingService) -> None:
    async def value(name: str, **labels: str) -> float | None:
        families = list(text_string_to_metric_families((await service.client.get("/metrics")).text))
        samples = [sample for family in families for sample in family.samples if sample.name == name]
        return next((sample.value for sample in samples if labels.items() <= sample.labels.items()), None)

    count = "fanzha_http_request_duration_seconds_count"
    wrong = {"method": "POST", "route": "/sign-in", "status": "401"}
    assert (await value(count, **wrong), await value("fanzha_sessions", campaign=C)) == (0, None)
    browser = await person_at(service, C, "王芳")
    await sign_in(service.browser(), "王芳")
    await sign_in(service.browser(), "王芳", "wrong passphrase 1")
    assert (await value(count, **wrong), await value("fanzha_sessions", campaign=C)) == (1, 2)
    await submit(browser, "/account", "/account/sign-out-everywhere")
    assert await value("fanzha_sessions", campaign=C) == 0
    rule = yaml.safe_load((REPOSITORY / "deploy" / "prometheus" / "rules" / "people.yml").read_text())
    routes = re.search(r'route=~"(.+?)"', str(rule))
    assert routes
    assert {answer.route for answer in WRONG_TRIES} == set(routes[1].split("|"))


async def test_recovery_codes_stand_in_for_the_phone_and_switch_it_off(service: ReportingService) -> None:
    at_home = await person_at(service, C, "王芳")
    codes = (await switch_on(at_home)).recovery_codes
    browser = service.browser()
    page = await sign_in(browser, "王芳")
    done = await send(browser, page, "/sign-in/second-step", code=codes[0].lower().replace("-", " "))
    assert (done.status_code, "还有 7 个" in (await browser.get("/account")).text) == (303, True)
    kept = str(await service.rows("SELECT * FROM recovery_code")) + str(
        await service.rows("SELECT * FROM person_change")
    )
    assert not any(code in kept or code.replace("-", "") in kept for code in codes)
    again = await submit(browser, "/account", "/account/second-step/off", code=codes[0])
    assert (again.status_code, "已经用过" in again.text) == (401, True)
    off = await submit(browser, "/account", "/account/second-step/off", code=codes[1])
    assert (off.status_code, "已关闭" in off.text) == (200, True)
    assert (await sign_in(service.browser(), "王芳")).status_code == 303
    assert await service.rows("SELECT count(*) FROM recovery_code") == [(0,)]


async def test_it_is_switched_on_by_a_right_code_alone_and_the_secret_is_kept_encrypted(
    service: ReportingService,
) -> None:
    browser, other = await person_at(service, C, "王芳"), await person_at(service, C, "李强")
    page, app = await offered(browser)
    wrong = await send(browser, page, "/account/second-step/on", code="000000")
    assert (wrong.status_code, app.secret in wrong.text.replace(" ", "")) == (401, True)
    foreign = hidden(page.text)["offered"]
    stolen = await submit(other, "/account", "/account/second-step/on", offered=foreign, code=app.now())
    assert stolen.status_code == 409
    assert await service.rows("SELECT count(*) FROM authenticator") == [(0,)]
    assert (await send(browser, wrong, "/account/second-step/on", code=app.now())).status_code == 200
    ((secret,),) = await service.rows("SELECT secret FROM authenticator")
    assert app.secret.encode() not in secret
    twice = await send(browser, page, "/account/second-step/on", code=app.now())
    assert (twice.status_code, "已经开启" in twice.text) == (409, True)


@pytest.mark.parametrize("how", ["invite", "revoke"])
async def test_inviting_again_forgets_the_second_step(service: ReportingService, how: str) -> None:
    invited = await invite(service, C, "王芳")
    await accept(browser := service.browser(), invited["code"])
    await switch_on(browser)
    if how == "revoke":
        path = f"/v1/campaigns/{C}/people/{invited['person_id']}/revoke"
        await service.post(path, {"reason": "调离"}, token("admin"))
    else:
        again = await invite(service, C, "王芳", again=True)
        assert (await accept(service.browser(), again["code"])).status_code == 303
        assert (await sign_in(service.browser(), "王芳")).status_code == 303
    for table in ("authenticator", "recovery_code"):
        assert await service.rows(f"SELECT count(*) FROM {table}") == [(0,)]


async def test_with_another_key_no_code_is_right(service: ReportingService) -> None:
    """After the deployment's key was changed an admin invites again; nobody comes in without the second step."""
    phone = await switch_on(await person_at(service, C, "王芳"))
    ((person_id,),) = await service.rows("SELECT person_id FROM person")
    other = PeopleKeys(Secrets().session_signing_key)
    for code in (phone.next_code(), phone.recovery_codes[0]):
        async with service.db.transaction() as tx:
            assert not await second_step.take(tx, other, person_id, code, wall_now())
