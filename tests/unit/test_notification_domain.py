"""Plans, statuses, texts and masks of notifications: pure rules."""

from dataclasses import replace
from datetime import UTC, datetime, timedelta
from itertools import permutations
from typing import Any

import pytest

from services.notification.channels.domain import Message, Reference, Report
from services.notification.plans import domain
from services.notification.plans.certificates.domain import Certificate, claim_code_in, plan
from services.notification.sending.domain import Status, after, reason, retry_delay
from shared.contracts.campaign import CampaignRules
from tests.support.campaigns import campaign


def at(clock: str, day: int = 10) -> datetime:
    """A UTC instant of local time in July 2024."""
    return datetime.fromisoformat(f"2024-07-{day}T{clock}:00+08:00").astimezone(UTC)


def rules(**message: Any) -> CampaignRules:
    rule = {
        "event": "certificate_ready",
        "channel": "file",
        "template": "证书 {serial} 领取码 {claim_code} 96110",
    } | message
    return campaign(messages=[rule])


ISSUED = Certificate(
    campaign_id="small-2024",
    viewer_id="ks_8812345",
    serial="7K3M-9QXV-2HD4",
    issued_at=at("12:00"),
    revoked=False,
    has_claim_code=True,
    has_phone=True,
)


# --- statuses ---------------------------------------------------------------------------------------------------------


Q, S, U, A, D, F, X, C = Status  # queued, sending, unknown, accepted, delivered, failed, suppressed, cancelled
AFTER = {  # the status after each report
    #   not_sent, unknown, accepted, delivered, failed
    Q: (Q, Q, Q, Q, Q),  # nothing is reported about what was not attempted
    S: (Q, U, A, D, F),
    U: (Q, U, A, D, F),
    A: (A, A, A, D, F),
    D: (D, D, D, D, D),  # a final status is final
    F: (F, F, F, F, F),
    X: (X, X, X, X, X),
    C: (C, C, C, C, C),
}


@pytest.mark.parametrize("status", Status)
def test_the_status_after_every_report(status: Status) -> None:
    assert tuple(after(status, report) for report in Report) == AFTER[status]


@pytest.mark.parametrize("reports", list(permutations((Report.UNKNOWN, Report.ACCEPTED, Report.DELIVERED))))
def test_a_receipt_that_overtakes_accepted_holds(reports: tuple[Report, ...]) -> None:
    status = Status.SENDING
    for report in reports:
        status = after(status, report)
    assert status is Status.DELIVERED


def test_retries_are_prompt_first_and_rare_later() -> None:
    delays = [retry_delay(attempts).total_seconds() for attempts in range(1, 10)]
    assert delays == [0, 0, 0, 60, 300, 900, 3600, 3600, 3600]


# --- plans ------------------------------------------------------------------------------------------------------------


def test_a_certificate_becomes_a_text_to_its_holder() -> None:
    planned = plan(ISSUED, rules())
    assert planned is not None
    assert planned.key == ("small-2024", "certificate_ready", "7K3M-9QXV-2HD4", "ks_8812345")
    assert (planned.channel, planned.status, planned.reason) == ("file", Status.QUEUED, None)
    assert planned.due_at == ISSUED.issued_at
    assert planned.send_until == ISSUED.issued_at + timedelta(days=7)


def test_without_a_rule_there_is_no_text() -> None:
    assert plan(ISSUED, campaign(messages=[])) is None


@pytest.mark.parametrize(
    ("change", "status", "reason"),
    [
        ({"has_phone": False}, Status.QUEUED, "no_contact"),
        ({"has_claim_code": False}, Status.QUEUED, "no_claim_code"),
        ({"revoked": True}, Status.CANCELLED, "revoked"),
        ({"revoked": True, "has_phone": False}, Status.CANCELLED, "revoked"),
    ],
)
def test_what_a_text_waits_for_or_why_it_is_not_sent(change: dict[str, Any], status: Status, reason: str) -> None:
    planned = plan(replace(ISSUED, **change), rules())
    assert planned is not None
    assert (planned.status, planned.reason) == (status, reason)


def test_a_template_without_claim_code_does_not_wait_for_one() -> None:
    planned = plan(replace(ISSUED, has_claim_code=False), rules(template="证书 {serial} 96110"))
    assert planned is not None
    assert planned.reason is None


