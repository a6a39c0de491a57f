"""Reports of many units in one workbook (templates.py, uploads.py): what is handed out, and what is taken, all of it or nothing.

The caller opens the transaction; the workbook is read between two of them, by a process of its own.
"""

from collections.abc import Sequence
from datetime import datetime
from typing import Final, NamedTuple
from uuid import uuid4

from services.reporting.obligations import store, templates, usecases, values
from services.reporting.obligations.domain import Obligation, Report
from services.reporting.obligations.templates import NOT_IN_SHEETS, SheetUnit
from services.reporting.obligations.uploads import CellFault, UnitReport, Upload
from services.reporting.obligations.usecases import Known, Question, Sender, Submission
from shared.clock import local_text
from shared.contracts.campaign import UNITS_MAX
from shared.contracts.campaign_forms import Form
from shared.database import Transaction
from shared.service.refusals import Refused
from shared.service.tokens import Principal

REPORTS_MAX: Final = 1_000  # of one file: each takes 10 ms, and all are one transaction

# What a row is told where the refusal is not about its values.
_OF_A_ROW: Final = {
    "nothing-owed": "这个单位没有这份报表要填；请清空这一行",
    "period-locked": "这一期已经锁定，不再接收；请清空这一行，或请反诈办重新开放",
    "reason-missing": "这个单位已经报过；要更正，请在上传时写明原因，否则请清空这一行",
    "stale-version": "这个单位刚刚报了新的版本；请核对后再传一次",
}


class Asked(NamedTuple):
    """What units owe for one form and period, as a workbook asks for it. `units` stand in the tree's order."""

    form: Form
    period: str
    owed: dict[str, Obligation]
    units: list[SheetUnit]
    about: list[tuple[str, str]]


class Taken(NamedTuple):
    """`reports`: (unit, report) of those that were kept. `unchanged`: units that had reported the same before."""

    reports: list[tuple[str, Report]]
    unchanged: list[str]


class UploadWrong(Exception):
    """Nothing of the upload is taken; `faults` say why, by sheet, row and column."""

    def __init__(self, upload: Upload, faults: Sequence[CellFault]) -> None:
        super().__init__(f"{len(faults)} faults")
        self.upload = upload
        sheets = [sheet.layout.title for sheet in upload.sheets]
        self.faults = sorted(
            faults, key=lambda fault: (sheets.index(fault.cell.sheet), fault.cell.row, fault.cell.column or 0)
        )


async def asked(tx: Transaction, known: Known, principal: Principal, question: Question, now: datetime) -> Asked:
    """What the units that the principal may see owe for the question's form and period; excused ones are left out. Refused as
    `nothing-owed`."""
    filters = await usecases.filters_of(tx, known, principal, question)
    definition = await known.definitions.in_force(tx, question.campaign_id)
    assert definition is not None  # noqa: S101 - `filters_of` refuses what is not defined
    page = await store.page(tx, now, filters, None, None, UNITS_MAX)
    owed = {one.unit_code: one for one in page if one.excused_at is None}
    if not owed:
        raise Refused("nothing-owed", subject=question.unit or principal.unit or question.campaign_id)
    first = next(iter(owed.values()))
    form = await known.forms.of_obligation(tx, first)
    units = [
        SheetUnit(unit.unit_code, unit.name, usecases.rows_beforehand(definition, form, unit.unit_code))
        for unit in definition.units
        if unit.unit_code in owed
    ]
    due = local_text(first.due_at, definition.zone)
    about = [("期次", first.period), ("截止时间", due), ("单位", f"{len(units)} 个")]
    return Asked(form, first.period, owed, units, about)


def template(question: Asked) -> bytes:
    return templates.template(question.form, question.about, question.units)


async def submit_all(
    tx: Transaction, known: Known, sender: Sender, question: Asked, upload: Upload, reason: str | None, now: datetime
) -> Taken:
    """Keeps a version for each unit of the upload that says something new. `reason`: why reports are corrected, and why running
    totals fell. Pictures and files of the last version stay. Raises `UploadWrong` with the faults of all rows; the transaction
    is to be rolled back then. Refused as `nothing-filled-in`, `too-many-reports`."""
    if not upload.reports and not upload.faults:
        raise Refused("nothing-filled-in")
    if len(upload.reports) > REPORTS_MAX:
        raise Refused("too-many-reports", subject=str(REPORTS_MAX))
    faults = [*upload.faults]
    taken = Taken([], [])
    for row in sorted(upload.reports, key=lambda row: row.unit_code):  # locks are taken in one order
        try:
            report = await _submit(tx, known, sender, question, row, reason, now)
        except Refused as refused:
            faults += _faults_of(refused, question, upload, row)
            continue
        if report is None:
            taken.unchanged.append(row.unit_code)
        else:
            taken.reports.append((row.unit_code, report))
    if faults:
        raise UploadWrong(upload, faults)
    return taken


async def _submit(
    tx: Transaction, known: Known, sender: Sender, question: Asked, row: UnitReport, reason: str | None, now: datetime
) -> Report | None:
    """The report that was kept; None where the unit's last one says the same."""
    obligation = await store.obligation(tx, question.owed[row.unit_code].key, lock=True) or question.owed[row.unit_code]
    reasons = {} if reason is None else {field.id: reason for field in question.form.fields}
    given = row.given
    if obligation.version:
        last = (await store.reports(tx, obligation.key))[-1]
        elsewhere = {field.id for field in question.form.fields if field.type in NOT_IN_SHEETS}
        given = {name: value for name, value in last.values.items() if name in elsewhere} | given
        facts = await usecases.facts_about(tx, known, obligation, question.form, reasons)
        if not obligation.is_owed() and values.check(question.form, given, facts).values == last.values:
            return None
    submission = Submission(uuid4(), given, obligation.version or None, reasons, reason)
    return await usecases.submit(tx, known, sender, obligation.key, submission, now)


def _faults_of(refused: Refused, question: Asked, upload: Upload, row: UnitReport) -> list[CellFault]:
    """The faults of a unit's row. One that has no cell, such as pictures that must be sent up on the page, names its field."""
    if refused.name in _OF_A_ROW:
        return [CellFault(upload.cell(row, ""), _OF_A_ROW[refused.name])]
    if refused.name != "values-wrong":
        raise refused
    titles = {field.id: field.title for field in question.form.fields}
    faults = []
    for error in refused.members["errors"]:
        cell, title = upload.cell(row, error["field"]), titles.get(values.field_of(error["field"]))
        faults.append(CellFault(cell, error["message"] if cell.column is not None else f"{title}：{error['message']}"))
    return faults
