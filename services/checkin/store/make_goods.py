"""Lessons made good: the office's decisions, and whom they reach."""

from collections.abc import Collection
from datetime import date, datetime
from typing import Any, NamedTuple

from services.checkin.store.viewers import VIEWER_COLUMNS, Viewer, viewer_of
from shared.database import Transaction


class MakeGood(NamedTuple):
    make_good_id: str
    campaign_id: str
    lesson_date: date
    reason: str
    actor: str
    decided_at: datetime
    audience: str


async def add_make_good(tx: Transaction, decision: MakeGood) -> Any:
    """Records the decision, or finds the one with that id."""
    await tx.execute(
        "INSERT INTO make_good (make_good_id, campaign_id, lesson_date, reason, actor, decided_at, audience) "
        "VALUES ($1, $2, $3, $4, $5, $6, $7) ON CONFLICT DO NOTHING",
        *decision,
    )
    return await tx.fetchrow(
        "SELECT campaign_id, lesson_date, reason, audience FROM make_good WHERE make_good_id = $1",
        decision.make_good_id,
    )


async def audience(
    tx: Transaction, campaign_no: int, all_of: int, viewer_ids: list[str] | None, after: str, limit: int
) -> list[str]:
    """Viewers, by id, who checked in on all lessons of the bit set `all_of`, or are listed; the page after `after`."""
    rows = await tx.fetch(
        'SELECT viewer_id FROM viewer WHERE campaign_no = $1 AND viewer_id > $2 COLLATE "C" '
        "AND (live | replay | late_live | late_replay) & $3 = $3 AND ($4::text[] IS NULL OR viewer_id = ANY($4)) "
        "ORDER BY viewer_id LIMIT $5",
        campaign_no,
        after,
        all_of,
        viewer_ids,
        limit,
    )
    return [row[0] for row in rows]


async def audience_size(tx: Transaction, campaign_no: int, all_of: int, viewer_ids: list[str] | None) -> int:
    return int(
        await tx.fetchval(
            "SELECT count(*) FROM viewer WHERE campaign_no = $1 AND (live | replay | late_live | late_replay) & $2 = $2 "
            "AND ($3::text[] IS NULL OR viewer_id = ANY($3))",
            campaign_no,
            all_of,
            viewer_ids,
        )
    )


async def in_audience_with_lesson(
    tx: Transaction,
    campaign_no: int,
    all_of: int,
    viewer_ids: list[str] | None,
    lesson: int,
    credit: Collection[str],
    limit: int,
) -> list[str]:
    """Returns those of the audience to whom the lesson is credited already, by check-in or made good."""
    rows = await tx.fetch(
        "SELECT viewer_id FROM viewer WHERE campaign_no = $1 AND (live | replay | late_live | late_replay) & $2 = $2 "
        "AND ($3::text[] IS NULL OR viewer_id = ANY($3)) "
        "AND (CASE WHEN $4 THEN live ELSE 0 END | CASE WHEN $5 THEN replay ELSE 0 END | made_good) & $6 <> 0 "
        "ORDER BY viewer_id LIMIT $7",
        campaign_no,
        all_of,
        viewer_ids,
        "live" in credit,
        "replay" in credit,
        1 << lesson,
        limit,
    )
    return [row[0] for row in rows]


async def unseen(tx: Transaction, campaign_no: int, viewer_ids: list[str], limit: int) -> list[str]:
    """Returns those of the listed viewers from whom nothing has ever come."""
    rows = await tx.fetch(
        "SELECT DISTINCT viewer_id FROM unnest($2::text[]) AS listed (viewer_id) WHERE NOT EXISTS ("
        "SELECT FROM viewer WHERE campaign_no = $1 AND viewer.viewer_id = listed.viewer_id) ORDER BY viewer_id LIMIT $3",
        campaign_no,
        viewer_ids,
        limit,
    )
    return [row[0] for row in rows]


async def outside_audience(
    tx: Transaction, campaign_no: int, all_of: int, viewer_ids: list[str], limit: int
) -> list[str]:
    """Returns those of the listed viewers whom `audience` does not find: never seen, or absent on one of the days."""
    rows = await tx.fetch(
        "SELECT DISTINCT viewer_id FROM unnest($3::text[]) AS listed (viewer_id) WHERE NOT EXISTS ("
        "SELECT FROM viewer WHERE campaign_no = $1 AND viewer.viewer_id = listed.viewer_id "
        "AND (live | replay | late_live | late_replay) & $2 = $2) ORDER BY viewer_id LIMIT $4",
        campaign_no,
        all_of,
        viewer_ids,
        limit,
    )
    return [row[0] for row in rows]


async def grant(
    tx: Transaction, campaign_no: int, make_good_id: str, lesson: int, viewer_ids: list[str]
) -> list[Viewer]:
    """Adds the lesson to these viewers, who are locked; returns them as they are now."""
    rows = await tx.fetch(
        "UPDATE viewer SET made_good = made_good | $3 WHERE campaign_no = $1 AND viewer_id = ANY($2::text[]) "  # noqa: S608
        f"RETURNING {VIEWER_COLUMNS}",
        campaign_no,
        sorted(viewer_ids),
        1 << lesson,
    )
    await tx.execute("UPDATE make_good SET granted = granted + $2 WHERE make_good_id = $1", make_good_id, len(rows))
    return [viewer_of(row) for row in rows]
