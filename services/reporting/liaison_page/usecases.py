"""What the liaison's page asks and does: what a unit owes as it is shown, and reports as they were typed. The caller opens the
transactions: each report has one of its own, so that a fault in one does not keep back the others."""

from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import UTC, date, datetime, tzinfo
from typing import Any, Final, NamedTuple, Protocol
from uuid import UUID, uuid4

from services.reporting.definition import Definition
from services.reporting.liaison_page import domain
from services.reporting.liaison_page.domain import CORRECTING, Fault, Row, Task, Typed
from services.reporting.liaisons import usecases as liaisons
from services.reporting.liaisons.domain import ContactUnusable, Masks, Post, contact
from services.reporting.liaisons.keys import LiaisonKeys
from services.reporting.obligations import usecases as obligations
from services.reporting.obligations import values
from services.reporting.obligations.domain import ObligationKey, Owed, Report
from services.reporting.obligations.usecases import Known, Sender, Submission
from services.reporting.totals import usecases as totals
from shared.contracts.campaign_forms import Form
from shared.database import Transaction
from shared.service.refusals import Refused
from shared.service.tokens import Principal

PAST_SHOWN_MAX = 60  # reports in the list of those that are in, the newest first
LIAISON: Final = "liaison"  # role, and who a report is by: a bound phone tells no name


class DeviceUnit(Protocol):
    """A unit for which a phone may report."""

    @property
    def campaign_id(self) -> str: ...
    @property
    def unit_code(self) -> str: ...


class Place(NamedTuple):
    """A unit that a phone reports for, as its campaign names it, with what it still has to send."""

    campaign_id: str
    unit_code: str
    definition: Definition
    owed: Sequence[tuple[Owed, Report | None]]

    @property
    def key(self) -> str:
        return f"{self.campaign_id}/{self.unit_code}"

    @property
    def name(self) -> str:
        unit = self.definition.tree.unit(self.unit_code)
        return unit.name if unit else self.unit_code


@dataclass(frozen=True)
class Sent:
    """What became of one report. `task`: as it is shown again where it was not taken; else `refusal` says why."""

    title: str
    submission_id: str = ""
    report: Report | None = None
    task: Task | None = None
    refusal: str = ""
    recorded: str = ""  # the unit's own check-ins, shown to who has reported


# ---- what is shown ---------------------------------------------------------------------------------------------------


async def places(tx: Transaction, known: Known, units: Sequence[DeviceUnit]) -> list[Place]:
    """The units of a phone, those first that have to send something soonest. Units of campaigns that are not there any more are
    left out."""
    definitions = await known.definitions.of(tx, {unit.campaign_id for unit in units})
    shown: list[Place] = []
    for campaign_id, definition in definitions.items():
        codes = [unit.unit_code for unit in units if unit.campaign_id == campaign_id]
        owed = await obligations.owed_by(tx, known, campaign_id, codes)
        for code in codes:
            theirs = [one for one in owed if one[0].obligation.unit_code == code]
            shown.append(Place(campaign_id, code, definition, theirs))
    return sorted(shown, key=_urgency)


def _urgency(place: Place) -> tuple[bool, datetime | None, str]:
    first = min((owed.obligation.next_due_at for owed, _ in place.owed), default=None)
    return (first is None, first, place.key) if first else (True, None, place.key)


async def tasks(tx: Transaction, known: Known, place: Place, now: datetime) -> list[Task]:
    """The reports that the unit still has to send; one that was returned with what stood in it."""
    return [await task_of(tx, known, owed, last, now) for owed, last in place.owed]


async def task_of(tx: Transaction, known: Known, owed: Owed, last: Report | None, now: datetime) -> Task:
    """A report to be filled in. `last`: the one that it follows, with whose values it begins."""
    obligation, form = owed
    facts = await obligations.facts_about(tx, known, obligation, form, {})
    typed = domain.inputs(form, last.values if last else {})
    state = obligation.state(now)
    return Task(
        form=form,
        period=obligation.period,
        period_text=domain.period_text(form, obligation.period),
        due_at=obligation.next_due_at,
        state=state if obligation.is_owed() else CORRECTING,
        version=obligation.version,
        submission_id=uuid4(),
        typed=typed,
        rows=_rows(form, typed, facts.rows),
        hints=_hints(form, facts),
        returned=(obligation.return_reason or "") if state == "returned" else "",
    )


