"""The public pages (DESIGN §5.4): the page on which a certificate is claimed, and the page to which its QR leads.

The page behind the QR shows the verdict, a masked holder, what the certificate is about, and nothing else.
"""

from collections.abc import Collection
from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path
from zoneinfo import ZoneInfo

from services.certificate.domain import CertificateContent, mask_holder
from shared.contracts.campaign import RETAIN_DAYS
from shared.pages import OfficePages, Pages

PAGES = Pages(Path(__file__).with_name("templates"))
OFFICE_PAGES = OfficePages(Path(__file__).with_name("templates"))


class Status(StrEnum):
    VALID = "valid"
    REVOKED = "revoked"
    UNKNOWN = "unknown"
    ALTERED = "altered"  # a file whose content we have not signed


@dataclass(frozen=True)
class VerificationPage:
    """What `GET /v/{code}` and `POST /v/` show. `holder` is masked already. `specimen`: the page says that nothing here is real.
    `typed`: a form led here and no QR. `address`: the page's lasting address, empty where it has none."""

    status: Status
    specimen: bool
    holder: str = ""
    campaign_title: str = ""
    serial: str = ""
    issued_on: str = ""
    issuer: str = ""
    credited_days: int = 0
    typed: bool = False
    address: str = ""

    @classmethod
    def of(
        cls, content: CertificateContent, zone: ZoneInfo, *, revoked: bool, specimen: bool, address: str = ""
    ) -> "VerificationPage":
        """The page about a certificate that we issued. `zone`: the campaign's."""
        day = content.issued_at.astimezone(zone)
        return cls(
            Status.REVOKED if revoked else Status.VALID,
            specimen,
            holder=mask_holder(content),
            campaign_title=content.campaign_title,
            serial=content.serial,
            issued_on=f"{day.year}年{day.month}月{day.day}日",
            issuer=content.issuer,
            credited_days=len(content.credited_lessons),
            address=address,
        )


@dataclass(frozen=True)
class ClaimPage:
    """What `/claim` shows, whose fixed address stands in every text beside the code (FACTS, "Texting in China"). Without a
    `serial` it is the form, with an error if there was one; with a `serial` it is the claimed certificate with links to its
    files, which are relative to the page."""

    specimen: bool
    claim_code: str = ""  # as typed, to be corrected
    error: str = ""
    serial: str = ""
    holder_kind: str = ""
    holder: str = ""
    folder: str = ""  # of the holder's files
    lasting: str = ""  # the page that others may see

    @classmethod
    def of(cls, content: CertificateContent, folder: str, code: str, *, specimen: bool) -> "ClaimPage":
        """The page for somebody who has just claimed: it shows the whole name, as the certificate does."""
        return cls(
            specimen,
            serial=content.serial,
            holder_kind="姓名" if content.name else "平台账号",
            holder=content.name or content.viewer_id,
            folder=folder,
            lasting=f"v/{code}",
        )


def home_html(*, specimen: bool) -> str:
    """The page at the root of the public address, which lists the other pages."""
    return PAGES.html("home.html", specimen=specimen)


def retained(days: Collection[int]) -> str:
    """How long names and phones are kept after the enrolment, as a page says it. `days`: `retain_days` of the campaigns."""
    shortest, longest = min(days, default=RETAIN_DAYS), max(days, default=RETAIN_DAYS)
    return f"{longest} 天" if shortest == longest else f"{shortest} 至 {longest} 天（各活动不同）"


def verification_html(page: VerificationPage, days: Collection[int] = ()) -> str:
    """The page behind the QR. `days`: `retain_days` of the certificate's campaign."""
    return PAGES.html("verification.html", page=page, retained=retained(days))


def verify_html(*, specimen: bool, error: str = "", days: Collection[int] = ()) -> str:
    """The page on which a serial is typed or a certificate's file is chosen. `days`: `retain_days` of all campaigns."""
    return PAGES.html("verify.html", specimen=specimen, error=error, retained=retained(days))


def claim_html(page: ClaimPage, days: Collection[int] = ()) -> str:
    """The page to claim on. `days`: `retain_days` of all campaigns."""
    return PAGES.html("claim.html", page=page, retained=retained(days))
