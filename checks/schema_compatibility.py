"""Whether two JSON Schemas of one event version understand each other (DESIGN §6). Pure: schemas in, sentences out.

Both directions count. Today's readers get events that were published years ago (when a ledger is published again), and while
services are replaced one after the other, yesterday's readers get events that are published today. So an optional property may be
added and texts may change; everything else is a new version of the event, with a new subject.
"""

from collections.abc import Iterator
from typing import Any, Final

Schema = dict[str, Any]

TEXTS: Final = frozenset({"title", "description", "examples", "$schema", "$id", "$defs", "$comment"})
LOWER_LIMITS: Final = ("minimum", "exclusiveMinimum", "minLength", "minItems", "minProperties")
UPPER_LIMITS: Final = ("maximum", "exclusiveMaximum", "maxLength", "maxItems", "maxProperties")
JUDGED: Final = frozenset(
    {"type", "properties", "required", "items", "additionalProperties", "anyOf", "enum", "const", "pattern", "format"}
    | {*LOWER_LIMITS, *UPPER_LIMITS}
)


def structure(schema: Schema) -> Schema:
    """The schema with references resolved and without texts: equal structures mean the same messages."""
    resolved: Schema = _resolved(schema, schema.get("$defs", {}))
    return resolved


def breaks(old: Schema, new: Schema) -> list[str]:
    """Why `new` cannot take the place of `old`, one sentence each; empty where it can."""
    before, after = structure(old), structure(new)
    lost = sorted(set(_properties(before)) - set(_properties(after)))
    return [
        *(f"{path}: removed" for path in lost),
        *(f"{refusal}: refuses what has been published" for refusal in _refusals(before, after, "")),
        *(f"{refusal}: refused by readers that still run" for refusal in _refusals(after, before, "")),
    ]


def _resolved(node: Any, definitions: Schema) -> Any:
    if isinstance(node, list):
        return [_resolved(item, definitions) for item in node]
    if not isinstance(node, dict):
        return node
    if "$ref" in node:
        return _resolved(definitions[node["$ref"].removeprefix("#/$defs/")], definitions)
    resolved: Schema = {}
    for keyword, value in node.items():
        if keyword == "properties":  # its keys are names, not keywords: a property may be called "title"
            resolved[keyword] = {name: _resolved(inner, definitions) for name, inner in value.items()}
        elif keyword not in TEXTS:
            resolved[keyword] = _resolved(value, definitions)
    return resolved


def _properties(schema: Schema, at: str = "") -> Iterator[str]:
    """Yields the path of every property, at any depth."""
    for name, value in schema.get("properties", {}).items():
        yield f"{at}/{name}"
        yield from _properties(value, f"{at}/{name}")
    for inner in (schema.get("items"), schema.get("additionalProperties"), *schema.get("anyOf", [])):
        if isinstance(inner, dict):
            yield from _properties(inner, at)


def _refusals(written: Schema, reader: Schema, at: str) -> Iterator[str]:
    """Yields what a reader with the schema `reader` would refuse of messages that follow the schema `written`."""
    choices = _shapes(reader)
    for shape in _shapes(written):
        reasons = [list(_refusals_of_shape(shape, choice, at)) for choice in choices]
        if all(reasons):
            yield from min(reasons, key=len)


def _shapes(schema: Schema) -> list[Schema]:
    """The alternatives of a schema, each as a schema of its own."""
    around = {keyword: value for keyword, value in schema.items() if keyword != "anyOf"}
    return [around | choice for choice in schema.get("anyOf", [{}])]


def _refusals_of_shape(written: Schema, reader: Schema, at: str) -> Iterator[str]:
    where = at or "/"
    if "type" in reader and not _type_fits(written.get("type"), reader["type"]):
        yield f"{where} type {written.get('type', 'any')} → {reader['type']}"
        return
    yield from _refused_values(written, reader, where)
    yield from (f"{at}/{name} newly required" for name in _newly_required(written, reader))
    for name in written.get("properties", {}).keys() & reader.get("properties", {}).keys():
        yield from _refusals(written["properties"][name], reader["properties"][name], f"{at}/{name}")
    for keyword in ("items", "additionalProperties"):
        if keyword in reader:
            yield from _refusals(_inner(written, keyword), _inner(reader, keyword), f"{at}/*")


def _type_fits(written: str | None, reader: str) -> bool:
    return written == reader or (written, reader) == ("integer", "number")


def _refused_values(written: Schema, reader: Schema, where: str) -> Iterator[str]:
    allowed, possible = _values(reader), _values(written)
    if allowed is not None and (possible is None or any(value not in allowed for value in possible)):
        yield f"{where} values {possible or 'any'} → {allowed}"
    for keyword in ("pattern", "format"):
        if keyword in reader and reader[keyword] != written.get(
            keyword
        ):  # which of two patterns is wider cannot be told
            yield f"{where} {keyword} {written.get(keyword, 'any')} → {reader[keyword]}"
    for keyword in LOWER_LIMITS:
        if keyword in reader and (keyword not in written or reader[keyword] > written[keyword]):
            yield f"{where} {keyword} {written.get(keyword, 'none')} → {reader[keyword]}"
    for keyword in UPPER_LIMITS:
        if keyword in reader and (keyword not in written or reader[keyword] < written[keyword]):
            yield f"{where} {keyword} {written.get(keyword, 'none')} → {reader[keyword]}"
    for keyword in sorted((reader.keys() | written.keys()) - JUDGED):
        if reader.get(keyword) != written.get(keyword):
            yield f"{where} {keyword} changed, which this check cannot judge"


def _values(schema: Schema) -> list[Any] | None:
    if "const" in schema:
        return [schema["const"]]
    values: list[Any] | None = schema.get("enum")
    return values


def _newly_required(written: Schema, reader: Schema) -> list[str]:
    return sorted(set(reader.get("required", [])) - set(written.get("required", [])))


def _inner(schema: Schema, keyword: str) -> Schema:
    """The schema of what lies inside: true and absent allow anything, false allows nothing."""
    inner = schema.get(keyword, True)
    if isinstance(inner, dict):
        return inner
    return {} if inner else {"enum": []}
