"""What a service's own role may not do to the tables that every service has; it may write all other tables.

`deploy/postgres/provision.sql` grants the role everything it could need; every migration job revokes what is listed here and in
the service's rights.py. So the role cannot change the record of what was done, published events, or the schema's number.
Forgetting people and restoring a backup are done as the owner. tests/integration/test_rights.py has the whole table.
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
    "person_generation": "DELETE",
    "ended_session": "UPDATE",
}
# Columns of the tables above that the role may change nevertheless.
CHANGING = {
    "erasure": "erased_at, counts",  # a day's row about expired data is added to
}
