"""The pages to sign in and to use an invitation, and the page about the session that one is signed in with."""

from dataclasses import dataclass
from pathlib import Path

from markupsafe import Markup

from services.reporting.people.second_step import State
from shared.pages import Frame, OfficePages

PAGES = OfficePages(Path(__file__).with_name("templates"))


@dataclass(frozen=True)
class SignInPage:
    form_token: str
    to: str  # the page to go on to
    name: str = ""  # as typed, to be corrected
    error: str = ""


@dataclass(frozen=True)
class InvitationPage:
    form_token: str
    passphrase_min: int
    code: str = ""
    error: str = ""


@dataclass(frozen=True)
class CodePage:
    """The second step at signing in."""

    form_token: str
    passed: str  # says, encrypted, that the passphrase was right
    to: str
    error: str = ""


@dataclass(frozen=True)
class AccountPage:
    signed_in_until: str  # as it is shown, such as 2024-07-14 20:30
    passphrase_min: int
    second_step: State
    done: str = ""
    error: str = ""


@dataclass(frozen=True)
class OfferPage:
    """A secret for an authenticator app."""

    sealed: str
    secret: str  # to be typed where the picture cannot be read
    picture: Markup  # the QR code, SVG
    error: str = ""


def sign_in_html(page: SignInPage) -> str:
    return PAGES.html("sign_in.html", page=page, frame=None)


def code_html(page: CodePage) -> str:
    return PAGES.html("second_step.html", page=page, frame=None)


def invitation_html(page: InvitationPage) -> str:
    return PAGES.html("invitation.html", page=page, frame=None)


def account_html(page: AccountPage, frame: Frame) -> str:
    return PAGES.html("account.html", page=page, frame=frame)


def offer_html(page: OfferPage, frame: Frame) -> str:
    return PAGES.html("authenticator.html", page=page, frame=frame)


def recovery_codes_html(codes: list[str], frame: Frame) -> str:
    return PAGES.html("recovery_codes.html", codes=codes, frame=frame)
