"""States, rates, openings and receipts of what units owe."""

from datetime import UTC, date, datetime, timedelta
from typing import Any

import pytest

from services.reporting.obligations import domain
from services.reporting.obligations.domain import Obligation, ObligationKey, Tally, is_above, still_owed
from services.reporting.obligations.opening import Revision, openings, owing_units
from services.reporting.obligations.receipts import digest, new_number, number_as_kept
from shared.contracts.campaign import Unit
from shared.contracts.campaign_forms import Form
from shared.tree import Tree
from tests.support.campaigns import WITHOUT_COURSE, campaign, unit
from tests.support.forms import form

DUE = datetime(2024, 7, 1, 10, tzinfo=UTC)
SECOND, GRACE = timedelta(seconds=1), timedelta(minutes=5)


def owed(**changes: Any) -> Obligation:
    return Obligation(
        campaign_id="c",
        form="daily",
        period="2024-06-29",
        unit_code="111",
        forms_revision=1,
        opened_at=DUE - timedelta(days=2),
        due_at=DUE,
        on_time_until=DUE + GRACE,
        locks_at=DUE + timedelta(days=30),
        version=0,
        submitted_at=None,
        returned_at=None,
        returned_empty=False,
        return_reason=None,
        excused_at=None,
        excuse_reason=None,
        approved_at=None,
        next_due_at=DUE,
    )._replace(**changes)


@pytest.mark.parametrize(
    ("changes", "now", "state", "is_owed"),
    [
        ({}, DUE + GRACE, "due", True),
        ({}, DUE + GRACE + SECOND, "missing", True),
        ({"submitted_at": DUE + GRACE}, DUE + timedelta(days=1), "on_time", False),
        ({"submitted_at": DUE + GRACE + SECOND}, DUE + timedelta(days=1), "late", False),
        ({"submitted_at": DUE, "returned_at": DUE}, DUE, "returned", True),
        ({"returned_at": DUE, "excused_at": DUE}, DUE, "excused", False),
        ({"excused_at": DUE}, DUE + timedelta(days=1), "excused", False),
    ],
)
def test_a_state_follows_from_what_became_of_it(changes: Any, now: datetime, state: str, is_owed: bool) -> None:
    obligation = owed(**changes)
    assert (obligation.state(now), obligation.is_owed()) == (state, is_owed)


def test_what_is_owed_stands_by_its_due_time() -> None:
    soon = owed(form="z", next_due_at=DUE - SECOND)
    reported = owed(form="b", submitted_at=DUE)
    later, last = owed(form="c", period="2024-06-30"), owed(form="d", period="2024-06-28")
    assert still_owed([last, later, owed(form="c"), reported, soon]) == [soon, owed(form="c"), later, last]
    assert soon.key == ObligationKey("c", "z", "2024-06-29", "111")


@pytest.mark.parametrize(
    ("tally", "reporting", "on_time"),
    [
        (Tally(), None, None),
        (Tally(excused=3), None, None),
        (Tally(expected=3, on_time=1, late=1, missing=1), 0.6667, 0.3333),
        (Tally(expected=2, on_time=2), 1.0, 1.0),
        (Tally(expected=20_000, late=1), 0.0001, 0.0),
    ],
)
def test_rates_have_four_places_and_none_without_anything_expected(
    tally: Tally, reporting: float | None, on_time: float | None
) -> None:
    assert (tally.reporting_rate, tally.on_time_rate) == (reporting, on_time)


TREE = Tree(
    Unit.model_validate(one)
    for one in (
        unit("1", None, "province"),
        unit("11", "1", "city"),
        unit("111", "11", "county"),
        unit("112", "11", "county"),
    )
)


def test_sums_by_subtree_overlap_and_end_at_the_root() -> None:
    tallies = [("111", Tally(expected=2, late=1)), ("112", Tally(expected=1)), ("gone", Tally(expected=5))]
    sums = domain.by_subtree(tallies, TREE, None)
    assert {key: tally.expected for key, tally in sums.items()} == {"111": 2, "11": 3, "1": 3, "112": 1, "gone": 5}
    assert set(domain.by_subtree(tallies[:2], TREE, "11")) == {"111", "11", "112"}
    assert domain.added(tally for _, tally in tallies) == Tally(expected=8, late=1)
    assert domain.rolled_up(tallies, {"111": "x", "112": "x"}) == {
        "x": Tally(expected=3, late=1),
        "gone": Tally(expected=5),
    }


@pytest.mark.parametrize(
    ("scope", "above"), [(None, True), ("1", True), ("11", True), ("111", False), ("112", False), ("gone", False)]
)
def test_only_who_stands_above_a_unit_decides_about_it(scope: str | None, above: bool) -> None:
    assert is_above(TREE, scope, "111") is above


# ---- openings --------------------------------------------------------------------------------------------------------


