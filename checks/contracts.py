"""Keeps the committed files about contracts true: `python -m checks.contracts write` and `check`.

`check` also reports events that are not wired all the way from producer to consumer (checks/wiring.py).

- `shared/contracts/schemas/<event>/<revision>.json`: the JSON Schema of an event version, every revision that was ever published.
- `shared/contracts/examples/<fact>.v<N>.<case>.json`: frozen messages.
- `shared/contracts/published.json`: checksums of both; a file that stands there never changes again.
- `docs/asyncapi/<service>.json`: what a service sends and receives.
"""

import hashlib
import importlib
import json
import os
import sys
import tempfile
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any, get_type_hints

from fastapi import FastAPI

from checks import wiring
from checks.schema_compatibility import Schema, breaks, structure
from devstack.home import REPOSITORY, Home
from devstack.plan import Stack
from devstack.ports import Ports
from devstack.secrets import Secrets
from shared.bus import asyncapi_document
from shared.bus.topology import SERVICES
from shared.contracts.base import Event
from shared.contracts.registry import EVENTS

CONTRACTS = REPOSITORY / "shared" / "contracts"
SCHEMAS = CONTRACTS / "schemas"
EXAMPLES = CONTRACTS / "examples"
PUBLISHED = CONTRACTS / "published.json"
ASYNCAPI = REPOSITORY / "docs" / "asyncapi"


# ---- schemas ---------------------------------------------------------------------------------------------------------


def schema_of(event: type[Event]) -> Schema:
    return {"$schema": "https://json-schema.org/draft/2020-12/schema"} | event.model_json_schema()


def revisions(event: type[Event]) -> list[Path]:
    """The committed schemas of an event, oldest first."""
    return sorted((SCHEMAS / event.ce_type()).glob("*.json"), key=lambda path: int(path.stem))


def schema_complaints(event: type[Event], current: Schema) -> list[str]:
    """Why `current`, the contract in the code, is not the one that is committed, or cannot take its place."""
    committed = revisions(event)
    broken = [
        f"{_name(path)}: {reason}; this is version {event.VERSION + 1}, with a subject of its own, published beside the old one"
        for path in committed
        for reason in breaks(_read(path), current)
    ]
    drifted = not committed or _read(committed[-1]) != current
    return broken or ([f"{event.ce_type()}: the schema is not committed"] if drifted else [])


def write_schema(event: type[Event]) -> None:
    """Writes a new revision where messages may look different from now on; otherwise new texts go into the newest revision."""
    current, committed = schema_of(event), revisions(event)
    same = committed and structure(_read(committed[-1])) == structure(current)
    number = len(committed) if same else len(committed) + 1
    _write(SCHEMAS / event.ce_type() / f"{number}.json", current)


# ---- what is published -----------------------------------------------------------------------------------------------


def checksums() -> dict[str, str]:
    """Checksums of all files that must not change once they are published. Texts of a schema are left out."""
    schemas = {_name(path): _sha256(_canonical(structure(_read(path)))) for path in SCHEMAS.glob("*/*.json")}
    examples = {_name(path): _sha256(path.read_bytes()) for path in EXAMPLES.glob("*.json")}
    return dict(sorted((schemas | examples).items()))


def published_complaints(published: Mapping[str, str], current: Mapping[str, str]) -> list[str]:
    """Complaints about published files that are gone or different, and about files that are not registered as published."""
    gone = [f"{name}: was published and is gone; put it back" for name in published.keys() - current.keys()]
    new = [f"{name}: not in {PUBLISHED.name}" for name in current.keys() - published.keys()]
    edited = [
        f"{name}: was published and is different now; put it back, and add a file for what is new"
        for name in published.keys() & current.keys()
        if published[name] != current[name]
    ]
    return sorted([*gone, *new, *edited])


def published() -> dict[str, str]:
    return dict(_read(PUBLISHED)) if PUBLISHED.exists() else {}


# ---- AsyncAPI --------------------------------------------------------------------------------------------------------


def build_service(service: str, changes: Mapping[str, str] | None = None, secrets: Secrets | None = None) -> FastAPI:
    """The service as a dev stack composes it, unstarted; it reaches for no server. `changes` replace environment keys."""
    stack = Stack(Home(Path(tempfile.gettempdir()) / "fanzha-nowhere"), Ports(), secrets or Secrets())
    build_app = importlib.import_module(f"services.{service}.app").build_app
    with _environment(stack.service_environment(service) | dict(changes or {})):
        app: FastAPI = build_app(get_type_hints(build_app)["settings"]())
    return app


def asyncapi_of(service: str) -> dict[str, Any]:
    app = build_service(service)
    return asyncapi_document(app.state.service.bus, app.title, app.version)


def asyncapi_complaints(service: str, document: Mapping[str, Any]) -> list[str]:
    """Complaints where the committed AsyncAPI document differs. `document`: what the service's code says now."""
    path = ASYNCAPI / f"{service}.json"
    current = path.exists() and _read(path) == document
    return [] if current else [f"{_name(path)}: not what the service sends and receives"]


@contextmanager
def _environment(variables: Mapping[str, str]) -> Iterator[None]:
    before = dict(os.environ)
    os.environ.update(variables)
    try:
        yield
    finally:
        os.environ.clear()
        os.environ.update(before)


# ---- the command -----------------------------------------------------------------------------------------------------


def check() -> list[str]:
    """All complaints, one sentence each."""
    documents = {service: asyncapi_of(service) for service in SERVICES}
    return [
        *wiring.complaints(documents, EXAMPLES),
        *(complaint for event in EVENTS for complaint in schema_complaints(event, schema_of(event))),
        *published_complaints(published(), checksums()),
        *(complaint for service in SERVICES for complaint in asyncapi_complaints(service, documents[service])),
    ]


def write() -> list[str]:
    """Brings the committed files up to date and returns complaints about published files, which it does not change."""
    for event in EVENTS:
        if not revisions(event) or not any(breaks(_read(path), schema_of(event)) for path in revisions(event)):
            write_schema(event)
    _write(PUBLISHED, dict(sorted((checksums() | published()).items())))
    for service in SERVICES:
        document = asyncapi_of(service)
        if asyncapi_complaints(service, document):  # an equal document stays: the generator orders schemas at random
            _write(ASYNCAPI / f"{service}.json", document)
    return check()


def main(arguments: list[str]) -> int:
    command = {"write": write, "check": check}.get(" ".join(arguments))
    if command is None:
        sys.stderr.write("usage: python -m checks.contracts write|check\n")
        return 2
    complaints = command()
    sys.stderr.writelines(f"{complaint}\n" for complaint in complaints)
    if complaints and command is check:
        sys.stderr.write("python -m checks.contracts write brings up to date what may change\n")
    return 1 if complaints else 0


def _name(path: Path) -> str:
    return path.relative_to(CONTRACTS if CONTRACTS in path.parents else REPOSITORY).as_posix()


def _read(path: Path) -> dict[str, Any]:
    content: dict[str, Any] = json.loads(path.read_text())
    return content


def _write(path: Path, content: Mapping[str, Any]) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps(content, ensure_ascii=False, indent=2) + "\n")


def _canonical(content: Any) -> bytes:
    return json.dumps(content, ensure_ascii=False, sort_keys=True).encode()


def _sha256(content: bytes) -> str:
    return hashlib.sha256(content).hexdigest()


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
