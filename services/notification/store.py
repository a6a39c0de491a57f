"""All SQL of notification. Rows of a statement are sorted and unique: its callers see to that (DESIGN §4.10)."""

import json
from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import asynccontextmanager
from datetime import datetime
from typing import Any, NamedTuple
from uuid import UUID

from services.notification.domain import CERTIFICATE_READY, Certificate, Plan, Reference, Status
from shared.contracts.campaign import CHANNELS, unknown_messages
from shared.database import Database, Transaction
from shared.database.columns import columns

Row = Any  # asyncpg.Record

ATTEMPT_MAY_TAKE_S = 90  # a channel is given 30 s, and its answer has to be stored

# --- facts, as the consumers hear them --------------------------------------------------------------------------------


class ContactRow(NamedTuple):
    campaign_id: str
    viewer_id: str
    enrolled_at: datetime
    enrolment_id: str
    phone: bytes
    phone_hash: bytes
    retain_until: datetime


class IssuedRow(NamedTuple):
    campaign_id: str
    viewer_id: str
    serial: str
    issued_at: datetime
    claim_code: bytes | None
    retain_until: datetime


class RevokedRow(NamedTuple):
    campaign_id: str
    viewer_id: str
    serial: str


async def keep_contacts(tx: Transaction, rows: Sequence[ContactRow]) -> None:
    """Keeps the latest phone of each viewer; messages that wait for one are planned again."""
    campaign_ids, viewer_ids, *rest = columns(rows, len(ContactRow._fields))
    await tx.execute(
        """
        INSERT INTO contact (campaign_id, viewer_id, enrolled_at, enrolment_id, phone, phone_hash, retain_until)
        SELECT * FROM unnest($1::text[], $2::text[], $3::timestamptz[], $4::text[], $5::bytea[], $6::bytea[],
                             $7::timestamptz[])
        ON CONFLICT (campaign_id, viewer_id) DO UPDATE
        SET enrolled_at = excluded.enrolled_at, enrolment_id = excluded.enrolment_id, phone = excluded.phone,
            phone_hash = excluded.phone_hash, retain_until = greatest(contact.retain_until, excluded.retain_until)
        WHERE contact.enrolled_at IS NULL
           OR (contact.enrolled_at, contact.enrolment_id) < (excluded.enrolled_at, excluded.enrolment_id)
        """,
        campaign_ids,
        viewer_ids,
        *rest,
    )
    await tx.execute(
        "UPDATE certificate SET planned_revision = 0 FROM unnest($1::text[], $2::text[]) AS given (campaign_id, viewer_id) "
        "WHERE certificate.campaign_id = given.campaign_id AND certificate.viewer_id = given.viewer_id",
        campaign_ids,
        viewer_ids,
    )


async def keep_issued(tx: Transaction, rows: Sequence[IssuedRow]) -> None:
    """Keeps certificates. The contact row, made here if need be, makes an enrolment that arrives at the same moment wait for
    us or us for it: otherwise each could miss the other, and the text would wait for ever."""
    campaign_ids, viewer_ids, serials, issued_at, claim_codes, retain_until = columns(rows, len(IssuedRow._fields))
    await tx.execute(
        """
        INSERT INTO contact (campaign_id, viewer_id, retain_until)
        SELECT campaign_id, viewer_id, max(retain_until)
        FROM unnest($1::text[], $2::text[], $3::timestamptz[]) AS given (campaign_id, viewer_id, retain_until)
        GROUP BY campaign_id, viewer_id ORDER BY campaign_id, viewer_id COLLATE "C"
        ON CONFLICT (campaign_id, viewer_id) DO UPDATE
        SET retain_until = greatest(contact.retain_until, excluded.retain_until)
        """,
        campaign_ids,
        viewer_ids,
        retain_until,
    )
    await tx.execute(
        """
        INSERT INTO certificate (campaign_id, viewer_id, serial, issued_at, claim_code)
        SELECT * FROM unnest($1::text[], $2::text[], $3::text[], $4::timestamptz[], $5::bytea[])
        ON CONFLICT (campaign_id, viewer_id, serial) DO UPDATE
        SET issued_at = excluded.issued_at, claim_code = excluded.claim_code, planned_revision = 0
        """,
        campaign_ids,
        viewer_ids,
        serials,
        issued_at,
        claim_codes,
    )


async def keep_revoked(tx: Transaction, rows: Sequence[RevokedRow]) -> None:
    await tx.execute(
        """
        INSERT INTO certificate (campaign_id, viewer_id, serial, revoked)
        SELECT *, true FROM unnest($1::text[], $2::text[], $3::text[])
        ON CONFLICT (campaign_id, viewer_id, serial) DO UPDATE SET revoked = true, planned_revision = 0
        """,
        *columns(rows, len(RevokedRow._fields)),
    )


