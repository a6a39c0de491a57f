"""What units owe, what they report and what the office decides about it (DESIGN §5.2). The caller opens the transaction."""

from collections.abc import Awaitable, Callable, Collection, Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta, tzinfo
from typing import Any, Literal, NamedTuple
from uuid import UUID, uuid4

import structlog
from pydantic import ValidationError

from services.reporting.definition import Definition
from services.reporting.obligations import domain, receipts, store, values
from services.reporting.obligations.domain import (
    Change,
    Figure,
    Obligation,
    ObligationKey,
    Owed,
    Report,
    State,
    Tally,
    is_above,
    timeliness,
)
from services.reporting.obligations.forms import Forms
from services.reporting.obligations.opening import owing_units
from services.reporting.obligations.pictures import usecases as pictures
from services.reporting.obligations.store import Filters, Position
from shared.bus import outbox
from shared.contracts.campaign_forms import Form
from shared.contracts.campaign_forms_reading import read_forms
from shared.contracts.checkin import FormsDefinedV1
from shared.contracts.reporting import (
    ReportDueSoonV1,
    ReportExcusedV1,
    ReportOverdueV1,
    ReportReturnedV1,
    ReportSubmittedV1,
)
from shared.database import Transaction
from shared.definitions import Definitions
from shared.failures import Poison
from shared.ids import new_event_id
from shared.service.refusals import Refused
from shared.service.tokens import Principal

log = structlog.get_logger()

DUE_SOON = timedelta(minutes=30)  # before the due time, `ReportDueSoonV1` is raised
PERIODS_AT_ONCE_MAX = 20
REMINDERS_LATE = timedelta(minutes=5)


Kept = Callable[[Transaction, ObligationKey, datetime], Awaitable[None]]


async def _nobody_looks(_tx: Transaction, _key: ObligationKey, _now: datetime) -> None:
    pass


@dataclass(frozen=True)
class Known:
    """What use cases read beside the database: the definitions and the forms of all campaigns. `report_kept` is called in the
    transaction that keeps a version of a report."""

    definitions: Definitions[Definition]
    forms: Forms = field(default_factory=Forms)
    report_kept: Kept = _nobody_looks


@dataclass(frozen=True)
class Sender:
    """Who sends a report: a person with a token or a session, or a device that is bound to a unit. `unit`: what it is bound to;
    None is the whole campaign."""

    subject: str
    role: str
    unit: str | None

    @classmethod
    def of(cls, principal: Principal) -> "Sender":
        return cls(principal.subject, principal.role, principal.unit)


@dataclass(frozen=True)
class Submission:
    """`based_on_version`: the version that was open when the report was written, None for a first one. `reasons`: field → why its
    running total fell. `reason`: why the office corrects what a unit has reported."""

    submission_id: UUID
    values: Mapping[str, Any]
    based_on_version: int | None = None
    reasons: Mapping[str, Any] = field(default_factory=dict)
    reason: str | None = None


# ---- forms -----------------------------------------------------------------------------------------------------------


async def keep_forms(tx: Transaction, known: Known, event: FormsDefinedV1) -> None:
    """Keeps the forms of one revision. Periods that opened before it keep the forms of before. Raises `Poison` where the forms
    cannot be read, since every later question about them would fail.

    Values that only a newer version knows can be read: they are left out and counted (`forms_unknown`)."""
    try:
        read_forms(event.forms, event.indicators)
    except ValidationError as error:
        at = ".".join(str(part) for part in error.errors()[0]["loc"]) or "the whole"
        raise Poison(f"forms cannot be read: {error.error_count()} faults, first {at}") from None
    await open_periods_of(tx, known, event.campaign_id, event.occurred_at)
    await store.keep_forms(tx, event)


async def units_that_fill(tx: Transaction, known: Known, campaign_id: str) -> list[str]:
    """The units that fill any form in force, in the order of the campaign's units."""
    definition = await known.definitions.in_force(tx, campaign_id)
    read = await known.forms.in_force(tx, campaign_id)
    forms = read.forms if read else ()
    units = definition.units if definition else ()
    return [unit.unit_code for unit in units if any(form.filled_by.includes(unit) for form in forms)]


