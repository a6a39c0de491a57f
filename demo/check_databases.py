"""Checks what the four databases hold, as each service's own role."""

import json
from collections import Counter
from collections.abc import Iterable, Mapping
from datetime import UTC
from typing import Any

import asyncpg

from demo.comparison import Check
from demo.expectation import FILED, Expectation, Viewer
from demo.player import Player
from demo.sums import Sums
from devstack.home import Home, read_env
from shared.bus.topology import SERVICES

Connection = Any  # asyncpg.Connection


class Databases:
    def __init__(self, player: Player, expectation: Expectation, sums: Sums) -> None:
        self._player = player
        self._expectation = expectation
        self._campaign = expectation.campaign
        self._sums = sums

    async def check(self) -> list[Check]:
        databases = {service: await connect(self._player.home, service) for service in SERVICES}
        try:
            return [
                await self._viewer_rows(databases["checkin"]),
                await self._uncounted_rows(databases["checkin"]),
                await self._ledger(databases["checkin"]),
                await self._total_rows(databases["reporting"]),
                await self._certificate_rows(databases["certificate"], databases["notification"]),
                await self._nothing_left(databases),
            ]
        finally:
            for connection in databases.values():
                await connection.close()

    async def _viewer_rows(self, checkin: Connection) -> Check:
        """Compares every viewer's row: lessons as bit sets, unit, group, channel, the enrolment in force; and decisions of the
        office."""
        check = Check("database checkin: every viewer's lessons and unit")
        rows = await checkin.fetch(
            "SELECT viewer_id, live, replay, late_live, late_replay, made_good, unit_code, group_code, channel, enrolled_at, "
            "enrolment_id FROM viewer JOIN campaign USING (campaign_no) WHERE campaign_id = $1",
            self._campaign.id,
        )
        stored = {row[0]: (*tuple(row)[1:-1], row[-1] and _kept_as(row[-1])) for row in rows}
        for viewer_id in self._expectation.viewers.keys() | stored.keys():
            known = self._expectation.viewers.get(viewer_id)
            check.equal(viewer_id, _viewer_row(known) if known else None, stored.get(viewer_id))
        granted = await checkin.fetch("SELECT make_good_id, granted FROM make_good")
        check.same(self._expectation.granted, {row[0]: row[1] for row in granted})
        return check

    async def _uncounted_rows(self, checkin: Connection) -> Check:
        check = Check("database checkin: refused and uncredited events")
        rows = await checkin.fetch(
            "SELECT source, verdict, reason, campaign_id, viewer_id, type, occurred_at, received_at FROM uncounted"
        )
        check.same(self._expectation.uncounted, Counter(self._uncounted_key(row) for row in rows))
        return check

    def _uncounted_key(self, row: Any) -> tuple[Any, ...]:
        if row["verdict"] == "rejected":
            return tuple(row)
        window = self._campaign.locate(row["occurred_at"]) if row["type"] != "viewer.enrolled" else None
        place = (window.lesson, window.mode) if window else (None, "")
        return (row["verdict"], row["reason"], row["viewer_id"], row["type"], *place)

    async def _ledger(self, checkin: Connection) -> Check:
        """Checks that the outbox has every check-in exactly once, and one `first` of each lesson and of the campaign."""
        check = Check("database checkin: the ledger of facts")
        stored: Counter[tuple[str, ...]] = Counter()
        async with checkin.transaction():
            async for row in checkin.cursor("SELECT subject, payload FROM outbox", prefetch=100):
                stored.update(_facts(row["subject"], json.loads(row["payload"])))
        expected: Counter[tuple[str, ...]] = Counter()
        people, lessons = set(), set()
        for row in self._expectation.checkins():
            expected[row.mode, row.viewer_id, row.day.isoformat(), row.source] += 1
            if row.mode != "made_good":
                people.add(row.viewer_id)
                lessons.add((row.viewer_id, row.day.isoformat()))
        expected.update(("first of campaign", viewer_id) for viewer_id in people)
        expected.update(("first of lesson", *lesson) for lesson in lessons)
        completed = {certificate.viewer_id for certificate in self._expectation.certificates}
        expected.update(("completed", viewer_id) for viewer_id in completed)
        for viewer_id, viewer in self._expectation.viewers.items():
            expected.update(("enrolled", viewer_id, enrolment.id) for enrolment in viewer.enrolments.values())
        expected.update(("action", action, key[0]) for key, (_, action, _, _) in self._expectation.actions.items())
        check.same(expected, stored)
        return check

    async def _total_rows(self, reporting: Connection) -> Check:
        check = Check("database reporting: sums by lesson, mode, unit, group")
        stored: Counter[tuple[Any, ...]] = Counter()
        for row in await reporting.fetch("SELECT * FROM total WHERE campaign_id = $1", self._campaign.id):
            lesson, unit, group = row["lesson_date"].isoformat(), row["unit_code"], row["group_code"]
            stored["checkins", lesson, row["mode"], unit, group] += row["checkins"]
            stored["late", lesson, row["mode"], unit, group] += row["late"]
            stored["made_good", lesson, row["mode"], unit, group] += row["made_good"]
            stored["lesson viewers", lesson, unit, group] += row["first_for_lesson"]
            stored["viewers", unit, group] += row["first_for_campaign"]
        sums = self._sums
        expected: Counter[tuple[Any, ...]] = Counter()
        for name, cells in (("checkins", sums.checkins), ("late", sums.late), ("made_good", sums.made_good)):
            expected.update({(name, *cell): number for cell, number in cells.items()})
        expected.update({("lesson viewers", *key): number for key, number in sums.lesson_viewers.items()})
        expected.update({("viewers", *key): number for key, number in sums.viewers.items()})
        check.same(expected, stored)
        return check

    async def _certificate_rows(self, certificate: Connection, notification: Connection) -> Check:
        check = Check("databases: certificates and messages")
        rows = await certificate.fetch(
            "SELECT viewer_id, issued_at, claimed_at IS NOT NULL, revoked_at IS NOT NULL FROM certificate"
        )
        expected = Counter(
            (issued.viewer_id, issued.issued_at.astimezone(UTC), issued.claimed, issued.revoked)
            for issued in self._expectation.certificates
        )
        check.same(expected, Counter(tuple(row) for row in rows))
        messages = await notification.fetch("SELECT recipient, status, reason, due_at FROM notification")
        wanted = Counter(
            (issued.viewer_id, issued.message.status, issued.message.reason, issued.message.due_at.astimezone(UTC))
            for issued in self._expectation.certificates
        )
        check.same(wanted, Counter(tuple(row) for row in messages))
        return check

    async def _nothing_left(self, databases: Mapping[str, Connection]) -> Check:
        check = Check("databases: nothing pending, nothing parked")
        for service, connection in databases.items():
            check.equal((service, "pending"), 0, await connection.fetchval("SELECT count(*) FROM outbox_pending"))
            parked = self._expectation.dead_letters if service == "checkin" else 0
            check.equal((service, "parked"), parked, await connection.fetchval("SELECT count(*) FROM dead_letter"))
        return check


