"""Pictures of units' reports, re-encoded."""

from shared.database.migrations import run

revision = "0015"
down_revision = "0014"
branch_labels = None
depends_on = None

PICTURES = """
CREATE TABLE picture (
    picture_id   uuid PRIMARY KEY,
    campaign_id  text NOT NULL,
    unit_code    text NOT NULL,
    sha256       bytea NOT NULL,          -- of the upload: the same bytes of a unit are one picture
    near_hash    bigint,                  -- 64 bits of which a picture that looks the same has nearly all
    jpeg         bytea NOT NULL,
    thumbnail    bytea NOT NULL,
    size         int NOT NULL,            -- bytes of both
    uploaded_at  timestamptz NOT NULL,
    used_at      timestamptz,             -- null: in no report, and deleted after seven days
    retain_until timestamptz NOT NULL,
    UNIQUE (campaign_id, unit_code, sha256)
);
ALTER TABLE picture ALTER jpeg SET STORAGE EXTERNAL, ALTER thumbnail SET STORAGE EXTERNAL; -- a JPEG does not get smaller
CREATE INDEX picture_by_retain_until ON picture (retain_until);
"""


def upgrade() -> None:
    run(PICTURES)
