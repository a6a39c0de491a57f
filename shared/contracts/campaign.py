"""The campaign definition: everything that makes one campaign different from another (FACTS "What follows for the model").

An operator writes it as YAML with the unit tree as CSV, checkin takes it as JSON (`PUT /v1/campaigns/{id}`), consumers
read `CampaignRules` and `Unit` from the pages of `CampaignDefinedV1`. No people in it. Writers are strict: an unknown key
is an error, so that a typo is named. Readers on the bus are tolerant: `read_rules`, `read_unit`.
"""

import hashlib
import json
from functools import cached_property
from typing import Annotated, Any, Self

from pydantic import Field, model_validator

from shared.contracts import campaign_checks
from shared.contracts.base import ROWS_MAX, Id
from shared.contracts.campaign_checks import Fault, Faults
from shared.contracts.campaign_forms import FORMS_MAX, Form, duplicate_ids
from shared.contracts.campaign_formulas import INDICATORS_MAX, Indicator, name_faults
from shared.contracts.campaign_parts import (
    CHANNELS,
    HOTLINE,
    LESSONS_MAX,
    LEVELS,
    MESSAGE_EVENTS,
    MESSAGE_PLACEHOLDERS,
    RETAIN_DAYS,
    Channel,
    Lesson,
    Level,
    MessageEvent,
    MessageRule,
    Part,
    Platform,
    Residents,
    RulesContent,
    SendWindow,
    Unit,
    Window,
    added_later,
    fill,
)

__all__ = [
    "CHANNELS",
    "CHANNELS_MAX",
    "DEFINITION_MAX_BYTES",
    "FORMS_MAX_BYTES",
    "HOTLINE",
    "LESSONS_MAX",
    "LEVELS",
    "MESSAGE_EVENTS",
    "MESSAGE_PLACEHOLDERS",
    "RETAIN_DAYS",
    "RULES_MAX_BYTES",
    "UNITS_MAX",
    "UNIT_PAGE_MAX_BYTES",
    "CampaignDefinition",
    "CampaignRules",
    "Channel",
    "Form",
    "Indicator",
    "Lesson",
    "Level",
    "MessageEvent",
    "MessageRule",
    "Part",
    "Platform",
    "Residents",
    "SendWindow",
    "Unit",
    "Window",
    "added_later",
    "fill",
    "read_rules",
    "read_unit",
    "unknown_messages",
]

DEFINITION_MAX_BYTES = 8 * 1024 * 1024
RULES_MAX_BYTES = 64 * 1024  # rules travel on every page of CampaignDefinedV1, which may have 256 KiB
FORMS_MAX_BYTES = 160 * 1024  # forms and indicators travel in one FormsDefinedV1, which may have 256 KiB
UNIT_PAGE_MAX_BYTES = 160 * 1024
UNITS_MAX = 20_000  # 40 pages of 500
CHANNELS_MAX = 50_000


class CampaignRules(RulesContent):
    """The definition without units, channels and forms: what every page of `CampaignDefinedV1` carries."""

    @model_validator(mode="after")
    def _consistent(self) -> Self:
        faults = campaign_checks.rules_faults(self)
        if not faults:
            faults = campaign_checks.window_faults(self)
        if not faults and len(_canonical_json(self.rules())) > RULES_MAX_BYTES:
            faults = [Fault("", f"除 units 和 channels 外的内容超过 {RULES_MAX_BYTES} 字节；请缩短文字")]
        if faults:
            raise Faults(faults)
        return self

    def rules(self) -> dict[str, Any]:
        """JSON-ready, without units, channels, forms and indicators: the `rules` of `CampaignDefinedV1`."""
        return self.model_dump(mode="json", exclude={"units", "channels", "forms", "indicators"})


