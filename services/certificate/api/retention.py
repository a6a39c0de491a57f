"""What the public pages say of how long names and phones are kept."""

from contextlib import suppress

from shared.contracts.campaign import CampaignRules
from shared.database import Database, DatabaseAway
from shared.definitions import Definitions


class Retention:
    """For how many days after the enrolment the campaigns keep names and phones, as pages say it. While the database is away it
    answers as before, so that pages which need no database are still shown."""

    def __init__(self, db: Database, definitions: Definitions[CampaignRules]) -> None:
        self._db = db
        self._definitions = definitions
        self._days: set[int] = set()

    async def days(self) -> set[int]:
        with suppress(DatabaseAway):
            async with self._db.transaction() as tx:
                self._days = {rules.retain_days for rules in (await self._definitions.all(tx)).values()}
        return self._days
