"""Forms as a consumer reads them from the bus: what a newer version added is left out and counted, never parked (DESIGN §6)."""

from collections.abc import Callable, Mapping, Sequence
from typing import Any, NamedTuple, get_args

from shared.contracts.campaign_forms import (
    NUMBERS,
    Approval,
    Asks,
    Check,
    ComparedWith,
    DueDay,
    Every,
    FieldType,
    Form,
    Kind,
    Roll,
    Rows,
    Weekday,
)
from shared.contracts.campaign_formulas import Indicator, name_faults, parsed
from shared.contracts.campaign_parts import LEVELS

OF_FORM = {
    "every": get_args(Every),
    "weekday": get_args(Weekday),
    "approval": get_args(Approval),
    "asks": get_args(Asks),
}
OF_DEADLINE = {"day": get_args(DueDay), "roll": get_args(Roll)}
OF_FIELD = {
    "type": get_args(FieldType),
    "kind": get_args(Kind),
    "rows": get_args(Rows),
    "compared_with": get_args(ComparedWith),
}

Json = Mapping[str, Any]


class ReadForms(NamedTuple):
    """`unknown`: what this version does not know, such as `daily.deadline.roll=sideways`, each with what is left out for it: a
    form or, inside its fields and checks, only these. An indicator goes with what it names."""

    forms: tuple[Form, ...]
    indicators: tuple[Indicator, ...]
    unknown: list[str]


def read_forms(forms: Sequence[Json], indicators: Sequence[Json]) -> ReadForms:
    """Raises `ValidationError` for what no version could mean."""
    unknown: list[str] = []
    read = [form for content in forms if (form := _form(content, unknown)) is not None]
    of_forms = [indicator for content in indicators if (indicator := _indicator(content, read, unknown)) is not None]
    return ReadForms(tuple(read), tuple(of_forms), unknown)


def _form(content: Json, unknown: list[str]) -> Form | None:
    name = str(content.get("id"))
    deadline, filled_by = content.get("deadline") or {}, content.get("filled_by") or {}
    levels = [{"levels": level} for level in filled_by.get("levels") or ()]
    newer = _newer(name, content, OF_FORM) + _newer(f"{name}.deadline", deadline, OF_DEADLINE)
    newer += [value for level in levels for value in _newer(f"{name}.filled_by", level, {"levels": LEVELS})]
    unknown += newer
    fields = _known_only(name, content.get("fields") or (), unknown, _without_newer_columns)
    if newer or not fields:
        return None
    numbers = {field.get("id") for field in fields if field.get("type") in NUMBERS}
    checks = []
    for index, check in enumerate(content.get("checks") or ()):
        if _is_known_check(check, numbers):
            checks.append(check)
        else:
            unknown.append(f"{name}.checks[{index}]")
    return Form.model_validate({**content, "fields": fields, "checks": checks}, extra="ignore")


def _without_newer_columns(name: str, field: Json, unknown: list[str]) -> Json | None:
    """The field with the columns that are known; None where it is a table and none is left."""
    if "columns" not in field:
        return field
    columns = _known_only(name, field["columns"], unknown, lambda _name, column, _unknown: column)
    return {**field, "columns": columns} if columns else None


def _known_only(
    name: str, parts: Sequence[Json], unknown: list[str], within: Callable[[str, Json, list[str]], Json | None]
) -> list[Json]:
    known = []
    for part in parts:
        at = f"{name}.{part.get('id')}"
        newer = _newer(at, part, OF_FIELD)
        unknown += newer
        if not newer and (kept := within(at, part, unknown)) is not None:
            known.append(kept)
    return known


def _newer(name: str, content: Json, known: Mapping[str, Sequence[str]]) -> list[str]:
    """The texts that this version does not know, at places where a text must be one of a list."""
    return [
        f"{name}.{key}={content[key]}"
        for key, values in known.items()
        if isinstance(content.get(key), str) and content[key] not in values
    ]


def _is_known_check(check: Json, numbers: set[Any]) -> bool:
    named = {check.get("field"), check.get("equals"), *(check.get("sum_of") or ())} - {None}
    if check.get("at_most") != "headcount":
        named |= {check.get("at_most")} - {None}
    return check.keys() <= Check.model_fields.keys() and named <= numbers


def _indicator(content: Json, forms: Sequence[Form], unknown: list[str]) -> Indicator | None:
    """None where its formula has a function, or a name, that only a newer version knows."""
    try:
        parsed(str(content.get("formula")))
    except ValueError:
        unknown.append(f"indicators.{content.get('id')}")
        return None
    indicator = Indicator.model_validate(content, extra="ignore")
    if name_faults([indicator], forms):
        unknown.append(f"indicators.{indicator.id}")
        return None
    return indicator
