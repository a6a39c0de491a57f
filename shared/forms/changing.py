"""What a new definition changes of forms, from which period on, and what it may not change (DESIGN §5.2).

A period keeps the form and due time that it had when it opened. So a change holds from the first period that has not opened, and
a new form also for one that opens in this moment. A new form's `once` is the exception: it opens when it is applied, where it is
not yet due.
"""

from collections.abc import Iterable, Mapping, Sequence
from datetime import datetime
from typing import Any, Literal, NamedTuple

from shared.contracts.campaign import CampaignDefinition
from shared.contracts.campaign_forms import Form
from shared.forms.periods import Due, Period, due, periods
from shared.forms.working_days import WorkingDays

Change = Literal["added", "changed", "removed"]
Json = Mapping[str, Any]

MEANING = ("type", "unit", "kind", "rows")
DUE_TIMES = "due_times"  # what differs where only the campaign's closing time or working days were changed


class FormChange(NamedTuple):
    """A change of one form. `keys`: those of the form that differ, or `due_times`. `period` is the first one that it holds for,
    with its opening and due time; all three are None where no period is left to open."""

    form: str
    title: str
    change: Change
    keys: list[str]
    period: str | None
    opens_at: datetime | None
    due_at: datetime | None


def form_changes(old: CampaignDefinition | None, new: CampaignDefinition, now: datetime) -> list[FormChange]:
    """Every form that differs, those of `new` first."""
    if old is None:
        return [_added(form, new, now) for form in new.forms]
    before = {form.id: form for form in old.forms}
    changes: list[FormChange] = []
    for form in new.forms:
        if form.id not in before:
            changes.append(_added(form, new, now))
            continue
        ahead = _ahead(form, new, now, is_new=False)
        if keys := _differing(old, before[form.id], form, ahead, now):
            changes.append(_change("changed", form, keys, ahead))
    kept = {form.id for form in new.forms}
    removed = [form for form in old.forms if form.id not in kept]
    return changes + [_change("removed", form, [], _ahead(form, old, now, is_new=False)) for form in removed]


def _added(form: Form, rules: CampaignDefinition, now: datetime) -> FormChange:
    return _change("added", form, [], _ahead(form, rules, now, is_new=True))


def _ahead(form: Form, rules: CampaignDefinition, now: datetime, *, is_new: bool) -> list[tuple[Period, Due]]:
    """The periods that a change of the form, or a new form, holds for."""
    working_days = WorkingDays.of(rules)
    dated = [(period, due(form, period, rules, working_days)) for period in periods(form, rules)]
    at_once = is_new and form.every == "once"
    return [
        (period, one)
        for period, one in dated
        if period.opens_at > now or (is_new and period.opens_at == now) or (at_once and one.due_at > now)
    ]


def _differing(
    old: CampaignDefinition, before: Form, after: Form, ahead: list[tuple[Period, Due]], now: datetime
) -> list[str]:
    was, is_now = before.model_dump(mode="json"), after.model_dump(mode="json")
    keys = [key for key in Form.model_fields if was.get(key) != is_now.get(key)]
    dates = {period.key: due_time for period, due_time in _ahead(before, old, now, is_new=False)}
    if not keys and dates != {period.key: due_time for period, due_time in ahead}:
        keys.append(DUE_TIMES)
    return keys


def _change(change: Change, form: Form, keys: list[str], ahead: list[tuple[Period, Due]]) -> FormChange:
    if not ahead:
        return FormChange(form.id, form.title, change, keys, None, None, None)
    period, due_time = ahead[0]
    return FormChange(form.id, form.title, change, keys, period.key, period.opens_at, due_time.due_at)


def has_opened(definition: CampaignDefinition, now: datetime) -> bool:
    """Whether a period of one of the campaign's forms has opened: then units may owe reports."""
    return any(period.opens_at <= now for form in definition.forms for period in periods(form, definition))


def changed_meanings(earlier: Iterable[Sequence[Json]], new: CampaignDefinition) -> list[str]:
    """Why `new` may not be applied after these forms (JSON) of all earlier revisions: a form's periods and a field's type, unit
    or kind never change under their id, because reports are kept under it. Texts in zh-Hans, with key, old and new value."""
    was = {id_: meaning for forms in earlier for id_, meaning in _meanings(forms).items()}
    forms = [form.model_dump(mode="json") for form in new.forms]
    return [
        f"forms 里 {id_}：原为 {_text(was[id_])}，改为 {_text(meaning)}。"
        "原因：已用的编号不能换含义，旧的上报会被读错；请恢复，或换一个 id"
        for id_, meaning in _meanings(forms).items()
        if was.get(id_, meaning) != meaning
    ]


def _meanings(forms: Iterable[Json]) -> dict[str, tuple[tuple[str, Any], ...]]:
    """`daily`, `daily.viewers`, `daily.sites.posters` → what must not change of it."""
    meanings: dict[str, tuple[tuple[str, Any], ...]] = {}
    for form in forms:
        meanings[form["id"]] = (("every", form["every"]),)
        for field in form["fields"]:
            meanings[f"{form['id']}.{field['id']}"] = _meaning(field)
            for column in field.get("columns", ()):
                meanings[f"{form['id']}.{field['id']}.{column['id']}"] = _meaning(column)
    return meanings


def _meaning(field: Json) -> tuple[tuple[str, Any], ...]:
    return tuple((key, field[key]) for key in MEANING if field.get(key) is not None)


def _text(meaning: Iterable[tuple[str, Any]]) -> str:
    return "、".join(f"{key} {value}" for key, value in meaning)
