"""A service as its `build_app` composes it, under test: on a real database, its app called without a socket, its handlers
without a bus, its rows read.

What is special to a service stands beside it: checkin.py, certificate.py, notification.py, reporting_service.py.
"""

import base64
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any, Self
from uuid import uuid4

import httpx
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from fastapi import FastAPI

from shared.bus.topology import DURABLES
from shared.clock import write_clock
from shared.contracts.base import Event
from shared.contracts.registry import BY_SUBJECT
from shared.database import COLLISIONS, Database
from shared.service import Service
from shared.service.sessions import Session, SessionSigner, new_secret
from shared.service.tokens import ALL_CAMPAIGNS, Principal, Role, create_token, wall_now

NATS_AWAY = "nats://nobody@127.0.0.1:1"
OFFICE = "https://office.test"  # where browsers see the pages
_TOKEN_KEY, _SESSION_KEY = Ed25519PrivateKey.generate(), Ed25519PrivateKey.generate()


def text_of(key: Any) -> str:
    """A key's bytes as settings say them: base64."""
    return base64.b64encode(bytes(key)).decode()


SESSION_KEY = text_of(_SESSION_KEY.private_bytes_raw())  # reporting's: signs cookies
SESSION_PUBLIC_KEY = text_of(_SESSION_KEY.public_key().public_bytes_raw())


def settings_of(service: str, database_url: str, folder: Path, now: datetime | None = None) -> dict[str, Any]:
    """The settings that every service has. With `now` its clock, a file in the folder, is simulated and begins there."""
    clock = folder / "clock"
    if now is not None and not clock.exists():
        write_clock(clock, now)
    return {
        "environment": "test",
        "port": 0,
        "database_url": database_url,
        "nats_url": NATS_AWAY,
        "clock_file": None if now is None else clock,
        "token_public_key": text_of(_TOKEN_KEY.public_key().public_bytes_raw()),
        "session_public_key": SESSION_PUBLIC_KEY,
        "public_url": f"http://{service}.test",
    }


def token(
    role: Role = "office", campaign: str = ALL_CAMPAIGNS, unit: str | None = None, *, subject: str = "tester"
) -> str:
    """A bearer token that every service under test accepts."""
    key = text_of(_TOKEN_KEY.private_bytes_raw())
    return create_token(key, subject=subject, role=role, campaign=campaign, unit=unit, valid_for=timedelta(days=1))


def bearer(value: str | None) -> dict[str, str]:
    """The header of a call with this token; without one, no header."""
    return {"Authorization": f"Bearer {value}"} if value else {}


def durables_of(service: str) -> dict[str, str]:
    """The service's durables by the subject that they read."""
    return {durable.subject: durable.name for durable in DURABLES if durable.service == service}


class ServiceUnderTest:
    """The service without its loops, which only `running` starts: a test says when what happens and what time it is."""

    def __init__(self, app: FastAPI, *, caller: str | None) -> None:
        """`caller`: the token of `client`; None calls without one."""
        self.app = app
        self.service: Service = app.state.service
        self.db: Database = self.service.db
        self.collisions = 0  # deliveries that were repeated because they collided with another transaction
        self._caller = caller
        self._clients: list[httpx.AsyncClient] = []
        self.client = self.client_at("127.0.0.1")

    def client_at(self, address: str) -> httpx.AsyncClient:
        """A client with this address that calls as the other one does."""
        transport = httpx.ASGITransport(self.app, raise_app_exceptions=False, client=(address, 5000))
        url = self.service.settings.public_url
        self._clients.append(httpx.AsyncClient(transport=transport, base_url=url, headers=bearer(self._caller)))
        return self._clients[-1]

    def browser(self, address: str = "10.1.1.1") -> httpx.AsyncClient:
        """A browser of the office, with cookies of its own."""
        transport = httpx.ASGITransport(self.app, raise_app_exceptions=False, client=(address, 5000))
        self._clients.append(httpx.AsyncClient(transport=transport, base_url=OFFICE, headers={"accept": "text/html"}))
        return self._clients[-1]

    @asynccontextmanager
    async def running(self) -> AsyncIterator[Self]:
        """The service with its loops, as in production; it is closed afterwards."""
        async with self.app.router.lifespan_context(self.app):
            yield self
        await self.close()

    async def close(self) -> None:
        for client in self._clients:
            await client.aclose()
        await self.db.close()

    def clock_is(self, now: datetime) -> None:
        clock = self.service.settings.clock_file
        assert clock is not None, "this service's clock is the real one"
        write_clock(clock, now)

    async def deliver(self, *events: Event) -> None:
        """Hands events to the handlers as the bus does, body and all. After a collision it delivers again, as after a NAK."""
        for event in events:
            durable = durables_of(self.service.name)[event.subject()]
            while True:
                try:
                    await self.deliver_bodies(durable, event.model_dump_json().encode())
                    break
                except COLLISIONS:
                    self.collisions += 1

    async def deliver_bodies(self, durable: str, *bodies: bytes) -> None:
        """Hands messages to the handler of a durable; raises what it raises."""
        for body in bodies:
            await self.service.bus.handle(durable, body)

    async def do_due_work(self) -> None:
        """Does what is due at the clock's time until nothing is left."""
        while sum(
            [await work.run_until_done(self.service.clock, self.service.metrics) for work in self.service.due_work]
        ):
            pass

    async def rows(self, sql: str, *arguments: Any) -> list[tuple[Any, ...]]:
        async with self.db.transaction() as tx:
            return [tuple(row) for row in await tx.fetch(sql, *arguments)]

    async def published(self, contract: type[Event] | None = None) -> list[Any]:
        """The events in the outbox, of one contract or all, in order."""
        rows = await self.rows("SELECT subject, payload FROM outbox ORDER BY event_id")
        events = [BY_SUBJECT[subject].model_validate_json(payload) for subject, payload in rows]
        return [event for event in events if contract is None or isinstance(event, contract)]


def session_cookie(role: Role = "office", *, campaign: str, unit: str | None = None, subject: str = "tester") -> str:
    """The cookie of somebody signed in, as reporting signs it."""
    now = wall_now()
    session = Session(new_secret(), uuid4(), 1, Principal(subject, role, campaign, unit), now, now + timedelta(hours=1))
    return SessionSigner(SESSION_KEY).sign(session)
