"""All SQL of the reporting service. One sorted statement per table and transaction (DESIGN §4.10)."""

from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import asynccontextmanager
from datetime import date
from typing import Literal

from services.reporting.totals.domain import (
    Certificates,
    Change,
    Counts,
    CountyLine,
    Issue,
    LiveRoomKey,
    Move,
    Place,
    PlatformKey,
    TotalsLine,
    difference,
)
from shared.contracts.base import UNASSIGNED
from shared.database import Transaction
from shared.database.columns import columns

Scope = frozenset[str] | None  # unit codes that may be read; None: all

TOTAL_COLUMNS = {"unit": "unit_code", "group": "group_code", "lesson": "lesson_date::text", "mode": "mode"}
LIVE_ROOM_COLUMNS = {"unit": "unit_code", "lesson": "lesson_date::text", "item": "item"}
SUMS = """
    sum(checkins)::bigint AS checkins, sum(late)::bigint AS late, sum(first_for_lesson)::bigint AS first_for_lesson,
    sum(first_for_campaign)::bigint AS first_for_campaign, sum(made_good)::bigint AS made_good
"""
# ---- facts in --------------------------------------------------------------------------------------------------------


async def add_to_totals(tx: Transaction, campaign_id: str, changes: Sequence[Change]) -> None:
    """`changes` sorted by key, one per key."""
    await tx.execute(
        """
        INSERT INTO total AS known
        SELECT $1, * FROM unnest($2::date[], $3::text[], $4::text[], $5::text[],
                                 $6::bigint[], $7::bigint[], $8::bigint[], $9::bigint[], $10::bigint[])
        ON CONFLICT (campaign_id, lesson_date, mode, unit_code, group_code) DO UPDATE SET
            checkins = known.checkins + excluded.checkins,
            late = known.late + excluded.late,
            first_for_lesson = known.first_for_lesson + excluded.first_for_lesson,
            first_for_campaign = known.first_for_campaign + excluded.first_for_campaign,
            made_good = known.made_good + excluded.made_good
        """,
        campaign_id,
        *columns([(*change.key, *change.counts) for change in changes], 9),
    )


async def add_to_platform_totals(
    tx: Transaction, campaign_id: str, changes: Sequence[tuple[PlatformKey, Counts]]
) -> None:
    """`changes` sorted by key, one per key."""
    await tx.execute(
        """
        INSERT INTO platform_total AS known
        SELECT $1, * FROM unnest($2::date[], $3::text[], $4::text[], $5::bigint[], $6::bigint[], $7::bigint[], $8::bigint[])
        ON CONFLICT (campaign_id, lesson_date, mode, source) DO UPDATE SET
            checkins = known.checkins + excluded.checkins,
            late = known.late + excluded.late,
            first_for_lesson = known.first_for_lesson + excluded.first_for_lesson,
            first_for_campaign = known.first_for_campaign + excluded.first_for_campaign
        """,
        campaign_id,
        *columns(
            [
                (*key, counts.checkins, counts.late, counts.first_for_lesson, counts.first_for_campaign)
                for key, counts in changes
            ],
            7,
        ),
    )


async def keep_moves(tx: Transaction, campaign_id: str, moves: Sequence[Move]) -> None:
    """`moves` sorted by viewer, one per viewer. Unit and group are kept separately; an enrolment that is older than the known
    one changes nothing. The same enrolment may move a viewer a second time, from no unit to one, when its channel becomes
    known."""
    await tx.execute(
        """
        INSERT INTO viewer_move AS known (campaign_id, viewer_id, unit_code, enrolled_at, enrolment_id,
                                          group_code, group_enrolled_at, group_enrolment_id)
        SELECT $1, * FROM unnest($2::text[], $3::text[], $4::timestamptz[], $5::text[],
                                 $6::text[], $7::timestamptz[], $8::text[])
        ON CONFLICT (campaign_id, viewer_id) DO UPDATE SET
            (unit_code, enrolled_at, enrolment_id) = (
                SELECT * FROM (VALUES
                    (known.unit_code, known.enrolled_at, known.enrolment_id),
                    (excluded.unit_code, excluded.enrolled_at, excluded.enrolment_id)) AS moved (code, at, by)
                ORDER BY at DESC NULLS LAST, by DESC NULLS LAST, code = 'unassigned' LIMIT 1),
            (group_code, group_enrolled_at, group_enrolment_id) = (
                SELECT * FROM (VALUES
                    (known.group_code, known.group_enrolled_at, known.group_enrolment_id),
                    (excluded.group_code, excluded.group_enrolled_at, excluded.group_enrolment_id)) AS moved (code, at, by)
                ORDER BY at DESC NULLS LAST, by DESC NULLS LAST LIMIT 1)
        """,
        campaign_id,
        *columns(moves, 7),
    )


