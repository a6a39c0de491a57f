"""What a service does when people are forgotten: each has an `Erasure` in its erasure.py, and upkeep/forget.py calls them all."""

from abc import ABC, abstractmethod
from collections.abc import Mapping
from datetime import datetime
from typing import ClassVar
from uuid import UUID

from shared.database import Transaction
from shared.people import campaign_keys, erasure
from shared.people.erasure import NewName

Counts = dict[str, int]
"""Rows changed, by table."""


class ServiceErasure(ABC):
    """The erasure in one service, for one run of a command. Methods that take `tx` may run again after a collision with the
    service."""

    KNOWN_KEYS: ClassVar[tuple[str, ...]] = ()
    """The recipients whose keys for a campaign the service knows: itself, and those it seals to."""

    ACTORS: ClassVar[Mapping[str, str]] = {}
    """The column of each table that says who of the office did something."""

    def __init__(self, environment: Mapping[str, str]) -> None:
        """`environment`: the service's settings, as far as they can be read from here. Raises `CannotForget`."""
        self._environment = environment

    @abstractmethod
    async def forget_viewer(self, tx: Transaction, campaign_id: str, viewer_id: str, name: NewName) -> Counts: ...

    @abstractmethod
    async def forget_people(self, tx: Transaction, campaign_id: str) -> Counts:
        """Forgets the names, phones and other secrets of everybody in a campaign; accounts and numbers stay."""

    async def forget_actor(self, tx: Transaction, name: str, person_id: UUID) -> Counts:
        """Forgets the name of somebody of the office: the person's id stands in its place wherever it says who did something."""
        return {
            table: await erasure.rename_actor(tx, table, column, name, str(person_id))
            for table, column in self.ACTORS.items()
        }

    async def forget_liaison(self, tx: Transaction, campaign_id: str, unit_code: str) -> Counts:
        """Forgets who reports for a unit; nothing in a service that knows no liaisons."""
        return {}

    async def destroy_keys(self, tx: Transaction, campaign_id: str, now: datetime) -> int:
        """Destroys the campaign's keys that the service knows, for ever; returns how many."""
        return await campaign_keys.destroy(tx, campaign_id, self.KNOWN_KEYS, now)

    async def under_deployment_keys(self, tx: Transaction, campaign_id: str) -> int:
        """How many values outside its ledger are not under the campaign's key, so that destroying the key leaves them
        readable."""
        return 0

    @staticmethod
    async def people_due(tx: Transaction, at: datetime) -> int | None:
        """How many people's contact data its retention job will have deleted at that time; None where it keeps none."""
        return None

    def committed(self) -> Counts:
        """Called once the transaction is committed: removes what the service keeps outside the database, and returns the counts
        of it."""
        return {}
