"""The rule that decides whether a changed contract is still the same version: each kind of break is seen."""

from copy import deepcopy
from typing import Any

import pytest
from pydantic import BaseModel, Field

from checks.schema_compatibility import Schema, breaks, structure


class Address(BaseModel):
    city: str
    street: str | None = None


class Order(BaseModel):
    """An event as it was published."""

    number: str = Field(pattern="^[0-9]+$", max_length=10, min_length=2)
    kind: str = Field(json_schema_extra={"enum": ["new", "old"]})
    amounts: list[int] = Field(min_length=1, max_length=500)
    weight: float = Field(ge=0, le=100)
    note: str | None = None
    address: Address | None = None
    labels: dict[str, str] = {}


PUBLISHED = Order.model_json_schema()


def changed(path: str, **changes: Any) -> Schema:
    """The published schema with keywords replaced in the part at `path`; None removes one."""
    schema = deepcopy(PUBLISHED)
    part: Any = schema
    for step in filter(None, path.split("/")):
        part = part[int(step)] if isinstance(part, list) else part[step]
    part.update(changes)
    for keyword in [keyword for keyword, value in changes.items() if value is None]:
        del part[keyword]
    return schema


def test_the_same_schema_breaks_nothing() -> None:
    assert breaks(PUBLISHED, PUBLISHED) == []


@pytest.mark.parametrize(
    "new",
    [
        changed("", title="Other", description="other words"),
        changed("properties/number", title="Nummer", description="a number", examples=["12"]),
        changed("properties", added={"type": "string", "maxLength": 3}),
        changed("properties", title={"type": "string"}),
        changed("$defs/Address/properties", country={"type": "string"}),
    ],
    ids=["texts", "texts of a property", "optional property", "property named like a keyword", "optional, nested"],
)
def test_texts_and_optional_properties_may_change(new: Schema) -> None:
    assert breaks(PUBLISHED, new) == []


REQUIRED = PUBLISHED["required"]


@pytest.mark.parametrize(
    ("new", "reason"),
    [
        (changed("properties", note=None), "/note: removed"),
        (changed("$defs/Address/properties", street=None), "/address/street: removed"),
        (changed("", required=[*REQUIRED, "note"]), "/note newly required: refuses what has been published"),
        (changed("", required=REQUIRED[1:]), "/number newly required: refused by readers that still run"),
        (changed("$defs/Address", required=["city", "street"]), "/address/street newly required: refuses"),
        (changed("properties/number", type="integer"), "/number type string → integer: refuses"),
        (changed("properties/weight", type="integer"), "/weight type number → integer: refuses"),
        (changed("properties/note", anyOf=[{"type": "string"}]), "/note type null → string: refuses"),
        (changed("properties/note/anyOf/0", type="integer"), "/note type string → integer: refuses"),
        (changed("properties/kind", enum=["new"]), "/kind values ['new', 'old'] → ['new']: refuses"),
        (changed("properties/kind", enum=None, const="new"), "/kind values ['new', 'old'] → ['new']: refuses"),
        (changed("properties/kind", enum=["new", "old", "odd"]), "/kind values ['new', 'old', 'odd'] → "),
        (changed("properties/number", pattern="^[1-9]+$"), "/number pattern ^[0-9]+$ → ^[1-9]+$: refuses"),
        (changed("properties/note/anyOf/0", format="date"), "/note format any → date: refuses"),
        (changed("properties/number", maxLength=9), "/number maxLength 10 → 9: refuses"),
        (changed("properties/number", maxLength=11), "/number maxLength 11 → 10: refused by readers"),
        (changed("properties/number", minLength=3), "/number minLength 2 → 3: refuses"),
        (changed("properties/weight", minimum=1), "/weight minimum 0 → 1: refuses"),
        (changed("properties/weight", maximum=99), "/weight maximum 100 → 99: refuses"),
        (changed("properties/weight", exclusiveMaximum=100), "/weight exclusiveMaximum none → 100: refuses"),
        (changed("properties/amounts", maxItems=400), "/amounts maxItems 500 → 400: refuses"),
        (changed("properties/amounts", minItems=2), "/amounts minItems 1 → 2: refuses"),
        (changed("properties/amounts/items", type="string"), "/amounts/* type integer → string: refuses"),
        (changed("properties/amounts/items", type=None), "/amounts/* type any → integer: refused by readers"),
        (changed("properties/labels/additionalProperties", maxLength=5), "/labels/* maxLength none → 5: refuses"),
        (changed("", additionalProperties=False), "/* values any → []: refuses"),
        (changed("properties/amounts", uniqueItems=True), "/amounts uniqueItems changed, which this check cannot"),
        (changed("properties/note", default="-"), "/note default changed, which this check cannot judge"),
    ],
)
def test_every_kind_of_break_is_seen(new: Schema, reason: str) -> None:
    assert any(complaint.startswith(reason) for complaint in breaks(PUBLISHED, new)), breaks(PUBLISHED, new)


def test_structure_resolves_references_and_drops_texts() -> None:
    assert structure(PUBLISHED)["properties"]["address"]["anyOf"][0]["properties"]["city"] == {"type": "string"}
