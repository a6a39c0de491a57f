"""Keys of campaigns as they come: made once, whichever event comes first; announced, in any order, as often as the bus likes."""

import asyncio
import base64
import json
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import nacl.public
import pytest

from shared.contracts.base import SealedColumn
from shared.contracts.certificate import CertificateKeyMadeV1
from shared.contracts.notification import NotificationKeyMadeV1
from shared.ids import new_event_id
from shared.people.campaign_keys import destroy
from shared.people.sealing import is_sealed_for
from tests.support.campaigns import campaign_content
from tests.support.certificate import BEFORE, CertificateService, checked_in, defined, enrolled
from tests.support.checkin import CAMPAIGN, DURING, RECIPIENTS, CheckinUnderTest, enrolment, running_checkin
from tests.support.databases import DatabaseFactory
from tests.support.deployment import BOTH_OVER, WholeDeployment
from tests.support.deployment import stack as stack

OTHER = "other-2024"


def text(key: Any) -> str:
    return base64.b64encode(bytes(key)).decode()


# ---- whoever seals ---------------------------------------------------------------------------------------------------


@pytest.fixture
async def checkin(database: DatabaseFactory, tmp_path: Path) -> AsyncIterator[CheckinUnderTest]:
    async with running_checkin(await database("checkin"), tmp_path) as running:
        for campaign_id in (CAMPAIGN, OTHER):
            assert (await running.define(campaign_content(campaign_id=campaign_id))).status_code == 200
        yield running


def made(key: nacl.public.PrivateKey, campaign_id: str = CAMPAIGN) -> CertificateKeyMadeV1:
    return CertificateKeyMadeV1(
        event_id=new_event_id(), occurred_at=DURING, campaign_id=campaign_id, public_key=text(key.public_key)
    )


async def sealed_for(checkin: CheckinUnderTest, viewer: str, campaign_id: str = CAMPAIGN) -> SealedColumn | None:
    """What checkin publishes of a new enrolment."""
    verdicts = await checkin.post(enrolment(viewer, campaign_id=campaign_id, name="王示例", phone="13800000001"))
    assert verdicts == [("recorded", None)]
    (event,) = [event for event in await checkin.facts("viewer_enrolled") if event["viewer_ids"] == [viewer]]
    return None if event["contacts"] is None else SealedColumn(**event["contacts"])


async def hear(checkin: CheckinUnderTest, *events: CertificateKeyMadeV1) -> None:
    for event in events:
        await checkin.service.bus.handle("checkin-certificate-keys", event.model_dump_json().encode())


async def test_an_enrolment_before_the_key_is_sealed_to_the_deployments(checkin: CheckinUnderTest) -> None:
    """And those after it to the campaign's: of this campaign and recipient alone."""
    certificate_key = nacl.public.PrivateKey.generate()
    first = await sealed_for(checkin, "a")
    assert first is not None
    assert is_sealed_for(first, "certificate", text(RECIPIENTS["certificate"]))
    await hear(checkin, made(certificate_key))
    second, elsewhere = await sealed_for(checkin, "b"), await sealed_for(checkin, "c", OTHER)
    assert second is not None
    assert elsewhere is not None
    assert is_sealed_for(second, "certificate", text(certificate_key))
    assert not is_sealed_for(second, "certificate", text(RECIPIENTS["certificate"]))
    assert is_sealed_for(second, "notification", text(RECIPIENTS["notification"]))
    assert is_sealed_for(elsewhere, "certificate", text(RECIPIENTS["certificate"]))


async def test_the_newest_announcement_wins_in_any_order_and_any_number(checkin: CheckinUnderTest) -> None:
    old, new = nacl.public.PrivateKey.generate(), nacl.public.PrivateKey.generate()
    first, second = made(old), made(new)
    await hear(checkin, second, first, first, second)
    column = await sealed_for(checkin, "a")
    assert column is not None
    assert is_sealed_for(column, "certificate", text(new))
    assert await checkin.rows("SELECT announced_by FROM campaign_key") == [(second.event_id,)]


async def test_a_key_that_is_announced_after_its_end_is_not_used(checkin: CheckinUnderTest) -> None:
    async with checkin.service.db.transaction() as tx:
        assert await destroy(tx, CAMPAIGN, RECIPIENTS, DURING) == 2
    async with checkin.service.db.transaction() as tx:
        assert await destroy(tx, CAMPAIGN, RECIPIENTS, DURING) == 0
    await hear(checkin, made(nacl.public.PrivateKey.generate()))
    assert await sealed_for(checkin, "a") is None
    assert await sealed_for(checkin, "b", OTHER) is not None


# ---- whoever opens ---------------------------------------------------------------------------------------------------


