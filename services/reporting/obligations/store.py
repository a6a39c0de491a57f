"""All SQL of obligations. Every revision of a campaign's forms is kept, because a period keeps the forms that were in force
when it opened."""

import json
from typing import Any, NamedTuple

from shared.contracts.checkin import FormsDefinedV1
from shared.database import Transaction


class FormsRevision(NamedTuple):
    """A campaign's forms and indicators (JSON) as of a revision of its definition."""

    campaign_id: str
    revision: int
    forms: list[dict[str, Any]]
    indicators: list[dict[str, Any]]


async def keep_forms(tx: Transaction, event: FormsDefinedV1) -> None:
    """Keeps a revision's forms; a repeat changes nothing."""
    await tx.execute(
        "INSERT INTO forms_revision (campaign_id, revision, defined_at, forms, indicators) VALUES ($1, $2, $3, $4, $5) "
        "ON CONFLICT DO NOTHING",
        event.campaign_id,
        event.revision,
        event.occurred_at,
        json.dumps(event.forms, ensure_ascii=False),
        json.dumps(event.indicators, ensure_ascii=False),
    )


async def forms_in_force(tx: Transaction) -> list[FormsRevision]:
    """The highest revision of each campaign that has or had forms, ordered by campaign."""
    rows = await tx.fetch(
        "SELECT DISTINCT ON (campaign_id) campaign_id, revision, forms, indicators FROM forms_revision "
        "ORDER BY campaign_id, revision DESC"
    )
    return [FormsRevision(row[0], row[1], json.loads(row[2]), json.loads(row[3])) for row in rows]
