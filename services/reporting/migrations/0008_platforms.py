"""Check-ins by who sent them. What was counted before is nobody's: `unassigned`."""

from shared.database.migrations import run

revision = "0008"
down_revision = "0007"
branch_labels = None
depends_on = None

TABLES = """
CREATE TABLE platform_total (
    campaign_id        text NOT NULL,
    lesson_date        date NOT NULL,
    mode               text NOT NULL,
    source             text COLLATE "C" NOT NULL,
    checkins           bigint NOT NULL DEFAULT 0,
    late               bigint NOT NULL DEFAULT 0,
    first_for_lesson   bigint NOT NULL DEFAULT 0,
    first_for_campaign bigint NOT NULL DEFAULT 0,
    PRIMARY KEY (campaign_id, lesson_date, mode, source)
);
INSERT INTO platform_total
SELECT campaign_id, lesson_date, mode, 'unassigned', sum(checkins), sum(late), sum(first_for_lesson), sum(first_for_campaign)
FROM total WHERE mode <> 'made_good' GROUP BY 1, 2, 3;
"""


def upgrade() -> None:
    run(TABLES)
