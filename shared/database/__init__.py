"""Postgres: transactions (`Database`), batches as arrays (`columns`), migrations, and the heartbeat that shows commits are
real."""

from shared.database.columns import columns
from shared.database.transactions import (
    COLLISIONS,
    Database,
    DatabaseAway,
    Limits,
    OutcomeUnknown,
    RolledBack,
    Transaction,
    row_count,
)

__all__ = [
    "COLLISIONS",
    "Database",
    "DatabaseAway",
    "Limits",
    "OutcomeUnknown",
    "RolledBack",
    "Transaction",
    "columns",
    "row_count",
]
