"""The values of a report: whether they are what the form asks for, and as what they are kept. Pure (DESIGN §5.2, FACTS A7).

    checked = check(form, given, facts)        # JSON in; `checked.values` are kept where `checked.faults` is empty
    sha256(canonical(checked.values))          # stands in the receipt

What one answer may be is in fields.py. A table's value is a list of rows. A row of a table that is filled in beforehand
(children, villages, …) also has `key`, the code or name of what it is about; a row of a free table that holds nothing is left
out. Values that were kept are accepted again unchanged, so a phone can send back what it was given.
"""

import json
import re
from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from decimal import Decimal
from typing import Any, Final, NamedTuple

from services.reporting.obligations.fields import (
    Known,
    Wrong,
    answer,
    is_no_answer,
    number_of,
    shown_number,
    text_as_kept,
)
from shared.contracts.campaign_checks import FAULTS_MAX, suggestion
from shared.contracts.campaign_forms import NUMBERS, ROW_KEY, TABLE_ROWS_MAX, Check, Column, Form, FormField

LISTS: Final = frozenset({"choices", "pictures"})
KEY_MAX_CHARACTERS: Final = 100
NAMED_MAX: Final = 10  # rows that a sentence names
SHOWN_MAX_CHARACTERS: Final = 40  # of a name that somebody made up
ZERO_TOO: Final = "没有就填 0"

_ROW_NUMBER = re.compile(r"[0-9]{1,6}")

Values = dict[str, Any]


class FieldFault(NamedTuple):
    """`at`: `viewers`, or `sites[2].posters` with the row's place in what was given. `text`: what is wrong and what to do, in
    zh-Hans."""

    at: str
    text: str


@dataclass(frozen=True)
class Facts:
    """What is known beside the report.

    `last_totals`: the unit's values as it last reported them, of which the running totals are looked at. `reasons`: field → why
    its running total is less than that. `sent_up`: ids of the unit's pictures and files. `rows`: table → key → name of the rows
    that are filled in beforehand; a table that is not among them takes any keys.
    """

    headcount: int | None = None
    last_totals: Mapping[str, Any] = field(default_factory=dict)
    reasons: Mapping[str, Any] = field(default_factory=dict)
    sent_up: Known = None
    rows: Mapping[str, Mapping[str, str]] = field(default_factory=dict)


class Checked(NamedTuple):
    """`values`: what is kept, without what was not filled in. `reasons`: those for running totals that are less than the last."""

    values: Values
    faults: list[FieldFault]
    reasons: dict[str, str]


def check(form: Form, given: Mapping[str, Any], facts: Facts) -> Checked:
    """The values as they are kept, and at most `FAULTS_MAX` faults in the form's order."""
    report = _Report(form, facts)
    with suppress(_Enough):
        report.read(given)
        for one in form.checks:
            report.compare(one)
        for form_field in form.fields:
            report.compare_with_last(form_field)
    order = {form_field.id: index for index, form_field in enumerate(form.fields)}
    faults = sorted(report.faults, key=lambda fault: order.get(field_of(fault.at), len(order)))
    return Checked(report.values, faults, report.reasons)


def ids_given(form: Form, given: Mapping[str, Any], kind: str) -> frozenset[str]:
    """The texts in the answers to fields of this type (`pictures`, `file`; tables have neither), before anything is checked."""
    texts: set[str] = set()
    for one in form.fields:
        if one.type == kind:
            answered = given.get(one.id)
            texts |= {
                text for text in (answered if isinstance(answered, list) else [answered]) if isinstance(text, str)
            }
    return frozenset(texts)


def canonical(values: Mapping[str, Any]) -> bytes:
    """What is hashed of values that were kept: JSON without blanks, keys in order, in UTF-8."""
    return json.dumps(values, ensure_ascii=False, sort_keys=True, allow_nan=False, separators=(",", ":")).encode()


def field_of(at: str) -> str:
    """`sites` of `sites[2].posters`."""
    return at.partition("[")[0]


