"""What is answered about obligations and reports; the models are the OpenAPI document (DESIGN §5.2)."""

from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import Any, Literal

from pydantic import AwareDatetime, BaseModel, Field

from services.reporting.obligations.domain import Change, Obligation, ObligationKey, Owed, Report, State, Tally


class Receipt(BaseModel):
    """What a unit gets for a report, and what anybody can check: it holds no value of the report."""

    number: str = Field(description="with a check symbol, such as `7K3M-9QXV-2HDN`")
    version: int
    submitted_at: AwareDatetime
    due_at: AwareDatetime
    state: Literal["on_time", "late"] = Field(description="of the obligation, by its first report that stands")
    sha256: str = Field(description="over unit, form, period, version, time and values, in hex")


class ReportAnswer(Receipt):
    values: dict[str, Any]
    reasons: dict[str, str] = Field(description="field → why its running total fell")
    kind: Literal["submitted", "on_behalf", "corrected"] = Field(
        description="by the unit itself; on its behalf (代报); corrected by the office, with a reason"
    )
    actor: str
    reason: str | None


class ChangeAnswer(BaseModel):
    at: AwareDatetime
    what: Literal["returned", "excused", "owed_again", "approved", "reopened"]
    version: int
    actor: str
    reason: str | None
    due_at: AwareDatetime | None


class ObligationRow(BaseModel):
    unit_code: str
    form: str
    period: str
    due_at: AwareDatetime = Field(description="when it was or is due; what a return has set stands in `next_due_at`")
    state: State
    submitted_at: AwareDatetime | None = Field(description="of the first report that stands")
    version: int = Field(description="of the last report; 0: none")
    next_due_at: AwareDatetime
    approved_at: AwareDatetime | None
    reason: str | None = Field(description="why it was returned or excused")


class ObligationAnswer(ObligationRow):
    """One obligation with every version of its report, the first one first."""

    title: str
    opened_at: AwareDatetime
    locks_at: AwareDatetime = Field(description="from then on nothing is taken")
    versions: list[ReportAnswer]
    changes: list[ChangeAnswer]


class NamedRow(ObligationRow):
    name: str | None = Field(description="the unit's; null where the definition in force does not have it")


class Obligations(BaseModel):
    rows: list[NamedRow]
    counts: dict[State, int] = Field(description="of all rows, whatever state and page were asked for")
    next_cursor: str | None


class RateRow(BaseModel):
    key: str
    name: str | None
    expected: int = Field(description="opened and not excused")
    reported: int
    on_time: int
    late: int
    missing: int = Field(description="past their time without a report that stands")
    excused: int
    reporting_rate: float | None = Field(description="reported / expected, 0 to 1; null without anything expected")
    on_time_rate: float | None


class Rates(BaseModel):
    as_of: AwareDatetime
    rows: list[RateRow]
    sum: RateRow


class ReceiptCheck(BaseModel):
    """What anybody may know of a receipt: that it is genuine, and what for. No value."""

    genuine: bool
    campaign_id: str | None = None
    unit_code: str | None = None
    form: str | None = None
    period: str | None = None
    receipt: Receipt | None = None
    superseded: bool | None = Field(default=None, description="a later version of the report was received")


def receipt_of(report: Report) -> Receipt:
    return Receipt(**_receipt(report))


def report_of(report: Report) -> ReportAnswer:
    return ReportAnswer(
        **_receipt(report),
        values=report.values,
        reasons=report.reasons,
        kind=report.kind,
        actor=report.actor,
        reason=report.reason,
    )


def _receipt(report: Report) -> dict[str, Any]:
    return {
        "number": report.number,
        "version": report.version,
        "submitted_at": report.submitted_at,
        "due_at": report.due_at,
        "state": report.state,
        "sha256": report.sha256.hex(),
    }


def row_of(obligation: Obligation, now: datetime) -> ObligationRow:
    return ObligationRow(**_row(obligation, now))


def named_row_of(obligation: Obligation, now: datetime, names: Mapping[str, str]) -> NamedRow:
    return NamedRow(**_row(obligation, now), name=names.get(obligation.unit_code))


def obligation_of(owed: Owed, reports: Sequence[Report], changes: Sequence[Change], now: datetime) -> ObligationAnswer:
    obligation, form = owed
    return ObligationAnswer(
        **_row(obligation, now),
        title=form.title,
        opened_at=obligation.opened_at,
        locks_at=obligation.locks_at,
        versions=[report_of(report) for report in reports],
        changes=[
            ChangeAnswer(
                at=change.changed_at,
                what=change.what,  # type: ignore[arg-type]  # the database holds no other
                version=change.version,
                actor=change.actor,
                reason=change.reason,
                due_at=change.due_at,
            )
            for change in changes
        ],
    )


def _row(obligation: Obligation, now: datetime) -> dict[str, Any]:
    return {
        "unit_code": obligation.unit_code,
        "form": obligation.form,
        "period": obligation.period,
        "due_at": obligation.due_at,
        "state": obligation.state(now),
        "submitted_at": obligation.submitted_at,
        "version": obligation.version,
        "next_due_at": obligation.next_due_at,
        "approved_at": obligation.approved_at,
        "reason": obligation.excuse_reason if obligation.excused_at else obligation.return_reason,
    }


def rate_of(key: str, name: str | None, tally: Tally) -> RateRow:
    return RateRow(
        key=key,
        name=name,
        expected=tally.expected,
        reported=tally.reported,
        on_time=tally.on_time,
        late=tally.late,
        missing=tally.missing,
        excused=tally.excused,
        reporting_rate=tally.reporting_rate,
        on_time_rate=tally.on_time_rate,
    )


def check_of(known: tuple[ObligationKey, Report] | None, newest: int) -> ReceiptCheck:
    if known is None:
        return ReceiptCheck(genuine=False)
    key, report = known
    return ReceiptCheck(
        genuine=True,
        campaign_id=key.campaign_id,
        unit_code=key.unit_code,
        form=key.form,
        period=key.period,
        receipt=receipt_of(report),
        superseded=newest > report.version,
    )
