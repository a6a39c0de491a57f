"""All SQL of checkin. Batches are arrays: one sorted statement per table and transaction (DESIGN §4.10)."""

import sys
from array import array
from collections import Counter
from collections.abc import Collection, Iterable, Sequence
from datetime import date, datetime
from operator import itemgetter
from typing import Any, NamedTuple

from services.checkin.deciding import Counted, Uncounted, ViewerRow
from services.checkin.domain import Lessons
from services.checkin.minors import Past
from services.checkin.sorting import Action, Enrolment, Key, Told
from shared.database import Transaction
from shared.database.columns import columns

DEFINITIONS_LOCK = 0x43_41_4D_50  # shared while events are classified, exclusive while a definition changes


# ---- campaigns -------------------------------------------------------------------------------------------------------


class CampaignRow(NamedTuple):
    campaign_no: int
    campaign_id: str
    revision: int
    public_keys: (
        str | None
    )  # JSON, recipient → its key for this campaign, null: destroyed (shared/people/campaign_keys.py)


async def hold_definitions(tx: Transaction) -> list[CampaignRow]:
    """The revisions in force; none changes before this transaction ends. The lock is a statement of its own, so that revisions
    are read after it is held."""
    await tx.execute("SELECT pg_advisory_xact_lock_shared($1)", DEFINITIONS_LOCK)
    rows = await tx.fetch(
        """
        SELECT campaign_no, campaign_id, revision,
               (SELECT jsonb_object_agg(recipient, CASE WHEN destroyed_at IS NULL THEN public_key END)
                FROM campaign_key WHERE campaign_key.campaign_id = campaign.campaign_id)
        FROM campaign
        """
    )
    return [CampaignRow(*row) for row in rows]


async def change_definitions(tx: Transaction) -> None:
    """Waits until no transaction classifies events, and keeps others from classifying until this one ends."""
    await tx.execute("SELECT pg_advisory_xact_lock($1)", DEFINITIONS_LOCK)


async def definition(tx: Transaction, campaign_id: str) -> Any | None:
    """The row (revision, content_hash, definition as JSON text) or None."""
    return await tx.fetchrow(
        "SELECT campaign_no, revision, content_hash, definition FROM campaign WHERE campaign_id = $1", campaign_id
    )


async def campaigns(tx: Transaction, campaign_id: str | None, after: str, limit: int) -> list[Any]:
    """Rows (campaign_id, title, revision) by id, of one campaign or of all; the page after `after`."""
    return await tx.fetch(
        "SELECT campaign_id, definition->>'title' AS title, revision FROM campaign "
        'WHERE ($1::text IS NULL OR campaign_id = $1) AND campaign_id > $2 COLLATE "C" ORDER BY campaign_id COLLATE "C" LIMIT $3',
        campaign_id,
        after,
        limit,
    )


async def platforms(tx: Transaction) -> list[Any]:
    """Rows (campaign_id, source, title, modes) of all campaigns, as their definitions list them."""
    return await tx.fetch(
        """
        SELECT campaign_id, platform->>'source' AS source, platform->>'title' AS title,
               ARRAY(SELECT jsonb_array_elements_text(platform->'modes')) AS modes
        FROM campaign
        CROSS JOIN jsonb_array_elements(coalesce(definition->'platforms', '[]')) WITH ORDINALITY AS listed (platform, position)
        ORDER BY campaign_id COLLATE "C", position
        """
    )


async def save_definition(
    tx: Transaction, campaign_id: str, revision: int, content_hash: str, definition: str, actor: str, now: datetime
) -> None:
    await tx.execute(
        """
        INSERT INTO campaign (campaign_id, revision, content_hash, definition) VALUES ($1, $2, $3, $4)
        ON CONFLICT (campaign_id) DO UPDATE
        SET revision = excluded.revision, content_hash = excluded.content_hash, definition = excluded.definition
        """,
        campaign_id,
        revision,
        content_hash,
        definition,
    )
    await tx.execute(
        "INSERT INTO campaign_revision (campaign_id, revision, definition, actor, applied_at) VALUES ($1, $2, $3, $4, $5)",
        campaign_id,
        revision,
        definition,
        actor,
        now,
    )


async def forms_of_revisions(tx: Transaction, campaign_id: str) -> list[str]:
    """The forms (JSON) of every revision that had any; equal ones once."""
    rows = await tx.fetch(
        "SELECT DISTINCT definition->'forms' AS forms FROM campaign_revision "
        "WHERE campaign_id = $1 AND definition->'forms' IS NOT NULL",
        campaign_id,
    )
    return [row["forms"] for row in rows]


