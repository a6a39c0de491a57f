"""The pages to sign in and to use an invitation, and the page about the session that one is signed in with."""

from dataclasses import dataclass
from pathlib import Path

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
class AccountPage:
    signed_in_until: str  # as it is shown, such as 2024-07-14 20:30


def sign_in_html(page: SignInPage) -> str:
    return PAGES.html("sign_in.html", page=page, frame=None)


def invitation_html(page: InvitationPage) -> str:
    return PAGES.html("invitation.html", page=page, frame=None)


def account_html(page: AccountPage, frame: Frame) -> str:
    return PAGES.html("account.html", page=page, frame=frame)
