"""Campaigns, viewers, enrolments, what was not counted, live-room actions."""

from shared.database.migrations import run
from shared.database.schema import INBOX_V1, OUTBOX_V1

revision = "0001"
down_revision = None
branch_labels = None
depends_on = None

TABLES = """
CREATE TABLE campaign (
    campaign_no  int GENERATED ALWAYS AS IDENTITY UNIQUE,  -- 4 bytes instead of the id in every viewer's row
    campaign_id  text PRIMARY KEY,
    revision     bigint NOT NULL,
    content_hash text NOT NULL,
    definition   jsonb NOT NULL
);
CREATE TABLE campaign_revision (  -- who changed what, and when
    campaign_id  text NOT NULL,
    revision     bigint NOT NULL,
    definition   jsonb NOT NULL,
    actor        text NOT NULL,
    applied_at   timestamptz NOT NULL,
    PRIMARY KEY (campaign_id, revision)
);
CREATE TABLE viewer (             -- one row per viewer; bit i of a set is lesson i (domain.Lessons)
    campaign_no  int NOT NULL,
    viewer_id    text COLLATE "C" NOT NULL,
    live         bigint NOT NULL DEFAULT 0,
    replay       bigint NOT NULL DEFAULT 0,
    late_live    bigint NOT NULL DEFAULT 0,
    late_replay  bigint NOT NULL DEFAULT 0,
    made_good    bigint NOT NULL DEFAULT 0,
    replay_first bigint NOT NULL DEFAULT 0,
    first        smallint,
    unit_code    text NOT NULL DEFAULT 'unassigned',
    group_code   text NOT NULL DEFAULT 'unassigned',
    channel      text,
    enrolled_at  timestamptz,
    enrolment_id text COLLATE "C",
    PRIMARY KEY (campaign_no, viewer_id)
) WITH (fillfactor = 75);         -- room for the next lesson's version on the same page (HOT)
CREATE TABLE enrolment (          -- each enrolment event once; no name, no phone
    campaign_no  int NOT NULL,
    viewer_id    text COLLATE "C" NOT NULL,
    enrolment_id text COLLATE "C" NOT NULL,
    enrolled_at  timestamptz NOT NULL,
    unit_code    text NOT NULL,
    group_code   text NOT NULL,
    channel      text,
    received_at  timestamptz NOT NULL,
    PRIMARY KEY (campaign_no, viewer_id, enrolment_id)
);
CREATE TABLE uncounted (          -- events refused, or kept without credit: "why is day 7 missing"
    source       text NOT NULL,
    event_key    text COLLATE "C" NOT NULL,  -- the event id, or the body's hash where it has none
    verdict      text NOT NULL,
    reason       text NOT NULL,
    campaign_id  text,
    viewer_id    text COLLATE "C",
    type         text,
    occurred_at  timestamptz,
    received_at  timestamptz NOT NULL,
    body_sha256  bytea NOT NULL,
    PRIMARY KEY (source, event_key)
);
CREATE INDEX uncounted_by_viewer ON uncounted (campaign_id, viewer_id);
CREATE TABLE live_room_action (
    campaign_no  int NOT NULL,
    viewer_id    text COLLATE "C" NOT NULL,
    event_id     text COLLATE "C" NOT NULL,
    lesson_date  date NOT NULL,
    action       text NOT NULL,
    item         text,
    happened_at  timestamptz NOT NULL,
    PRIMARY KEY (campaign_no, viewer_id, event_id)
);
CREATE TABLE verdict_count (      -- exact counts for /metrics; `slot` spreads concurrent committers over rows
    campaign_id  text NOT NULL,
    type         text NOT NULL,
    lesson_date  text NOT NULL,
    mode         text NOT NULL,
    verdict      text NOT NULL,
    reason       text NOT NULL,
    slot         smallint NOT NULL,
    n            bigint NOT NULL,
    PRIMARY KEY (campaign_id, type, lesson_date, mode, verdict, reason, slot)
) WITH (fillfactor = 50);
CREATE TABLE credited_days_count ( -- how many viewers have how many credited days (1 and more)
    campaign_id  text NOT NULL,
    days         smallint NOT NULL,
    slot         smallint NOT NULL,
    n            bigint NOT NULL,
    PRIMARY KEY (campaign_id, days, slot)
) WITH (fillfactor = 50);
CREATE TABLE make_good (          -- the office's decisions, with their reason (audit)
    make_good_id text PRIMARY KEY,
    campaign_id  text NOT NULL,
    lesson_date  date NOT NULL,
    reason       text NOT NULL,
    actor        text NOT NULL,
    decided_at   timestamptz NOT NULL,
    audience     jsonb NOT NULL,
    granted      bigint NOT NULL DEFAULT 0
);
"""


def upgrade() -> None:
    run(TABLES, OUTBOX_V1, INBOX_V1)
