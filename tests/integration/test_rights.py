"""What a service's own role may do to each of its tables: no more than its code does. A table that nobody listed fails."""

from typing import Any

import asyncpg
import pytest

from shared.bus.topology import SERVICES
from shared.database.migrate import migrate
from tests.support.databases import DatabaseFactory

# a: append (INSERT), w: write (UPDATE), w(…): only these columns, d: DELETE. Everything can be read. As in psql's \dp.
EVERYWHERE = {
    "alembic_version": "",
    "outbox": "a",  # the ledger
    "outbox_pending": "awd",  # FOR UPDATE needs w
    "inbox": "a",
    "dead_letter": "aw",
    "erasure": "a w(counts,erased_at)",
    "held_message": "awd",
    "heartbeat": "awd",  # those of processes that are gone
    "person_generation": "aw",
    "ended_session": "ad",
}
DEFINITIONS = {"definition": "aw", "definition_page": "ad", "unit": "ad"}  # pages of older revisions go
RIGHTS = {
    "checkin": EVERYWHERE
    | {
        "campaign": "aw",
        "campaign_key": "aw",
        "campaign_revision": "a",
        "viewer": "aw",
        "enrolment": "a w(has_contact)",
        "uncounted": "a",
        "live_room_action": "a",
        "verdict_count": "aw",
        "credited_days_count": "aw",
        "make_good": "a w(granted)",
        "platform_count": "aw",
        "certificate": "aw",
        "feed_heard": "aw",
        "viewer_link_given": "a",
    },
    "reporting": EVERYWHERE
    | DEFINITIONS
    | {
        "total": "aw",
        "live_room_total": "aw",
        "platform_total": "aw",
        "certificate_holder": "aw",
        "certificate_total": "awd",
        "viewer_move": "aw",
        "forms_revision": "a",
        "opened_period": "a",
        "obligation": "aw",
        "report": "a",
        "obligation_change": "a",
        "reminder": "a",
        "report_to_look_at": "awd",
        "finding": "a w(state)",
        "finding_change": "a",
        "person": "aw",
        "person_change": "a",
        "session": "awd",
        "authenticator": "awd",
        "recovery_code": "awd",
        "picture": "ad w(retain_until,used_at)",
        "wrong_try": "awd",
        "campaign_key": "aw",
        "liaison": "aw",
        "liaison_change": "a",
        "liaison_code": "awd",
        "device": "awd",
    },
    "notification": EVERYWHERE
    | DEFINITIONS
    | {"campaign_key": "aw", "contact": "awd", "certificate": "aw", "notification": "awd"}
    | {"liaison_contact": "aw", "liaison_reveal": "a"},
    "certificate": EVERYWHERE
    | DEFINITIONS
    | {
        "campaign_key": "aw",
        "contact": "awd",
        "completion": "a w(issued)",
        "certificate": "aw",
        "wrong_claim": "awd",  # of the release before
        "wrong_try": "awd",
        "signing_key": "a",
    },
}
FOUND = """
SELECT relname, has_table_privilege(oid, 'SELECT'), has_table_privilege(oid, 'INSERT'), has_table_privilege(oid, 'UPDATE'),
       has_table_privilege(oid, 'DELETE'), has_table_privilege(oid, 'TRUNCATE') OR has_table_privilege(oid, 'TRIGGER'),
       (SELECT coalesce(string_agg(attname, ',' ORDER BY attname), '') FROM pg_attribute
        WHERE attrelid = c.oid AND attnum > 0 AND NOT attisdropped AND has_column_privilege(c.oid, attnum, 'UPDATE')),
       relowner = current_user::regrole
FROM pg_class c WHERE relnamespace = 'public'::regnamespace AND relkind IN ('r', 'p', 'v', 'm')
"""


def written(row: Any) -> str:
    _, reads, inserts, updates, deletes, more, columns, owns = row
    assert reads
    assert not more
    assert not owns
    short = ("a" if inserts else "") + ("w" if updates else "") + ("d" if deletes else "")
    return short if updates or not columns else f"{short} w({columns})"


@pytest.mark.parametrize("service", SERVICES)
async def test_a_service_may_do_what_it_does_and_no_more(database: DatabaseFactory, service: str) -> None:
    fresh = await database(service)
    for again in (False, True):
        if again:  # as every start of a deployment does
            await migrate(service, fresh.owner_url)
        connection = await asyncpg.connect(fresh.url)
        rows = await connection.fetch(FOUND)
        await connection.close()
        views = {row["relname"] for row in rows} - RIGHTS[service].keys()
        written_rights = {row["relname"]: written(row) for row in rows if row["relname"] in RIGHTS[service]}
        assert (written_rights, views) == (RIGHTS[service], set()), (
            "a new table: say here and in its rights.py what its service does to it"
        )


@pytest.mark.parametrize(
    "statement",
    [
        "UPDATE outbox SET payload = ''",
        "DELETE FROM outbox",
        "UPDATE uncounted SET reason = 'late'",
        "UPDATE make_good SET actor = 'somebody else'",
        "DELETE FROM viewer",
        "UPDATE alembic_version SET version_num = '9999'",
        "UPDATE campaign_revision SET actor = 'somebody else'",
        "DELETE FROM erasure",
        "TRUNCATE outbox",
        "ALTER TABLE outbox DISABLE TRIGGER ALL",
        "CREATE TABLE mine (n int)",
    ],
)
async def test_a_service_cannot_rewrite_what_was_done(database: DatabaseFactory, statement: str) -> None:
    connection = await asyncpg.connect((await database("checkin")).url)
    with pytest.raises(asyncpg.InsufficientPrivilegeError):
        await connection.execute(statement)
    await connection.close()
