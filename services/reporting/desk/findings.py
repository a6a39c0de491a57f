"""What the desk shows of findings (差异待核): never a verdict, and no deduction follows (FACTS A12).

The caller opens the transaction.
"""

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass

from services.reporting.findings import answers, usecases
from services.reporting.findings.answers import FindingRow
from services.reporting.findings.domain import Rule, State
from services.reporting.findings.usecases import Wording
from services.reporting.obligations.domain import ObligationKey, is_above
from services.reporting.obligations.usecases import Known
from shared.database import Transaction
from shared.service.refusals import Refused
from shared.service.tokens import Principal

CHANGERS = ("admin", "office")


@dataclass(frozen=True)
class FindingsShown:
    """`names`: of units and forms. `explains`: whether the person who looks may explain; `closable`: units whose findings
    they may close."""

    rows: Sequence[FindingRow]
    names: Mapping[str, str]
    explains: bool
    closable: Collection[str]


async def listed(
    tx: Transaction,
    known: Known,
    principal: Principal,
    *,
    state: State | None = None,
    rule: Rule | None = None,
    unit: str | None = None,
    after: int | None = None,
    limit: int | None = None,
) -> tuple[FindingsShown, Mapping[str, int], Wording]:
    """A page of findings of `unit` with all below it, and how many there are by state, whatever `state` the page is of."""
    filters = await usecases.filters_of(tx, known, principal, principal.campaign, unit, rule)
    kept, counts = await usecases.findings(tx, filters, state=state, after=after, limit=limit)
    wording = await usecases.wording(tx, known, principal, principal.campaign)
    shown = await _shown(tx, known, principal, [answers.row_of(one, wording) for one in kept], wording)
    return shown, counts, wording


async def of_unit(
    tx: Transaction, known: Known, principal: Principal, unit_code: str, key: ObligationKey | None = None
) -> FindingsShown:
    """Findings of the unit alone, the newest first; with `key`, those of one report."""
    filters = await usecases.filters_of(tx, known, principal, principal.campaign, unit_code, below=False)
    kept, _ = await usecases.findings(tx, filters, state=None, after=None, limit=None)
    wording = await usecases.wording(tx, known, principal, principal.campaign)
    rows = [answers.row_of(one, wording) for one in kept[::-1] if key in (None, one.key)]
    return await _shown(tx, known, principal, rows, wording)


async def open_ones(tx: Transaction, known: Known, principal: Principal) -> int:
    """How many findings wait for the office."""
    filters = await usecases.filters_of(tx, known, principal, principal.campaign)
    _, counts = await usecases.findings(tx, filters, state=None, after=None, limit=0)
    return counts["open"]


async def check_is_of(tx: Transaction, key: ObligationKey, finding_id: int) -> None:
    """Refused as `no-such-finding` where the report has none of this id."""
    if not await usecases.is_of(tx, key, finding_id):
        raise Refused("no-such-finding")


async def _shown(
    tx: Transaction, known: Known, principal: Principal, rows: Sequence[FindingRow], wording: Wording
) -> FindingsShown:
    definition = await known.definitions.in_force(tx, principal.campaign)
    changes = principal.role in CHANGERS and definition is not None
    units = {row.unit_code for row in rows} if changes else set()
    closable = {unit for unit in units if definition and is_above(definition.tree, principal.unit, unit)}
    return FindingsShown(rows, wording.names, changes, closable)
