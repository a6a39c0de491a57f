"""What notification's own role may not do to its tables (shared/database/rights.py)."""

WITHHELD = {
    "certificate": "DELETE",
}
CHANGING: dict[str, str] = {}
