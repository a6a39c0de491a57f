"""What the desk shows of one unit: all that it owes and owed, one report with its versions and decisions, and what is recorded
beside what is reported (FACTS A7, A12). The caller opens the transaction."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import date, datetime
from typing import Any, Final

from services.reporting.desk import domain, findings
from services.reporting.desk.domain import Line
from services.reporting.desk.findings import FindingsShown
from services.reporting.desk.usecases import Owing, unit_in_reach
from services.reporting.liaisons import usecases as liaisons
from services.reporting.liaisons.domain import POST_TITLES
from services.reporting.obligations import usecases as obligations
from services.reporting.obligations import values
from services.reporting.obligations.domain import Change, Obligation, ObligationKey, Report, is_above
from services.reporting.obligations.usecases import Known
from services.reporting.totals import usecases as totals
from shared.contracts.campaign import Unit
from shared.contracts.campaign_forms import NUMBERS, Form
from shared.contracts.campaign_forms import Column as FormColumn
from shared.database import Transaction
from shared.service.tokens import Principal

CERTIFICATES_FORM: Final = (
    "certificates"  # the form in which units report certificates claimed in three scopes (FACTS A7)
)
DECIDERS: Final = ("admin", "office")


@dataclass(frozen=True)
class Lesson:
    """A lesson: what the platforms have recorded of the unit's people, and what the unit has reported, by `Column`. `attributed`:
    the share of all viewers that belongs to any unit; None where that is not known or not to be seen."""

    period: str
    checkins: int
    viewers: int
    attributed: float | None
    reported: Sequence[str | None]


@dataclass(frozen=True)
class Column:
    """A number that units report for each lesson."""

    form: str
    title: str


@dataclass(frozen=True)
class Claimed:
    """Certificates claimed: as the unit has reported them, by scope; and the recorded numbers of the unit with all below it."""

    reported: Sequence[Line]
    claimed: int
    issued: int


@dataclass(frozen=True)
class UnitShown:
    unit: Unit
    owing: Sequence[Owing]
    columns: Sequence[Column]
    lessons: Sequence[Lesson]
    claimed: Claimed
    contacts: Sequence[tuple[str, str]]  # post and who has it, masked
    findings: FindingsShown


@dataclass(frozen=True)
class Version:
    """A version of a report as it is read, and what it says differently from the one before."""

    report: Report
    lines: Sequence[Line]
    differences: Sequence[values.Difference]


@dataclass(frozen=True)
class ReportShown:
    """`decides`: whether the person who looks may decide about it, `fills`: file or correct it."""

    unit: Unit
    obligation: Obligation
    form: Form
    versions: Sequence[Version]  # the newest first
    changes: Sequence[Change]
    decides: bool
    fills: bool
    asks_approval: bool
    findings: FindingsShown


@dataclass(frozen=True)
class Filling:
    """A report to be filled in on behalf of a unit, or corrected. `rows`: table → key → name of rows that are given."""

    unit: Unit
    obligation: Obligation
    form: Form
    kept: Mapping[str, Any]
    rows: Mapping[str, Mapping[str, str]]

    @property
    def corrects(self) -> bool:
        """Whether it takes the place of a report that stands, which needs a reason."""
        return self.obligation.version > 0 and not self.obligation.is_owed()


async def unit(tx: Transaction, known: Known, principal: Principal, unit_code: str, now: datetime) -> UnitShown:
    """Refused as `no-such-unit`."""
    campaign_id = principal.campaign
    shown = await unit_in_reach(tx, known, principal, unit_code)
    titles, _ = await obligations.opened(tx, known, campaign_id)
    owing = [
        Owing(one, shown.name, titles.get(one.form, one.form))
        for one in await obligations.of_unit(tx, campaign_id, unit_code)
    ]
    reported = await obligations.last_values(tx, known, campaign_id, unit_code)
    columns = [
        (form, one) for form, _ in reported if form.every == "lesson" for one in form.fields if one.type in NUMBERS
    ]
    by_form = {form.id: periods for form, periods in reported}
    recorded = await totals.totals(
        tx,
        known.definitions,
        replace(principal, unit=unit_code),
        campaign_id,
        by="lesson",
        lesson=None,
        mode=None,
        now=now,
    )
    attributed = await totals.attribution(tx, principal, campaign_id)
    lessons = [
        Lesson(
            row.key,
            row.checkins,
            row.viewers,
            attributed.get(date.fromisoformat(row.key)),
            [values.shown(one, by_form[form.id].get(row.key, {}).get(one.id)) for form, one in columns],
        )
        for row in recorded.rows
    ]
    several = len({form.id for form, _ in columns}) > 1
    return UnitShown(
        shown,
        owing[::-1],
        [Column(form.id, (f"{form.title} " if several else "") + titled(one)) for form, one in columns],
        lessons,
        Claimed(
            _claimed(reported),
            recorded.sum.certificates_claimed or 0,
            recorded.sum.certificates_issued or 0,
        ),
        await _contacts(tx, campaign_id, unit_code),
        await findings.of_unit(tx, known, principal, unit_code),
    )


async def _contacts(tx: Transaction, campaign_id: str, unit_code: str) -> list[tuple[str, str]]:
    named = (await liaisons.liaisons(tx, campaign_id, [unit_code])).get(unit_code)
    posts = (named.posts if named else None) or {}
    return [(POST_TITLES[post], f"{mask.name} {mask.phone}") for post, mask in posts.items()]


def _claimed(reported: Sequence[tuple[Form, Mapping[str, Mapping[str, Any]]]]) -> list[Line]:
    """The numbers of the certificates' form; the latest period of each is shown, None where nothing was reported."""
    for form, periods in reported:
        if form.id == CERTIFICATES_FORM:
            last: Mapping[str, Any] = list(periods.values())[-1] if periods else {}
            numbers = [one for one in form.fields if one.type in NUMBERS]
            return [Line(titled(one), values.shown(one, last.get(one.id)) or "") for one in numbers]
    return []


