"""The kinds of message. A new one is a folder beside `certificates`, a line in `KINDS`, and its placeholders in the contract."""

from collections.abc import Mapping, Sequence
from typing import Protocol

from services.notification.plans.certificates import usecases as certificates
from services.notification.plans.domain import Content, Key, Plan
from shared.database import Transaction
from shared.definitions import Definitions, InForce
from shared.people.campaign_keys import CampaignKeys


class Kind(Protocol):
    """A kind of message: it knows which facts cause its messages, and what they are made of.

    It keeps its facts in tables of its own, and with each fact the revision of the definition that the message follows.
    """

    @property
    def NAME(self) -> str:
        """The event in the campaign's message rules (`shared.contracts.campaign.MESSAGE_EVENTS`)."""
        ...

    async def plan(self, tx: Transaction, definitions: Definitions[InForce], limit: int) -> Mapping[Key, Plan | None]:
        """Plans up to `limit` messages that do not follow the facts and the definition in force; None: no such message.

        From now on these messages count as planned.
        """
        ...

    async def plan_again(self, tx: Transaction, keys: Sequence[Key]) -> None:
        """Makes the next `plan` look at these messages."""
        ...

    async def plan_again_for(self, tx: Transaction, viewers: Sequence[tuple[str, str]]) -> None:
        """Makes the next `plan` look at all messages to these viewers, (campaign, viewer), sorted, whose phones have changed."""
        ...

    async def contents(
        self, tx: Transaction, campaign_keys: CampaignKeys, keys: Sequence[Key]
    ) -> Mapping[Key, Content]:
        """Returns what these messages are made of. Raises where a key of `CONTACT_KEYS` is missing.

        Leaves out messages that must not be sent because their cause is gone or nobody can be reached.
        """
        ...

    async def forget(self, tx: Transaction, viewers: Sequence[tuple[str, str]]) -> None:
        """Removes what is personal in the facts about these viewers, (campaign, viewer)."""
        ...

    async def unplanned(self, tx: Transaction) -> int:
        """The number of facts whose message does not follow the definition in force."""
        ...


KINDS: Mapping[str, Kind] = {
    certificates.NAME: certificates,
}
