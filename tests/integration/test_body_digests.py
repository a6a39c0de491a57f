"""What is kept of a refused event or a parked message lets nobody guess the phone in it (DESIGN §4.8).

A SHA-256 without a key did: there are some ten thousand million phones, which takes seconds.
"""

import hashlib
import json
from collections.abc import AsyncIterator, Sequence
from pathlib import Path
from typing import Any

import asyncpg
import pytest
from alembic import command
from sqlalchemy import Connection
from sqlalchemy.ext.asyncio import create_async_engine

from services.checkin.live_events import read_body
from shared.bus.dead_letters import park
from shared.contracts.certificate import CertificateClaimedV1
from shared.database import Database
from shared.database.migrate import alembic_config, migrate
from shared.ids import new_event_id
from tests.support.campaigns import campaign_content
from tests.support.checkin import DURING, enrolment, running_checkin
from tests.support.databases import DatabaseFactory
from tests.support.parking import parked_message
from tests.support.servers import RunningPostgres

BODY = b'{"campaign_id": "small-2024", "viewer_id": "ks_1", "phone": "13900000001"}'
DIGEST = hashlib.sha256(BODY)
OLD = "checkin", "0005"  # the last revision with digests


def gives_away(rows: Sequence[Any], *bodies: bytes) -> list[str]:
    """Rows, as text, in which a digest stands that anybody can compute from a body."""
    digests = [how(body).hexdigest() for body in bodies for how in (hashlib.sha256, hashlib.sha1, hashlib.md5)]
    return [text for row in rows if any(digest in (text := str(row[0])) for digest in digests)]


@pytest.fixture
async def old_database(postgres: RunningPostgres) -> AsyncIterator[asyncpg.Connection]:
    """checkin's, as the version before has it; as the owner."""
    service, revision = OLD
    name = "with_digests"
    await postgres.execute(f'CREATE DATABASE "{name}" OWNER {service}_owner')
    await postgres.execute(f"ALTER SCHEMA public OWNER TO {service}_owner", database=name)
    url = postgres.url(f"{service}_owner", name)
    engine = create_async_engine(url.replace("postgresql://", "postgresql+asyncpg://", 1))

    def upgrade(connection: Connection) -> None:
        config = alembic_config(service)
        config.attributes["connection"] = connection
        command.upgrade(config, revision)

    async with engine.begin() as connection:
        await connection.run_sync(upgrade)
    await engine.dispose()
    owner = await asyncpg.connect(url)
    yield owner
    await owner.close()
    await postgres.drop(name)


async def refuse_as_before(owner: Any, event_key: str, body: bytes) -> None:
    """As the version before does it."""
    await owner.execute(
        "INSERT INTO uncounted (source, event_key, verdict, reason, received_at, body_sha256) "
        "VALUES ('standard', $1, 'rejected', 'malformed', now(), $2) ON CONFLICT DO NOTHING",
        event_key,
        hashlib.sha256(body).digest(),
    )


async def park_as_before(owner: Any, event_id: Any, body: bytes) -> None:
    """As the version before does it."""
    await owner.execute(
        "INSERT INTO dead_letter (durable, subject, stream_seq, event_id, reason, body_sha256, payload) "
        "VALUES ('checkin-live', 'live.events.v1', 1, $1, 'r', $2, NULL) "
        "ON CONFLICT (durable, body_sha256) DO UPDATE SET reason = excluded.reason",
        event_id,
        hashlib.sha256(body).digest(),
    )


async def test_an_upgrade_takes_away_what_was_kept(
    postgres: RunningPostgres, old_database: asyncpg.Connection, tmp_path: Path
) -> None:
    owner, event_id = old_database, new_event_id()
    await refuse_as_before(owner, "e-1", BODY)
    await refuse_as_before(owner, DIGEST.hexdigest(), BODY)
    await park_as_before(owner, None, BODY)
    for body in (b"another body", b"of the same event"):
        await park_as_before(owner, event_id, body)
    rows = "SELECT u::text FROM uncounted u UNION ALL SELECT d::text FROM dead_letter d"
    assert len(gives_away(await owner.fetch(rows), BODY)) == 3, "nothing to take away: nothing is tested"

    await migrate("checkin", postgres.url("checkin_owner", "with_digests"))
    await refuse_as_before(owner, hashlib.sha256(b"x" + BODY).hexdigest(), b"x" + BODY)  # a replica that still runs
    await park_as_before(owner, None, b"x" + BODY)
    assert gives_away(await owner.fetch(rows), BODY, b"x" + BODY) == []
    assert await owner.fetchval("SELECT count(*) FROM uncounted WHERE event_key LIKE 'unnamed-%'") == 2
    assert await owner.fetchval("SELECT count(*) FROM uncounted WHERE event_key = 'e-1'") == 1
    assert await owner.fetchval("SELECT count(*) FROM dead_letter") == 4
    assert await owner.fetchval("SELECT count(*) FROM dead_letter WHERE message_key = $1", str(event_id)) == 1


async def test_a_refused_event_is_kept_once_under_a_key(database: DatabaseFactory, tmp_path: Path) -> None:
    """Once, also where it comes again to another process of the same deployment; another deployment's digests are others."""
    refused = [enrolment("a b", phone="13900000001", event_id="e-1"), {"phone": "13900000002"}]
    bodies = [bytes(item.raw) for item in read_body(json.dumps(refused).encode())]
    fresh, everything = await database("checkin"), "SELECT u::text FROM uncounted u"
    for _ in range(2):
        async with running_checkin(fresh, tmp_path) as service:
            await service.define(campaign_content())
            assert set(await service.post(*refused)) == {("rejected", "malformed")}
            kept = await service.rows(everything)
    assert len(kept) == len(refused)
    assert gives_away(kept, *bodies) == []
    async with running_checkin(await database("checkin"), tmp_path, DURING, link_key="another key " * 4) as service:
        await service.post(*refused)
        digests = {row[0] for row in await service.rows("SELECT body_hmac FROM uncounted")}
    async with running_checkin(fresh, tmp_path) as service:
        assert digests.isdisjoint(row[0] for row in await service.rows("SELECT body_hmac FROM uncounted"))


async def test_a_parked_message_is_kept_once_without_a_digest(database: DatabaseFactory) -> None:
    db = Database((await database("checkin")).url, pool_size=2)
    event = CertificateClaimedV1(
        event_id=new_event_id(),
        occurred_at=DURING,
        campaign_id="c",
        viewer_ids=["v"],
        serials=["s"],
        claimed_at=[DURING],
    )
    async with db.transaction() as tx:
        for _ in range(2):  # parked, and the server never heard so
            await park(tx, parked_message(BODY))
            await park(tx, parked_message(event.model_dump_json().encode(), stream_seq=2, event=event))
        await park(
            tx, parked_message(event.model_dump_json().encode(), stream_seq=9, event=event)
        )  # a stream made anew
        await park(tx, parked_message(BODY, stream_seq=3))
        rows = await tx.fetch("SELECT d::text FROM dead_letter d")
    await db.close()
    assert len(rows) == 3
    assert gives_away(rows, BODY) == []
