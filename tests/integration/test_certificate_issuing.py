"""Who gets a certificate, when, once, and in whose name, on a real Postgres."""

import asyncio
from collections.abc import AsyncIterator
from datetime import timedelta
from pathlib import Path

import pytest
from structlog.testing import capture_logs

from services.certificate import certificates, contacts, domain, usecases
from services.certificate.domain import Verdict
from shared.bus import Poison
from shared.contracts.base import SealedColumn
from shared.contracts.certificate import CertificateClaimedV1, CertificateIssuedV1, CertificateRevokedV1
from shared.ids import new_event_id
from tests.support.certificate import (
    BEFORE,
    CAMPAIGN,
    CLAIM_FROM,
    LESSONS,
    CertificateService,
    certificate_rules,
    checked_in,
    defined,
    enrolled,
    made_good,
)
from tests.support.databases import DatabaseFactory

LATER = CLAIM_FROM + timedelta(hours=1)
SECOND = timedelta(seconds=1)


@pytest.fixture
async def service(database: DatabaseFactory, tmp_path: Path) -> AsyncIterator[CertificateService]:
    running = CertificateService((await database("certificate")).url, tmp_path)
    yield running
    await running.close()


# ---- who and when ----------------------------------------------------------------------------------------------------


async def test_nothing_is_issued_before_the_claim_time(service: CertificateService) -> None:
    await service.deliver(*defined(), checked_in("anna"))
    assert await service.sweep() == 0
    assert await service.sweep(CLAIM_FROM) == 1


async def test_only_who_completed_gets_one(service: CertificateService) -> None:
    await service.issue(checked_in("anna"), checked_in("bo", completes=False), made_good("chen"))
    assert set(await service.names()) == {"anna", "chen"}


async def test_a_check_in_that_completes_nobody_leaves_nothing(service: CertificateService) -> None:
    await service.deliver(checked_in("anna", "bo", completes=False))
    async with service.db.transaction() as tx:
        assert await tx.fetchval("SELECT (SELECT count(*) FROM inbox) + (SELECT count(*) FROM completion)") == 0


async def test_a_completion_that_arrives_after_the_claim_time_is_issued(service: CertificateService) -> None:
    await service.issue(checked_in("anna"))
    await service.deliver(checked_in("bo"), made_good("chen"))
    assert await service.sweep(LATER) == 2
    issued_at = {row.viewer_id: row.issued_at for row in await service.certificates()}
    assert issued_at == {"anna": CLAIM_FROM, "bo": LATER, "chen": LATER}


async def test_a_completion_waits_for_its_campaigns_definition(service: CertificateService) -> None:
    await service.deliver(checked_in("anna"))
    assert await service.sweep(LATER) == 0
    await service.deliver(*defined())
    assert await service.sweep() == 1


async def test_a_definition_counts_when_all_its_pages_are_here_and_the_newest_wins(service: CertificateService) -> None:
    early = certificate_rules(claim_from="2024-06-30T10:00:00+08:00")
    late = certificate_rules(claim_from=LATER.isoformat())
    first, second = defined(2, pages=2, certificate=late)
    await service.deliver(*defined(1, certificate=early), first, checked_in("anna"))
    assert await service.sweep() == 1  # revision 1 is in force
    await service.deliver(second, checked_in("bo"))
    assert await service.sweep(CLAIM_FROM) == 0
    assert await service.sweep(LATER) == 1


async def test_each_campaign_has_its_own_time(service: CertificateService) -> None:
    later = certificate_rules(claim_from=LATER.isoformat())
    await service.deliver(*defined(), checked_in("anna"))
    await service.deliver(*defined(campaign_id="other", certificate=later), checked_in("anna", campaign_id="other"))
    assert await service.sweep(CLAIM_FROM) == 1
    assert await service.sweep(LATER) == 1


async def test_more_than_one_event_full_is_issued_in_portions(service: CertificateService) -> None:
    viewers = [f"v{number:04}" for number in range(1001)]
    await service.issue(*(checked_in(*viewers[start : start + 500]) for start in (0, 500, 1000)))
    events = await service.published(CertificateIssuedV1)
    assert sorted(len(event) for event in events) == [1, 500, 500]
    assert sorted(viewer for event in events for viewer in event.viewer_ids) == viewers


async def test_every_replica_may_sweep_and_each_viewer_gets_one(service: CertificateService, tmp_path: Path) -> None:
    replica = CertificateService(service.settings.database_url, tmp_path)
    viewers = [f"v{number:04}" for number in range(1200)]
    await service.deliver(*defined(), *(checked_in(*viewers[start : start + 400]) for start in (0, 400)))
    service.clock_is(CLAIM_FROM)
    done = await asyncio.gather(
        service.sweep(), replica.sweep(), service.deliver(checked_in(*viewers[800:])), replica.sweep()
    )
    await service.sweep()
    assert [row.viewer_id for row in await service.certificates()] == viewers
    events = await service.published(CertificateIssuedV1)
    assert sorted(viewer for event in events for viewer in event.viewer_ids) == viewers
    assert all(portion for portion in done[:2]), "only one of them issued: nothing was tested"
    await replica.close()


