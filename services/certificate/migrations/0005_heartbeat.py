"""The row by which a process sees that its commits are commits (shared/database/heartbeat.py)."""

from shared.database.migrations import run
from shared.database.schema import HEARTBEAT_V1

revision = "0005"
down_revision = "0004"
branch_labels = None
depends_on = None


def upgrade() -> None:
    run(HEARTBEAT_V1)