@pytest.fixture
async def certificate(database: DatabaseFactory, tmp_path: Path) -> AsyncIterator[CertificateService]:
    running = CertificateService((await database("certificate")).url, tmp_path)
    yield running
    await running.close()


@pytest.mark.parametrize("order", ["definition first", "enrolment first", "at once"])
async def test_a_campaign_gets_one_key_whatever_comes_first(certificate: CertificateService, order: str) -> None:
    definitions = [event for revision in (1, 2) for event in defined(revision, pages=2)]
    enrolments = [enrolled((viewer, "王示例", "13800000001")) for viewer in ("anna", "bo")]
    match order:
        case "definition first":
            await certificate.deliver(*definitions, *enrolments)
        case "enrolment first":
            await certificate.deliver(*enrolments, *definitions)
        case _:
            await asyncio.gather(*(certificate.deliver(event) for event in [*enrolments, *definitions]))
    await certificate.deliver(checked_in("anna", "bo"))
    (announced,) = await certificate.published(CertificateKeyMadeV1)
    async with certificate.db.transaction() as tx:
        (key,) = await tx.fetch("SELECT announced_by, public_key, private_key FROM campaign_key")
        values = [row["value"] for row in await tx.fetch("SELECT value FROM contact")]
    assert (key["announced_by"], key["public_key"]) == (announced.event_id, announced.public_key)
    private = certificate.keys.recipient.vault.decrypt_bytes(
        key["private_key"], f"campaign key {announced.campaign_id}"
    )
    assert text(nacl.public.PrivateKey(private).public_key) == announced.public_key
    assert private not in key["private_key"]
    assert len(values) == 4
    assert all(value.startswith(b"@campaign:") for value in values)


async def test_what_is_issued_after_the_end_tells_nobody_its_claim_code(certificate: CertificateService) -> None:
    """It can be claimed all the same: the office has the code."""
    await certificate.deliver(*defined(), checked_in("anna"))
    async with certificate.db.transaction() as tx:
        await destroy(tx, CAMPAIGN, ["certificate", "notification"], BEFORE)
    await certificate.deliver(enrolled(("anna", "王示例", "13800000001")))
    await certificate.issue()
    (row,) = await certificate.certificates()
    (event,) = [event for event in await certificate.published() if event.FACT == "certificate_issued"]
    assert (row.name, event.claim_codes) == (None, None)
    answer = (await certificate.get_certificate("anna")).json()
    assert (await certificate.post_claim(answer["claim_code"])).status_code == 200


# ---- over the bus ----------------------------------------------------------------------------------------------------


async def test_delivered_again_and_from_a_new_stream_the_keys_are_the_same(stack: WholeDeployment) -> None:
    async with stack.running():
        await stack.put("checkin", f"/v1/campaigns/{CAMPAIGN}", campaign_content())
        await stack.settle()
        before = await _keys(stack)
        assert {service: [row[:2] for row in rows] for service, rows in before.items()} == {
            "checkin": [(CAMPAIGN, "certificate"), (CAMPAIGN, "notification")],
            "certificate": [(CAMPAIGN, "certificate"), (CAMPAIGN, "notification")],
            "notification": [(CAMPAIGN, "notification")],
        }
        public = {row[1]: row[3] for row in before["checkin"]}
        assert {row[1]: row[3] for row in before["certificate"]} == public
        assert before["notification"][0][3] == public["notification"]
        await stack.republish()
        await stack.settle()
        assert await _keys(stack) == before
    await stack.lose_nats()
    async with stack.running():
        await stack.republish()
        await stack.settle()
        assert await _keys(stack) == before
        stack.clock_is(BOTH_OVER)
        assert await stack.send(enrolment("ks_1", name="王示例", phone="13800000001")) == {"recorded": 1}
        await stack.settle()
        ((payload,),) = await stack.rows("checkin", "SELECT payload FROM outbox WHERE subject LIKE '%viewer_enrolled%'")
        column = SealedColumn(**json.loads(payload)["contacts"])
        for event in (CertificateKeyMadeV1, NotificationKeyMadeV1):
            deployment = stack.environment(event.OWNER)["SEALING_PRIVATE_KEY"]
            assert not is_sealed_for(column, event.OWNER, deployment)
        assert await stack.rows("notification", "SELECT count(*) FROM contact WHERE phone IS NOT NULL") == [(1,)]
        assert await stack.rows("certificate", "SELECT count(*) FROM contact") == [(2,)]


async def _keys(stack: WholeDeployment) -> dict[str, list[tuple[Any, ...]]]:
    sql = "SELECT campaign_id, recipient, announced_by, public_key, private_key FROM campaign_key ORDER BY 1, 2"
    return {service: await stack.rows(service, sql) for service in ("checkin", "certificate", "notification")}
