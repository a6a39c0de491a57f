"""Naming a liaison answers the form that asks for one (FACTS A7): in the same transaction, or as soon as its period opens."""

from datetime import datetime

from services.reporting.definition import Definition
from services.reporting.liaisons import usecases as liaisons
from services.reporting.obligations import usecases as obligations
from services.reporting.obligations.usecases import Known, Sender
from shared.database import Transaction
from shared.definitions import Definitions
from shared.service.tokens import Principal


class Naming:
    """Stands above liaisons and obligations, which know nothing of each other."""

    def __init__(self, known: Known) -> None:
        self._known = known

    async def named(
        self, tx: Transaction, principal: Principal, campaign_id: str, unit_code: str, now: datetime
    ) -> None:
        """The unit has just named somebody."""
        await obligations.file_naming(tx, self._known, Sender.of(principal), campaign_id, unit_code, now, now)

    async def file_earlier(self, tx: Transaction, definitions: Definitions[Definition], now: datetime) -> int:
        """Files the reports of units that had named somebody before the period opened; returns how many."""
        filed = 0
        for campaign_id in await definitions.all(tx):
            asked = await obligations.units_asked_for_liaison(tx, self._known, campaign_id, now)
            named = await liaisons.liaisons(tx, campaign_id, asked) if asked else {}
            for liaison in named.values():
                sender = Sender(liaison.actor or "", "office", None)
                named_at = liaison.named_at or now
                filed += await obligations.file_naming(
                    tx, self._known, sender, campaign_id, liaison.unit_code, named_at, now
                )
        return filed
