"""What a service's own role may not do to the tables that every service has, though it may write all others.

`deploy/postgres/provision.sql` gives the role all it could need, every migration job takes back what stands here and in the
service's rights.py: what was done stays on record, what was published stays as it was, and only a migration changes the schema's
number. Whoever forgets people or restores a backup is the owner. tests/integration/test_rights.py has the whole table.
"""

WITHHELD = {
    "alembic_version": "INSERT, UPDATE, DELETE",
    "outbox": "UPDATE, DELETE",
    "inbox": "UPDATE, DELETE",
    "dead_letter": "DELETE",
    "definition": "DELETE",
    "definition_page": "UPDATE",
    "unit": "UPDATE",
    "campaign_key": "DELETE",
    "erasure": "UPDATE, DELETE",
}
# Of what is withheld above, the columns that it may change all the same.
CHANGING = {
    "erasure": "erased_at, counts",  # of expired data there is one row a day, which grows
}