@pytest.mark.parametrize(
    ("issued", "due"),
    [
        (at("07:59"), at("08:00")),
        (at("08:00"), at("08:00")),
        (at("21:59"), at("21:59")),
        (at("22:00"), at("08:00", 11)),
        (at("23:30"), at("08:00", 11)),
        (at("00:10"), at("08:00")),
    ],
)
def test_texts_go_out_in_the_send_window_of_the_campaigns_time_zone(issued: datetime, due: datetime) -> None:
    windowed = rules(send_window={"from": "08:00", "to": "22:00"})
    planned = plan(replace(ISSUED, issued_at=issued), windowed)
    assert planned is not None
    assert planned.due_at == due
    assert domain.may_send(issued, windowed, "certificate_ready", "file") == (issued == due)


def test_a_window_may_last_until_midnight() -> None:
    assert domain.may_send(
        at("23:59"), rules(send_window={"from": "20:00", "to": "24:00"}), "certificate_ready", "file"
    )


def test_only_the_rules_own_channel_may_send() -> None:
    assert domain.may_send(at("12:00"), rules(), "certificate_ready", "file")
    assert not domain.may_send(at("12:00"), rules(), "certificate_ready", "sms")
    assert not domain.may_send(at("12:00"), campaign(messages=[]), "certificate_ready", "file")


def test_contacts_are_kept_until_half_a_year_after_the_last_lesson() -> None:
    assert domain.forget_at(rules()) == datetime.fromisoformat("2024-07-01T00:00:00+08:00") + timedelta(days=180)
    lessons = [{"date": f"2024-{day}", "title": "课"} for day in ("06-29", "06-30", "07-01")]
    later = campaign(lessons=lessons)
    assert domain.forget_at(later) == datetime.fromisoformat("2024-07-02T00:00:00+08:00") + timedelta(days=180)


# --- texts and people -------------------------------------------------------------------------------------------------


def test_the_text_names_the_hotline_and_does_not_read_values_as_placeholders() -> None:
    values = {"serial": "{claim_code}", "claim_code": "AB23CD45"}
    assert domain.text(rules(), "certificate_ready", values) == "证书 {claim_code} 领取码 AB23CD45 96110"


def test_the_text_may_name_the_campaign() -> None:
    template = "{campaign_title}：证书 {serial} 领取码 {claim_code}，96110"
    values = {"serial": "S", "claim_code": "AB23CD45"}
    assert domain.text(rules(template=template), "certificate_ready", values) == "小活动：证书 S 领取码 AB23CD45，96110"


def test_a_kind_has_only_its_own_rule() -> None:
    assert domain.rule_for(rules(), "lesson_soon") is None


@pytest.mark.parametrize(
    ("contact", "phone"),
    [
        (b'{"name": "x", "phone": "13812345678"}', "13812345678"),
        (b'{"name": "x", "phone": null}', None),
        (b'{"phone": 5}', None),
    ],
)
def test_the_phone_of_a_contact(contact: bytes, phone: str | None) -> None:
    assert domain.phone_in(contact) == phone


@pytest.mark.parametrize("contact", [b"", b"\xff", b"[]", b"{}", b"null", b'"13812345678"'])
def test_an_unreadable_contact_is_named_without_repeating_it(contact: bytes) -> None:
    with pytest.raises(domain.UnreadableSecret, match="contact"):
        domain.phone_in(contact)


@pytest.mark.parametrize("secret", [b"", b"ab23cd45", "领取码".encode(), b"AB\n23CD", b'{"x":1}'])
def test_an_unreadable_claim_code_is_refused(secret: bytes) -> None:
    with pytest.raises(domain.UnreadableSecret, match="claim code"):
        claim_code_in(secret)


def test_a_claim_code_is_the_bytes_as_they_are() -> None:
    assert claim_code_in(b"AB23CD45") == "AB23CD45"


@pytest.mark.parametrize("status", Status)
def test_only_what_waits_for_nothing_else_waits_for_a_channel(status: Status) -> None:
    assert reason(status, None, has_channel=False) == ("no_channel" if status is Status.QUEUED else None)
    for has_channel in (True, False):
        assert reason(status, "no_contact", has_channel) == "no_contact"
    assert reason(status, None, has_channel=True) is None


def test_a_message_does_not_print_phone_or_text() -> None:
    content = domain.Content("13812345678", {"claim_code": "AB23CD45"})
    assert "138" not in repr(content)
    assert "AB23" not in repr(content)
    message = Message(Reference("c", "k", None), to="13812345678", text="领取码 AB23CD45")  # type: ignore[arg-type]
    assert "138" not in repr(message)
    assert "AB23" not in repr(message)
