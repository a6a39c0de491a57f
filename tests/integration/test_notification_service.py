"""The whole service: its API, its metrics, its work over a real bus, and that it tells nobody's phone or name."""

import base64
import json
from collections.abc import AsyncIterator
from datetime import timedelta
from pathlib import Path
from typing import Any

import httpx
import pytest
import structlog
from fastapi import FastAPI
from pydantic import ValidationError

from services.notification.app import build_app, build_channels
from services.notification.sending.domain import Status
from services.notification.settings import Settings
from shared.clock import write_clock
from shared.database import Database
from shared.service import Service
from shared.service.tokens import Role, create_token
from tests.support.databases import DatabaseFactory
from tests.support.notification import (
    CAMPAIGN,
    NOON,
    SIGNING_KEY,
    FakeProvider,
    claim_code,
    defined,
    deliver,
    enrolled,
    issued,
    new_settings,
    revoked,
    statuses,
)
from upkeep import check_messages

ANNA, BO, CHEN = "ks_000001", "ks_000002", "ks_000003"
PHONES = ("13800000001", "13800000002")
PATH = f"/v1/campaigns/{CAMPAIGN}/notifications"


def token(role: Role = "office", campaign: str = CAMPAIGN, unit: str | None = None) -> dict[str, str]:
    key = base64.b64encode(SIGNING_KEY.private_bytes_raw()).decode()
    made = create_token(key, subject="t", role=role, campaign=campaign, unit=unit, valid_for=timedelta(days=1))
    return {"Authorization": f"Bearer {made}"}


@pytest.fixture
async def app(database: DatabaseFactory, tmp_path: Path) -> AsyncIterator[FastAPI]:
    """The composed service, its loops not started: tests say when what happens."""
    built = build_app(new_settings((await database("notification")).url, tmp_path))
    yield built
    await service_of(built).db.close()


@pytest.fixture
async def client(app: FastAPI) -> AsyncIterator[httpx.AsyncClient]:
    transport = httpx.ASGITransport(app, raise_app_exceptions=False)
    async with httpx.AsyncClient(transport=transport, base_url="http://test", headers=token()) as opened:
        yield opened


def service_of(app: FastAPI) -> Service:
    found: Service = app.state.service
    return found


async def do_due_work(app: FastAPI) -> None:
    service = service_of(app)
    while sum([await work.run_until_done(service.clock, service.metrics) for work in service.due_work]):
        pass


async def play(app: FastAPI) -> None:
    """Anna's text is sent, Bo's certificate is revoked before, Chen has no phone."""
    await deliver(
        service_of(app).bus,
        defined(),
        enrolled((ANNA, PHONES[0]), (BO, PHONES[1])),
        revoked((BO, "S-B")),
        issued((ANNA, "S-A"), (BO, "S-B"), (CHEN, "S-C")),
    )
    await do_due_work(app)


# --- the list ---------------------------------------------------------------------------------------------------------


async def test_the_office_sees_counts_and_masked_rows(app: FastAPI, client: httpx.AsyncClient) -> None:
    await play(app)
    body = (await client.get(PATH)).raise_for_status().json()
    assert body["counts"] == {"delivered": 1, "cancelled": 1, "queued": 1}
    assert body["next_cursor"] is None
    rows = {row["period"]: row for row in body["rows"]}
    assert {serial: (row["recipient"], row["status"], row["reason"]) for serial, row in rows.items()} == {
        "S-A": ("138****0001", "delivered", None),
        "S-B": ("138****0002", "cancelled", "revoked"),
        "S-C": ("k****3", "queued", "no_contact"),
    }
    noon = "2024-07-10T04:00:00Z"
    assert {key: rows["S-A"][key] for key in ("kind", "channel", "due_at", "sent_at", "updated_at")} == {
        "kind": "certificate_ready",
        "channel": "file",
        "due_at": noon,
        "sent_at": noon,
        "updated_at": noon,
    }
    assert rows["S-C"]["sent_at"] is None


async def test_rows_are_filtered_and_come_in_pages(app: FastAPI, client: httpx.AsyncClient) -> None:
    await play(app)
    only = (await client.get(PATH, params={"status": "queued", "kind": "certificate_ready"})).json()
    assert [row["period"] for row in only["rows"]] == ["S-C"]
    assert only["counts"]["delivered"] == 1
    seen: list[str] = []
    cursor: str | None = ""
    while cursor is not None:
        params: dict[str, Any] = {"limit": 2} | ({"cursor": cursor} if cursor else {})
        page = (await client.get(PATH, params=params)).raise_for_status().json()
        seen += [row["period"] for row in page["rows"]]
        cursor = page["next_cursor"]
    assert sorted(seen) == ["S-A", "S-B", "S-C"]


