"""The whole service: the office's calls, bad input, its metrics, its work over a real bus, and that it tells nobody's name."""

import io
import json
import logging
from collections.abc import AsyncIterator
from contextlib import redirect_stdout
from pathlib import Path
from typing import Any

import pytest
import structlog
from prometheus_client.parser import text_string_to_metric_families

from devstack.ports import free_port
from services.certificate import domain
from shared.contracts.certificate import CertificateIssuedV1
from shared.service.logging import configure_logging
from tests.support.certificate import (
    CAMPAIGN,
    CLAIM_FROM,
    CertificateService,
    certificate_rules,
    checked_in,
    defined,
    enrolled,
    path_of,
    token,
)
from tests.support.databases import DatabaseFactory
from tests.support.nats_support import RunningNats, eventually, running_nats

NAME, PHONE = "王示例", "13800005678"
PATH = f"/v1/campaigns/{CAMPAIGN}/certificates/anna"


@pytest.fixture
async def service(database: DatabaseFactory, tmp_path: Path) -> AsyncIterator[CertificateService]:
    running = CertificateService((await database("certificate")).url, tmp_path)
    yield running
    await running.close()


# ---- the office ------------------------------------------------------------------------------------------------------


async def test_the_office_sees_a_certificate_through_its_life(service: CertificateService) -> None:
    async def seen() -> Any:
        answer = await service.get_certificate("anna")
        return answer.json()["reason"] if answer.status_code == 404 else answer.raise_for_status().json()

    assert await seen() == "not_completed"
    await service.deliver(checked_in("anna"))
    assert await seen() == "claim_time_not_come"  # nobody has defined the campaign yet
    await service.deliver(*defined(certificate=certificate_rules()))
    assert await seen() == "claim_time_not_come"
    service.clock_is(CLAIM_FROM)
    assert await seen() == "about_to_be_issued"
    await service.sweep()
    (row,) = await service.certificates()
    claim_code = (await service.claim_codes())["anna"]
    known = {"serial": row.serial, "code": row.code, "claim_code": claim_code, "issued_at": "2024-06-30T12:00:00Z"}
    known["missing_characters"] = ""
    assert await seen() == known | {"claimed_at": None, "status": "valid"}
    await service.claim("anna")
    assert await seen() == known | {"claimed_at": "2024-06-30T12:00:00Z", "status": "valid"}
    await service.revoke("anna")
    assert await seen() == known | {"claimed_at": "2024-06-30T12:00:00Z", "status": "revoked"}


async def test_after_a_correction_the_office_sees_the_new_one(service: CertificateService) -> None:
    await service.issue(checked_in("anna"))
    serial = (await service.reissue("anna", NAME)).json()["serial"]
    seen = (await service.get_certificate("anna")).json()
    assert (seen["serial"], seen["status"]) == (serial, "valid")
    await service.revoke("anna")
    seen = (await service.get_certificate("anna")).json()
    assert (seen["serial"], seen["status"]) == (serial, "revoked")


@pytest.mark.parametrize("action", ["revoke", "reissue"])
async def test_what_is_not_there_or_already_revoked_cannot_be_revoked(service: CertificateService, action: str) -> None:
    body = {"reason": "冒名", "name": NAME}
    assert (await service.client.post(f"{PATH}/{action}", json=body)).status_code == 404
    await service.issue(checked_in("anna"))
    await service.revoke("anna")
    answer = await service.client.post(f"{PATH}/{action}", json=body)
    assert (answer.status_code, answer.json()["type"]) == (409, "/problems/certificate-revoked")


READ, WRITE = ("GET", PATH), ("POST", f"{PATH}/revoke")


