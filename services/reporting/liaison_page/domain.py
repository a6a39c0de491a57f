"""What the liaison's page makes of forms and due times: the names of its inputs, the words of its times, what is first. Pure."""

import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import date, datetime
from typing import Any
from uuid import UUID

from shared.contracts.campaign_forms import Column, Form
from shared.moments import Times, day_text

CORRECTING = "correcting"  # the state of a report that is in and is being corrected
FREE_ROWS_SHOWN = 1  # empty rows of a table to begin with; a button adds more
ROWS_SHOWN_MAX = 60  # of one table; longer ones are uploaded as a sheet

Typed = Mapping[str, Sequence[str]]
"""What stands in the inputs of one report, by name: `viewers`, `sites.0.posters`, `_reason.posters`, `_version`. Those that begin
with "_" are no answers."""

ROW = re.compile(r"([a-z0-9_]+)\.([0-9]{1,4})\.")
NUMBER_IN_NAME = re.compile(r"\.[0-9]+\.")
PLACE = re.compile(r"\[([0-9]+)\]")
NOT_IN_IDS = re.compile(r"[^A-Za-z0-9_-]+")


@dataclass(frozen=True)
class Fault:
    """`at`: the input, as in `Typed`; empty: the report as a whole."""

    at: str
    text: str


@dataclass(frozen=True)
class Row:
    """A row of a table. `key` and `name` are those of a row that is given beforehand, such as a county's."""

    number: int
    key: str = ""
    name: str = ""


@dataclass(frozen=True)
class Task:
    """One report to be filled in, as it is shown. `version` is the one that this one follows; 0: none."""

    form: Form
    period: str
    period_text: str
    due_at: datetime
    state: str
    version: int
    submission_id: UUID
    typed: Typed = field(default_factory=dict)
    rows: Mapping[str, Sequence[Row]] = field(default_factory=dict)  # of its tables, by field
    hints: Mapping[str, str] = field(default_factory=dict)  # such as the last running total, by field
    faults: Sequence[Fault] = ()
    refusal: str = ""  # why the report as a whole was not taken
    returned: str = ""  # why the office sent it back
    answered: bool = False  # was sent just now, and stands here again because it was not taken

    @property
    def title(self) -> str:
        return f"{self.form.title} {self.period_text}".strip()

    @property
    def key(self) -> str:
        """Tells the reports of a unit apart: in names of inputs and in the phone's drafts."""
        return f"{self.form.id}/{self.period}"

    def name(self, at: str) -> str:
        return f"{self.key}:{at}"

    def id(self, at: str) -> str:
        """The id of an element, which can stand behind the # of a link."""
        return "f-" + NOT_IN_IDS.sub("-", self.name(at)).strip("-")

    def value(self, at: str) -> str:
        return next(iter(self.typed.get(at, ())), "")

    def values(self, at: str) -> Sequence[str]:
        return self.typed.get(at, ())

    def title_at(self, at: str) -> str:
        """The question that an input answers, for the list of faults: `，点位 第 3 行 海报`."""
        found = ROW.match(at)
        fields = {one.id: one for one in self.form.fields}
        if found and found[1] in fields:
            table = fields[found[1]]
            column = next((one.title for one in table.columns if one.id == at[found.end() :]), "")
            number = int(found[2])
            row = next((row.name for row in self.rows.get(table.id, ()) if row.number == number), "")
            return f"，{table.title} {row or f'第 {number + 1} 行'} {column}"
        return f"，{fields[at].title}" if at in fields else ""

    def faults_of(self, at: str) -> list[str]:
        return [fault.text for fault in self.faults if fault.at == at]

    @property
    def is_returned(self) -> bool:
        return self.state == "returned"


@dataclass(frozen=True)
class Together:
    """All that is due at one time: one screen and one button."""

    due_at: datetime
    tasks: Sequence[Task]
    overdue: bool

    @property
    def to_fill(self) -> list[Task]:
        """Those with inputs: a form that asks for the liaison is answered by naming one."""
        return [task for task in self.tasks if task.form.asks is None]

    @property
    def returned(self) -> bool:
        return any(task.is_returned for task in self.tasks)

    @property
    def correcting(self) -> bool:
        return any(task.state == CORRECTING for task in self.tasks)

    @property
    def is_wrong(self) -> bool:
        return any(task.faults or task.refusal for task in self.tasks)

    @property
    def key(self) -> str:
        return f"{self.due_at:%Y%m%dT%H%M}"


