"""When feeds were last heard, and who of the office was given the link to a viewer's own page."""

from shared.database.migrations import run

revision = "0013"
down_revision = "0012"
branch_labels = None
depends_on = None

TABLES = """
CREATE TABLE feed_heard (          -- of each feed the last event that was taken (feeds.py)
    campaign_id  text NOT NULL,
    source       text NOT NULL,
    heard_at     timestamptz NOT NULL,
    PRIMARY KEY (campaign_id, source)
) WITH (fillfactor = 50);
CREATE TABLE viewer_link_given (   -- audit: whoever has the link sees the viewer's own page
    id           bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    campaign_id  text NOT NULL,
    viewer_id    text COLLATE "C" NOT NULL,
    actor        text NOT NULL,
    reason       text NOT NULL,
    given_at     timestamptz NOT NULL
);
CREATE INDEX ON viewer_link_given (campaign_id, viewer_id);
"""


def upgrade() -> None:
    run(TABLES)
