"""All SQL of obligations. Every revision of a campaign's forms is kept, because a period keeps the forms that were in force
when it opened."""

# ruff: noqa: S608 - SQL is put together of constants

import json
from collections.abc import Collection, Sequence
from datetime import datetime
from typing import Any, NamedTuple, get_args
from uuid import UUID

from services.reporting.obligations.domain import (
    Change,
    Figure,
    Obligation,
    ObligationKey,
    Report,
    State,
    Tallied,
    Tally,
)
from services.reporting.obligations.opening import Opening
from shared.contracts.checkin import FormsDefinedV1
from shared.database import Transaction
from shared.database.columns import columns

TOLD_AT_ONCE_MAX = 500  # obligations of one sweep's portion


class FormsRevision(NamedTuple):
    """A campaign's forms and indicators (JSON) as of a revision of its definition."""

    campaign_id: str
    revision: int
    defined_at: datetime
    forms: list[dict[str, Any]]
    indicators: list[dict[str, Any]]


# ---- forms -----------------------------------------------------------------------------------------------------------


async def keep_forms(tx: Transaction, event: FormsDefinedV1) -> None:
    """Keeps a revision's forms; a repeat changes nothing."""
    await tx.execute(
        "INSERT INTO forms_revision (campaign_id, revision, defined_at, forms, indicators) VALUES ($1, $2, $3, $4, $5) "
        "ON CONFLICT DO NOTHING",
        event.campaign_id,
        event.revision,
        event.occurred_at,
        json.dumps(event.forms, ensure_ascii=False),
        json.dumps(event.indicators, ensure_ascii=False),
    )


async def forms_in_force(tx: Transaction) -> list[FormsRevision]:
    """The highest revision of each campaign that has or had forms, ordered by campaign."""
    rows = await tx.fetch(
        "SELECT DISTINCT ON (campaign_id) campaign_id, revision, defined_at, forms, indicators FROM forms_revision "
        "ORDER BY campaign_id, revision DESC"
    )
    return [_forms_revision(row) for row in rows]


async def forms_revisions(tx: Transaction, campaign_id: str) -> list[FormsRevision]:
    """All revisions of a campaign's forms, by number."""
    rows = await tx.fetch(
        "SELECT campaign_id, revision, defined_at, forms, indicators FROM forms_revision WHERE campaign_id = $1 "
        "ORDER BY revision",
        campaign_id,
    )
    return [_forms_revision(row) for row in rows]


async def newest_forms(tx: Transaction) -> dict[str, int]:
    """Campaign → the newest revision of its forms."""
    rows = await tx.fetch("SELECT campaign_id, max(revision) AS revision FROM forms_revision GROUP BY 1 ORDER BY 1")
    return {row["campaign_id"]: row["revision"] for row in rows}


def _forms_revision(row: Any) -> FormsRevision:
    return FormsRevision(row[0], row[1], row[2], json.loads(row[3]), json.loads(row[4]))


# ---- opening periods -------------------------------------------------------------------------------------------------


async def opened_periods(tx: Transaction, campaign_id: str) -> set[tuple[str, str]]:
    """(form, period) of those that have been opened."""
    rows = await tx.fetch("SELECT form, period FROM opened_period WHERE campaign_id = $1", campaign_id)
    return {(row["form"], row["period"]) for row in rows}


async def open_period(tx: Transaction, campaign_id: str, opening: Opening, unit_codes: Sequence[str]) -> bool:
    """Makes the obligations of a period, once: False where that was done before, or is being done by another replica."""
    opened = await tx.change(
        "INSERT INTO opened_period (campaign_id, form, period, opened_at) VALUES ($1, $2, $3, $4) ON CONFLICT DO NOTHING",
        campaign_id,
        opening.form.id,
        opening.period,
        opening.opens_at,
    )
    if opened and opening.due is not None:
        await tx.execute(
            "INSERT INTO obligation (campaign_id, form, period, unit_code, forms_revision, opened_at, due_at, "
            "on_time_until, locks_at, next_due_at, next_grace) "
            "SELECT $1, $2, $3, unit_code, $4, $5, $6, $7, $8, $6, $7 FROM unnest($9::text[]) AS unit_code",
            campaign_id,
            opening.form.id,
            opening.period,
            opening.forms_revision,
            opening.opens_at,
            *opening.due,
            sorted(unit_codes),
        )
    return bool(opened)