async def forms_unknown(tx: Transaction) -> dict[str, int]:
    """Campaign → how many values in its forms this version does not know and leaves out, 0 included."""
    return {
        revision.campaign_id: len(read_forms(revision.forms, revision.indicators).unknown)
        for revision in await store.forms_in_force(tx)
    }


# ---- periods open ----------------------------------------------------------------------------------------------------


async def open_periods(tx: Transaction, known: Known, now: datetime) -> int:
    """Makes the obligations of periods that have opened; returns how many periods, at most `PERIODS_AT_ONCE_MAX` a campaign."""
    return sum(
        [await open_periods_of(tx, known, campaign_id, now) for campaign_id in await store.newest_forms(tx)], start=0
    )


async def open_periods_of(tx: Transaction, known: Known, campaign_id: str, now: datetime) -> int:
    """As `open_periods`, for one campaign. Also called before a new definition takes effect: what opened earlier keeps the rules
    of before, however late that is noticed."""
    newest = (await store.newest_forms(tx)).get(campaign_id)
    definition = await known.definitions.in_force(tx, campaign_id)
    if newest is None or definition is None:
        return 0
    plan = await known.forms.plan(tx, campaign_id, newest, definition)
    due = [opening for opening in plan if opening.opens_at <= now]
    if not due:
        return 0
    opened = await store.opened_periods(tx, campaign_id)
    waiting = [one for one in due if one.due is not None and (one.form.id, one.period) not in opened]
    for opening in waiting[:PERIODS_AT_ONCE_MAX]:
        await store.open_period(tx, campaign_id, opening, owing_units(opening, definition.units))
    return len(waiting[:PERIODS_AT_ONCE_MAX])


# ---- reports ---------------------------------------------------------------------------------------------------------


async def submit(
    tx: Transaction, known: Known, sender: Sender, key: ObligationKey, submission: Submission, now: datetime
) -> Report:
    """Keeps a version of a report; the same `submission_id` again is answered with the version that it made.

    Refused as `nothing-owed`, `period-locked`, `stale-version` (with the version that is there), `reason-missing` and
    `values-wrong` (with every fault)."""
    obligation = await store.obligation(tx, key, lock=True)
    if obligation is None:
        raise Refused("nothing-owed", await _why_nothing_is_owed(tx, known, key), subject=key.unit_code)
    if earlier := await store.report_of_submission(tx, key, submission.submission_id):
        return earlier
    if now >= obligation.locks_at:
        raise Refused("period-locked", "如需补报，请联系反诈办重新开放", locked_at=obligation.locks_at.isoformat())
    if (submission.based_on_version or 0) != obligation.version:
        raise await _stale(tx, obligation, submission)
    kind = _kind(sender, obligation, submission)
    form = await known.forms.of_obligation(tx, obligation)
    facts = await facts_about(tx, known, obligation, form, submission.reasons)
    facts = replace(facts, sent_up=await _sent_up(tx, key, form, submission, now))
    checked = values.check(form, submission.values, facts)
    if checked.faults:
        errors = [{"field": fault.at, "message": fault.text} for fault in checked.faults]
        raise Refused("values-wrong", errors=errors)
    version = obligation.version + 1
    report = Report(
        version=version,
        submission_id=submission.submission_id,
        number=receipts.new_number(),
        values=checked.values,
        reasons=checked.reasons,
        sha256=receipts.digest(key, version, now, checked.values),
        submitted_at=now,
        due_at=obligation.due_at,
        state=timeliness(obligation.submitted_at or now, obligation.on_time_until),
        kind=kind,
        actor=sender.subject,
        reason=submission.reason,
    )
    await store.add_report(tx, key, report)
    shown = [UUID(text) for text in values.ids_given(form, checked.values, "pictures")]
    await pictures.use_in_report(tx, known.definitions, key.campaign_id, key.unit_code, shown, now)
    await outbox.add(tx, _submitted(obligation, version, now))
    await known.report_kept(tx, key, now)
    return report


