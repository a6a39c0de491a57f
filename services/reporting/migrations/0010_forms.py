"""Forms and indicators of campaigns, every revision: a period keeps the forms in force when it opened."""

from shared.database.migrations import run

revision = "0010"
down_revision = "0009"
branch_labels = None
depends_on = None

FORMS = """
CREATE TABLE forms_revision (
    campaign_id text NOT NULL,
    revision    integer NOT NULL,
    defined_at  timestamptz NOT NULL,
    forms       jsonb NOT NULL,
    indicators  jsonb NOT NULL,
    PRIMARY KEY (campaign_id, revision)
);
"""


def upgrade() -> None:
    run(FORMS)
