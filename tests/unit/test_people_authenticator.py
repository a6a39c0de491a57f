"""Codes of an authenticator app: the values of RFC 6238, and how they are typed."""

import base64
from datetime import UTC, datetime, timedelta

import pytest

from services.reporting.people.authenticator import address_of, code_as_compared, new_secret, step_of

SECRET = base64.b32encode(
    b"12345678901234567890"
).decode()  # RFC 6238, appendix B; its codes have eight digits, ours the last six
AT = datetime.fromtimestamp(1111111111, UTC)  # step 37037037
CODE = "050471"


@pytest.mark.parametrize(
    ("after", "step"), [(0, 37037037), (-31, 37037037), (29, 37037037), (59, None), (-32, None), (-62, None)]
)
def test_a_code_is_right_for_its_half_minute_and_the_two_beside_it(after: int, step: int | None) -> None:
    """1111111111 is the second second of its half-minute."""
    assert step_of(SECRET, CODE, AT + timedelta(seconds=after)) == step


def test_another_code_is_wrong() -> None:
    assert step_of(SECRET, "050472", AT) is None
    assert step_of(new_secret(), CODE, AT) is None


@pytest.mark.parametrize(
    ("typed", "compared"),
    [(" ０50 471\n", CODE), ("50471", None), ("0504711", None), ("05047x", None), ("", None), ("٠50471", None)],
)
def test_a_code_is_six_digits_however_it_is_typed(typed: str, compared: str | None) -> None:
    assert code_as_compared(typed) == compared


def test_the_app_is_told_secret_and_name() -> None:
    address = address_of(SECRET, "王芳（忻府）")
    assert address.startswith("otpauth://totp/")
    assert f"secret={SECRET}&issuer=" in address
