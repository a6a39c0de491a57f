"""A database that an earlier version left, brought to today's schema: what was sent is not sent again."""

from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from shared.database import Database
from shared.database.migrate import migrate
from shared.people.at_rest import Vault, lookup_hash
from tests.support.databases import migrate_to
from tests.support.notification import (
    CAMPAIGN,
    CONTACT_KEYS,
    LOOKUP_KEY,
    NOON,
    FakeProvider,
    NotificationWork,
    defined,
    statuses,
)
from tests.support.servers import RunningPostgres

EARLIER = "0006"  # the schema of the rows below, which must not be changed when the code changes
VIEWER, PHONE = "ks_000001", "13800000001"
IDS = {  # as the earlier version made them from (campaign, kind, "S-" and the status, viewer)
    "queued": "e6b599b5-b0e8-ba16-6646-b9a39fb9cfcb",
    "sending": "9b126ae3-f396-a4c0-644d-77dba889f1d4",
    "unknown": "cf42bfb1-e6f3-37d1-4d8d-6931f54d0115",
    "accepted": "d1a22b63-c761-1de8-ee3d-f8c6b680e454",
    "delivered": "d882ccb7-e7f2-8d45-5164-07539b7afea2",
    "failed": "20082dd7-eb38-c07d-8122-1e284072bddf",
    "suppressed": "cd403e18-f8fe-2b95-3121-bfeec4bdfea7",
}
CONTACT = """
INSERT INTO contact (campaign_id, viewer_id, enrolled_at, enrolment_id, phone, phone_hash, retain_until)
VALUES ($1, $2, $3, 'e-1', $4, $5, '2025-01-06T04:00:00Z')
"""
CERTIFICATE = """
INSERT INTO certificate (campaign_id, viewer_id, serial, issued_at, claim_code, planned_revision)
VALUES ($1, $2, $3, $4, $5, 1)
"""
NOTIFICATION = """
INSERT INTO notification (id, campaign_id, kind, period, recipient, channel, status, due_at, send_until, attempts, attempt,
                          attempted_at, query_at, updated_at)
VALUES ($1, $2, 'certificate_ready', $3, $4, 'file', $5, $6, $6::timestamptz + interval '7 days', 1, $7, $6, $6, $6)
"""


@pytest.fixture
async def earlier(postgres: RunningPostgres) -> AsyncIterator[str]:
    """A database at the schema of the earlier version, with one message of every status but `cancelled`; its owner's URL."""
    name = Path(__file__).stem
    await postgres.execute(f'CREATE DATABASE "{name}" OWNER notification_owner')
    await postgres.execute("ALTER SCHEMA public OWNER TO notification_owner", database=name)
    url = postgres.url("notification_owner", name)
    await migrate_to("notification", url, EARLIER)
    await fill(Database(url))
    yield url
    await postgres.drop(name)


async def fill(db: Database) -> None:
    vault = Vault(CONTACT_KEYS)
    phone = vault.encrypt(PHONE, f"{CAMPAIGN}/{VIEWER}")
    async with db.transaction() as tx:
        await tx.execute(CONTACT, CAMPAIGN, VIEWER, NOON, phone, lookup_hash(LOOKUP_KEY, PHONE))
        for attempt, (status, notification_id) in enumerate(IDS.items()):
            serial = f"S-{status}"
            claim_code = vault.encrypt("AB23CD45", f"{CAMPAIGN}/{VIEWER}/{serial}")
            await tx.execute(CERTIFICATE, CAMPAIGN, VIEWER, serial, NOON, claim_code)
            await tx.execute(NOTIFICATION, notification_id, CAMPAIGN, serial, VIEWER, status, NOON, attempt)
    await db.close()


async def test_after_an_upgrade_what_was_sent_is_not_sent_again(earlier: str) -> None:
    """The new version plans everything anew, because a newer definition arrives. Only what had not been sent goes out."""
    await migrate("notification", earlier)
    db = Database(earlier)
    provider = FakeProvider()
    provider.blind = True  # so that unknown messages stay unknown
    work = NotificationWork(db, {"file": provider})
    await work.deliver(defined(revision=2))
    await work.run_all(NOON)

    assert [str(message.reference.notification_id) for message in provider.arrived] == [IDS["queued"]]
    after = {"queued": "accepted", "sending": "unknown"}  # the sender is gone, and nobody knows what it did
    assert await statuses(db) == {f"S-{status}": (after.get(status, status), None) for status in IDS}
    async with db.transaction() as tx:
        assert await tx.fetchval("SELECT count(*) FROM certificate WHERE planned_revision <> 2") == 0
    await db.close()
