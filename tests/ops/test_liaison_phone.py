"""The liaison's page in Chromium, as a phone uses it: drafts, a line that is gone or slow, two taps, pictures (DESIGN §5.2).

Debian's chromium is driven by playwright. The screenshots are build/pages/phone-*.png.
"""

import asyncio
import io
import re
import shutil
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import pytest
import uvicorn
from PIL import Image
from playwright.async_api import Browser, BrowserContext, Locator, Page, Route, ViewportSize, async_playwright, expect

from devstack.home import REPOSITORY
from devstack.ports import free_port
from tests.integration.test_liaison_page import DAILY, SATURDAY, SUNDAY
from tests.support.databases import DatabaseFactory
from tests.support.liaisons import slips
from tests.support.nats_support import eventually
from tests.support.obligations import BEFORE, CAMPAIGN, Reporter, at, definition_events
from tests.support.reporting_service import ReportingService

CHROMIUM = shutil.which("chromium")
PICTURES = REPOSITORY / "build" / "pages"
PHONE: ViewportSize = {"width": 375, "height": 740}
pytestmark = [
    pytest.mark.long,
    pytest.mark.skipif(CHROMIUM is None, reason="not installed: chromium"),
]


class Phone:
    """A browser with the page open. `asked`: the addresses that it asked for."""

    def __init__(self, service: ReportingService, url: str, page: Page) -> None:
        self.service, self.url, self.page, self.office = service, url, page, Reporter(service)
        self.asked: list[str] = []
        page.on("request", lambda request: self.asked.append(request.url))

    @property
    def context(self) -> BrowserContext:
        return self.page.context

    async def bind(self, unit: str = "111") -> None:
        """Opens the address of a slip's QR."""
        code = (await slips(self.service, CAMPAIGN, unit))[unit]
        await self.page.goto(f"{self.url}/r#{code}")
        await expect(self.page.get_by_role("heading", name="今天 18:00 截止")).to_be_visible()

    async def ready(self) -> None:
        """Waits until the service worker serves this page."""
        await self.page.evaluate("() => navigator.serviceWorker.ready")
        await self.page.reload()
        await self.page.wait_for_function("() => navigator.serviceWorker.controller")

    def viewers(self, task: str = SATURDAY) -> Locator:
        return self.page.locator(f'[name="{task}:viewers"]')

    async def type(self, text: str, task: str = SATURDAY) -> None:
        await self.page.locator(f'[name="{task}:viewers"]').fill(text)
        await self.page.wait_for_timeout(300)

    async def tap(self) -> None:
        await self.page.locator("[data-send]").first.click()

    async def received(self, count: int) -> None:
        await expect(self.page.locator("#received")).to_contain_text(f"已收到 {count} 份")

    async def versions(self, task: str = SATURDAY) -> list[int]:
        report = (await self.office.get(f"units/111/reports/{task}")).json()
        return [version["values"]["viewers"] for version in report["versions"]]


@asynccontextmanager
async def serving(service: ReportingService) -> AsyncIterator[str]:
    port = free_port()
    server = uvicorn.Server(uvicorn.Config(service.app, port=port, lifespan="off", log_level="warning"))
    task = asyncio.create_task(server.serve())
    await eventually(lambda: server.started, what="uvicorn serves")
    try:
        yield f"http://localhost:{port}"
    finally:
        server.should_exit = True
        await task


@pytest.fixture(scope="module")
async def browser() -> AsyncIterator[Browser]:
    async with async_playwright() as playwright:
        started = await playwright.chromium.launch(executable_path=CHROMIUM, args=["--no-sandbox"])
        yield started
        await started.close()


@pytest.fixture
async def phone(database: DatabaseFactory, tmp_path: Path, browser: Browser) -> AsyncIterator[Phone]:
    service = ReportingService(await database("reporting"), folder=tmp_path, now=BEFORE)
    await service.deliver(*definition_events(DAILY))
    service.clock_is(at("07-01 09:00"))
    await service.do_due_work()
    async with serving(service) as url:
        context = await browser.new_context(viewport=PHONE, has_touch=True, is_mobile=True)
        context.set_default_timeout(15_000)
        one = Phone(service, url, await context.new_page())
        yield one
        await context.close()
    await service.close()


