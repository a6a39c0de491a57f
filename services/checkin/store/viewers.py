"""Viewers: one row for each, with the lessons as bit sets, read, locked and given a unit."""

from collections.abc import Collection, Sequence
from datetime import datetime
from typing import Any, NamedTuple

from services.checkin.domain import Lessons
from shared.database import Transaction
from shared.database.columns import columns


class Viewer(NamedTuple):
    viewer_id: str
    unit_code: str
    group_code: str
    channel: str | None
    enrolled_at: datetime | None
    lessons: Lessons


_LESSONS = "live, replay, late_live, late_replay, made_good, replay_first, first"
VIEWER_COLUMNS = f"viewer_id, unit_code, group_code, channel, enrolled_at, {_LESSONS}"  # as viewer_of reads them


def viewer_of(row: Any) -> Viewer:
    viewer_id, unit_code, group_code, channel, enrolled_at, *lessons = row
    return Viewer(viewer_id, unit_code, group_code, channel, enrolled_at, Lessons(*lessons))


async def viewer(tx: Transaction, campaign_no: int, viewer_id: str) -> Viewer | None:
    row = await tx.fetchrow(
        f"SELECT {VIEWER_COLUMNS} FROM viewer WHERE campaign_no = $1 AND viewer_id = $2",  # noqa: S608 - a constant
        campaign_no,
        viewer_id,
    )
    return None if row is None else viewer_of(row)


async def viewers_of(
    tx: Transaction, campaign_no: int, unit_codes: Collection[str] | None, after: str, limit: int
) -> list[Viewer]:
    """Viewers of these units (None: all) by id; the page after `after`. Reads the campaign's viewers in that order, so a small
    unit of a province takes seconds."""
    rows = await tx.fetch(
        f"SELECT {VIEWER_COLUMNS} FROM viewer "  # noqa: S608 - a constant
        'WHERE campaign_no = $1 AND ($2::text[] IS NULL OR unit_code = ANY($2)) AND viewer_id > $3 COLLATE "C" '
        "ORDER BY viewer_id LIMIT $4",
        campaign_no,
        None if unit_codes is None else sorted(unit_codes),
        after,
        limit,
    )
    return [viewer_of(row) for row in rows]


async def attribution(tx: Transaction, campaign_no: int, viewer_ids: Collection[str]) -> dict[str, tuple[str, str]]:
    """(unit_code, group_code) of the viewers that are known."""
    rows = await tx.fetch(
        "SELECT viewer_id, unit_code, group_code FROM viewer WHERE campaign_no = $1 AND viewer_id = ANY($2::text[])",
        campaign_no,
        sorted(viewer_ids),
    )
    return {row[0]: (row[1], row[2]) for row in rows}


async def completing(tx: Transaction, campaign_no: int, credit: Collection[str], required_days: int) -> int:
    """How many viewers would have `required_days` if `credit` were the policy."""
    return int(
        await tx.fetchval(
            "SELECT count(*) FROM viewer WHERE campaign_no = $1 AND "
            "bit_count((CASE WHEN $2 THEN live ELSE 0 END | CASE WHEN $3 THEN replay ELSE 0 END | made_good)::bit(64)) >= $4",
            campaign_no,
            "live" in credit,
            "replay" in credit,
            required_days,
        )
    )


async def lock_viewers(tx: Transaction, campaign_no: int, viewer_ids: list[str]) -> list[Viewer]:
    """Returns and locks the viewers that are known, by id; they cannot change until the transaction ends."""
    rows = await tx.fetch(
        f"SELECT {VIEWER_COLUMNS} FROM viewer "  # noqa: S608 - a constant
        "WHERE campaign_no = $1 AND viewer_id = ANY($2::text[]) ORDER BY viewer_id FOR UPDATE",
        campaign_no,
        sorted(viewer_ids),
    )
    return [viewer_of(row) for row in rows]


async def lock_viewers_by_id(tx: Transaction, campaign_no: int, viewer_ids: Collection[str]) -> None:
    """Makes enrolments of these viewers wait until the transaction ends."""
    await tx.fetch(
        "SELECT FROM viewer WHERE campaign_no = $1 AND viewer_id = ANY($2::text[]) ORDER BY viewer_id FOR UPDATE",
        campaign_no,
        sorted(viewer_ids),
    )


class ViewerWithoutUnit(NamedTuple):
    """A viewer without a unit."""

    viewer_id: str
    group_code: str
    lessons: Lessons


async def lock_viewers_without_unit(
    tx: Transaction, campaign_no: int, viewer_ids: Collection[str]
) -> list[ViewerWithoutUnit]:
    """Returns and locks those of the viewers who have no unit, sorted by id; they cannot change until the transaction ends."""
    rows = await tx.fetch(
        f"SELECT viewer_id, group_code, {_LESSONS} FROM viewer "  # noqa: S608 - a constant
        "WHERE campaign_no = $1 AND viewer_id = ANY($2::text[]) AND unit_code = 'unassigned' AND enrolled_at IS NOT NULL "
        "ORDER BY viewer_id FOR UPDATE",
        campaign_no,
        sorted(viewer_ids),
    )
    return [ViewerWithoutUnit(viewer_id, group_code, Lessons(*lessons)) for viewer_id, group_code, *lessons in rows]


class UnitGiven(NamedTuple):
    """The unit that an enrolment gives to a viewer."""

    viewer_id: str
    unit_code: str
    enrolled_at: datetime
    enrolment_id: str


async def set_units(tx: Transaction, campaign_no: int, given: Sequence[UnitGiven]) -> None:
    """Sets the unit of viewers who are locked, sorted by viewer."""
    await tx.execute(
        """
        UPDATE viewer SET unit_code = given.unit_code, unit_at = nullif(given.at, viewer.enrolled_at),
                          unit_by = nullif(given.by, viewer.enrolment_id)
        FROM unnest($2::text[], $3::text[], $4::timestamptz[], $5::text[]) AS given (viewer_id, unit_code, at, by)
        WHERE campaign_no = $1 AND viewer.viewer_id = given.viewer_id
        """,
        campaign_no,
        *columns(given, len(UnitGiven._fields)),
    )


async def add_viewers(tx: Transaction, campaign_no: int, viewer_ids: list[str]) -> None:
    """Adds rows without lessons for viewers from whom nothing has come yet; known viewers stay as they are."""
    await tx.execute(
        "INSERT INTO viewer (campaign_no, viewer_id) SELECT $1, * FROM unnest($2::text[]) ON CONFLICT DO NOTHING",
        campaign_no,
        sorted(viewer_ids),
    )
