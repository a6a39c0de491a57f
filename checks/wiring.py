"""Whether an event is wired all the way: listed, declared and made by its owner, shown by examples, read by a service that may.

`python -m checks.contracts check` says what is missing, one sentence each, with the file in which to put it right.
"""

import ast
import importlib
import pkgutil
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any

import shared.contracts
from deploy.nats.permissions import render
from devstack.home import REPOSITORY
from shared.bus.topology import DURABLES, LIVE_SUBJECT, Durable
from shared.contracts.base import Event
from shared.contracts.registry import BY_SUBJECT, EVENTS

EXAMPLES_MIN = 2
PERMISSIONS = REPOSITORY / "deploy" / "nats" / "permissions.conf"


def defined(base: type[Event] = Event) -> set[type[Event]]:
    """Every event class of shared/contracts, once all of its modules are imported."""
    for module in pkgutil.iter_modules(shared.contracts.__path__):
        importlib.import_module(f"shared.contracts.{module.name}")
    classes = {event for child in base.__subclasses__() for event in {child, *defined(child)} if hasattr(event, "FACT")}
    return {event for event in classes if event.__module__.startswith("shared.contracts.")}


def complaints(documents: Mapping[str, dict[str, Any]], examples: Path) -> list[str]:
    """All complaints. `documents`: what each service sends and receives (AsyncAPI, generated from the code); `examples`: the
    folder."""
    return [
        *unlisted(defined(), EVENTS),
        *(complaint for event in EVENTS for complaint in without_examples(event, examples)),
        *(complaint for event in EVENTS for complaint in without_producer(event, documents)),
        *(complaint for event in EVENTS for complaint in never_made(event, REPOSITORY)),
        *without_reader(EVENTS, DURABLES),
        *unread(DURABLES, documents),
        *not_permitted(PERMISSIONS.read_text()),
        *(complaint for event in EVENTS for complaint in not_told(event, DURABLES, REPOSITORY)),
    ]


def unlisted(classes: Iterable[type[Event]], listed: Iterable[type[Event]]) -> list[str]:
    names = sorted(event.__name__ for event in set(classes) - set(listed))
    return [f"{name}: not in EVENTS of shared/contracts/registry.py" for name in names]


def without_examples(event: type[Event], folder: Path) -> list[str]:
    pattern = f"{event.FACT}.v{event.VERSION}"
    number = len(list(folder.glob(f"{pattern}.*.json")))
    if number >= EXAMPLES_MIN:
        return []
    wanted = f"shared/contracts/examples/{pattern}.<case>.json"
    return [f"{event.__name__}: {number} examples; it needs an ordinary one and one at the edges, {wanted}"]


def without_producer(event: type[Event], documents: Mapping[str, dict[str, Any]]) -> list[str]:
    """Complains about an event that its owner does not declare, since an event's only producer is its owner."""
    producers = [service for service in sorted(documents) if event.subject() in subjects(documents[service], "send")]
    if producers == [event.OWNER]:
        return []
    declared = f"declared by {' and '.join(producers)}" if producers else "declared by nobody"
    return [f"{event.__name__}: {declared}; bus.declares({event.__name__}) belongs in services/{event.OWNER}/app.py"]


def never_made(event: type[Event], repository: Path) -> list[str]:
    """Complains about an event that its owner only declares: to publish it, the owner must use the class elsewhere, too."""
    folder = repository / "services" / event.OWNER
    if any(event.__name__ in _names_used(path) for path in folder.rglob("*.py")):
        return []
    return [f"{event.__name__}: nothing in services/{event.OWNER}/ makes one; a use case puts it into the outbox"]


# Published for texts and pushes, which do not read them yet.
NOT_READ_YET = frozenset(
    {"ReportSubmittedV1", "ReportExcusedV1", "ReportReturnedV1", "ReportDueSoonV1", "ReportOverdueV1"}
)


def without_reader(events: Iterable[type[Event]], durables: Iterable[Durable]) -> list[str]:
    read = {durable.subject for durable in durables}
    return [
        f"{event.__name__}: nobody reads it; its consumer needs a Durable in DURABLES of shared/bus/topology.py"
        for event in events
        if event.subject() not in read and event.__name__ not in NOT_READ_YET
    ]


def unread(durables: Iterable[Durable], documents: Mapping[str, dict[str, Any]]) -> Iterator[str]:
    """Complains about durables without a handler, which would collect messages for ever."""
    for durable in durables:
        if durable.subject not in subjects(documents[durable.service], "receive"):
            what = (
                "the live platform's posts" if durable.subject == LIVE_SUBJECT else BY_SUBJECT[durable.subject].__name__
            )
            yield (
                f'{durable.name}: services/{durable.service}/ has no @consume(…, {what}, durable="{durable.name}"), '
                "or its consumers.py is not among the routers of app.py"
            )


def not_permitted(committed: str) -> list[str]:
    if committed == render():
        return []
    return [
        "deploy/nats/permissions.conf: not what shared/bus/topology.py says; "
        "python -m deploy.nats.permissions > deploy/nats/permissions.conf"
    ]


def not_told(event: type[Event], durables: Iterable[Durable], repository: Path) -> Iterator[str]:
    """Complains where a service's README does not name an event that it sends or receives, with or without the version."""
    readers = {durable.service for durable in durables if durable.subject == event.subject()}
    for service in sorted({event.OWNER, *readers}):
        name = event.__name__.removesuffix(f"V{event.VERSION}")
        if name not in (repository / "services" / service / "README.md").read_text(encoding="utf-8"):
            yield f"{event.__name__}: services/{service}/README.md does not name it among what goes out or comes in"


def subjects(document: Mapping[str, Any], action: str) -> list[str]:
    """The subjects that a service sends (`send`) or receives (`receive`), sorted."""
    channels = [
        operation["channel"]["$ref"].removeprefix("#/channels/").replace("~1", "/")
        for operation in document["operations"].values()
        if operation["action"] == action
    ]
    return sorted(document["channels"][channel]["address"] for channel in channels)


def _names_used(path: Path) -> set[str]:
    """Names that a module uses. Importing a name does not count as a use, nor does declaring the event."""
    nodes = list(ast.walk(ast.parse(path.read_text(encoding="utf-8"))))
    declaring = {
        id(argument)
        for node in nodes
        if isinstance(node, ast.Call) and isinstance(node.func, ast.Attribute) and node.func.attr == "declares"
        for argument in node.args
    }
    return {node.id for node in nodes if isinstance(node, ast.Name) and id(node) not in declaring}
