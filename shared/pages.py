"""Pages that a service renders itself (DESIGN §5, §5.5): nothing from elsewhere, one look for all, and no script except on pages
that name one of ours.

A service has `PAGES = Pages(folder)` in its `pages.py` and answers with `PAGES.answer(PAGES.html("claim.html", …))`. Its
templates extend `base.html`, which stands in shared/templates with the one stylesheet, page.css. What is given is escaped. A line
that holds only a tag such as `{% if … %}` leaves nothing behind; a value that nobody gave is an error.
"""

import base64
import hashlib
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any, NamedTuple

from jinja2 import Environment, FileSystemLoader, StrictUndefined
from markupsafe import Markup
from starlette.requests import Request
from starlette.responses import FileResponse, HTMLResponse

from shared.contracts.campaign import HOTLINE

SHARED_TEMPLATES = Path(__file__).with_name("templates")
FAVICON = SHARED_TEMPLATES / "favicon.png"


class Pages:
    """The pages of one folder of templates, and those that all share. Nothing is read before the first of them is asked for."""

    STYLESHEETS: tuple[str, ...] = ("page.css",)
    SCRIPTS: tuple[str, ...] = ()  # stand inside the page, as `script`; such a page may also ask our server by script
    REFERRER = "no-referrer"

    def __init__(self, templates: Path = SHARED_TEMPLATES) -> None:
        self._templates = templates

    def html(self, template: str, **values: Any) -> str:
        # Style and script are ours and must stand byte for byte, or their hashes are not those in the headers.
        style, script = Markup(self._style), Markup(self._script)  # noqa: S704
        return self._environment.get_template(template).render(style=style, script=script, hotline=HOTLINE, **values)

    def notice(self, title: str, text: str) -> str:
        """A page that says one thing, where there is nothing else to show."""
        return self.html("notice.html", title=title, text=text)

    def headers(self, *, form: bool = False) -> dict[str, str]:
        """Headers of a page: only the stylesheet and our own pictures may load, no cache keeps the page, no search engine lists
        it, no other site frames it or learns its address. `form`: the page has a form, which the browser may send only to us."""
        scripts = f"; script-src '{self._script_digest}'; connect-src 'self'; worker-src 'self'" if self.SCRIPTS else ""
        return {
            "content-security-policy": (
                f"default-src 'none'; style-src '{self._digest}'; img-src 'self'{' blob:' * bool(scripts)}; "
                f"base-uri 'none'; form-action '{'self' if form else 'none'}'; frame-ancestors 'none'{scripts}"
            ),
            "cache-control": "no-store",
            "x-content-type-options": "nosniff",
            "referrer-policy": self.REFERRER,
            "x-robots-tag": "noindex",
        }

    def answer(
        self, html: str, status: int = 200, *, form: bool = False, headers: Mapping[str, str] | None = None
    ) -> HTMLResponse:
        """`headers`: further ones, such as Retry-After."""
        return HTMLResponse(html, status, {**self.headers(form=form), **(headers or {})})

    @cached_property
    def _style(self) -> str:
        return "".join(self._source(name) for name in self.STYLESHEETS)

    @cached_property
    def _script(self) -> str:
        return "".join(self._source(name) for name in self.SCRIPTS)

    @cached_property
    def _digest(self) -> str:
        return _digest(self._style)

    @cached_property
    def _script_digest(self) -> str:
        return _digest(self._script)

    def _source(self, name: str) -> str:
        """A file of the folder, or else of those that all share."""
        own = self._templates / name
        return (own if own.exists() else SHARED_TEMPLATES / name).read_text(encoding="utf-8")

    @cached_property
    def _environment(self) -> Environment:
        return Environment(
            loader=FileSystemLoader([self._templates, SHARED_TEMPLATES]),
            autoescape=True,
            undefined=StrictUndefined,
            trim_blocks=True,
            lstrip_blocks=True,
        )


def _digest(text: str) -> str:
    """How a content security policy names a style or script that stands inside the page."""
    return "sha256-" + base64.b64encode(hashlib.sha256(text.encode()).digest()).decode()


async def favicon(_: Request) -> FileResponse:
    """The icon of all pages, where browsers look for it: `/favicon.ico`. A PNG, which they take by its media type."""
    return FileResponse(FAVICON, media_type="image/png", headers={"cache-control": "public, max-age=86400"})


# ---- the office's pages ----------------------------------------------------------------------------------------------


class MenuItem(NamedTuple):
    path: str
    title: str
    roles: tuple[str, ...]  # who may open it


# Of all services, in the order shown. A page that does not exist yet is not listed; a test asks each service for its own.
MENU: tuple[MenuItem, ...] = (
    MenuItem("/desk", "工作台", ("admin", "office", "auditor")),
    MenuItem("/campaigns", "课程", ("admin", "office", "auditor")),
    MenuItem("/certificates", "证书", ("admin", "office", "auditor")),
    MenuItem("/account", "我的登录", ("admin", "office", "auditor")),
)


@dataclass(frozen=True)
class Frame:
    """What stands around a page of the office: who is signed in, where else one may go, and how to sign out."""

    who: str
    role: str
    role_name: str
    campaign: str
    unit: str | None
    path: str  # of this page
    form_token: str  # every form of the page sends it along

    @property
    def menu(self) -> list[MenuItem]:
        return [item for item in MENU if self.role in item.roles]

    def is_here(self, item: MenuItem) -> bool:
        return self.path == item.path or self.path.startswith(item.path + "/")


class OfficePages(Pages):
    """Pages behind a sign-in; their templates extend `office.html` and are given `frame`, or None where nobody is signed in.

    These pages allow the browser to send a referrer to our own server. Without that it would not send the Origin of a form.
    """

    STYLESHEETS: tuple[str, ...] = ("page.css", "office.css")
    REFERRER = "same-origin"


def wants_page(request: Request) -> bool:
    """Whether the answer should be a page, because a browser asks. Programs that send no `Accept`, or `*/*`, get JSON."""
    return "text/html" in request.headers.get("accept", "")
