"""Fills a campaign by COPY in the real schema: 625,000 viewers × 16 lessons are 10 million check-ins.

Viewer n has a unit and a group, an enrolment, and checked in live to the first 16 of 20 lessons; every 16th viewer missed one, so
that the next check-in completes the course. Totals, counts and completions that follow are loaded, too. The ledger stays empty:
rows are only ever added at the end of its heap (docs/performance.md says what they take).
"""

from collections import Counter
from collections.abc import Iterator
from datetime import UTC, datetime

from bench import workload
from bench.checker import Totals
from bench.stack import BenchStack
from bench.workload import COMPLETING, DAYS, group_of, unit_of, viewer_id

STORED_LESSONS = 16
REQUIRED_DAYS = 16
ALL = (1 << STORED_LESSONS) - 1
ENROLLED_AT = datetime(2024, 6, 25, tzinfo=UTC)

VIEWER = ("campaign_no", "viewer_id", "live", "first", "unit_code", "group_code", "enrolled_at", "enrolment_id")
ENROLMENT = ("campaign_no", "viewer_id", "enrolment_id", "enrolled_at", "unit_code", "group_code", "received_at")


class Preloaded:
    """A filled campaign: what was stored before anything is measured."""

    def __init__(self, campaign_id: str, viewers: int, completing: int) -> None:
        """Every `completing`th viewer lacks one lesson."""
        self.campaign_id = campaign_id
        self.viewers = viewers
        self.completing = completing
        self.totals: Totals = Counter()
        for number in range(viewers):
            for lesson in range(STORED_LESSONS if number % completing else STORED_LESSONS - 1):
                self.totals[DAYS[lesson], unit_of(number), group_of(number)] += 1

    @property
    def completed(self) -> int:
        return self.viewers - len(range(0, self.viewers, self.completing))


async def preload(stack: BenchStack, campaign_id: str, viewers: int, completing: int = COMPLETING) -> Preloaded:
    await stack.define(campaign_id, REQUIRED_DAYS)
    loaded = Preloaded(campaign_id, viewers, completing)
    await _checkin(stack, loaded)
    await _reporting(stack, loaded)
    await _certificate(stack, loaded)
    return loaded


def _days(loaded: Preloaded, number: int) -> int:
    return ALL if number % loaded.completing else ALL >> 1


async def _checkin(stack: BenchStack, loaded: Preloaded) -> None:
    async with stack.database("checkin") as database:
        no = await database.fetchval("SELECT campaign_no FROM campaign WHERE campaign_id = $1", loaded.campaign_id)

        def viewers() -> Iterator[tuple[object, ...]]:
            for n in range(loaded.viewers):
                yield no, viewer_id(n), _days(loaded, n), 0, unit_of(n), group_of(n), ENROLLED_AT, f"n-{n}"

        def enrolments() -> Iterator[tuple[object, ...]]:
            for n in range(loaded.viewers):
                yield no, viewer_id(n), f"n-{n}", ENROLLED_AT, unit_of(n), group_of(n), ENROLLED_AT

        await database.copy_records_to_table("viewer", columns=VIEWER, records=viewers())
        await database.copy_records_to_table("enrolment", columns=ENROLMENT, records=enrolments())
        await database.execute(
            "INSERT INTO verdict_count (campaign_id, type, lesson_date, mode, verdict, reason, slot, n) "
            "VALUES ($1, 'viewer.checked_in', $2, 'live', 'recorded', '', 0, $3)",
            loaded.campaign_id,
            DAYS[0].isoformat(),
            loaded.totals.total(),
        )
        await database.executemany(
            "INSERT INTO credited_days_count (campaign_id, days, slot, n) VALUES ($1, $2, 0, $3)",
            [
                (loaded.campaign_id, STORED_LESSONS, loaded.completed),
                (loaded.campaign_id, STORED_LESSONS - 1, loaded.viewers - loaded.completed),
            ],
        )
        await database.execute("VACUUM ANALYZE viewer, enrolment")


async def _reporting(stack: BenchStack, loaded: Preloaded) -> None:
    async with stack.database("reporting") as database:
        rows = [
            (loaded.campaign_id, day, "live", unit, group, n, 0, n, n if day == DAYS[0] else 0, 0)
            for (day, unit, group), n in loaded.totals.items()
        ]
        await database.copy_records_to_table("total", records=rows)
        await database.execute("VACUUM ANALYZE total")


async def _certificate(stack: BenchStack, loaded: Preloaded) -> None:
    """Loads who completed. They are marked as issued, so that only completions of the measurement are issued later."""
    async with stack.database("certificate") as database:
        rows = (
            (loaded.campaign_id, viewer_id(n), unit_of(n), group_of(n), DAYS[:STORED_LESSONS], True)
            for n in range(loaded.viewers)
            if n % loaded.completing
        )
        await database.copy_records_to_table("completion", records=rows)
        await database.execute("VACUUM ANALYZE completion")


def checkins(loaded: Preloaded, numbers: range) -> workload.Traffic:
    """These viewers check in to the last lesson."""
    return workload.known_viewers(loaded.campaign_id, numbers, loaded.completing, seed=numbers.start)