class CampaignDefinition(CampaignRules):
    """The whole definition, units in administrative order. `channels`: channel code (渠道码) → unit_code."""

    units: tuple[Unit, ...] = Field(min_length=1, max_length=UNITS_MAX)
    channels: dict[Id, Id] = Field(default={}, max_length=CHANNELS_MAX)
    forms: Annotated[tuple[Form, ...], Field(max_length=FORMS_MAX)] = added_later(())
    indicators: Annotated[tuple[Indicator, ...], Field(max_length=INDICATORS_MAX)] = added_later(())

    @model_validator(mode="after")
    def _tree_is_whole(self) -> Self:
        faults = campaign_checks.tree_faults(self.units, self.channels) + self._form_faults()
        if faults:
            raise Faults(faults)
        return self

    def _form_faults(self) -> list[Fault]:
        faults = duplicate_ids("forms", self.forms) + duplicate_ids("indicators", self.indicators)
        faults += name_faults(self.indicators, self.forms)
        if not faults and len(_canonical_json(self.reported())) > FORMS_MAX_BYTES:
            faults = [Fault("forms", f"forms 和 indicators 超过 {FORMS_MAX_BYTES} 字节；请缩短文字或减少栏目")]
        return faults

    def reported(self) -> dict[str, Any]:
        """JSON-ready: the `forms` and `indicators` of `FormsDefinedV1`."""
        return {
            "forms": [form.model_dump(mode="json") for form in self.forms],
            "indicators": [indicator.model_dump(mode="json") for indicator in self.indicators],
        }

    @cached_property
    def unit_by_code(self) -> dict[str, Unit]:
        return {unit.unit_code: unit for unit in self.units}

    @cached_property
    def county_of(self) -> dict[str, str]:
        """unit_code → code of the county it is or lies in; units above or beside the counties are absent."""
        counties: dict[str, str] = {}
        for unit in self.units:
            node: Unit | None = unit
            while node is not None and node.level != "county":
                node = self.unit_by_code[node.parent_code] if node.parent_code is not None else None
            if node is not None:
                counties[unit.unit_code] = node.unit_code
        return counties

    def unit_pages(self) -> list[list[dict[str, Any]]]:
        """Units as JSON-ready pages for `CampaignDefinedV1`: at most 500 and 160 KiB each."""
        pages: list[list[dict[str, Any]]] = [[]]
        size = 0
        for unit in self.units:
            row = unit.model_dump(mode="json")
            row_bytes = len(_canonical_json(row))
            if len(pages[-1]) == ROWS_MAX or size + row_bytes > UNIT_PAGE_MAX_BYTES:
                pages.append([])
                size = 0
            pages[-1].append(row)
            size += row_bytes
        return pages

    def content_hash(self) -> str:
        """Equal for equal content, however it was spelled; a definition with the hash in force makes no new revision.

        Covers every key, also at its default, except keys that were `added_later` and are at their default.
        """
        return hashlib.sha256(_canonical_json(self.model_dump(mode="json"))).hexdigest()


def read_rules(rules: dict[str, Any]) -> CampaignRules:
    """Rules as a consumer reads them from the bus: what a newer version added is ignored (DESIGN §6).

    Ignores unknown keys, and message rules whose event or channel is unknown here: `unknown_messages` names these.
    """
    messages = rules.get("messages")
    if isinstance(messages, list):
        rules = rules | {"messages": [message for message in messages if not _is_newer(message)]}
    return CampaignRules.model_validate(rules, extra="ignore")


def unknown_messages(rules: dict[str, Any]) -> list[str]:
    """`event/channel` of each message rule that `read_rules` leaves out."""
    newer = [message for message in rules.get("messages", ()) if _is_newer(message)]
    return [f"{message.get('event')}/{message.get('channel')}" for message in newer]


def _is_newer(message: Any) -> bool:
    """Whether only a newer version knows the rule's event or channel. False for what is no rule at all: that is a fault."""
    if not isinstance(message, dict):
        return False
    return any(
        isinstance(message.get(key), str) and message[key] not in known
        for key, known in (("event", MESSAGE_EVENTS), ("channel", CHANNELS))
    )


def read_unit(unit: dict[str, Any]) -> Unit:
    """A unit as a consumer reads it from the bus: keys of a newer version are ignored."""
    return Unit.model_validate(unit, extra="ignore")


def _canonical_json(value: Any) -> bytes:
    return json.dumps(value, ensure_ascii=False, sort_keys=True, separators=(",", ":")).encode()
