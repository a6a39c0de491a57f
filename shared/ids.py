"""New identities. UUIDv7 sorts by time, so the newest rows of an index lie together."""

import secrets
from uuid import UUID

import uuid_utils.compat


def new_event_id() -> UUID:
    """The id of a fact, minted with it and never again (DESIGN §4.3)."""
    return uuid_utils.compat.uuid7()


def new_import_id() -> str:
    """What the ids of enrolments out of a file begin with: larger for a later import, by the wall clock, and larger than ids
    that platforms make up (DESIGN §4.5)."""
    return f"zz-import-{new_event_id().hex}"


def new_public_id(prefix: str) -> str:
    """A short unguessable id for things that people quote, such as `mg-3f9c…`."""
    return f"{prefix}-{secrets.token_hex(8)}"
