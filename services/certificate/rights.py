"""What certificate's own role may not do to its tables (shared/database/rights.py)."""

WITHHELD = {
    "completion": "UPDATE, DELETE",
    "certificate": "DELETE",
    "signing_key": "UPDATE, DELETE",
}
# Columns of the tables above that the role may change nevertheless.
CHANGING = {"completion": "issued"}