# ---- obligations -----------------------------------------------------------------------------------------------------

OBLIGATION = ", ".join(Obligation._fields)
# $1 is the time now, $2 the campaign.
STATE = """
CASE WHEN excused_at IS NOT NULL THEN 'excused'
     WHEN returned_at IS NOT NULL THEN 'returned'
     WHEN submitted_at <= on_time_until THEN 'on_time'
     WHEN submitted_at IS NOT NULL THEN 'late'
     WHEN $1 > on_time_until THEN 'missing'
     ELSE 'due' END
"""
# Whom each figure counts. $1 is the time now. A report that was returned stands in the figures unless it was returned as empty.
FIGURES: dict[Figure, str] = {
    "expected": "excused_at IS NULL",
    "reported": "excused_at IS NULL AND submitted_at IS NOT NULL",
    "on_time": "excused_at IS NULL AND submitted_at <= on_time_until",
    "late": "excused_at IS NULL AND submitted_at > on_time_until",
    "missing": "excused_at IS NULL AND submitted_at IS NULL AND $1 > on_time_until",
    "excused": "excused_at IS NOT NULL",
    "due": "excused_at IS NULL AND (submitted_at IS NULL OR returned_at IS NOT NULL) AND next_due_at >= $1",
    "returned": "excused_at IS NULL AND returned_at IS NOT NULL",
}
TALLY = ", ".join(f"count(*) FILTER (WHERE {FIGURES[name]}) AS {name}" for name in get_args(Tallied))
FILTERS = """
campaign_id = $2 AND ($3::text[] IS NULL OR unit_code = ANY ($3)) AND ($4::text IS NULL OR form = $4)
AND ($5::text IS NULL OR period = $5)
"""


class Filters(NamedTuple):
    """Which obligations are asked for; None: all. `units` is also what the asking person may see."""

    campaign_id: str
    units: Collection[str] | None
    form: str | None = None
    period: str | None = None

    @property
    def values(self) -> tuple[Any, ...]:
        return self.campaign_id, None if self.units is None else sorted(self.units), self.form, self.period


class Position(NamedTuple):
    """Where a page of obligations ends."""

    due_at: datetime
    form: str
    period: str
    unit_code: str


async def obligation(tx: Transaction, key: ObligationKey, *, lock: bool = False) -> Obligation | None:
    """`lock`: until the transaction ends nobody else changes it."""
    row = await tx.fetchrow(
        f"SELECT {OBLIGATION} FROM obligation WHERE campaign_id = $1 AND form = $2 AND period = $3 AND unit_code = $4"
        f"{' FOR UPDATE' if lock else ''}",
        *key,
    )
    return None if row is None else Obligation(*row)


async def of_units(tx: Transaction, campaign_id: str, unit_codes: Collection[str]) -> list[Obligation]:
    """All that the units owe or owed, by due time."""
    rows = await tx.fetch(
        f"SELECT {OBLIGATION} FROM obligation WHERE campaign_id = $1 AND unit_code = ANY ($2) "
        "ORDER BY due_at, form, period, unit_code",
        campaign_id,
        sorted(unit_codes),
    )
    return [Obligation(*row) for row in rows]


async def units_without_report(tx: Transaction, campaign_id: str, forms: Sequence[str], now: datetime) -> list[str]:
    """The units that owe one of the forms, have never sent it, and still may."""
    rows = await tx.fetch(
        "SELECT DISTINCT unit_code FROM obligation "
        "WHERE campaign_id = $1 AND form = ANY ($2) AND version = 0 AND excused_at IS NULL AND locks_at > $3 ORDER BY 1",
        campaign_id,
        list(forms),
        now,
    )
    return [row["unit_code"] for row in rows]


async def page(
    tx: Transaction, now: datetime, filters: Filters, state: State | None, after: Position | None, limit: int
) -> list[Obligation]:
    rows = await tx.fetch(
        f"SELECT {OBLIGATION} FROM obligation WHERE {FILTERS} AND ($6::text IS NULL OR ({STATE}) = $6) "
        "AND ($7::timestamptz IS NULL OR (due_at, form, period, unit_code) > ($7, $8, $9, $10)) "
        "ORDER BY due_at, form, period, unit_code LIMIT $11",
        now,
        *filters.values,
        state,
        *(after or (None, None, None, None)),
        limit,
    )
    return [Obligation(*row) for row in rows]


