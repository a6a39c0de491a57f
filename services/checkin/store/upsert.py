"""The statement of the hot path: check-ins and enrolments of a batch, added to their viewers."""

import sys
from array import array
from collections.abc import Iterable, Sequence
from operator import itemgetter
from typing import Any

from services.checkin.deciding import ViewerRow
from services.checkin.domain import Lessons
from services.checkin.sorting import Told
from shared.database import Transaction
from shared.database.columns import columns

# Most viewers of a batch have the same lessons: each distinct set is sent once, and every viewer has the number of a set, two
# bytes. The enrolments' arrays are empty where nobody enrolled (unnest fills up with null). Without OFFSET 0 Postgres computes
# `kind` six times.
_UPSERT_VIEWERS = """
INSERT INTO viewer AS v (campaign_no, viewer_id, live, replay, late_live, late_replay, replay_first, first,
                         unit_code, group_code, channel, enrolled_at, enrolment_id, unit_at, unit_by, group_at, group_by)
SELECT $1, viewer_id, ($4::bigint[])[kind], ($5::bigint[])[kind], ($6::bigint[])[kind], ($7::bigint[])[kind],
       ($8::bigint[])[kind], ($9::smallint[])[kind],
       coalesce(unit_code, 'unassigned'), coalesce(group_code, 'unassigned'), channel, enrolled_at, enrolment_id,
       unit_at, unit_by, group_at, group_by
FROM (
    SELECT *, get_byte($3, 2 * n::int - 2) * 256 + get_byte($3, 2 * n::int - 1) + 1 AS kind
    FROM unnest($2::text[], $10::text[], $11::text[], $12::text[], $13::timestamptz[], $14::text[],
                $15::timestamptz[], $16::text[], $17::timestamptz[], $18::text[])
         WITH ORDINALITY AS sent (viewer_id, unit_code, group_code, channel, enrolled_at, enrolment_id,
                                  unit_at, unit_by, group_at, group_by, n)
    OFFSET 0
) AS change
ON CONFLICT (campaign_no, viewer_id) DO UPDATE SET
    live         = v.live        | (excluded.live        & ~v.late_live),
    replay       = v.replay      | (excluded.replay      & ~v.late_replay),
    late_live    = v.late_live   | (excluded.late_live   & ~v.live),
    late_replay  = v.late_replay | (excluded.late_replay & ~v.replay),
    replay_first = v.replay_first | (excluded.replay_first & ~(v.live | v.replay | v.late_live | v.late_replay)),
    first        = coalesce(v.first, excluded.first),
    channel      = CASE WHEN {newer} THEN excluded.channel ELSE v.channel END,
    enrolled_at  = {enrolled_at},
    enrolment_id = {enrolment_id},
    {unit},
    {group}
WHERE (excluded.live | excluded.late_live) & ~(v.live | v.late_live) <> 0
   OR (excluded.replay | excluded.late_replay) & ~(v.replay | v.late_replay) <> 0
   OR {newer} OR {newer_unit} OR {newer_group}
RETURNING v.viewer_id, old.live, old.replay, old.late_live, old.late_replay, old.replay_first, old.first,
          new.live, new.replay, new.made_good,
          old.unit_code, new.unit_code, old.group_code, new.group_code, old.enrolled_at, old.enrolment_id
"""
_NEWER = "(excluded.enrolled_at, excluded.enrolment_id) > (coalesce(v.enrolled_at, '-infinity'), coalesce(v.enrolment_id, ''))"
_ENROLLED_AT = f"CASE WHEN {_NEWER} THEN excluded.enrolled_at ELSE v.enrolled_at END"
_ENROLMENT_ID = f"CASE WHEN {_NEWER} THEN excluded.enrolment_id ELSE v.enrolment_id END"