@pytest.mark.parametrize(
    ("bearer", "call", "status", "problem"),
    [
        (None, READ, 401, "token-missing"),
        ("x", READ, 401, "token-invalid"),
        (token("liaison"), READ, 403, "role-not-allowed"),
        (token("auditor"), WRITE, 403, "role-not-allowed"),
        (token("liaison"), WRITE, 403, "role-not-allowed"),
        (token(campaign="other"), READ, 403, "other-campaign"),
        (token(campaign="other"), WRITE, 403, "other-campaign"),
        (token(unit="111"), READ, 403, "unit-scoped"),
        (token("admin", unit="1"), WRITE, 403, "unit-scoped"),
        (token("admin", unit="1"), ("POST", f"{PATH}/reissue"), 403, "unit-scoped"),
    ],
)
async def test_who_may_not(
    service: CertificateService, bearer: str | None, call: tuple[str, str], status: int, problem: str
) -> None:
    await service.issue(checked_in("anna"))
    headers = {"Authorization": f"Bearer {bearer}" if bearer else ""}
    body = {"reason": "冒名", "name": NAME} if call[0] == "POST" else None
    answer = await service.client.request(*call, headers=headers, json=body)
    assert (answer.status_code, answer.json()["type"]) == (status, f"/problems/{problem}")
    assert [row.revoked_at for row in await service.certificates()] == [None]


@pytest.mark.parametrize("bearer", [token("auditor"), token("office"), token("admin", campaign="*")])
async def test_who_may_look(service: CertificateService, bearer: str) -> None:
    await service.issue(checked_in("anna"))
    assert (await service.get_certificate("anna", Authorization=f"Bearer {bearer}")).status_code == 200


# ---- bad input -------------------------------------------------------------------------------------------------------

BODIES: dict[str, bytes] = {
    "empty": b"",
    "not JSON": b"{",
    "not UTF-8": b'{"claim_code": "\xff"}',
    "null": b"null",
    "an array": b"[]",
    "a number": b"1e999",
    "wrong types": b'{"claim_code": {}, "phone_tail": [], "serial": 5, "content": [], "reason": 1, "name": true}',
    "NUL": rb'{"claim_code": "a\u0000", "phone_tail": "\u0000", "serial": "\u0000", "reason": "a\u0000", "name": "a\u0000"}',
    "a lone surrogate": rb'{"claim_code": "\ud800", "serial": "\ud800", "reason": "\ud800", "name": "\ud800"}',
    "surrogates inside": rb'{"content": {"\ud800": "\ud800", "format": "fanzha-certificate-1"}, "signature": {"a": "\udfff"}}',
    "only spaces": b'{"reason": " ", "name": " "}',
    "huge texts": json.dumps(
        dict.fromkeys(["claim_code", "phone_tail", "serial", "reason", "name"], "9" * 500_000)
    ).encode(),
    "a huge number": b'{"content": {"serial": ' + b"9" * 5000 + b'}, "signature": {}}',
    "not a number": b'{"content": {"format": NaN}, "signature": {"algorithm": Infinity}}',
    "deep nesting": b'{"content": ' + b'{"a":' * 100_000 + b"1" + b"}" * 100_000 + b"}",
    "deep arrays": b"[" * 200_000,
    "two megabytes": b'{"claim_code": "' + b"x" * 2_000_000 + b'"}',
}


@pytest.mark.parametrize("body", BODIES.values(), ids=BODIES.keys())
@pytest.mark.parametrize("path", ["/v1/claims", "/v1/verify", f"{PATH}/revoke", f"{PATH}/reissue"])
async def test_bad_bodies_are_answered_and_harm_nothing(service: CertificateService, path: str, body: bytes) -> None:
    await service.issue(checked_in("anna"))
    answer = await service.client.post(path, content=body, headers={"Content-Type": "application/json"})
    if path != "/v1/verify" or answer.status_code >= 400:  # to verify anything at all is allowed
        assert answer.status_code in (400, 404, 413, 422)
        assert answer.headers["content-type"] == "application/problem+json"
        assert answer.json()["type"].startswith("/problems/")
    else:
        assert not answer.json()["genuine"]
    (row,) = await service.certificates()
    assert (row.revoked_at, row.claimed_at) == (None, None)