async def test_what_is_published_is_what_is_kept(service: CertificateService) -> None:
    await service.issue(checked_in("bo", "anna"))
    event, *more = await service.published(CertificateIssuedV1)
    assert not more
    rows = await service.certificates()
    assert [(row.viewer_id, row.serial, row.unit_code, row.group, row.issued_at) for row in event.rows()] == [
        (row.viewer_id, row.serial, "111-EDU", "student", CLAIM_FROM) for row in rows
    ]
    assert await service.claim_codes() == {row.viewer_id: certificates.claim_code_of(row, service.keys) for row in rows}


async def test_a_name_that_is_not_taken_is_told_without_it(service: CertificateService) -> None:
    with capture_logs() as logged:
        await service.issue(enrolled(("anna", "刘\x85亮", None), ("bo", "刘亮", None)), checked_in("anna", "bo"))
    assert await service.names() == {"anna": None, "bo": "刘亮"}
    warnings = [entry for entry in logged if entry["event"] == "a name of an enrolment is not taken"]
    assert [entry["reason"] for entry in warnings] == ["姓名里有看不见的控制字符"]
    assert "刘" not in str(warnings)


async def test_a_certificate_is_signed_and_its_numbers_are_valid(service: CertificateService) -> None:
    await service.issue(enrolled(("anna", "王示例", None)), checked_in("anna"))
    (row,) = await service.certificates()
    content = certificates.content_of(row, await service.keys_to_read())
    assert (content.name, content.issuer, content.campaign_title) == ("王示例", "示例反诈办", "小活动")
    assert content.credited_lessons == tuple(LESSONS)
    document = domain.certificate_document(content, domain.Signature(row.key_id, row.signature))
    signing = service.keys.signing
    assert domain.verify_document(document, {signing.key_id: signing.public_key}) is Verdict.GENUINE
    assert domain.valid_serial(row.serial)


async def test_a_definition_that_cannot_be_read_is_parked_and_harms_no_other(service: CertificateService) -> None:
    (event,) = defined()
    with pytest.raises(Poison, match="faults"):
        await service.deliver(event.model_copy(update={"rules": {"campaign_id": CAMPAIGN}}))
    await service.deliver(*defined(campaign_id="other"), checked_in("anna", campaign_id="other"))
    assert await service.sweep(CLAIM_FROM) == 1


# ---- in whose name ---------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("newest_first", [True, False])
async def test_the_name_is_that_of_the_latest_enrolment_that_tells_one(
    service: CertificateService, newest_first: bool
) -> None:
    events = [
        enrolled(("anna", "旧名", "13800000001"), at=BEFORE - 3 * SECOND),
        enrolled(("anna", "王·示例", None), at=BEFORE - 2 * SECOND),
        enrolled(("anna", None, "13800000002"), at=BEFORE - SECOND),
        enrolled(("anna", None, None), at=BEFORE),
    ]
    await service.issue(checked_in("anna"), *(events[::-1] if newest_first else events))
    assert await service.names() == {"anna": "王·示例"}
    assert (await service.claim("anna", "0001")).status_code == 403
    assert (await service.claim("anna", "0002")).status_code == 200


async def test_of_equal_times_the_larger_enrolment_id_wins(service: CertificateService) -> None:
    await service.issue(checked_in("anna"), enrolled(("anna", "甲示例", None), ("anna", "乙示例", None)))
    assert await service.names() == {"anna": "乙示例"}


@pytest.mark.parametrize("name", [None, " ", "长" * 51, "a\x00b", "\u202e", "\ud800"])
async def test_without_a_name_that_can_be_printed_it_is_the_accounts(
    service: CertificateService, name: str | None
) -> None:
    await service.issue(enrolled(("anna", name, "13800000001")), checked_in("anna"))
    assert await service.names() == {"anna": None}


@pytest.mark.parametrize(
    "name", ["长" * 50, "㐱𬭎䶮𠅤𫖯𰻝", "o'Brien; DROP TABLE certificate --", "👩\u200d🎤", '{"name"}']
)
async def test_any_other_name_is_kept_as_it_is(service: CertificateService, name: str) -> None:
    await service.issue(enrolled(("anna", name, None)), checked_in("anna"))
    assert await service.names() == {"anna": name}


