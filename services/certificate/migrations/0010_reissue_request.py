"""Under which id of the office's a certificate was reissued: the same request again is answered and not done again."""

from shared.database.migrations import run

revision = "0010"
down_revision = "0009"
branch_labels = None
depends_on = None

REISSUE_REQUEST = """
ALTER TABLE certificate ADD COLUMN reissue_request text;
CREATE UNIQUE INDEX certificate_reissue_request ON certificate (campaign_id, reissue_request)
    WHERE reissue_request IS NOT NULL;
"""


def upgrade() -> None:
    run(REISSUE_REQUEST)
