"""The public keys that signed certificates: what a former key has signed goes on being verified."""

from shared.database.migrations import run

revision = "0009"
down_revision = "0008"
branch_labels = None
depends_on = None

SIGNING_KEY = """
CREATE TABLE signing_key (
    key_id      text PRIMARY KEY,
    public_key  bytea NOT NULL
);
"""


def upgrade() -> None:
    run(SIGNING_KEY)