@pytest.mark.parametrize("viewer", ["%00", "a%0Ab", "长", "x" * 65, "a b", "%FF", "anna%0A"])
async def test_bad_ids_are_answered(service: CertificateService, viewer: str) -> None:
    for path in (f"/v1/campaigns/{CAMPAIGN}/certificates/{viewer}", f"/v1/campaigns/{viewer}/certificates/anna"):
        answer = await service.client.get(path, headers={"Authorization": f"Bearer {token(campaign='*')}"})
        assert (answer.status_code, answer.json()["type"]) == (422, "/problems/invalid-request")


# ---- what is away ----------------------------------------------------------------------------------------------------


async def test_without_its_database_every_call_says_when_to_come_back(tmp_path: Path) -> None:
    running = CertificateService(f"postgresql://nobody:none@127.0.0.1:{free_port()}/none", tmp_path)
    calls: list[tuple[str, str, Any]] = [
        ("POST", "/v1/claims", {"claim_code": "23456789"}),
        ("POST", "/v1/verify", {"serial": domain.new_serial()}),
        ("GET", f"/v/{'2' * 26}", None),
        ("GET", PATH, None),
        ("POST", f"{PATH}/revoke", {"reason": "冒名"}),
    ]
    for method, path, body in calls:
        answer = await running.client.request(method, path, json=body)
        assert (answer.status_code, answer.json()["type"]) == (503, "/problems/database-away")
        assert int(answer.headers["retry-after"]) > 0
    assert (await running.client.get("/health/ready")).status_code == 503
    assert (await running.client.get("/health/live")).status_code == 200
    await running.close()


async def test_it_claims_and_verifies_while_nats_is_away(service: CertificateService) -> None:
    await service.issue(enrolled(("anna", NAME, PHONE)), checked_in("anna"))
    async with service.app.router.lifespan_context(service.app):
        assert (await service.claim("anna", "5678")).status_code == 200
        (row,) = await service.certificates()
        assert (await service.client.get(f"/v/{row.code}")).status_code == 200
        ready = (await service.client.get("/health/ready")).json()
        assert ready["checks"]["bus"] == "not connected to NATS"


async def test_over_a_real_bus_what_others_publish_becomes_certificates(
    database: DatabaseFactory, tmp_path: Path
) -> None:
    url = (await database("certificate")).url
    async with (
        running_nats(tmp_path) as server,
        CertificateService(url, tmp_path, nats_url=server.url("certificate")).running() as running,
    ):
        await server.publish(checked_in("anna", "bo"), *defined(), enrolled(("anna", NAME, PHONE)))
        running.clock_is(CLAIM_FROM)
        await eventually(lambda: issued_on(server), what="CertificateIssuedV1 on the stream")
        await eventually(running.service.settled, what="nothing left to do")
        assert await running.names() == {"anna": NAME, "bo": None}
        ready = await running.client.get("/health/ready")
        assert (ready.status_code, ready.json()["status"]) == (200, "ready"), ready.text


async def issued_on(server: RunningNats) -> int:
    """How many certificates the stream tells of."""
    async with server.client("topology") as client:
        info = await client.jetstream().stream_info("EVENTS", subjects_filter=CertificateIssuedV1.subject())
        return sum((info.state.subjects or {}).values())


# ---- metrics ---------------------------------------------------------------------------------------------------------


async def test_metrics_are_exact(service: CertificateService) -> None:
    await service.issue(checked_in("anna", "bo", "chen"))
    await service.claim("bo")
    await service.revoke("chen")
    await service.deliver(checked_in("dai"), checked_in("anna", campaign_id="other"))
    expected = {
        (CAMPAIGN, "waiting"): 1,
        (CAMPAIGN, "unclaimed"): 1,
        (CAMPAIGN, "claimed"): 1,
        (CAMPAIGN, "revoked"): 1,
        ("other", "waiting"): 1,
        ("other", "unclaimed"): 0,
        ("other", "claimed"): 0,
        ("other", "revoked"): 0,
    }
    assert await certificates_by_metrics(service) == expected
    await service.sweep()
    assert (await certificates_by_metrics(service))[CAMPAIGN, "waiting"] == 0


