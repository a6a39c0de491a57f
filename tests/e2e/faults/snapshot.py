"""Everything that a run left, read from the four databases, over HTTP and from the files, as plain values."""

import json
from collections import Counter
from dataclasses import dataclass, field
from typing import Any, NamedTuple

import httpx

from shared.bus.topology import SERVICES
from tests.e2e.faults.clients import SERIAL
from tests.e2e.faults.course import CAMPAIGN_ID, MODES
from tests.e2e.faults.healing import SCHEDULED
from tests.e2e.faults.journal import Outcome, outcomes
from tests.e2e.faults.stack import Cluster

LEAKED_AFTER_S = 5  # a transaction that has done nothing for so long, with no load


class Viewer(NamedTuple):
    """checkin's row. `checkins`: (lesson, mode)."""

    checkins: frozenset[tuple[int, str]]
    unit: str
    group: str
    enrolment_id: str | None


class Cell(NamedTuple):
    lesson: int
    mode: str
    unit: str
    group: str


class Sums(NamedTuple):
    checkins: int = 0
    first_for_lesson: int = 0
    first_for_campaign: int = 0


class Certificate(NamedTuple):
    viewer: str
    claimed: bool


@dataclass
class Snapshot:
    told: dict[str, Outcome] = field(default_factory=dict)  # by identity: what the clients were told
    # checkin
    viewers: dict[str, Viewer] = field(default_factory=dict)
    enrolments: dict[str, list[str]] = field(default_factory=dict)  # by viewer, the latest last
    ledger: Counter[str] = field(default_factory=Counter)  # identities in checkin's outbox: checkin …, enrolment …
    # reporting
    totals: dict[Cell, Sums] = field(default_factory=dict)
    answered: dict[str, dict[str, Any]] = field(default_factory=dict)  # sums over HTTP, by replica
    counted: Counter[str] = field(default_factory=Counter)  # issued, claimed: certificate_total
    holders: dict[str, tuple[bool, bool]] = field(default_factory=dict)  # by serial: issued, claimed
    # certificate
    certificates: dict[str, Certificate] = field(default_factory=dict)  # by serial
    issued_events: Counter[str] = field(default_factory=Counter)
    claimed_events: Counter[str] = field(default_factory=Counter)
    # notification
    announced: Counter[str] = field(default_factory=Counter)  # serials that it knows
    messages: list[tuple[str, str]] = field(default_factory=list)  # serial and phone, a file each
    scheduled: set[str] = field(default_factory=set)  # serials whose text is due later: issued by a clock that is ahead
    # everywhere
    parked: dict[str, int] = field(default_factory=dict)
    leaked: list[str] = field(default_factory=list)


async def take(cluster: Cluster, lines: list[dict[str, Any]]) -> Snapshot:
    snapshot = Snapshot(told=outcomes(lines))
    await _checkin(cluster, snapshot)
    await _reporting(cluster, snapshot)
    await _certificate(cluster, snapshot)
    await _notification(cluster, snapshot)
    for service in SERVICES:
        async with cluster.database(service) as db:
            snapshot.parked[service] = await db.fetchval("SELECT count(*) FROM dead_letter")
    async with cluster.database("checkin") as db:
        rows = await db.fetch(
            "SELECT datname, application_name, state, now() - state_change AS since, left(query, 80) AS query "
            "FROM pg_stat_activity WHERE datname LIKE 'fanzha%' AND state LIKE 'idle in transaction%' "
            "AND state_change < now() - make_interval(secs => $1)",
            LEAKED_AFTER_S,
        )
        snapshot.leaked = [" ".join(str(value) for value in row.values()) for row in rows]
    return snapshot


