"""Totals, certificates and live-room counts, and the tables that every service has."""

from shared.database.migrations import run
from shared.database.schema import DEFINITION_V1, INBOX_V1, OUTBOX_V1

revision = "0001"
down_revision = None
branch_labels = None
depends_on = None

TOTALS = """
CREATE TABLE total (                 -- sums under the codes as sent: no row per check-in (DESIGN §3)
    campaign_id        text NOT NULL,
    lesson_date        date NOT NULL,
    mode               text NOT NULL,    -- live, replay, or made_good (counts only in the column of that name)
    unit_code          text NOT NULL,
    group_code         text NOT NULL,
    checkins           bigint NOT NULL,  -- signed, all of them: a viewer's move may arrive before the check-in it moves
    late               bigint NOT NULL,
    first_for_lesson   bigint NOT NULL,
    first_for_campaign bigint NOT NULL,
    made_good          bigint NOT NULL,
    PRIMARY KEY (campaign_id, lesson_date, mode, unit_code, group_code)
) WITH (fillfactor = 70);  -- sums change all evening: room for heap-only updates
CREATE TABLE live_room_total (       -- actions besides check-ins, under the unit of that moment (FACTS A6)
    campaign_id text NOT NULL,
    lesson_date date NOT NULL,
    action      text NOT NULL,
    unit_code   text NOT NULL,
    item        text NOT NULL,       -- which prize, account or quiz; '' where the platform did not say
    actions     bigint NOT NULL,
    PRIMARY KEY (campaign_id, lesson_date, action, unit_code, item)
) WITH (fillfactor = 70);
"""

CERTIFICATES = """
CREATE TABLE certificate_holder (    -- what is known of each certificate; the booleans only move forward
    campaign_id text NOT NULL,
    serial      text NOT NULL,
    viewer_id   text NOT NULL,
    unit_code   text,                -- at completion; null until the issue is known
    group_code  text,
    issued      boolean NOT NULL DEFAULT false,
    claimed     boolean NOT NULL DEFAULT false,
    revoked     boolean NOT NULL DEFAULT false,
    PRIMARY KEY (campaign_id, serial)
) WITH (fillfactor = 80);
CREATE INDEX certificate_holder_by_viewer ON certificate_holder (campaign_id, viewer_id);
CREATE TABLE certificate_total (     -- sums of certificate_holder by the holder's present place, kept in the same transaction
    campaign_id text NOT NULL,
    unit_code   text NOT NULL,
    group_code  text NOT NULL,
    issued      bigint NOT NULL,     -- and not revoked
    claimed     bigint NOT NULL,     -- of those
    PRIMARY KEY (campaign_id, unit_code, group_code)
) WITH (fillfactor = 70);
CREATE TABLE viewer_move (           -- where a viewer who was reassigned belongs; the latest enrolment wins
    campaign_id  text NOT NULL,
    viewer_id    text NOT NULL,
    unit_code    text NOT NULL,
    group_code   text NOT NULL,
    enrolled_at  timestamptz NOT NULL,
    enrolment_id text COLLATE "C" NOT NULL,
    PRIMARY KEY (campaign_id, viewer_id)
);
"""


def upgrade() -> None:
    run(OUTBOX_V1, INBOX_V1, DEFINITION_V1, TOTALS, CERTIFICATES)