async def report(tx: Transaction, known: Known, principal: Principal, key: ObligationKey) -> ReportShown:
    """Refused as `no-such-unit`, `nothing-owed`."""
    shown = await unit_in_reach(tx, known, principal, key.unit_code)
    (obligation, form), reports, changes = await obligations.history_of(tx, known, key)
    before: list[Report | None] = [None, *reports]
    versions = [
        Version(one, lines(form, one.values), values.differing(form, last.values, one.values) if last else [])
        for last, one in zip(before, reports, strict=False)
    ]
    definition = await known.definitions.in_force(tx, key.campaign_id)
    above = definition is not None and is_above(definition.tree, principal.unit, key.unit_code)
    may = principal.role in DECIDERS
    return ReportShown(
        shown,
        obligation,
        form,
        versions[::-1],
        changes[::-1],
        decides=may and above,
        fills=may,
        asks_approval=form.approval != "none",
        findings=await findings.of_unit(tx, known, principal, key.unit_code, key),
    )


async def filling(tx: Transaction, known: Known, principal: Principal, key: ObligationKey) -> Filling:
    """Refused as `no-such-unit`, `nothing-owed`."""
    shown = await unit_in_reach(tx, known, principal, key.unit_code)
    (obligation, form), reports, _ = await obligations.history_of(tx, known, key)
    facts = await obligations.facts_about(tx, known, obligation, form, {})
    return Filling(shown, obligation, form, reports[-1].values if reports else {}, facts.rows)


def titled(one: FormColumn) -> str:
    """The question with the unit of its number: 个人观看（人数）."""
    return f"{one.title}（{one.unit}）" if one.unit else one.title


def lines(form: Form, kept: Mapping[str, Any]) -> list[Line]:
    """The answers of a report, a line for each row of a table; what was not filled in is left out."""
    told: list[Line] = []
    for one in form.fields:
        value = kept.get(one.id)
        if value is None:
            continue
        if one.type == "table":
            for number, row in enumerate(value, start=1):
                cells = [
                    f"{column.title} {values.shown(column, row[column.id])}"
                    for column in one.columns
                    if column.id in row
                ]
                told.append(Line(f"{one.title} {row.get('key') or f'第 {number} 行'}", "，".join(cells)))
        elif one.type == "pictures":
            told.append(Line(one.title, f"{len(value)} 张", value))
        else:
            told.append(Line(titled(one), values.shown(one, value) or ""))
    return told


def inputs(form: Form, kept: Mapping[str, Any]) -> domain.Typed:
    """What stands in the inputs of a page for a report's values, as `values.from_form` reads them."""
    typed: dict[str, list[str]] = {}
    for one in form.fields:
        value = kept.get(one.id)
        if one.type == "table":
            for number, row in enumerate(value or ()):
                typed |= {f"{one.id}.{number}.{name}": domain.texts(cell) for name, cell in row.items()}
        else:
            typed[one.id] = domain.texts(value)
    return typed
