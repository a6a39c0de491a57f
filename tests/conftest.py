"""Fixtures for every test. Servers are real, started once for a session, on free ports."""

from collections import Counter
from collections.abc import AsyncIterator

import pytest
import structlog

from tests.support.databases import database as database
from tests.support.servers import RunningNats, RunningPostgres, public_folder

# As in production: the default renderer prints every local variable of an exception's frames, which takes seconds.
structlog.configure(
    processors=[
        structlog.processors.add_log_level,
        structlog.processors.format_exc_info,
        structlog.processors.JSONRenderer(ensure_ascii=False),
    ]
)


@pytest.fixture(scope="session")
async def postgres() -> AsyncIterator[RunningPostgres]:
    """A server with every service's empty database and roles."""
    with public_folder() as folder:
        server = RunningPostgres(folder)
        await server.start()
        await server.provision()
        yield server
        await server.stop()


@pytest.fixture(scope="session")
async def nats() -> AsyncIterator[RunningNats]:
    """A server with every user; no stream yet."""
    with public_folder() as folder:
        server = RunningNats(folder)
        await server.start()
        yield server
        await server.stop()


# Seconds that a whole file takes on a machine with two cores, where it is more than 20 (docs/testing.md). `make test` gives whole
# files to its workers: one that takes long and begins last is waited for by all of them.
LONG_FILES_S = {
    "tests/integration/test_campaign_keys_destroyed.py": 75,
    "tests/e2e/test_faults.py": 65,
    "tests/integration/test_agreement.py": 60,
    "tests/integration/test_backup.py": 60,
    "tests/integration/test_notification_sending.py": 60,
    "tests/e2e/test_campaign.py": 45,
    "tests/integration/test_certificate_delivery.py": 45,
    "tests/integration/test_devstack.py": 45,
}


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """Lets the long files begin first, then those with many tests."""
    if gone := [file for file in LONG_FILES_S if not (config.rootpath / file).exists()]:
        raise pytest.UsageError(f"tests/conftest.py, LONG_FILES_S: {', '.join(gone)} is no file")
    files = Counter(item.nodeid.partition("::")[0] for item in items)

    def turn(item: pytest.Item) -> tuple[int, int]:
        file = item.nodeid.partition("::")[0]
        return -LONG_FILES_S.get(file, 0), -files[file]

    items.sort(key=turn)
