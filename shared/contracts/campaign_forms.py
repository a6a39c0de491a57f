"""Forms: what units report, who fills it in, for which periods and until when (DESIGN §5.2, FACTS A7, A8, A13).

Each part refuses what is wrong inside it, with a fault in zh-Hans. docs/campaign-file.md has every key by example.
"""

import keyword
import math
from datetime import date
from typing import Annotated, Any, Literal, Self, get_args

from pydantic import AfterValidator, Field, PlainValidator, StringConstraints, WithJsonSchema, model_validator

from shared.contracts.base import Id
from shared.contracts.campaign_checks import Fault, Faults, suggestion
from shared.contracts.campaign_parts import ClosingTime, Day, Level, Line, Part, Slug, Unit, added_later

FORMS_MAX = 50
FIELDS_MAX = 60  # of one form; a phone shows eight at a time
COLUMNS_MAX = 30  # of one table
OPTIONS_MAX = 100  # of one choice
CHECKS_MAX = 60  # of one form
LISTED_MAX = 200  # kinds, sectors or units in one `filled_by`
NUMBER_MAX = 10**12  # a report's number is a count of people, copies or yuan: a province has 35 million people
DECIMALS_MAX = 6
GRACE_MAX_MINUTES = 24 * 60
LOCK_MAX_DAYS = 366
# Limits of what is filled in, which no campaign changes:
TABLE_ROWS_MAX = 2_000  # the villages of a large county
TEXT_MAX_CHARACTERS = 2_000
PICTURES_MAX = 9
ROW_KEY = "key"  # of a table's row that was filled in beforehand: the code or name of what it is about

UNIT_WORD_PATTERN = r"^\S+$"

Every = Literal["lesson", "day", "week", "month", "once"]
Weekday = Literal["monday", "tuesday", "wednesday", "thursday", "friday", "saturday", "sunday"]
DueDay = Literal["same_day", "next_working_day"]
Roll = Literal["forward", "back", "none"]
Approval = Literal["parent", "none"]
Asks = Literal["liaison"]
ColumnType = Literal["integer", "decimal", "choice", "choices", "date", "text", "link"]
FieldType = Literal["integer", "decimal", "choice", "choices", "date", "text", "pictures", "file", "link", "table"]
Kind = Literal["increment", "running_total", "level"]
Rows = Literal["free", "children", "paired", "villages", "grids", "sites"]
ComparedWith = Literal["recorded.viewers"]

WEEKDAYS: tuple[Weekday, ...] = get_args(Weekday)
NUMBERS = frozenset({"integer", "decimal"})
PEOPLE = "人数"  # the unit of numbers that are never summed over periods: the same people may come again

# Words that YAML reads as true, false or nothing, and words that mean something in a formula.
RESERVED = frozenset(
    {"on", "off", "yes", "no", "y", "n", "null"}
    | {word.lower() for word in keyword.kwlist}  # true and false are among them
    | {"headcount", "residents", "recorded", "sum", "min", "max", "per_10k"}
)


def _free(name: str) -> str:
    if name in RESERVED:
        raise ValueError(f"{name} 是保留字（YAML 或公式会另作解释）；请换一个名称，如 {name}_1")
    return name


def _number(value: Any) -> int | float:
    if isinstance(value, bool) or not isinstance(value, int | float) or not math.isfinite(value):
        raise ValueError("应为数字；请改为不带引号和单位的数字")
    if abs(value) > NUMBER_MAX:
        raise ValueError(f"绝对值不能大于 {NUMBER_MAX}")
    return int(value) if value == int(value) else value


Name = Annotated[Slug, AfterValidator(_free)]
Number = Annotated[int | float, PlainValidator(_number), WithJsonSchema({"type": "number"})]
UnitWord = Annotated[
    str, StringConstraints(strip_whitespace=True, min_length=1, max_length=10, pattern=UNIT_WORD_PATTERN)
]
# Which keys a field may have beside those of every field, by its type; the first of them that it must have.
KEYS_OF: dict[str, tuple[frozenset[str], frozenset[str]]] = {
    "integer": (frozenset({"unit", "kind"}), frozenset({"min", "max", "compared_with"})),
    "decimal": (frozenset({"unit", "kind"}), frozenset({"min", "max", "decimals"})),
    "choice": (frozenset({"options"}), frozenset()),
    "choices": (frozenset({"options"}), frozenset()),
    "table": (frozenset({"rows", "columns"}), frozenset()),
}


class Option(Part):
    """One of the answers to a choice. A report keeps its `id`, so a title may be mended."""

    id: Name
    title: Line


