"""At which message a consumer stands that it cannot understand (shared/brake.py)."""

from shared.migrations import run
from shared.schema import HELD_MESSAGE_V1

revision = "0006"
down_revision = "0005"
branch_labels = None
depends_on = None


def upgrade() -> None:
    run(HELD_MESSAGE_V1)
