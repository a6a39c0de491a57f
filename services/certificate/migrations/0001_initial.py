"""Who completed, their names, and their certificates."""

from shared.database.migrations import run
from shared.database.schema import DEFINITION_V1, INBOX_V1, OUTBOX_V1

revision = "0001"
down_revision = None
branch_labels = None
depends_on = None

TABLES = """
CREATE TABLE completion (          -- who reached the required days; unit and group as they were then
    campaign_id      text NOT NULL,
    viewer_id        text COLLATE "C" NOT NULL,
    unit_code        text NOT NULL,
    group_code       text NOT NULL,
    credited_lessons date[] NOT NULL,
    issued           boolean NOT NULL DEFAULT false,
    PRIMARY KEY (campaign_id, viewer_id)
);
CREATE INDEX completion_to_issue ON completion (campaign_id, viewer_id) WHERE NOT issued;
CREATE TABLE contact (             -- of the latest enrolment that tells it; one that does not takes nothing back
    campaign_id  text NOT NULL,
    viewer_id    text COLLATE "C" NOT NULL,
    field        text NOT NULL,    -- name or phone_tail
    enrolled_at  timestamptz NOT NULL,
    enrolment_id text COLLATE "C" NOT NULL,
    value        bytea NOT NULL,   -- encrypted
    retain_until timestamptz NOT NULL,
    PRIMARY KEY (campaign_id, viewer_id, field)
);
CREATE INDEX contact_retained ON contact (retain_until);
CREATE TABLE certificate (
    serial           text PRIMARY KEY,
    campaign_id      text NOT NULL,
    viewer_id        text COLLATE "C" NOT NULL,
    code             text NOT NULL UNIQUE,
    claim_code       bytea NOT NULL,         -- encrypted
    claim_code_hash  bytea NOT NULL UNIQUE,  -- keyed: finds it without keeping it in clear
    unit_code        text NOT NULL,
    group_code       text NOT NULL,
    campaign_title   text NOT NULL,
    issuer           text NOT NULL,
    name             bytea,                  -- encrypted
    credited_lessons date[] NOT NULL,
    issued_at        timestamptz NOT NULL,
    key_id           text NOT NULL,
    signature        bytea NOT NULL,
    corrected        boolean NOT NULL,       -- by the office: no enrolment changes the name any more
    claimed_at       timestamptz,
    revoked_at       timestamptz,
    revoked_by       text,
    revoke_reason    text,
    reissued_as      text
);
CREATE UNIQUE INDEX certificate_one_per_viewer ON certificate (campaign_id, viewer_id) WHERE revoked_at IS NULL;
CREATE INDEX certificate_of_viewer ON certificate (campaign_id, viewer_id, issued_at);
"""


def upgrade() -> None:
    run(TABLES, DEFINITION_V1, OUTBOX_V1, INBOX_V1)