async def _sent_up(
    tx: Transaction, key: ObligationKey, form: Form, submission: Submission, now: datetime
) -> frozenset[str]:
    """Those ids in the report that are pictures of the unit. Files have no store so far: their ids are taken as they are."""
    given = values.ids_given(form, submission.values, "pictures")
    ids = [UUID(text) for text in given if pictures.is_id(text)]
    kept = await pictures.known_pictures(tx, key.campaign_id, key.unit_code, ids, now) if ids else ()
    return frozenset(map(str, kept)) | values.ids_given(form, submission.values, "file")


def _kind(sender: Sender, obligation: Obligation, submission: Submission) -> domain.Kind:
    """The unit itself submits; a unit above it, or the office, submits on its behalf; it corrects what is there with a reason."""
    if sender.role == "liaison" and sender.unit == obligation.unit_code:
        return "submitted"
    if obligation.version == 0 or obligation.is_owed():
        return "on_behalf"
    if not submission.reason:
        raise Refused("reason-missing", "更正已有的报表要写明原因")
    return "corrected"


async def _stale(tx: Transaction, obligation: Obligation, submission: Submission) -> Refused:
    kept = (await store.reports(tx, obligation.key))[-1:]
    return Refused(
        "stale-version",
        "这份报表已有新的版本，请核对后再提交",
        based_on_version=submission.based_on_version,
        version=obligation.version,
        current=kept[0].values if kept else None,
        yours=dict(submission.values),
    )


async def facts_about(
    tx: Transaction, known: Known, obligation: Obligation, form: Form, reasons: Mapping[str, Any]
) -> values.Facts:
    """What a report's values are compared with: the unit's headcount, its last running totals, and rows filled in beforehand."""
    definition = await known.definitions.in_force(tx, obligation.campaign_id)
    unit = None if definition is None else definition.tree.unit(obligation.unit_code)
    before = await store.latest_values(
        tx, obligation.campaign_id, obligation.form, [obligation.unit_code], before=obligation.opened_at
    )
    last_totals: dict[str, Any] = {}
    for _, _, reported in before:
        last_totals |= reported
    rows = {} if definition is None else rows_beforehand(definition, form, obligation.unit_code)
    return values.Facts(headcount=unit.headcount if unit else None, last_totals=last_totals, reasons=reasons, rows=rows)


def rows_beforehand(definition: Definition, form: Form, unit_code: str) -> dict[str, dict[str, str]]:
    """Table → key → name of the rows that are filled in beforehand for a unit; tables of which nobody knows the rows are left
    out."""
    tables = [field.id for field in form.fields if field.rows == "children"]
    if not tables:
        return {}
    children = {unit.unit_code: unit.name for unit in definition.units if unit.parent_code == unit_code}
    return dict.fromkeys(tables, children)


async def _why_nothing_is_owed(tx: Transaction, known: Known, key: ObligationKey) -> str:
    """What to tell somebody who reports what nobody asked for (zh-Hans)."""
    read = await known.forms.in_force(tx, key.campaign_id)
    form = next((one for one in (read.forms if read else ()) if one.id == key.form), None)
    if form is None:
        return f"这个活动没有表 {key.form}"
    if (key.form, key.period) in await store.opened_periods(tx, key.campaign_id):
        return f"{form.title}的 {key.period} 这一期不用这个单位填报"
    return f"{form.title}没有 {key.period} 这一期，或还没有开始"


async def owed_by(
    tx: Transaction, known: Known, campaign_id: str, unit_codes: Collection[str]
) -> list[tuple[Owed, Report | None]]:
    """What the units still have to send, by when it is due, each with the form as it was when its period opened, and its last
    report where that was returned."""
    owed = []
    for one in domain.still_owed(await store.of_units(tx, campaign_id, unit_codes)):
        form = await known.forms.of_obligation(tx, one)
        last = (await store.reports(tx, one.key))[-1] if one.version else None
        owed.append((Owed(one, form), last))
    return owed


