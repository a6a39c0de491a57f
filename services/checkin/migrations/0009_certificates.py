"""What viewers' own pages say of certificates: claimed, revoked, replaced. Kept as the certificate service tells it."""

from shared.database.migrations import run

revision = "0009"
down_revision = "0008"
branch_labels = None
depends_on = None

CERTIFICATE = """
CREATE TABLE certificate (
    campaign_id  text NOT NULL,
    viewer_id    text NOT NULL,
    serial       text NOT NULL,
    claimed_at   timestamptz,
    revoked_at   timestamptz,
    reissued_as  text,
    PRIMARY KEY (campaign_id, serial)
);
CREATE INDEX ON certificate (campaign_id, viewer_id);
"""


def upgrade() -> None:
    run(CERTIFICATE)