def _rows(form: Form, typed: Typed, known: Mapping[str, Mapping[str, str]], more: str = "") -> dict[str, list[Row]]:
    """The rows of the form's tables: those filled in beforehand, or as many as there is something in. `more`: the table that gets
    one more."""
    rows: dict[str, list[Row]] = {}
    for one in form.fields:
        if one.type != "table":
            continue
        given = known.get(one.id)
        if one.rows == "free" or given is None:
            rows[one.id] = domain.free_rows(typed, one.id, more=int(more == one.id))
        else:
            rows[one.id] = [Row(number, key, name) for number, (key, name) in enumerate(given.items())]
    return rows


def _hints(form: Form, facts: values.Facts) -> dict[str, str]:
    hints = {
        one.id: f"上次累计 {facts.last_totals[one.id]}"
        for one in form.fields
        if one.kind == "running_total" and facts.last_totals.get(one.id) is not None
    }
    if facts.headcount is not None:
        hints |= {
            check.field: f"本单位 {facts.headcount} 人"
            for check in form.checks
            if check.field and check.at_most == "headcount"
        }
    return hints


async def correction(tx: Transaction, known: Known, place: Place, key: str, now: datetime) -> Task | None:
    """A report that is in, to be corrected; None where there is none or nothing is taken any more."""
    owed, reports, _ = await obligations.history_of(tx, known, key_of(place, key))
    if not reports or now >= owed.obligation.locks_at:
        return None
    return await task_of(tx, known, owed, reports[-1], now)


async def recorded(tx: Transaction, known: Known, place: Place, form: Form, period: str, now: datetime) -> str:
    """The unit's own check-ins of the lesson that a report is about, in words; never shown before the unit has reported. Empty
    where the form is not about a lesson."""
    if form.every != "lesson" or date.fromisoformat(period) not in place.definition.lessons:
        return ""
    principal = Principal(LIAISON, LIAISON, place.campaign_id, place.unit_code)
    found = await totals.totals(
        tx,
        known.definitions,
        principal,
        place.campaign_id,
        by="mode",
        lesson=date.fromisoformat(period),
        mode=None,
        now=now,
    )
    return f"平台记录：本单位 {found.sum.viewers} 人签到"


async def past(tx: Transaction, known: Known, place: Place) -> list[Owed]:
    """The unit's reports that are in, and what it was let off, the newest first."""
    return (await obligations.settled_of(tx, known, place.campaign_id, place.unit_code))[:PAST_SHOWN_MAX]


# ---- what is sent ----------------------------------------------------------------------------------------------------


def key_of(place: Place, key: str) -> ObligationKey:
    """The obligation that `Task.key` means. Refused as `nothing-owed`."""
    form, slash, period = key.partition("/")
    if not slash:
        raise Refused("nothing-owed", subject=place.unit_code)
    return ObligationKey(place.campaign_id, form, period, place.unit_code)


async def send(tx: Transaction, known: Known, place: Place, key: str, typed: Typed, now: datetime) -> Sent:
    """Sends one report as it was typed. Raises `Refused`, where `as_refused` says how it is shown."""
    owed, _, _ = await obligations.history_of(tx, known, key_of(place, key))
    submission = _submission(owed.form, typed)
    sender = Sender(LIAISON, LIAISON, place.unit_code)
    report = await obligations.submit(tx, known, sender, owed.obligation.key, submission, now)
    told = await recorded(tx, known, place, owed.form, owed.obligation.period, now)
    return Sent(title_of(owed), str(submission.submission_id), report, recorded=told)


