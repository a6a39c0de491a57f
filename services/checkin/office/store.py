"""SQL of the office's pages: figures, who is hit by an outage, decisions, and the record of opened viewers' pages."""

import json
from collections.abc import Collection, Mapping
from datetime import date, datetime
from typing import Any, NamedTuple

from services.checkin.office.domain import Decision, LessonFigures, LinkGiven, Matched, Scope, ViewerFigures
from shared.database import Transaction
from shared.database.columns import columns

# ---- figures ---------------------------------------------------------------------------------------------------------


async def lesson_figures(tx: Transaction, campaign_id: str) -> dict[date, LessonFigures]:
    """Of the whole campaign, from the counts that are kept with every commit; lessons without any are absent."""
    rows = await tx.fetch(
        """
        SELECT lesson_date, sum(live)::bigint, sum(replay)::bigint, sum(late)::bigint, sum(made_good)::bigint FROM (
            SELECT lesson_date::date, CASE WHEN mode = 'live' AND reason <> 'late' THEN n ELSE 0 END AS live,
                   CASE WHEN mode = 'replay' AND reason <> 'late' THEN n ELSE 0 END AS replay,
                   CASE WHEN reason = 'late' THEN n ELSE 0 END AS late, 0 AS made_good
            FROM verdict_count WHERE campaign_id = $1 AND type = 'viewer.checked_in' AND verdict IN ('recorded', 'stored')
            UNION ALL
            SELECT lesson_date, 0, 0, 0, granted FROM make_good WHERE campaign_id = $1
        ) AS counted GROUP BY lesson_date
        """,
        campaign_id,
    )
    return {row[0]: LessonFigures(*row[1:]) for row in rows}


async def lesson_figures_of(
    tx: Transaction, campaign_no: int, unit_codes: Collection[str], lessons: int
) -> list[LessonFigures]:
    """Of the viewers of these units, by lesson. Reads all of the campaign's viewers, so in a province it takes seconds."""
    rows = await tx.fetch(
        """
        SELECT sum(live >> lesson & 1)::bigint, sum(replay >> lesson & 1)::bigint,
               sum((late_live >> lesson & 1) + (late_replay >> lesson & 1))::bigint, sum(made_good >> lesson & 1)::bigint
        FROM generate_series(0, $3::int - 1) AS lesson
        LEFT JOIN viewer ON campaign_no = $1 AND unit_code = ANY($2::text[])
        GROUP BY lesson ORDER BY lesson
        """,
        campaign_no,
        sorted(unit_codes),
        lessons,
    )
    return [LessonFigures(*(number or 0 for number in row)) for row in rows]


async def viewer_figures(
    tx: Transaction, campaign_no: int, unit_codes: Collection[str] | None, credit: Collection[str], required_days: int
) -> ViewerFigures:
    """Of the viewers of these units; None: of all."""
    row = await tx.fetchrow(
        """
        SELECT count(*), count(*) FILTER (WHERE unit_code = 'unassigned'), count(*) FILTER (WHERE days > 0),
               count(*) FILTER (WHERE days >= $5 AND $5 > 0)
        FROM (
            SELECT unit_code, bit_count((CASE WHEN $3 THEN live ELSE 0 END | CASE WHEN $4 THEN replay ELSE 0 END
                                         | made_good)::bit(64)) AS days
            FROM viewer WHERE campaign_no = $1 AND ($2::text[] IS NULL OR unit_code = ANY($2))
        ) AS counted
        """,
        campaign_no,
        None if unit_codes is None else sorted(unit_codes),
        "live" in credit,
        "replay" in credit,
        required_days,
    )
    assert row is not None  # noqa: S101 - of an aggregate
    return ViewerFigures(*row)


# ---- when feeds were last heard --------------------------------------------------------------------------------------


async def keep_heard(tx: Transaction, heard: Mapping[tuple[str, str], datetime]) -> None:
    """`heard`: (campaign_id, source) → when an event of its feed was last taken. The latest time is kept."""
    await tx.execute(
        """
        INSERT INTO feed_heard AS f (campaign_id, source, heard_at)
        SELECT * FROM unnest($1::text[], $2::text[], $3::timestamptz[])
        ON CONFLICT (campaign_id, source) DO UPDATE SET heard_at = greatest(f.heard_at, excluded.heard_at)
        """,
        *columns([(*key, heard[key]) for key in sorted(heard)], 3),
    )


async def heard(tx: Transaction, campaign_id: str) -> dict[str, datetime]:
    """By source."""
    rows = await tx.fetch("SELECT source, heard_at FROM feed_heard WHERE campaign_id = $1 ORDER BY source", campaign_id)
    return {row[0]: row[1] for row in rows}


# ---- whom an outage hit ----------------------------------------------------------------------------------------------

