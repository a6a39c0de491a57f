"""Every page that a person meets, in Chromium at 375 and 1440 px, light and dark: axe-core finds nothing serious, nothing is
wider than the screen, loaded from elsewhere, or kept back by the page's own headers. The pictures are build/pages/*.png.
"""

import json
import re
import shutil
import subprocess
from datetime import datetime
from pathlib import Path
from typing import Any

import httpx
import pytest

from deploy.proxy import said
from devstack.home import REPOSITORY
from shared.contracts.certificate import CertificateClaimedV1
from shared.ids import new_event_id
from shared.service.sessions import COOKIE
from shared.service.tokens import ALL_CAMPAIGNS, Role
from tests.integration.test_liaison_page import DAILY, SATURDAY, SUNDAY
from tests.support import obligations
from tests.support.campaigns import campaign_content
from tests.support.certificate import CLAIM_FROM, CertificateService, certificate_rules, checked_in, defined, enrolled
from tests.support.checkin import CAMPAIGN, CheckinUnderTest, checkin, enrolment, running_checkin
from tests.support.databases import DatabaseFactory, FreshDatabase
from tests.support.forms import form
from tests.support.liaison_phone import Phone, bound_phone
from tests.support.obligations import BEFORE, Reporter, at, definition_events
from tests.support.obligations import CAMPAIGN as OWED_CAMPAIGN
from tests.support.office import ORIGIN, person_at
from tests.support.reporting_service import ReportingService
from tests.support.service import ServiceUnderTest, session_cookie

PARTS = Path(__file__).parent / "page_looks"  # package.json, its lock, look.mjs
BUILD = REPOSITORY / "build" / "pages"
INSTALL_WITHIN_S, LOOK_WITHIN_S = 240, 480
BROWSER = {"accept": "text/html"}
Answers = dict[str, dict[str, Any]]

missing = [tool for tool in ("npm", "node", "chromium") if shutil.which(tool) is None]
pytestmark = [
    pytest.mark.long,
    pytest.mark.skipif(bool(missing), reason=f"not installed: {', '.join(missing)}"),
]


def test_every_page_is_readable_for_everybody(tmp_path: Path, answers: Answers) -> None:
    """Also by keyboard alone, and without a script: only the liaison's page has one."""
    with_script = [name for name, page in answers.items() if "<script" in page["body"]]
    assert all(name.startswith("r-") for name in with_script), with_script
    assert look(tmp_path, answers) == []


def test_what_is_not_readable_is_found(tmp_path: Path) -> None:
    """Seen red once and for ever: a page with everything that the other test looks for."""
    bad = (
        '<p style="color:#ccc;background:#fff">low contrast</p><input><img src="/x.png"><pre style="width:3000px">wide</pre>'
        '<a href="/" style="outline:none">unseen</a><a href="/" tabindex="-1">unreached</a>'
    )
    headers = {"content-type": "text/html", "content-security-policy": "img-src 'none'"}
    found = "\n".join(look(tmp_path, {"bad": {"status": 200, "headers": headers, "body": bad}}))
    for fault in (
        "color-contrast", "label", "px wide", "Content Security Policy", "document-title", "html-has-lang",
        "focus is not seen", "not reached by keyboard",
    ):  # fmt: skip
        assert fault in found


@pytest.fixture
async def answers(database: DatabaseFactory, tmp_path: Path) -> Answers:
    """The answers of the services themselves, by name."""
    start = datetime.fromisoformat("2024-06-29T12:00:00+08:00")
    claim_page: dict[str, Any] = {"claim_page_url": "https://page.test/claim"}
    async with running_checkin(await database("checkin"), tmp_path, start, **claim_page) as service:
        found = await of_checkin(service)
        found |= await of_campaigns(service)
    (tmp_path / "certificate").mkdir()
    certificates = CertificateService((await database("certificate")).url, tmp_path / "certificate")
    found |= await of_certificate(certificates)
    found |= await of_certificates(certificates)
    await certificates.close()
    (tmp_path / "reporting").mkdir()
    reporting = ReportingService(await database("reporting"), folder=tmp_path / "reporting", now=obligations.BEFORE)
    found |= await of_reporting(reporting)
    await reporting.close()
    found |= await of_liaison_page(await database("reporting"), tmp_path)
    html = {"content-type": "text/html; charset=utf-8"}
    proxies = {name: {"status": 200, "headers": html, "body": text} for name, text in said.render().items()}
    found |= {f"proxy-{name.removesuffix('.html')}": page for name, page in proxies.items() if name.endswith(".html")}
    office = (REPOSITORY / "deploy" / "proxy" / "office.html").read_text().replace('<!--# echo var="host" -->', "x.cn")
    return found | {"office": {"status": 200, "headers": html, "body": office}}


