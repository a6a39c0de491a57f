"""Reports are looked at by the rules, units explain what was found, the office closes it. The caller opens the transaction.

A report is looked at as soon as it is kept, and once more after its due time, when what it is compared with has been recorded
too. What is found stays open until somebody of the office has looked; no state of the report and no rate follows from it.
"""

from collections.abc import Awaitable, Callable, Sequence
from datetime import date, datetime, timedelta
from typing import Any

import structlog

from services.reporting.definition import Definition
from services.reporting.findings import domain, store
from services.reporting.findings.domain import Pictures, Recorded, Rule, Seen, State
from services.reporting.findings.store import Filters, Kept
from services.reporting.obligations import usecases as obligations
from services.reporting.obligations.domain import Obligation, ObligationKey, Report, is_above
from services.reporting.obligations.usecases import Known, Question
from services.reporting.totals import usecases as totals
from shared.contracts.campaign_forms import Form
from shared.database import Transaction
from shared.service.refusals import Refused
from shared.service.tokens import Principal

log = structlog.get_logger()

LOOKED_AT_ONCE_MAX = 100
FAILED_AGAIN_AFTER = timedelta(hours=1)
SYSTEM = "system"  # the actor where nobody decided
NEWER_VERSION = "单位已报新的版本"
UNREADABLE = (LookupError, TypeError, ValueError, ArithmeticError, RuntimeError)  # what one report's data can raise

FindPictures = Callable[[Transaction, ObligationKey, Sequence[str]], Awaitable[Pictures]]


async def no_pictures(_tx: Transaction, _key: ObligationKey, _pictures: Sequence[str]) -> Pictures:
    """In place of whoever knows which pictures other reports have."""
    return Pictures()


# ---- looking at reports ----------------------------------------------------------------------------------------------


async def look_soon(tx: Transaction, key: ObligationKey, now: datetime) -> None:
    """A report was kept: the next sweep looks at it."""
    await store.look_at(tx, key, now)


async def look_at_reports(
    tx: Transaction, known: Known, now: datetime, find_pictures: FindPictures = no_pictures
) -> int:
    """Looks at reports that wait for it; returns how many, at most `LOOKED_AT_ONCE_MAX`. One that cannot be read is counted and
    tried again later, and the others are looked at."""
    keys = await store.to_look_at(tx, now, LOOKED_AT_ONCE_MAX)
    for key in keys:
        try:
            obligation, form, report = await _last_report(tx, known, key)
            seen = await _seen(tx, known, obligation, form, report, now, find_pictures)
            found = [] if obligation.returned_at or obligation.excused_at else domain.findings_in(seen)
        except UNREADABLE as error:
            log.exception(
                "report not looked at", form=key.form, period=key.period, unit=key.unit_code, error=str(error)
            )
            await store.not_looked_at(tx, key, now + FAILED_AGAIN_AFTER)
            continue
        for finding_id in await store.of_earlier_versions(tx, key, report.version):
            await store.move_to(tx, key.campaign_id, finding_id, "closed", SYSTEM, NEWER_VERSION, now)
        await store.add(tx, key, report.version, found, now)
        await store.looked_at(tx, key, obligation.on_time_until if now < obligation.on_time_until else None)
    return len(keys)


async def _last_report(tx: Transaction, known: Known, key: ObligationKey) -> tuple[Obligation, Form, Report]:
    (obligation, form), reports, _ = await obligations.history_of(tx, known, key)
    return obligation, form, reports[-1]


async def _seen(
    tx: Transaction,
    known: Known,
    obligation: Obligation,
    form: Form,
    report: Report,
    now: datetime,
    find_pictures: FindPictures,
) -> Seen:
    """The report with what it is held against."""
    key = obligation.key
    definition = await known.definitions.in_force(tx, key.campaign_id)
    unit = definition.tree.unit(key.unit_code) if definition else None
    lesson = _lesson_of(definition, form, key.period)
    recorded = None
    if lesson is not None and now >= obligation.on_time_until and any(field.compared_with for field in form.fields):
        recorded = Recorded(
            *await totals.recorded_viewers(tx, known.definitions, key.campaign_id, key.unit_code, lesson)
        )
    pictures = [one for field in form.fields if field.type == "pictures" for one in report.values.get(field.id) or ()]
    return Seen(
        form,
        report.values,
        report.submitted_at,
        headcount=unit.headcount if unit else None,
        before=await obligations.reported_before(tx, obligation),
        lesson_opened_at=_opened_at(definition, lesson),
        recorded=recorded,
        pictures=await find_pictures(tx, key, pictures) if pictures else Pictures(),
    )


def _lesson_of(definition: Definition | None, form: Form, period: str) -> date | None:
    """The lesson that a report is about: of a form for every lesson, or for every day where that day has one."""
    if definition is None or form.every not in ("lesson", "day"):
        return None
    day = date.fromisoformat(period)
    return day if day in definition.lessons else None


