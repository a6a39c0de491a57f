"""At which message a consumer stands that it cannot understand (shared/bus/brake.py)."""

from shared.database.migrations import run
from shared.database.schema import HELD_MESSAGE_V1

revision = "0006"
down_revision = "0005"
branch_labels = None
depends_on = None


def upgrade() -> None:
    run(HELD_MESSAGE_V1)