def _viewer_row(viewer: Viewer) -> tuple[Any, ...]:
    def bits(lessons: Iterable[int]) -> int:
        return sum(1 << lesson for lesson in lessons)

    live, replay, latest = viewer.live, viewer.replay, viewer.latest()
    return (
        bits(lesson for lesson, late in live.items() if not late),
        bits(lesson for lesson, late in replay.items() if not late),
        bits(lesson for lesson, late in live.items() if late),
        bits(lesson for lesson, late in replay.items() if late),
        bits(viewer.made_good),
        viewer.unit,
        viewer.group,
        latest and latest.channel,
        latest and latest.at.astimezone(UTC),
        latest and latest.id,
    )


def _facts(subject: str, event: dict[str, Any]) -> Iterable[tuple[str, ...]]:
    """The facts in one event of the ledger, one tuple each."""
    viewers = event.get("viewer_ids", [])
    match subject.split(".")[2]:
        case "checkin_recorded":
            day = event["lesson_date"]
            for at, viewer_id in enumerate(viewers):
                yield (event["mode"], viewer_id, day, event["source"])
                if event["first_for_lesson"][at]:
                    yield ("first of lesson", viewer_id, day)
                if event["first_for_campaign"][at]:
                    yield ("first of campaign", viewer_id)
                if event["credited_lessons"][at] is not None:
                    yield ("completed", viewer_id)
        case "lesson_made_good":
            for at, viewer_id in enumerate(viewers):
                yield ("made_good", viewer_id, event["lesson_date"], "")
                if event["credited_lessons"][at] is not None:
                    yield ("completed", viewer_id)
        case "viewer_enrolled":
            ids = map(_kept_as, event["enrolment_ids"])
            yield from (("enrolled", *enrolment) for enrolment in zip(viewers, ids, strict=True))
        case "live_room_actions_recorded":
            # The event has no event ids of the platform; the item is part of its sums.
            yield from (("action", event["action"], viewer_id) for viewer_id in viewers)


def _kept_as(enrolment_id: str) -> str:
    """checkin makes up the ids of enrolments out of files."""
    return FILED if enrolment_id.startswith("zz-import-") else enrolment_id


async def connect(home: Home, service: str) -> Connection:
    """Connects as the service's own role."""
    url = read_env(home.service_env(service))["DATABASE_URL"]
    return await asyncpg.connect(url, server_settings={"timezone": "UTC"})