async def settled_of(tx: Transaction, known: Known, campaign_id: str, unit_code: str) -> list[Owed]:
    """What a unit has reported or was let off, what was due last first."""
    settled = [one for one in await store.of_units(tx, campaign_id, [unit_code]) if not one.is_owed()]
    return [Owed(one, await known.forms.of_obligation(tx, one)) for one in reversed(settled)]


async def history_of(tx: Transaction, known: Known, key: ObligationKey) -> tuple[Owed, list[Report], list[Change]]:
    """An obligation with all versions of its report and all decisions. Refused as `nothing-owed`."""
    obligation = await store.obligation(tx, key)
    if obligation is None:
        raise Refused("nothing-owed", await _why_nothing_is_owed(tx, known, key), subject=key.unit_code)
    form = await known.forms.of_obligation(tx, obligation)
    return Owed(obligation, form), await store.reports(tx, key), await store.changes(tx, key)


async def reported(
    tx: Transaction, campaign_id: str, forms: Sequence[str], units: Collection[str] | None, period: str | None
) -> dict[str, dict[str, dict[str, dict[str, Any]]]]:
    """Unit → form → period → the values that stand, periods in the order in which they opened. `units` None: of all."""
    found: dict[str, dict[str, dict[str, dict[str, Any]]]] = {}
    for form in forms:
        for unit_code, its_period, kept in await store.latest_values(tx, campaign_id, form, units):
            if period in (None, its_period):
                found.setdefault(unit_code, {}).setdefault(form, {})[its_period] = kept
    return found


async def reported_before(tx: Transaction, obligation: Obligation) -> list[dict[str, Any]]:
    """What the unit has last reported for each earlier period of the form, the last one last."""
    key = obligation.key
    rows = await store.latest_values(tx, key.campaign_id, key.form, [key.unit_code], before=obligation.opened_at)
    return [reported for _, _, reported in rows]


async def report_of_receipt(tx: Transaction, typed: str) -> tuple[tuple[ObligationKey, Report] | None, int]:
    """The report of a receipt's number as a person types it, and the newest version that there is; (None, 0) where there is
    none."""
    number = receipts.number_as_kept(typed)
    known = None if number is None else await store.report_of_number(tx, number)
    newest = None if known is None else await store.obligation(tx, known[0])
    return known, newest.version if newest else 0


# ---- the liaison -----------------------------------------------------------------------------------------------------


async def file_naming(
    tx: Transaction, known: Known, sender: Sender, campaign_id: str, unit_code: str, named_at: datetime, now: datetime
) -> int:
    """Files what the unit owes of forms that ask for its liaison: `named_at` is the answer to all of their dates.
    Returns how many reports. What is locked, or needs more than a date, stays owed: naming must not fail for it."""
    definition = await _definition(tx, known, campaign_id)
    named_on = named_at.astimezone(definition.zone).date().isoformat()
    filed = 0
    for obligation in await store.of_units(tx, campaign_id, [unit_code]):
        form = await known.forms.of_obligation(tx, obligation)
        if form.asks != "liaison" or not obligation.is_owed():
            continue
        dates = {one.id: named_on for one in form.fields if one.type == "date"}
        submission = Submission(uuid4(), dates, obligation.version or None)
        try:
            await submit(tx, known, sender, obligation.key, submission, now)
            filed += 1
        except Refused as refused:
            log.warning("naming a liaison filed no report", campaign=campaign_id, form=form.id, reason=refused.name)
    return filed


async def units_asked_for_liaison(tx: Transaction, known: Known, campaign_id: str, now: datetime) -> list[str]:
    """The units that owe a form that asks for their liaison, have reported nothing for it yet, and still may."""
    read = await known.forms.in_force(tx, campaign_id)
    asking = [form.id for form in (read.forms if read else ()) if form.asks == "liaison"]
    return await store.units_without_report(tx, campaign_id, asking, now) if asking else []


