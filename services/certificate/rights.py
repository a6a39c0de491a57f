"""What certificate's own role may not do to its tables (shared/database/rights.py)."""

WITHHELD = {
    "completion": "UPDATE, DELETE",
    "certificate": "DELETE",
    "signing_key": "UPDATE, DELETE",
}
# The columns of these tables that the role may change all the same.
CHANGING = {"completion": "issued"}
