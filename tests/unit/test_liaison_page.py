"""What the liaison's page makes of forms, due times and inputs (DESIGN §5.2)."""

from dataclasses import replace
from datetime import datetime
from typing import Any
from uuid import UUID

from services.reporting.liaison_page import domain
from services.reporting.liaison_page.domain import CORRECTING, Fault, Row, Task
from services.reporting.obligations import values
from shared.contracts.campaign_forms import Form
from shared.moments import Times
from tests.support.forms import form, number

FORM = Form.model_validate(form())
NOW = datetime.fromisoformat("2024-07-01T09:00:00+08:00")
ID = UUID(int=1)


def task(due: str, period: str = "2024-06-29", state: str = "due", **more: Any) -> Task:
    due_at = datetime.fromisoformat(f"2024-{due}:00+08:00")
    text = domain.period_text(FORM, period)
    return Task(FORM, period, text, due_at, state, version=0, submission_id=ID, **more)


def test_what_is_due_at_one_time_stands_together_and_what_is_most_pressing_first() -> None:
    tasks = [
        task("07-03T18:00", "2024-07-02"),
        task("07-01T18:00", "2024-06-30"),
        task("07-01T18:00"),
        task("06-28T18:00", "2024-06-27", "missing"),
        task("07-05T12:00", "2024-06-26", "returned"),
        task("06-20T18:00", "2024-06-19", CORRECTING),
    ]
    screens = domain.together(tasks, NOW)
    periods = [[one.period[5:] for one in screen.tasks] for screen in screens]
    assert periods == [["06-19"], ["06-26"], ["06-27"], ["06-29", "06-30"], ["07-02"]]
    assert [screen.overdue for screen in screens] == [False, False, True, False, False]


def test_the_minute_is_said_and_what_is_past_it() -> None:
    times = Times(NOW.tzinfo, NOW)  # type: ignore[arg-type]  # it has one
    assert domain.due_text(task("07-01T18:00").due_at, times) == "今天 18:00 截止"
    assert domain.due_text(task("06-28T18:00").due_at, times) == "6月28日 18:00 已截止，请尽快补报"


def test_periods_are_words() -> None:
    def of(every: str, period: str, **more: Any) -> str:
        return domain.period_text(Form.model_validate(form(every=every, **more)), period)

    assert of("lesson", "2024-06-29") == "6月29日 周六"
    assert of("week", "2024-W07", weekday="friday") == "2024年第7周"
    assert of("month", "2024-07", by_day=25) == "2024年7月"
    assert of("once", "once", by="2024-07-01") == ""


def test_values_stand_in_the_inputs_from_which_the_same_values_are_read() -> None:
    kept = {"viewers": 0, "sites": [{"posters": 3}, {"posters": 0}]}
    typed = domain.inputs(FORM, kept)
    assert typed == {"viewers": ["0"], "sites.0.posters": ["3"], "sites.1.posters": ["0"]}
    read = values.from_form(FORM, [(at, text) for at, texts in typed.items() for text in texts])
    assert values.check(FORM, read, values.Facts()).values == kept


def test_names_of_inputs_lead_back_to_their_report() -> None:
    named = task("07-01T18:00").name("sites.0.posters")
    assert domain.typed_by_task([(named, "1"), (named, "2"), ("form_token", "x")]) == {
        "daily/2024-06-29": {"sites.0.posters": ["1", "2"]}
    }


def test_what_the_page_adds_by_itself_makes_no_report() -> None:
    assert domain.is_blank({"_version": ["3"], "_submission_id": ["x"], "sites.0.key": ["111"], "viewers": [" "]})
    assert not domain.is_blank({"viewers": ["0"]})


def test_a_fault_is_named_as_the_page_names_the_question() -> None:
    shown = task("07-01T18:00", faults=[Fault("sites.2.posters", "x")], rows={"sites": [Row(2, "k", "五台山")]})
    assert domain.input_of("sites[2].posters") == "sites.2.posters"
    assert shown.title_at("sites.2.posters") == "，点位 五台山 数"
    assert shown.title_at("sites.1.posters") == "，点位 第 2 行 数"
    assert (shown.title_at("viewers"), shown.title_at("")) == ("，数", "")
    assert shown.id("sites.2.posters") == "f-daily-2024-06-29-sites-2-posters"


def test_a_table_shows_the_rows_with_something_in_them_and_never_too_many() -> None:
    assert len(domain.free_rows({}, "sites")) == 1
    typed = {"sites.2.posters": ["1"], "sites2.9.posters": ["1"]}
    assert len(domain.free_rows(typed, "sites")) == 3
    assert len(domain.free_rows(typed, "sites", more=1)) == 4
    assert len(domain.free_rows({"sites.999.posters": ["1"]}, "sites", more=1)) == domain.ROWS_SHOWN_MAX


def test_limits_are_said_as_they_are() -> None:
    def of(**more: Any) -> str:
        return domain.limits_text(Form.model_validate(form(fields=[number("visits", **more)])).fields[0])

    assert [of(min=0, max=9), of(max=9), of(min=2), of()] == ["0–9", "最多 9", "最少 2", ""]