# ---- decisions -------------------------------------------------------------------------------------------------------


async def send_back(
    tx: Transaction,
    known: Known,
    principal: Principal,
    key: ObligationKey,
    *,
    reason: str,
    due_at: datetime,
    empty: bool,
    now: datetime,
) -> Obligation:
    """Returns the last report with a reason and a new deadline. `empty`: it counts as none, so that the next one decides
    timeliness. Refused as `nothing-reported`, `due-in-the-past`, `not-above`."""
    obligation = await _to_decide(tx, known, principal, key)
    if obligation.version == 0 or obligation.returned_at is not None:
        raise Refused("nothing-reported")
    if due_at <= now:
        raise Refused("due-in-the-past")
    await store.return_report(tx, key, now, reason, due_at, empty=empty)
    await _decided(tx, obligation, "returned", principal, reason, now, due_at)
    await outbox.add(tx, ReportReturnedV1(**_meta(obligation, now, due_at)))
    return await _now(tx, key)


async def excuse(
    tx: Transaction,
    known: Known,
    principal: Principal,
    key: ObligationKey,
    *,
    reason: str,
    owed_again: bool,
    now: datetime,
) -> Obligation:
    """Lets a unit off one report (免报), or takes that back."""
    obligation = await _to_decide(tx, known, principal, key)
    if owed_again is (obligation.excused_at is None):
        return obligation
    await store.excuse(tx, key, None if owed_again else now, None if owed_again else reason)
    await _decided(tx, obligation, "owed_again" if owed_again else "excused", principal, reason, now)
    await outbox.add(tx, ReportExcusedV1(**_meta(obligation, now, obligation.next_due_at), owed_again=owed_again))
    return await _now(tx, key)


async def approve(
    tx: Transaction, known: Known, principal: Principal, key: ObligationKey, *, version: int, now: datetime
) -> Obligation:
    """Approves the last report, which changes neither its state nor its timeliness. Refused as `nothing-reported`,
    `stale-version`, `no-approval-asked`, `not-above`."""
    obligation = await _to_decide(tx, known, principal, key)
    form = await known.forms.of_obligation(tx, obligation)
    read = await known.forms.in_force(tx, key.campaign_id)
    asked = [form, *(one for one in (read.forms if read else ()) if one.id == form.id)]
    if all(one.approval == "none" for one in asked):
        raise Refused("no-approval-asked", subject=form.title)
    if obligation.version == 0 or obligation.returned_at is not None:
        raise Refused("nothing-reported")
    if version != obligation.version:
        raise Refused("stale-version", "这份报表已有新的版本，请核对后再审核", version=obligation.version)
    if obligation.approved_at is None:
        await store.approve(tx, key, now)
        await _decided(tx, obligation, "approved", principal, None, now)
    return await _now(tx, key)


async def reopen(
    tx: Transaction,
    known: Known,
    principal: Principal,
    key: ObligationKey,
    *,
    reason: str,
    until: datetime,
    now: datetime,
) -> Obligation:
    """Takes reports again until a new time, after or before the lock. Refused as `due-in-the-past`, `not-above`."""
    obligation = await _to_decide(tx, known, principal, key)
    if until <= now:
        raise Refused("due-in-the-past")
    await store.reopen(tx, key, max(until, obligation.locks_at))
    await _decided(tx, obligation, "reopened", principal, reason, now, until)
    return await _now(tx, key)


async def _to_decide(tx: Transaction, known: Known, principal: Principal, key: ObligationKey) -> Obligation:
    """The obligation, locked. Refused unless the person stands above the unit: nobody decides about their own report."""
    definition = await _definition(tx, known, key.campaign_id)
    if not is_above(definition.tree, principal.unit, key.unit_code):
        raise Refused("not-above")
    obligation = await store.obligation(tx, key, lock=True)
    if obligation is None:
        raise Refused("nothing-owed", await _why_nothing_is_owed(tx, known, key), subject=key.unit_code)
    return obligation


