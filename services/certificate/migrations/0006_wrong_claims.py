"""Wrong tries to claim, counted over all replicas. Unlogged: no backup has them, and after a crash of Postgres counting starts
anew."""

from shared.database.migrations import run

revision = "0006"
down_revision = "0005"
branch_labels = None
depends_on = None

WRONG_CLAIM = """
CREATE UNLOGGED TABLE wrong_claim (
    who        bytea PRIMARY KEY,       -- keyed hash of a claim code or of an address
    tried_at   timestamptz[] NOT NULL,  -- the last ones, at most as many as are allowed
    expires_at timestamptz NOT NULL     -- then none of them counts any more
);
"""


def upgrade() -> None:
    run(WRONG_CLAIM)
