"""Unit and group are each those of the latest enrolment that gives one: which, where it is not the latest of all."""

from shared.database.migrations import run

revision = "0008"
down_revision = "0007"
branch_labels = None
depends_on = None

TOLD = """
ALTER TABLE viewer
    ADD COLUMN unit_at timestamptz,           -- null: as enrolled_at
    ADD COLUMN unit_by text COLLATE "C",      -- null: as enrolment_id
    ADD COLUMN group_at timestamptz,
    ADD COLUMN group_by text COLLATE "C"
"""


def upgrade() -> None:
    run(TOLD)