def _submission(form: Form, typed: Typed) -> Submission:
    pairs = [(at, text) for at, texts in typed.items() for text in texts]
    version = first(typed, "_version")
    try:
        submission_id = UUID(first(typed, "_submission_id"))
    except ValueError:
        raise Refused("form-incomplete") from None
    return Submission(
        submission_id,
        values.from_form(form, pairs),
        int(version) if version.isdecimal() and len(version) < 10 else None,
        values.reasons_from(pairs),
    )


def first(typed: Typed, at: str) -> str:
    return next(iter(typed.get(at, ())), "")


async def as_refused(
    tx: Transaction, known: Known, place: Place, key: str, typed: Typed, refused: Refused, title: str, now: datetime
) -> Sent:
    """A report that was not taken, as it is shown again with what was typed and why. `title`: of the refusal."""
    try:
        owed, reports, _ = await obligations.history_of(tx, known, key_of(place, key))
    except Refused:
        return Sent(key, refusal=refused.detail or title)
    task = await task_of(tx, known, owed, reports[-1] if reports else None, now)
    text = f"{title}。{refused.detail}" if refused.detail else title
    if refused.name == "period-locked":
        return Sent(task.title, refusal=text)
    faults: list[Fault] = []
    if refused.name == "values-wrong":
        faults, text = [_fault(owed.form, one) for one in refused.members["errors"]], ""
    elif refused.name == "stale-version" and reports:
        text = f"这一期已经报了第 {len(reports)} 版：{_told(owed.form, reports[-1].values)}。要改成现在填的，请核对后再按一次"
    typed_id = first(typed, "_submission_id")
    facts = await obligations.facts_about(tx, known, owed.obligation, owed.form, {})
    again = replace(
        task,
        typed=typed,
        submission_id=UUID(typed_id) if typed_id else task.submission_id,
        rows=_rows(owed.form, typed, facts.rows),
        faults=faults,
        refusal=text,
        answered=True,
    )
    return Sent(task.title, task=again)


async def one_row_more(
    tx: Transaction, known: Known, place: Place, typed: Mapping[str, Typed], table: str, now: datetime
) -> list[Task]:
    """The reports as they were typed, with one more row in a table: for a page without script."""
    again = []
    for task in await tasks(tx, known, place, now):
        given = typed.get(task.key, {})
        more = table.removeprefix(f"{task.key}:") if table.startswith(f"{task.key}:") else ""
        rows = {name: list(kept) for name, kept in task.rows.items()}
        for one in task.form.fields:
            if one.type == "table" and one.rows == "free":
                rows[one.id] = domain.free_rows(given, one.id, more=int(more == one.id))
        again.append(replace(task, typed=given or task.typed, rows=rows, answered=bool(given)))
    return again


def _fault(form: Form, error: Mapping[str, Any]) -> Fault:
    """`sites[2].posters` is the input `sites.2.posters`; what is wrong with a row, or with no question of the form, stands beside
    the table or the whole."""
    at = domain.input_of(str(error["field"]))
    columns = {f"{one.id}.{column.id}" for one in form.fields for column in one.columns}
    named = domain.NUMBER_IN_NAME.sub(".", at)
    if at in {one.id for one in form.fields} or named in columns:
        return Fault(at, str(error["message"]))
    table = at.partition(".")[0]
    return Fault(table if table in {one.id for one in form.fields} else "", str(error["message"]))


def _told(form: Form, kept: Mapping[str, Any]) -> str:
    """The first answers of a report, to compare with."""
    told = [
        f"{one.title} {values.shown(one, kept[one.id])}"
        for one in form.fields
        if one.id in kept and one.type != "table"
    ]
    return "，".join(told[:4])


def title_of(owed: Owed) -> str:
    return f"{owed.form.title} {domain.period_text(owed.form, owed.obligation.period)}".strip()


# ---- what was sent ---------------------------------------------------------------------------------------------------


class Line(NamedTuple):
    """An answer of a report as people read it."""

    title: str
    text: str
    pictures: Sequence[str] = ()  # ids


class Version(NamedTuple):
    """A version of a report, and what it says differently from the one before."""

    report: Report
    by: str
    changes: Sequence[values.Difference]


