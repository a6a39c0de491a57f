"""The same fact by two ways is one: enrolments and live-room actions are unique by what they say, too."""

from shared.database.migrations import run

revision = "0010"
down_revision = "0009"
branch_labels = None
depends_on = None

# Rows from before have no digest and differ from everything. Of an action that was kept twice the first id stays: a message that
# comes again under the other one is known by what it says.
ONCE = """
ALTER TABLE enrolment ADD COLUMN said bytea;  -- a keyed digest of all that it says (sorting.py); null: forgotten, or older
CREATE UNIQUE INDEX enrolment_said_once ON enrolment (campaign_no, viewer_id, said);
DELETE FROM live_room_action USING (
    SELECT ctid AS place, row_number() OVER (
        PARTITION BY campaign_no, viewer_id, action, item, date_trunc('second', happened_at AT TIME ZONE 'UTC') ORDER BY event_id
    ) AS n
    FROM live_room_action
) AS kept
WHERE live_room_action.ctid = kept.place AND kept.n > 1;
CREATE UNIQUE INDEX live_room_action_done_once ON live_room_action
    (campaign_no, viewer_id, action, item, date_trunc('second', happened_at AT TIME ZONE 'UTC')) NULLS NOT DISTINCT;
"""


def upgrade() -> None:
    run(ONCE)