def together(tasks: Iterable[Task], now: datetime) -> list[Together]:
    """The reports by due time: what is being corrected, then what was returned, what is overdue, what is due next."""
    by_due: dict[tuple[bool, datetime], list[Task]] = {}
    for task in tasks:
        by_due.setdefault((task.state == CORRECTING, task.due_at), []).append(task)
    screens = [
        Together(
            due_at,
            sorted(due, key=lambda task: (not task.is_returned, task.period, task.form.id)),
            overdue=due_at < now and not correcting,
        )
        for (correcting, due_at), due in by_due.items()
    ]
    return sorted(screens, key=lambda screen: (not screen.correcting, not screen.returned, screen.due_at))


def due_text(due_at: datetime, times: Times) -> str:
    """今天 18:00 截止; 昨天 18:00 已截止，请尽快补报."""
    moment = times.moment(due_at)
    return f"{moment} 已截止，请尽快补报" if due_at < times.now else f"{moment} 截止"


def period_text(form: Form, period: str) -> str:
    """A period in words: 6月29日 周六, 2024年第27周, 2024年7月; nothing for what is reported once."""
    if form.every in ("lesson", "day"):
        return day_text(date.fromisoformat(period))
    if form.every == "week":
        year, week = period.split("-W")
        return f"{year}年第{int(week)}周"
    if form.every == "month":
        year, month = period.split("-")
        return f"{year}年{int(month)}月"
    return ""


# ---- values and inputs -----------------------------------------------------------------------------------------------


def inputs(form: Form, values: Mapping[str, Any]) -> dict[str, list[str]]:
    """What stands in the inputs for the values of a report."""
    typed: dict[str, list[str]] = {}
    for one in form.fields:
        value = values.get(one.id)
        if one.type == "table":
            for number, row in enumerate(value or ()):
                typed |= {f"{one.id}.{number}.{name}": texts for name, cell in row.items() if (texts := texts_of(cell))}
        elif texts := texts_of(value):
            typed[one.id] = texts
    return typed


def input_of(at: str) -> str:
    """The input that a fault is about: `sites[2].posters` stands in `sites.2.posters`."""
    return PLACE.sub(r".\1", at)


def texts_of(value: Any) -> list[str]:
    """A value as the texts of its inputs; nothing for no value."""
    if value is None:
        return []
    return [str(item) for item in value] if isinstance(value, list) else [str(value)]


def typed_by_task(pairs: Iterable[tuple[str, str]]) -> dict[str, dict[str, list[str]]]:
    """What a form of the page has sent, by the report that it belongs to and the input that it stands in."""
    typed: dict[str, dict[str, list[str]]] = {}
    for name, text in pairs:
        key, colon, at = name.partition(":")
        if colon:
            typed.setdefault(key, {}).setdefault(at, []).append(text)
    return typed


def is_blank(typed: Typed) -> bool:
    """Whether nothing was filled in. Such a report is not sent: an empty one would count as a report."""
    answers = (texts for at, texts in typed.items() if not at.startswith("_") and not at.endswith(".key"))
    return not any(text.strip() for texts in answers for text in texts)


def row_count(typed: Typed, table: str) -> int:
    """How many rows of a table the inputs reach."""
    numbers = [int(found[2]) for at in typed if (found := ROW.match(at)) and found[1] == table]
    return min(max(numbers, default=-1) + 1, ROWS_SHOWN_MAX)


def free_rows(typed: Typed, table: str, more: int = 0) -> list[Row]:
    """The rows to show of a table to which a liaison adds rows: those with something in them, and an empty one."""
    shown = min(max(row_count(typed, table) + more, FREE_ROWS_SHOWN), ROWS_SHOWN_MAX)
    return [Row(number) for number in range(shown)]


def limits_text(column: Column) -> str:
    """What can be filled in, where the form says: 0–100000."""
    if column.min is not None and column.max is not None:
        return f"{column.min}–{column.max}"
    if column.max is not None:
        return f"最多 {column.max}"
    return f"最少 {column.min}" if column.min else ""
