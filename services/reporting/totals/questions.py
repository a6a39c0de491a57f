"""What can be asked of the totals: which row a figure belongs to, which rows are there before anything came, how rows are
called and in which order they stand. Pure (DESIGN §5.2)."""

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from datetime import date
from typing import Literal

from services.reporting.definition import Definition
from services.reporting.totals.domain import TotalMode
from shared.contracts.base import UNASSIGNED, Mode
from shared.contracts.campaign import Residents

By = Literal["unit", "subtree", "county", "city", "group", "lesson", "mode", "platform"]
LiveRoomBy = Literal["unit", "county", "city", "lesson", "item"]

UNASSIGNED_NAME = "未归属"
UNNAMED_ITEM = "未注明"
MODE_NAMES: dict[TotalMode, str] = {"live": "首播", "replay": "重播", "made_good": "补记"}


@dataclass(frozen=True)
class Question:
    """What was asked. `root`: the unit whose subtree may be seen, None for the whole tree."""

    by: By | LiveRoomBy
    lesson: date | None = None
    mode: Mode | None = None
    root: str | None = None

    @property
    def keeps_units(self) -> bool:
        return self.by in ("unit", "subtree", "county", "city")

    @property
    def sums_certificates(self) -> bool:
        """Whether rows have certificates, which belong to a unit and a group, but to no lesson or mode."""
        return self.lesson is None and self.mode is None

    @property
    def lists_certificates(self) -> bool:
        return self.sums_certificates and self.by not in ("lesson", "mode", "platform")


def rows_of(definition: Definition, question: Question) -> Callable[[str], Sequence[str]]:
    """A function from a key to the rows in which its figures count: one row, but by subtree also the row of each unit above."""
    if question.by == "subtree":
        return lambda code: definition.tree.upwards(code, question.root) or [code]
    if question.by not in ("county", "city"):
        return lambda key: [key]
    rolled_up = definition.tree.rolled_up(question.by, question.root)
    return lambda code: [rolled_up.get(code, UNASSIGNED)]


def listed_rows(definition: Definition, question: Question) -> Iterable[str]:
    """The rows that are shown with 0 before anything came: those that the definition in force names. By county or city, units
    above that level have a row only once they have figures; so do modes."""
    match question.by:
        case "unit" | "subtree":
            return definition.tree.codes(question.root)
        case "county" | "city":
            tree, level = definition.tree, question.by
            rolled_up = tree.rolled_up(level, question.root)
            return {rolled_up[code] for code in tree.codes(question.root) if tree.covers(rolled_up[code], level)}
        case "group":
            return definition.groups
        case "platform":  # also platforms that never sent anything: the office should ask them why
            return definition.platforms
        case "lesson":
            return [str(day) for day in definition.lessons if question.lesson in (None, day)]
        case _:
            return ()


def name(definition: Definition, question: Question, key: str) -> str | None:
    if question.keeps_units:
        unit = definition.tree.unit(key)
        return unit.name if unit else UNASSIGNED_NAME if key == UNASSIGNED else None
    match question.by:
        case "group":
            return definition.groups.get(key, UNASSIGNED_NAME if key == UNASSIGNED else None)
        case "lesson":
            return definition.lessons.get(date.fromisoformat(key))
        case "platform":
            return definition.platforms.get(key, UNASSIGNED_NAME if key == UNASSIGNED else None)
        case "mode":
            return {str(mode): text for mode, text in MODE_NAMES.items()}.get(key)
        case _:
            return key or UNNAMED_ITEM


def order(definition: Definition, question: Question, key: str) -> tuple[int, int, str]:
    """The sort key of a row: units as in the tree, groups and platforms as in the definition, modes in their usual order; other
    keys sorted by key, `unassigned` last."""
    if question.keeps_units:
        return definition.tree.order(key)
    listed = {
        "group": list(definition.groups),
        "mode": [str(mode) for mode in MODE_NAMES],
        "platform": list(definition.platforms),
    }.get(question.by, [])
    return key == UNASSIGNED, listed.index(key) if key in listed else len(listed), key


def residents(definition: Definition, question: Question, key: str) -> Residents | None:
    unit = definition.tree.unit(key) if question.keeps_units else None
    if unit is None or (question.by in ("county", "city") and not definition.tree.covers(key, question.by)):
        return None
    return unit.residents
