"""What the live platform itself counted, stated by the office: ours is held against it."""

from shared.database.migrations import run

revision = "0002"
down_revision = "0001"
branch_labels = None
depends_on = None

PLATFORM_COUNT = """
CREATE TABLE platform_count (
    campaign_id  text NOT NULL,
    lesson_date  date NOT NULL,
    mode         text NOT NULL,
    n            bigint NOT NULL,
    actor        text NOT NULL,
    stated_at    timestamptz NOT NULL,
    PRIMARY KEY (campaign_id, lesson_date, mode)
);
"""


def upgrade() -> None:
    run(PLATFORM_COUNT)