def shown_name(name: str) -> str:
    """A name that somebody made up, as a sentence may have it: short, and printable."""
    printable = "".join(character if character.isprintable() else "?" for character in name[:SHOWN_MAX_CHARACTERS])
    return printable if len(name) <= SHOWN_MAX_CHARACTERS else f"{printable}…"


def _is_untouched(table: FormField, row: Any) -> bool:
    """Whether a row holds nothing beside the key that it was given beforehand."""
    beside = set() if table.rows == "free" else {ROW_KEY}
    return isinstance(row, dict) and all(is_no_answer(value) for name, value in row.items() if name not in beside)


# ---- a page without script -------------------------------------------------------------------------------------------

REASON_PREFIX: Final = "_reason."  # names that begin with "_" are the page's: no field's id does


def from_form(form: Form, items: Sequence[tuple[str, str]]) -> Values:
    """What `check` is given, from the fields of an HTML form: `viewers`, `sites.0.posters`, and for several choices or pictures
    the same name again. Rows come in the order of their numbers. Other names are the page's own."""
    given: Values = {}
    rows: dict[str, dict[int, Values]] = {}
    fields = {form_field.id: form_field for form_field in form.fields}
    for name, value in items:
        at, *within = name.split(".")
        if (form_field := fields.get(at)) is None:
            continue
        if form_field.type != "table":
            if not within:
                _put(given, form_field, at, value)
        elif len(within) == 2 and _ROW_NUMBER.fullmatch(within[0]):
            row = rows.setdefault(at, {}).setdefault(int(within[0]), {})
            columns = {column.id: column for column in form_field.columns}
            _put(row, columns.get(within[1]), within[1], value)
    return given | {at: [row for _, row in sorted(numbered.items())] for at, numbered in rows.items()}


def reasons_from(items: Sequence[tuple[str, str]]) -> dict[str, str]:
    """`Facts.reasons`, from the fields `_reason.posters` of an HTML form."""
    given = {name.removeprefix(REASON_PREFIX): value for name, value in items if name.startswith(REASON_PREFIX)}
    return {name: value for name, value in given.items() if not is_no_answer(value)}


def _put(given: Values, column: Column | None, name: str, value: str) -> None:
    if column is None or column.type not in LISTS:
        given[name] = value
    elif not is_no_answer(value):
        given.setdefault(name, []).append(value)


# ---- what two versions say -------------------------------------------------------------------------------------------


class Difference(NamedTuple):
    """`at` as in `FieldFault`, with the row's place in `after`, or in `before` where it is gone. `title`: 点位 第 3 行 海报.
    `before` and `after` as people read them, None where nothing was filled in."""

    at: str
    title: str
    before: str | None
    after: str | None


def differing(form: Form, before: Mapping[str, Any], after: Mapping[str, Any]) -> list[Difference]:
    """What two versions of a report say differently, in the form's order. Rows with a key are compared with the row of that key,
    rows of free tables with the row at the same place."""
    differences: list[Difference] = []
    for form_field in form.fields:
        at, was, is_now = form_field.id, before.get(form_field.id), after.get(form_field.id)
        if form_field.type != "table":
            differences += _difference(at, form_field.title, form_field, was, is_now)
            continue
        old, new = _rows_by_name(was), _rows_by_name(is_now)
        for name in dict.fromkeys([*new, *old]):
            index, _ = new.get(name) or old[name]
            then, now = (rows[name][1] if name in rows else {} for rows in (old, new))
            for column in form_field.columns:
                title = f"{form_field.title} {name} {column.title}"
                differences += _difference(
                    f"{at}[{index}].{column.id}", title, column, then.get(column.id), now.get(column.id)
                )
    return differences


def _difference(at: str, title: str, column: Column, before: Any, after: Any) -> list[Difference]:
    return [] if before == after else [Difference(at, title, shown(column, before), shown(column, after))]


def _rows_by_name(rows: Sequence[Values] | None) -> dict[str, tuple[int, Values]]:
    numbered = enumerate(() if rows is None else rows)
    return {row.get(ROW_KEY) or f"第 {index + 1} 行": (index, row) for index, row in numbered}


