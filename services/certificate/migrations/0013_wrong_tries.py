"""Wrong claims are counted in the table that other wrong tries have (shared/service/wrong_tries.py).

`wrong_claim` stays, empty, for replicas of the release before that run beside this one; they and we count apart while they do.
"""

from shared.database.migrations import run
from shared.database.schema import WRONG_TRY_V1

revision = "0013"
down_revision = "0012"
branch_labels = None
depends_on = None


def upgrade() -> None:
    run(WRONG_TRY_V1)
