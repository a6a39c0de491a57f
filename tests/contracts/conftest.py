"""What contract tests share: published examples, and one service on a real database, without the others and without the bus.

The contact data and claim codes in the examples are sealed to `EXAMPLE_KEYS`, which open nothing else.
"""

import base64
from collections.abc import AsyncIterator, Awaitable, Callable
from pathlib import Path

import asyncpg
import pytest
from fastapi import FastAPI

from checks import contracts
from devstack.ports import free_port
from devstack.secrets import Secrets
from shared.bus import topology
from shared.bus.topology import Durable
from shared.contracts.base import Event
from shared.contracts.registry import BY_SUBJECT
from tests.support import service as service_under_test
from tests.support.databases import DatabaseFactory, FreshDatabase
from tests.support.service import ServiceUnderTest

EXAMPLE_KEYS = {
    name: base64.b64encode(bytes([byte]) * 32).decode() for name, byte in (("certificate", 1), ("notification", 2))
}
SECRETS = Secrets(sealing_private_keys=EXAMPLE_KEYS)

BOOKKEEPING = {
    "inbox",
    "outbox_pending",
    "alembic_version",
    "heartbeat",
    "held_message",
}  # about events, not what they are about

State = dict[str, list[str]]  # table → its rows as text


def durables_of(service: str) -> list[str]:
    """The durables through which a service reads events."""
    return [name for subject, name in service_under_test.durables_of(service).items() if subject in BY_SUBJECT]


def example_files(event: type[Event]) -> list[Path]:
    return sorted(contracts.EXAMPLES.glob(f"{event.FACT}.v{event.VERSION}.*.json"))


def examples_for(source: str | Durable | type[Event]) -> list[bytes]:
    """Every example ever published of an event, or of the event that a durable delivers."""
    if isinstance(source, str):
        source = topology.durable(source)
    event = BY_SUBJECT[source.subject] if isinstance(source, Durable) else source
    return [path.read_bytes() for path in example_files(event)]


class ContractService(ServiceUnderTest):
    """A service that nothing but `deliver_bodies` moves."""

    def __init__(self, app: FastAPI, database: FreshDatabase) -> None:
        super().__init__(app, caller=None)
        self.database = database

    async def everything(self) -> State:
        """All rows of all tables, but for bookkeeping: an effect is what is left when that is taken away."""
        connection = await asyncpg.connect(self.database.owner_url)
        try:
            tables = await connection.fetch("SELECT relname FROM pg_stat_user_tables WHERE schemaname = 'public'")
            return {
                table: sorted(row[0] for row in await connection.fetch(f'SELECT t::text FROM "{table}" t'))
                for (table,) in tables
                if table not in BOOKKEEPING
            }
        finally:
            await connection.close()

    async def forget_deliveries(self) -> None:
        """As if the inbox had been lost."""
        connection = await asyncpg.connect(self.database.owner_url)
        try:
            await connection.execute("TRUNCATE inbox")
        finally:
            await connection.close()


ServiceFactory = Callable[..., Awaitable[ContractService]]


@pytest.fixture
async def contract_service(database: DatabaseFactory, tmp_path: Path) -> AsyncIterator[ServiceFactory]:
    """`await contract_service("reporting")`: the service on a fresh database, NATS out of reach. Keywords replace settings."""
    built: list[ContractService] = []

    async def build(service: str, **environment: str) -> ContractService:
        fresh = await database(service)
        changes = {
            "ENVIRONMENT": "test",
            "DATABASE_URL": fresh.url,
            "NATS_URL": f"nats://{service}@127.0.0.1:{free_port()}",
            "PDF_DIR": str(tmp_path / "pdf"),
            "FILE_CHANNEL_DIR": str(tmp_path / "messages"),
        }
        app = contracts.build_service(service, changes | environment, SECRETS)
        built.append(ContractService(app, fresh))
        return built[-1]

    yield build
    for service in built:
        await service.close()
