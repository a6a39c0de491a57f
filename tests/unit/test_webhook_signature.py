"""Signatures are checked here as the Standard Webhooks library checks them."""

import base64
import hmac
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from standardwebhooks import Webhook, WebhookVerificationError

from services.checkin.live_platform import Source

SECRETS = ["whsec_" + base64.b64encode(key).decode() for key in (b"new secret", b"the one before")]
STANDARD = Source(verifier="standard", secrets=SECRETS)
BODY = '{"event_id": "e-1", "name": "张三"}'.encode()


def signed(body: bytes = BODY, *, secret: str = SECRETS[0], age_min: int = 0) -> dict[str, str]:
    at = datetime.now(UTC) - timedelta(minutes=age_min)
    return {
        "webhook-id": "msg_1",
        "webhook-timestamp": str(int(at.timestamp())),
        "webhook-signature": Webhook(secret).sign("msg_1", at, body.decode()),
    }


def library_accepts(headers: dict[str, str]) -> bool:
    for secret in SECRETS:
        try:
            Webhook(secret).verify(BODY, headers, json_parse=False)
        except (WebhookVerificationError, ValueError, OverflowError):
            continue
        return True
    return False


@pytest.mark.parametrize(
    ("how", "accepted"),
    [
        ({}, True),
        ({"secret": SECRETS[1]}, True),
        ({"secret": SECRETS[1].rstrip("=")}, True),
        ({"secret": "whsec_" + base64.b64encode(b"another").decode()}, False),
        ({"body": BODY + b" "}, False),
        ({"age_min": 3}, True),
        ({"age_min": 6}, False),
        ({"age_min": -3}, True),
        ({"age_min": -8}, False),
    ],
)
def test_accepts_what_one_of_the_secrets_signed_just_now(how: dict[str, Any], accepted: bool) -> None:
    headers = signed(**how)
    assert STANDARD.signed(headers, BODY) is accepted
    assert library_accepts(headers) is accepted


@pytest.mark.parametrize(
    ("header", "value", "accepted"),
    [
        ("id", "msg_2", False),
        ("id", "", False),
        ("timestamp", "soon", False),
        ("timestamp", "NaN", False),
        ("timestamp", "inf", False),
        ("timestamp", "9" * 400, False),
        ("timestamp", "{}.25", True),
        ("signature", "v1,AAAA v2,BBBB {}", True),
        ("signature", "{}=,", False),
        ("signature", "v1,a", False),
        ("signature", "v1,é", False),
        ("signature", "v2,{bare}", False),
        ("signature", "v1,{bare}", True),
    ],
)
def test_reads_headers_as_the_library_does(header: str, value: str, accepted: bool) -> None:
    headers = signed()
    genuine = headers[f"webhook-{header}"]
    headers[f"webhook-{header}"] = value.format(genuine, bare=genuine.removeprefix("v1,"))
    assert STANDARD.signed(headers, BODY) is accepted
    assert library_accepts(headers) is accepted


@pytest.mark.parametrize("bad", ["v1,abc", "nonsense", "v1", "v1,", "v1,é", "a,b,c", ""])
def test_one_bad_token_does_not_end_the_search(bad: str) -> None:
    headers = signed()
    good = headers["webhook-signature"]
    for signatures in (f"{bad} {good}", f"{good} {bad}"):
        assert STANDARD.signed(headers | {"webhook-signature": signatures}, BODY)
    assert not STANDARD.signed(headers | {"webhook-signature": f"{bad} {bad}"}, BODY)


def test_verifies_bytes_that_are_no_text() -> None:
    body = b'{"name": "\xff"}'
    headers = signed()
    assert not STANDARD.signed(headers, body)
    content = f"msg_1.{headers['webhook-timestamp']}.".encode() + body
    digest = hmac.digest(b"new secret", content, "sha256")
    assert STANDARD.signed(headers | {"webhook-signature": f"v1,{base64.b64encode(digest).decode()}"}, body)


@pytest.mark.parametrize("missing", ["webhook-id", "webhook-timestamp", "webhook-signature"])
def test_needs_all_three_headers(missing: str) -> None:
    headers = signed()
    del headers[missing]
    assert not STANDARD.signed(headers, BODY)
    assert not library_accepts(headers)
