"""What a new definition changes of forms, from which period on, and what it may not change."""

from datetime import datetime
from typing import Any

import pytest
from pydantic import ValidationError

from shared.contracts.campaign import CampaignDefinition
from shared.contracts.campaign_forms_reading import read_forms
from shared.contracts.campaign_freeze import frozen_differences
from shared.forms.changing import changed_meanings, form_changes, has_opened
from tests.support.campaigns import WITHOUT_COURSE, campaign, campaign_content, unit
from tests.support.forms import form, indicator, number

LESSONS = [{"date": f"2024-07-0{day}", "title": "课"} for day in range(1, 6)]  # Monday to Friday
AT_NOON = datetime.fromisoformat("2024-07-03T12:00:00+08:00")  # of the third lesson's day, before its window


def rules(*forms: dict[str, Any], **changes: Any) -> CampaignDefinition:
    certificate = campaign_content()["certificate"] | {"claim_from": "2024-07-05T20:00:00+08:00"}
    return campaign(**{"lessons": LESSONS, "certificate": certificate, "forms": list(forms)} | changes)


def told(old: CampaignDefinition | None, new: CampaignDefinition, now: datetime = AT_NOON) -> list[tuple[Any, ...]]:
    return [
        (one.form, one.change, one.keys, one.period, one.due_at and f"{one.due_at.astimezone(new.zone):%m-%d %H:%M}")
        for one in form_changes(old, new, now)
    ]


def test_a_change_holds_from_the_first_period_that_has_not_opened() -> None:
    was = rules(form())
    later = rules(form(deadline={"at": "20:00"}))
    assert told(was, later) == [("daily", "changed", ["deadline"], "2024-07-03", "07-04 20:00")]
    opened = datetime.fromisoformat("2024-07-03T19:30:00+08:00")
    assert told(was, later, opened) == [("daily", "changed", ["deadline"], "2024-07-04", "07-05 20:00")]
    over = datetime.fromisoformat("2024-07-05T19:30:00+08:00")
    assert told(was, later, over) == [("daily", "changed", ["deadline"], None, None)]
    assert told(was, was) == []
    assert told(was, rules(form(), title="改")) == []


def test_forms_come_and_go() -> None:
    assert told(None, rules(form())) == [("daily", "added", [], "2024-07-03", "07-04 18:00")]
    assert told(rules(), rules(form())) == [("daily", "added", [], "2024-07-03", "07-04 18:00")]
    assert told(rules(form()), rules()) == [("daily", "removed", [], "2024-07-03", "07-04 18:00")]


def test_a_new_once_opens_when_it_is_applied_unless_it_is_due_already() -> None:
    once = form(every="once", by="2024-07-03", deadline={"day": "same_day"})
    assert told(rules(), rules(once)) == [("daily", "added", [], "once", "07-03 18:00")]
    due = datetime.fromisoformat("2024-07-03T18:00:00+08:00")
    assert told(rules(), rules(once), due) == [("daily", "added", [], None, None)]
    assert told(rules(once), rules(once | {"title": "改"})) == [("daily", "changed", ["title"], None, None)]
    assert told(rules(once), rules()) == [("daily", "removed", [], None, None)]
    assert told(rules(once), rules(once)) == []


@pytest.mark.parametrize(
    ("changes", "due"),
    [({"closing_time": "17:00"}, "07-04 17:00"), ({"non_working_days": ["2024-07-04"]}, "07-05 18:00")],
)
def test_what_changes_only_the_due_times_is_told_too(changes: dict[str, Any], due: str) -> None:
    assert told(rules(form()), rules(form(), **changes)) == [("daily", "changed", ["due_times"], "2024-07-03", due)]
    with_time = form(deadline={"at": "18:00"})
    assert told(rules(with_time), rules(with_time, closing_time="17:00")) == []


TABLE = form()["fields"][1]
OTHER = {
    "the type": number("viewers", type="decimal"),
    "the unit": number("viewers", unit="人数"),
    "the kind": number("viewers", kind="level"),
    "from a number to a text": {"id": "viewers", "title": "数", "type": "text"},
    "a table's rows": TABLE | {"rows": "villages"},
    "a column's unit": TABLE | {"columns": [number("posters", unit="张")]},
}


@pytest.mark.parametrize("what", OTHER)
def test_a_field_never_changes_its_meaning_under_its_id(what: str) -> None:
    fields = [OTHER[what] if field["id"] == OTHER[what]["id"] else field for field in form()["fields"]]
    [reason] = changed_meanings([[form()]], campaign(forms=[form(fields=fields)]))
    assert "原为" in reason
    assert "请恢复，或换一个 id" in reason
    left_out = changed_meanings([[form()], [form(fields=[number("other")])]], campaign(forms=[form(fields=fields)]))
    assert left_out == [reason]  # leaving the field out in between does not free its id


def test_a_forms_periods_stay_and_the_rest_may_change() -> None:
    [reason] = changed_meanings([[form()]], campaign(forms=[form(every="day")]))
    assert "daily：原为 every lesson，改为 every day" in reason
    mended = form(
        title="改",
        filled_by={"levels": ["unit"]},
        deadline={"at": "20:00"},
        approval="parent",
        fields=[number("viewers", title="改", required=True, min=1, max=9), number("more")],
    )
    assert changed_meanings([[form()]], campaign(forms=[mended])) == []


