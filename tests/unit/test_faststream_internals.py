"""An upgrade of FastStream that takes away what shared/bus/subscribing.py stands on is said at import."""

import subprocess
import sys
from importlib.metadata import version

import pytest

from shared.bus.faststream_internals import BUILT_ON

AN_UPGRADE_THAT = {
    "moved a module": (
        "sys.modules['faststream._internal.broker.registrator'] = None",
        "faststream._internal.broker.registrator",
    ),
    "renamed a method that is overridden": (
        "from faststream.nats.subscriber.usecases.basic import LogicSubscriber as Base; del Base._create_subscription",
        "this is missing: StreamSubscriber._create_subscription (docs",
    ),
    "renamed a parameter": (
        "from faststream._internal.endpoint.subscriber.usecase import SubscriberUsecase as Base\n"
        "Base.add_call = lambda self, *, parser_, decoder, dependencies_: self",
        "this is missing: the parameter decoder_ of StreamSubscriber.add_call (docs",
    ),
}


def importing(before: str) -> subprocess.CompletedProcess[str]:
    """Imports the bus in a process in which `before` was done to FastStream."""
    script = f"import sys, faststream.nats\n{before}\nimport shared.bus.subscribing\nprint('imported')"
    return subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=False)


@pytest.mark.parametrize("upgrade", AN_UPGRADE_THAT)
def test_an_upgrade_that_takes_something_away_is_named(upgrade: str) -> None:
    before, missing = AN_UPGRADE_THAT[upgrade]
    done = importing(before)
    said = done.stderr.strip().splitlines()[-1]
    assert said.startswith(
        f"ImportError: shared/bus/subscribing.py was built on the internals of FastStream {BUILT_ON}; "
    )
    assert missing in said
    assert done.stdout == ""


def test_as_it_is_installed_nothing_is_missing() -> None:
    assert importing("").stdout == "imported\n"


def test_the_installed_version_is_the_one_it_was_built_on() -> None:
    """Red after an upgrade: go through docs/decisions/pull-loop.md, then write the new version into BUILT_ON."""
    assert version("faststream") == BUILT_ON
