"""Facts that the checkin service owns."""

from datetime import date
from typing import Annotated, ClassVar, Literal

from pydantic import AwareDatetime, Field, JsonValue, StringConstraints, model_validator

from shared.contracts.base import ColumnEvent, Event, Fields, Id, Mode, SealedColumn

Name = Annotated[str, StringConstraints(min_length=1, max_length=100)]
LiveRoomAction = Literal["quiz_answered", "prize_won", "account_followed"]


class CampaignDefinedV1(Event):
    """A campaign was created or replaced. Units come in pages of up to 500; every page carries the rules.

    A consumer acts on a revision when it has all `pages` of it; the highest revision wins, whatever the order.
    """

    OWNER: ClassVar[str] = "checkin"
    FACT: ClassVar[str] = "campaign_defined"
    IMPERSONAL: ClassVar[Fields] = ("revision", "page", "pages", "rules", "units")

    revision: Annotated[int, Field(ge=1)]
    page: Annotated[int, Field(ge=1)]
    pages: Annotated[int, Field(ge=1, le=100)]
    rules: dict[str, JsonValue] = Field(description="the definition as it was PUT, without units and channels")
    units: list[dict[str, JsonValue]] = Field(max_length=500, description="this page's units as they were PUT")

    @model_validator(mode="after")
    def _page_exists(self) -> "CampaignDefinedV1":
        if self.page > self.pages:
            raise ValueError(f"page {self.page} of {self.pages}")
        return self


class FormsDefinedV1(Event):
    """A campaign's forms and indicators as of a revision of its definition, all in one event. Published with the revision where
    the campaign has any, and once more, empty, when it has none left.

    The highest revision wins, whatever the order. A period keeps the forms of the revision in force when it opened.
    """

    OWNER: ClassVar[str] = "checkin"
    FACT: ClassVar[str] = "forms_defined"
    IMPERSONAL: ClassVar[Fields] = ("revision", "forms", "indicators")

    revision: Annotated[int, Field(ge=1)]
    forms: list[dict[str, JsonValue]] = Field(max_length=50, description="the definition's forms as they were PUT")
    indicators: list[dict[str, JsonValue]] = Field(max_length=100, description="its indicators as they were PUT")


class ViewerEnrolledV1(ColumnEvent):
    """Viewers enrolled or enrolled again. For each of unit, group, name and phone the latest `enrolled_at` that gives it wins
    (tie: larger `enrolment_id`).

    With `contacts_withdrawn` it repeats earlier enrolments: the names and phones that these viewers gave up to then may not be
    kept any more, and readers forget them.
    """

    OWNER: ClassVar[str] = "checkin"
    FACT: ClassVar[str] = "viewer_enrolled"
    COLUMNS: ClassVar[dict[str, str]] = {
        "viewer_id": "viewer_ids",
        "enrolment_id": "enrolment_ids",
        "enrolled_at": "enrolled_at",
        "unit_code": "unit_codes",
        "group": "groups",
    }
    PERSONAL: ClassVar[Fields] = ("viewer_ids", "enrolment_ids")  # platforms build event ids from accounts
    SEALED: ClassVar[Fields] = ("contacts",)
    IMPERSONAL: ClassVar[Fields] = ("enrolled_at", "unit_codes", "groups", "contacts_withdrawn")

    viewer_ids: list[Id]
    enrolment_ids: list[Id] = Field(description="the platform's event ids; made up by checkin for rows of a file")
    enrolled_at: list[AwareDatetime]
    unit_codes: list[Id]
    groups: list[Id]
    contacts: SealedColumn | None = Field(
        default=None, description='sealed JSON {"name": str|null, "phone": str|null} for certificate and notification'
    )
    contacts_withdrawn: bool = Field(default=False, description="they were a minor's, without a guardian's consent")

    @model_validator(mode="after")
    def _one_box_per_row(self) -> "ViewerEnrolledV1":
        if self.contacts is not None and len(self.contacts.boxes) != len(self.viewer_ids):
            raise ValueError(f"{len(self.contacts.boxes)} boxes for {len(self.viewer_ids)} viewers")
        return self


