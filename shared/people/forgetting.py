"""What a service does when people are forgotten: each has an `Erasure` in its erasure.py, and upkeep/forget.py calls them all."""

from abc import ABC, abstractmethod
from collections.abc import Mapping
from datetime import datetime
from typing import ClassVar

from shared.database import Transaction
from shared.people import campaign_keys
from shared.people.erasure import NewName

Counts = dict[str, int]
"""Rows changed, by table."""


class ServiceErasure(ABC):
    """Of one service, for one run of a command. What takes `tx` may be done again, after a collision with the running service."""

    KNOWN_KEYS: ClassVar[tuple[str, ...]] = ()
    """Whose keys for a campaign the service knows: its own, and those it seals to."""

    def __init__(self, environment: Mapping[str, str]) -> None:
        """`environment`: the service's settings, as far as they can be read from here. Raises `CannotForget`."""
        self._environment = environment

    @abstractmethod
    async def forget_viewer(self, tx: Transaction, campaign_id: str, viewer_id: str, name: NewName) -> Counts: ...

    @abstractmethod
    async def forget_people(self, tx: Transaction, campaign_id: str) -> Counts:
        """Names, phones and what else is a secret of everybody in a campaign; accounts and numbers stay."""

    async def destroy_keys(self, tx: Transaction, campaign_id: str, now: datetime) -> int:
        """The campaign's keys that the service knows, for ever. How many that are."""
        return await campaign_keys.destroy(tx, campaign_id, self.KNOWN_KEYS, now)

    async def under_deployment_keys(self, tx: Transaction, campaign_id: str) -> int:
        """How many values it keeps, outside its ledger, that are not under the campaign's key: destroying that leaves them."""
        return 0

    @staticmethod
    async def people_due(tx: Transaction, at: datetime) -> int | None:
        """Whose contact data its retention job will have deleted at that time; None: it keeps none."""
        return None

    def committed(self) -> Counts:
        """Removes, once the transaction is committed, what it keeps outside the database. What that was."""
        return {}