async def has_checkins(tx: Transaction, campaign_id: str) -> bool:
    return bool(
        await tx.fetchval(
            "SELECT EXISTS (SELECT FROM verdict_count WHERE campaign_id = $1 AND type = 'viewer.checked_in' "
            "AND verdict IN ('recorded', 'stored'))",
            campaign_id,
        )
    )


# ---- viewers ---------------------------------------------------------------------------------------------------------


async def add_enrolments(tx: Transaction, campaign_no: int, enrolments: Iterable[Enrolment]) -> set[Key]:
    """Stores enrolment events; returns the (viewer_id, enrolment_id) of those that were new by id and by what they say."""
    rows = sorted(enrolments, key=itemgetter(0, -1, 1))
    new = await tx.fetch(
        """
        INSERT INTO enrolment (campaign_no, viewer_id, enrolment_id, enrolled_at, unit_code, group_code, channel, received_at,
                               guardian_consent, has_contact, said)
        SELECT $1, * FROM unnest($2::text[], $3::text[], $4::timestamptz[], $5::text[], $6::text[], $7::text[], $8::timestamptz[],
                                 $9::bool[], $10::bool[], $11::bytea[])
        ON CONFLICT DO NOTHING RETURNING viewer_id, enrolment_id
        """,
        campaign_no,
        *columns(rows, len(Enrolment._fields)),
    )
    return {(row[0], row[1]) for row in new}


async def replaced_enrolments(
    tx: Transaction, campaign_no: int, sent: Collection[tuple[str, bytes]]
) -> set[tuple[str, bytes]]:
    """Which of these enrolments (viewer, digest) are stored, and older than their viewer's latest enrolment."""
    rows = await tx.fetch(
        """
        SELECT viewer_id, said FROM unnest($2::text[], $3::bytea[]) AS sent (viewer_id, said)
        JOIN enrolment USING (viewer_id, said) JOIN viewer USING (campaign_no, viewer_id)
        WHERE campaign_no = $1 AND (enrolment.enrolled_at, enrolment.enrolment_id) < (viewer.enrolled_at, viewer.enrolment_id)
        """,
        campaign_no,
        *columns(sorted(sent), 2),
    )
    return {(row[0], row[1]) for row in rows}


async def enrolments_of(tx: Transaction, campaign_no: int, viewer_ids: Collection[str]) -> list[Past]:
    rows = await tx.fetch(
        "SELECT viewer_id, enrolled_at, enrolment_id, unit_code, group_code, guardian_consent, has_contact FROM enrolment "
        "WHERE campaign_no = $1 AND viewer_id = ANY($2::text[])",
        campaign_no,
        sorted(viewer_ids),
    )
    return [Past(*row) for row in rows]


async def forget_contacts(tx: Transaction, campaign_no: int, enrolments: Iterable[Key]) -> None:
    """Records that nobody keeps the names and phones of these enrolments any more."""
    await tx.execute(
        "UPDATE enrolment SET has_contact = false FROM unnest($2::text[], $3::text[]) AS given (viewer_id, enrolment_id) "
        "WHERE campaign_no = $1 AND enrolment.viewer_id = given.viewer_id AND enrolment.enrolment_id = given.enrolment_id",
        campaign_no,
        *columns(sorted(enrolments), 2),
    )


async def to_withdraw(tx: Transaction, campaign_no: int, minors: Collection[str], after: str, limit: int) -> list[str]:
    """Viewers, by id, who were ever enrolled in one of these groups and whose name or phone others may have without a guardian's
    consent; the page after `after`."""
    rows = await tx.fetch(
        """
        SELECT DISTINCT viewer_id FROM enrolment AS minor
        WHERE campaign_no = $1 AND viewer_id > $2 COLLATE "C" AND group_code = ANY($3::text[]) AND EXISTS (
            SELECT FROM enrolment AS told WHERE told.campaign_no = $1 AND told.viewer_id = minor.viewer_id
            AND told.has_contact AND NOT told.guardian_consent)
        ORDER BY viewer_id LIMIT $4
        """,
        campaign_no,
        after,
        sorted(minors),
        limit,
    )
    return [row[0] for row in rows]


async def lock_viewers_by_id(tx: Transaction, campaign_no: int, viewer_ids: Collection[str]) -> None:
    """Makes enrolments of these viewers wait until the transaction ends."""
    await tx.fetch(
        "SELECT FROM viewer WHERE campaign_no = $1 AND viewer_id = ANY($2::text[]) ORDER BY viewer_id FOR UPDATE",
        campaign_no,
        sorted(viewer_ids),
    )


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