async def test_from_the_slip_to_the_receipt(phone: Phone) -> None:
    await phone.bind()
    assert "#" not in phone.page.url
    for name in ("viewers", "posts", "sites.0.posters"):
        assert await phone.page.locator(f'[name="{SATURDAY}:{name}"]').get_attribute("inputmode") == "numeric"
    await phone.type("１２")
    await phone.type("30", SUNDAY)
    await phone.tap()
    await phone.received(2)
    await phone.page.screenshot(path=PICTURES / "phone-received.png", full_page=True)
    assert (await phone.versions(), await phone.versions(SUNDAY)) == ([12], [30])
    assert {url.split("/")[2] for url in phone.asked if not url.startswith("blob:")} == {phone.url.split("/")[2]}
    assert all("code" not in url and "#" not in url for url in phone.asked)
    assert await phone.page.evaluate("() => Object.keys(localStorage)") == []


async def test_a_draft_survives_a_reload_and_says_that_it_is_not_sent(phone: Phone) -> None:
    await phone.bind()
    await phone.type("41")
    await phone.page.get_by_role("button", name="再加一行").first.click()
    await phone.page.locator(f'[name="{SATURDAY}:sites.1.posters"]').fill("7")
    await phone.page.wait_for_timeout(300)
    again = await phone.context.new_page()
    await phone.page.close()
    await again.goto(f"{phone.url}/r")
    assert await again.locator(f'[name="{SATURDAY}:viewers"]').input_value() == "41"
    assert await again.locator(f'[name="{SATURDAY}:sites.1.posters"]').input_value() == "7"
    await expect(again.locator("[data-draft]").first).to_contain_text("还没有发出")
    await expect(again.locator("[data-draft]").nth(1)).to_be_hidden()


async def test_without_a_line_the_page_opens_keeps_what_is_typed_and_sends_it_when_the_line_is_back(
    phone: Phone,
) -> None:
    await phone.bind()
    await phone.ready()
    await phone.context.set_offline(True)
    await phone.page.reload()
    await expect(phone.page.locator("#line")).to_contain_text("没有网络")
    await phone.type("8")
    await phone.tap()
    await expect(phone.page.locator("#line")).to_contain_text("还没有发出")
    await phone.page.screenshot(path=PICTURES / "phone-offline.png", full_page=True)
    await phone.page.reload()  # the app was closed meanwhile
    await expect(phone.page.locator("[data-draft]").first).to_contain_text("还没有发出")
    await phone.context.set_offline(False)
    await phone.received(1)
    assert await phone.versions() == [8]


async def test_two_taps_on_a_slow_line_send_one_report(phone: Phone) -> None:
    await phone.bind()
    posts: list[str] = []

    async def slowly(route: Route) -> None:
        posts.append(route.request.url)
        await asyncio.sleep(1)
        await route.continue_()

    await phone.page.route("**/r/reports", slowly)
    await phone.type("5")
    await phone.page.locator("[data-send]").first.dblclick()
    await phone.received(1)
    assert (len(posts), await phone.versions()) == (1, [5])


async def test_a_lost_answer_is_asked_for_again_and_what_was_changed_since_is_no_silent_loss(phone: Phone) -> None:
    await phone.bind()

    async def lose_the_answer(route: Route) -> None:
        await route.fetch()
        await route.abort()

    await phone.page.route("**/r/reports", lose_the_answer)
    await phone.type("5")
    await phone.tap()
    await expect(phone.page.locator("#line")).to_contain_text("还没有发出")
    assert await phone.versions() == [5]
    await phone.page.unroute("**/r/reports")
    await phone.type("6")
    await phone.tap()
    await expect(phone.page.locator("#faults")).to_contain_text("已经报了第 1 版：个人观看 5")
    await phone.tap()
    await phone.received(1)
    assert await phone.versions() == [5, 6]


