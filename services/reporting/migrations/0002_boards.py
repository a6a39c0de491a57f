"""What Grafana's boards read: views in a schema of their own, without a viewer, a serial or an event in them.

The role that reads them is made by deploy/postgres/watchers.sql; where it exists already it is let in here, so that the order of
the two does not matter. Units are named by the definition in force; codes it does not know keep their code.
"""

from shared.database.migrations import run

revision = "0002"
down_revision = "0001"
branch_labels = None
depends_on = None

SCHEMA = "CREATE SCHEMA IF NOT EXISTS boards;"

CAMPAIGN = """
CREATE VIEW boards.campaign AS
SELECT campaign_id, rules ->> 'title' AS title,
       (SELECT max(lesson_date) FROM total WHERE total.campaign_id = definition.campaign_id) AS latest_lesson  -- with figures
FROM definition;

CREATE VIEW boards.lesson AS
SELECT campaign_id, (lesson ->> 'date')::date AS lesson_date, position::int AS number, lesson ->> 'title' AS title
FROM definition CROSS JOIN LATERAL jsonb_array_elements(rules -> 'lessons') WITH ORDINALITY AS listed (lesson, position);
"""

# `county_code`: the nearest unit at county level or above, the unit itself included (shared/tree.py, rolled_up).
UNIT = """
CREATE VIEW boards.unit AS
WITH RECURSIVE node AS (
    SELECT campaign_id, unit_code, unit.parent_code, position, unit ->> 'name' AS name, unit ->> 'level' AS level,
           (unit #>> '{residents,count}')::bigint AS residents
    FROM definition JOIN unit USING (campaign_id, revision)
), climb AS (
    SELECT campaign_id, unit_code, unit_code AS county_code, parent_code AS above, level FROM node
    UNION ALL
    SELECT climb.campaign_id, climb.unit_code, node.unit_code, node.parent_code, node.level
    FROM climb JOIN node ON node.campaign_id = climb.campaign_id AND node.unit_code = climb.above
    WHERE climb.level = 'unit'
), county AS (
    SELECT DISTINCT ON (campaign_id, unit_code) campaign_id, unit_code, county_code
    FROM climb ORDER BY campaign_id, unit_code, level = 'unit'
)
SELECT node.campaign_id, node.unit_code, node.name, node.level, node.position, node.residents,
       county.county_code, top.name AS county_name, top.position AS county_position
FROM node
JOIN county USING (campaign_id, unit_code)
JOIN node AS top ON top.campaign_id = node.campaign_id AND top.unit_code = county.county_code;
"""

# Sums per lesson, mode and unit. `credited` is null until the definition has told the credit policy.
UNIT_TOTAL = """
CREATE VIEW boards.unit_total AS
SELECT campaign_id, lesson_date, mode, unit_code,
       coalesce(unit.name, CASE unit_code WHEN 'unassigned' THEN '未归属' ELSE unit_code END) AS name,
       coalesce(unit.county_code, 'unassigned') AS county_code, coalesce(unit.county_name, '未归属') AS county_name,
       coalesce(unit.position, 2147483647) AS position,
       checkins, late, made_good, viewers, new_viewers,
       made_good + CASE WHEN rules -> 'credit' ? mode THEN checkins - late WHEN rules IS NOT NULL THEN 0 END AS credited
FROM (SELECT campaign_id, lesson_date, mode, unit_code, sum(checkins)::bigint AS checkins, sum(late)::bigint AS late,
             sum(made_good)::bigint AS made_good, sum(first_for_lesson)::bigint AS viewers,
             sum(first_for_campaign)::bigint AS new_viewers
      FROM total GROUP BY 1, 2, 3, 4) AS by_unit
LEFT JOIN boards.unit USING (campaign_id, unit_code)
LEFT JOIN definition USING (campaign_id);

CREATE VIEW boards.unit_certificate AS
SELECT campaign_id, unit_code, sum(issued)::bigint AS issued, sum(claimed)::bigint AS claimed
FROM certificate_total GROUP BY 1, 2;
"""

# Groups of fewer than 10 people are not told apart, nor is one that the others and the sum would tell (totals/domain.py,
# small_groups): both go into one row. A wall board is seen by more people than the office.
GROUP_TOTAL = """
CREATE VIEW boards.group_total AS
WITH counted AS (
    SELECT campaign_id, group_code, sum(first_for_campaign)::bigint AS viewers FROM total GROUP BY 1, 2
    HAVING sum(first_for_campaign) > 0
), smaller AS (
    SELECT *, coalesce(sum(viewers) OVER (PARTITION BY campaign_id ORDER BY viewers, group_code
                                          ROWS BETWEEN UNBOUNDED PRECEDING AND 1 PRECEDING), 0) AS before,
           min(viewers) OVER (PARTITION BY campaign_id) AS smallest,
           row_number() OVER (PARTITION BY campaign_id ORDER BY viewers, group_code) AS place
    FROM counted
), folded AS (
    SELECT *, viewers < 10 OR (smallest < 10 AND (place = 2 OR before < 10)) AS small FROM smaller
), named AS (
    SELECT definition.campaign_id, listed ->> 'code' AS group_code, listed ->> 'name' AS name
    FROM definition CROSS JOIN LATERAL jsonb_array_elements(rules -> 'groups') AS listed
)
SELECT campaign_id,
       CASE WHEN small THEN '其余人群' WHEN group_code = 'unassigned' THEN '未归属' ELSE coalesce(name, group_code) END AS name,
       sum(viewers)::bigint AS viewers
FROM folded LEFT JOIN named USING (campaign_id, group_code)
GROUP BY 1, 2
HAVING sum(viewers) >= 10;

CREATE VIEW boards.live_room AS
SELECT campaign_id, lesson_date, action, sum(actions)::bigint AS actions FROM live_room_total GROUP BY 1, 2, 3;
"""

READER = """
DO $$ BEGIN
    IF EXISTS (SELECT FROM pg_roles WHERE rolname = 'reporting_reader') THEN
        GRANT USAGE ON SCHEMA boards TO reporting_reader;
        GRANT SELECT ON ALL TABLES IN SCHEMA boards TO reporting_reader;
        ALTER DEFAULT PRIVILEGES IN SCHEMA boards GRANT SELECT ON TABLES TO reporting_reader;
    END IF;
END $$;
"""


def upgrade() -> None:
    run(SCHEMA, CAMPAIGN, UNIT, UNIT_TOTAL, GROUP_TOTAL, READER)
