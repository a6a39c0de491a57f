"""Measures the office's desk and the reports of units: 5,000 units × 16 daily reports are stored, liaisons go on posting.

The stored obligations and reports are brought in by COPY in the real schema. A tenth of them is missing; the last two periods are
open, and into them liaisons post at a fixed rate, each for a unit of its own.
"""

import asyncio
import hashlib
import json
import time
from collections.abc import Iterator, Sequence
from datetime import datetime, timedelta
from typing import Any
from uuid import uuid4

from bench import checker, workload
from bench.cases import Bench, Result
from bench.latency import percentiles
from bench.stack import BenchStack
from devstack.secrets import Secrets, load_or_create
from shared.service.sessions import COOKIE, Session, SessionSigner, new_secret
from shared.service.tokens import Principal, create_token, wall_now

CAMPAIGN = "bench-desk"
UNITS = 5_000
PERIODS = 16
OPEN_PERIODS = 2
MISSING = 10  # of the stored reports every tenth was never sent
LIAISONS = 100
POSTS_PER_S = 100  # a report each second from each of them: far more than a liaison does
SECONDS = 20
PAGES_EVERY_S = 0.1
FORM = "daily"
PERIOD = ("campaign_id", "form", "period", "opened_at")
OBLIGATION = (
    "campaign_id",
    "form",
    "period",
    "unit_code",
    "forms_revision",
    "opened_at",
    "due_at",
    "on_time_until",
    "locks_at",
    "version",
    "submitted_at",
    "next_due_at",
    "next_grace",
    "told_soon",
    "told_overdue",
)
REPORT = (
    "campaign_id",
    "form",
    "period",
    "unit_code",
    "version",
    "submission_id",
    "number",
    "values",
    "reasons",
    "sha256",
    "submitted_at",
    "due_at",
    "state",
    "kind",
    "actor",
)


class Stored:
    """The campaign as it is stored: who owes what, and who has reported."""

    def __init__(self, units: int) -> None:
        content = workload.definition(CAMPAIGN, PERIODS)
        counties = [unit for unit in content["units"] if unit["level"] == "county"]
        self.codes = [f"{counties[n % len(counties)]['unit_code']}-B{n}" for n in range(units)]
        members = [
            {
                "unit_code": code,
                "name": f"成员单位{n}",
                "parent_code": counties[n % len(counties)]["unit_code"],
                "level": "unit",
                "kind": "reporter",
            }
            for n, code in enumerate(self.codes)
        ]
        forms = [form | {"filled_by": {"kinds": ["reporter"]}} for form in content["forms"] if form["id"] == FORM]
        self.content: dict[str, Any] = content | {
            "units": [*content["units"], *members],
            "forms": forms,
            "indicators": [],
        }
        self.days = workload.DAYS[-PERIODS - 1 : -1]

    def times(self, period: int) -> tuple[datetime, datetime]:
        """When the period opened and is due; the last ones are open at the clock's time."""
        opened = workload.CLOCK_AT - timedelta(days=PERIODS - period, minutes=25)
        open_now = period >= PERIODS - OPEN_PERIODS
        return opened, workload.CLOCK_AT + timedelta(days=1) if open_now else opened + timedelta(days=1)

    def reported(self, period: int, number: int) -> datetime | None:
        """When a unit reported; None where it has not."""
        opened, due = self.times(period)
        if period >= PERIODS - OPEN_PERIODS or number % MISSING == period % MISSING:
            return None
        return due + timedelta(hours=1) if number % 7 == 0 else opened + timedelta(hours=2)

    def obligations(self) -> Iterator[tuple[Any, ...]]:
        for period, day in enumerate(self.days):
            opened, due = self.times(period)
            locks = due + timedelta(days=60)
            for number, code in enumerate(self.codes):
                at = self.reported(period, number)
                key = (CAMPAIGN, FORM, day.isoformat(), code)
                yield (*key, 1, opened, due, due, locks, int(at is not None), at, due, due, True, True)

    def reports(self) -> Iterator[tuple[Any, ...]]:
        for period, day in enumerate(self.days):
            _, due = self.times(period)
            for number, code in enumerate(self.codes):
                if at := self.reported(period, number):
                    key, receipt = (CAMPAIGN, FORM, day.isoformat(), code), f"{period:04}{number:08}"
                    values, state = json.dumps({"viewers": number % 500}), "on_time" if at <= due else "late"
                    digest = hashlib.sha256(receipt.encode()).digest()
                    yield (*key, 1, uuid4(), receipt, values, "{}", digest, at, due, state, "submitted", "liaison")

    async def load(self, stack: BenchStack) -> None:
        await stack.call("checkin", "PUT", f"/v1/campaigns/{CAMPAIGN}", json=self.content)
        stack.settle()
        async with stack.database("reporting") as database:
            periods = [(CAMPAIGN, FORM, day.isoformat(), self.times(n)[0]) for n, day in enumerate(self.days)]
            await database.copy_records_to_table("opened_period", columns=PERIOD, records=periods)
            await database.copy_records_to_table("obligation", columns=OBLIGATION, records=self.obligations())
            await database.copy_records_to_table("report", columns=REPORT, records=self.reports())
            await database.execute("ANALYZE obligation, report")