async def counts(tx: Transaction, now: datetime, filters: Filters) -> dict[str, int]:
    """State → how many obligations."""
    rows = await tx.fetch(
        f"SELECT ({STATE}) AS state, count(*) AS n FROM obligation WHERE {FILTERS} GROUP BY 1", now, *filters.values
    )
    return {row["state"]: row["n"] for row in rows}


async def tallies(tx: Transaction, now: datetime, filters: Filters, by: str) -> list[tuple[str, Tally]]:
    """Sums by `unit_code`, `form` or `period`."""
    assert by in ("unit_code", "form", "period")  # noqa: S101 - it becomes SQL
    rows = await tx.fetch(
        f"SELECT {by}, {TALLY} FROM obligation WHERE {FILTERS} GROUP BY 1 ORDER BY 1", now, *filters.values
    )
    return [(row[0], Tally(*row[1:])) for row in rows]


async def tallies_and_waiting(
    tx: Transaction, now: datetime, filters: Filters, due_before: datetime
) -> list[tuple[str, Tally, int, int]]:
    """By unit, in one look at the table: sums, how many are due before a time, and how many were returned."""
    rows = await tx.fetch(
        f"SELECT unit_code, {TALLY}, count(*) FILTER (WHERE {FIGURES['due']} AND next_due_at < $6), "
        f"count(*) FILTER (WHERE {FIGURES['returned']}) FROM obligation WHERE {FILTERS} GROUP BY 1",
        now,
        *filters.values,
        due_before,
    )
    return [(row[0], Tally(*row[1:-2]), row[-2], row[-1]) for row in rows]


async def count(tx: Transaction, now: datetime, filters: Filters, figure: Figure, due_before: datetime | None) -> int:
    """How many obligations a figure counts. `due_before`: only what is due earlier."""
    return int(
        await tx.fetchval(
            f"SELECT count(*) FROM obligation WHERE {FILTERS} AND {FIGURES[figure]} "
            "AND ($6::timestamptz IS NULL OR next_due_at < $6) AND $1::timestamptz IS NOT NULL",
            now,
            *filters.values,
            due_before,
        )
    )


async def counted(
    tx: Transaction,
    now: datetime,
    filters: Filters,
    figure: Figure,
    due_before: datetime | None,
    after: Position | None,
    limit: int,
) -> list[Obligation]:
    """A page of the obligations that a figure counts, by due time."""
    rows = await tx.fetch(
        f"SELECT {OBLIGATION} FROM obligation WHERE {FILTERS} AND {FIGURES[figure]} "
        "AND ($6::timestamptz IS NULL OR next_due_at < $6) AND $1::timestamptz IS NOT NULL "
        "AND ($7::timestamptz IS NULL OR (due_at, form, period, unit_code) > ($7, $8, $9, $10)) "
        "ORDER BY due_at, form, period, unit_code LIMIT $11",
        now,
        *filters.values,
        due_before,
        *(after or (None, None, None, None)),
        limit,
    )
    return [Obligation(*row) for row in rows]


async def units_counted(
    tx: Transaction, now: datetime, filters: Filters, figure: Figure, due_before: datetime | None
) -> list[str]:
    """Codes of the units of which a figure counts something, each once."""
    rows = await tx.fetch(
        f"SELECT DISTINCT unit_code FROM obligation WHERE {FILTERS} AND {FIGURES[figure]} "
        "AND ($6::timestamptz IS NULL OR next_due_at < $6) AND $1::timestamptz IS NOT NULL",
        now,
        *filters.values,
        due_before,
    )
    return [row[0] for row in rows]


async def tallies_of_forms(tx: Transaction, now: datetime) -> list[tuple[str, str, str, Tally]]:
    """Sums by campaign, form and unit, for the metrics."""
    rows = await tx.fetch(
        f"SELECT campaign_id, form, unit_code, {TALLY} FROM obligation GROUP BY 1, 2, 3 ORDER BY 1, 2, 3", now
    )
    return [(row[0], row[1], row[2], Tally(*row[3:])) for row in rows]


# ---- reports ---------------------------------------------------------------------------------------------------------

REPORT = ", ".join(Report._fields)
OF_KEY = "campaign_id = $1 AND form = $2 AND period = $3 AND unit_code = $4"


async def reports(tx: Transaction, key: ObligationKey) -> list[Report]:
    """All versions, the first one first."""
    rows = await tx.fetch(f"SELECT {REPORT} FROM report WHERE {OF_KEY} ORDER BY version", *key)
    return [_report(row) for row in rows]