async def _checkin(cluster: Cluster, snapshot: Snapshot) -> None:
    async with cluster.database("checkin") as db:
        days = json.loads(await db.fetchval("SELECT definition FROM campaign WHERE campaign_id = $1", CAMPAIGN_ID))
        lessons = [lesson["date"] for lesson in days["lessons"]]
        for row in await db.fetch(
            "SELECT viewer_id, live | late_live AS live, replay | late_replay AS replay, unit_code, group_code, enrolment_id "
            "FROM viewer"
        ):
            checkins = {(n, mode) for n in range(len(lessons)) for mode in MODES if row[mode] >> n & 1}
            snapshot.viewers[row["viewer_id"]] = Viewer(
                frozenset(checkins), row["unit_code"], row["group_code"], row["enrolment_id"]
            )
        for row in await db.fetch("SELECT viewer_id, enrolment_id FROM enrolment ORDER BY enrolled_at, enrolment_id"):
            snapshot.enrolments.setdefault(row[0], []).append(row[1])
        for row in await db.fetch("SELECT subject, payload FROM outbox"):
            event = json.loads(row["payload"])
            if row["subject"].endswith("checkin_recorded.v1"):
                lesson = lessons.index(event["lesson_date"])
                snapshot.ledger.update(f"checkin {viewer} {lesson} {event['mode']}" for viewer in event["viewer_ids"])
            elif row["subject"].endswith("viewer_enrolled.v1"):
                rows = zip(event["viewer_ids"], event["enrolment_ids"], strict=True)
                snapshot.ledger.update(f"enrolment {viewer} {enrolment}" for viewer, enrolment in rows)


async def _reporting(cluster: Cluster, snapshot: Snapshot) -> None:
    async with cluster.database("reporting") as db:
        days = [row[0] for row in await db.fetch("SELECT DISTINCT lesson_date FROM total ORDER BY 1")]
        rules = json.loads(
            await db.fetchval("SELECT rules FROM definition WHERE campaign_id = $1", CAMPAIGN_ID) or "{}"
        )
        lessons = [lesson["date"] for lesson in rules.get("lessons", [])] or [day.isoformat() for day in days]
        for row in await db.fetch("SELECT * FROM total"):
            sums = Sums(row["checkins"], row["first_for_lesson"], row["first_for_campaign"])
            cell = Cell(lessons.index(row["lesson_date"].isoformat()), row["mode"], row["unit_code"], row["group_code"])
            if any(sums):
                snapshot.totals[cell] = sums
        for row in await db.fetch("SELECT serial, issued, claimed FROM certificate_holder"):
            snapshot.holders[row["serial"]] = (row["issued"], row["claimed"])
        for row in await db.fetch("SELECT issued, claimed FROM certificate_total"):
            snapshot.counted.update(dict(row))
    headers = {"authorization": f"Bearer {cluster.addresses['ADMIN_TOKEN']}"}
    async with httpx.AsyncClient(trust_env=False, timeout=30, headers=headers) as http:
        for name in ("reporting-a", "reporting-b"):
            answer = await http.get(f"{cluster.urls[name]}/v1/campaigns/{CAMPAIGN_ID}/totals", params={"by": "unit"})
            snapshot.answered[name] = (
                answer.json()["sum"] if answer.status_code == 200 else {"error": answer.text[:200]}
            )


async def _certificate(cluster: Cluster, snapshot: Snapshot) -> None:
    async with cluster.database("certificate") as db:
        for row in await db.fetch("SELECT serial, viewer_id, claimed_at FROM certificate"):
            snapshot.certificates[row["serial"]] = Certificate(row["viewer_id"], row["claimed_at"] is not None)
        for row in await db.fetch("SELECT subject, payload FROM outbox"):
            serials = json.loads(row["payload"]).get("serials", [])
            if row["subject"].endswith("certificate_issued.v1"):
                snapshot.issued_events.update(serials)
            elif row["subject"].endswith("certificate_claimed.v1"):
                snapshot.claimed_events.update(serials)


async def _notification(cluster: Cluster, snapshot: Snapshot) -> None:
    async with cluster.database("notification") as db:
        snapshot.announced.update(
            row[0] for row in await db.fetch("SELECT serial FROM certificate WHERE issued_at IS NOT NULL")
        )
        snapshot.scheduled.update(
            row[0] for row in await db.fetch(f"SELECT period FROM notification WHERE {SCHEDULED}")
        )
    folder = cluster.home.messages / CAMPAIGN_ID / "certificate_ready"
    for path in folder.glob("*.txt"):
        head, _, text = path.read_text(encoding="utf-8").partition("\n\n")
        serial = SERIAL.search(text)
        snapshot.messages.append((serial[1] if serial else "?", head.removeprefix("To: ")))
