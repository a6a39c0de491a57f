"""Campaign definitions in a consumer's database: pages come in any order, the highest complete revision is in force."""

import json
from typing import Any

from shared.contracts.checkin import CampaignDefinedV1
from shared.db import Transaction


async def keep(tx: Transaction, event: CampaignDefinedV1) -> bool:
    """Stores one page; puts its revision in force when that is now complete and newer. True if it did."""
    await tx.execute("SELECT pg_advisory_xact_lock(hashtextextended('definition ' || $1, 0))", event.campaign_id)
    current = await tx.fetchval("SELECT revision FROM definition WHERE campaign_id = $1", event.campaign_id)
    if current is not None and current >= event.revision:
        return False
    await _store_page(tx, event)
    stored = await tx.fetchval(
        "SELECT count(*) FROM definition_page WHERE campaign_id = $1 AND revision = $2",
        event.campaign_id,
        event.revision,
    )
    if stored < event.pages:
        return False
    await _put_in_force(tx, event)
    return True


async def _store_page(tx: Transaction, event: CampaignDefinedV1) -> None:
    await tx.execute(
        "INSERT INTO definition_page (campaign_id, revision, page, pages, rules) VALUES ($1, $2, $3, $4, $5) "
        "ON CONFLICT DO NOTHING",
        event.campaign_id,
        event.revision,
        event.page,
        event.pages,
        json.dumps(event.rules, ensure_ascii=False),
    )
    first = (event.page - 1) * 500
    await tx.execute(
        """
        INSERT INTO unit (campaign_id, revision, unit_code, parent_code, position, unit)
        SELECT $1, $2, * FROM unnest($3::text[], $4::text[], $5::int[], $6::jsonb[]) ON CONFLICT DO NOTHING
        """,
        event.campaign_id,
        event.revision,
        [unit["unit_code"] for unit in event.units],
        [unit.get("parent_code") for unit in event.units],
        list(range(first, first + len(event.units))),
        [json.dumps(unit, ensure_ascii=False) for unit in event.units],
    )


async def _put_in_force(tx: Transaction, event: CampaignDefinedV1) -> None:
    await tx.execute(
        "INSERT INTO definition (campaign_id, revision, rules) VALUES ($1, $2, $3) "
        "ON CONFLICT (campaign_id) DO UPDATE SET revision = excluded.revision, rules = excluded.rules",
        event.campaign_id,
        event.revision,
        json.dumps(event.rules, ensure_ascii=False),
    )
    for table in ("definition_page", "unit"):
        await tx.execute(
            f"DELETE FROM {table} WHERE campaign_id = $1 AND revision < $2",  # noqa: S608 - names from the line above
            event.campaign_id,
            event.revision,
        )


async def rules_in_force(tx: Transaction, campaign_id: str) -> dict[str, Any] | None:
    """The rules of the campaign as they were PUT, or None before its definition has arrived."""
    rules = await tx.fetchval("SELECT rules FROM definition WHERE campaign_id = $1", campaign_id)
    return None if rules is None else dict(json.loads(rules))
