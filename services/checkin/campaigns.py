"""Campaign definitions as checkin works with them: prepared once per revision; each transaction asks for the revision in
force."""

import asyncio
import json
from dataclasses import replace

from services.checkin import store
from services.checkin.domain import Campaign
from shared.contracts.campaign import CampaignDefinition
from shared.database import Transaction


class Catalogue:
    """The campaigns in force. Reads a definition again only when its revision has changed, keys only when they have."""

    def __init__(self) -> None:
        self._known: dict[str, Campaign] = {}
        self._public_keys: dict[str, str | None] = {}

    async def held(self, tx: Transaction) -> dict[str, Campaign]:
        """All campaigns; none of them changes before `tx` ends, on any replica."""
        rows = await store.hold_definitions(tx)
        for row in rows:
            known = self._known.get(row.campaign_id)
            if known is None or known.revision != row.revision:
                known = await _load(tx, row.campaign_id)  # meanwhile another transaction may do the same
            elif self._public_keys[row.campaign_id] == row.public_keys:
                continue
            self._public_keys[row.campaign_id] = row.public_keys
            self._known[row.campaign_id] = replace(known, public_keys=json.loads(row.public_keys or "{}"))
        return {row.campaign_id: self._known[row.campaign_id] for row in rows}


async def _load(tx: Transaction, campaign_id: str) -> Campaign:
    row = await store.definition(tx, campaign_id)
    assert row is not None  # noqa: S101 - listed by the same transaction
    return await asyncio.to_thread(_prepared, row["campaign_no"], row["revision"], row["definition"])  # up to 2 s


def _prepared(no: int, revision: int, definition: str) -> Campaign:
    return Campaign.of(no, revision, CampaignDefinition.model_validate_json(definition))
