"""Contacts, certificates as facts, notifications."""

from shared.database.migrations import run
from shared.database.schema import DEFINITION_V1, INBOX_V1, OUTBOX_V1

revision = "0001"
down_revision = None
branch_labels = None
depends_on = None

TABLES = """
CREATE TABLE contact (           -- how a viewer can be reached; a row without a phone says that a message waits for one
    campaign_id      text NOT NULL,
    viewer_id        text COLLATE "C" NOT NULL,
    enrolled_at      timestamptz,             -- of the latest enrolment that carried a phone (tie: larger enrolment_id)
    enrolment_id     text COLLATE "C",
    phone            bytea,                   -- encrypted, bound to campaign and viewer
    phone_hash       bytea,                   -- keyed HMAC of the normalised number: finds every row of one person
    retain_until     timestamptz,             -- then phone and claim codes are forgotten
    PRIMARY KEY (campaign_id, viewer_id)
);
CREATE INDEX contact_phone ON contact (phone_hash) WHERE phone_hash IS NOT NULL;
CREATE INDEX contact_retention ON contact (retain_until) WHERE retain_until IS NOT NULL;

CREATE TABLE certificate (       -- what the certificate service said; a revocation may come before the issue
    campaign_id      text NOT NULL,
    viewer_id        text COLLATE "C" NOT NULL,
    serial           text COLLATE "C" NOT NULL,
    issued_at        timestamptz,
    claim_code       bytea,                   -- encrypted, bound to campaign, viewer and serial
    revoked          boolean NOT NULL DEFAULT false,
    planned_revision bigint NOT NULL DEFAULT 0,  -- of the definition that its notification follows, 0: to be planned
    PRIMARY KEY (campaign_id, viewer_id, serial)
);
CREATE INDEX certificate_to_plan ON certificate (campaign_id, planned_revision) WHERE issued_at IS NOT NULL;

CREATE TABLE notification (      -- one per (campaign, kind, period, recipient), for ever; nothing in it tells who it is
    id               uuid PRIMARY KEY,        -- keyed HMAC of the key: the same in any order of arrival, and unguessable
    campaign_id      text NOT NULL,
    kind             text NOT NULL,
    period           text COLLATE "C" NOT NULL,  -- certificate_ready: the serial, so that a reissue tells its new code
    recipient        text COLLATE "C" NOT NULL,  -- certificate_ready: the viewer_id
    channel          text NOT NULL,
    status           text NOT NULL,
    reason           text,                    -- queued: what it waits for, else why it ended like this
    due_at           timestamptz NOT NULL,
    send_until       timestamptz NOT NULL,
    attempts         int NOT NULL DEFAULT 0,
    attempt          bigint,                  -- the last one; the sender holds a lock of this number while it lives
    attempted_at     timestamptz,
    query_at         timestamptz,             -- unknown: when the channel is asked (again)
    retry_at         timestamptz,             -- queued after an attempt that sent nothing: not before this
    updated_at       timestamptz NOT NULL,
    UNIQUE (campaign_id, kind, period, recipient)
);
CREATE SEQUENCE attempt;
CREATE INDEX notification_due ON notification (campaign_id, kind, channel, due_at, id)  -- a mass send has one due_at
    WHERE status = 'queued' AND reason IS NULL;
CREATE INDEX notification_expiring ON notification (send_until) WHERE status = 'queued';
CREATE INDEX notification_open ON notification (status, query_at) WHERE status IN ('sending', 'unknown');
CREATE INDEX notification_listed ON notification (campaign_id, due_at, id);
CREATE INDEX notification_counted ON notification (campaign_id, kind, channel, status);
"""


def upgrade() -> None:
    run(OUTBOX_V1, INBOX_V1, DEFINITION_V1, TABLES)
