"""Facts that the reporting service owns."""

from typing import Annotated, ClassVar
from uuid import UUID

from pydantic import AwareDatetime, Field, StringConstraints

from shared.contracts.base import ColumnEvent, Event, Fields, Id

Period = Annotated[str, StringConstraints(pattern=r"^(once|[0-9]{4}-(W[0-9]{2}|[0-9]{2}(-[0-9]{2})?))$")]
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


class UnitForms(ColumnEvent):
    """Something about reports of one unit: a row for each form and period. Nobody's name or phone stands in it, and no value."""

    PERSONAL: ClassVar[Fields] = ()
    COLUMNS: ClassVar[dict[str, str]] = {"form": "forms", "period": "periods"}
    IMPERSONAL: ClassVar[Fields] = ("unit_code", "forms", "periods", "due_at")

    unit_code: Id
    forms: list[Id]
    periods: list[Period] = Field(description="`2024-06-29`, `2024-W27`, `2024-07` or `once`")
    due_at: AwareDatetime = Field(description="one for all rows: what is due at another time is another event")


class ReportSubmittedV1(UnitForms):
    """A unit's report was received: a first one, a corrected one or the answer to a return. Whatever was to remind of it is
    pointless now."""

    OWNER: ClassVar[str] = "reporting"
    FACT: ClassVar[str] = "report_submitted"
    COLUMNS: ClassVar[dict[str, str]] = {"form": "forms", "period": "periods", "version": "versions"}
    IMPERSONAL: ClassVar[Fields] = (*UnitForms.IMPERSONAL, "versions")

    versions: list[Annotated[int, Field(ge=1, le=2**31 - 1)]]


class ReportExcusedV1(UnitForms):
    """A unit need not report (免报), or (`owed_again`) has to after all."""

    OWNER: ClassVar[str] = "reporting"
    FACT: ClassVar[str] = "report_excused"
    IMPERSONAL: ClassVar[Fields] = (*UnitForms.IMPERSONAL, "owed_again")

    owed_again: bool


class ReportReturnedV1(UnitForms):
    """The office sent a report back; the reason stands on the unit's page."""

    OWNER: ClassVar[str] = "reporting"
    FACT: ClassVar[str] = "report_returned"


class ReportDueSoonV1(UnitForms):
    """All that a unit still owes at one due time, which is near. Raised once for a unit and due time."""

    OWNER: ClassVar[str] = "reporting"
    FACT: ClassVar[str] = "report_due_soon"


class ReportOverdueV1(UnitForms):
    """All that a unit still owes at one due time, which has passed, grace included. Raised once for a unit and due time."""

    OWNER: ClassVar[str] = "reporting"
    FACT: ClassVar[str] = "report_overdue"