def _newer(field: str) -> str:
    """SQL: whether the new row gives a unit (or group) by a later enrolment than the stored one. A row of check-ins alone gives
    none."""
    return (
        f"(excluded.{field}_code <> 'unassigned' AND (v.{field}_code = 'unassigned' OR "
        f"(coalesce(excluded.{field}_at, excluded.enrolled_at), coalesce(excluded.{field}_by, excluded.enrolment_id)) > "
        f"(coalesce(v.{field}_at, v.enrolled_at), coalesce(v.{field}_by, v.enrolment_id))))"
    )


def _later(field: str) -> str:
    """SQL that keeps the unit (or group) given last, and the enrolment that gave it: null where that is the viewer's latest
    enrolment."""
    newer = _newer(field)
    return (
        f"{field}_code = CASE WHEN {newer} THEN excluded.{field}_code ELSE v.{field}_code END, "
        f"{field}_at = nullif(CASE WHEN {newer} THEN coalesce(excluded.{field}_at, excluded.enrolled_at) "
        f"ELSE coalesce(v.{field}_at, v.enrolled_at) END, {_ENROLLED_AT}), "
        f"{field}_by = nullif(CASE WHEN {newer} THEN coalesce(excluded.{field}_by, excluded.enrolment_id) "
        f"ELSE coalesce(v.{field}_by, v.enrolment_id) END, {_ENROLMENT_ID})"
    )


_UPSERT_VIEWERS = _UPSERT_VIEWERS.format(
    newer=_NEWER,
    enrolled_at=_ENROLLED_AT,
    enrolment_id=_ENROLMENT_ID,
    unit=_later("unit"),
    group=_later("group"),
    newer_unit=_newer("unit"),
    newer_group=_newer("group"),
)


async def upsert_viewers(
    tx: Transaction, campaign_no: int, changes: Iterable[tuple[str, Lessons, Told | None]]
) -> list[ViewerRow]:
    """Adds check-ins and what enrolments say of each viewer (at most 65,536); returns the rows that this changed.

    A viewer who is absent from the answer already had everything.
    """
    rows = sorted(changes, key=itemgetter(0))
    kinds: dict[tuple[int | None, ...], int] = {}
    kind_numbers = array("H", [kinds.setdefault(_kind(lessons), len(kinds)) for _, lessons, _ in rows])
    if sys.byteorder == "little":
        kind_numbers.byteswap()
    changed = await tx.fetch(
        _UPSERT_VIEWERS,
        campaign_no,
        [viewer_id for viewer_id, _, _ in rows],
        kind_numbers.tobytes(),
        *columns(list(kinds), 6),
        *_enrolment_columns([told for _, _, told in rows]),
    )
    return [_viewer_row(row) for row in changed]


def _kind(lessons: Lessons) -> tuple[int | None, ...]:
    return lessons.live, lessons.replay, lessons.late_live, lessons.late_replay, lessons.replay_first, lessons.first


def _enrolment_columns(told: Sequence[Told | None]) -> list[list[Any]]:
    if not any(told):
        return [[] for _ in range(9)]
    return columns([_told_values(enrolled) if enrolled else (None,) * 9 for enrolled in told], 9)


def _told_values(told: Told) -> tuple[Any, ...]:
    latest, unit, group = told
    return (
        unit and unit.unit_code,
        group and group.group_code,
        latest.channel,
        *latest.precedence,
        *((None, None) if unit is None or unit is latest else unit.precedence),
        *((None, None) if group is None or group is latest else group.precedence),
    )


def _viewer_row(row: Any) -> ViewerRow:
    (
        viewer_id, live, replay, late_live, late_replay, replay_first, first, live_after, replay_after, made_good,
        unit_before, unit_after, group_before, group_after, enrolled_at, enrolment_id,
    ) = row  # fmt: skip
    return ViewerRow(
        viewer_id,
        None if live is None else Lessons(live, replay, late_live, late_replay, made_good, replay_first, first),
        live_after,
        replay_after,
        made_good,
        unit_before,
        unit_after,
        group_before,
        group_after,
        None if enrolled_at is None else (enrolled_at, enrolment_id),
    )
