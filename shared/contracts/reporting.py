"""Facts that the reporting service owns."""

from typing import Annotated, ClassVar
from uuid import UUID

from pydantic import AwareDatetime, Field, StringConstraints, model_validator

from shared.contracts.base import ColumnEvent, Event, Fields, Id, SealedColumn

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


class LiaisonNamedV1(ColumnEvent):
    """Units named who reports for them, or have nobody any more (FACTS A7). Of each unit the highest revision wins, whatever the
    order.

    Names and phones are sealed. They are nobody's account, so no row names a viewer.
    """

    OWNER: ClassVar[str] = "reporting"
    FACT: ClassVar[str] = "liaison_named"
    COLUMNS: ClassVar[dict[str, str]] = {"unit_code": "unit_codes", "revision": "revisions"}
    PERSONAL: ClassVar[Fields] = ()
    SEALED: ClassVar[Fields] = ("contacts",)
    IMPERSONAL: ClassVar[Fields] = ("unit_codes", "revisions")

    unit_codes: list[Id]
    revisions: list[Annotated[int, Field(ge=1, le=2**31 - 1)]] = Field(
        description="of the unit's liaison: 1 for the first, one more with each change, also with each removal"
    )
    contacts: SealedColumn | None = Field(
        default=None,
        description='for notification, bound to the unit\'s code: sealed JSON {"liaison": {"name": str, "phone": str}, '
        '"deputy": {…}|null, "leader": {…}|null}; a row without a box has nobody',
    )

    @model_validator(mode="after")
    def _one_box_per_row(self) -> "LiaisonNamedV1":
        if self.contacts is not None and len(self.contacts.boxes) != len(self.unit_codes):
            raise ValueError(f"{len(self.contacts.boxes)} boxes for {len(self.unit_codes)} units")
        return self
