"""Who reports for each unit: masked contacts, codes on slips, and the devices on which a code was used."""

from shared.database.migrations import run
from shared.database.schema import CAMPAIGN_KEY_V1

revision = "0014"
down_revision = "0013"
branch_labels = None
depends_on = None

LIAISONS = """
CREATE TABLE liaison (                  -- one row per unit that ever named one
    campaign_id  text NOT NULL,
    unit_code    text COLLATE "C" NOT NULL,
    revision     int NOT NULL,          -- one more with each change; the events carry it
    posts        jsonb,                 -- {"liaison": {"name": "刘*亮", "phone": "138****5678"}, "deputy": …}; null: nobody
    named_at     timestamptz,
    actor        text,
    reason       text,
    PRIMARY KEY (campaign_id, unit_code)
);
CREATE TABLE liaison_change (           -- who did what to a unit's liaison, codes and devices
    id          bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    campaign_id text NOT NULL,
    unit_code   text COLLATE "C" NOT NULL,
    changed_at  timestamptz NOT NULL,
    what        text NOT NULL,          -- named, replaced, removed, code_made, devices_revoked, device_bound
    actor       text NOT NULL,
    reason      text
);
CREATE INDEX liaison_change_by_unit ON liaison_change (campaign_id, unit_code, id);
CREATE TABLE liaison_code (             -- the live code of a unit's slip; times are wall time, as of devices
    campaign_id text NOT NULL,
    unit_code   text COLLATE "C" NOT NULL,
    code        bytea NOT NULL UNIQUE,  -- keyed hash
    made_at     timestamptz NOT NULL,
    PRIMARY KEY (campaign_id, unit_code)
);
CREATE TABLE device (                   -- a phone may report for several units, a unit from several phones
    device      bytea NOT NULL,         -- SHA-256 of the secret in its cookie
    campaign_id text NOT NULL,
    unit_code   text COLLATE "C" NOT NULL,
    bound_at    timestamptz NOT NULL,
    ends_at     timestamptz NOT NULL,
    PRIMARY KEY (device, campaign_id, unit_code)
);
CREATE INDEX device_by_unit ON device (campaign_id, unit_code, bound_at);
CREATE INDEX device_ending ON device (ends_at);
"""


def upgrade() -> None:
    run(CAMPAIGN_KEY_V1, LIAISONS)
