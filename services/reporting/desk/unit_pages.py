"""A unit's page, the page of one report with the buttons of the office, and the form to fill in for a unit. Pure."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from uuid import UUID

from services.reporting.desk import domain
from services.reporting.desk.domain import Typed
from services.reporting.desk.pages import PATH, Showing, desk_page
from services.reporting.desk.units import Filling, ReportShown, UnitShown, titled
from shared.contracts.campaign_forms import TEXT_MAX_CHARACTERS, Column, FormField
from shared.pages import Frame

EMPTY_ROWS = 3  # of a table to which rows are added, below those that are there
DONE = {
    "returned": "已退回，单位已收到通知。",
    "excused": "已免报，不再计入应报。",
    "owed_again": "已恢复应报。",
    "approved": "已审核通过。",
    "reopened": "已重新开放，可以补报。",
    "submitted": "已记录。",
    "explained": "说明已记下。",
    "closed": "已核结。",
}


def report_path(unit_code: str, form: str, period: str) -> str:
    return f"{PATH}/units/{unit_code}/reports/{form}/{period}"


def unit_html(frame: Frame, showing: Showing, shown: UnitShown) -> str:
    return desk_page("unit.html", frame=frame, showing=showing, shown=shown)


@dataclass(frozen=True)
class Failed:
    """What could not be done, why, and what was typed for it."""

    action: str
    error: str
    typed: Mapping[str, str]


@dataclass(frozen=True)
class ReportPage:
    shown: ReportShown
    done: str = ""
    failed: Failed | None = None

    @property
    def path(self) -> str:
        one = self.shown.obligation
        return report_path(one.unit_code, one.form, one.period)

    def picture(self, picture_id: str) -> str:
        """The address of a picture of the unit."""
        return f"{PATH}/units/{self.shown.obligation.unit_code}/pictures/{picture_id}"

    @property
    def done_text(self) -> str:
        return DONE.get(self.done, "")

    def typed(self, action: str, name: str) -> str:
        return self.failed.typed.get(name, "") if self.failed and self.failed.action == action else ""


def report_html(frame: Frame, showing: Showing, page: ReportPage) -> str:
    return desk_page(
        "report.html",
        frame=frame,
        showing=showing,
        page=page,
        shown=page.shown,
        kinds=domain.KIND_NAMES,
        decisions=domain.DECISION_NAMES,
    )


@dataclass(frozen=True)
class Fault:
    """`at`: the input, empty for the report as a whole."""

    at: str
    text: str


@dataclass(frozen=True)
class Row:
    """A row of a table. `key`: of a row that is given beforehand; `needs_key`: it is typed."""

    number: int
    key: str
    name: str
    needs_key: bool


@dataclass(frozen=True)
class FillPage:
    """The form of a report, filled in as typed."""

    filling: Filling
    submission_id: UUID
    version: int
    typed: Typed
    error: str = ""
    faults: Sequence[Fault] = field(default_factory=tuple)
    reason: str = ""

    @property
    def path(self) -> str:
        one = self.filling.obligation
        return report_path(one.unit_code, one.form, one.period)

    def value(self, name: str) -> str:
        return next(iter(self.typed.get(name, ())), "")

    def values(self, name: str) -> Sequence[str]:
        return self.typed.get(name, ())

    def faults_of(self, name: str) -> list[str]:
        return [fault.text for fault in self.faults if fault.at == name]

    def id(self, name: str) -> str:
        """Of the input, for labels and links from the list of faults."""
        return "f-" + name.replace(".", "-")

    def title(self, column: Column) -> str:
        return titled(column) + ("" if column.required else "（可不填）")

    def rows(self, table: FormField) -> list[Row]:
        """Rows that are given beforehand; or those that are there and some to add."""
        given = self.filling.rows.get(table.id)
        if given is not None:
            return [Row(number, key, name, False) for number, (key, name) in enumerate(given.items())]
        shown = domain.rows_typed(self.typed, table.id) + (0 if self.faults else EMPTY_ROWS)
        needs_key = table.rows != "free"
        return [Row(number, "", f"第 {number + 1} 行", needs_key) for number in range(max(shown, EMPTY_ROWS))]

    def named_fault(self, fault: Fault) -> str:
        """The question that a fault is about, for the list at the top."""
        for one in self.filling.form.fields:
            if one.id == fault.at.partition(".")[0]:
                return one.title
        return ""


def fill_html(frame: Frame, showing: Showing, page: FillPage) -> str:
    return desk_page(
        "fill.html", frame=frame, showing=showing, page=page, filling=page.filling, text_max=TEXT_MAX_CHARACTERS
    )


def typed_time(moment: datetime, showing: Showing) -> str:
    """As an input for a time takes it."""
    return f"{moment.astimezone(showing.zone):%Y-%m-%dT%H:%M}"
