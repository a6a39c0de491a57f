"""Events that are kept one by one: those that were not counted, and actions in the live room."""

from collections.abc import Iterable
from typing import Any

from services.checkin.deciding import Uncounted
from services.checkin.sorting import Action, Key
from shared.database import Transaction
from shared.database.columns import columns


async def keep_uncounted(tx: Transaction, rows: Iterable[Uncounted]) -> set[tuple[str, str]]:
    """Keeps each event once; returns the (source, event_key) that were new."""
    by_key = {(row.source, row.event_key): row for row in reversed(list(rows))}
    new = await tx.fetch(
        """
        INSERT INTO uncounted (source, event_key, verdict, reason, campaign_id, viewer_id, type,
                               occurred_at, received_at, body_hmac)
        SELECT * FROM unnest($1::text[], $2::text[], $3::text[], $4::text[], $5::text[], $6::text[], $7::text[],
                             $8::timestamptz[], $9::timestamptz[], $10::bytea[])
        ON CONFLICT DO NOTHING RETURNING source, event_key
        """,
        *columns([by_key[key] for key in sorted(by_key)], len(Uncounted._fields)),
    )
    return {(row[0], row[1]) for row in new}


async def uncounted_of(tx: Transaction, campaign_id: str, viewer_id: str, limit: int) -> list[Any]:
    return await tx.fetch(
        "SELECT verdict, reason, type, occurred_at, received_at FROM uncounted WHERE campaign_id = $1 AND viewer_id = $2 "
        "ORDER BY occurred_at DESC LIMIT $3",
        campaign_id,
        viewer_id,
        limit,
    )


async def add_actions(tx: Transaction, campaign_no: int, actions: Iterable[Action]) -> set[Key]:
    """Stores live-room actions; returns the (viewer_id, event_id) of those that were new by id and by what was done."""
    rows = sorted(actions, key=_action_key)
    new = await tx.fetch(
        """
        INSERT INTO live_room_action (campaign_no, viewer_id, event_id, lesson_date, action, item, happened_at)
        SELECT $1, * FROM unnest($2::text[], $3::text[], $4::date[], $5::text[], $6::text[], $7::timestamptz[])
        ON CONFLICT DO NOTHING RETURNING viewer_id, event_id
        """,
        campaign_no,
        *columns(rows, len(Action._fields)),
    )
    return {(row[0], row[1]) for row in new}


def _action_key(action: Action) -> tuple[str, ...]:
    return action.viewer_id, action.action, action.item or "", action.event_id
