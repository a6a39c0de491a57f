"""What notification's own role may not do to its tables (shared/database/rights.py)."""

WITHHELD = {
    "certificate": "DELETE",
    "liaison_contact": "DELETE",
    "liaison_reveal": "UPDATE, DELETE",
}
CHANGING: dict[str, str] = {}
