"""What is held against checkin's counts (upkeep/agreement.py), and emptied where it goes beyond them (upkeep/repair.py)."""

from services.reporting.totals.store import facts_by_lesson, forget_everything_derived

__all__ = ["facts_by_lesson", "forget_everything_derived"]
