"""`python -m services.NAME` starts a service, and importing the same does nothing."""

from importlib import import_module

import pytest

from shared.bus.topology import SERVICES


@pytest.mark.parametrize("service", SERVICES)
def test_nothing_runs_at_import(service: str) -> None:
    import_module(f"services.{service}.__main__")  # without settings in the environment
