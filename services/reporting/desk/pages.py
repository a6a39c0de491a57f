"""The desk's pages as HTML. Pure: every number is a link to what it counts."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, tzinfo
from pathlib import Path
from types import SimpleNamespace
from typing import Any
from urllib.parse import urlencode

from services.reporting.desk import domain
from services.reporting.desk.domain import Todo
from services.reporting.desk.findings import FindingsShown
from services.reporting.desk.sheets import BY_NAMES, TABLED
from services.reporting.desk.usecases import Asked, By, Choices, Owing, Row
from services.reporting.findings.domain import RULE_NAMES, Rule
from services.reporting.findings.domain import STATE_NAMES as FINDING_STATES
from services.reporting.findings.domain import State as FindingState
from services.reporting.obligations.domain import Figure, Tally
from shared.pages import Frame, OfficePages

PATH = "/desk"
DASH = "—"  # not known, which is not 0


class DeskPages(OfficePages):
    STYLESHEETS = ("page.css", "office.css", "desk.css")


PAGES = DeskPages(Path(__file__).with_name("templates"))


def address(path: str, asked: Asked, **more: str | None) -> str:
    """A page of the desk with what it is filtered by; `more` replaces filters, None takes one away."""
    filters: dict[str, str | None] = {
        "form": asked.form,
        "period": asked.period,
        "unit": asked.unit,
        "row": asked.row,
        "today": "true" if asked.today else None,
    }
    query = urlencode({key: value for key, value in (filters | more).items() if value})
    return f"{PATH}/{path}" + (f"?{query}" if query else "")


@dataclass(frozen=True)
class Showing:
    """How a page shows times and states."""

    now: datetime
    zone: tzinfo

    def time(self, moment: datetime | None) -> str:
        return domain.local_minute(moment, self.zone)

    @property
    def as_of(self) -> str:
        return f"{self.now.astimezone(self.zone):%Y-%m-%d %H:%M:%S}"


@dataclass(frozen=True)
class RatesTable:
    """The table of rates, and its links."""

    asked: Asked
    by: By
    rows: Sequence[Row]
    whole: Tally

    def link(self, row: Row) -> str:
        """Where the row's name leads: to the units of a county, to a unit's page, to the counties of a form or period."""
        if self.by == "unit":
            return f"{PATH}/units/{row.key}"
        if self.by == "county":
            return address("rates", self.asked, by="unit", **self._place(row))
        return address("rates", self.asked, by="county", **{self.by: row.key})

    def figure_link(self, row: Row | None, figure: Figure) -> str:
        """Where a number leads: to the obligations that it counts."""
        within: dict[str, str | None] = {}
        if row is not None:
            within = self._place(row) if self.by in ("county", "unit") else {self.by: row.key}
        return address("obligations", self.asked, figure=figure, **within)

    def _place(self, row: Row) -> dict[str, str | None]:
        return {"unit": row.key, "row": "unit" if self.by == "unit" else "county"}


def percent(rate: float | None) -> str:
    return DASH if rate is None else f"{rate * 100:.1f}%"


NAMES = SimpleNamespace(  # how the templates call things
    figures=domain.FIGURE_NAMES,
    states=domain.STATE_NAMES,
    by=BY_NAMES,
    rules=RULE_NAMES,
    finding_states=FINDING_STATES,
    tabled=TABLED,
    period_text=domain.period_text,
    percent=percent,
    address=address,
)


def desk_page(template: str, **values: Any) -> str:
    return PAGES.html(template, names=NAMES, **values)


def desk_html(frame: Frame, showing: Showing, todos: Sequence[Todo], table: RatesTable) -> str:
    return desk_page("desk.html", frame=frame, showing=showing, todos=todos, table=table)


@dataclass(frozen=True)
class PageOf:
    """Which part of a long table is shown: from the first row on. `other_pages`: title → address."""

    first: int
    whole: int
    other_pages: Mapping[str, str]


def rates_html(frame: Frame, showing: Showing, table: RatesTable, choices: Choices, page: PageOf) -> str:
    return desk_page(
        "rates.html", frame=frame, showing=showing, table=table, asked=table.asked, choices=choices, page=page
    )


@dataclass(frozen=True)
class OwingTable:
    """What a figure counts. `next_page`: the address of the rows that follow; empty where there are none."""

    asked: Asked
    figure: Figure
    rows: Sequence[Owing]
    whole: int
    next_page: str

    @property
    def title(self) -> str:
        return ("今天截止的" if self.asked.today else "") + domain.FIGURE_NAMES[self.figure]


def owing_html(frame: Frame, showing: Showing, table: OwingTable, choices: Choices) -> str:
    return desk_page("obligations.html", frame=frame, showing=showing, table=table, asked=table.asked, choices=choices)


@dataclass(frozen=True)
class ChaseList:
    asked: Asked
    figure: Figure
    pieces: Sequence[str]
    units: int


def chase_html(frame: Frame, showing: Showing, chase: ChaseList, choices: Choices) -> str:
    return desk_page("chase.html", frame=frame, showing=showing, chase=chase, asked=chase.asked, choices=choices)


def without_liaison_html(frame: Frame, showing: Showing, units: Sequence[tuple[str, str, str]]) -> str:
    return desk_page("without_liaison.html", frame=frame, showing=showing, units=units)


@dataclass(frozen=True)
class FindingsTable:
    """差异待核 by what they are filtered by. `counts`: by state, whatever state is shown.
    `cursor`: where the next page begins."""

    state: FindingState | None
    rule: Rule | None
    unit: str | None
    shown: FindingsShown
    counts: Mapping[str, int]
    cursor: str | None

    @property
    def whole(self) -> int:
        return self.counts[self.state] if self.state else sum(self.counts.values())

    def address(self, page: str, **more: str | None) -> str:
        """This list, or its file, with what it is filtered by; `more` replaces filters."""
        return address(page, Asked(unit=self.unit), **({"state": self.state, "rule": self.rule} | more))


def findings_html(frame: Frame, showing: Showing, table: FindingsTable, choices: Choices) -> str:
    return desk_page("findings.html", frame=frame, showing=showing, table=table, choices=choices)