async def test_a_picture_that_fails_is_sent_again_alone_and_costs_no_report(phone: Phone) -> None:
    await phone.bind()
    sizes: list[int] = []

    async def take_none(route: Route) -> None:
        sizes.append(len(route.request.post_data_buffer or b""))
        await route.abort()

    await phone.page.route("**/r/pictures", take_none)
    await phone.type("5")
    await phone.page.locator("input[type=file]").first.set_input_files(
        {"name": "a.png", "mimeType": "image/png", "buffer": picture()}
    )
    box = phone.page.locator("[data-pictures]").first
    await expect(box).to_contain_text("没有传上")
    await phone.page.screenshot(path=PICTURES / "phone-picture-failed.png", full_page=True)
    await phone.tap()
    await phone.received(1)
    assert await phone.versions() == [5]
    await phone.page.unroute("**/r/pictures")
    await phone.page.get_by_role("button", name="补照片").click()
    box = phone.page.locator(f'[data-pictures="{SATURDAY}:photos"]')
    await box.get_by_role("button", name="再传一次").click()
    await expect(box.get_by_role("checkbox")).to_be_checked()
    await phone.tap()
    await phone.received(1)
    report = (await phone.office.get(f"units/111/reports/{SATURDAY}")).json()
    [picture_id] = report["versions"][-1]["values"]["photos"]
    image = await phone.context.request.get(f"{phone.url}/r/pictures/{picture_id}?unit={CAMPAIGN}/111")
    assert Image.open(io.BytesIO(await image.body())).size == (1600, 800)
    assert max(sizes) < len(picture()) / 2


def picture() -> bytes:
    noise = Image.effect_noise((3200, 1600), 60)
    file = io.BytesIO()
    noise.save(file, "PNG")
    return file.getvalue()


async def test_faults_are_listed_first_and_led_to_by_keyboard_alone(phone: Phone) -> None:
    await phone.bind()
    await phone.type("5000")
    await phone.viewers().focus()
    await phone.page.keyboard.press("Enter")
    focused = "() => document.activeElement.name || document.activeElement.id"
    assert await phone.page.evaluate(focused) == f"{SATURDAY}:posts"
    await phone.page.locator("[data-send]").first.focus()
    await phone.page.keyboard.press("Enter")
    await expect(phone.page.locator("#faults")).to_be_focused()
    await phone.page.keyboard.press("Tab")
    await phone.page.keyboard.press("Enter")
    await phone.page.wait_for_timeout(200)
    hash_of_fault = await phone.page.evaluate("() => location.hash")
    assert hash_of_fault == "#f-daily-2024-06-29-viewers"
    assert await phone.viewers().get_attribute("aria-invalid") == "true"
    await phone.page.screenshot(path=PICTURES / "phone-faults.png", full_page=True)
    await phone.type("50")
    await phone.tap()
    await phone.received(1)


async def test_a_phone_that_is_revoked_keeps_nothing(phone: Phone) -> None:
    await phone.page.goto(f"{phone.url}/r/receipts/none")
    await phone.page.evaluate("() => caches.open('fanzha-r-old')")  # of a release before
    await phone.bind()
    await phone.ready()
    names = await phone.page.evaluate("() => caches.keys()")
    assert [re.sub("[0-9a-f]{16}", "RELEASE", name) for name in names] == ["fanzha-r-RELEASE"]
    kept = "async () => (await Promise.all((await caches.keys()).map(async n => (await (await caches.open(n)).keys())"
    kept += ".map(r => new URL(r.url).pathname)))).flat()"
    assert set(await phone.page.evaluate(kept)) == {"/r"}
    revoked = await phone.service.post(f"/v1/campaigns/{CAMPAIGN}/units/111/liaison/revoke", {"reason": "手机丢失"})
    assert revoked.status_code == 200, revoked.text
    await phone.page.goto(f"{phone.url}/r")
    await expect(phone.page.locator("#code")).to_be_visible()
    assert await phone.page.evaluate(kept) == []


async def test_large_type_fits_a_narrow_phone(phone: Phone) -> None:
    async with async_playwright() as playwright:
        large = await playwright.chromium.launch(
            executable_path=CHROMIUM, args=["--no-sandbox", "--blink-settings=defaultFontSize=30"]
        )
        context = await large.new_context(viewport=PHONE)
        other = Phone(phone.service, phone.url, await context.new_page())
        await other.bind()
        assert await other.page.evaluate("() => document.documentElement.scrollWidth") <= 375
        await other.page.screenshot(path=PICTURES / "phone-large.png", full_page=True)
        await large.close()


async def test_nothing_in_the_script_is_newer_than_the_browser_inside_wechat() -> None:
    """ES2018: what came later is refused by name, since a browser that cannot read one word runs nothing of the script."""
    newer = re.compile(
        r"\?\.|\?\?|\.(flat|flatMap|at|replaceAll|fromEntries|allSettled|matchAll|randomUUID|requestSubmit)\("
    )
    templates = REPOSITORY / "services" / "reporting" / "liaison_page" / "templates"
    for name in ("page.js", "worker.js"):
        assert newer.findall((templates / name).read_text()) == []
