"""What the unit board reads by platform: sums per lesson, mode and source, named by the definition in force."""

from shared.database.migrations import run

revision = "0009"
down_revision = "0008"
branch_labels = None
depends_on = None

# `credited` is null until the definition has told the credit policy. Lessons that the office granted came from no platform.
PLATFORM_TOTAL = """
CREATE VIEW boards.platform_total AS
SELECT campaign_id, lesson_date, mode, source,
       coalesce(platform.title, CASE source WHEN 'unassigned' THEN '未归属' ELSE source END) AS name,
       coalesce(platform.position, 2147483647) AS position,
       checkins, late, first_for_lesson AS viewers, first_for_campaign AS new_viewers,
       CASE WHEN rules -> 'credit' ? mode THEN checkins - late WHEN rules IS NOT NULL THEN 0 END AS credited
FROM platform_total
LEFT JOIN definition USING (campaign_id)
LEFT JOIN (
    SELECT campaign_id, listed ->> 'source' AS source, listed ->> 'title' AS title, position
    FROM definition
    CROSS JOIN LATERAL jsonb_array_elements(coalesce(rules -> 'platforms', '[]')) WITH ORDINALITY AS each (listed, position)
) AS platform USING (campaign_id, source);
"""

READER = """
DO $$ BEGIN
    IF EXISTS (SELECT FROM pg_roles WHERE rolname = 'reporting_reader') THEN
        GRANT SELECT ON boards.platform_total TO reporting_reader;
    END IF;
END $$;
"""


def upgrade() -> None:
    run(PLATFORM_TOTAL, READER)
