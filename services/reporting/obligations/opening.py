"""Which periods open when, with which form, and which units owe them (DESIGN §5.2). Pure.

A period is opened once, with the form that was in force when it opened. What opened before the campaign had the form is owed by
nobody; but a form's `once` opens when the form comes, where it is not yet due, as shared/forms/changing.py tells beforehand.
"""

from collections.abc import Iterable, Sequence
from datetime import date, datetime
from typing import NamedTuple

from shared.contracts.campaign import CampaignRules, Unit
from shared.contracts.campaign_forms import Form
from shared.forms.periods import Due, Period, due, periods
from shared.forms.working_days import NoWorkingDay, UnknownYear, WorkingDays


class Revision(NamedTuple):
    """A campaign's forms as of one revision of its definition."""

    revision: int
    defined_at: datetime
    forms: tuple[Form, ...]


class Opening(NamedTuple):
    """A period to open. `due` is None while nobody knows when its reports are due, because the working days of that year are not
    known: it opens as soon as the campaign's rules say them."""

    form: Form
    forms_revision: int
    period: str
    opens_at: datetime
    begins_on: date
    due: Due | None


def openings(revisions: Sequence[Revision], rules: CampaignRules) -> list[Opening]:
    """All periods that are ever opened, by time. `revisions`: all of the campaign, by number."""
    working_days = WorkingDays.of(rules)
    plan = [
        opening
        for form_id in dict.fromkeys(form.id for revision in revisions for form in revision.forms)
        for opening in _of_form(form_id, revisions, rules, working_days)
    ]
    return sorted(plan, key=lambda opening: (opening.opens_at, opening.form.id, opening.period))


def _of_form(
    form_id: str, revisions: Sequence[Revision], rules: CampaignRules, working_days: WorkingDays
) -> Iterable[Opening]:
    versions = [
        (revision, next((form for form in revision.forms if form.id == form_id), None)) for revision in revisions
    ]
    first = next(revision for revision, form in versions if form is not None)
    seen = set()
    for index, (revision, form) in enumerate(versions):
        ends_at = versions[index + 1][0].defined_at if index + 1 < len(versions) else None
        if form is None:
            continue
        for period in periods(form, rules):
            opens_at = period.opens_at
            if form.every == "once" and revision is first:
                opens_at = max(opens_at, first.defined_at)  # it opens when the form comes
            begun = revision.defined_at < opens_at or (revision is first and revision.defined_at == opens_at)
            if not begun or (ends_at is not None and opens_at > ends_at) or period.key in seen:
                continue
            seen.add(period.key)
            opening = _opening(form, revision.revision, period, opens_at, rules, working_days)
            if opens_at == period.opens_at or opening.due is None or opening.due.due_at > opens_at:
                yield opening


def _opening(
    form: Form, revision: int, period: Period, opens_at: datetime, rules: CampaignRules, working_days: WorkingDays
) -> Opening:
    begins_on = period.opens_at.astimezone(rules.zone).date()
    try:
        known = due(form, period, rules, working_days)
    except (UnknownYear, NoWorkingDay):
        known = None
    return Opening(form, revision, period.key, opens_at, begins_on, known)


def owing_units(opening: Opening, units: Iterable[Unit]) -> list[str]:
    """The units that owe the period: those that fill in the form, have joined by the day on which it begins (FACTS A9) and have
    not left."""
    day = opening.begins_on
    return [
        unit.unit_code
        for unit in units
        if opening.form.filled_by.includes(unit)
        and (unit.joins_on is None or unit.joins_on <= day)
        and (unit.leaves_on is None or day < unit.leaves_on)
    ]