class Viewer(NamedTuple):
    viewer_id: str
    unit_code: str
    group_code: str
    channel: str | None
    enrolled_at: datetime | None
    lessons: Lessons


def _viewer(row: Any) -> Viewer:
    viewer_id, unit_code, group_code, channel, enrolled_at, *lessons = row
    return Viewer(viewer_id, unit_code, group_code, channel, enrolled_at, Lessons(*lessons))


_LESSONS = "live, replay, late_live, late_replay, made_good, replay_first, first"


async def viewer(tx: Transaction, campaign_no: int, viewer_id: str) -> Viewer | None:
    row = await tx.fetchrow(
        f"SELECT viewer_id, unit_code, group_code, channel, enrolled_at, {_LESSONS} "  # noqa: S608 - a constant
        "FROM viewer WHERE campaign_no = $1 AND viewer_id = $2",
        campaign_no,
        viewer_id,
    )
    return None if row is None else _viewer(row)


async def viewers_of(
    tx: Transaction, campaign_no: int, unit_codes: Collection[str] | None, after: str, limit: int
) -> list[Viewer]:
    """Viewers of these units (None: all) by id; the page after `after`. Reads the campaign's viewers in that order, so a small
    unit of a province takes seconds."""
    rows = await tx.fetch(
        f"SELECT viewer_id, unit_code, group_code, channel, enrolled_at, {_LESSONS} "  # noqa: S608 - a constant
        'FROM viewer WHERE campaign_no = $1 AND ($2::text[] IS NULL OR unit_code = ANY($2)) AND viewer_id > $3 COLLATE "C" '
        "ORDER BY viewer_id LIMIT $4",
        campaign_no,
        None if unit_codes is None else sorted(unit_codes),
        after,
        limit,
    )
    return [_viewer(row) for row in rows]


async def attribution(tx: Transaction, campaign_no: int, viewer_ids: Collection[str]) -> dict[str, tuple[str, str]]:
    """(unit_code, group_code) of the viewers that are known."""
    rows = await tx.fetch(
        "SELECT viewer_id, unit_code, group_code FROM viewer WHERE campaign_no = $1 AND viewer_id = ANY($2::text[])",
        campaign_no,
        sorted(viewer_ids),
    )
    return {row[0]: (row[1], row[2]) for row in rows}


class Resolvable(NamedTuple):
    """A viewer who may have no unit, the last of their channels that is known now, and the enrolment that named it."""

    viewer_id: str
    channel: str
    enrolled_at: datetime
    enrolment_id: str


async def resolvable(
    tx: Transaction, campaign_no: int, channels: Collection[str], after: str, limit: int
) -> list[Resolvable]:
    """Viewers with an enrolment whose channel was unknown when it came and is now one of `channels`, sorted by id; the page
    after `after`. Includes viewers who have got a unit in another way since."""
    rows = await tx.fetch(
        """
        SELECT DISTINCT ON (viewer_id) viewer_id, channel, enrolled_at, enrolment_id FROM enrolment
        WHERE campaign_no = $1 AND viewer_id > $2 COLLATE "C" AND unit_code = 'unassigned' AND channel = ANY($3::text[])
        ORDER BY viewer_id, enrolled_at DESC, enrolment_id DESC LIMIT $4
        """,
        campaign_no,
        after,
        list(channels),
        limit,
    )
    return [Resolvable(*row) for row in rows]


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


# ---- lessons made good -----------------------------------------------------------------------------------------------


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


async def add_viewers(tx: Transaction, campaign_no: int, viewer_ids: list[str]) -> None:
    """Adds rows without lessons for viewers from whom nothing has come yet; known viewers stay as they are."""
    await tx.execute(
        "INSERT INTO viewer (campaign_no, viewer_id) SELECT $1, * FROM unnest($2::text[]) ON CONFLICT DO NOTHING",
        campaign_no,
        sorted(viewer_ids),
    )


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


async def lock_viewers(tx: Transaction, campaign_no: int, viewer_ids: list[str]) -> list[Viewer]:
    """Returns and locks the viewers that are known, by id; they cannot change until the transaction ends."""
    rows = await tx.fetch(
        f"SELECT viewer_id, unit_code, group_code, channel, enrolled_at, {_LESSONS} FROM viewer "  # noqa: S608
        "WHERE campaign_no = $1 AND viewer_id = ANY($2::text[]) ORDER BY viewer_id FOR UPDATE",
        campaign_no,
        sorted(viewer_ids),
    )
    return [_viewer(row) for row in rows]


