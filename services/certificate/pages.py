"""The public pages (DESIGN §5.4): where a certificate is claimed, and what stands behind its QR.

The latter shows the verdict, a masked holder, the campaign, and nothing else. One request, no script, nothing from elsewhere: the
stylesheet is inline and allowed by its hash.
"""

import base64
import hashlib
from collections.abc import Mapping
from dataclasses import dataclass
from enum import StrEnum
from functools import cache
from pathlib import Path
from typing import Final

from jinja2 import Environment, FileSystemLoader, StrictUndefined
from markupsafe import Markup

from services.certificate.domain import CertificateContent, mask_holder

TEMPLATES: Final = Path(__file__).with_name("templates")


class Status(StrEnum):
    VALID = "valid"
    REVOKED = "revoked"
    UNKNOWN = "unknown"


@dataclass(frozen=True)
class VerificationPage:
    """What `GET /v/{code}` shows. `holder` is masked before it comes here; `specimen` says that nothing here is real."""

    status: Status
    specimen: bool
    holder: str = ""
    campaign_title: str = ""

    @classmethod
    def of(cls, content: CertificateContent, *, revoked: bool, specimen: bool) -> "VerificationPage":
        status = Status.REVOKED if revoked else Status.VALID
        return cls(status, specimen, holder=mask_holder(content), campaign_title=content.campaign_title)

    @classmethod
    def of_unknown_code(cls, *, specimen: bool) -> "VerificationPage":
        return cls(Status.UNKNOWN, specimen)


@dataclass(frozen=True)
class ClaimPage:
    """What `/claim` shows, the fixed address that a text names beside its code (FACTS, "Texting in China"): a form, with what was
    wrong if something was; or, with a `serial`, the claimed certificate's links."""

    specimen: bool
    claim_code: str = ""  # as typed, to be corrected
    error: str = ""
    serial: str = ""
    pdf_url: str = ""
    json_url: str = ""


def verification_html(page: VerificationPage) -> str:
    return _html("verification.html", page)


def claim_html(page: ClaimPage) -> str:
    return _html("claim.html", page)


def _html(template: str, page: VerificationPage | ClaimPage) -> str:
    stylesheet = Markup(_stylesheet())  # noqa: S704 - our own file, not data
    return _environment().get_template(template).render(page=page, stylesheet=stylesheet)


@cache
def page_headers(*, form: bool = False) -> Mapping[str, str]:
    """To be sent with a page: nothing may load or run but the one stylesheet, no cache keeps a verdict, no index a holder.
    `form`: it may be sent back to us."""
    digest = base64.b64encode(hashlib.sha256(_stylesheet().encode()).digest()).decode()
    policy = (
        f"default-src 'none'; style-src 'sha256-{digest}'; base-uri 'none'; "
        f"form-action '{'self' if form else 'none'}'; frame-ancestors 'none'"
    )
    return {
        "Content-Security-Policy": policy,
        "Cache-Control": "no-store",
        "Referrer-Policy": "no-referrer",
        "X-Content-Type-Options": "nosniff",
        "X-Robots-Tag": "noindex",
    }


@cache
def _stylesheet() -> str:
    return (TEMPLATES / "page.css").read_text("utf-8")


@cache
def _environment() -> Environment:
    return Environment(loader=FileSystemLoader(TEMPLATES), autoescape=True, undefined=StrictUndefined)
