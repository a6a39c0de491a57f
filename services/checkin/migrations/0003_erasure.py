"""The record of what was forgotten."""

from shared.database.migrations import run
from shared.database.schema import ERASURE_V1

revision = "0003"
down_revision = "0002"
branch_labels = None
depends_on = None


def upgrade() -> None:
    run(ERASURE_V1)
