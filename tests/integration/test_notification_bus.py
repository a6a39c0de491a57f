"""The running service on a real nats-server and Postgres: what others publish becomes texts."""

from pathlib import Path

from tests.support.databases import DatabaseFactory
from tests.support.nats_support import eventually, running_nats
from tests.support.notification import CAMPAIGN, NotificationService, claim_code, defined, enrolled, issued, revoked


async def test_what_others_publish_becomes_texts(database: DatabaseFactory, tmp_path: Path) -> None:
    url = (await database("notification")).url
    async with (
        running_nats(tmp_path) as server,
        NotificationService(url, tmp_path, nats_url=server.url("notification")).running() as running,
    ):
        await server.publish(
            revoked(("ks_000002", "S-B")),
            issued(("ks_000001", "S-A"), ("ks_000002", "S-B")),
            enrolled(("ks_000001", "13800000001"), ("ks_000002", "13800000002")),
            defined(),
        )
        messages = tmp_path / "messages" / CAMPAIGN / "certificate_ready"
        await eventually(lambda: list(messages.glob("*.txt")), what="a text")
        await eventually(running.service.settled, what="nothing left to do")
        assert [claim_code("S-A") in path.read_text() for path in messages.iterdir()] == [True]
        ready = await running.client.get("/health/ready")
        assert (ready.status_code, ready.json()["status"]) == (200, "ready"), ready.text
        assert 'status="cancelled"} 1.0' in (await running.client.get("/metrics")).text
