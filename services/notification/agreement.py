"""Texts that are held against the certificates there are (upkeep/agreement.py), and cancelled without one (upkeep/repair.py)."""

from services.notification.plans.certificates.store import Text, cancel_texts, texts

__all__ = ["Text", "cancel_texts", "texts"]
