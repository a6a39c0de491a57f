"""Fixtures for every test. Servers are real, started once for a session, on free ports."""

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
