"""The JSON Schema of a campaign file, for editors: completion and warnings while it is written.

Made from the definition's own model, so that they cannot differ: `fanzha campaign schema > docs/campaign.schema.json`.
"""

import json
from typing import Any

from shared.contracts.campaign import CampaignDefinition
from shared.contracts.campaign_parts import COURSE_KEYS

DIALECT = "https://json-schema.org/draft/2020-12/schema"


def campaign_file_schema() -> dict[str, Any]:
    """The definition as YAML has it: units and channels may stand in a CSV file each (`units_file`, `channels_file`)."""
    schema = CampaignDefinition.model_json_schema(by_alias=True)
    schema["properties"] |= {
        f"{key}_file": {"type": "string", "description": f"CSV file beside this one, in place of {key}"}
        for key in ("units", "channels")
    }
    schema["required"] = [key for key in schema["required"] if key != "units"]
    days = {"starts_on": ["ends_on"], "ends_on": ["starts_on"]}
    schema["dependentRequired"] = days | {key: [k for k in COURSE_KEYS if k != key] for key in COURSE_KEYS}
    schema["anyOf"] = [{"required": ["lessons"]}, {"required": ["starts_on"]}]
    schema["oneOf"] = [{"required": ["units"]}, {"required": ["units_file"]}]
    return {"$schema": DIALECT, **schema, "title": "Fanzha campaign file"}


def as_text() -> str:
    return json.dumps(campaign_file_schema(), ensure_ascii=False, indent=2, sort_keys=True) + "\n"
