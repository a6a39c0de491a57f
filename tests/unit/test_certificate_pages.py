"""The public verification page: what it says, what it never shows, what a browser may do with it."""

import base64
import hashlib
import re
from datetime import UTC, date, datetime
from html.parser import HTMLParser
from zoneinfo import ZoneInfo

import pytest

from services.certificate.domain import CertificateContent
from services.certificate.pages import (
    PAGES,
    ClaimPage,
    Status,
    VerificationPage,
    claim_html,
    verification_html,
    verify_html,
)

CONTENT = CertificateContent(
    serial="7K3M-9QXV-2HD4",
    campaign_id="jinshan-2024",
    campaign_title="晋善警美 全民反诈",
    issuer="示例市反诈中心",
    viewer_id="ks_8812",
    name="欧阳示例",
    credited_lessons=(date(2024, 6, 29),),
    issued_at=datetime(2024, 7, 14, 12, 0, tzinfo=UTC),
)
ZONE = ZoneInfo("Asia/Shanghai")
VALID = VerificationPage.of(CONTENT, ZONE, revoked=False, specimen=False)
REVOKED = VerificationPage.of(CONTENT, ZONE, revoked=True, specimen=False)
UNKNOWN = VerificationPage(Status.UNKNOWN, specimen=False)


class Visible(HTMLParser):
    """Parses a page into the text that a person sees, and every tag with its attributes."""

    def __init__(self, html: str) -> None:
        super().__init__()
        self.text = ""
        self.tags: list[tuple[str, dict[str, str | None]]] = []
        self.feed(html)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append((tag, dict(attrs)))

    def handle_data(self, data: str) -> None:
        if self.tags[-1:] and self.tags[-1][0] != "style":
            self.text += data


@pytest.mark.parametrize(("page", "verdict"), [(VALID, "证书有效"), (REVOKED, "证书已撤销"), (UNKNOWN, "查无此证")])
def test_says_one_verdict(page: VerificationPage, verdict: str) -> None:
    text = Visible(verification_html(page)).text
    assert [said for said in ("证书有效", "证书已撤销", "查无此证") if said in text] == [verdict]


@pytest.mark.parametrize("page", [VALID, REVOKED])
def test_shows_masked_holder_and_what_the_certificate_says_and_nobody(page: VerificationPage) -> None:
    html = verification_html(page)
    assert "欧阳**" in html
    for shown in ("晋善警美 全民反诈", "7K3M-9QXV-2HD4", "2024年7月14日", "示例市反诈中心", "1 天"):
        assert shown in html
    for hidden in (CONTENT.name, CONTENT.viewer_id, CONTENT.campaign_id, "2024-"):
        assert str(hidden) not in html


def test_shows_an_account_masked() -> None:
    content = CertificateContent("s", "c", "题", "i", "ks_8812", None, (), CONTENT.issued_at)
    assert "k****2" in verification_html(VerificationPage.of(content, ZONE, revoked=False, specimen=False))


def test_an_unknown_code_shows_no_fields() -> None:
    assert "dl" not in {tag for tag, _ in Visible(verification_html(UNKNOWN)).tags}


@pytest.mark.parametrize("page", [VALID, REVOKED, UNKNOWN])
def test_a_specimen_page_says_so(page: VerificationPage) -> None:
    specimen = VerificationPage(page.status, True, page.holder, page.campaign_title)
    assert "演示样证" in verification_html(specimen)
    assert "演示" not in verification_html(page)


def test_data_is_escaped() -> None:
    evil = "<script>alert(1)</script>\"'{{ 7*7 }}"
    parsed = Visible(verification_html(VerificationPage(VALID.status, False, evil, evil)))
    assert parsed.text.count(evil) == 2
    assert "script" not in {tag for tag, _ in parsed.tags}


def test_asks_for_nothing_and_loads_nothing() -> None:
    for tag, attributes in Visible(verification_html(VALID)).tags:
        assert tag not in {"form", "input", "script", "img", "iframe"}
        assert not {name for name in attributes if name in {"src", "style"} or name.startswith("on")}
        assert attributes.get("href") in (None, "tel:96110", "/favicon.ico")