def _opened_at(definition: Definition | None, lesson: date | None) -> datetime | None:
    if definition is None or definition.rules is None or lesson is None:
        return None
    return definition.rules.opened_at(list(definition.lessons).index(lesson))


async def failing(tx: Transaction) -> dict[str, int]:
    """Campaign → how many reports could not be looked at."""
    return await store.failing(tx)


# ---- explaining and closing ------------------------------------------------------------------------------------------


async def explain(
    tx: Transaction,
    known: Known,
    principal: Principal,
    campaign_id: str,
    finding_id: int,
    explanation: str,
    now: datetime,
) -> Kept:
    """The unit, or somebody above it, says how it came about. Refused as `no-such-finding`, `finding-closed`."""
    kept = await _to_change(tx, known, principal, campaign_id, finding_id)
    await store.move_to(tx, campaign_id, kept.id, "explained", principal.subject, explanation, now)
    return await _finding(tx, campaign_id, kept.id)


async def close(
    tx: Transaction, known: Known, principal: Principal, campaign_id: str, finding_id: int, reason: str, now: datetime
) -> Kept:
    """The office has looked. Refused as `no-such-finding`, `finding-closed`, `not-above`."""
    kept = await _to_change(tx, known, principal, campaign_id, finding_id)
    definition = await known.definitions.in_force(tx, campaign_id)
    if definition is None or not is_above(definition.tree, principal.unit, kept.key.unit_code):
        raise Refused("not-above")
    await store.move_to(tx, campaign_id, kept.id, "closed", principal.subject, reason, now)
    return await _finding(tx, campaign_id, kept.id)


async def _to_change(tx: Transaction, known: Known, principal: Principal, campaign_id: str, finding_id: int) -> Kept:
    """The finding, locked. One outside of what the person may see is refused as one that does not exist."""
    scope = await filters_of(tx, known, principal, campaign_id)
    kept = await store.finding(tx, campaign_id, finding_id, lock=True)
    if kept is None or (scope.units is not None and kept.key.unit_code not in scope.units):
        raise Refused("no-such-finding")
    if kept.state == "closed":
        raise Refused("finding-closed")
    return kept


async def is_of(tx: Transaction, key: ObligationKey, finding_id: int) -> bool:
    """Whether the finding is about this report, in any version."""
    kept = await store.finding(tx, key.campaign_id, finding_id)
    return kept is not None and kept.key == key


async def _finding(tx: Transaction, campaign_id: str, finding_id: int) -> Kept:
    kept = await store.finding(tx, campaign_id, finding_id)
    assert kept is not None  # noqa: S101 - it was changed in this transaction
    return kept


# ---- questions -------------------------------------------------------------------------------------------------------


async def filters_of(
    tx: Transaction,
    known: Known,
    principal: Principal,
    campaign_id: str,
    unit: str | None = None,
    rule: Rule | None = None,
    *,
    below: bool = True,
) -> Filters:
    """Everything is read through this: findings of the units that the asking person may see. Without `below`: of `unit` alone."""
    question = Question(campaign_id, unit=unit, row=None if below else "unit")
    scope = await obligations.filters_of(tx, known, principal, question)
    return Filters(campaign_id, scope.units, rule)


async def findings(
    tx: Transaction, filters: Filters, *, state: State | None, after: int | None, limit: int | None
) -> tuple[list[Kept], dict[str, int]]:
    """A page of findings by when they were opened, and how many there are by state, whatever `state` the page is of."""
    rows = await store.page(tx, filters, state, after, limit)
    return rows, dict.fromkeys(domain.STATES, 0) | await store.counts(tx, filters)


class Wording:
    """How findings are said to one person: names of units and forms, titles of fields; without the attribution rate of the whole
    campaign to somebody of one unit, as everywhere (`totals.attribution`)."""

    def __init__(self, principal: Principal, names: dict[str, str], forms: Sequence[Form]) -> None:
        self.names, self._tells_rate = names, principal.unit is None
        self._titles = {form.id: {field.id: field.title for field in form.fields} for form in forms}

    def against(self, kept: Kept) -> dict[str, Any]:
        return {name: n for name, n in kept.finding.against.items() if self._tells_rate or name != "attributed"}

    def text(self, kept: Kept) -> str:
        finding = kept.finding._replace(against=self.against(kept))
        return domain.text(finding, self._titles.get(kept.key.form, {}))


async def wording(tx: Transaction, known: Known, principal: Principal, campaign_id: str) -> Wording:
    names = await obligations.names_of(tx, known, campaign_id)
    read = await known.forms.in_force(tx, campaign_id)
    return Wording(principal, names, read.forms if read else ())