def test_once_a_period_has_opened_units_and_opened_lessons_stay_without_any_check_in() -> None:
    was = rules(form())
    without_unit = rules(form(), units=campaign_content()["units"][:-1], channels={})
    moved = rules(form(), lessons=[LESSONS[0] | {"date": "2024-06-30"}, *LESSONS[1:]])
    assert has_opened(was, AT_NOON)
    assert not has_opened(was, datetime.fromisoformat("2024-07-01T19:29:59+08:00"))
    for new, key in ((without_unit, "units"), (moved, "lessons[0]")):
        [reason] = frozen_differences(was, new, AT_NOON, False, owes_reports=True)
        assert reason.startswith(key)
        assert frozen_differences(was, new, AT_NOON, False) == []
    left = [*campaign_content()["units"][:-1], unit("111-EDU", "111", "unit", leaves_on="2024-07-03")]
    assert frozen_differences(was, rules(form(), units=left), AT_NOON, True, owes_reports=True) == []


def test_without_a_course_the_first_day_opens_once() -> None:
    once = campaign(forms=[form(every="once", by="2024-07-01")], **WITHOUT_COURSE)
    assert has_opened(once, datetime.fromisoformat("2024-06-29T00:00:00+08:00"))
    assert not has_opened(once, datetime.fromisoformat("2024-06-28T23:59:59+08:00"))


# --- what a reader makes of a newer version's forms -----------------------------------------------------------------


NOTE = {"id": "note", "title": "备注", "type": "text"}
KNOWN_CHECKS = [{"field": "viewers", "at_most": "headcount"}, {"sum_of": ["viewers"], "equals": "told"}]


def test_a_reader_leaves_out_what_only_a_newer_version_knows_and_counts_it() -> None:
    newer_field = {"id": "place", "title": "位置", "type": "map"}
    newer_kind = number("speed", kind="rate")
    newer_table = TABLE | {"id": "shops", "rows": "shops"}
    half_table = TABLE | {"columns": [*TABLE["columns"], {"id": "where", "title": "位置", "type": "map"}]}
    no_table = TABLE | {"id": "maps", "columns": [{"id": "where", "title": "位置", "type": "map"}]}
    content = form(
        colour="blue",
        fields=[number("viewers"), half_table, newer_field, newer_table, no_table, newer_kind, NOTE, number("told")],
        checks=[
            *KNOWN_CHECKS,
            {"field": "viewers", "at_least": "half"},
            {"field": "place", "at_most": "headcount"},
            {"field": "viewers", "at_most": "place"},
            {"sum_of": ["viewers"], "equals": "place"},
            {"sum_of": ["viewers", "place"], "equals": "told"},
            {"field": "note", "at_most": "headcount"},
        ],
    )
    forms = [
        content,
        form(id="a", every="quarter"),
        form(id="b", deadline={"roll": "sideways"}),
        form(id="c", filled_by={"levels": ["village"]}),
        form(id="d", fields=[newer_field]),
        form(id="e", every="week", weekday="holiday"),
        form(id="f", approval="city"),
        form(id="g", deadline={"day": "last"}),
    ]
    indicators = [
        indicator("daily.viewers / headcount"),
        indicator("median(daily.viewers)", id="newer"),
        indicator("a.viewers", id="of_newer"),
    ]
    read = read_forms(forms, indicators)
    assert [one.model_dump(mode="json") for one in read.forms] == [
        form(fields=[number("viewers"), TABLE, NOTE, number("told")], checks=KNOWN_CHECKS)
    ]
    assert [one.id for one in read.indicators] == ["rate"]
    assert read.unknown == [
        "daily.sites.where.type=map",
        "daily.place.type=map",
        "daily.shops.rows=shops",
        "daily.maps.where.type=map",
        "daily.speed.kind=rate",
        *(f"daily.checks[{index}]" for index in range(2, 8)),
        "a.every=quarter",
        "b.deadline.roll=sideways",
        "c.filled_by.levels=village",
        "d.place.type=map",
        "e.weekday=holiday",
        "f.approval=city",
        "g.deadline.day=last",
        "indicators.newer",
        "indicators.of_newer",
    ]


def test_a_form_that_says_little_is_read_and_one_that_asks_nothing_is_not() -> None:
    named = form(filled_by={"units": ["1"]})
    assert [one.model_dump(mode="json") for one in read_forms([named], []).forms] == [named]
    without_fields = {key: value for key, value in form().items() if key != "fields"}
    assert read_forms([without_fields], []).forms == ()


@pytest.mark.parametrize(
    "content",
    [
        {key: value for key, value in form().items() if key != "filled_by"},
        form(checks=[{"field": "viewers", "at_most": "headcount", "sum_of": ["viewers"], "equals": "viewers"}]),
    ],
)
def test_what_no_version_could_mean_is_refused(content: dict[str, Any]) -> None:
    with pytest.raises(ValidationError):
        read_forms([content], [])


def test_what_this_version_wrote_is_read_whole() -> None:
    whole = campaign(
        forms=[form(checks=[{"field": "viewers", "at_most": "headcount"}])], indicators=[indicator("headcount")]
    )
    read = read_forms(**whole.reported())
    assert (read.forms, read.indicators, read.unknown) == (whole.forms, whole.indicators, [])