def shown(column: Column, kept: Any) -> str | None:
    """An answer as people read it; None where there is none."""
    if kept is None:
        return None
    titles = {option.id: option.title for option in column.options}
    if isinstance(kept, list):
        return "、".join(titles.get(item, str(item)) for item in kept)
    return titles.get(kept, str(kept))


class _Enough(Exception):
    """There are as many faults as anybody reads; to look for more takes time (a name that is compared, a millisecond)."""


class _Report:
    """A report while it is checked."""

    def __init__(self, form: Form, facts: Facts) -> None:
        self.form = form
        self.facts = facts
        self.values: Values = {}
        self.faults: list[FieldFault] = []
        self.reasons: dict[str, str] = {}
        self.places: dict[str, dict[str, int]] = {table.id: {} for table in form.fields}  # table → key → row given

    def wrong(self, at: str, text: str) -> None:
        self.faults.append(FieldFault(at, text))
        if len(self.faults) == FAULTS_MAX:
            raise _Enough

    def read(self, given: Mapping[str, Any]) -> None:
        names = [form_field.id for form_field in self.form.fields]
        for form_field in self.form.fields:
            at, value = form_field.id, given.get(form_field.id)
            kept = self._table(form_field, value) if form_field.type == "table" else self._answer(at, form_field, value)
            if kept is not None:
                self.values[at] = kept
        self._unknown("", given, names)

    def _unknown(self, within: str, given: Mapping[str, Any], names: Sequence[str]) -> None:
        for name in given:
            if name not in names:
                self.wrong(within + shown_name(name), f"没有这一栏{suggestion(shown_name(name), names)}")

    def _answer(self, at: str, column: Column, given: Any) -> Any:
        try:
            kept = answer(column, given, self.facts.sent_up)
        except Wrong as wrong:
            self.wrong(at, str(wrong))
            return None
        if kept is None and column.required:
            self.wrong(at, f"还没有填；{ZERO_TOO}" if column.type in NUMBERS else "还没有填；这一栏必须填")
        return kept

    # ---- tables ------------------------------------------------------------------------------------------------------

    def _table(self, table: FormField, given: Any) -> list[Values] | None:
        rows = [] if given is None else given
        if not isinstance(rows, list):
            self.wrong(table.id, "应为表格的各行；请重新填写")
            return None
        if len(rows) > TABLE_ROWS_MAX:
            self.wrong(table.id, f"有 {len(rows)} 行，最多 {TABLE_ROWS_MAX} 行；请合并或删去一些")
            return None
        known = None if table.rows == "free" else self.facts.rows.get(table.id)
        if all(_is_untouched(table, row) for row in rows):
            if table.required and known != {}:
                self.wrong(table.id, "还没有填；至少要有一行")
            return None
        kept = [row for index, content in enumerate(rows) if (row := self._row(table, index, content))]
        return kept if known is None else self._all_rows(table, kept, known)

    def _row(self, table: FormField, index: int, given: Any) -> Values | None:
        """What is kept of a row; nothing of an empty one of a free table."""
        at = f"{table.id}[{index}]"
        if not isinstance(given, dict):
            self.wrong(at, "应为表格的一行；请重新填写")
            return None
        names = [column.id for column in table.columns]
        kept: Values = {}
        if table.rows != "free":
            names.append(ROW_KEY)
            kept = self._key(table, index, given.get(ROW_KEY))
        elif _is_untouched(table, given):
            return None
        for column in table.columns:
            value = self._answer(f"{at}.{column.id}", column, given.get(column.id))
            if value is not None:
                kept[column.id] = value
        self._unknown(f"{at}.", given, names)
        return kept

    def _key(self, table: FormField, index: int, given: Any) -> Values:
        """The row's key, where it is one of the table's and was not there before."""
        at, places, known = f"{table.id}[{index}].{ROW_KEY}", self.places[table.id], self.facts.rows.get(table.id)
        try:
            key = text_as_kept(given)
        except Wrong:
            key = ""
        if not key or len(key) > KEY_MAX_CHARACTERS or "\n" in key:
            self.wrong(at, "没有写明这一行是谁的；请用页面或模板上已有的行")
        elif known is not None and key not in known:
            self.wrong(at, f"没有 {shown_name(key)} 这一行；请用页面或模板上已有的行")
        elif places.setdefault(key, index) != index:
            self.wrong(at, f"{shown_name(key)} 重复；请只留一行")
        else:
            return {ROW_KEY: key}
        return {}

    def _all_rows(self, table: FormField, rows: list[Values], known: Mapping[str, str]) -> list[Values]:
        """The rows in the order in which they were filled in beforehand; those that lack are named."""
        missing = [name for key, name in known.items() if key not in self.places[table.id]]
        if missing:
            more = f" 等 {len(missing)} 行" if len(missing) > NAMED_MAX else ""
            self.wrong(table.id, f"少了 {'、'.join(missing[:NAMED_MAX])}{more}；请补上，{ZERO_TOO}")
        order = {key: index for index, key in enumerate(known)}
        return sorted(rows, key=lambda row: order.get(row.get(ROW_KEY, ""), len(order)))

    # ---- what must hold between answers ------------------------------------------------------------------------------

    def compare(self, rule: Check) -> None:
        if rule.equals is not None:
            self._adds_up(rule.sum_of, rule.equals)
        else:
            self._at_most(str(rule.field), str(rule.at_most))

    def _at_most(self, name: str, limit: str) -> None:
        value = self._number(name)
        if limit == "headcount":
            most = None if self.facts.headcount is None else Decimal(self.facts.headcount)
            what = "本单位人数"
        else:
            most, what = self._number(limit), f"“{self._title(limit)}”"
        if value is not None and most is not None and value > most:
            self.wrong(name, f"{shown_number(value)} 大于{what} {shown_number(most)}；请核对")

    def _adds_up(self, parts: Sequence[str], total: str) -> None:
        """Details may be left out altogether; once one is given, all are: what is not filled in is not 0."""
        whole, given = self._number(total), {part: self._number(part) for part in parts}
        numbers = [value for value in given.values() if value is not None]
        if whole is None or not numbers:
            return
        if len(numbers) < len(parts):
            wrong_already = {fault.at for fault in self.faults}
            for part, value in given.items():
                if value is None and part not in wrong_already:
                    self.wrong(part, f"还没有填，而“{self._title(total)}”的其他部分已填；{ZERO_TOO}")
            return
        added = sum(numbers, Decimal(0))
        if added != whole:
            titles = " + ".join(self._title(part) for part in parts)
            self.wrong(
                total, f"应等于 {titles}，各部分加起来是 {shown_number(added)}，这里是 {shown_number(whole)}；请核对"
            )

    def compare_with_last(self, form_field: FormField) -> None:
        """A running total (累计) does not fall without a reason; rows of tables are compared under the same key."""
        at, last = form_field.id, self.facts.last_totals.get(form_field.id)
        if form_field.type != "table":
            self._not_less(at, at, form_field, self.values.get(at), last)
            return
        last_rows = {row[ROW_KEY]: row for row in last or () if ROW_KEY in row}
        for row in self.values.get(at, ()):
            for column in form_field.columns if row.get(ROW_KEY) in last_rows else ():
                place, before = self.places[at][row[ROW_KEY]], last_rows[row[ROW_KEY]].get(column.id)
                self._not_less(f"{at}[{place}].{column.id}", at, column, row.get(column.id), before)

    def _not_less(self, at: str, reason_of: str, column: Column, value: Any, last: Any) -> None:
        if column.kind != "running_total" or value is None or last is None or number_of(value) >= number_of(last):
            return
        try:
            reason = text_as_kept(self.facts.reasons.get(reason_of, ""))
        except Wrong as wrong:
            self.wrong(at, f"减少的原因{wrong}")
            return
        if reason:
            self.reasons[reason_of] = reason
        else:
            self.wrong(at, f"累计数 {value} 小于上次的 {last}；请核对，确实减少的请写明原因")

    def _number(self, name: str) -> Decimal | None:
        return None if name not in self.values else number_of(self.values[name])

    def _title(self, name: str) -> str:
        return next(form_field.title for form_field in self.form.fields if form_field.id == name)
