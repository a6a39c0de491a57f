"""A liaison's phone on the page `/r`: bound by the code of a slip, and its forms as a browser sends them."""

import re
from html import unescape
from html.parser import HTMLParser
from typing import Any

import httpx

from tests.support.liaisons import bind, slips
from tests.support.obligations import CAMPAIGN
from tests.support.reporting_service import ReportingService
from tests.support.service import OFFICE

Pairs = list[tuple[str, str]]


class FormsOfPage(HTMLParser):
    """The forms of a page: what each would send, by action, as it stands."""

    def __init__(self, html: str) -> None:
        super().__init__()
        self.forms: list[tuple[str, Pairs]] = []
        self._text: list[str] | None = None
        self._select = ""
        self.feed(html)

    def handle_starttag(self, tag: str, attributes: list[tuple[str, str | None]]) -> None:
        given = dict(attributes)
        name, value = given.get("name") or "", given.get("value") or ""
        if tag == "form":
            self.forms.append((given.get("action") or "", []))
        elif tag == "input" and name and given.get("type") != "file":
            if given.get("type") not in ("checkbox", "radio") or "checked" in given:
                self.forms[-1][1].append((name, value))
        elif tag == "textarea":
            self.forms[-1][1].append((name, ""))
            self._text = []
        elif tag == "select":
            self._select = name
        elif tag == "option" and "selected" in given:
            self.forms[-1][1].append((self._select, value))

    def handle_data(self, data: str) -> None:
        if self._text is not None:
            self._text.append(data)

    def handle_endtag(self, tag: str) -> None:
        if tag == "textarea" and self._text is not None:
            self.forms[-1][1][-1] = (self.forms[-1][1][-1][0], "".join(self._text))
            self._text = None


class Phone:
    """`page` is the last answer."""

    def __init__(self, service: ReportingService) -> None:
        self.browser = service.browser()
        self.page: httpx.Response

    async def open(self, path: str = "/r", **query: str) -> str:
        self.page = await self.browser.get(path, params=query or None)
        return self.page.text

    async def fill(self, *, form: int = 0, without: tuple[str, ...] = (), **more: Any) -> httpx.Response:
        """Sends a form of the last page to where it goes, with these changes: `typed` by the name of the input."""
        action, pairs = FormsOfPage(self.page.text).forms[form]
        typed: dict[str, str] = more.pop("typed", {})
        kept = [pair for pair in pairs if pair[0] not in typed and pair[0] not in without]
        data: dict[str, Any] = {}
        for name, value in [*kept, *typed.items()]:
            data.setdefault(name, []).append(value)
        self.page = await self.browser.post(
            more.pop("action", action), data=data, headers={"origin": OFFICE} | more.pop("headers", {}), **more
        )
        return self.page

    @property
    def numbers(self) -> list[str]:
        """The receipts on the page."""
        return list(dict.fromkeys(re.findall(r'href="/r/receipts/([^"]+)"', self.page.text)))

    @property
    def words(self) -> str:
        """The page without its tags, style and script."""
        text = re.sub(r"<(style|script)>.*?</\1>", "", self.page.text, flags=re.DOTALL)
        return re.sub(r"\s+", " ", unescape(re.sub(r"<[^>]+>", " ", text)))


async def bound_phone(service: ReportingService, *units: str, campaign: str = CAMPAIGN) -> Phone:
    phone = Phone(service)
    for code in (await slips(service, campaign, *units)).values():
        answer = await bind(phone.browser, code)
        assert answer.status_code == 200, answer.text
    return phone
