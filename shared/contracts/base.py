"""What every event is: a fact, named in the past tense, with an id that was minted together with it (DESIGN §4.3, §6)."""

from collections.abc import Iterator
from typing import Annotated, Any, ClassVar, Literal, NamedTuple
from uuid import UUID

from pydantic import (
    AwareDatetime,
    BaseModel,
    ConfigDict,
    Field,
    GetJsonSchemaHandler,
    StringConstraints,
    model_validator,
)

ROWS_MAX = 500  # rows of one column event; 500 check-ins are about 40 KB of JSON
EVENT_MAX_BYTES = 256 * 1024

ID_PATTERN = r"^[A-Za-z0-9._:-]{1,64}$"
Id = Annotated[str, StringConstraints(pattern=ID_PATTERN)]

ONE_LINE_PATTERN = r"^[^\x00-\x1f\x7f]*$"

UNASSIGNED = "unassigned"  # unit or group of a viewer nobody has attributed (yet)

Mode = Literal["live", "replay"]

Fields = tuple[str, ...]
"""Names of an event's fields."""


class Event(BaseModel):
    """One fact on the bus. Readers ignore fields they do not know; writers never reuse a version for another meaning."""

    model_config = ConfigDict(frozen=True, extra="ignore")

    OWNER: ClassVar[str]
    FACT: ClassVar[str]
    VERSION: ClassVar[int] = 1

    # What is personal (DESIGN §4.12): each contract lists every field of its own in one of these, or a test fails.
    PERSONAL: ClassVar[Fields] = ()  # columns that name the viewer of a row: renamed when the viewer is forgotten
    SEALED: ClassVar[Fields] = ()  # `SealedColumn`s: what is in them goes when its viewer is forgotten
    IMPERSONAL: ClassVar[Fields] = ()  # lead to nobody, once the personal columns are renamed

    event_id: UUID = Field(description="UUIDv7, minted with the fact; the same in every delivery of it")
    occurred_at: AwareDatetime = Field(description="When the service decided the fact")
    campaign_id: Id

    @classmethod
    def subject(cls) -> str:
        """The NATS subject, `events.<owner>.<fact>.v<N>`; never an id in it."""
        return f"events.{cls.OWNER}.{cls.FACT}.v{cls.VERSION}"

    @classmethod
    def ce_type(cls) -> str:
        """The CloudEvents type: the subject without its prefix."""
        return cls.subject().removeprefix("events.")


class ColumnEvent(Event):
    """A fact about up to `ROWS_MAX` rows, as parallel arrays of equal length (DESIGN §3).

    `COLUMNS` maps the singular name a row uses to the field that holds the column. The account of a viewer is always `viewer_id`,
    and comes first in `PERSONAL`; an event whose rows name no viewer has `PERSONAL = ()`.
    """

    COLUMNS: ClassVar[dict[str, str]]
    PERSONAL: ClassVar[Fields] = ("viewer_ids",)

    @model_validator(mode="after")
    def _columns_are_parallel(self) -> "ColumnEvent":
        lengths = {field: len(getattr(self, field)) for field in self.COLUMNS.values()}
        if len(set(lengths.values())) != 1:
            raise ValueError(f"columns differ in length: {lengths}")
        size = next(iter(lengths.values()))
        if not 1 <= size <= ROWS_MAX:
            raise ValueError(f"{size} rows; 1 to {ROWS_MAX} are allowed")
        return self

    @classmethod
    def __get_pydantic_json_schema__(cls, core: Any, handler: GetJsonSchemaHandler) -> dict[str, Any]:
        """Adds the limit on rows to the JSON Schema, which cannot say that columns are of equal length."""
        schema = handler.resolve_ref_schema(handler(core))
        for field in cls.COLUMNS.values():
            schema["properties"][field] |= {"minItems": 1, "maxItems": ROWS_MAX}
        return schema

    def __len__(self) -> int:
        return len(getattr(self, next(iter(self.COLUMNS.values()))))

    def rows(self) -> Iterator[Any]:
        """Each row as a named tuple with the singular names of `COLUMNS`."""
        row_type = _row_type(type(self))
        return map(row_type._make, zip(*(getattr(self, field) for field in self.COLUMNS.values()), strict=True))


_row_types: dict[type[ColumnEvent], Any] = {}


def _row_type(event: type[ColumnEvent]) -> Any:
    if event not in _row_types:
        _row_types[event] = NamedTuple(f"{event.__name__}Row", [(name, Any) for name in event.COLUMNS])
    return _row_types[event]


class CampaignKeyMade(Event):
    """A service that opens contacts has a key of its own for one campaign (DESIGN §4.8); each such owner has its event.

    Made once. Should a service have lost its database, the newest announcement (larger `event_id`) wins.
    """

    IMPERSONAL: ClassVar[Fields] = ("public_key",)

    public_key: Annotated[str, StringConstraints(pattern=r"^[A-Za-z0-9+/]{43}=$")] = Field(
        description="X25519, raw, base64: contacts of this campaign are sealed to it from now on"
    )


class SealedColumn(BaseModel):
    """Secrets of a column event's rows: one random key per transaction, sealed to each recipient; boxes under that key.

    `boxes[i]` belongs to row i and is bound to its `viewer_id`, or to its unit's code where rows are about units; null where
    the row has no secret (DESIGN §4.8).
    """

    model_config = ConfigDict(frozen=True, extra="ignore")

    keys: dict[str, str] = Field(description="recipient service → the key, sealed with its public key (base64)")
    boxes: list[Annotated[str, StringConstraints(max_length=2048)] | None] = Field(max_length=ROWS_MAX)