@pytest.mark.parametrize(
    ("headers", "path", "status", "problem"),
    [
        ({"Authorization": ""}, PATH, 401, "token-missing"),
        (token("liaison"), PATH, 403, "role-not-allowed"),
        (token(campaign="other"), PATH, 403, "other-campaign"),
        (token("office", unit="111"), PATH, 403, "unit-scoped"),
        (token("admin", "*"), "/v1/campaigns/unheard-of/notifications", 404, "not-found"),
        (token("admin", "*"), "/v1/campaigns/%00/notifications", 422, "invalid-request"),
        (token(), f"{PATH}?limit=501", 422, "invalid-request"),
        (token(), f"{PATH}?status=lost", 422, "invalid-request"),
        (token(), f"{PATH}?cursor=nonsense", 422, "invalid-cursor"),
    ],
)
async def test_what_is_not_allowed_or_not_there_is_a_typed_problem(
    app: FastAPI, client: httpx.AsyncClient, headers: dict[str, str], path: str, status: int, problem: str
) -> None:
    await deliver(service_of(app).bus, defined())
    answer = await client.get(path, headers=headers)
    assert (answer.status_code, answer.json()["type"]) == (status, f"/problems/{problem}")


@pytest.mark.parametrize("role", ["admin", "office", "auditor"])
async def test_who_may_look(app: FastAPI, client: httpx.AsyncClient, role: Role) -> None:
    await deliver(service_of(app).bus, defined())
    answer = await client.get(PATH, headers=token(role))
    assert answer.json() == {"counts": {}, "rows": [], "next_cursor": None}


# --- metrics ----------------------------------------------------------------------------------------------------------


async def test_metrics_are_exact(app: FastAPI, client: httpx.AsyncClient) -> None:
    await play(app)
    await deliver(service_of(app).bus, issued((ANNA, "S-A2")))
    page = (await client.get("/metrics")).text
    labels = f'campaign="{CAMPAIGN}",channel="file",kind="certificate_ready"'
    for status in ("delivered", "cancelled", "queued"):
        assert f'fanzha_notifications{{{labels},status="{status}"}} 1.0' in page
    assert "fanzha_notification_unplanned 1.0" in page


async def test_messages_of_every_status_begin_with_0(app: FastAPI, client: httpx.AsyncClient) -> None:
    """A series that begins with the first thousand failures has not grown: alert MessagesFailing would not hear of them."""
    await deliver(service_of(app).bus, defined())
    page = (await client.get("/metrics")).text
    labels = f'campaign="{CAMPAIGN}",channel="file",kind="certificate_ready"'
    for status in Status:
        assert f'fanzha_notifications{{{labels},status="{status}"}} 0.0' in page


async def test_message_rules_of_a_newer_version_are_counted_and_their_texts_wait(
    app: FastAPI, client: httpx.AsyncClient
) -> None:
    bus, db = service_of(app).bus, service_of(app).db
    newer = defined()
    messages: list[Any] = newer.rules["messages"]  # type: ignore[assignment]
    for rule in ({"event": "bulletin_published", "channel": "file"}, {"event": "certificate_ready", "channel": "fax"}):
        messages.append({**messages[0], **rule})
    with structlog.testing.capture_logs() as logs:
        await deliver(bus, newer, enrolled((ANNA, PHONES[0])), issued((ANNA, "S-A")))
    assert [log["rules"] for log in logs if log["event"] == "message rules of a newer version are left out"] == [2]
    await do_due_work(app)
    page = (await client.get("/metrics")).text
    assert f'fanzha_notification_rules_unknown{{campaign="{CAMPAIGN}"}} 2.0' in page
    assert "fanzha_notification_unplanned 1.0" in page
    assert await statuses(db) == {}

    await deliver(bus, defined(revision=2))
    await do_due_work(app)
    page = (await client.get("/metrics")).text
    assert f'fanzha_notification_rules_unknown{{campaign="{CAMPAIGN}"}} 0.0' in page
    assert await statuses(db) == {"S-A": ("delivered", None)}


