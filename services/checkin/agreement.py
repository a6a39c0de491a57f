"""What the other services' figures are held against (upkeep/agreement.py)."""

from services.checkin import store
from services.checkin.domain import LIVE_ROOM_ACTIONS
from shared.database import Transaction


async def facts_by_lesson(tx: Transaction) -> dict[tuple[str, str, str], int]:
    """How often something was taken: (campaign_id, lesson_date, kind), kinds by the names they have in events."""
    taken = await store.facts_by_lesson(tx)
    return {(campaign, lesson, LIVE_ROOM_ACTIONS.get(kind, kind)): n for (campaign, lesson, kind), n in taken.items()}
