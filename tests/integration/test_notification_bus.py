"""The running service on a real nats-server and Postgres: what others publish becomes texts."""

from pathlib import Path

import httpx

from services.notification.app import build_app
from shared.contracts.base import Event
from tests.support.databases import DatabaseFactory
from tests.support.nats_support import RunningNats, eventually
from tests.support.notification import CAMPAIGN, claim_code, defined, enrolled, issued, new_settings, revoked


async def publish(server: RunningNats, *events: Event) -> None:
    for event in events:
        async with server.client(event.OWNER) as client:
            await client.jetstream().publish(event.subject(), event.model_dump_json().encode())


async def test_what_others_publish_becomes_texts(database: DatabaseFactory, tmp_path: Path) -> None:
    server = RunningNats(tmp_path)
    await server.start()
    await server.apply_topology()
    app = build_app(new_settings((await database("notification")).url, tmp_path, server.url("notification")))
    service = app.state.service
    async with (
        app.router.lifespan_context(app),
        httpx.AsyncClient(transport=httpx.ASGITransport(app), base_url="http://test") as client,
    ):
        await publish(
            server,
            revoked(("ks_000002", "S-B")),
            issued(("ks_000001", "S-A"), ("ks_000002", "S-B")),
            enrolled(("ks_000001", "13800000001"), ("ks_000002", "13800000002")),
            defined(),
        )
        messages = tmp_path / "messages" / CAMPAIGN / "certificate_ready"
        await eventually(lambda: list(messages.glob("*.txt")), what="a text")
        await eventually(service.settled, what="nothing left to do")
        assert [claim_code("S-A") in path.read_text() for path in messages.iterdir()] == [True]
        ready = await client.get("/health/ready")
        assert (ready.status_code, ready.json()["status"]) == (200, "ready"), ready.text
        assert 'status="cancelled"} 1.0' in (await client.get("/metrics")).text
    await server.stop()
