"""A name or phone tail that may not be kept is a row without a value, so that an older enrolment does not bring it back."""

from shared.database.migrations import run

revision = "0011"
down_revision = "0010"
branch_labels = None
depends_on = None


def upgrade() -> None:
    run("ALTER TABLE contact ALTER COLUMN value DROP NOT NULL")