_MATCHED = """
SELECT viewer_id, coalesce((CASE WHEN $6 THEN live ELSE 0 END | CASE WHEN $7 THEN replay ELSE 0 END | made_good) & $8 <> 0, false)
FROM {candidates}
WHERE ($2::text[] IS NULL OR viewer_id = ANY($2))
  AND ($3::text[] IS NULL OR coalesce(unit_code, 'unassigned') = ANY($3))
  AND coalesce(live | replay | late_live | late_replay, 0) & $4 = $4
ORDER BY viewer_id LIMIT $5
"""
_OF_ALL = _MATCHED.format(candidates="(SELECT * FROM viewer WHERE campaign_no = $1) AS candidate")
# A viewer all of whose check-ins were refused has no row in `viewer`.
_OF_A_TIME = _MATCHED.format(
    candidates="(SELECT DISTINCT viewer_id FROM uncounted WHERE campaign_id = $9 AND type = 'viewer.checked_in' "
    "AND occurred_at >= $10 AND occurred_at < $11) AS refused "
    "LEFT JOIN (SELECT * FROM viewer WHERE campaign_no = $1) AS known USING (viewer_id)"
)


class Wanted(NamedTuple):
    """A scope as the database is asked: units resolved, days as a bit set of lessons."""

    campaign_no: int
    campaign_id: str
    unit_codes: Collection[str] | None
    all_of: int
    lesson: int
    credit: Collection[str]


async def matched(tx: Transaction, scope: Scope, wanted: Wanted, limit: int) -> list[Matched]:
    """Viewers whom the scope reaches, by id."""
    of_a_time = scope.from_at is not None
    rows = await tx.fetch(
        _OF_A_TIME if of_a_time else _OF_ALL,
        wanted.campaign_no,
        None if scope.accounts is None else list(scope.accounts),
        None if wanted.unit_codes is None else sorted(wanted.unit_codes),
        wanted.all_of,
        limit,
        "live" in wanted.credit,
        "replay" in wanted.credit,
        1 << wanted.lesson,
        *((wanted.campaign_id, scope.from_at, scope.until) if of_a_time else ()),
    )
    return [Matched(*row) for row in rows]


# ---- decisions -------------------------------------------------------------------------------------------------------

_DECISION = (
    "make_good_id, lesson_date, reason, actor, decided_at, granted, "
    "CASE jsonb_typeof(audience->'viewer_ids') WHEN 'array' THEN jsonb_array_length(audience->'viewer_ids') END, "
    "audience->>'checked_in_on', audience->>'scope'"
)


def _decision(row: Any) -> Decision:
    *columns_told, days, scope = row
    checked_in_on = tuple(map(date.fromisoformat, json.loads(days or "[]")))
    return Decision._make([*columns_told, checked_in_on, json.loads(scope or "null")])


async def decisions(tx: Transaction, campaign_id: str, limit: int) -> list[Decision]:
    """The newest first."""
    rows = await tx.fetch(
        f"SELECT {_DECISION} FROM make_good WHERE campaign_id = $1 "  # noqa: S608 - a constant
        "ORDER BY decided_at DESC, make_good_id LIMIT $2",
        campaign_id,
        limit,
    )
    return [_decision(row) for row in rows]


async def decisions_about(tx: Transaction, campaign_id: str, viewer_id: str) -> list[Decision]:
    """Those that name the viewer, and those without a list of viewers; by time."""
    rows = await tx.fetch(
        f"SELECT {_DECISION} FROM make_good WHERE campaign_id = $1 "  # noqa: S608 - a constant
        "AND (jsonb_typeof(audience->'viewer_ids') <> 'array' OR audience->'viewer_ids' ? $2) "
        "ORDER BY decided_at, make_good_id",
        campaign_id,
        viewer_id,
    )
    return [_decision(row) for row in rows]


async def decided(tx: Transaction, make_good_id: str) -> Any | None:
    """The row (make_good_id, campaign_id, lesson_date, reason, actor, decided_at, audience as JSON text) of a decision."""
    return await tx.fetchrow(
        "SELECT make_good_id, campaign_id, lesson_date, reason, actor, decided_at, audience FROM make_good "
        "WHERE make_good_id = $1",
        make_good_id,
    )


# ---- who opened a viewer's page --------------------------------------------------------------------------------------


async def keep_link_given(tx: Transaction, campaign_id: str, viewer_id: str, given: LinkGiven) -> None:
    await tx.execute(
        "INSERT INTO viewer_link_given (campaign_id, viewer_id, actor, reason, given_at) VALUES ($1, $2, $3, $4, $5)",
        campaign_id,
        viewer_id,
        *given,
    )


async def links_given(tx: Transaction, campaign_id: str, viewer_id: str, limit: int) -> list[LinkGiven]:
    """The newest first."""
    rows = await tx.fetch(
        "SELECT actor, reason, given_at FROM viewer_link_given WHERE campaign_id = $1 AND viewer_id = $2 "
        "ORDER BY given_at DESC LIMIT $3",
        campaign_id,
        viewer_id,
        limit,
    )
    return [LinkGiven(*row) for row in rows]