async def issue(tx: Transaction, campaign_id: str, issues: Sequence[Issue]) -> None:
    """`issues` sorted by serial, one per serial."""
    await tx.execute(
        """
        INSERT INTO certificate_holder (campaign_id, serial, viewer_id, unit_code, group_code, issued)
        SELECT $1, *, true FROM unnest($2::text[], $3::text[], $4::text[], $5::text[])
        ON CONFLICT (campaign_id, serial) DO UPDATE SET
            unit_code = excluded.unit_code, group_code = excluded.group_code, issued = true
        """,
        campaign_id,
        *columns(issues, 4),
    )


async def mark_claimed(tx: Transaction, campaign_id: str, holders: Sequence[tuple[str, str]]) -> None:
    """`holders`: (serial, viewer_id) sorted by serial, one per serial."""
    await tx.execute(
        """
        INSERT INTO certificate_holder (campaign_id, serial, viewer_id, claimed)
        SELECT $1, *, true FROM unnest($2::text[], $3::text[])
        ON CONFLICT (campaign_id, serial) DO UPDATE SET claimed = true
        """,
        campaign_id,
        *columns(holders, 2),
    )


async def mark_revoked(tx: Transaction, campaign_id: str, holders: Sequence[tuple[str, str]]) -> None:
    """`holders`: (serial, viewer_id) sorted by serial, one per serial."""
    await tx.execute(
        """
        INSERT INTO certificate_holder (campaign_id, serial, viewer_id, revoked)
        SELECT $1, *, true FROM unnest($2::text[], $3::text[])
        ON CONFLICT (campaign_id, serial) DO UPDATE SET revoked = true
        """,
        campaign_id,
        *columns(holders, 2),
    )


@asynccontextmanager
async def counting_certificates(tx: Transaction, campaign_id: str, viewer_ids: Sequence[str]) -> AsyncIterator[None]:
    """Adds to the sums, at the end of the block, whatever happened inside to certificates or places of these viewers.

    A campaign has one such block at a time. Otherwise an issue and a move of the same viewer, neither of which sees what the
    other has not yet committed, would both leave the certificate under the old unit.
    """
    await tx.execute("SELECT pg_advisory_xact_lock(hashtextextended('certificates ' || $1, 0))", campaign_id)
    before = await _certificates_of(tx, campaign_id, viewer_ids)
    yield
    after = await _certificates_of(tx, campaign_id, viewer_ids)
    await _add_to_certificate_totals(tx, campaign_id, difference(before, after))


async def _certificates_of(tx: Transaction, campaign_id: str, viewer_ids: Sequence[str]) -> dict[Place, Certificates]:
    """The viewers' certificates by place: where the holder was moved to, else where the course was completed. Revoked ones do not
    count."""
    rows = await tx.fetch(
        """
        SELECT coalesce(move.unit_code, holder.unit_code), coalesce(move.group_code, holder.group_code),
               count(*), count(*) FILTER (WHERE holder.claimed)
        FROM certificate_holder AS holder LEFT JOIN viewer_move AS move USING (campaign_id, viewer_id)
        WHERE campaign_id = $1 AND viewer_id = ANY ($2) AND holder.issued AND NOT holder.revoked
        GROUP BY 1, 2
        """,
        campaign_id,
        viewer_ids,
    )
    return {Place(unit_code, group): Certificates(issued, claimed) for unit_code, group, issued, claimed in rows}


async def _add_to_certificate_totals(
    tx: Transaction, campaign_id: str, changes: Sequence[tuple[Place, Certificates]]
) -> None:
    await tx.execute(
        """
        MERGE INTO certificate_total AS known
        USING unnest($2::text[], $3::text[], $4::bigint[], $5::bigint[]) AS change (unit_code, group_code, issued, claimed)
        ON campaign_id = $1 AND known.unit_code = change.unit_code AND known.group_code = change.group_code
        WHEN MATCHED AND known.issued + change.issued = 0 THEN DELETE
        WHEN MATCHED THEN UPDATE SET issued = known.issued + change.issued, claimed = known.claimed + change.claimed
        WHEN NOT MATCHED THEN INSERT VALUES ($1, change.unit_code, change.group_code, change.issued, change.claimed)
        """,
        campaign_id,
        *columns([(*place, *certificates) for place, certificates in changes], 4),
    )