async def of_checkin(service: CheckinUnderTest) -> Answers:
    """A viewer's own page in each of its states, and what stands in its place."""
    help_texts = [{"title": "怎样签到", "text": "签到按钮 → 反诈学习签到的立即签到 → 课程签到"}]
    await service.define(campaign_content(help=help_texts))
    noon = "2024-06-29T12:00:00+08:00"
    live = ["2024-06-29T19:31:05+08:00", "2024-06-30T19:45:00+08:00"]
    replay = "2024-06-29T20:31:05+08:00"
    found: Answers = {}
    for name, now, events in (
        ("me-open", "2024-06-29T19:40:00+08:00", [enrolment("open", unit_code="111-EDU", group="student")]),
        ("me-next", "2024-06-29T21:00:00+08:00", [checkin("next", live[0])]),
        ("me-waiting", "2024-06-30T20:30:00+08:00", [checkin("waiting", replay)]),
        ("me-done", "2024-06-30T20:40:00+08:00", [checkin("done", moment) for moment in live]),
        ("me-missed", "2024-07-10T20:40:00+08:00", [checkin("missed", live[0], "late"), checkin("missed", noon, "noon")]),
    ):  # fmt: skip
        service.clock_is(datetime.fromisoformat(now))
        await service.post(*events)
        found[name] = await answer(service.client, await link_of(service, events[0]["viewer_id"]))
    await service.deliver(claimed_by("done"))
    found["me-claimed"] = await answer(service.client, await link_of(service, "done"))
    found["me-unknown-link"] = await answer(service.client, "/me/no-link", 404)
    found["me-nothing-yet"] = await answer(service.client, await link_of(service, "nobody"), 404)
    found["checkin-404"] = await answer(service.client, "/no/such/page", 404)
    return found


async def link_of(service: CheckinUnderTest, viewer: str) -> str:
    url = (await service.client.post(f"/v1/campaigns/{CAMPAIGN}/viewers/{viewer}/link")).json()["url"]
    return httpx.URL(url).path


def claimed_by(viewer: str) -> CertificateClaimedV1:
    at = datetime.fromisoformat("2024-07-01T08:30:00+08:00")
    return CertificateClaimedV1(
        event_id=new_event_id(),
        occurred_at=at,
        campaign_id=CAMPAIGN,
        viewer_ids=[viewer],
        serials=["s"],
        claimed_at=[at],
    )


async def of_campaigns(service: CheckinUnderTest) -> Answers:
    """The office's pages: course, viewers, make-goods; for the whole campaign, for a county, for a reader."""
    browser, county, reader, of_all = (
        signed_in(service, *who)
        for who in (("office", CAMPAIGN), ("office", CAMPAIGN, "111"), ("auditor", CAMPAIGN), ("admin", ALL_CAMPAIGNS))
    )
    missed, viewers, make_goods = "/campaigns/viewers/missed", "/campaigns/viewers", "/campaigns/make-goods"
    wanted = {"lesson": "2024-06-30", "reason": "6 月 30 日直播平台故障", "accounts": "missed next open ghost 张三"}
    preview, grant = f"{make_goods}/preview", make_goods
    found = {
        "campaigns-choice": await answer(of_all, "/campaigns"),
        "campaigns-course": await answer(browser, "/campaigns"),
        "campaigns-course-county": await answer(county, "/campaigns"),
        "campaigns-find": await answer(browser, viewers),
        "campaigns-find-unknown": await answer(county, f"{viewers}/nobody", 404),
        "campaigns-viewer": await answer(browser, missed),
        "campaigns-link-reason": await answer(browser, f"{missed}/link", 422, form=await form_of(browser, missed)),
        "campaigns-link": await answer(
            browser, f"{missed}/link", form=await form_of(browser, missed) | {"reason": "观众来电，核对第 2 天"}
        ),
        "campaigns-make-goods": await answer(browser, make_goods),
        "campaigns-make-goods-error": await answer(browser, preview, 422, form=await form_of(browser, make_goods)),
        "campaigns-preview": await answer(browser, preview, form=await form_of(browser, make_goods) | wanted),
    }
    shown = fields_of(found["campaigns-preview"]["body"])
    found["campaigns-preview-outdated"] = await answer(browser, grant, 409, form=shown | {"accounts": "missed"})
    granted = await browser.post(grant, data=shown, headers={"origin": ORIGIN})
    return found | {
        "campaigns-granted": await answer(browser, granted.headers["location"]),
        "campaigns-granted-reader": await answer(reader, make_goods),
        "campaigns-viewer-made-good": await answer(browser, missed),
        "campaigns-not-allowed": await answer(county, make_goods, 403),
        "campaigns-form-expired": await answer(browser, grant, 403, form=shown | {"form_token": "0" * 64}),
    }