class Column(Part):
    """A column of a table, and what a field shares with it.

    Numbers: `unit` (人次, 人数, 份, 场, …) and `kind`: an increment since the last report, a running total (累计, which may not
    fall without a reason) or a level. 人数 is never summed over periods. Without `min` they are not below 0.
    """

    id: Name
    title: Line
    type: ColumnType
    unit: UnitWord | None = added_later(None)
    kind: Kind | None = added_later(None)
    required: bool = added_later(False)
    min: Number | None = added_later(None)
    max: Number | None = added_later(None)
    decimals: Annotated[int, Field(ge=1, le=DECIMALS_MAX)] | None = added_later(None)
    options: Annotated[tuple[Option, ...], Field(max_length=OPTIONS_MAX)] = added_later(())

    @model_validator(mode="after")
    def _keys_are_those_of_the_type(self) -> Self:
        needed, allowed = KEYS_OF.get(self.type, (frozenset(), frozenset()))
        faults = [
            Fault(key, f"只用于 {'、'.join(types)}；这一栏的 type 是 {self.type}，请删除")
            for key in sorted(_given(self) - needed - allowed)
            for types in [[name for name, keys in KEYS_OF.items() if key in keys[0] | keys[1]]]
        ]
        faults += [Fault("", f"缺少 {key}；{HOW[key]}") for key in sorted(needed - _given(self))]
        faults += self._range_faults() + duplicate_ids("options", self.options)
        if faults:
            raise Faults(faults)
        return self

    def _range_faults(self) -> list[Fault]:
        faults = []
        for key, limit in (("min", self.min), ("max", self.max)):
            if self.type == "integer" and isinstance(limit, float):
                faults.append(Fault(key, f"{limit} 带小数，而这一栏是整数；请改为整数"))
        if self.min is not None and self.max is not None and self.min > self.max:
            faults.append(Fault("max", f"{self.max} 小于 min {self.min}；请改正其中一个"))
        return faults


HOW = {
    "unit": "请写明计量单位，如 人次、人数、份、场",
    "kind": "请写 increment（本期新增）、running_total（累计）或 level（现状）",
    "options": "请列出可选的答案：options: [{ id: a, title: 甲 }, …]",
    "rows": "请写 free（自行添加）、children、paired、villages、grids 或 sites",
    "columns": "请列出表格的栏：columns: [{ id: …, title: …, type: … }]",
}


def _given(column: Column) -> set[str]:
    """The keys beside `id`, `title`, `type` and `required` that say something."""
    names = set(type(column).model_fields) - {"id", "title", "type", "required"}
    return {name for name in names if getattr(column, name) not in (None, ())}


class FormField(Column):
    """A field of a form. A table has rows that a liaison adds (`free`), or one row per child, paired unit, village, grid or site;
    it has at most `TABLE_ROWS_MAX` of them. `compared_with`: what the system has recorded of the same people; a number far
    from it is to be looked at (差异待核, FACTS A12)."""

    type: FieldType  # type: ignore[assignment]  # a field may be more than a column
    rows: Rows | None = added_later(None)
    columns: Annotated[tuple[Column, ...], Field(max_length=COLUMNS_MAX)] = added_later(())
    compared_with: ComparedWith | None = added_later(None)

    @model_validator(mode="after")
    def _columns_are_distinct(self) -> Self:
        faults = duplicate_ids("columns", self.columns)
        faults += [
            Fault(f"columns[{index}].id", f"{ROW_KEY} 是表格每行自带的编号；请换一个名称，如 {ROW_KEY}_1")
            for index, column in enumerate(self.columns)
            if column.id == ROW_KEY
        ]
        if faults:
            raise Faults(faults)
        return self


class FilledBy(Part):
    """Who fills in a form: units that match all of the lists `levels`, `kinds` and `sectors` that are given; and `units`
    besides."""

    levels: Annotated[tuple[Level, ...], Field(max_length=5)] = added_later(())
    kinds: Annotated[tuple[Slug, ...], Field(max_length=LISTED_MAX)] = added_later(())
    sectors: Annotated[tuple[Slug, ...], Field(max_length=LISTED_MAX)] = added_later(())
    units: Annotated[tuple[Id, ...], Field(max_length=LISTED_MAX)] = added_later(())

    @model_validator(mode="after")
    def _names_somebody(self) -> Self:
        if not (self.levels or self.kinds or self.sectors or self.units):
            raise ValueError("没有写明由谁填报；请写 levels、kinds、sectors 或 units")
        return self

    def includes(self, unit: Unit) -> bool:
        if unit.unit_code in self.units:
            return True
        given = [
            (value, listed)
            for value, listed in ((unit.level, self.levels), (unit.kind, self.kinds), (unit.sector, self.sectors))
            if listed
        ]
        return bool(given) and all(value in listed for value, listed in given)


class Deadline(Part):
    """Until when a period's report is due, in local time (FACTS A8).

    `at`: the campaign's `closing_time`, unless given. `roll`: where to when a `same_day` is no working day. Up to `grace_minutes`
    later a report is still on time; `lock_after_days` after the due time nothing is taken any more.
    """

    day: DueDay = added_later("next_working_day")
    at: ClosingTime | None = added_later(None)
    roll: Roll = added_later("forward")
    grace_minutes: Annotated[int, Field(ge=0, le=GRACE_MAX_MINUTES)] = added_later(0)
    lock_after_days: Annotated[int, Field(ge=0, le=LOCK_MAX_DAYS)] = added_later(30)


