"""What units owe, their reports (every version), and what was decided about them."""

from shared.database.migrations import run

revision = "0012"
down_revision = "0011"
branch_labels = None
depends_on = None

OBLIGATIONS = """
CREATE TABLE opened_period (             -- a form's period for which obligations were made, once
    campaign_id text NOT NULL,
    form        text NOT NULL,
    period      text NOT NULL,           -- 2024-06-29, 2024-W27, 2024-07 or once
    opened_at   timestamptz NOT NULL,    -- by the rules, not when the sweep came by
    PRIMARY KEY (campaign_id, form, period)
);
CREATE TABLE obligation (
    campaign_id     text NOT NULL,
    form            text NOT NULL,
    period          text NOT NULL,
    unit_code       text NOT NULL,
    forms_revision  int NOT NULL,        -- the form as it was when the period opened
    opened_at       timestamptz NOT NULL,
    due_at          timestamptz NOT NULL,
    on_time_until   timestamptz NOT NULL,
    locks_at        timestamptz NOT NULL,
    version         int NOT NULL DEFAULT 0,   -- of the last report; 0: none
    submitted_at    timestamptz,         -- of the first report that stands: it decides timeliness
    returned_at     timestamptz,         -- until the next report
    returned_empty  boolean NOT NULL DEFAULT false,
    return_reason   text,
    excused_at      timestamptz,
    excuse_reason   text,
    approved_at     timestamptz,         -- of the last report
    next_due_at     timestamptz NOT NULL,     -- due_at, or what a return has set
    next_grace      timestamptz NOT NULL,     -- on_time_until, or what a return has set
    told_soon       boolean NOT NULL DEFAULT false,
    told_overdue    boolean NOT NULL DEFAULT false,
    PRIMARY KEY (campaign_id, form, period, unit_code)
);
CREATE INDEX obligation_of_unit ON obligation (campaign_id, unit_code, due_at);
CREATE INDEX obligation_to_tell ON obligation (next_due_at)
    WHERE NOT told_overdue AND excused_at IS NULL AND (submitted_at IS NULL OR returned_at IS NOT NULL);
CREATE TABLE report (                    -- every version; none is ever changed
    campaign_id   text NOT NULL,
    form          text NOT NULL,
    period        text NOT NULL,
    unit_code     text NOT NULL,
    version       int NOT NULL,
    submission_id uuid NOT NULL,
    number        text NOT NULL UNIQUE,  -- of the receipt
    values        jsonb NOT NULL,
    reasons       jsonb NOT NULL,        -- field: why its running total fell
    sha256        bytea NOT NULL,
    submitted_at  timestamptz NOT NULL,
    due_at        timestamptz NOT NULL,
    state         text NOT NULL,         -- on_time or late: what the receipt says
    kind          text NOT NULL,         -- submitted, on_behalf, corrected
    actor         text NOT NULL,
    reason        text,
    PRIMARY KEY (campaign_id, form, period, unit_code, version),
    UNIQUE (campaign_id, form, period, unit_code, submission_id)
);
CREATE TABLE obligation_change (         -- who decided what, and why
    id          bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    campaign_id text NOT NULL,
    form        text NOT NULL,
    period      text NOT NULL,
    unit_code   text NOT NULL,
    changed_at  timestamptz NOT NULL,
    what        text NOT NULL,           -- returned, excused, owed_again, approved, reopened
    version     int NOT NULL,
    actor       text NOT NULL,
    reason      text,
    due_at      timestamptz
);
CREATE INDEX obligation_change_of ON obligation_change (campaign_id, unit_code, form, period);
CREATE TABLE reminder (                  -- an event was raised: once for (unit, due time, kind), for ever
    campaign_id text NOT NULL,
    unit_code   text NOT NULL,
    due_at      timestamptz NOT NULL,
    kind        text NOT NULL,           -- due_soon, overdue
    raised_at   timestamptz NOT NULL,
    PRIMARY KEY (campaign_id, unit_code, due_at, kind)
);
"""


def upgrade() -> None:
    run(OBLIGATIONS)
