"""Sums, which upkeep/agreement.py compares with checkin's counts, and upkeep/repair.py empties where they are too high."""

from services.reporting.totals.usecases import facts_by_lesson, forget_everything_derived

__all__ = ["facts_by_lesson", "forget_everything_derived"]
