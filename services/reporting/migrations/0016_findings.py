"""差异待核: reports that are to be looked at by the rules, and what they found."""

from shared.database.migrations import run

revision = "0016"
down_revision = "0015"
branch_labels = None
depends_on = None

FINDINGS = """
CREATE TABLE report_to_look_at (         -- by the rules; gone once it was looked at after its due time
    campaign_id text NOT NULL,
    form        text NOT NULL,
    period      text NOT NULL,
    unit_code   text NOT NULL,
    look_at     timestamptz NOT NULL,
    failures    int NOT NULL DEFAULT 0,  -- looks that could not be finished
    PRIMARY KEY (campaign_id, form, period, unit_code)
);
CREATE INDEX report_to_look_at_next ON report_to_look_at (look_at);
CREATE TABLE finding (                   -- what a rule saw in a version of a report, once
    id          bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    campaign_id text NOT NULL,
    form        text NOT NULL,
    period      text NOT NULL,
    unit_code   text NOT NULL,
    version     int NOT NULL,
    rule        text NOT NULL,
    reported    jsonb NOT NULL,          -- field: number
    against     jsonb NOT NULL,          -- what these were held against: numbers
    state       text NOT NULL,           -- open, explained, closed
    opened_at   timestamptz NOT NULL,
    UNIQUE (campaign_id, form, period, unit_code, version, rule)
);
CREATE INDEX finding_of_unit ON finding (campaign_id, unit_code, id);
CREATE INDEX finding_by_state ON finding (campaign_id, state, id);
CREATE TABLE finding_change (            -- who explained or closed one, and what they wrote
    id          bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    finding_id  bigint NOT NULL,
    campaign_id text NOT NULL,
    changed_at  timestamptz NOT NULL,
    what        text NOT NULL,           -- explained, closed
    actor       text NOT NULL,
    said        text NOT NULL
);
CREATE INDEX finding_change_of ON finding_change (finding_id, id);
INSERT INTO report_to_look_at (campaign_id, form, period, unit_code, look_at)
SELECT campaign_id, form, period, unit_code, submitted_at FROM obligation WHERE version > 0 AND submitted_at IS NOT NULL;
"""


def upgrade() -> None:
    run(FINDINGS)
