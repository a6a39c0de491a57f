"""What checkin tells upkeep: its figures, which agreement.py compares with those of others, and who the platforms are."""

from typing import NamedTuple

from services.checkin import store
from services.checkin.domain import LIVE_ROOM_ACTIONS
from shared.database import Transaction


async def facts_by_lesson(tx: Transaction) -> dict[tuple[str, str, str], int]:
    """How many facts checkin has taken by (campaign_id, lesson_date, kind); kinds have the names that events give them."""
    taken = await store.facts_by_lesson(tx)
    return {(campaign, lesson, LIVE_ROOM_ACTIONS.get(kind, kind)): n for (campaign, lesson, kind), n in taken.items()}


class Platform(NamedTuple):
    """A platform as a campaign's definition has it."""

    campaign_id: str
    source: str
    title: str
    modes: list[str]


async def platforms(tx: Transaction) -> list[Platform]:
    """The platforms of all campaigns."""
    return [Platform(*row) for row in await store.platforms(tx)]