# --- plans ------------------------------------------------------------------------------------------------------------


async def lock_certificates_to_plan(tx: Transaction, limit: int) -> list[tuple[str, str, str]]:
    """Certificates whose notification does not follow the facts and the definition in force, locked.

    Not those whose message is to go through a channel that only a newer version knows: planned without that rule, they would
    count as done and get no message from the newer version either.
    """
    rows = await tx.fetch(
        """
        SELECT certificate.campaign_id, viewer_id, serial
        FROM definition JOIN certificate ON certificate.campaign_id = definition.campaign_id
                                        AND certificate.planned_revision < definition.revision
        WHERE certificate.issued_at IS NOT NULL AND NOT EXISTS (
            SELECT FROM jsonb_array_elements(definition.rules -> 'messages') AS rule
            WHERE rule ->> 'event' = $2 AND rule ->> 'channel' <> ALL ($3)
        )
        LIMIT $1 FOR UPDATE OF certificate SKIP LOCKED
        """,
        limit,
        CERTIFICATE_READY,
        list(CHANNELS),
    )
    return [tuple(row) for row in rows]


async def certificates(tx: Transaction, keys: Sequence[tuple[str, str, str]]) -> list[Certificate]:
    """A statement of its own, after the lock: what was committed while we waited for the lock is seen."""
    rows = await tx.fetch(
        """
        SELECT campaign_id, viewer_id, serial, issued_at, revoked,
               claim_code IS NOT NULL AS has_claim_code, phone IS NOT NULL AS has_phone
        FROM unnest($1::text[], $2::text[], $3::text[]) AS given (campaign_id, viewer_id, serial)
        JOIN certificate USING (campaign_id, viewer_id, serial) JOIN contact USING (campaign_id, viewer_id)
        """,
        *columns(keys, 3),
    )
    return [Certificate(**row) for row in rows]


async def follow(tx: Transaction, plans: Mapping[UUID, Plan | None], now: datetime) -> None:
    """Makes notifications that were not sent look like their plan, and removes those without one."""
    ids = sorted(plans)
    await tx.execute(
        """
        MERGE INTO notification AS n
        USING unnest($1::uuid[], $2::text[], $3::text[], $4::text[], $5::text[], $6::text[], $7::text[], $8::text[],
                     $9::timestamptz[], $10::timestamptz[])
              AS p (id, campaign_id, kind, period, recipient, channel, status, reason, due_at, send_until)
        ON n.id = p.id
        WHEN MATCHED AND n.status IN ('queued', 'cancelled') AND p.status IS NULL THEN DELETE
        WHEN MATCHED AND n.status IN ('queued', 'cancelled') AND (n.channel, n.status, n.reason, n.due_at, n.send_until)
             IS DISTINCT FROM (p.channel, p.status, p.reason, greatest(n.retry_at, p.due_at), p.send_until) THEN UPDATE
             SET channel = p.channel, status = p.status, reason = p.reason, due_at = greatest(n.retry_at, p.due_at),
                 send_until = p.send_until, updated_at = $11
        WHEN NOT MATCHED AND p.status IS NOT NULL THEN INSERT
             (id, campaign_id, kind, period, recipient, channel, status, reason, due_at, send_until, updated_at)
             VALUES (p.id, p.campaign_id, p.kind, p.period, p.recipient, p.channel, p.status, p.reason, p.due_at,
                     p.send_until, $11)
        """,
        ids,
        *columns([_plan_values(plans[each]) for each in ids], 9),
        now,
    )


def _plan_values(plan: Plan | None) -> tuple[Any, ...]:
    return (None,) * 9 if plan is None else (*plan.key, *plan[1:])


async def mark_planned(tx: Transaction, planned: Mapping[tuple[str, str, str], int]) -> None:
    """`planned`: certificate → the revision of the definition that its notification follows."""
    await tx.execute(
        """
        UPDATE certificate SET planned_revision = given.revision
        FROM unnest($1::text[], $2::text[], $3::text[], $4::bigint[]) AS given (campaign_id, viewer_id, serial, revision)
        WHERE certificate.campaign_id = given.campaign_id AND certificate.viewer_id = given.viewer_id
          AND certificate.serial = given.serial
        """,
        *columns([(*key, revision) for key, revision in planned.items()], 4),
    )


# --- sending ----------------------------------------------------------------------------------------------------------


