"""Names and phones of units' liaisons, and who had them shown."""

from shared.database.migrations import run

revision = "0008"
down_revision = "0007"
branch_labels = None
depends_on = None

LIAISONS = """
CREATE TABLE liaison_contact (
    campaign_id  text NOT NULL,
    unit_code    text COLLATE "C" NOT NULL,
    revision     int NOT NULL,          -- the highest that has arrived
    contacts     bytea,                 -- JSON, encrypted, bound to campaign and unit; null: nobody, or forgotten
    retain_until timestamptz,
    PRIMARY KEY (campaign_id, unit_code)
);
CREATE INDEX liaison_contact_retention ON liaison_contact (retain_until) WHERE contacts IS NOT NULL;
CREATE TABLE liaison_reveal (           -- who was shown a number, and why; what was shown stands nowhere
    id          bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    campaign_id text NOT NULL,
    unit_code   text COLLATE "C" NOT NULL,
    revealed_at timestamptz NOT NULL,
    actor       text NOT NULL,
    role        text NOT NULL,
    reason      text NOT NULL
);
CREATE INDEX liaison_reveal_by_unit ON liaison_reveal (campaign_id, unit_code, id);
"""


def upgrade() -> None:
    run(LIAISONS)
