"""Campaigns: the definitions in force and their revisions."""

from datetime import datetime
from typing import Any, NamedTuple

from shared.database import Transaction

DEFINITIONS_LOCK = 0x43_41_4D_50  # shared while events are classified, exclusive while a definition changes


class CampaignRow(NamedTuple):
    campaign_no: int
    campaign_id: str
    revision: int
    public_keys: (
        str | None
    )  # JSON, recipient → its key for this campaign (shared/people/campaign_keys.py), null: destroyed


async def hold_definitions(tx: Transaction) -> list[CampaignRow]:
    """The revisions in force; none changes before this transaction ends. The lock is a statement of its own, so that revisions
    are read after it is held."""
    await tx.execute("SELECT pg_advisory_xact_lock_shared($1)", DEFINITIONS_LOCK)
    rows = await tx.fetch(
        """
        SELECT campaign_no, campaign_id, revision,
               (SELECT jsonb_object_agg(recipient, CASE WHEN destroyed_at IS NULL THEN public_key END)
                FROM campaign_key WHERE campaign_key.campaign_id = campaign.campaign_id)
        FROM campaign
        """
    )
    return [CampaignRow(*row) for row in rows]


async def change_definitions(tx: Transaction) -> None:
    """Waits until no transaction classifies events, and keeps others from classifying until this one ends."""
    await tx.execute("SELECT pg_advisory_xact_lock($1)", DEFINITIONS_LOCK)


async def definition(tx: Transaction, campaign_id: str) -> Any | None:
    """The row (revision, content_hash, definition as JSON text) or None."""
    return await tx.fetchrow(
        "SELECT campaign_no, revision, content_hash, definition FROM campaign WHERE campaign_id = $1", campaign_id
    )


async def campaigns(tx: Transaction, campaign_id: str | None, after: str, limit: int) -> list[Any]:
    """Rows (campaign_id, title, revision) by id, of one campaign or of all; the page after `after`."""
    return await tx.fetch(
        "SELECT campaign_id, definition->>'title' AS title, revision FROM campaign "
        'WHERE ($1::text IS NULL OR campaign_id = $1) AND campaign_id > $2 COLLATE "C" ORDER BY campaign_id COLLATE "C" LIMIT $3',
        campaign_id,
        after,
        limit,
    )


async def platforms(tx: Transaction) -> list[Any]:
    """Rows (campaign_id, source, title, modes) of all campaigns, as their definitions list them."""
    return await tx.fetch(
        """
        SELECT campaign_id, platform->>'source' AS source, platform->>'title' AS title,
               ARRAY(SELECT jsonb_array_elements_text(platform->'modes')) AS modes
        FROM campaign
        CROSS JOIN jsonb_array_elements(coalesce(definition->'platforms', '[]')) WITH ORDINALITY AS listed (platform, position)
        ORDER BY campaign_id COLLATE "C", position
        """
    )


async def save_definition(
    tx: Transaction, campaign_id: str, revision: int, content_hash: str, definition: str, actor: str, now: datetime
) -> None:
    await tx.execute(
        """
        INSERT INTO campaign (campaign_id, revision, content_hash, definition) VALUES ($1, $2, $3, $4)
        ON CONFLICT (campaign_id) DO UPDATE
        SET revision = excluded.revision, content_hash = excluded.content_hash, definition = excluded.definition
        """,
        campaign_id,
        revision,
        content_hash,
        definition,
    )
    await tx.execute(
        "INSERT INTO campaign_revision (campaign_id, revision, definition, actor, applied_at) VALUES ($1, $2, $3, $4, $5)",
        campaign_id,
        revision,
        definition,
        actor,
        now,
    )


async def forms_of_revisions(tx: Transaction, campaign_id: str) -> list[str]:
    """The forms (JSON) of every revision that had any; equal ones once."""
    rows = await tx.fetch(
        "SELECT DISTINCT definition->'forms' AS forms FROM campaign_revision "
        "WHERE campaign_id = $1 AND definition->'forms' IS NOT NULL",
        campaign_id,
    )
    return [row["forms"] for row in rows]


async def has_checkins(tx: Transaction, campaign_id: str) -> bool:
    return bool(
        await tx.fetchval(
            "SELECT EXISTS (SELECT FROM verdict_count WHERE campaign_id = $1 AND type = 'viewer.checked_in' "
            "AND verdict IN ('recorded', 'stored'))",
            campaign_id,
        )
    )