async def report_of_submission(tx: Transaction, key: ObligationKey, submission_id: UUID) -> Report | None:
    row = await tx.fetchrow(f"SELECT {REPORT} FROM report WHERE {OF_KEY} AND submission_id = $5", *key, submission_id)
    return None if row is None else _report(row)


async def latest_values(
    tx: Transaction, campaign_id: str, form: str, unit_codes: Collection[str] | None, before: datetime | None = None
) -> list[tuple[str, str, dict[str, Any]]]:
    """(unit, period, values) of the latest version of each period of a form, by when the period opened. `before`: only of periods
    that opened earlier."""
    rows = await tx.fetch(
        """
        SELECT unit_code, period, report.values FROM obligation JOIN report USING (campaign_id, form, period, unit_code, version)
        WHERE campaign_id = $1 AND form = $2 AND ($3::text[] IS NULL OR unit_code = ANY ($3)) AND excused_at IS NULL
          AND NOT (returned_at IS NOT NULL AND returned_empty) AND ($4::timestamptz IS NULL OR opened_at < $4)
        ORDER BY opened_at, period, unit_code
        """,
        campaign_id,
        form,
        None if unit_codes is None else sorted(unit_codes),
        before,
    )
    return [(row[0], row[1], json.loads(row[2])) for row in rows]


async def add_report(tx: Transaction, key: ObligationKey, report: Report) -> None:
    """Keeps a version, and makes it the obligation's last one: what was returned is answered, an approval is over."""
    await tx.execute(
        f"INSERT INTO report (campaign_id, form, period, unit_code, {REPORT}) "
        "VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12, $13, $14, $15, $16)",
        *key,
        *report._replace(values=_json(report.values), reasons=_json(report.reasons)),  # type: ignore[arg-type]
    )
    await tx.execute(
        f"UPDATE obligation SET version = $5, submitted_at = coalesce(submitted_at, $6), returned_at = NULL, "
        f"returned_empty = false, return_reason = NULL, approved_at = NULL WHERE {OF_KEY}",
        *key,
        report.version,
        report.submitted_at,
    )


async def report_of_number(tx: Transaction, number: str) -> tuple[ObligationKey, Report] | None:
    row = await tx.fetchrow(
        f"SELECT campaign_id, form, period, unit_code, {REPORT} FROM report WHERE number = $1", number
    )
    return None if row is None else (ObligationKey(*row[:4]), _report(row[4:]))


def _report(row: Any) -> Report:
    report = Report(*row)
    return report._replace(values=json.loads(row[3]), reasons=json.loads(row[4]))


def _json(content: dict[str, Any]) -> str:
    return json.dumps(content, ensure_ascii=False)


# ---- decisions -------------------------------------------------------------------------------------------------------


async def return_report(
    tx: Transaction, key: ObligationKey, now: datetime, reason: str, due_at: datetime, *, empty: bool
) -> None:
    """Marks the last report as returned. As empty, it counts as none: the next one decides timeliness."""
    await tx.execute(
        "UPDATE obligation SET returned_at = $5, return_reason = $6, returned_empty = $8, approved_at = NULL, "
        "submitted_at = CASE WHEN $8 THEN NULL ELSE submitted_at END, next_due_at = $7, next_grace = $7, "
        f"locks_at = greatest(locks_at, $7), told_soon = false, told_overdue = false WHERE {OF_KEY}",
        *key,
        now,
        reason,
        due_at,
        empty,
    )


async def excuse(tx: Transaction, key: ObligationKey, now: datetime | None, reason: str | None) -> None:
    """None: it is owed again."""
    await tx.execute(f"UPDATE obligation SET excused_at = $5, excuse_reason = $6 WHERE {OF_KEY}", *key, now, reason)


async def approve(tx: Transaction, key: ObligationKey, now: datetime) -> None:
    await tx.execute(f"UPDATE obligation SET approved_at = $5 WHERE {OF_KEY}", *key, now)


async def reopen(tx: Transaction, key: ObligationKey, until: datetime) -> None:
    await tx.execute(f"UPDATE obligation SET locks_at = $5 WHERE {OF_KEY}", *key, until)


async def add_change(tx: Transaction, key: ObligationKey, change: Change) -> None:
    await tx.execute(
        "INSERT INTO obligation_change (campaign_id, form, period, unit_code, changed_at, what, version, actor, reason, due_at) "
        "VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10)",
        *key,
        *change,
    )


