"""No digest of a parked message's body: it gave a phone in it away."""

from shared.database.migrations import run
from shared.database.schema import DEAD_LETTER_V2

revision = "0007"
down_revision = "0006"
branch_labels = None
depends_on = None


def upgrade() -> None:
    run(DEAD_LETTER_V2)
