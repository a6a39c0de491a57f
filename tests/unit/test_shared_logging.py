"""No phone number gets out through the logs, whichever way it comes in. In a process of its own: logging is global."""

import json
import subprocess
import sys

import pytest

from shared.service.logging import mask_phones

PHONE = "13912345678"


@pytest.mark.parametrize(
    ("text", "masked"),
    [
        (PHONE, "139****5678"),
        (f"phone={PHONE}, again {PHONE}.", "phone=139****5678, again 139****5678."),
        (f"电话{PHONE}打不通", "电话139****5678打不通"),
        (f"+86{PHONE}", "+86139****5678"),
        (f"+86 {PHONE} 0086{PHONE}", "+86 139****5678 0086139****5678"),
        ("139 1234 5678 139-1234-5678", "139****5678 139****5678"),
        ("１３９１２３４５６７８", "１３９****５６７８"),
        ("2024062919310512345", "2024062919310512345"),
        ("ks_88120001 serial UW5F-9YE5-6WPT", "ks_88120001 serial UW5F-9YE5-6WPT"),
        ("12912345678 1391234567", "12912345678 1391234567"),
    ],
)
def test_mobile_numbers_are_masked_and_other_digits_are_not(text: str, masked: str) -> None:
    assert mask_phones(text) == masked


PROGRAM = f"""
import logging, structlog
from shared.service.logging import configure_logging
configure_logging("checkin")
log = structlog.get_logger()
log.info("text {PHONE}", field="{PHONE}", nested={{"phone": "{PHONE}", "list": ["{PHONE}"]}}, number={PHONE})
logging.getLogger("library").warning("row %s", "{PHONE}")
try:
    raise ValueError("Key (phone)=({PHONE}) already exists")
except ValueError as error:
    log.exception("failed")
    log.error("failed again", exc_info=error)
    log.error("failed", error=error)
    logging.getLogger("library").exception("failed")
"""


def test_no_way_of_logging_lets_a_phone_out() -> None:
    ran = subprocess.run([sys.executable, "-c", PROGRAM], capture_output=True, text=True, timeout=60, check=True)
    lines = [json.loads(line) for line in ran.stdout.splitlines()]
    assert len(lines) == 6
    assert {line["service"] for line in lines} == {"checkin"}
    assert "1234" not in ran.stdout + ran.stderr
    assert ran.stdout.count("139****5678") >= 10