async def add_to_live_room(tx: Transaction, campaign_id: str, changes: Sequence[tuple[LiveRoomKey, int]]) -> None:
    """`changes` sorted by key, one per key."""
    await tx.execute(
        """
        INSERT INTO live_room_total AS known
        SELECT $1, * FROM unnest($2::date[], $3::text[], $4::text[], $5::text[], $6::bigint[])
        ON CONFLICT (campaign_id, lesson_date, action, unit_code, item) DO UPDATE
        SET actions = known.actions + excluded.actions
        """,
        campaign_id,
        *columns([(*key, actions) for key, actions in changes], 5),
    )


# ---- figures out -----------------------------------------------------------------------------------------------------


async def read_one_snapshot(tx: Transaction) -> None:
    """Makes all statements of a transaction see the same state, so that rows and their sum agree. Call it first."""
    await tx.execute("SET TRANSACTION ISOLATION LEVEL REPEATABLE READ, READ ONLY")


async def knows_campaign(tx: Transaction, campaign_id: str) -> bool:
    """Whether any fact about the campaign has arrived, its definition aside."""
    known: bool = await tx.fetchval(
        "SELECT EXISTS (SELECT FROM total WHERE campaign_id = $1) "
        "OR EXISTS (SELECT FROM certificate_holder WHERE campaign_id = $1) "
        "OR EXISTS (SELECT FROM live_room_total WHERE campaign_id = $1)",
        campaign_id,
    )
    return known


async def campaigns(tx: Transaction) -> list[str]:
    """Every campaign with a definition or totals, found by jumping through the index: a scrape asks every few seconds."""
    rows = await tx.fetch(
        """
        WITH RECURSIVE found (campaign_id) AS (
            SELECT min(campaign_id) FROM total
            UNION ALL
            SELECT (SELECT min(campaign_id) FROM total WHERE campaign_id > found.campaign_id) FROM found
            WHERE found.campaign_id IS NOT NULL)
        SELECT campaign_id FROM found WHERE campaign_id IS NOT NULL UNION SELECT campaign_id FROM definition ORDER BY 1
        """
    )
    return [row["campaign_id"] for row in rows]


async def totals_by(
    tx: Transaction,
    campaign_id: str,
    by: Literal["unit", "group", "lesson", "mode"],
    *,
    scope: Scope = None,
    lesson: date | None = None,
    mode: str | None = None,
) -> list[TotalsLine]:
    rows = await tx.fetch(
        f"""
        SELECT {TOTAL_COLUMNS[by]} AS key, mode, {SUMS} FROM total
        WHERE campaign_id = $1 AND ($2::text[] IS NULL OR unit_code = ANY ($2))
          AND ($3::date IS NULL OR lesson_date = $3) AND ($4::text IS NULL OR mode = $4)
        GROUP BY 1, 2
        """,  # noqa: S608 - the column is from the table above
        campaign_id,
        _codes(scope),
        lesson,
        mode,
    )
    return [TotalsLine(key, row_mode, Counts(*counts)) for key, row_mode, *counts in rows]


async def totals_by_platform(
    tx: Transaction, campaign_id: str, *, lesson: date | None = None, mode: str | None = None
) -> list[TotalsLine]:
    """Sums by platform of the whole campaign. They do not depend on units: a viewer who moves takes their check-ins to another
    unit, but not to another platform."""
    rows = await tx.fetch(
        """
        SELECT source, mode, sum(checkins)::bigint, sum(late)::bigint, sum(first_for_lesson)::bigint,
               sum(first_for_campaign)::bigint
        FROM platform_total
        WHERE campaign_id = $1 AND ($2::date IS NULL OR lesson_date = $2) AND ($3::text IS NULL OR mode = $3) GROUP BY 1, 2
        """,
        campaign_id,
        lesson,
        mode,
    )
    return [TotalsLine(source, row_mode, Counts(*counts)) for source, row_mode, *counts in rows]


