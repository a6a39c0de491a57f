"""Receipts: what a unit gets for a report, and what anybody can check later (DESIGN §5.2). Pure."""

import hashlib
import secrets
from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Any, Final

from services.reporting.obligations.domain import ObligationKey
from services.reporting.obligations.values import canonical
from shared.codes import DrawBelow, grouped, normalised, valid_check_symbol, with_check_symbol

NUMBER_LENGTH: Final = 12  # 11 random symbols and the check symbol


def new_number(draw: DrawBelow = secrets.randbelow) -> str:
    """The number of a receipt, such as `7K3M-9QXV-2HDN`; random, so it tells neither order nor count."""
    return grouped(with_check_symbol(NUMBER_LENGTH - 1, draw))


def number_as_kept(typed: str) -> str | None:
    """A number as a person types it; None where it cannot be one, by its check symbol too."""
    symbols = normalised(typed, NUMBER_LENGTH)
    return grouped(symbols) if symbols is not None and valid_check_symbol(symbols) else None


def digest(key: ObligationKey, version: int, submitted_at: datetime, values: Mapping[str, Any]) -> bytes:
    """SHA-256 over what was reported, for which period, by whom and when. JSON in UTF-8, keys sorted, nothing between its tokens,
    the time in UTC: whoever has the values can compute it and compare."""
    content = key._asdict() | {
        "version": version,
        "submitted_at": submitted_at.astimezone(UTC).isoformat(timespec="microseconds"),
        "values": values,
    }
    return hashlib.sha256(canonical(content)).digest()