def of_form(**more: Any) -> Task:
    return Task(FORM, "p", "6月29日 周六", NOW, "due", version=0, submission_id=ID, **more)


def test_a_report_has_a_title_its_inputs_values_and_its_faults_by_input() -> None:
    faults = (Fault("viewers", "应为整数"), Fault("", "整份有误"), Fault("viewers", "不能小于 0"))
    one = of_form(typed={"viewers": ["3"], "both": ["a", "b"]}, faults=faults)
    assert one.title == "每日学习情况 6月29日 周六"
    assert (one.value("viewers"), one.value("none"), one.value("both")) == ("3", "", "a")
    assert (list(one.values("both")), list(one.values("none"))) == (["a", "b"], [])
    assert one.faults_of("viewers") == ["应为整数", "不能小于 0"]
    assert one.faults_of("sites.0.posters") == []
    assert (one.answered, domain.ROWS_SHOWN_MAX) == (False, 60)


def test_a_faults_place_is_told_by_its_title() -> None:
    content = form()
    content["fields"][1]["columns"].append(number("staff", title="人员"))
    named = Task(
        Form.model_validate(content), "p", "", NOW, "due", 0, ID, rows={"sites": [Row(0, "111", "甲县"), Row(1)]}
    )
    assert named.title == "每日学习情况"
    assert named.title_at("viewers") == "，数"
    assert named.title_at("sites.0.staff") == "，点位 甲县 人员"
    assert named.title_at("sites.4.posters") == "，点位 第 5 行 数"
    assert named.title_at("gone.0.posters") == ""
    assert named.title_at("gone") == ""


def test_a_screen_says_what_is_wrong_returned_or_corrected_among_its_reports() -> None:
    asks = Form.model_validate(form(id="liaison", asks="liaison", every="once", by="2024-07-01", fields=[DAY]))
    plain, naming = of_form(), Task(asks, "once", "", NOW, "due", 0, ID)
    screen = domain.Together(NOW, [plain, naming], overdue=False)
    assert screen.to_fill == [plain]
    assert (screen.returned, screen.correcting, screen.is_wrong) == (False, False, False)
    assert screen.key == "20240701T0900"

    def beside(**more: Any) -> domain.Together:
        return domain.Together(NOW, [plain, replace(plain, **more)], overdue=False)

    assert beside(state="returned").returned
    assert beside(state=CORRECTING).correcting
    assert beside(refusal="已锁定").is_wrong
    assert beside(faults=(Fault("a", "b"),)).is_wrong


def test_returned_reports_come_first_on_a_screen_and_the_minute_itself_is_not_overdue() -> None:
    other = Form.model_validate(form(id="aaa"))
    due = NOW
    tasks = [
        Task(FORM, "2", "", due, "due", 0, ID),
        Task(FORM, "1", "", due, "due", 0, ID),
        Task(other, "1", "", due, "due", 0, ID),
        Task(FORM, "3", "", due, "returned", 1, ID),
    ]
    [screen] = domain.together(tasks, NOW)
    assert [(one.form.id, one.period) for one in screen.tasks] == [
        ("daily", "3"),
        ("aaa", "1"),
        ("daily", "1"),
        ("daily", "2"),
    ]
    assert not screen.overdue
    assert domain.due_text(NOW, Times(NOW.tzinfo, NOW)).endswith("截止")  # type: ignore[arg-type]
    # What is overdue stands before what is due, although its time is later than that of what is being corrected.
    later = [task("07-01T08:59", "2024-06-29", "missing"), task("07-01T08:00", "2024-06-28", "missing")]
    assert [one.tasks[0].period[5:] for one in domain.together(later, NOW)] == ["06-28", "06-29"]


def test_days_are_words_for_daily_forms_too() -> None:
    assert domain.period_text(Form.model_validate(form(every="day")), "2024-06-29") == "6月29日 周六"


def test_one_filled_input_makes_a_report_and_blanks_keys_and_notes_do_not() -> None:
    assert domain.is_blank({})
    assert domain.is_blank({"viewers": [" "], "sites.0.key": ["111"], "_reason.viewers": ["x"]})
    assert not domain.is_blank({"viewers": [""], "other": ["", "0"]})


def test_rows_reach_as_far_as_the_inputs_and_no_further_than_the_page_shows() -> None:
    typed = {at: ["1"] for at in ("sites.0.posters", "sites.6.posters", "other.9.x")}
    assert domain.row_count(typed, "sites") == 7
    assert domain.row_count({}, "sites") == 0
    assert domain.row_count({"sites.4000.posters": ["1"]}, "sites") == 60
    assert domain.inputs(FORM, {"viewers": None}) == {}
    assert (domain.texts_of(None), domain.texts_of(["a", 1]), domain.texts_of(0)) == ([], ["a", "1"], ["0"])


DAY: dict[str, Any] = {"id": "named_on", "title": "指定日期", "type": "date"}
