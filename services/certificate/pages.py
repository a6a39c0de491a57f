"""The public pages (DESIGN §5.4): the page on which a certificate is claimed, and the page to which its QR leads.

The latter shows the verdict, a masked holder, the campaign, and nothing else.
"""

from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path

from services.certificate.domain import CertificateContent, mask_holder
from shared.pages import Pages

PAGES = Pages(Path(__file__).with_name("templates"))


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


def home_html(*, specimen: bool) -> str:
    """What the public address itself shows: which pages there are."""
    return PAGES.html("home.html", specimen=specimen)


def verification_html(page: VerificationPage) -> str:
    return PAGES.html("verification.html", page=page)


def claim_html(page: ClaimPage) -> str:
    return PAGES.html("claim.html", page=page)
