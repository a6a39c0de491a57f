"""Whose name and phone may be kept: a minor's only with a guardian's consent."""

from shared.database.migrations import run

revision = "0011"
down_revision = "0010"
branch_labels = None
depends_on = None

CONSENT = """
ALTER TABLE enrolment
    ADD COLUMN guardian_consent boolean NOT NULL DEFAULT false,
    ADD COLUMN has_contact boolean NOT NULL DEFAULT true  -- name or phone were published; of older ones nobody knows
"""


def upgrade() -> None:
    run(CONSENT)
