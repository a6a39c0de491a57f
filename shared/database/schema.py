"""Tables that every service has. Constants are frozen: migrations name them, a change is a new constant."""

OUTBOX_V1 = """
CREATE TABLE outbox (            -- the ledger: inserted once, kept for the campaign, never updated (DESIGN §4.2)
    event_id    uuid PRIMARY KEY,
    subject     text NOT NULL,
    campaign_id text NOT NULL,
    occurred_at timestamptz NOT NULL,
    payload     bytea NOT NULL
);
CREATE TABLE outbox_pending (    -- what is still to be published
    event_id    uuid PRIMARY KEY,
    since       timestamptz NOT NULL DEFAULT now()
);
"""

INBOX_V1 = """
CREATE TABLE inbox (             -- committed with the effect: an event is applied once per durable (DESIGN §4.4)
    durable     text NOT NULL,
    event_id    uuid NOT NULL,
    applied_at  timestamptz NOT NULL DEFAULT now(),
    PRIMARY KEY (durable, event_id)
);
CREATE TABLE dead_letter (       -- what no retry can fix (DESIGN §4.7); payload only where it satisfied its contract
    id           bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    durable      text NOT NULL,
    subject      text NOT NULL,
    stream_seq   bigint NOT NULL,
    event_id     uuid,
    reason       text NOT NULL,
    body_sha256  bytea NOT NULL,
    payload      bytea,
    parked_at    timestamptz NOT NULL DEFAULT now(),
    replay_requested_at timestamptz,
    replayed_at  timestamptz,
    UNIQUE (durable, body_sha256)
);
"""

# From a SHA-256 without a key, a phone in the body can be guessed within seconds, so no digest of a body is kept. Dropping the
# column takes the old ones away at once. It is added again, always null, only for a replica of the version before; the
# release after this one drops it and the trigger.
DEAD_LETTER_V2 = """
ALTER TABLE dead_letter DROP COLUMN body_sha256;
ALTER TABLE dead_letter ADD COLUMN body_sha256 bytea, ADD UNIQUE (durable, body_sha256);
ALTER TABLE dead_letter ADD COLUMN message_key text;  -- what makes it one message: dead_letters.message_key
UPDATE dead_letter SET message_key = event_id::text
WHERE id IN (SELECT max(id) FROM dead_letter WHERE event_id IS NOT NULL GROUP BY durable, event_id);
ALTER TABLE dead_letter ADD UNIQUE (durable, message_key);
CREATE OR REPLACE FUNCTION dead_letter_without_digest() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    NEW.body_sha256 := NULL;
    RETURN NEW;
END $$;
CREATE TRIGGER dead_letter_without_digest BEFORE INSERT ON dead_letter
FOR EACH ROW WHEN (NEW.body_sha256 IS NOT NULL) EXECUTE FUNCTION dead_letter_without_digest();
"""

DEFINITION_V1 = """
CREATE TABLE definition_page (   -- pages of CampaignDefinedV1 as they come; a revision counts when it is complete
    campaign_id text NOT NULL,
    revision    bigint NOT NULL,
    page        int NOT NULL,
    pages       int NOT NULL,
    rules       jsonb NOT NULL,
    PRIMARY KEY (campaign_id, revision, page)
);
CREATE TABLE unit (
    campaign_id text NOT NULL,
    revision    bigint NOT NULL,
    unit_code   text NOT NULL,
    parent_code text,
    position    int NOT NULL,     -- order in the file: administrative order
    unit        jsonb NOT NULL,
    PRIMARY KEY (campaign_id, revision, unit_code)
);
CREATE TABLE definition (        -- the revision in force
    campaign_id text PRIMARY KEY,
    revision    bigint NOT NULL,
    rules       jsonb NOT NULL
);
"""

CAMPAIGN_KEY_V1 = """
CREATE TABLE campaign_key (      -- what a campaign's contacts are sealed to: shared/people/campaign_keys.py
    campaign_id  text NOT NULL,
    recipient    text NOT NULL,   -- the service that opens
    announced_by uuid,            -- the event that told; null, as `public_key`, where it was destroyed before any came
    public_key   text,            -- X25519, raw, base64
    private_key  bytea,           -- the service's own, encrypted under CONTACT_KEYS; in no dump (upkeep/dump.py)
    destroyed_at timestamptz,
    PRIMARY KEY (campaign_id, recipient)
);
"""

ERASURE_V1 = """
CREATE TABLE erasure (           -- who made the service forget what, and how much of it; never whom (DESIGN §4.8)
    id           bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    erased_at    timestamptz NOT NULL,
    kind         text NOT NULL,   -- viewer, campaign, retention
    campaign_id  text,
    actor        text NOT NULL,
    counts       jsonb NOT NULL
);
CREATE UNIQUE INDEX erasure_retention_day ON erasure (((erased_at AT TIME ZONE 'UTC')::date)) WHERE kind = 'retention';
"""

HEARTBEAT_V1 = """
CREATE TABLE heartbeat (         -- written through the pool, read through another connection (shared/database/heartbeat.py)
    process   uuid PRIMARY KEY,
    beat      bigint NOT NULL,
    beaten_at timestamptz NOT NULL DEFAULT now()
) WITH (fillfactor = 50);
"""

HELD_MESSAGE_V1 = """
CREATE TABLE held_message (      -- at which message a consumer stands that it cannot understand (shared/bus/brake.py)
    durable    text PRIMARY KEY,
    stream_seq bigint NOT NULL,
    reason     text NOT NULL,
    held_since timestamptz NOT NULL DEFAULT now(),
    may_park   int NOT NULL DEFAULT 0  -- so many an operator lets it park all the same
);
"""

SESSION_V1 = """
CREATE TABLE person_generation (  -- of the office's people: earlier sessions are over (shared/people/sessions.py)
    person_id  uuid PRIMARY KEY,
    generation int NOT NULL
);
CREATE TABLE ended_session (      -- sessions that ended before their time
    session    bytea PRIMARY KEY,    -- SHA-256 of the session's random id
    keep_until timestamptz NOT NULL  -- then the session would have ended by itself
);
"""
WRONG_TRY_V1 = """
CREATE UNLOGGED TABLE wrong_try (            -- shared/service/wrong_tries.py; no backup has it, a crash of Postgres empties it
    who        bytea PRIMARY KEY,            -- keyed hash of what is tried, or of an address
    tried_at   timestamptz[] NOT NULL,       -- the last ones, at most as many as are allowed
    expires_at timestamptz NOT NULL          -- then none of them counts any more
);
"""
