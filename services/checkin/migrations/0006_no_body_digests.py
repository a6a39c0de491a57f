"""No digest of a body that can be computed without a key: it gave a phone in it away, once guessed in a second."""

from shared.database.migrations import run
from shared.database.schema import DEAD_LETTER_V2

revision = "0006"
down_revision = "0005"
branch_labels = None
depends_on = None

# Refused events without an id stood under their body's SHA-256: they get a random key, so one of them sent once more after the
# upgrade is one more refused event. The rest as in DEAD_LETTER_V2. CLUSTER writes the table anew: the bytes of a dropped column
# stay in its file otherwise.
UNCOUNTED = """
UPDATE uncounted SET event_key = 'unnamed-' || gen_random_uuid() WHERE event_key = encode(body_sha256, 'hex');
ALTER TABLE uncounted DROP COLUMN body_sha256;
ALTER TABLE uncounted ADD COLUMN body_sha256 bytea;
ALTER TABLE uncounted ADD COLUMN body_hmac bytea;  -- under a key derived from LINK_KEY: recording.py
CLUSTER uncounted USING uncounted_pkey;
CREATE OR REPLACE FUNCTION uncounted_without_digest() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    IF NEW.event_key = encode(NEW.body_sha256, 'hex') THEN
        NEW.event_key := 'unnamed-' || gen_random_uuid();
    END IF;
    NEW.body_sha256 := NULL;
    RETURN NEW;
END $$;
CREATE TRIGGER uncounted_without_digest BEFORE INSERT ON uncounted
FOR EACH ROW WHEN (NEW.body_sha256 IS NOT NULL) EXECUTE FUNCTION uncounted_without_digest();
"""


def upgrade() -> None:
    run(UNCOUNTED, DEAD_LETTER_V2)
