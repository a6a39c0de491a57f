"""SQL that all kinds of message share: contacts, and the rows of `notification` that were not sent.

Callers pass rows that are sorted and unique (DESIGN §4.10).
"""

import json
from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import Any, NamedTuple
from uuid import UUID

from services.notification.plans.domain import Plan
from shared.contracts.campaign import RETAIN_DAYS, unknown_messages
from shared.database import Transaction
from shared.database.columns import columns

# --- contacts ---------------------------------------------------------------------------------------------------------


class ContactRow(NamedTuple):
    campaign_id: str
    viewer_id: str
    enrolled_at: datetime
    enrolment_id: str
    phone: bytes | None  # None: it may not be kept
    phone_hash: bytes | None
    retain_until: datetime


# By how much a campaign's `retain_days` exceeds `RETAIN_DAYS`, which callers count with; 0 before its definition has arrived.
_RETAINED_LONGER = (
    "make_interval(days => coalesce((SELECT (rules->>'retain_days')::int FROM definition "  # noqa: S608
    f"WHERE definition.campaign_id = given.campaign_id), {RETAIN_DAYS}) - {RETAIN_DAYS})"
)


async def retain_for(tx: Transaction, campaign_id: str, days: int) -> None:
    """From now on the campaign's phones and claim codes are kept until `days` after the enrolment or the newest certificate,
    whichever is later."""
    await tx.execute(
        """
        UPDATE contact SET retain_until = given.retain_until
        FROM (
            SELECT contact.viewer_id, greatest(contact.enrolled_at, max(issued_at)) + make_interval(days => $2) AS retain_until
            FROM contact LEFT JOIN certificate USING (campaign_id, viewer_id)
            WHERE campaign_id = $1 AND retain_until IS NOT NULL GROUP BY contact.viewer_id, contact.enrolled_at
        ) AS given
        WHERE contact.campaign_id = $1 AND contact.viewer_id = given.viewer_id AND given.retain_until IS NOT NULL
          AND contact.retain_until <> given.retain_until
        """,
        campaign_id,
        days,
    )


async def keep_contacts(tx: Transaction, rows: Sequence[ContactRow]) -> None:
    """Keeps the latest phone of each viewer."""
    await tx.execute(
        f"""
        INSERT INTO contact (campaign_id, viewer_id, enrolled_at, enrolment_id, phone, phone_hash, retain_until)
        SELECT campaign_id, viewer_id, enrolled_at, enrolment_id, phone, phone_hash, retain_until + {_RETAINED_LONGER}
        FROM unnest($1::text[], $2::text[], $3::timestamptz[], $4::text[], $5::bytea[], $6::bytea[], $7::timestamptz[])
             AS given (campaign_id, viewer_id, enrolled_at, enrolment_id, phone, phone_hash, retain_until)
        ON CONFLICT (campaign_id, viewer_id) DO UPDATE
        SET enrolled_at = excluded.enrolled_at, enrolment_id = excluded.enrolment_id, phone = excluded.phone,
            phone_hash = excluded.phone_hash, retain_until = greatest(contact.retain_until, excluded.retain_until)
        WHERE contact.enrolled_at IS NULL
           OR (contact.enrolled_at, contact.enrolment_id) < (excluded.enrolled_at, excluded.enrolment_id)
           OR (contact.enrolled_at, contact.enrolment_id) = (excluded.enrolled_at, excluded.enrolment_id)
              AND excluded.phone IS NULL
        """,  # noqa: S608 - constants
        *columns(rows, len(ContactRow._fields)),
    )


async def touch_contacts(tx: Transaction, rows: Sequence[tuple[str, str, datetime]]) -> None:
    """Makes a contact without a phone for each viewer who has none, and keeps contacts until the given time at least.

    Call this before storing a fact about a viewer. It makes this transaction and one with an enrolment of the same viewer wait
    for each other; otherwise each could miss the other, and the text would wait for ever.
    """
    await tx.execute(
        f"""
        INSERT INTO contact (campaign_id, viewer_id, retain_until)
        SELECT campaign_id, viewer_id, max(retain_until + {_RETAINED_LONGER})
        FROM unnest($1::text[], $2::text[], $3::timestamptz[]) AS given (campaign_id, viewer_id, retain_until)
        GROUP BY campaign_id, viewer_id ORDER BY campaign_id, viewer_id COLLATE "C"
        ON CONFLICT (campaign_id, viewer_id) DO UPDATE
        SET retain_until = greatest(contact.retain_until, excluded.retain_until)
        """,  # noqa: S608 - constants
        *columns(rows, 3),
    )


async def phones(tx: Transaction, campaign_id: str, viewer_ids: Sequence[str]) -> dict[str, bytes]:
    """The encrypted phones of the viewers that have one."""
    rows = await tx.fetch(
        "SELECT viewer_id, phone FROM contact WHERE campaign_id = $1 AND viewer_id = ANY ($2) AND phone IS NOT NULL",
        campaign_id,
        list(viewer_ids),
    )
    return {row["viewer_id"]: row["phone"] for row in rows}


# --- plans ------------------------------------------------------------------------------------------------------------


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
        *columns([_plan_values(plans[notification_id]) for notification_id in ids], 9),
        now,
    )


def _plan_values(plan: Plan | None) -> tuple[Any, ...]:
    return (None,) * 9 if plan is None else (*plan.key, *plan[1:])


async def rules_unknown(tx: Transaction) -> dict[str, int]:
    """How many message rules of each campaign's definition in force only a newer version knows."""
    rows = await tx.fetch("SELECT campaign_id, rules -> 'messages' AS messages FROM definition ORDER BY campaign_id")
    return {
        row["campaign_id"]: len(unknown_messages({"messages": json.loads(row["messages"] or "[]")})) for row in rows
    }


# --- retention --------------------------------------------------------------------------------------------------------


async def lock_contacts_to_forget(tx: Transaction, now: datetime, limit: int) -> list[tuple[str, str]]:
    """Up to `limit` viewers, (campaign, viewer), whose contacts' time is over, locked."""
    rows = await tx.fetch(
        "SELECT campaign_id, viewer_id FROM contact WHERE retain_until <= $1 "
        "ORDER BY retain_until LIMIT $2 FOR UPDATE SKIP LOCKED",
        now,
        limit,
    )
    return [tuple(row) for row in rows]


async def retain(tx: Transaction, rows: Sequence[tuple[str, str, datetime]]) -> None:
    """Keeps contacts, (campaign, viewer), until another time."""
    await tx.execute(
        "UPDATE contact SET retain_until = given.retain_until "
        "FROM unnest($1::text[], $2::text[], $3::timestamptz[]) AS given (campaign_id, viewer_id, retain_until) "
        "WHERE contact.campaign_id = given.campaign_id AND contact.viewer_id = given.viewer_id",
        *columns(rows, 3),
    )


async def forget(tx: Transaction, viewers: Sequence[tuple[str, str]]) -> None:
    """Removes phones. The notifications stay, since they hold no phone and no text."""
    await tx.execute(
        "UPDATE contact SET phone = NULL, phone_hash = NULL, retain_until = NULL "
        "FROM unnest($1::text[], $2::text[]) AS given (campaign_id, viewer_id) "
        "WHERE contact.campaign_id = given.campaign_id AND contact.viewer_id = given.viewer_id",
        *columns(viewers, 2),
    )
