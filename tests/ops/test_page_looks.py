"""Every page that a person meets, in Chromium at 375 and 1440 px, light and dark: axe-core finds nothing serious, nothing is
wider than the screen, loaded from elsewhere, or kept back by the page's own headers. The pictures are build/pages/*.png.
"""

import json
import shutil
import subprocess
from datetime import datetime
from pathlib import Path
from typing import Any

import httpx
import pytest

from deploy.proxy import said
from devstack.home import REPOSITORY
from tests.support.campaigns import campaign_content
from tests.support.certificate import CLAIM_FROM, CertificateService, certificate_rules, checked_in, defined, enrolled
from tests.support.checkin import CAMPAIGN, CheckinUnderTest, checkin, enrolment, running_checkin
from tests.support.databases import DatabaseFactory

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
    assert look(tmp_path, answers) == []


def test_what_is_not_readable_is_found(tmp_path: Path) -> None:
    """Seen red once and for ever: a page with everything that the other test looks for."""
    bad = '<p style="color:#ccc;background:#fff">low contrast</p><input><img src="/x.png"><pre style="width:3000px">wide</pre>'
    headers = {"content-type": "text/html", "content-security-policy": "img-src 'none'"}
    found = "\n".join(look(tmp_path, {"bad": {"status": 200, "headers": headers, "body": bad}}))
    for fault in ("color-contrast", "label", "px wide", "Content Security Policy", "document-title", "html-has-lang"):
        assert fault in found


@pytest.fixture
async def answers(database: DatabaseFactory, tmp_path: Path) -> Answers:
    """The answers of the services themselves, by name."""
    start = datetime.fromisoformat("2024-06-29T12:00:00+08:00")
    claim_page: dict[str, Any] = {"claim_page_url": "https://page.test/claim"}
    async with running_checkin(await database("checkin"), tmp_path, start, **claim_page) as service:
        found = await of_checkin(service)
    (tmp_path / "certificate").mkdir()
    certificates = CertificateService((await database("certificate")).url, tmp_path / "certificate")
    found |= await of_certificate(certificates)
    await certificates.close()
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
        ("me-done", "2024-06-30T20:40:00+08:00", [checkin("done", at) for at in live]),
        ("me-missed", "2024-07-10T20:40:00+08:00", [checkin("missed", live[0], "late"), checkin("missed", noon, "noon")]),
    ):  # fmt: skip
        service.clock_is(datetime.fromisoformat(now))
        await service.post(*events)
        found[name] = await answer(service.client, await link_of(service, events[0]["viewer_id"]))
    found["me-unknown-link"] = await answer(service.client, "/me/no-link", 404)
    found["me-nothing-yet"] = await answer(service.client, await link_of(service, "nobody"), 404)
    found["checkin-404"] = await answer(service.client, "/no/such/page", 404)
    return found


async def link_of(service: CheckinUnderTest, viewer: str) -> str:
    url = (await service.client.post(f"/v1/campaigns/{CAMPAIGN}/viewers/{viewer}/link")).json()["url"]
    return httpx.URL(url).path


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
    asked = client.get(path, headers=BROWSER) if form is None else client.post(path, data=form, headers=BROWSER)
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