@asynccontextmanager
async def attempt(db: Database) -> AsyncIterator[int]:
    """A number for one call of a channel, locked for as long as the block runs. The lock is the proof of life: Postgres
    frees it the moment the process or its connection is gone, so what a crash left is known at once and without a clock."""
    async with db.transaction() as guard:
        await guard.may_take(ATTEMPT_MAY_TAKE_S)
        number: int = await guard.fetchval("SELECT nextval('attempt')")
        await guard.fetchval("SELECT pg_advisory_xact_lock(hashtextextended('attempt ' || $1::bigint, 0))", number)
        yield number


async def campaigns_due(tx: Transaction, channel: str, kind: str, now: datetime) -> list[str]:
    """Campaigns that have something of this kind to send."""
    rows = await tx.fetch(
        """
        SELECT campaign_id FROM definition WHERE EXISTS (
            SELECT FROM notification
            WHERE status = 'queued' AND reason IS NULL AND notification.campaign_id = definition.campaign_id
              AND kind = $1 AND channel = $2 AND due_at <= $3 AND send_until > $3
        ) ORDER BY campaign_id
        """,
        kind,
        channel,
        now,
    )
    return [row["campaign_id"] for row in rows]


async def claim_certificate_ready(
    tx: Transaction, campaign_id: str, channel: str, *, now: datetime, attempt: int, limit: int
) -> list[Row]:
    """Takes up to `limit` due notifications of a campaign for this attempt, and returns what their texts are made of."""
    return await tx.fetch(
        """
        WITH due AS (
            SELECT notification.id, contact.phone, certificate.claim_code
            FROM notification
            JOIN contact ON contact.campaign_id = notification.campaign_id AND contact.viewer_id = recipient
            JOIN certificate ON certificate.campaign_id = notification.campaign_id AND certificate.viewer_id = recipient
                            AND serial = period
            WHERE status = 'queued' AND reason IS NULL AND notification.campaign_id = $1 AND kind = 'certificate_ready'
              AND channel = $2 AND due_at <= $3 AND send_until > $3 AND phone IS NOT NULL AND NOT revoked
            ORDER BY due_at, id LIMIT $5 FOR UPDATE OF notification SKIP LOCKED
        )
        UPDATE notification
        SET status = 'sending', attempts = attempts + 1, attempt = $4, attempted_at = $3, updated_at = $3
        FROM due WHERE notification.id = due.id
        RETURNING notification.id, kind, period, recipient, due.phone, due.claim_code
        """,
        campaign_id,
        channel,
        now,
        attempt,
        limit,
    )


async def orphans_become_unknown(tx: Transaction, now: datetime) -> int:
    """What an attempt left behind whose process is gone, or whose channel call failed."""
    left = await tx.fetch("SELECT DISTINCT attempt FROM notification WHERE status = 'sending'")
    lock = "SELECT pg_try_advisory_xact_lock(hashtextextended('attempt ' || $1::bigint, 0))"
    dead = [row["attempt"] for row in left if await tx.fetchval(lock, row["attempt"])]
    if not dead:
        return 0
    rows = await tx.fetch(
        "UPDATE notification SET status = 'unknown', query_at = $2, updated_at = $2 "
        "WHERE status = 'sending' AND attempt = ANY($1) RETURNING id",
        dead,
        now,
    )
    return len(rows)


async def to_query(tx: Transaction, channel: str, now: datetime, limit: int) -> dict[Reference, int]:
    """Messages whose channel is to be asked what became of them, with the attempt the answer is about."""
    rows = await tx.fetch(
        "SELECT campaign_id, kind, id, attempt FROM notification "
        "WHERE status = 'unknown' AND query_at <= $2 AND channel = $1 ORDER BY query_at, id LIMIT $3",
        channel,
        now,
        limit,
    )
    return {Reference(row["campaign_id"], row["kind"], row["id"]): row["attempt"] for row in rows}


async def lock_attempted(tx: Transaction, attempts: Mapping[UUID, int]) -> list[Row]:
    """Notifications whose last attempt is still the given one: what is reported about an earlier one comes too late."""
    return await tx.fetch(
        "SELECT id, status, attempts FROM notification JOIN unnest($1::uuid[], $2::bigint[]) AS given (id, attempt) "
        "USING (id, attempt) ORDER BY id FOR UPDATE OF notification",
        *columns(sorted(attempts.items()), 2),
    )


class StatusChange(NamedTuple):
    id: UUID
    status: Status
    reason: str | None
    query_at: datetime | None
    retry_at: datetime | None