async def test_a_name_that_arrives_after_issuing_is_added_until_the_certificate_is_claimed(
    service: CertificateService,
) -> None:
    await service.issue(checked_in("anna", "bo"))
    serials = {row.viewer_id: row.serial for row in await service.certificates()}
    assert (await service.claim("bo")).status_code == 200
    await service.deliver(enrolled(("anna", "王示例", None), ("bo", "李示例", None)))
    assert await service.names() == {"anna": "王示例", "bo": None}
    assert {row.viewer_id: row.serial for row in await service.certificates()} == serials
    signing = service.keys.signing
    for row in await service.certificates():
        content = certificates.content_of(row, await service.keys_to_read())
        document = domain.certificate_document(content, domain.Signature(row.key_id, row.signature))
        assert domain.verify_document(document, {signing.key_id: signing.public_key}) is Verdict.GENUINE


async def test_a_name_that_arrives_while_its_certificate_is_issued_is_not_missed(service: CertificateService) -> None:
    viewers = [f"v{number:02}" for number in range(40)]
    await service.deliver(*defined(), checked_in(*viewers))
    service.clock_is(CLAIM_FROM)
    enrolments = [enrolled((viewer, f"名{viewer}", None)) for viewer in viewers]
    await asyncio.gather(*(service.deliver(event) for event in enrolments[:20]), service.sweep())
    await asyncio.gather(*(service.deliver(event) for event in enrolments[20:]))
    assert await service.names() == {viewer: f"名{viewer}" for viewer in viewers}


@pytest.mark.parametrize("name_first", [True, False])
async def test_neither_of_two_open_transactions_misses_the_other(service: CertificateService, name_first: bool) -> None:
    """One transaction keeps a viewer's name, the other issues the certificate; the second begins while the first is open."""
    await service.deliver(*defined(), checked_in("anna"))
    service.clock_is(CLAIM_FROM)
    event = enrolled(("anna", "王示例", None))
    async with service.db.transaction() as tx:
        if name_first:
            await contacts.keep_contacts(tx, event, service.keys)
            second = asyncio.create_task(_sweep(service))
        else:
            await usecases.issue_due(tx, service.definitions, service.keys, CLAIM_FROM)
            second = asyncio.create_task(service.deliver(event))
        await _blocked(service)
    await second
    assert await service.names() == {"anna": "王示例"}


async def _sweep(service: CertificateService) -> None:
    await service.sweep()


async def _blocked(service: CertificateService) -> None:
    """Returns once a transaction of this database waits for another."""
    async with asyncio.timeout(10):
        while True:
            async with service.db.transaction() as tx:
                waiting = await tx.fetchval(
                    "SELECT count(*) FROM pg_stat_activity WHERE datname = current_database() AND wait_event_type = 'Lock'"
                )
            if waiting:
                return
            await asyncio.sleep(0.01)


@pytest.mark.parametrize("box", ["AAAA", "", "not base64!"])
async def test_contacts_that_cannot_be_opened_are_parked(service: CertificateService, box: str) -> None:
    event = enrolled(("anna", "王示例", None))
    assert event.contacts is not None
    broken = event.model_copy(update={"contacts": SealedColumn(keys=event.contacts.keys, boxes=[box])})
    with pytest.raises(Poison, match="contacts"):
        await service.deliver(broken)


async def test_contacts_sealed_for_somebody_else_are_parked(service: CertificateService) -> None:
    event = enrolled(("anna", "王示例", None))
    assert event.contacts is not None
    keys = {"notification": event.contacts.keys["certificate"]}
    with pytest.raises(Poison, match="not sealed for certificate"):
        await service.deliver(
            event.model_copy(update={"contacts": SealedColumn(keys=keys, boxes=event.contacts.boxes)})
        )


async def test_contacts_are_forgotten_when_their_time_is_over_and_certificates_keep_the_name(
    service: CertificateService,
) -> None:
    await service.issue(enrolled(("anna", "王示例", "13800000001")), checked_in("anna"))
    (retention,) = [work for work in service.service.due_work if work.name == "retention"]
    service.clock_is(BEFORE + contacts.CONTACT_RETENTION - SECOND)
    assert await retention.run_until_done(service.service.clock, service.service.metrics) == 0
    service.clock_is(BEFORE + contacts.CONTACT_RETENTION)
    assert await retention.run_until_done(service.service.clock, service.service.metrics) == 2
    assert await service.names() == {"anna": "王示例"}
    assert (await service.claim("anna")).status_code == 200


@pytest.mark.parametrize("late", [True, False])
async def test_the_campaign_says_how_long_contacts_are_kept_and_the_pages_say_so(
    service: CertificateService, late: bool
) -> None:
    """`late`: the definition comes after the enrolment."""
    events = [*defined(retain_days=30), enrolled(("anna", "王示例", "13800000001"))]
    await service.deliver(*(reversed(events) if late else events))
    (retention,) = [work for work in service.service.due_work if work.name == "retention"]
    for after, deleted in ((timedelta(days=30) - SECOND, 0), (timedelta(days=30), 2)):
        service.clock_is(BEFORE + after)
        assert await retention.run_until_done(service.service.clock, service.service.metrics) == deleted
    for path in ("/claim", "/v/"):
        assert "报名 30 天后自动删除" in (await service.client.get(path)).text