def opened(*revisions: tuple[str, dict[str, Any]], **rules: Any) -> list[tuple[str, str, int, str]]:
    """(form, period, revision, opens at) for revisions defined at `06-29 19:30`, each with one form."""
    made = [
        Revision(number, _at(when), (Form.model_validate(content),))
        for number, (when, content) in enumerate(revisions, start=1)
    ]
    return [
        (one.form.id, one.period, one.forms_revision, f"{one.opens_at.astimezone(campaign().zone):%m-%d %H:%M}")
        for one in openings(made, campaign(**rules))
    ]


def _at(text: str) -> datetime:
    return datetime.fromisoformat(f"2024-{text.replace(' ', 'T')}:00+08:00")


def test_a_period_has_the_form_in_force_when_it_opens() -> None:
    changed = form(title="改名")
    assert opened(("06-28 12:00", form()), ("06-30 12:00", changed)) == [
        ("daily", "2024-06-29", 1, "06-29 19:30"),
        ("daily", "2024-06-30", 2, "06-30 19:30"),
    ]
    # A change in the moment of opening comes too late for the period.
    assert opened(("06-28 12:00", form()), ("06-30 19:30", changed))[1] == ("daily", "2024-06-30", 1, "06-30 19:30")


def test_nobody_owes_what_opened_before_the_form_came() -> None:
    assert opened(("06-29 19:30", form())) == [
        ("daily", "2024-06-29", 1, "06-29 19:30"),
        ("daily", "2024-06-30", 1, "06-30 19:30"),
    ]
    assert opened(("06-29 19:31", form())) == [("daily", "2024-06-30", 1, "06-30 19:30")]


def test_once_opens_when_the_form_comes_unless_it_is_over() -> None:
    once = form(id="plan", every="once", by="2024-07-01", deadline={"day": "same_day"})
    assert opened(("06-28 12:00", once)) == [("plan", "once", 1, "06-29 00:00")]
    assert opened(("07-01 17:59", once)) == [("plan", "once", 1, "07-01 17:59")]
    assert opened(("07-01 18:00", once)) == []
    assert opened(("06-28 12:00", once), ("06-30 12:00", once | {"title": "改名"})) == [
        ("plan", "once", 1, "06-29 00:00")
    ]


def test_a_form_that_was_taken_back_opens_no_more_periods() -> None:
    other = form(id="other")
    assert [row[:3] for row in opened(("06-28 12:00", form()), ("06-30 12:00", other))] == [
        ("daily", "2024-06-29", 1),
        ("other", "2024-06-30", 2),
    ]


def test_a_year_that_nobody_knows_fails_that_period_alone() -> None:
    days = form(every="day")
    far = {**WITHOUT_COURSE, "starts_on": "2026-12-29", "ends_on": "2027-01-01"}
    revision = Revision(1, _at("06-28 12:00"), (Form.model_validate(days),))
    made = openings([revision], campaign(**far))
    assert [one.period for one in made if one.due is None] == ["2026-12-31", "2027-01-01"]
    assert len(made) == 4


@pytest.mark.parametrize(
    ("joins", "leaves", "owes"),
    [
        (None, None, True),
        ("2024-06-29", None, True),
        ("2024-06-30", None, False),
        (None, "2024-06-30", True),
        (None, "2024-06-29", False),
    ],
)
def test_a_unit_owes_what_begins_from_the_day_it_joins_until_the_day_it_leaves(
    joins: str | None, leaves: str | None, owes: bool
) -> None:
    revision = Revision(1, _at("06-28 12:00"), (Form.model_validate(form()),))
    opening = openings([revision], campaign())[0]
    assert opening.begins_on == date(2024, 6, 29)
    given = unit("111", "11", "county", joins_on=joins, leaves_on=leaves)
    other = unit("11", "1", "city")
    assert owing_units(opening, [Unit.model_validate(one) for one in (given, other)]) == (["111"] if owes else [])


# ---- receipts --------------------------------------------------------------------------------------------------------


def test_a_receipts_number_is_understood_as_typed_and_checked() -> None:
    number = new_number(lambda below: 12345)
    assert number_as_kept(f" {number.lower().replace('-', ' ')} ") == number
    wrong = number[:-1] + ("2" if number[-1] != "2" else "3")
    assert [number_as_kept(text) for text in (wrong, number[:-1], "", number + "2")] == [None] * 4


def test_a_digest_covers_all_that_was_reported_and_no_more() -> None:
    key = ObligationKey("c", "daily", "2024-06-29", "111")
    golden = digest(key, 1, DUE, {"a": 1, "b": "二"})
    assert golden.hex() == "469b1a80fff010f44c93dc5b12a1000801601867c519744e6527fcdce488ad03"
    assert digest(key, 1, DUE.astimezone(campaign().zone), {"b": "二", "a": 1}) == golden
    others = [
        digest(key._replace(unit_code="112"), 1, DUE, {"a": 1, "b": "二"}),
        digest(key, 2, DUE, {"a": 1, "b": "二"}),
        digest(key, 1, DUE + SECOND, {"a": 1, "b": "二"}),
        digest(key, 1, DUE, {"a": 2, "b": "二"}),
    ]
    assert len({golden, *others}) == 5