async def _decided(
    tx: Transaction,
    obligation: Obligation,
    what: str,
    principal: Principal,
    reason: str | None,
    now: datetime,
    due_at: datetime | None = None,
) -> None:
    await store.add_change(tx, obligation.key, Change(now, what, obligation.version, principal.subject, reason, due_at))


async def _now(tx: Transaction, key: ObligationKey) -> Obligation:
    obligation = await store.obligation(tx, key)
    assert obligation is not None  # noqa: S101 - it was locked in this transaction
    return obligation


# ---- reminders -------------------------------------------------------------------------------------------------------


async def raise_due_soon(tx: Transaction, now: datetime) -> int:
    """Says, once for a unit and due time, what is due within `DUE_SOON`; returns how many obligations that were."""
    await store.raise_alone(tx)
    return await _raise(tx, ReportDueSoonV1, "due_soon", await store.soon_due(tx, now, now + DUE_SOON), now)


async def raise_overdue(tx: Transaction, now: datetime) -> int:
    """Says, once for a unit and due time, what is past its time; returns how many obligations that were."""
    await store.raise_alone(tx)
    return await _raise(tx, ReportOverdueV1, "overdue", await store.overdue(tx, now), now)


async def _raise(
    tx: Transaction,
    event: type[ReportDueSoonV1] | type[ReportOverdueV1],
    kind: str,
    owed: Sequence[store.ToTell],
    now: datetime,
) -> int:
    if not owed:
        return 0
    together: dict[tuple[str, str, datetime], list[store.ToTell]] = {}
    for one in owed:
        together.setdefault((one.campaign_id, one.unit_code, one.due_at), []).append(one)
    fresh = await store.raised_now(tx, together.keys(), kind, now)
    events = [
        event(
            event_id=new_event_id(),
            occurred_at=now,
            campaign_id=campaign_id,
            unit_code=unit_code,
            due_at=due_at,
            forms=[one.form for one in rows],
            periods=[one.period for one in rows],
        )
        for (campaign_id, unit_code, due_at), rows in together.items()
        if (campaign_id, unit_code, due_at) in fresh
    ]
    await outbox.add(tx, *events)
    await store.mark_told(tx, owed, kind)
    return len(owed)


def _submitted(obligation: Obligation, version: int, now: datetime) -> ReportSubmittedV1:
    return ReportSubmittedV1(**_meta(obligation, now, obligation.next_due_at), versions=[version])


def _meta(obligation: Obligation, now: datetime, due_at: datetime) -> dict[str, Any]:
    return {
        "event_id": new_event_id(),
        "occurred_at": now,
        "campaign_id": obligation.campaign_id,
        "unit_code": obligation.unit_code,
        "forms": [obligation.form],
        "periods": [obligation.period],
        "due_at": due_at,
    }


# ---- questions -------------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Question:
    """Which obligations: `unit` with all below it; None: all that the asking person may see. `row`: only what the rates by unit,
    county or city count in the unit's row."""

    campaign_id: str
    unit: str | None = None
    form: str | None = None
    period: str | None = None
    row: Literal["unit", "county", "city"] | None = None


async def obligations(
    tx: Transaction,
    known: Known,
    principal: Principal,
    question: Question,
    *,
    state: State | None,
    now: datetime,
    after: Position | None,
    limit: int,
) -> tuple[list[Obligation], dict[str, int]]:
    """A page of obligations by due time, and how many there are by state, whatever `state` the page is of."""
    filters = await filters_of(tx, known, principal, question)
    rows = await store.page(tx, now, filters, state, after, limit)
    return rows, dict.fromkeys(domain.STATES, 0) | await store.counts(tx, now, filters)


async def names_of(tx: Transaction, known: Known, campaign_id: str) -> dict[str, str]:
    """Names of units by code, titles of forms by id."""
    definition = await _definition(tx, known, campaign_id)
    read = await known.forms.in_force(tx, campaign_id)
    titles = {form.id: form.title for form in read.forms} if read else {}
    return titles | {unit.unit_code: unit.name for unit in definition.units}


