"""The second step at signing in: an authenticator app's secret, and the codes for when the phone is lost."""

from shared.database.migrations import run

revision = "0013"
down_revision = "0012"
branch_labels = None
depends_on = None

SECOND_STEP = """
CREATE TABLE authenticator (                 -- of those who switched the second step on
    person_id uuid PRIMARY KEY,
    secret    bytea NOT NULL,                -- encrypted under reporting's key
    last_step bigint NOT NULL                -- the 30 seconds whose code was taken last; codes up to it are taken no more
);
CREATE TABLE recovery_code (                 -- deleted when used
    person_id uuid NOT NULL,
    code      bytea NOT NULL,                -- keyed hash
    PRIMARY KEY (person_id, code)
);
"""


def upgrade() -> None:
    run(SECOND_STEP)