class ViewerReassignedV1(ColumnEvent):
    """Viewers who had checked in changed unit or group. One row per check-in, which moves to the new unit with its viewer.

    Either a new enrolment said so, or the viewer had no unit and the channel of an earlier enrolment has become known. The row
    names that enrolment.

    The flags are those that the check-in was published with, so that a total subtracts exactly what it once added. `made_good`
    rows move lessons that the office granted.
    """

    OWNER: ClassVar[str] = "checkin"
    FACT: ClassVar[str] = "viewer_reassigned"
    COLUMNS: ClassVar[dict[str, str]] = {
        "viewer_id": "viewer_ids",
        "lesson_date": "lesson_dates",
        "mode": "modes",
        "late": "late",
        "first_for_lesson": "first_for_lesson",
        "first_for_campaign": "first_for_campaign",
        "from_unit_code": "from_unit_codes",
        "from_group": "from_groups",
        "to_unit_code": "to_unit_codes",
        "to_group": "to_groups",
        "enrolled_at": "enrolled_at",
        "enrolment_id": "enrolment_ids",
    }
    PERSONAL: ClassVar[Fields] = ("viewer_ids", "enrolment_ids")
    IMPERSONAL: ClassVar[Fields] = (
        "lesson_dates",
        "modes",
        "late",
        "first_for_lesson",
        "first_for_campaign",
        "from_unit_codes",
        "from_groups",
        "to_unit_codes",
        "to_groups",
        "enrolled_at",
    )

    viewer_ids: list[Id]
    lesson_dates: list[date]
    modes: list[Literal["live", "replay", "made_good"]]
    late: list[bool]
    first_for_lesson: list[bool]
    first_for_campaign: list[bool]
    from_unit_codes: list[Id]
    from_groups: list[Id]
    to_unit_codes: list[Id]
    to_groups: list[Id]
    enrolled_at: list[AwareDatetime] = Field(description="of the enrolment that moved the viewer")
    enrolment_ids: list[Id]


class CheckinRecordedV1(ColumnEvent):
    """Check-ins of one lesson and mode: each (campaign, viewer, lesson, mode) exactly once in the stream's history.

    `credited_lessons` is non-null only in the row with which the viewer reached the campaign's `required_days`.
    """

    OWNER: ClassVar[str] = "checkin"
    FACT: ClassVar[str] = "checkin_recorded"
    COLUMNS: ClassVar[dict[str, str]] = {
        "viewer_id": "viewer_ids",
        "unit_code": "unit_codes",
        "group": "groups",
        "checked_in_at": "checked_in_at",
        "late": "late",
        "first_for_lesson": "first_for_lesson",
        "first_for_campaign": "first_for_campaign",
        "credited_days": "credited_days",
        "credited_lessons": "credited_lessons",
    }
    IMPERSONAL: ClassVar[Fields] = (
        "lesson_date",
        "mode",
        "source",
        "unit_codes",
        "groups",
        "checked_in_at",
        "late",
        "first_for_lesson",
        "first_for_campaign",
        "credited_days",
        "credited_lessons",
    )

    lesson_date: date
    mode: Mode
    source: Id | None = Field(
        default=None,
        description="who sent them: a webhook's source, `bus`, or what an import called it; null before 0.2.0",
    )
    viewer_ids: list[Id]
    unit_codes: list[Id]
    groups: list[Id]
    checked_in_at: list[AwareDatetime]
    late: list[bool] = Field(description="received at or after the lesson's sealed_at: kept, not credited")
    first_for_lesson: list[bool] = Field(description="the viewer's first check-in of this lesson, in any mode")
    first_for_campaign: list[bool]
    credited_days: list[Annotated[int, Field(ge=0)]] = Field(description="the viewer's, after this transaction")
    credited_lessons: list[list[date] | None]


class LessonMadeGoodV1(ColumnEvent):
    """The office granted a lesson to viewers who could not check in because of an outage. It is credited, and counted apart from
    check-ins."""

    OWNER: ClassVar[str] = "checkin"
    FACT: ClassVar[str] = "lesson_made_good"
    COLUMNS: ClassVar[dict[str, str]] = {
        "viewer_id": "viewer_ids",
        "unit_code": "unit_codes",
        "group": "groups",
        "credited_days": "credited_days",
        "credited_lessons": "credited_lessons",
    }
    IMPERSONAL: ClassVar[Fields] = (
        "lesson_date",
        "make_good_id",
        "unit_codes",
        "groups",
        "credited_days",
        "credited_lessons",
    )

    lesson_date: date
    make_good_id: Id
    viewer_ids: list[Id]
    unit_codes: list[Id]
    groups: list[Id]
    credited_days: list[Annotated[int, Field(ge=0)]]
    credited_lessons: list[list[date] | None]


class LiveRoomActionsRecordedV1(ColumnEvent):
    """What viewers did in the live room besides checking in (FACTS A6), counted under their unit at that moment."""

    OWNER: ClassVar[str] = "checkin"
    FACT: ClassVar[str] = "live_room_actions_recorded"
    COLUMNS: ClassVar[dict[str, str]] = {
        "viewer_id": "viewer_ids",
        "unit_code": "unit_codes",
        "group": "groups",
        "happened_at": "happened_at",
        "item": "items",
    }
    IMPERSONAL: ClassVar[Fields] = ("lesson_date", "action", "unit_codes", "groups", "happened_at", "items")

    lesson_date: date
    action: LiveRoomAction
    viewer_ids: list[Id]
    unit_codes: list[Id]
    groups: list[Id]
    happened_at: list[AwareDatetime]
    items: list[Name | None] = Field(description="which prize, account or quiz")