async def zone_of(tx: Transaction, known: Known, campaign_id: str) -> tzinfo:
    return (await _definition(tx, known, campaign_id)).zone


async def rates(
    tx: Transaction, known: Known, principal: Principal, question: Question, *, by: str, now: datetime
) -> tuple[list[tuple[str, str | None, Tally]], Tally]:
    """Reporting and on-time rates: (key, name, sums) by unit, subtree, county, city, form or period, and the sum of all. Rows of
    units stand in the tree's order; units that owe nothing are left out."""
    filters = await filters_of(tx, known, principal, question)
    definition = await _definition(tx, known, question.campaign_id)
    tree = definition.tree
    sums = await store.tallies(tx, now, filters, by if by in ("form", "period") else "unit_code")
    whole = domain.added(tally for _, tally in sums)
    if by in ("form", "period"):
        names = await names_of(tx, known, question.campaign_id) if by == "form" else {}
        return [(key, names.get(key), tally) for key, tally in sums], whole
    if by in ("county", "city"):
        sums = list(
            domain.rolled_up(sums, tree.rolled_up("county" if by == "county" else "city", principal.unit)).items()
        )
    elif by == "subtree":
        sums = list(domain.by_subtree(sums, tree, principal.unit).items())
    named = [(code, unit.name if (unit := tree.unit(code)) else None, tally) for code, tally in sums]
    return sorted(named, key=lambda row: tree.order(row[0])), whole


async def by_county(tx: Transaction, known: Known, now: datetime) -> dict[tuple[str, str, str], Tally]:
    """(campaign, form, county) → sums of all campaigns; what hangs above the counties stands under its own code."""
    sums: dict[tuple[str, str, str], Tally] = {}
    counties: dict[str, Mapping[str, str]] = {}
    for campaign_id, form, unit_code, tally in await store.tallies_of_forms(tx, now):
        if campaign_id not in counties:
            definition = await known.definitions.in_force(tx, campaign_id)
            counties[campaign_id] = definition.tree.rolled_up("county") if definition else {}
        key = campaign_id, form, counties[campaign_id].get(unit_code, unit_code)
        sums[key] = sums.get(key, Tally()).plus(tally)
    return sums


class Waiting(NamedTuple):
    """Of one campaign: reports due within an hour and still owed; reminders that should have been raised; periods of which nobody
    knows when their reports are due."""

    due_soon: int
    untold: int
    without_due_time: int


async def waiting(tx: Transaction, known: Known, now: datetime) -> dict[str, Waiting]:
    counted = await store.waiting(tx, now, now + timedelta(hours=1), now - REMINDERS_LATE)
    answer = {}
    for campaign_id, newest in (await store.newest_forms(tx)).items():
        definition = await known.definitions.in_force(tx, campaign_id)
        plan = await known.forms.plan(tx, campaign_id, newest, definition) if definition else []
        unknown = sum(opening.due is None for opening in plan)
        answer[campaign_id] = Waiting(*counted.get(campaign_id, (0, 0)), unknown)
    return answer


class Overview(NamedTuple):
    """What the desk opens on: rates by county with the sum of all, what is due before a time, what was returned, and all units
    that owe or owed something."""

    rows: list[tuple[str, str | None, Tally]]
    whole: Tally
    due: int
    returned: int
    units: list[str]


async def overview(
    tx: Transaction, known: Known, principal: Principal, campaign_id: str, *, now: datetime, due_before: datetime
) -> Overview:
    """As `rates` by county, with what waits, in one look at the table."""
    filters = await filters_of(tx, known, principal, Question(campaign_id))
    tree = (await _definition(tx, known, campaign_id)).tree
    units = await store.tallies_and_waiting(tx, now, filters, due_before)
    counties = domain.rolled_up(((unit, tally) for unit, tally, *_ in units), tree.rolled_up("county", principal.unit))
    named = [(code, unit.name if (unit := tree.unit(code)) else None, tally) for code, tally in counties.items()]
    return Overview(
        sorted(named, key=lambda row: tree.order(row[0])),
        domain.added(counties.values()),
        sum(due for *_, due, _ in units),
        sum(returned for *_, returned in units),
        sorted((unit for unit, *_ in units), key=tree.order),
    )