async def changes(tx: Transaction, key: ObligationKey) -> list[Change]:
    rows = await tx.fetch(f"SELECT {', '.join(Change._fields)} FROM obligation_change WHERE {OF_KEY} ORDER BY id", *key)
    return [Change(*row) for row in rows]


# ---- reminders -------------------------------------------------------------------------------------------------------

OWED = "excused_at IS NULL AND (submitted_at IS NULL OR returned_at IS NOT NULL)"


class ToTell(NamedTuple):
    campaign_id: str
    unit_code: str
    due_at: datetime
    form: str
    period: str


async def raise_alone(tx: Transaction) -> None:
    """Until the transaction ends no other replica raises reminders."""
    await tx.execute("SELECT pg_advisory_xact_lock(hashtextextended('reminders', 0))")


async def soon_due(tx: Transaction, now: datetime, until: datetime) -> list[ToTell]:
    """What is due by `until`, still owed, and not told yet; all of a unit's due time together."""
    return await _to_tell(
        tx, f"NOT told_soon AND NOT told_overdue AND {OWED} AND next_due_at > $1 AND next_due_at <= $2", now, until
    )


async def overdue(tx: Transaction, now: datetime) -> list[ToTell]:
    """What is past its time, grace included, still owed, and not told yet; all of a unit's due time together."""
    return await _to_tell(tx, f"NOT told_overdue AND {OWED} AND next_due_at < $1 AND next_grace < $1", now)


async def _to_tell(tx: Transaction, condition: str, *arguments: Any) -> list[ToTell]:
    rows = await tx.fetch(
        f"""
        WITH told AS (
            SELECT DISTINCT campaign_id, unit_code, next_due_at FROM obligation WHERE {condition}
            ORDER BY next_due_at, campaign_id, unit_code LIMIT {TOLD_AT_ONCE_MAX}
        )
        SELECT campaign_id, unit_code, next_due_at, form, period FROM obligation
        WHERE (campaign_id, unit_code, next_due_at) IN (SELECT * FROM told) AND {condition}
        ORDER BY next_due_at, campaign_id, unit_code, form, period FOR UPDATE
        """,
        *arguments,
    )
    return [ToTell(*row) for row in rows]


async def waiting(tx: Transaction, now: datetime, soon: datetime, late: datetime) -> dict[str, tuple[int, int]]:
    """Campaign → what is still owed and due after `now`, until `soon`; what was past its time at `late` and was not told."""
    rows = await tx.fetch(
        "SELECT campaign_id, count(*) FILTER (WHERE next_due_at > $1), count(*) FILTER (WHERE next_grace < $3) "
        f"FROM obligation WHERE NOT told_overdue AND {OWED} AND next_due_at <= $2 GROUP BY 1",
        now,
        soon,
        late,
    )
    return {row[0]: (row[1], row[2]) for row in rows}


async def raised_now(
    tx: Transaction, told: Collection[tuple[str, str, datetime]], kind: str, now: datetime
) -> set[tuple[str, str, datetime]]:
    """Remembers that these (campaign, unit, due time) were told; returns those that nobody had told before."""
    rows = await tx.fetch(
        "INSERT INTO reminder (campaign_id, unit_code, due_at, kind, raised_at) "
        "SELECT campaign_id, unit_code, due_at, $4, $5 "
        "FROM unnest($1::text[], $2::text[], $3::timestamptz[]) AS told (campaign_id, unit_code, due_at) "
        "ON CONFLICT DO NOTHING RETURNING campaign_id, unit_code, due_at",
        *columns(sorted(told), 3),
        kind,
        now,
    )
    return {(row[0], row[1], row[2]) for row in rows}


async def mark_told(tx: Transaction, told: Sequence[ToTell], kind: str) -> None:
    mark = "told_soon" if kind == "due_soon" else "told_overdue"
    await tx.execute(
        f"UPDATE obligation SET {mark} = true "
        "FROM unnest($1::text[], $2::text[], $3::timestamptz[], $4::text[], $5::text[]) "
        "AS told (campaign_id, unit_code, due_at, form, period) WHERE obligation.campaign_id = told.campaign_id "
        "AND obligation.form = told.form AND obligation.period = told.period AND obligation.unit_code = told.unit_code",
        *columns(told, 5),
    )