def signed_in(service: ServiceUnderTest, role: Role, campaign: str, unit: str | None = None) -> httpx.AsyncClient:
    browser = service.browser()
    cookie = session_cookie(role, campaign=campaign, unit=unit, subject="王芳")
    browser.cookies.set(COOKIE, cookie, domain="office.test")
    return browser


async def form_of(browser: httpx.AsyncClient, page: str) -> dict[str, str]:
    """The form token of a page."""
    return {"form_token": fields_of((await browser.get(page)).text)["form_token"]}


def fields_of(page: str) -> dict[str, str]:
    return dict(re.findall(r'<input type="hidden" name="([a-z_]+)" value="([^"]*)">', page))


async def of_reporting(service: ReportingService) -> Answers:
    """The pages to sign in on, and the desk."""
    campaign, saturday = obligations.CAMPAIGN, "2024-06-29"
    await service.deliver(*obligations.definition_events(form(filled_by={"levels": ["county"]})))
    service.clock_is(obligations.at("06-30 20:00"))
    await service.do_due_work()
    sent = await obligations.Reporter(service, "liaison", "111").send("111", saturday)
    assert sent.status_code == 200, sent.text
    visitor, person = service.browser(), await person_at(service, campaign, "王芳", unit="11")
    wrong = await form_of(visitor, "/sign-in") | {"name": "王芳", "passphrase": "x" * 12}
    poor = await form_of(visitor, "/invitation") | {"code": "2222", "passphrase": "x", "repeated": "y"}
    return {
        "sign-in": await answer(visitor, "/sign-in"),
        "sign-in-wrong": await answer(visitor, "/sign-in", 401, form=wrong),
        "invitation": await answer(visitor, "/invitation"),
        "invitation-wrong": await answer(visitor, "/invitation", 422, form=poor),
        "account": await answer(person, "/account"),
        "desk": await answer(person, "/desk"),
        "desk-rates": await answer(person, "/desk/rates"),
        "desk-obligations": await answer(person, "/desk/obligations"),
        "desk-findings": await answer(person, "/desk/findings"),
        "desk-chase": await answer(person, "/desk/chase"),
        "desk-unit": await answer(person, "/desk/units/111"),
        "desk-report": await answer(person, f"/desk/units/111/reports/daily/{saturday}"),
        "desk-fill": await answer(person, f"/desk/units/112/reports/daily/{saturday}/fill"),
    }


async def of_certificates(service: CertificateService) -> Answers:
    """The office's pages about certificates."""
    browser, find = signed_in(service, "office", CAMPAIGN), "/certificates"
    valid, revoked = await service.certificates()
    unknown = await form_of(browser, find) | {"typed": "nobody"}
    return {
        "certificates-find": await answer(browser, find),
        "certificates-find-unknown": await answer(browser, find, 404, form=unknown),
        "certificates-valid": await answer(browser, f"{find}/{valid.serial}"),
        "certificates-revoked": await answer(browser, f"{find}/{revoked.serial}"),
    }


