"""Codes of an authenticator app (TOTP, RFC 6238): six digits, others every 30 seconds. Pure but for `new_secret`."""

import re
import unicodedata
from datetime import datetime
from typing import Final

import pyotp
from pyotp.exceptions import OTPVerificationError

ISSUER: Final = "全民反诈活动"  # what the app shows above the name
STEPS_BEFORE_AND_AFTER: Final = 1  # whose codes are right too: a phone's clock may be half a minute off
TYPED_MAX_CHARS: Final = 64


def new_secret() -> str:
    """A random secret, base32."""
    return pyotp.random_base32()


def address_of(secret: str, name: str) -> str:
    """What the QR code says to the app (`otpauth://…`)."""
    return pyotp.TOTP(secret).provisioning_uri(name=name, issuer_name=ISSUER)


def code_as_compared(typed: str) -> str | None:
    """Six digits from what a person types: full-width, with blanks. None where it cannot be an app's code."""
    digits = "".join(unicodedata.normalize("NFKC", typed[:TYPED_MAX_CHARS]).split())
    return digits if re.fullmatch(r"[0-9]{6}", digits) else None


def step_of(secret: str, code: str, now: datetime) -> int | None:
    """The number, since 1970, of the 30 seconds whose code this is; None for a wrong code."""
    try:
        return pyotp.TOTP(secret).verify_and_get_timecode(code, for_time=now, valid_window=STEPS_BEFORE_AND_AFTER)
    except OTPVerificationError:
        return None
