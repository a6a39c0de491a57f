"""What certificate makes of every example ever published, heard twice, in any order of its durables; and what it publishes."""

import itertools
import json
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest

from services.certificate import usecases
from shared.contracts.certificate import (
    CertificateClaimedV1,
    CertificateIssuedV1,
    CertificateKeyMadeV1,
    CertificateRevokedV1,
)
from shared.contracts.checkin import CheckinRecordedV1, LessonMadeGoodV1, ViewerEnrolledV1
from shared.contracts.registry import BY_SUBJECT
from shared.database import Database
from shared.people.sealing import unseal
from tests.contracts.conftest import EXAMPLE_KEYS, durables_of, examples_for
from tests.support.certificate import CLAIM_FROM, CertificateService, checked_in, defined
from tests.support.databases import DatabaseFactory

DURABLES = durables_of("certificate")


@pytest.fixture
async def service(database: DatabaseFactory, tmp_path: Path) -> AsyncIterator[CertificateService]:
    fresh = await database("certificate")
    running = CertificateService(fresh.url, tmp_path, sealing_private_key=EXAMPLE_KEYS["certificate"])
    yield running
    await running.close()


def parsed(contract: Any) -> list[Any]:
    return [contract.model_validate_json(body) for body in examples_for(contract)]


def completed_in_examples() -> dict[tuple[str, str], tuple[str, str, list[Any]]]:
    """(campaign, viewer) → unit, group, lessons."""
    return {
        (event.campaign_id, row.viewer_id): (row.unit_code, row.group, row.credited_lessons)
        for event in parsed(CheckinRecordedV1) + parsed(LessonMadeGoodV1)
        for row in event.rows()
        if row.credited_lessons is not None
    }


def told_in_examples() -> dict[tuple[str, str], set[str]]:
    """(campaign, viewer) → which fields its enrolments tell."""
    told: dict[tuple[str, str], set[str]] = {}
    for event in parsed(ViewerEnrolledV1):
        boxes = (
            unseal(event.contacts, "certificate", EXAMPLE_KEYS["certificate"], event.viewer_ids)
            if event.contacts
            else []
        )
        for viewer_id, box in zip(event.viewer_ids, boxes, strict=False):
            contact = json.loads(box) if box else {}
            fields = {{"phone": "phone_tail"}.get(key, key) for key, text in contact.items() if text}
            told.setdefault((event.campaign_id, viewer_id), set()).update(fields)
    return {viewer: fields for viewer, fields in told.items() if fields}


@pytest.mark.parametrize("order", list(itertools.permutations(DURABLES))[::25], ids=lambda order: "-".join(order[:2]))
async def test_every_published_example_is_understood_once(service: CertificateService, order: tuple[str, ...]) -> None:
    for durable in (*order, *order):
        for body in examples_for(durable):
            await service.deliver_bodies(durable, body)
    async with service.db.transaction() as tx:
        completions = await tx.fetch("SELECT * FROM completion")
        contacts = await tx.fetch("SELECT campaign_id, viewer_id, field FROM contact")
        definitions = await service.definitions.all(tx)
    stored = {
        (row["campaign_id"], row["viewer_id"]): (row["unit_code"], row["group_code"], row["credited_lessons"])
        for row in completions
    }
    assert stored == completed_in_examples()
    assert sorted(map(tuple, contacts)) == sorted(
        (*viewer, field) for viewer, fields in told_in_examples().items() for field in fields
    )
    assert definitions


async def test_certificates_come_of_the_examples(service: CertificateService) -> None:
    for durable in DURABLES:
        for body in examples_for(durable):
            await service.deliver_bodies(durable, body)
    async with service.db.transaction() as tx:
        defined_campaigns = await service.definitions.all(tx)
    await service.sweep(CLAIM_FROM.replace(year=2098))
    issued = {
        (campaign, row.viewer_id) for campaign in defined_campaigns for row in await service.certificates(campaign)
    }
    assert issued == {key for key in completed_in_examples() if key[0] in defined_campaigns}
    assert issued, "no example completes anybody in a campaign that an example defines"


async def test_what_it_publishes_satisfies_its_contract(service: CertificateService) -> None:
    """Read back from the ledger, byte for byte what goes on the stream."""
    await service.deliver(*defined(), checked_in("anna", "bo"))
    await service.sweep(CLAIM_FROM)
    await service.claim("anna")
    await service.reissue("anna", "王示例")
    await service.revoke("bo")
    published = await ledger(service.db)
    key_made, issued, claimed, revoked = (
        event.subject()
        for event in (CertificateKeyMadeV1, CertificateIssuedV1, CertificateClaimedV1, CertificateRevokedV1)
    )
    assert [subject for subject, _ in published] == [key_made, issued, claimed, revoked, issued, claimed, revoked]
    for subject, payload in published:
        event = BY_SUBJECT[subject].model_validate_json(payload, strict=True)
        assert json.loads(event.model_dump_json()) == json.loads(payload)
        assert len(payload) < 256 * 1024


async def test_the_largest_event_fits(service: CertificateService) -> None:
    """500 certificates of the longest ids."""
    viewers = [f"v{number:063}" for number in range(500)]
    event = checked_in(*viewers)
    long = {"unit_codes": ["u" * 64] * 500, "groups": ["g" * 64] * 500}
    await service.deliver(*defined(), event.model_copy(update=long))
    assert await service.sweep(CLAIM_FROM) == usecases.ISSUE_ROWS_MAX == 500
    _, (_, payload) = await ledger(service.db)  # the first tells the campaign's key
    assert len(payload) < 256 * 1024


async def ledger(db: Database) -> list[tuple[str, bytes]]:
    async with db.transaction() as tx:
        return [tuple(row) for row in await tx.fetch("SELECT subject, payload FROM outbox ORDER BY event_id")]
