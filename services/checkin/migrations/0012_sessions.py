"""Which sessions of the office's people are over."""

from shared.database.migrations import run
from shared.database.schema import SESSION_V1

revision = "0012"
down_revision = "0011"
branch_labels = None
depends_on = None


def upgrade() -> None:
    run(SESSION_V1)