# ---- revoking and reissuing ------------------------------------------------------------------------------------------


async def test_a_revoked_certificate_is_not_issued_again(service: CertificateService) -> None:
    await service.issue(checked_in("anna"))
    assert (await service.revoke("anna")).status_code == 200
    await service.deliver(checked_in("anna"))
    assert await service.sweep(LATER) == 0
    (event,) = await service.published(CertificateRevokedV1)
    assert (event.viewer_ids, event.reasons, event.reissued_as) == (["anna"], ["冒名"], [None])


@pytest.mark.parametrize("claimed", [True, False])
async def test_reissuing_corrects_the_name_and_keeps_what_was_done(service: CertificateService, claimed: bool) -> None:
    await service.issue(enrolled(("anna", "王示列", None)), checked_in("anna"))
    if claimed:
        assert (await service.claim("anna")).status_code == 200
    service.clock_is(LATER)
    answer = (await service.reissue("anna", "王示例")).json()
    new, old = await service.certificates()
    assert (new.serial, old.reissued_as, old.revoked_at) == (answer["serial"], new.serial, LATER)
    assert await service.names() == {"anna": "王示例"}
    assert new.claimed_at == old.claimed_at == (CLAIM_FROM if claimed else None)
    assert (new.credited_lessons, new.unit_code, new.group_code) == (LESSONS, "111-EDU", "student")
    events = (await service.published())[2 + claimed :]  # after the key, the first certificate, its claim
    kinds = [CertificateRevokedV1, CertificateIssuedV1, *([CertificateClaimedV1] if claimed else [])]
    assert [type(event) for event in events] == kinds
    assert events[0].reissued_as == events[1].serials == [new.serial]
    assert not claimed or events[2].claimed_at == [CLAIM_FROM]


async def test_a_reissue_asked_for_twice_by_one_id_is_one(service: CertificateService) -> None:
    await service.issue(enrolled(("anna", "王示列", None)), checked_in("anna"), checked_in("bert"))
    asked = [service.reissue("anna", "王示例", request_id="r-1") for _ in range(4)]  # at once, as a double click
    answers = [answer.json() for answer in await asyncio.gather(*asked)]
    (serial,) = {answer["serial"] for answer in answers}
    assert (await service.reissue("anna", " 王示例 ", request_id="r-1")).json() == {"serial": serial, "status": "valid"}
    assert len([row for row in await service.certificates() if row.viewer_id == "anna"]) == 2
    assert len(await service.published(CertificateRevokedV1)) == 1
    for viewer_id, name in (("anna", "王示力"), ("bert", "王示例")):
        refused = await service.reissue(viewer_id, name, request_id="r-1")
        assert (refused.status_code, refused.json()["type"]) == (409, "/problems/request-id-used")
    again = await service.reissue("anna", "王示例", request_id="r-2")
    assert again.json()["serial"] != serial


async def test_what_the_office_corrected_stays(service: CertificateService) -> None:
    await service.issue(enrolled(("anna", "王示列", None)), checked_in("anna"))
    await service.reissue("anna", "王示例")
    await service.deliver(enrolled(("anna", "网名", None), at=LATER))
    assert await service.names() == {"anna": "王示例"}


async def test_who_revoked_and_why_is_recorded(service: CertificateService) -> None:
    await service.issue(checked_in("anna"))
    await service.revoke("anna", "重复发放")
    async with service.db.transaction() as tx:
        (row,) = await tx.fetch("SELECT revoked_by, revoke_reason FROM certificate")
        assert tuple(row) == ("tester", "重复发放")


async def test_two_corrections_at_once_leave_one_valid_certificate(service: CertificateService) -> None:
    await service.issue(checked_in("anna"))
    names = [f"王示{number}" for number in range(6)]
    answers = await asyncio.gather(*(service.reissue("anna", name) for name in names), service.revoke("anna"))
    assert {answer.status_code for answer in answers} <= {200, 409}
    valid = [row for row in await service.certificates() if row.revoked_at is None]
    assert len(valid) <= 1
    successors = [row.reissued_as for row in await service.certificates() if row.reissued_as]
    assert len(successors) == len(set(successors)) == sum(answer.status_code == 200 for answer in answers[:-1])


async def test_the_same_event_under_another_id_changes_nothing(service: CertificateService) -> None:
    """The natural key alone is enough (DESIGN §4.4)."""
    event = checked_in("anna")
    await service.issue(event)
    await service.deliver(event.model_copy(update={"event_id": new_event_id()}))
    assert await service.sweep(LATER) == 0