class Reported(NamedTuple):
    """A report as its unit may read it again."""

    owed: Owed
    state: str
    lines: Sequence[Line]
    versions: Sequence[Version]  # the newest first
    recorded: str
    correctable: bool


class ReceiptShown(NamedTuple):
    """What anybody may know of a receipt: no values."""

    report: Report
    title: str
    unit: str
    zone: tzinfo
    newest: int


BY = {"submitted": "", "on_behalf": "代报", "corrected": "主办单位更正"}


async def report(tx: Transaction, known: Known, place: Place, key: str, now: datetime) -> Reported:
    """Refused as `nothing-owed`."""
    owed, reports, _ = await obligations.history_of(tx, known, key_of(place, key))
    versions = [
        Version(one, BY[one.kind], values.differing(owed.form, before.values, one.values) if before else ())
        for before, one in zip([None, *reports], reports, strict=False)
    ]
    return Reported(
        owed,
        owed.obligation.state(now),
        lines_of(owed.form, reports[-1].values) if reports else (),
        versions[::-1],
        await recorded(tx, known, place, owed.form, owed.obligation.period, now) if reports else "",
        bool(reports) and now < owed.obligation.locks_at,
    )


def lines_of(form: Form, kept: Mapping[str, Any]) -> list[Line]:
    """The answers of a report, row by row for tables; what was not filled in is left out."""
    lines: list[Line] = []
    for one in form.fields:
        value = kept.get(one.id)
        if value is None:
            continue
        if one.type == "table":
            for number, row in enumerate(value):
                told = [
                    f"{column.title} {values.shown(column, row[column.id])}"
                    for column in one.columns
                    if column.id in row
                ]
                lines.append(Line(f"{one.title} {row.get('key') or number + 1}", "，".join(told)))
        elif one.type == "pictures":
            lines.append(Line(one.title, "", value))
        else:
            lines.append(Line(f"{one.title}{f'（{one.unit}）' if one.unit else ''}", values.shown(one, value) or ""))
    return lines


async def receipt(tx: Transaction, known: Known, typed: str) -> ReceiptShown | None:
    """None where there is no such receipt."""
    found, newest = await obligations.report_of_receipt(tx, typed)
    if found is None:
        return None
    key, kept = found
    owed, _, _ = await obligations.history_of(tx, known, key)
    definition = await known.definitions.in_force(tx, key.campaign_id)
    unit = definition.tree.unit(key.unit_code) if definition else None
    return ReceiptShown(
        kept, title_of(owed), unit.name if unit else key.unit_code, definition.zone if definition else UTC, newest
    )


# ---- who reports -----------------------------------------------------------------------------------------------------


async def who_reports(tx: Transaction, place: Place) -> Masks:
    """The liaison, the deputy and the leader in charge, masked; none where nobody is named."""
    named = await liaisons.liaisons(tx, place.campaign_id, [place.unit_code])
    liaison = named.get(place.unit_code)
    return (liaison.posts if liaison else None) or {}


Named = Callable[[Transaction, Principal, str, str, datetime], Awaitable[None]]
"""What else follows when a liaison was named: by whom, campaign, unit, time."""


async def name_people(
    tx: Transaction,
    keys: LiaisonKeys,
    named: Named,
    place: Place,
    typed: Mapping[Post, tuple[str, str]],
    now: datetime,
) -> None:
    """Names who reports, as (name, phone) by post; posts without both are left out. Raises `Refused`."""
    try:
        contacts = {post: contact(post, name, phone) for post, (name, phone) in typed.items() if name or phone}
    except ContactUnusable as unusable:
        raise Refused("contact-unusable", str(unusable)) from None
    if LIAISON not in contacts:
        raise Refused("contact-unusable", "请填联络员的姓名和电话")
    await liaisons.name_liaison(
        tx, keys, place.campaign_id, place.unit_code, contacts, actor=LIAISON, reason=None, now=now
    )
    principal = Principal(LIAISON, LIAISON, place.campaign_id, place.unit_code)
    await named(tx, principal, place.campaign_id, place.unit_code, now)
