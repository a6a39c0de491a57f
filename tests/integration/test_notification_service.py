"""The whole service: its API, its metrics, its work over a real bus, and that it tells nobody's phone or name."""

import json
from collections.abc import AsyncIterator
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
import structlog
from pydantic import ValidationError

from services.notification.app import build_channels
from services.notification.sending.domain import Status
from services.notification.settings import Settings
from shared.database import Database
from shared.service.tokens import Role
from tests.support.databases import DatabaseFactory
from tests.support.notification import (
    CAMPAIGN,
    NOON,
    FakeProvider,
    NotificationService,
    claim_code,
    defined,
    enrolled,
    headers,
    issued,
    new_settings,
    revoked,
    statuses,
)
from upkeep import check_messages

ANNA, BO, CHEN = "ks_000001", "ks_000002", "ks_000003"
PHONES = ("13800000001", "13800000002")
PATH = f"/v1/campaigns/{CAMPAIGN}/notifications"


@pytest.fixture
async def service(database: DatabaseFactory, tmp_path: Path) -> AsyncIterator[NotificationService]:
    composed = NotificationService((await database("notification")).url, tmp_path)
    yield composed
    await composed.close()


async def play(service: NotificationService) -> None:
    """Anna's text is sent, Bo's certificate is revoked before, Chen has no phone."""
    await service.deliver(
        defined(),
        enrolled((ANNA, PHONES[0]), (BO, PHONES[1])),
        revoked((BO, "S-B")),
        issued((ANNA, "S-A"), (BO, "S-B"), (CHEN, "S-C")),
    )
    await service.do_due_work()


# --- the list ---------------------------------------------------------------------------------------------------------


async def test_the_office_sees_counts_and_masked_rows(service: NotificationService) -> None:
    await play(service)
    body = (await service.client.get(PATH)).raise_for_status().json()
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


async def test_rows_are_filtered_and_come_in_pages(service: NotificationService) -> None:
    await play(service)
    only = (await service.client.get(PATH, params={"status": "queued", "kind": "certificate_ready"})).json()
    assert [row["period"] for row in only["rows"]] == ["S-C"]
    assert only["counts"]["delivered"] == 1
    seen: list[str] = []
    cursor: str | None = ""
    while cursor is not None:
        params: dict[str, Any] = {"limit": 2} | ({"cursor": cursor} if cursor else {})
        page = (await service.client.get(PATH, params=params)).raise_for_status().json()
        seen += [row["period"] for row in page["rows"]]
        cursor = page["next_cursor"]
    assert sorted(seen) == ["S-A", "S-B", "S-C"]


@pytest.mark.parametrize(
    ("asked_with", "path", "status", "problem"),
    [
        ({"Authorization": ""}, PATH, 401, "token-missing"),
        (headers("liaison"), PATH, 403, "role-not-allowed"),
        (headers(campaign="other"), PATH, 403, "other-campaign"),
        (headers("office", unit="111"), PATH, 403, "unit-scoped"),
        (headers("admin", "*"), "/v1/campaigns/unheard-of/notifications", 404, "not-found"),
        (headers("admin", "*"), "/v1/campaigns/%00/notifications", 422, "invalid-request"),
        (headers(), f"{PATH}?limit=501", 422, "invalid-request"),
        (headers(), f"{PATH}?status=lost", 422, "invalid-request"),
        (headers(), f"{PATH}?cursor=nonsense", 422, "invalid-cursor"),
    ],
)
async def test_what_is_not_allowed_or_not_there_is_a_typed_problem(
    service: NotificationService, asked_with: dict[str, str], path: str, status: int, problem: str
) -> None:
    await service.deliver(defined())
    answer = await service.client.get(path, headers=asked_with)
    assert (answer.status_code, answer.json()["type"]) == (status, f"/problems/{problem}")


@pytest.mark.parametrize("role", ["admin", "office", "auditor"])
async def test_who_may_look(service: NotificationService, role: Role) -> None:
    await service.deliver(defined())
    answer = await service.client.get(PATH, headers=headers(role))
    assert answer.json() == {"counts": {}, "rows": [], "next_cursor": None}


# --- metrics ----------------------------------------------------------------------------------------------------------


async def test_metrics_are_exact(service: NotificationService) -> None:
    await play(service)
    await service.deliver(issued((ANNA, "S-A2")))
    page = (await service.client.get("/metrics")).text
    labels = f'campaign="{CAMPAIGN}",channel="file",kind="certificate_ready"'
    for status in ("delivered", "cancelled", "queued"):
        assert f'fanzha_notifications{{{labels},status="{status}"}} 1.0' in page
    assert "fanzha_notification_unplanned 1.0" in page


async def test_messages_of_every_status_begin_with_0(service: NotificationService) -> None:
    """A series that appears with its first thousand failures has not grown: the alert MessagesFailing would not fire."""
    await service.deliver(defined())
    page = (await service.client.get("/metrics")).text
    labels = f'campaign="{CAMPAIGN}",channel="file",kind="certificate_ready"'
    for status in Status:
        assert f'fanzha_notifications{{{labels},status="{status}"}} 0.0' in page