async def grant(
    tx: Transaction, campaign_no: int, make_good_id: str, lesson: int, viewer_ids: list[str]
) -> list[Viewer]:
    """Adds the lesson to these viewers, who are locked; returns them as they are now."""
    rows = await tx.fetch(
        "UPDATE viewer SET made_good = made_good | $3 WHERE campaign_no = $1 AND viewer_id = ANY($2::text[]) "  # noqa: S608
        f"RETURNING viewer_id, unit_code, group_code, channel, enrolled_at, {_LESSONS}",
        campaign_no,
        sorted(viewer_ids),
        1 << lesson,
    )
    await tx.execute("UPDATE make_good SET granted = granted + $2 WHERE make_good_id = $1", make_good_id, len(rows))
    return [_viewer(row) for row in rows]


# ---- certificates ----------------------------------------------------------------------------------------------------


class Certificate(NamedTuple):
    """What is known of a certificate from events."""

    viewer_id: str
    serial: str
    claimed_at: datetime | None
    revoked_at: datetime | None
    reissued_as: str | None


async def keep_certificates(tx: Transaction, campaign_id: str, rows: Iterable[Certificate]) -> None:
    """Stores what events say of certificates, in any order of arrival. The earliest time of a claim is kept."""
    by_serial = {row.serial: row for row in rows}
    await tx.execute(
        """
        INSERT INTO certificate AS c (campaign_id, viewer_id, serial, claimed_at, revoked_at, reissued_as)
        SELECT $1, * FROM unnest($2::text[], $3::text[], $4::timestamptz[], $5::timestamptz[], $6::text[])
        ON CONFLICT (campaign_id, serial) DO UPDATE
        SET claimed_at = least(c.claimed_at, excluded.claimed_at), revoked_at = coalesce(c.revoked_at, excluded.revoked_at),
            reissued_as = coalesce(c.reissued_as, excluded.reissued_as)
        """,
        campaign_id,
        *columns([by_serial[serial] for serial in sorted(by_serial)], len(Certificate._fields)),
    )


async def certificates_of(tx: Transaction, campaign_id: str, viewer_id: str) -> list[Certificate]:
    rows = await tx.fetch(
        "SELECT viewer_id, serial, claimed_at, revoked_at, reissued_as FROM certificate "
        "WHERE campaign_id = $1 AND viewer_id = $2",
        campaign_id,
        viewer_id,
    )
    return [Certificate(*row) for row in rows]


# ---- what was not counted, actions, counts ---------------------------------------------------------------------------


async def keep_uncounted(tx: Transaction, rows: Iterable[Uncounted]) -> set[tuple[str, str]]:
    """Keeps each event once; returns the (source, event_key) that were new."""
    by_key = {(row.source, row.event_key): row for row in reversed(list(rows))}
    new = await tx.fetch(
        """
        INSERT INTO uncounted (source, event_key, verdict, reason, campaign_id, viewer_id, type,
                               occurred_at, received_at, body_hmac)
        SELECT * FROM unnest($1::text[], $2::text[], $3::text[], $4::text[], $5::text[], $6::text[], $7::text[],
                             $8::timestamptz[], $9::timestamptz[], $10::bytea[])
        ON CONFLICT DO NOTHING RETURNING source, event_key
        """,
        *columns([by_key[key] for key in sorted(by_key)], len(Uncounted._fields)),
    )
    return {(row[0], row[1]) for row in new}


async def uncounted_of(tx: Transaction, campaign_id: str, viewer_id: str, limit: int) -> list[Any]:
    return await tx.fetch(
        "SELECT verdict, reason, type, occurred_at, received_at FROM uncounted WHERE campaign_id = $1 AND viewer_id = $2 "
        "ORDER BY occurred_at DESC LIMIT $3",
        campaign_id,
        viewer_id,
        limit,
    )


async def add_actions(tx: Transaction, campaign_no: int, actions: Iterable[Action]) -> set[Key]:
    """Stores live-room actions; returns the (viewer_id, event_id) of those that were new by id and by what was done."""
    rows = sorted(actions, key=_action_key)
    new = await tx.fetch(
        """
        INSERT INTO live_room_action (campaign_no, viewer_id, event_id, lesson_date, action, item, happened_at)
        SELECT $1, * FROM unnest($2::text[], $3::text[], $4::date[], $5::text[], $6::text[], $7::timestamptz[])
        ON CONFLICT DO NOTHING RETURNING viewer_id, event_id
        """,
        campaign_no,
        *columns(rows, len(Action._fields)),
    )
    return {(row[0], row[1]) for row in new}


def _action_key(action: Action) -> tuple[str, ...]:
    return action.viewer_id, action.action, action.item or "", action.event_id


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


# ---- what the platform counted ---------------------------------------------------------------------------------------


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