async def attribution_by_lesson(tx: Transaction, campaign_id: str) -> list[tuple[date, int, int]]:
    """(lesson, viewers, viewers whom nobody has attributed to a unit), by date. The totals by platform are few rows, and of the
    others only those of `unassigned` are read."""
    rows = await tx.fetch(
        """
        WITH everybody AS (
            SELECT lesson_date, mode, sum(first_for_lesson)::bigint AS viewers FROM platform_total WHERE campaign_id = $1
            GROUP BY 1, 2)
        SELECT lesson_date, sum(everybody.viewers)::bigint, coalesce(sum(nowhere.viewers), 0)::bigint
        FROM everybody LEFT JOIN LATERAL (
            SELECT sum(first_for_lesson)::bigint AS viewers FROM total
            WHERE campaign_id = $1 AND lesson_date = everybody.lesson_date AND mode = everybody.mode AND unit_code = $2
        ) AS nowhere ON true
        GROUP BY 1 ORDER BY 1
        """,
        campaign_id,
        UNASSIGNED,
    )
    return [(row[0], row[1], row[2]) for row in rows]


async def certificates_by(
    tx: Transaction, campaign_id: str, by: Literal["unit", "group"], *, scope: Scope = None
) -> dict[str, Certificates]:
    """Certificates by the holder's present unit or group. Keys without certificates are left out."""
    rows = await tx.fetch(
        f"""
        SELECT {TOTAL_COLUMNS[by]}, sum(issued)::bigint, sum(claimed)::bigint FROM certificate_total
        WHERE campaign_id = $1 AND ($2::text[] IS NULL OR unit_code = ANY ($2)) GROUP BY 1
        """,  # noqa: S608 - the column is from the table above
        campaign_id,
        _codes(scope),
    )
    return {key: Certificates(issued, claimed) for key, issued, claimed in rows}


async def live_room_by(
    tx: Transaction,
    campaign_id: str,
    by: Literal["unit", "lesson", "item"],
    *,
    scope: Scope = None,
    lesson: date | None = None,
) -> list[tuple[str, str, int]]:
    """(key, action, number of actions)."""
    rows = await tx.fetch(
        f"""
        SELECT {LIVE_ROOM_COLUMNS[by]} AS key, action, sum(actions)::bigint AS actions FROM live_room_total
        WHERE campaign_id = $1 AND ($2::text[] IS NULL OR unit_code = ANY ($2)) AND ($3::date IS NULL OR lesson_date = $3)
        GROUP BY 1, 2
        """,  # noqa: S608 - the column is from the table above
        campaign_id,
        _codes(scope),
        lesson,
    )
    return [(row["key"], row["action"], row["actions"]) for row in rows]


async def totals_by_county(tx: Transaction, campaign_id: str, county_of: Mapping[str, str]) -> list[CountyLine]:
    """The whole campaign, folded to counties by the database: a scrape asks for this every few seconds."""
    rows = await tx.fetch(
        f"""
        SELECT lesson_date, mode, coalesce(county, 'unassigned') AS county, {SUMS}
        FROM (SELECT lesson_date, mode, unit_code, {SUMS} FROM total WHERE campaign_id = $1 GROUP BY 1, 2, 3) AS by_unit
        LEFT JOIN unnest($2::text[], $3::text[]) AS node (unit_code, county) USING (unit_code)
        GROUP BY 1, 2, 3 ORDER BY 1, 2, 3
        """,  # noqa: S608 - a constant of this module
        campaign_id,
        list(county_of),
        list(county_of.values()),
    )
    return [CountyLine(day, mode, county, Counts(*counts)) for day, mode, county, *counts in rows]


async def facts_by_lesson(tx: Transaction) -> dict[tuple[str, str, str], int]:
    """What the sums have counted by (campaign_id, lesson_date, kind); a kind is a mode, an action, or `made_good`."""
    rows = await tx.fetch(
        """
        SELECT campaign_id, lesson_date::text, mode,
               sum(CASE mode WHEN 'made_good' THEN made_good ELSE checkins END)::bigint
        FROM total GROUP BY 1, 2, 3
        UNION ALL
        SELECT campaign_id, lesson_date::text, action, sum(actions)::bigint FROM live_room_total GROUP BY 1, 2, 3
        """
    )
    return {(row[0], row[1], row[2]): row[3] for row in rows}


async def forget_everything_derived(tx: Transaction) -> None:
    """Empties all tables that events fill, so that the other services' ledgers fill them anew. Needs the owner role."""
    await tx.execute(
        "TRUNCATE inbox, total, platform_total, live_room_total, certificate_holder, certificate_total, viewer_move, "
        "definition_page, unit, definition, forms_revision"
    )


def _codes(scope: Scope) -> list[str] | None:
    return None if scope is None else sorted(scope)