async def test_metrics_tell_how_long_something_is_due_or_unresolved(database: DatabaseFactory, tmp_path: Path) -> None:
    provider = FakeProvider()
    provider.trouble, provider.blind = ["after"], True
    app = build_app(new_settings((await database("notification")).url, tmp_path), {"file": provider})
    service = service_of(app)
    await deliver(service.bus, defined(), enrolled((ANNA, PHONES[0])), issued((ANNA, "S-A")))
    await service.due_work[0].run(NOON)
    write_clock(tmp_path / "clock", NOON + timedelta(seconds=90))
    async with httpx.AsyncClient(transport=httpx.ASGITransport(app), base_url="http://test") as client:
        assert 'fanzha_notification_oldest_due_seconds{channel="file"} 90.0' in (await client.get("/metrics")).text
        with pytest.raises(Exception, match="TimeoutError"):
            await service.due_work[1].run(NOON)
        page = (await client.get("/metrics")).text
    assert 'fanzha_notification_oldest_due_seconds{channel="file"} 0.0' in page
    assert 'fanzha_notification_oldest_unresolved_seconds{channel="file"} 90.0' in page
    await service.db.close()


# --- people's data ----------------------------------------------------------------------------------------------------


async def test_phone_name_and_claim_code_are_nowhere_but_in_the_message(
    app: FastAPI, client: httpx.AsyncClient, tmp_path: Path
) -> None:
    with structlog.testing.capture_logs() as logs:
        await play(app)
        (tmp_path / "messages" / CAMPAIGN).rename(tmp_path / "sent")
        (tmp_path / "messages" / CAMPAIGN).write_text("in the way: every further message fails")
        await deliver(service_of(app).bus, enrolled((CHEN, "13800000003")), issued((ANNA, "S-A2")))
        with pytest.raises(Exception, match="file"):
            await do_due_work(app)
        shown = [(await client.get(path)).text for path in (PATH, "/metrics", f"{PATH}?cursor=13800000001")]
    stored = await tables(service_of(app).db)
    everything = json.dumps([logs, shown, stored], default=repr, ensure_ascii=False)
    for secret in (*PHONES, "13800000003", "王小明", claim_code("S-A"), claim_code("S-A2")):
        assert secret not in everything.replace("cursor=13800000001", "")
    assert [PHONES[0] in path.read_text() for path in (tmp_path / "sent").rglob("*.txt")] == [True]


async def tables(db: Database) -> list[str]:
    """Every column of every table as text; bytes also as the text they may be."""
    async with db.transaction() as tx:
        names = await tx.fetch("SELECT tablename FROM pg_tables WHERE schemaname = 'public'")
        rows = [await tx.fetch(f'SELECT * FROM "{name[0]}"') for name in names]
    return [repr(tuple(row)) for table in rows for row in table]


async def test_without_a_channel_texts_wait_are_not_said_to_be_delivered_and_do_not_expire(
    database: DatabaseFactory, tmp_path: Path
) -> None:
    """In production a text in a file reached nobody and was counted as delivered."""
    app = build_app(new_settings((await database("notification")).url, tmp_path), {})
    service = service_of(app)
    await deliver(service.bus, defined(), enrolled((ANNA, PHONES[0])), issued((ANNA, "S-A")))
    await do_due_work(app)
    write_clock(tmp_path / "clock", NOON + timedelta(days=8))
    await do_due_work(app)
    async with httpx.AsyncClient(transport=httpx.ASGITransport(app), base_url="http://test") as client:
        answer = (await client.get(PATH, headers=token("office"))).json()
        page = (await client.get("/metrics")).text
    assert answer["counts"] == {"queued": 1}
    assert (answer["rows"][0]["status"], answer["rows"][0]["reason"]) == ("queued", "no_channel")
    assert 'fanzha_notification_without_channel{channel="file"} 1.0' in page
    (finding,) = check_messages.judge(page)
    assert finding.text == "1 条消息在等通道 file，这套部署没有它：谁也收不到"
    await service.db.close()


def test_production_refuses_to_write_texts_to_files(tmp_path: Path) -> None:
    given = new_settings("postgresql://x", tmp_path).model_dump() | {"environment": "production", "clock_file": None}
    with pytest.raises(ValidationError, match="a text in a file reaches nobody"):
        Settings(**given)
    assert build_channels(Settings(**given | {"file_channel_dir": None})) == {}