async def test_message_rules_of_a_newer_version_are_counted_and_their_texts_wait(service: NotificationService) -> None:
    newer = defined()
    messages: list[Any] = newer.rules["messages"]  # type: ignore[assignment]
    for rule in ({"event": "bulletin_published", "channel": "file"}, {"event": "certificate_ready", "channel": "fax"}):
        messages.append({**messages[0], **rule})
    with structlog.testing.capture_logs() as logs:
        await service.deliver(newer, enrolled((ANNA, PHONES[0])), issued((ANNA, "S-A")))
    assert [log["rules"] for log in logs if log["event"] == "message rules of a newer version are left out"] == [2]
    await service.do_due_work()
    page = (await service.client.get("/metrics")).text
    assert f'fanzha_notification_rules_unknown{{campaign="{CAMPAIGN}"}} 2.0' in page
    assert "fanzha_notification_unplanned 1.0" in page
    assert await statuses(service.db) == {}

    await service.deliver(defined(revision=2))
    await service.do_due_work()
    page = (await service.client.get("/metrics")).text
    assert f'fanzha_notification_rules_unknown{{campaign="{CAMPAIGN}"}} 0.0' in page
    assert await statuses(service.db) == {"S-A": ("delivered", None)}


async def test_metrics_tell_how_long_something_is_due_or_unresolved(database: DatabaseFactory, tmp_path: Path) -> None:
    provider = FakeProvider()
    provider.trouble, provider.blind = ["after"], True
    service = NotificationService((await database("notification")).url, tmp_path, {"file": provider})
    await service.deliver(defined(), enrolled((ANNA, PHONES[0])), issued((ANNA, "S-A")))
    await service.service.due_work[0].run(NOON)
    service.clock_is(NOON + timedelta(seconds=90))
    assert 'fanzha_notification_oldest_due_seconds{channel="file"} 90.0' in (await service.client.get("/metrics")).text
    with pytest.raises(Exception, match="TimeoutError"):
        await service.service.due_work[1].run(NOON)
    page = (await service.client.get("/metrics")).text
    assert 'fanzha_notification_oldest_due_seconds{channel="file"} 0.0' in page
    assert 'fanzha_notification_oldest_unresolved_seconds{channel="file"} 90.0' in page
    await service.close()


# --- people's data ----------------------------------------------------------------------------------------------------


async def test_phone_name_and_claim_code_are_nowhere_but_in_the_message(
    service: NotificationService, tmp_path: Path
) -> None:
    with structlog.testing.capture_logs() as logs:
        await play(service)
        (tmp_path / "messages" / CAMPAIGN).rename(tmp_path / "sent")
        (tmp_path / "messages" / CAMPAIGN).write_text("in the way: every further message fails")
        await service.deliver(enrolled((CHEN, "13800000003")), issued((ANNA, "S-A2")))
        with pytest.raises(Exception, match="file"):
            await service.do_due_work()
        shown = [(await service.client.get(path)).text for path in (PATH, "/metrics", f"{PATH}?cursor=13800000001")]
    stored = await tables(service.db)
    everything = json.dumps([logs, shown, stored], default=repr, ensure_ascii=False)
    for secret in (*PHONES, "13800000003", "王小明", claim_code("S-A"), claim_code("S-A2")):
        assert secret not in everything.replace("cursor=13800000001", "")
    assert [PHONES[0] in path.read_text() for path in (tmp_path / "sent").rglob("*.txt")] == [True]


async def tables(db: Database) -> list[str]:
    """Every value of every table as text; bytes are read as UTF-8, as far as they can be."""
    async with db.transaction() as tx:
        names = await tx.fetch("SELECT tablename FROM pg_tables WHERE schemaname = 'public'")
        rows = [await tx.fetch(f'SELECT * FROM "{name[0]}"') for name in names]
    return [repr(tuple(row)) for table in rows for row in table]


async def test_without_a_channel_texts_wait_are_not_said_to_be_delivered_and_do_not_expire(
    database: DatabaseFactory, tmp_path: Path
) -> None:
    """In production a text in a file would reach nobody and be counted as delivered."""
    service = NotificationService((await database("notification")).url, tmp_path, {})
    await service.deliver(defined(), enrolled((ANNA, PHONES[0])), issued((ANNA, "S-A")))
    await service.do_due_work()
    service.clock_is(NOON + timedelta(days=8))
    await service.do_due_work()
    answer = (await service.client.get(PATH)).json()
    page = (await service.client.get("/metrics")).text
    assert answer["counts"] == {"queued": 1}
    assert (answer["rows"][0]["status"], answer["rows"][0]["reason"]) == ("queued", "no_channel")
    assert 'fanzha_notification_without_channel{channel="file"} 1.0' in page
    (finding,) = check_messages.judge(page)
    assert finding.text == "1 条消息在等通道 file，这套部署没有它：谁也收不到"
    await service.close()


def test_production_refuses_to_write_texts_to_files(tmp_path: Path) -> None:
    given = new_settings("postgresql://x", tmp_path).model_dump() | {"environment": "production", "clock_file": None}
    with pytest.raises(ValidationError, match="a text in a file reaches nobody"):
        Settings(**given)
    assert build_channels(Settings(**given | {"file_channel_dir": None})) == {}
