"""The AsyncAPI documents are what the services really send and receive, and together they leave nothing without an owner."""

from typing import Any

import pytest

from checks import contracts
from checks.wiring import subjects
from shared.bus import topology
from shared.bus.topology import SERVICES
from shared.contracts.registry import BY_SUBJECT


@pytest.fixture(scope="module")
def documents() -> dict[str, dict[str, Any]]:
    return {service: contracts.asyncapi_of(service) for service in SERVICES}


@pytest.mark.parametrize("service", SERVICES)
def test_the_committed_document_is_what_the_service_does(service: str, documents: dict[str, dict[str, Any]]) -> None:
    assert contracts.asyncapi_complaints(service, documents[service]) == [], "python -m checks.contracts write"


@pytest.mark.parametrize("service", SERVICES)
def test_a_service_reads_each_of_its_durables(service: str, documents: dict[str, dict[str, Any]]) -> None:
    durables = [durable.subject for durable in topology.DURABLES if durable.service == service]
    assert subjects(documents[service], "receive") == sorted(durables)


def test_every_event_has_one_producer_its_owner(documents: dict[str, dict[str, Any]]) -> None:
    produced = [(subject, service) for service in SERVICES for subject in subjects(documents[service], "send")]
    assert sorted(produced) == sorted((subject, event.OWNER) for subject, event in BY_SUBJECT.items())
