"""What certificate's own role may not do to its tables (shared/database/rights.py)."""

WITHHELD = {
    "completion": "UPDATE, DELETE",
    "certificate": "DELETE",
}
# Of what is withheld above, the columns that it may change all the same.
CHANGING = {"completion": "issued"}