async def test_metrics_tell_what_should_have_been_issued(service: CertificateService) -> None:
    due = f'fanzha_certificates_due{{campaign="{CAMPAIGN}"}}'
    await service.deliver(*defined(), checked_in("anna"))
    assert f"{due} 0.0" in (await service.client.get("/metrics")).text
    service.clock_is(CLAIM_FROM)
    assert f"{due} 1.0" in (await service.client.get("/metrics")).text
    await service.sweep()
    assert f"{due} 0.0" in (await service.client.get("/metrics")).text


async def certificates_by_metrics(service: CertificateService) -> dict[tuple[str, str], float]:
    page = (await service.client.get("/metrics")).text
    (family,) = [
        metric_family
        for metric_family in text_string_to_metric_families(page)
        if metric_family.name == "fanzha_certificates"
    ]
    return {(sample.labels["campaign"], sample.labels["state"]): sample.value for sample in family.samples}


# ---- people's data ---------------------------------------------------------------------------------------------------


async def test_names_phones_and_claim_codes_are_nowhere_but_where_they_belong(service: CertificateService) -> None:
    """They must not appear in logs, metrics, problems, tables or events, whatever goes wrong."""
    log, root = io.StringIO(), logging.getLogger()
    handlers, structure = root.handlers[:], structlog.get_config()
    with redirect_stdout(log):
        configure_logging("certificate", "DEBUG")
        answers, codes = await much_goes_wrong(service)
    root.handlers[:] = handlers
    structlog.configure(**structure)
    assert "due work failed" in log.getvalue(), "nothing was logged: nothing was tested"
    everything = "\n".join([log.getvalue(), *answers, *await tables(service)])
    for secret in (NAME, "李示例", PHONE, *codes):
        assert secret not in everything


async def much_goes_wrong(service: CertificateService) -> tuple[list[str], list[str]]:
    """Makes many calls and faults happen; returns all answers except the holder's files, and the claim codes."""
    await service.issue(enrolled(("anna", NAME, PHONE), ("bo", "李示例", PHONE)), checked_in("anna", "bo"))
    codes = list((await service.claim_codes()).values())
    answers = [await service.claim("anna", "0000"), await service.claim("anna", "5678")]
    await service.client.get(path_of(answers[1].json()["pdf_url"]))
    answers += [await service.post_claim(codes[0], PHONE[:8]), await service.post_claim(codes[0], PHONE)]
    answers += [await service.client.post("/v1/claims", json={"claim_code": codes[0], "phone_tail": [NAME, PHONE]})]
    answers += [await service.reissue("anna", NAME + "\x00"), await service.reissue("anna", "李示例", PHONE + "\x00")]
    answers += [await service.reissue("anna", "李示例"), await service.client.get("/metrics")]
    async with service.app.router.lifespan_context(service.app):
        async with service.db.transaction() as tx:  # a completion from which no certificate can be made
            await tx.execute(
                "INSERT INTO completion VALUES ($1, 'chen', 'u', 'g', '{2024-06-30,2024-06-29}')", CAMPAIGN
            )
        await service.deliver(enrolled(("chen", NAME, PHONE)))
        await eventually(lambda: failing(service), what="the sweep fails")
        answers += [await service.client.get("/metrics"), await service.client.get("/health/ready")]
    return [f"{answer.headers} {answer.text}" for answer in answers], codes


def failing(service: CertificateService) -> bool:
    return service.service.metrics.registry.get_sample_value("fanzha_due_work_failing", {"work": "issue"}) == 1


async def tables(service: CertificateService) -> list[str]:
    """Every value of every table as text; bytes are read as UTF-8, as far as they can be."""
    async with service.db.transaction() as tx:
        names = await tx.fetch("SELECT tablename FROM pg_tables WHERE schemaname = 'public'")
        rows = [row for name in names for row in await tx.fetch(f'SELECT * FROM "{name[0]}"')]
    return [
        value.decode("utf-8", "replace") if isinstance(value, bytes) else str(value) for row in rows for value in row
    ]
