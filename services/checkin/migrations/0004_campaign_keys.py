"""Keys of one campaign, which can be destroyed."""

from shared.database.migrations import run
from shared.database.schema import CAMPAIGN_KEY_V1

revision = "0004"
down_revision = "0003"
branch_labels = None
depends_on = None


def upgrade() -> None:
    run(CAMPAIGN_KEY_V1)
