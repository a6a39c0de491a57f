"""Texts, which upkeep/agreement.py compares with the certificates there are, and upkeep/repair.py cancels where there is none."""

from services.notification.plans.certificates.domain import Text
from services.notification.plans.certificates.usecases import cancel_texts, texts

__all__ = ["Text", "cancel_texts", "texts"]
