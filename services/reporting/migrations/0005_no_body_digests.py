"""No digest of a parked message's body: it gave a phone in it away."""

from shared.database.migrations import run
from shared.database.schema import DEAD_LETTER_V2

revision = "0005"
down_revision = "0004"
branch_labels = None
depends_on = None


def upgrade() -> None:
    run(DEAD_LETTER_V2)