async def change_statuses(tx: Transaction, changes: Sequence[StatusChange], now: datetime) -> None:
    await tx.execute(
        """
        UPDATE notification
        SET status = given.status, reason = given.reason, query_at = given.query_at, retry_at = given.retry_at,
            due_at = greatest(due_at, given.retry_at), updated_at = $6
        FROM unnest($1::uuid[], $2::text[], $3::text[], $4::timestamptz[], $5::timestamptz[])
             AS given (id, status, reason, query_at, retry_at)
        WHERE notification.id = given.id
        """,
        *columns(changes, len(StatusChange._fields)),
        now,
    )


async def plan_again(tx: Transaction, ids: Sequence[UUID]) -> None:
    """While these were being sent, facts and definition may have changed without effect on them."""
    await tx.execute(
        "UPDATE certificate SET planned_revision = 0 FROM notification WHERE notification.id = ANY($1) "
        "AND certificate.campaign_id = notification.campaign_id AND viewer_id = recipient AND serial = period",
        list(ids),
    )


async def suppress_expired(tx: Transaction, now: datetime, limit: int) -> int:
    """Ends what could not be sent in time; what it waited for stays as the reason."""
    rows = await tx.fetch(
        """
        UPDATE notification SET status = 'suppressed', reason = coalesce(reason, 'expired'), updated_at = $1
        WHERE id IN (SELECT id FROM notification WHERE status = 'queued' AND send_until <= $1
                     ORDER BY id LIMIT $2 FOR UPDATE SKIP LOCKED)
        RETURNING id
        """,
        now,
        limit,
    )
    return len(rows)


async def distrust_queue(tx: Transaction) -> int:
    """After a restore: what was waiting may have been sent since. Not "send" and not "forget": the channel is asked first."""
    rows = await tx.fetch(
        """
        UPDATE notification
        SET status = 'unknown', query_at = updated_at, attempts = greatest(attempts, 1),
            attempt = coalesce(attempt, nextval('attempt')), attempted_at = coalesce(attempted_at, updated_at)
        WHERE status IN ('queued', 'sending') AND reason IS NULL RETURNING id
        """
    )
    return len(rows)


# --- texts that name no certificate -----------------------------------------------------------------------------------


class Text(NamedTuple):
    """A certificate's text that has been sent, or may be. Read in the order of its fields."""

    campaign_id: str
    serial: str
    viewer_id: str
    status: str


async def texts(tx: Transaction, after: Text | None, limit: int) -> list[Text]:
    """Of certificates that are not known as revoked: one that is gets no text any more, and one more is no news."""
    rows = await tx.fetch(
        """
        SELECT campaign_id, period, recipient, status FROM notification
        WHERE kind = 'certificate_ready' AND status IN ('queued', 'sending', 'unknown', 'accepted', 'delivered')
          AND (campaign_id, kind, period, recipient) > ($1, 'certificate_ready', $2, $3)
          AND (SELECT revoked FROM certificate WHERE certificate.campaign_id = notification.campaign_id
               AND viewer_id = recipient AND serial = period) IS NOT TRUE  -- row by row, by the index
        ORDER BY campaign_id, kind, period, recipient LIMIT $4
        """,
        *(after[:3] if after else ("", "", "")),
        limit,
    )
    return [Text(*row) for row in rows]


async def cancel_texts(tx: Transaction, unfounded: Sequence[Text], now: datetime) -> int:
    """Takes certificates that do not exist for revoked, so that no text is planned for them or sent once more; returns how many
    texts are cancelled that way. `unfounded`: as `texts` gives them."""
    await keep_revoked(tx, sorted({RevokedRow(text.campaign_id, text.viewer_id, text.serial) for text in unfounded}))
    rows = await tx.fetch(
        """
        UPDATE notification SET status = 'cancelled', reason = 'no_certificate', updated_at = $4
        FROM unnest($1::text[], $2::text[], $3::text[]) AS given (campaign_id, serial, viewer_id)
        WHERE notification.campaign_id = given.campaign_id AND kind = 'certificate_ready' AND period = given.serial
          AND recipient = given.viewer_id AND status = 'queued'
        RETURNING id
        """,
        *columns([text[:3] for text in unfounded], 3),
        now,
    )
    return len(rows)


async def certificates_known(tx: Transaction) -> dict[str, int]:
    """By campaign: certificates that are issued and not revoked, as far as we were told. Reads the whole table."""
    rows = await tx.fetch(
        "SELECT campaign_id, count(*) AS n FROM certificate WHERE issued_at IS NOT NULL AND NOT revoked GROUP BY 1"
    )
    return {row["campaign_id"]: row["n"] for row in rows}