async def count(
    tx: Transaction,
    known: Known,
    principal: Principal,
    question: Question,
    figure: Figure,
    *,
    now: datetime,
    due_before: datetime | None = None,
) -> int:
    """How many obligations a figure counts. `due_before`: only what is due earlier."""
    return await store.count(tx, now, await filters_of(tx, known, principal, question), figure, due_before)


async def counted(
    tx: Transaction,
    known: Known,
    principal: Principal,
    question: Question,
    figure: Figure,
    *,
    now: datetime,
    due_before: datetime | None = None,
    after: tuple[datetime, str, str, str] | None,
    limit: int,
) -> list[Obligation]:
    """A page of the obligations that a figure counts, by due time; the page begins after this due time, form, period and unit."""
    filters = await filters_of(tx, known, principal, question)
    position = None if after is None else Position(*after)
    return await store.counted(tx, now, filters, figure, due_before, position, limit)


async def units_counted(
    tx: Transaction,
    known: Known,
    principal: Principal,
    question: Question,
    figure: Figure,
    *,
    now: datetime,
    due_before: datetime | None = None,
) -> list[str]:
    """Codes of the units of which a figure counts something, each once."""
    return await store.units_counted(tx, now, await filters_of(tx, known, principal, question), figure, due_before)


async def of_unit(tx: Transaction, campaign_id: str, unit_code: str) -> list[Obligation]:
    """All that a unit owes or owed, by due time."""
    return await store.of_units(tx, campaign_id, [unit_code])


async def last_values(
    tx: Transaction, known: Known, campaign_id: str, unit_code: str
) -> list[tuple[Form, dict[str, dict[str, Any]]]]:
    """The campaign's forms, each with what the unit has last reported for each of its periods."""
    read = await known.forms.in_force(tx, campaign_id)
    return [
        (
            form,
            {
                period: reported
                for _, period, reported in await store.latest_values(tx, campaign_id, form.id, [unit_code])
            },
        )
        for form in (read.forms if read else ())
    ]


async def opened(tx: Transaction, known: Known, campaign_id: str) -> tuple[dict[str, str], list[str]]:
    """What can be asked for: titles of the forms by id, and the periods that have opened, the newest first."""
    read = await known.forms.in_force(tx, campaign_id)
    periods = await store.opened_periods(tx, campaign_id)
    titles = {form.id: form.title for form in read.forms} if read else {}
    forms = titles | {form: form for form, _ in sorted(periods) if form not in titles}
    return forms, sorted({period for _, period in periods}, reverse=True)


async def filters_of(tx: Transaction, known: Known, principal: Principal, question: Question) -> Filters:
    """Everything is read through this: the units of the question that the asking person may see. Refused as `no-such-unit` for
    one that does not exist, and for one out of reach."""
    definition = await _definition(tx, known, question.campaign_id)
    scope = None
    if principal.unit is not None:
        if principal.unit not in definition.tree:
            raise Refused("unit-not-in-campaign")
        scope = definition.tree.subtree(principal.unit)
    units: Collection[str] | None = scope
    if question.unit is not None:
        if question.unit not in definition.tree or (scope is not None and question.unit not in scope):
            raise Refused("no-such-unit", subject=question.unit)
        units = definition.tree.subtree(question.unit)
        if question.row == "unit":
            units = [question.unit]
        elif question.row is not None:
            row_of = definition.tree.rolled_up(question.row, principal.unit)
            units = [code for code in units if row_of[code] == question.unit]
    return Filters(question.campaign_id, units, question.form, question.period)


async def _definition(tx: Transaction, known: Known, campaign_id: str) -> Definition:
    definition = await known.definitions.in_force(tx, campaign_id)
    if definition is None:
        raise Refused("no-such-campaign", f"这里没有活动 {campaign_id} 的定义")
    return definition