class Desk:
    """Somebody at the desk, and liaisons."""

    def __init__(self, bench: Bench, stored: Stored, secrets: Secrets) -> None:
        self._url, self._http = bench.stack.env["REPORTING_URL"], bench.stack.http
        self._stored, self._secrets = stored, secrets
        now = wall_now()
        somebody = Principal("office", "office", CAMPAIGN, None)
        session = Session(new_secret(), uuid4(), 1, somebody, now, now + timedelta(hours=1))
        cookie = SessionSigner(secrets.session_signing_key).sign(session)
        self._headers = {"cookie": f"{COOKIE}={cookie}", "accept": "text/html"}
        self.shown: dict[str, list[float]] = {}
        self.posted: list[float] = []

    async def look(self, paths: Sequence[str]) -> None:
        for path in paths:
            began = time.monotonic()
            answer = await self._http.get(self._url + path, headers=self._headers)
            self.shown.setdefault(path, []).append(time.monotonic() - began)
            checker.expect(path, 200, answer.status_code)
            await asyncio.sleep(PAGES_EVERY_S)

    async def post(self, number: int, due: float) -> None:
        """The report of a unit, posted when it is due on the open loop's schedule."""
        period, unit = divmod(number, len(self._stored.codes))
        code = self._stored.codes[unit]
        day = self._stored.days[PERIODS - OPEN_PERIODS + period].isoformat()
        token = create_token(
            self._secrets.token_private_key,
            subject=f"liaison {code}",
            role="liaison",
            campaign=CAMPAIGN,
            unit=code,
            valid_for=timedelta(hours=1),
        )
        body = {"submission_id": str(uuid4()), "values": {"viewers": 12, "together": 30, "how_it_went": "组织收看"}}
        await asyncio.sleep(max(due - time.monotonic(), 0))
        answer = await self._http.post(
            f"{self._url}/v1/campaigns/{CAMPAIGN}/units/{code}/reports/{FORM}/{day}",
            json=body,
            headers={"authorization": f"Bearer {token}"},
        )
        self.posted.append(time.monotonic() - due)
        checker.expect("report", 200, answer.status_code)

    async def post_all(self, count: int) -> None:
        """`count` reports, `POSTS_PER_S` a second, by `LIAISONS` liaisons, each of whom waits for an answer before the next."""
        began = time.monotonic() + 0.2

        async def liaison(first: int) -> None:
            for number in range(first, count, LIAISONS):
                await self.post(number, began + number / POSTS_PER_S)

        await asyncio.gather(*(liaison(first) for first in range(LIAISONS)))


async def desk(bench: Bench, *, units: int = UNITS, seconds: int = SECONDS) -> Result:
    """The pages of the desk while liaisons post; the result's rate is that of the posts."""
    stored = Stored(units)
    await stored.load(bench.stack)
    somebody = Desk(bench, stored, load_or_create(bench.stack.home))
    day, unit = stored.days[3].isoformat(), stored.codes[7]
    paths = (
        "/desk",
        "/desk/rates?by=unit",
        f"/desk/rates?by=county&form={FORM}&period={day}",
        "/desk/obligations?figure=missing",
        "/desk/chase",
        f"/desk/units/{unit}",
        f"/desk/units/{unit}/reports/{FORM}/{day}",
    )
    await somebody.look(paths)
    somebody.shown.clear()
    count = min(seconds * POSTS_PER_S, OPEN_PERIODS * units)
    meter = bench.stack.meter()
    await bench.stack.checkpoint()
    await meter.start()
    posting, began = asyncio.create_task(somebody.post_all(count)), time.monotonic()
    while not posting.done():
        await somebody.look(paths)
    await posting
    result = Result(
        f"{units:,} units × {PERIODS} reports, {LIAISONS} liaisons post",
        "reports",
        count,
        time.monotonic() - began,
        await meter.stop(),
    )
    await _all_kept(bench.stack, count)
    every_page = [second for seconds_of in somebody.shown.values() for second in seconds_of]
    result.notes = {"submit, ms": percentiles(somebody.posted), "desk pages, ms": percentiles(every_page)}
    result.notes |= {f"{path}, ms": percentiles(taken) for path, taken in somebody.shown.items()}
    for what, figures in result.notes.items():
        bench.say(f"{what}: {figures}")
    return result


async def _all_kept(stack: BenchStack, count: int) -> None:
    """Every report that was answered is kept once, and its event is waiting or sent."""
    async with stack.database("reporting") as database:
        kept = await database.fetchval("SELECT count(*) FROM report WHERE actor LIKE 'liaison %'")
        events = await database.fetchval(
            "SELECT count(*) FROM outbox WHERE subject = 'events.reporting.report_submitted.v1'"
        )
    checker.expect("reports kept and their events", (count, count), (kept, events))