# --- retention --------------------------------------------------------------------------------------------------------


async def lock_contacts_to_forget(tx: Transaction, now: datetime, limit: int) -> list[tuple[str, str]]:
    rows = await tx.fetch(
        "SELECT campaign_id, viewer_id FROM contact WHERE retain_until <= $1 "
        "ORDER BY retain_until LIMIT $2 FOR UPDATE SKIP LOCKED",
        now,
        limit,
    )
    return [tuple(row) for row in rows]


async def retain(tx: Transaction, rows: Sequence[tuple[str, str, datetime]]) -> None:
    await tx.execute(
        "UPDATE contact SET retain_until = given.retain_until "
        "FROM unnest($1::text[], $2::text[], $3::timestamptz[]) AS given (campaign_id, viewer_id, retain_until) "
        "WHERE contact.campaign_id = given.campaign_id AND contact.viewer_id = given.viewer_id",
        *columns(rows, 3),
    )


async def forget(tx: Transaction, viewers: Sequence[tuple[str, str]]) -> None:
    """Removes phones and claim codes; the notifications stay, they tell of nobody."""
    for table, cleared in (
        ("contact", "phone = NULL, phone_hash = NULL, retain_until = NULL"),
        ("certificate", "claim_code = NULL"),
    ):
        await tx.execute(
            f"UPDATE {table} SET {cleared} FROM unnest($1::text[], $2::text[]) AS given (campaign_id, viewer_id) "  # noqa: S608
            f"WHERE {table}.campaign_id = given.campaign_id AND {table}.viewer_id = given.viewer_id",
            *columns(viewers, 2),
        )


# --- reading ----------------------------------------------------------------------------------------------------------


async def counts(tx: Transaction, campaign_id: str, kind: str | None) -> dict[str, int]:
    rows = await tx.fetch(
        "SELECT status, count(*) AS n FROM notification WHERE campaign_id = $1 AND ($2::text IS NULL OR kind = $2) GROUP BY 1",
        campaign_id,
        kind,
    )
    return {row["status"]: row["n"] for row in rows}


async def page(
    tx: Transaction,
    campaign_id: str,
    *,
    kind: str | None,
    status: str | None,
    after: tuple[datetime, UUID] | None,
    limit: int,
) -> list[Row]:
    """Rows by `due_at`, with the encrypted phone of the recipient, if there is one."""
    return await tx.fetch(
        """
        SELECT id, kind, period, recipient, phone, channel, status, reason, due_at, attempted_at, updated_at
        FROM notification LEFT JOIN contact ON contact.campaign_id = notification.campaign_id AND viewer_id = recipient
        WHERE notification.campaign_id = $1 AND ($2::text IS NULL OR kind = $2) AND ($3::text IS NULL OR status = $3)
          AND ($4::timestamptz IS NULL OR (due_at, id) > ($4, $5::uuid))
        ORDER BY due_at, id LIMIT $6
        """,
        campaign_id,
        kind,
        status,
        *(after or (None, None)),
        limit,
    )


async def all_counts(tx: Transaction) -> list[Row]:
    return await tx.fetch(
        "SELECT campaign_id, kind, channel, status, count(*) AS n FROM notification GROUP BY 1, 2, 3, 4"
    )


async def oldest(tx: Transaction, now: datetime) -> list[Row]:
    """Per channel: since when the oldest sendable message is due, and the oldest unresolved attempt is open."""
    return await tx.fetch(
        """
        SELECT channel,
               min(due_at) FILTER (WHERE status = 'queued' AND reason IS NULL AND due_at <= $1) AS due_since,
               min(attempted_at) FILTER (WHERE status IN ('sending', 'unknown')) AS unresolved_since
        FROM notification WHERE (status = 'queued' AND reason IS NULL) OR status IN ('sending', 'unknown') GROUP BY 1
        """,
        now,
    )


async def rules_unknown(tx: Transaction) -> dict[str, int]:
    """How many message rules of each campaign's definition in force only a newer version knows."""
    rows = await tx.fetch("SELECT campaign_id, rules -> 'messages' AS messages FROM definition ORDER BY campaign_id")
    return {
        row["campaign_id"]: len(unknown_messages({"messages": json.loads(row["messages"] or "[]")})) for row in rows
    }


async def unplanned(tx: Transaction) -> int:
    n: int = await tx.fetchval(
        """
        SELECT count(*) FROM certificate LEFT JOIN definition USING (campaign_id)
        WHERE issued_at IS NOT NULL AND planned_revision < coalesce(definition.revision, 1)
        """
    )
    return n
