"""All SQL of findings: the reports that are still to be looked at, what was found, and what was said of it."""

# ruff: noqa: S608 - SQL is put together of constants

import json
from collections.abc import Collection, Sequence
from datetime import datetime
from typing import Any, NamedTuple

from services.reporting.findings.domain import Finding, Rule, State
from services.reporting.obligations.domain import ObligationKey
from shared.database import Transaction

OF_KEY = "campaign_id = $1 AND form = $2 AND period = $3 AND unit_code = $4"


class Kept(NamedTuple):
    """A finding as it is kept, with the last explanation of the unit and the reason for which it was closed."""

    id: int
    key: ObligationKey
    version: int
    finding: Finding
    state: State
    opened_at: datetime
    explained_at: datetime | None
    explained_by: str | None
    explanation: str | None
    closed_at: datetime | None
    closed_by: str | None
    close_reason: str | None


class Filters(NamedTuple):
    """Which findings are asked for; None: all. `units` is also what the asking person may see."""

    campaign_id: str
    units: Collection[str] | None
    rule: Rule | None = None

    @property
    def values(self) -> tuple[Any, ...]:
        return self.campaign_id, None if self.units is None else sorted(self.units), self.rule


# ---- what is to be looked at -----------------------------------------------------------------------------------------


async def look_at(tx: Transaction, key: ObligationKey, when: datetime) -> None:
    """The report is looked at from `when` on, however often it was before."""
    await tx.execute(
        "INSERT INTO report_to_look_at (campaign_id, form, period, unit_code, look_at) VALUES ($1, $2, $3, $4, $5) "
        "ON CONFLICT (campaign_id, form, period, unit_code) DO UPDATE SET look_at = $5, failures = 0",
        *key,
        when,
    )


async def to_look_at(tx: Transaction, now: datetime, limit: int) -> list[ObligationKey]:
    """Locked until the transaction ends; what another replica looks at is left out."""
    rows = await tx.fetch(
        "SELECT campaign_id, form, period, unit_code FROM report_to_look_at WHERE look_at <= $1 "
        "ORDER BY look_at LIMIT $2 FOR UPDATE SKIP LOCKED",
        now,
        limit,
    )
    return [ObligationKey(*row) for row in rows]


async def looked_at(tx: Transaction, key: ObligationKey, again: datetime | None) -> None:
    """`again`: when the report is to be looked at once more; None: never."""
    if again is None:
        await tx.execute(f"DELETE FROM report_to_look_at WHERE {OF_KEY}", *key)
    else:
        await tx.execute(f"UPDATE report_to_look_at SET look_at = $5, failures = 0 WHERE {OF_KEY}", *key, again)


async def not_looked_at(tx: Transaction, key: ObligationKey, again: datetime) -> None:
    """A look that could not be finished is counted, and tried again."""
    await tx.execute(f"UPDATE report_to_look_at SET look_at = $5, failures = failures + 1 WHERE {OF_KEY}", *key, again)


async def failing(tx: Transaction) -> dict[str, int]:
    """Campaign → how many reports could not be looked at, 0 included for those that have any report to look at."""
    rows = await tx.fetch(
        "SELECT campaign_id, count(*) FILTER (WHERE failures > 0) AS n FROM report_to_look_at GROUP BY 1 ORDER BY 1"
    )
    return {row["campaign_id"]: row["n"] for row in rows}


# ---- findings --------------------------------------------------------------------------------------------------------


async def add(tx: Transaction, key: ObligationKey, version: int, findings: Sequence[Finding], now: datetime) -> None:
    """Opens findings; a rule that has already seen this version changes nothing."""
    for finding in findings:
        await tx.execute(
            "INSERT INTO finding (campaign_id, form, period, unit_code, version, rule, reported, against, state, opened_at) "
            "VALUES ($1, $2, $3, $4, $5, $6, $7, $8, 'open', $9) ON CONFLICT DO NOTHING",
            *key,
            version,
            finding.rule,
            json.dumps(finding.reported),
            json.dumps(finding.against),
            now,
        )


async def of_earlier_versions(tx: Transaction, key: ObligationKey, version: int) -> list[int]:
    """Ids of findings about versions before this one that are not closed; locked."""
    rows = await tx.fetch(
        f"SELECT id FROM finding WHERE {OF_KEY} AND version < $5 AND state <> 'closed' ORDER BY id FOR UPDATE",
        *key,
        version,
    )
    return [row["id"] for row in rows]


KEPT = """
SELECT id, campaign_id, form, period, unit_code, version, rule, reported, against, state, opened_at,
       explained.changed_at, explained.actor, explained.said, closed.changed_at, closed.actor, closed.said
FROM finding
LEFT JOIN LATERAL (SELECT changed_at, actor, said FROM finding_change
                   WHERE finding_id = finding.id AND what = 'explained' ORDER BY id DESC LIMIT 1) AS explained ON true
LEFT JOIN LATERAL (SELECT changed_at, actor, said FROM finding_change
                   WHERE finding_id = finding.id AND what = 'closed' ORDER BY id DESC LIMIT 1) AS closed ON true
"""
FILTERS = """
campaign_id = $1 AND ($2::text[] IS NULL OR unit_code = ANY ($2)) AND ($3::text IS NULL OR rule = $3)
"""


async def page(
    tx: Transaction, filters: Filters, state: State | None, after: int | None, limit: int | None
) -> list[Kept]:
    """By when they were opened. `limit`: None: all."""
    rows = await tx.fetch(
        f"{KEPT} WHERE {FILTERS} AND ($4::text IS NULL OR state = $4) AND ($5::bigint IS NULL OR id > $5) "
        "ORDER BY id LIMIT $6",
        *filters.values,
        state,
        after,
        limit,
    )
    return [_kept(row) for row in rows]


async def counts(tx: Transaction, filters: Filters) -> dict[str, int]:
    """State → how many findings."""
    rows = await tx.fetch(f"SELECT state, count(*) AS n FROM finding WHERE {FILTERS} GROUP BY 1", *filters.values)
    return {row["state"]: row["n"] for row in rows}


async def finding(tx: Transaction, campaign_id: str, finding_id: int, *, lock: bool = False) -> Kept | None:
    """`lock`: until the transaction ends nobody else changes it."""
    row = await tx.fetchrow(
        f"{KEPT} WHERE id = $1 AND campaign_id = $2{' FOR UPDATE OF finding' if lock else ''}", finding_id, campaign_id
    )
    return None if row is None else _kept(row)


def _kept(row: Any) -> Kept:
    found = Finding(row[6], json.loads(row[7]), json.loads(row[8]))
    return Kept(row[0], ObligationKey(*row[1:5]), row[5], found, *row[9:])


async def move_to(
    tx: Transaction, campaign_id: str, finding_id: int, state: State, actor: str, said: str, now: datetime
) -> None:
    """Moves a finding to `explained` or `closed`, and keeps who did it and what they wrote."""
    await tx.execute("UPDATE finding SET state = $2 WHERE id = $1", finding_id, state)
    await tx.execute(
        "INSERT INTO finding_change (finding_id, campaign_id, changed_at, what, actor, said) VALUES ($1, $2, $3, $4, $5, $6)",
        finding_id,
        campaign_id,
        now,
        state,
        actor,
        said,
    )
