"""SQL of certificates as notification knows them. Callers pass rows that are sorted and unique."""

from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import Any, NamedTuple

from services.notification.plans.certificates.domain import CERTIFICATE_READY, Certificate, Text
from shared.contracts.campaign import CHANNELS
from shared.database import Transaction
from shared.database.columns import columns

Row = Any  # asyncpg.Record

# --- facts ------------------------------------------------------------------------------------------------------------


class Cause(NamedTuple):
    """Which certificate a message is about."""

    campaign_id: str
    viewer_id: str
    serial: str


class IssuedRow(NamedTuple):
    campaign_id: str
    viewer_id: str
    serial: str
    issued_at: datetime
    claim_code: bytes | None


async def keep_issued(tx: Transaction, rows: Sequence[IssuedRow]) -> None:
    """Keeps issued certificates, whose messages are then planned. The caller must have called `touch_contacts` (plans/store.py)
    for their holders in this transaction."""
    await tx.execute(
        """
        INSERT INTO certificate (campaign_id, viewer_id, serial, issued_at, claim_code)
        SELECT * FROM unnest($1::text[], $2::text[], $3::text[], $4::timestamptz[], $5::bytea[])
        ON CONFLICT (campaign_id, viewer_id, serial) DO UPDATE
        SET issued_at = excluded.issued_at, claim_code = excluded.claim_code, planned_revision = 0
        """,
        *columns(rows, len(IssuedRow._fields)),
    )


async def keep_revoked(tx: Transaction, rows: Sequence[Cause]) -> None:
    """Marks certificates as revoked, known or not yet known; their messages are planned again."""
    await tx.execute(
        """
        INSERT INTO certificate (campaign_id, viewer_id, serial, revoked)
        SELECT *, true FROM unnest($1::text[], $2::text[], $3::text[])
        ON CONFLICT (campaign_id, viewer_id, serial) DO UPDATE SET revoked = true, planned_revision = 0
        """,
        *columns(rows, len(Cause._fields)),
    )


# --- plans ------------------------------------------------------------------------------------------------------------


async def lock_to_plan(tx: Transaction, limit: int) -> list[Cause]:
    """Certificates whose notification does not follow the facts and the definition in force, locked.

    It leaves out those whose message is to go through a channel that only a newer version knows. Planned without that rule they
    would count as done, and the newer version would not send a message either.
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
    return [Cause(*row) for row in rows]


async def certificates(tx: Transaction, keys: Sequence[Cause]) -> list[Certificate]:
    """Reads certificates after they were locked. It is a statement of its own, so that it sees what was committed while this
    transaction waited for the lock."""
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


async def mark_planned(tx: Transaction, planned: Mapping[Cause, int]) -> None:
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


async def plan_again(tx: Transaction, causes: Sequence[Cause]) -> None:
    """Makes `lock_to_plan` return these certificates again."""
    await tx.execute(
        """
        UPDATE certificate SET planned_revision = 0
        FROM unnest($1::text[], $2::text[], $3::text[]) AS given (campaign_id, viewer_id, serial)
        WHERE certificate.campaign_id = given.campaign_id AND certificate.viewer_id = given.viewer_id
          AND certificate.serial = given.serial
        """,
        *columns(causes, 3),
    )


async def plan_again_for(tx: Transaction, viewers: Sequence[tuple[str, str]]) -> None:
    """Makes `lock_to_plan` return the certificates of these viewers, (campaign, viewer), again."""
    await tx.execute(
        "UPDATE certificate SET planned_revision = 0 FROM unnest($1::text[], $2::text[]) AS given (campaign_id, viewer_id) "
        "WHERE certificate.campaign_id = given.campaign_id AND certificate.viewer_id = given.viewer_id",
        *columns(viewers, 2),
    )


async def sendable(tx: Transaction, causes: Sequence[Cause]) -> list[Row]:
    """Encrypted phone and claim code of those certificates that are not revoked and whose holder can be reached."""
    return await tx.fetch(
        """
        SELECT campaign_id, viewer_id, serial, phone, claim_code
        FROM unnest($1::text[], $2::text[], $3::text[]) AS given (campaign_id, viewer_id, serial)
        JOIN certificate USING (campaign_id, viewer_id, serial) JOIN contact USING (campaign_id, viewer_id)
        WHERE phone IS NOT NULL AND NOT revoked
        """,
        *columns(causes, 3),
    )


async def unplanned(tx: Transaction) -> int:
    """The number of issued certificates whose message does not follow the definition in force."""
    n: int = await tx.fetchval(
        """
        SELECT count(*) FROM certificate LEFT JOIN definition USING (campaign_id)
        WHERE issued_at IS NOT NULL AND planned_revision < coalesce(definition.revision, 1)
        """
    )
    return n


# --- texts that name no certificate -----------------------------------------------------------------------------------


async def texts(tx: Transaction, after: Text | None, limit: int) -> list[Text]:
    """A page of the texts for certificates that are not known to be revoked. For a revoked one no text is sent any more."""
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
    """Marks certificates that do not exist as revoked, so that no text is planned for them or sent again; returns how many texts
    this cancels. `unfounded`: as `texts` gives them."""
    await keep_revoked(tx, sorted({Cause(text.campaign_id, text.viewer_id, text.serial) for text in unfounded}))
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
    """Counts, by campaign, certificates that are issued and not revoked as far as notification was told. Reads the whole
    table."""
    rows = await tx.fetch(
        "SELECT campaign_id, count(*) AS n FROM certificate WHERE issued_at IS NOT NULL AND NOT revoked GROUP BY 1"
    )
    return {row["campaign_id"]: row["n"] for row in rows}


# --- retention --------------------------------------------------------------------------------------------------------


async def forget(tx: Transaction, viewers: Sequence[tuple[str, str]]) -> None:
    """Removes the claim codes of these viewers, (campaign, viewer)."""
    await tx.execute(
        "UPDATE certificate SET claim_code = NULL "
        "FROM unnest($1::text[], $2::text[]) AS given (campaign_id, viewer_id) "
        "WHERE certificate.campaign_id = given.campaign_id AND certificate.viewer_id = given.viewer_id",
        *columns(viewers, 2),
    )
