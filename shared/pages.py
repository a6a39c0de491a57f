"""Pages that a service renders itself (DESIGN §5): no script, nothing from elsewhere, one look for all.

A service has `PAGES = Pages(folder)` in its `pages.py` and answers with `PAGES.answer(PAGES.html("claim.html", …))`. Its
templates extend `base.html`, which stands in shared/templates with the one stylesheet, page.css. What is given is escaped. A line
that holds only a tag such as `{% if … %}` leaves nothing behind; a value that nobody gave is an error.
"""

import base64
import hashlib
from collections.abc import Mapping
from functools import cached_property
from pathlib import Path
from typing import Any

from jinja2 import Environment, FileSystemLoader, StrictUndefined
from markupsafe import Markup
from starlette.requests import Request
from starlette.responses import FileResponse, HTMLResponse

from shared.contracts.campaign import HOTLINE

SHARED_TEMPLATES = Path(__file__).with_name("templates")
FAVICON = SHARED_TEMPLATES / "favicon.png"


class Pages:
    """The pages of one folder of templates, and those that all share. Nothing is read before the first of them is asked for."""

    def __init__(self, templates: Path = SHARED_TEMPLATES) -> None:
        self._templates = templates

    def html(self, template: str, **values: Any) -> str:
        # The stylesheet is ours and must stand byte for byte, or its hash is not the one in the headers.
        style = Markup(self._style)  # noqa: S704
        return self._environment.get_template(template).render(style=style, hotline=HOTLINE, **values)

    def notice(self, title: str, text: str) -> str:
        """A page that says one thing, where there is nothing else to show."""
        return self.html("notice.html", title=title, text=text)

    def headers(self, *, form: bool = False) -> dict[str, str]:
        """Headers of a page: only the stylesheet and our own pictures may load, no cache keeps the page, no search engine lists
        it, no other site frames it or learns its address. `form`: the page has a form, which the browser may send only to us."""
        return {
            "content-security-policy": (
                f"default-src 'none'; style-src 'sha256-{self._digest}'; img-src 'self'; base-uri 'none'; "
                f"form-action '{'self' if form else 'none'}'; frame-ancestors 'none'"
            ),
            "cache-control": "no-store",
            "x-content-type-options": "nosniff",
            "referrer-policy": "no-referrer",
            "x-robots-tag": "noindex",
        }

    def answer(
        self, html: str, status: int = 200, *, form: bool = False, headers: Mapping[str, str] | None = None
    ) -> HTMLResponse:
        """`headers`: further ones, such as Retry-After."""
        return HTMLResponse(html, status, {**self.headers(form=form), **(headers or {})})

    @cached_property
    def _style(self) -> str:
        return (SHARED_TEMPLATES / "page.css").read_text(encoding="utf-8")

    @cached_property
    def _digest(self) -> str:
        return base64.b64encode(hashlib.sha256(self._style.encode()).digest()).decode()

    @cached_property
    def _environment(self) -> Environment:
        return Environment(
            loader=FileSystemLoader([self._templates, SHARED_TEMPLATES]),
            autoescape=True,
            undefined=StrictUndefined,
            trim_blocks=True,
            lstrip_blocks=True,
        )


async def favicon(_: Request) -> FileResponse:
    """The icon of all pages, where browsers look for it: `/favicon.ico`. A PNG, which they take by its media type."""
    return FileResponse(FAVICON, media_type="image/png", headers={"cache-control": "public, max-age=86400"})


def wants_page(request: Request) -> bool:
    """Whether a browser asks, which shows what it gets to a person. Programs that say nothing, or `*/*`, get JSON."""
    return "text/html" in request.headers.get("accept", "")
