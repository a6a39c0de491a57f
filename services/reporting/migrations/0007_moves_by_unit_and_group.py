"""A viewer's unit and group may be moved by different enrolments: which enrolment moved the group is kept apart."""

from shared.database.migrations import run

revision = "0007"
down_revision = "0006"
branch_labels = None
depends_on = None

MOVES = """
ALTER TABLE viewer_move
    ALTER COLUMN unit_code DROP NOT NULL,     -- null: not moved, and the next two as well
    ALTER COLUMN enrolled_at DROP NOT NULL,
    ALTER COLUMN enrolment_id DROP NOT NULL,
    ALTER COLUMN group_code DROP NOT NULL,
    ADD COLUMN group_enrolled_at timestamptz,
    ADD COLUMN group_enrolment_id text COLLATE "C";
UPDATE viewer_move SET group_enrolled_at = enrolled_at, group_enrolment_id = enrolment_id;
"""


def upgrade() -> None:
    run(MOVES)
