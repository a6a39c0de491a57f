"""The running service on a real nats-server and Postgres: what others publish, twice and in the wrong order, is counted once."""

from pathlib import Path

from tests.support.databases import DatabaseFactory
from tests.support.nats_support import eventually, running_nats
from tests.support.reporting_events import checkins, claimed, defined, issued, live_room, made_good, moved, revoked
from tests.support.reporting_service import ReportingService, column

C = "small-2024"
EDU, FIN = ("140902-EDU", "student"), ("140921-FIN", "general")


async def test_what_others_publish_is_counted_once(database: DatabaseFactory, tmp_path: Path) -> None:
    events = [
        revoked(C, 1),
        claimed(C, 0),
        moved(C, "v0", FIN, EDU),
        issued(C, [FIN, FIN]),
        live_room(C, [EDU], "prize_won", "保温杯"),
        made_good(C, [EDU]),
        checkins(C, [FIN, FIN]),
        *reversed(defined(C)),
    ]
    fresh = await database("reporting")
    async with (
        running_nats(tmp_path) as server,
        ReportingService(fresh, server.url("reporting")).running() as service,
    ):
        await server.publish(*events, *events)
        await eventually(service.service.settled, what="nothing left to do")
        answer = await service.totals(C, by="county")
        assert column(answer, "viewers") == {"140902": 1, "140921": 1}
        assert column(answer, "credited") == {"140902": 2, "140921": 1}
        assert column(answer, "certificates_claimed") == {"140902": 1, "140921": 0}
        assert column(await service.live_room(C, by="item"), "prize_won") == {"保温杯": 1}
        ready = await service.get("/health/ready")
        assert (ready.status_code, ready.json()["status"]) == (200, "ready"), ready.text
