"""Pages that a service renders itself (DESIGN §5): no script, nothing from elsewhere, one stylesheet that stands in the page.

A service has `PAGES = Pages(folder, "page.css")` in its `pages.py` and answers with `PAGES.answer(PAGES.html("claim.html", …))`.
Every template gets `style` for its `<style>{{ style }}</style>`; all other values are escaped. A line that holds only a tag such
as `{% if … %}` leaves no empty line; a value that nobody gave is an error.
"""

import base64
import hashlib
from collections.abc import Mapping
from functools import cached_property
from pathlib import Path
from typing import Any

from jinja2 import Environment, FileSystemLoader, StrictUndefined
from markupsafe import Markup
from starlette.responses import HTMLResponse


class Pages:
    """The pages of one folder of templates. Nothing is read before the first of them is asked for."""

    def __init__(self, templates: Path, stylesheet: str) -> None:
        """`stylesheet`: the stylesheet's file name in the folder."""
        self._templates = templates
        self._stylesheet = stylesheet

    def html(self, template: str, **values: Any) -> str:
        # The stylesheet is ours and must stand byte for byte, or its hash is not the one in the headers.
        return self._environment.get_template(template).render(style=Markup(self._style), **values)  # noqa: S704

    def headers(self, *, form: bool = False) -> dict[str, str]:
        """Headers of a page: only the stylesheet may load, no cache keeps the page, no search engine lists it, no other site
        frames it or learns its address. `form`: the page has a form, which the browser may send only to us."""
        return {
            "content-security-policy": (
                f"default-src 'none'; style-src 'sha256-{self._digest}'; base-uri 'none'; "
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
        return (self._templates / self._stylesheet).read_text(encoding="utf-8")

    @cached_property
    def _digest(self) -> str:
        return base64.b64encode(hashlib.sha256(self._style.encode()).digest()).decode()

    @cached_property
    def _environment(self) -> Environment:
        return Environment(
            loader=FileSystemLoader(self._templates),
            autoescape=True,
            undefined=StrictUndefined,
            trim_blocks=True,
            lstrip_blocks=True,
        )
