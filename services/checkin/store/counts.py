"""Counts: verdicts, credited days, and what the platform itself counted."""

from collections import Counter
from datetime import date, datetime
from typing import Any

from services.checkin.deciding import Counted
from shared.database import Transaction
from shared.database.columns import columns


async def count_verdicts(tx: Transaction, slot: int, counts: dict[Counted, int]) -> None:
    """Adds to the counts of verdicts, which are kept without the feed."""
    numbers: Counter[tuple[str, ...]] = Counter()
    for (*key, _), number in counts.items():
        numbers[tuple(key)] += number
    rows = [(*key, numbers[key]) for key in sorted(numbers)]
    await tx.execute(
        """
        INSERT INTO verdict_count AS c (slot, campaign_id, type, lesson_date, mode, verdict, reason, n)
        SELECT $1, * FROM unnest($2::text[], $3::text[], $4::text[], $5::text[], $6::text[], $7::text[], $8::bigint[])
        ON CONFLICT (campaign_id, type, lesson_date, mode, verdict, reason, slot) DO UPDATE SET n = c.n + excluded.n
        """,
        slot,
        *columns(rows, 7),
    )


async def count_credited_days(tx: Transaction, slot: int, moves: dict[tuple[str, int], int]) -> None:
    """Adds to the distribution of credited days; `moves`: (campaign_id, days) → viewers more or fewer. 0 days is not kept."""
    rows = [(*key, moves[key]) for key in sorted(moves) if moves[key] and key[1]]
    if not rows:
        return
    await tx.execute(
        """
        INSERT INTO credited_days_count AS c (slot, campaign_id, days, n)
        SELECT $1, * FROM unnest($2::text[], $3::smallint[], $4::bigint[])
        ON CONFLICT (campaign_id, days, slot) DO UPDATE SET n = c.n + excluded.n
        """,
        slot,
        *columns(rows, 3),
    )


async def credited_days_counts(tx: Transaction) -> list[Any]:
    return await tx.fetch(
        "SELECT campaign_id, days, sum(n)::bigint AS n FROM credited_days_count GROUP BY 1, 2 ORDER BY 1, 2"
    )


async def verdict_counts(tx: Transaction) -> list[Any]:
    return await tx.fetch(
        "SELECT campaign_id, type, lesson_date, mode, verdict, reason, sum(n)::bigint AS n FROM verdict_count "
        "GROUP BY 1, 2, 3, 4, 5, 6 ORDER BY 1, 2, 3, 4, 5, 6"
    )


async def facts_by_lesson(tx: Transaction) -> dict[tuple[str, str, str], int]:
    """How often something was taken: (campaign_id, lesson_date, kind), the kind being a check-in's mode, another event's type, or
    `made_good`. Only grows."""
    rows = await tx.fetch(
        """
        SELECT campaign_id, lesson_date, CASE type WHEN 'viewer.checked_in' THEN mode ELSE type END, sum(n)::bigint
        FROM verdict_count WHERE verdict IN ('recorded', 'stored') AND lesson_date <> '' GROUP BY 1, 2, 3
        UNION ALL
        SELECT campaign_id, lesson_date::text, 'made_good', sum(granted)::bigint FROM make_good GROUP BY 1, 2
        """
    )
    return {(row[0], row[1], row[2]): row[3] for row in rows}


async def state_platform_counts(
    tx: Transaction, campaign_id: str, lesson_date: date, counts: dict[str, int], actor: str, now: datetime
) -> None:
    """Keeps what the platform says it counted, by mode; a later statement replaces an earlier one."""
    await tx.execute(
        """
        INSERT INTO platform_count (campaign_id, lesson_date, mode, n, actor, stated_at)
        SELECT $1, $2, mode, n, $5, $6 FROM unnest($3::text[], $4::bigint[]) AS stated (mode, n) ORDER BY mode
        ON CONFLICT (campaign_id, lesson_date, mode) DO UPDATE
        SET n = excluded.n, actor = excluded.actor, stated_at = excluded.stated_at
        """,
        campaign_id,
        lesson_date,
        list(counts),
        list(counts.values()),
        actor,
        now,
    )


async def platform_counts(tx: Transaction) -> list[Any]:
    return await tx.fetch("SELECT campaign_id, lesson_date::text, mode, n FROM platform_count ORDER BY 1, 2, 3")


async def accepted_checkins(tx: Transaction, campaign_id: str, lesson_date: date) -> dict[str, int]:
    """Check-ins of a lesson by mode, credited or not, each identity once."""
    rows = await tx.fetch(
        "SELECT mode, sum(n)::bigint FROM verdict_count WHERE campaign_id = $1 AND type = 'viewer.checked_in' "
        "AND lesson_date = $2 AND verdict IN ('recorded', 'stored') GROUP BY 1",
        campaign_id,
        lesson_date.isoformat(),
    )
    return {row[0]: row[1] for row in rows}
