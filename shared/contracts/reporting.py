"""Facts that the reporting service owns."""

from typing import Annotated, ClassVar
from uuid import UUID

from pydantic import AwareDatetime, Field, StringConstraints

from shared.contracts.base import Event, Fields

SessionHash = Annotated[str, StringConstraints(pattern=r"^[0-9a-f]{64}$")]


class PersonChangedV1(Event):
    """What a person of the office may do has changed: a role, a unit, a new passphrase, or nothing any more (DESIGN §5.5).

    Every such change starts a new generation, and whoever signed in under an earlier one is signed out. Readers keep the highest
    generation of each person, so that order and repeats do not matter.
    """

    OWNER: ClassVar[str] = "reporting"
    FACT: ClassVar[str] = "person_changed"
    IMPERSONAL: ClassVar[Fields] = ("person_id", "generation")

    person_id: UUID = Field(description="leads to a name only in reporting's database")
    generation: int = Field(ge=1, le=2**31 - 1, description="sessions of smaller generations are over")


class SessionEndedV1(Event):
    """Somebody signed out, or signed in again on the same device."""

    OWNER: ClassVar[str] = "reporting"
    FACT: ClassVar[str] = "session_ended"
    IMPERSONAL: ClassVar[Fields] = ("session", "keep_until")

    session: SessionHash = Field(description="SHA-256 of the session's random id, in hex: nobody can sign in with it")
    keep_until: AwareDatetime = Field(description="by then the session would have ended by itself; wall time")
