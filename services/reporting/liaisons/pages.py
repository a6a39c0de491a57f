"""The page with slips to print: eight to a sheet of A4, each with a unit's code and its QR."""

from dataclasses import dataclass
from pathlib import Path

import segno
from markupsafe import Markup

from shared.pages import Pages


class SlipPages(Pages):
    STYLESHEETS = ("slips.css",)


PAGES = SlipPages(Path(__file__).with_name("templates"))


@dataclass(frozen=True)
class Slip:
    unit_code: str
    name: str
    code: str
    url: str  # with the code after #

    @property
    def qr(self) -> Markup:
        """Drawn by us, so it stands in the page as it is."""
        drawn = segno.make_qr(self.url, error="m").svg_inline(border=2, omitsize=True)
        return Markup(drawn)  # noqa: S704


@dataclass(frozen=True)
class SlipsPage:
    campaign_title: str
    address: str  # for who types instead of scanning
    slips: list[Slip]


def slips_html(page: SlipsPage) -> str:
    return PAGES.html("slips.html", page=page)
