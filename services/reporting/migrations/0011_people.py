"""The office's people: who may sign in, who has, and which sessions are over."""

from shared.database.migrations import run
from shared.database.schema import SESSION_V1

revision = "0011"
down_revision = "0010"
branch_labels = None
depends_on = None

PEOPLE = """
CREATE TABLE person (
    person_id        uuid PRIMARY KEY,
    campaign_id      text NOT NULL,
    name             text NOT NULL UNIQUE,   -- one signs in with it, so it is one person's in the whole deployment
    role             text NOT NULL,
    unit_code        text,                   -- null: the whole campaign
    generation       int NOT NULL,           -- each change begins a new one; sessions of earlier ones are over
    passphrase       text,                   -- argon2id; null until the invitation is accepted
    invitation       bytea UNIQUE,           -- keyed hash of the code; null once it is used
    invitation_until timestamptz,
    revoked_at       timestamptz
);
CREATE INDEX person_by_campaign ON person (campaign_id, name);
CREATE TABLE person_change (                 -- who changed what about whom, and why
    id          bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    campaign_id text NOT NULL,
    person_id   uuid NOT NULL,
    changed_at  timestamptz NOT NULL,
    what        text NOT NULL,               -- invited, accepted, revoked, signed_out_everywhere
    actor       text NOT NULL,
    reason      text
);
CREATE INDEX person_change_by_campaign ON person_change (campaign_id, person_id);
CREATE TABLE session (                       -- deleted when it ends
    session    bytea PRIMARY KEY,            -- SHA-256 of its random id
    person_id  uuid NOT NULL,
    generation int NOT NULL,
    begun_at   timestamptz NOT NULL,
    seen_at    timestamptz NOT NULL,         -- when the cookie was last signed
    ends_at    timestamptz NOT NULL
);
CREATE INDEX session_by_person ON session (person_id);
CREATE UNLOGGED TABLE wrong_try (            -- shared/service/wrong_tries.py; no backup has it
    who        bytea PRIMARY KEY,            -- keyed hash of a name or an address
    tried_at   timestamptz[] NOT NULL,       -- the last ones, at most as many as are allowed
    expires_at timestamptz NOT NULL          -- then none of them counts any more
);
"""


def upgrade() -> None:
    run(SESSION_V1, PEOPLE)