def test_what_a_chat_reads_is_masked_and_leads_back() -> None:
    address = "https://fanzha.example/v/7K3M"
    page = VerificationPage.of(CONTENT, ZONE, revoked=False, specimen=False, address=address)
    tags = [attributes for tag, attributes in Visible(verification_html(page)).tags if tag == "meta"]
    graph = {tag["property"]: tag["content"] for tag in tags if "property" in tag}
    assert graph == {
        "og:type": "website",
        "og:title": "结课证书 · 晋善警美 全民反诈",
        "og:description": "欧阳**，累计签到 1 天，示例市反诈中心颁发",
        "og:image": f"{address}/preview.png",
        "og:image:width": "1200",
        "og:image:height": "630",
        "og:url": address,
    }
    revoked = verification_html(VerificationPage.of(CONTENT, ZONE, revoked=True, specimen=False, address=address))
    assert ('content="证书已撤销"' in revoked, "og:image" in revoked) == (True, False)
    assert "og:" not in verification_html(VALID), "a page without an address of its own"


def test_the_policy_allows_exactly_the_inline_stylesheet() -> None:
    (style,) = re.findall(r"<style>(.*?)</style>", verification_html(VALID), re.DOTALL)
    digest = base64.b64encode(hashlib.sha256(style.encode()).digest()).decode()
    policy = PAGES.headers()["content-security-policy"]
    assert f"style-src 'sha256-{digest}'" in policy
    assert "default-src 'none'" in policy
    assert "unsafe" not in policy


def test_mentions_96110_and_is_made_for_phones() -> None:
    html = verification_html(VALID)
    assert "96110" in html
    assert 'name="viewport"' in html


def test_the_claim_page_asks_for_two_things_and_loads_nothing() -> None:
    parsed = Visible(claim_html(ClaimPage(specimen=False)))
    assert [attributes["name"] for tag, attributes in parsed.tags if tag == "input"] == ["claim_code", "phone_tail"]
    for tag, attributes in parsed.tags:
        assert tag not in {"script", "img", "iframe"}
        assert not {name for name in attributes if name in {"src", "style"} or name.startswith("on")}
        assert attributes.get("href") in (None, "tel:96110", "/favicon.ico")
    assert "领取不收费" in parsed.text
    assert "96110" in parsed.text


def test_who_has_claimed_sees_name_and_certificate_and_what_to_do_with_it() -> None:
    parsed = Visible(claim_html(ClaimPage.of(CONTENT, "files/t", "7K3M9QXV", specimen=False)))
    assert "姓名欧阳示例证书编号7K3M-9QXV-2HD4" in "".join(parsed.text.split())
    (picture,) = [attributes for tag, attributes in parsed.tags if tag == "img"]
    assert (picture["src"], picture["alt"]) == (
        "files/t/certificate.png",
        "欧阳示例的证书，编号 7K3M-9QXV-2HD4",
    )
    links = {attributes["href"]: attributes.get("download") for tag, attributes in parsed.tags if tag == "a"}
    assert links == {
        "files/t/certificate.png": "7K3M-9QXV-2HD4.png",
        "files/t/certificate.pdf": None,
        "files/t/certificate.json": None,
        "v/7K3M9QXV": None,
        "v/": None,
        "tel:96110": None,
    }


def test_what_was_typed_is_escaped_on_the_claim_page() -> None:
    evil = '"><script>alert(1)</script>'
    parsed = Visible(claim_html(ClaimPage(specimen=False, claim_code=evil, error=evil)))
    assert "script" not in {tag for tag, _ in parsed.tags}
    assert [attributes["value"] for tag, attributes in parsed.tags if attributes.get("name") == "claim_code"] == [evil]


def test_labels_belong_to_their_fields() -> None:
    tags = Visible(claim_html(ClaimPage(specimen=False))).tags
    ids = {attributes["id"] for tag, attributes in tags if tag == "input"}
    assert {attributes["for"] for tag, attributes in tags if tag == "label"} == ids


@pytest.mark.parametrize(
    ("days", "says"),
    [((), "报名 180 天后"), ((90,), "报名 90 天后"), ((90, 180, 90), "报名 90 至 180 天（各活动不同）后")],
)
def test_pages_say_what_is_kept_how_long_and_how_it_is_deleted(days: tuple[int, ...], says: str) -> None:
    for html in (
        claim_html(ClaimPage(specimen=False), days),
        claim_html(ClaimPage(specimen=False, serial="7K3M-9QXV-2HD4"), days),
        verify_html(specimen=False, days=days),
        verification_html(VALID, days),
        verification_html(REVOKED, days),
    ):
        text = Visible(html).text
        assert says in text
        for heading in ("保存什么", "保存多久", "怎样删除"):
            assert heading in text
    assert "保存什么" not in Visible(verification_html(UNKNOWN)).text  # shows nobody
