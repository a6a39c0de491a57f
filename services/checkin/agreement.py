"""What checkin tells upkeep/agreement.py, which compares the other services' figures with it."""

from services.checkin import store
from services.checkin.domain import LIVE_ROOM_ACTIONS
from shared.database import Transaction


async def facts_by_lesson(tx: Transaction) -> dict[tuple[str, str, str], int]:
    """How many facts checkin has taken by (campaign_id, lesson_date, kind); kinds have the names that events give them."""
    taken = await store.facts_by_lesson(tx)
    return {(campaign, lesson, LIVE_ROOM_ACTIONS.get(kind, kind)): n for (campaign, lesson, kind), n in taken.items()}