async def of_liaison_page(fresh: FreshDatabase, folder: Path) -> Answers:
    """The liaison's page in each of its states (tests/ops/test_liaison_phone.py uses it)."""
    (folder / "liaison").mkdir()
    service = ReportingService(fresh, folder=folder / "liaison", now=BEFORE)
    await service.deliver(*definition_events(DAILY, form(id="plan", title="方案", every="once", by="2024-07-05")))
    service.clock_is(at("07-01 09:00"))
    await service.do_due_work()
    phone = await bound_phone(service, "111", "112")
    found = {"r-code": await answer(service.browser(), "/r")}
    unit = f"{OWED_CAMPAIGN}/111"
    await phone.open("/r", unit=unit)
    found["r-due"] = as_answer(phone)
    typed = {f"{SATURDAY}:viewers": "12", f"{SUNDAY}:viewers": "5000", f"{SUNDAY}:posts": "多"}
    await phone.fill(typed=typed)
    found["r-wrong"] = as_answer(phone)
    [number] = phone.numbers
    found["r-receipt"] = await answer(service.browser(), f"/r/receipts/{number}")
    found["r-no-receipt"] = await answer(service.browser(), "/r/receipts/x", 404)
    path = f"units/111/reports/{SATURDAY}/return"
    await Reporter(service).post(path, reason="请核对", due_at="2024-07-03T12:00:00+08:00")
    await phone.open("/r", unit=unit)
    found["r-returned"] = as_answer(phone)
    await phone.fill(typed={f"{SATURDAY}:viewers": "13"})
    await phone.open(f"/r/reports/{unit}/{SATURDAY}")
    found["r-report"] = as_answer(phone)
    await phone.open("/r/people", unit=unit)
    found["r-people"] = as_answer(phone)
    await service.close()
    return found


def as_answer(phone: Phone) -> dict[str, Any]:
    return {"status": phone.page.status_code, "headers": dict(phone.page.headers), "body": phone.page.text}


async def of_certificate(service: CertificateService) -> Answers:
    await service.deliver(*defined(certificate=certificate_rules()), enrolled(("a", "欧阳示例", "13800005678")))
    await service.deliver(checked_in("a", "b"))
    await service.sweep(CLAIM_FROM)
    codes = await service.claim_codes()
    valid, revoked = await service.certificates()
    found = {
        "home": await answer(service.client, "/"),
        "claim": await answer(service.client, "/claim"),
        "verify": await answer(service.client, "/v/"),
        "verify-good": await answer(service.client, f"/v/{valid.code}"),
        "verify-unknown": await answer(service.client, "/v/unknown", 404),
        "verify-empty": await answer(service.client, "/v/", 422, form={"serial": ""}),
        "verify-typed-unknown": await answer(service.client, "/v/", 404, form={"serial": "7K3M-9QXV-2HD4"}),
        "claim-wrong": await answer(service.client, "/claim", 404, form={"claim_code": "23456789"}),
        "claim-tail": await answer(service.client, "/claim", 403, form={"claim_code": codes["a"]}),
        "success": await answer(service.client, "/claim", form={"claim_code": codes["a"], "phone_tail": "5678"}),
        "files-404": await answer(service.client, "/files/x/certificate.pdf", 404),
        "certificate-404": await answer(service.client, "/no/such/page", 404),
    }
    await service.revoke("b")
    found["verify-revoked"] = await answer(service.client, f"/v/{revoked.code}")
    return found


async def answer(
    client: httpx.AsyncClient, path: str, status: int = 200, *, form: dict[str, str] | None = None
) -> dict[str, Any]:
    sent = BROWSER | {"origin": ORIGIN}
    asked = client.get(path, headers=BROWSER) if form is None else client.post(path, data=form, headers=sent)
    given = await asked
    assert (given.status_code, given.headers["content-type"]) == (status, "text/html; charset=utf-8"), path
    return {"status": status, "headers": dict(given.headers), "body": given.text}


def look(folder: Path, answers: Answers) -> list[str]:
    """What is wrong with the pages, each with page, width and colours."""
    node = BUILD / "node"
    node.mkdir(parents=True, exist_ok=True)
    lock = (PARTS / "package-lock.json").read_bytes()
    if not (node / "node_modules").exists() or (node / "package-lock.json").read_bytes() != lock:
        for name in ("package.json", "package-lock.json"):
            shutil.copy(PARTS / name, node)
        run(["npm", "ci", "--no-audit", "--no-fund", "--ignore-scripts"], node, INSTALL_WITHIN_S)
    shutil.copy(PARTS / "look.mjs", node)
    given = folder / "pages.json"
    given.write_text(json.dumps(answers))
    command = ["node", "look.mjs", str(given), str(BUILD), str(shutil.which("chromium"))]
    findings: list[str] = json.loads(run(command, node, LOOK_WITHIN_S))
    return findings


def run(command: list[str], folder: Path, within_s: float) -> str:
    done = subprocess.run(command, cwd=folder, capture_output=True, text=True, timeout=within_s)
    assert done.returncode == 0, f"{command[0]}: {(done.stdout + done.stderr)[-3000:]}"
    return done.stdout
