"""Keeps in the database when each feed was last heard, so that every replica can say it, also after a restart."""

import asyncio
from datetime import datetime

from services.checkin.committer import Committer
from services.checkin.office import usecases
from shared.database import Database, DatabaseAway

KEEP_EVERY_S = 10.0


class HeardFeeds:
    """Writes what the committer has heard since the last time, every so often, and never in a commit of events."""

    def __init__(self, db: Database, committer: Committer, every_s: float = KEEP_EVERY_S) -> None:
        self._db = db
        self._every_s = every_s
        self._committer = committer
        self._kept: dict[tuple[str, str], datetime] = {}

    async def run(self) -> None:
        while True:
            await asyncio.sleep(self._every_s)
            try:
                await self.keep()
            except DatabaseAway:
                continue  # next time; a feed is not heard either while the database is away

    async def keep(self) -> None:
        heard = {key: at for key, at in self._committer.heard_at.items() if self._kept.get(key) != at}
        if heard:
            await self._db.in_transaction(lambda tx: usecases.keep_heard(tx, heard))
            self._kept |= heard