class Check(Part):
    """What a report is checked for beyond each field's own keys: `field` is at most the unit's `headcount` or another field; the
    fields `sum_of` add up to `equals`."""

    field: Name | None = added_later(None)
    at_most: Slug | None = added_later(None)
    sum_of: Annotated[tuple[Name, ...], Field(max_length=FIELDS_MAX)] = added_later(())
    equals: Name | None = added_later(None)

    @model_validator(mode="after")
    def _is_one_of_the_two(self) -> Self:
        limit = self.field is not None and self.at_most is not None and not self.sum_of and self.equals is None
        total = self.sum_of and self.equals is not None and self.field is None and self.at_most is None
        if not (limit or total):
            raise ValueError(
                "请写成 { field: 栏, at_most: headcount }（或另一栏），或 { sum_of: [栏, 栏], equals: 合计栏 }"
            )
        return self


class Form(Part):
    """What units report for each period: of each lesson, day, week (on `weekday`), month (by `by_day`; where a month is shorter,
    its last day), or once (by the date `by`).

    A form that `asks` for the liaison is answered by naming one: its dates then say when."""

    id: Name
    title: Line
    filled_by: FilledBy
    every: Every
    weekday: Weekday | None = added_later(None)
    by_day: Annotated[int, Field(ge=1, le=31)] | None = added_later(None)
    by: Day | None = added_later(None)
    deadline: Deadline = added_later(Deadline())
    approval: Approval = added_later("none")
    asks: Asks | None = added_later(None)
    fields: tuple[FormField, ...] = Field(min_length=1, max_length=FIELDS_MAX)
    checks: Annotated[tuple[Check, ...], Field(max_length=CHECKS_MAX)] = added_later(())

    @model_validator(mode="after")
    def _is_consistent(self) -> Self:
        faults = (
            self._period_faults()
            + self._asking_faults()
            + self._comparison_faults()
            + duplicate_ids("fields", self.fields)
        )
        for index, check in enumerate(self.checks):
            faults += self._check_faults(f"checks[{index}]", check)
        if faults:
            raise Faults(faults)
        return self

    def _period_faults(self) -> list[Fault]:
        keys: dict[str, tuple[str, int | str | date | None, str]] = {
            "week": ("weekday", self.weekday, "friday"),
            "month": ("by_day", self.by_day, "25"),
            "once": ("by", self.by, '"2024-07-01"'),
        }
        faults = []
        for every, (key, value, example) in keys.items():
            if every == self.every and value is None:
                faults.append(Fault("every", f"{every} 还要写明 {key}；请加上 {key}: {example}"))
            elif every != self.every and value is not None:
                faults.append(Fault(key, f"只用于 every: {every}，这里是 {self.every}；请删除，或改 every"))
        return faults

    def _asking_faults(self) -> list[Fault]:
        """A form that asks for the liaison must be one that naming fills in."""
        if self.asks is None:
            return []
        faults = []
        if self.every != "once":
            faults.append(Fault("asks", f"只用于 every: once，这里是 {self.every}；请删除，或改 every"))
        faults += [
            Fault(
                f"fields[{index}].required",
                f"指定联络员时只填日期，{field.id} 不是日期；请删除 required，或改为 type: date",
            )
            for index, field in enumerate(self.fields)
            if field.required and field.type != "date"
        ]
        return faults

    def _comparison_faults(self) -> list[Fault]:
        return [
            Fault(
                f"fields[{index}].compared_with",
                f"只用于 every: lesson 的表里 unit: {PEOPLE}、kind: increment 的栏；请删除",
            )
            for index, field in enumerate(self.fields)
            if field.compared_with and (self.every, field.unit, field.kind) != ("lesson", PEOPLE, "increment")
        ]

    def _check_faults(self, at: str, check: Check) -> list[Fault]:
        numbers = [field.id for field in self.fields if field.type in NUMBERS]
        named = {"field": check.field, "equals": check.equals} | {
            f"sum_of[{index}]": name for index, name in enumerate(check.sum_of)
        }
        if check.at_most != "headcount":
            named["at_most"] = check.at_most
        faults = [
            Fault(f"{at}.{key}", f"这张表没有数字栏 {name}{suggestion(name, numbers)}")
            for key, name in named.items()
            if name is not None and name not in numbers
        ]
        repeated = [name for name in dict.fromkeys(check.sum_of) if check.sum_of.count(name) > 1]
        faults += [Fault(f"{at}.sum_of", f"{name} 重复；请删除其中一项") for name in repeated]
        if check.equals in check.sum_of:
            faults.append(Fault(f"{at}.equals", f"{check.equals} 也写在 sum_of 中；合计不能是自己的一部分"))
        return faults


def duplicate_ids(at: str, parts: tuple[Any, ...]) -> list[Fault]:
    first: dict[str, int] = {}
    faults = []
    for index, part in enumerate(parts):
        if first.setdefault(part.id, index) != index:
            faults.append(Fault(f"{at}[{index}].id", f"{part.id} 重复（第 {first[part.id] + 1} 项已有）；请改名"))
    return faults
