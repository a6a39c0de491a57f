"""The registry, the committed schemas and the frozen examples agree with each other and with the code."""

import json
import re
from pathlib import Path
from typing import Any, get_origin

import jsonschema_rs
import pytest

from checks import contracts
from checks.wiring import defined
from shared.bus import topology
from shared.contracts.base import ColumnEvent, Event, Id, SealedColumn
from shared.contracts.registry import BY_SUBJECT, EVENTS
from shared.people import erasure
from tests.contracts.conftest import example_files

EVERY_EVENT = pytest.mark.parametrize("event", EVENTS, ids=lambda event: event.__name__)
EXAMPLES = [(event, path) for event in EVENTS for path in example_files(event)]
EVERY_EXAMPLE = pytest.mark.parametrize(("event", "path"), EXAMPLES, ids=[path.stem for _, path in EXAMPLES])


# ---- the registry ----------------------------------------------------------------------------------------------------


def test_the_registry_lists_every_event_once() -> None:
    assert set(EVENTS) == defined()
    assert len(BY_SUBJECT) == len(EVENTS)


@EVERY_EVENT
def test_subject_and_class_name_say_the_same_fact(event: type[Event]) -> None:
    assert re.fullmatch(r"events\.[a-z]+\.[a-z]+(_[a-z]+)+\.v[1-9][0-9]*", event.subject())
    assert event.OWNER in topology.SERVICES
    assert event.__name__ == "".join(map(str.title, event.FACT.split("_"))) + f"V{event.VERSION}"


@EVERY_EVENT
def test_every_list_of_a_column_event_is_a_column(event: type[Event]) -> None:
    """Else its length would be checked by nobody, and `rows()` would leave it out."""
    if issubclass(event, ColumnEvent):
        lists = {name for name, field in event.model_fields.items() if get_origin(field.annotation) is list}
        assert lists == set(event.COLUMNS.values())


@EVERY_EVENT
def test_every_field_says_whether_it_is_personal(event: type[Event]) -> None:
    """Once: personal, sealed or impersonal. Only the head, which all events have, need not be listed."""
    fields = event.model_fields.keys() - Event.model_fields.keys()
    assert sorted([*event.PERSONAL, *event.SEALED, *event.IMPERSONAL]) == sorted(fields)


@EVERY_EVENT
def test_an_erasure_can_reach_what_is_personal(event: type[Event]) -> None:
    """It finds rows by their account and puts ids in place of ids: anything else that is personal needs an erasure of its own."""
    sealed = {name for name, field in event.model_fields.items() if field.annotation == SealedColumn | None}
    assert set(event.SEALED) == sealed
    if issubclass(event, ColumnEvent) and "viewer_id" in event.COLUMNS:
        assert event.PERSONAL[0] == event.COLUMNS["viewer_id"]
        assert {event.model_fields[name].annotation for name in event.PERSONAL} == {list[Id]}
    else:
        columns = event.COLUMNS if issubclass(event, ColumnEvent) else {}
        assert event.PERSONAL == ()
        assert not event.SEALED or "unit_code" in columns  # by which `fanzha erase liaison` finds it


def test_every_durable_delivers_a_registered_event_or_the_live_platforms_posts() -> None:
    assert {durable.subject for durable in topology.DURABLES} - BY_SUBJECT.keys() == {topology.LIVE_SUBJECT}


# ---- schemas ---------------------------------------------------------------------------------------------------------


@EVERY_EVENT
def test_the_contract_is_committed_and_compatible_with_every_published_revision(event: type[Event]) -> None:
    assert contracts.schema_complaints(event, contracts.schema_of(event)) == []


@EVERY_EVENT
def test_a_narrowed_contract_is_refused(event: type[Event]) -> None:
    narrowed = contracts.schema_of(event)
    narrowed["required"] = [*narrowed["required"], "added"]
    narrowed["properties"]["added"] = {"type": "string"}
    complaints = contracts.schema_complaints(event, narrowed)
    assert len(complaints) == len(contracts.revisions(event))  # each of them published something
    for complaint in complaints:
        assert "/added newly required: refuses what has been published; this is version 2" in complaint


def test_every_schema_belongs_to_a_registered_event() -> None:
    assert {path.name for path in contracts.SCHEMAS.iterdir()} == {event.ce_type() for event in EVENTS}


# ---- examples --------------------------------------------------------------------------------------------------------


def test_what_was_published_is_as_it_was() -> None:
    assert contracts.published_complaints(contracts.published(), contracts.checksums()) == []


def test_an_edited_a_lost_and_an_unregistered_file_are_seen() -> None:
    published = {"examples/a.json": "1", "examples/b.json": "2"}
    complaints = contracts.published_complaints(published, {"examples/b.json": "3", "examples/c.json": "4"})
    assert [complaint.partition(";")[0] for complaint in complaints] == [
        "examples/a.json: was published and is gone",
        "examples/b.json: was published and is different now",
        "examples/c.json: not in published.json",
    ]


@EVERY_EVENT
def test_an_event_has_an_ordinary_example_and_one_at_the_edges(event: type[Event]) -> None:
    assert len(example_files(event)) >= 2


def test_every_example_is_of_a_registered_event() -> None:
    assert {path for _, path in EXAMPLES} == set(contracts.EXAMPLES.iterdir())


@EVERY_EXAMPLE
def test_the_contract_reads_every_example(event: type[Event], path: Path) -> None:
    read = event.model_validate_json(path.read_bytes())
    assert event.model_validate_json(read.model_dump_json()) == read


@EVERY_EXAMPLE
def test_every_published_schema_accepts_every_example(event: type[Event], path: Path) -> None:
    """Also the examples that came later: readers by an older schema may still run."""
    example = json.loads(path.read_bytes())
    written = json.loads(event.model_validate(example).model_dump_json())
    for revision in contracts.revisions(event):
        schema = jsonschema_rs.validator_for(json.loads(revision.read_text()), validate_formats=True)
        schema.validate(example)
        schema.validate(written)


@EVERY_EXAMPLE
def test_readers_ignore_fields_they_do_not_know(event: type[Event], path: Path) -> None:
    example = json.loads(path.read_bytes())
    newer: dict[str, Any] = example | {"a_field_of_next_year": {"deep": [None]}}
    for sealed in event.SEALED:
        if newer.get(sealed):
            newer[sealed] = newer[sealed] | {"a_field_of_next_year": 1}
    assert event.model_validate(newer) == event.model_validate(example)


@EVERY_EXAMPLE
def test_a_viewer_is_taken_out_of_every_example(event: type[Event], path: Path) -> None:
    """The account and its events have other names, its boxes are empty; everything else is as it was, under the same contract."""
    before = json.loads(path.read_bytes())
    viewer = before.get("viewer_ids", ["ks_8812"])[-1]
    after = json.loads(erasure.without_viewer(event, path.read_bytes(), viewer, erasure.new_name()))
    event.model_validate(after)
    impersonal = before.keys() & set(event.IMPERSONAL)  # older ones lack what came later
    assert {field: after[field] for field in impersonal} == {field: before[field] for field in impersonal}
    for row, account in enumerate(before.get("viewer_ids", [])):
        personal = [(before[field][row], after[field][row]) for field in event.PERSONAL]
        boxes = [
            (before[field]["boxes"][row], after[field]["boxes"][row]) for field in event.SEALED if before.get(field)
        ]
        if account == viewer:
            assert all(old != new for old, new in personal)
            assert all(new is None for _, new in boxes)
        else:
            assert all(old == new for old, new in personal + boxes)
