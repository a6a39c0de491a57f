"""Every example ever published, to every consumer, twice, on a real database (DESIGN §6). No durable can be left out."""

import re

import pytest

from shared.bus import topology
from shared.bus.topology import SERVICES
from tests.contracts.conftest import ServiceFactory, State, durables_of, examples_for

DURABLES = [durable for service in SERVICES for durable in durables_of(service)]
SUMS = {
    "reporting-totals",
    "reporting-make-goods",
    "reporting-moves",
    "reporting-live-room",
}  # only the inbox knows a repeat


@pytest.mark.parametrize("durable", DURABLES)
async def test_every_published_example_is_applied_once(durable: str, contract_service: ServiceFactory) -> None:
    service = await contract_service(topology.durable(durable).service)
    examples = examples_for(durable)
    nothing = await service.everything()
    await service.deliver_bodies(durable, *examples)
    once = await service.everything()
    assert once != nothing, f"{durable}: its examples change no table"
    await service.deliver_bodies(durable, *examples)
    await service.deliver_bodies(durable, *reversed(examples))
    assert await service.everything() == once
    if durable not in SUMS:
        await service.forget_deliveries()
        await service.deliver_bodies(durable, *examples)
        assert _readable(await service.everything()) == _readable(once), "the natural key does not hold"


@pytest.mark.parametrize("service", sorted({topology.durable(name).service for name in DURABLES}))
async def test_all_examples_in_either_order_leave_as_many_rows(service: str, contract_service: ServiceFactory) -> None:
    """Rows hold random ciphertexts, so here they are counted; each service's own tests compare what they say."""
    deliveries = [(durable, example) for durable in durables_of(service) for example in examples_for(durable)]
    forwards, backwards = await contract_service(service), await contract_service(service)
    for durable, example in deliveries:
        await forwards.deliver_bodies(durable, example)
    for durable, example in reversed(deliveries):
        await backwards.deliver_bodies(durable, example)
    assert _sizes(await forwards.everything()) == _sizes(await backwards.everything())


def _readable(state: State) -> State:
    """Without ciphertexts, which differ each time."""
    return {table: sorted(re.sub(r"\\+x[0-9a-f]{40,}", "…", row) for row in rows) for table, rows in state.items()}


def _sizes(state: State) -> dict[str, int]:
    return {table: len(rows) for table, rows in state.items()}


def test_no_durable_is_left_out() -> None:
    """What is not an event has a contract test of its own: the live platform's posts, in test_checkin_contract.py."""
    assert {durable.name for durable in topology.DURABLES} - set(DURABLES) == {"checkin-live"}
