"""Forms and indicators of a campaign: what is refused and how it is said, what is just allowed, who fills in what."""

from pathlib import Path
from typing import Any

import pytest
import yaml
from pydantic import ValidationError

from cli.campaign_file import CampaignFileError, load
from shared.contracts.campaign import FORMS_MAX_BYTES, CampaignDefinition, Unit
from shared.contracts.campaign_errors import Finding, explain
from shared.contracts.campaign_forms import PICTURES_MAX, TABLE_ROWS_MAX, TEXT_MAX_CHARACTERS, FilledBy
from shared.contracts.campaign_formulas import Indicator, Named, name_faults, names_in, parsed
from tests.support.campaigns import campaign, campaign_content, unit
from tests.support.forms import form, indicator, number

CHOICE = {"id": "how", "title": "方式", "type": "choice", "options": [{"id": "a", "title": "甲"}]}
NOTE = {"id": "note", "title": "备注", "type": "text"}


def findings(**changes: Any) -> list[Finding]:
    with pytest.raises(ValidationError) as refused:
        campaign(**changes)
    return explain(refused.value)


def in_form(**changes: Any) -> dict[str, Any]:
    return {"forms": [form(**changes)]}


def in_field(**changes: Any) -> dict[str, Any]:
    return in_form(fields=[number("viewers") | changes])


def without(content: dict[str, Any], key: str) -> dict[str, Any]:
    return {name: value for name, value in content.items() if name != key}


def formula(text: str) -> dict[str, Any]:
    return {"forms": [form(fields=[*form()["fields"], NOTE])], "indicators": [indicator(text)]}


FIELD = "forms[0].fields[0]"
FORMULA = "indicators[0].formula"
MISTAKES: dict[str, tuple[dict[str, Any], str, str]] = {
    "a typo": (in_form(evry="day"), "forms[0].evry", "是否想写 every？"),
    "a typo in a column": (
        in_form(fields=[form()["fields"][1] | {"columns": [number("posters", titel="x")]}]),
        "forms[0].fields[0].columns[0].titel",
        "是否想写 title？",
    ),
    "a form twice": ({"forms": [form(), form()]}, "forms[1].id", "daily 重复（第 1 项已有）"),
    "a field twice": (in_form(fields=[number("a"), number("a")]), "forms[0].fields[1].id", "a 重复"),
    "a column twice": (
        in_form(fields=[form()["fields"][1] | {"columns": [number("a"), number("a")]}]),
        "forms[0].fields[0].columns[1].id",
        "a 重复",
    ),
    "an option twice": (
        in_form(fields=[CHOICE | {"options": CHOICE["options"] * 2}]),  # type: ignore[operator]
        "forms[0].fields[0].options[1].id",
        "a 重复",
    ),
    "an indicator twice": (
        {"forms": [form()], "indicators": [indicator("headcount"), indicator("residents")]},
        "indicators[1].id",
        "rate 重复",
    ),
    "an id that Python reads": (in_form(id="class"), "forms[0].id", "class 是保留字"),
    "an id in capitals": (in_field(id="Viewers"), f"{FIELD}.id", "小写英文字母"),
    "nobody": (in_form(filled_by={}), "forms[0].filled_by", "请写 levels、kinds、sectors 或 units"),
    "an unknown level": (in_form(filled_by={"levels": ["village"]}), "forms[0].filled_by.levels[0]", "'county'"),
    "an unknown period": (in_form(every="year"), "forms[0].every", "只能是 'lesson'"),
    "a week without its day": (
        in_form(every="week"),
        "forms[0].every",
        "week 还要写明 weekday；请加上 weekday: friday",
    ),
    "a month without its day": (in_form(every="month"), "forms[0].every", "by_day: 25"),
    "once without a date": (in_form(every="once"), "forms[0].every", 'by: "2024-07-01"'),
    "a weekday of a day": (in_form(every="day", weekday="friday"), "forms[0].weekday", "只用于 every: week"),
    "a 32nd": (in_form(every="month", by_day=32), "forms[0].by_day", "不能大于 31"),
    "a date that is none": (in_form(every="once", by="月底"), "forms[0].by", "请写成 2024-07-01"),
    "an unquoted time": (in_form(deadline={"at": 1080}), "forms[0].deadline.at", '请给时间加引号："18:00"'),
    "an impossible time": (in_form(deadline={"at": "18:60"}), "forms[0].deadline.at", "结束时间可写 24:00"),
    "an unknown roll": (in_form(deadline={"roll": "up"}), "forms[0].deadline.roll", "只能是 'forward'、'back'、'none'"),
    "an unknown due day": (
        in_form(deadline={"day": "tomorrow"}),
        "forms[0].deadline.day",
        "'same_day'、'next_working_day'",
    ),
    "grace beyond a day": (
        in_form(deadline={"grace_minutes": 1441}),
        "forms[0].deadline.grace_minutes",
        "不能大于 1440",
    ),
    "grace below nothing": (in_form(deadline={"grace_minutes": -1}), "forms[0].deadline.grace_minutes", "不能小于 0"),
    "a lock after a year": (
        in_form(deadline={"lock_after_days": 367}),
        "forms[0].deadline.lock_after_days",
        "不能大于 366",
    ),
    "an unknown approver": (in_form(approval="boss"), "forms[0].approval", "'parent'、'none'"),
    "no fields": (in_form(fields=[]), "forms[0].fields", "至少要有 1 项"),
    "an unknown type": (in_field(type="number"), f"{FIELD}.type", "'integer'"),
    "a number without unit": (in_form(fields=[without(number("a"), "unit")]), FIELD, "缺少 unit；请写明计量单位"),
    "a number without kind": (in_form(fields=[without(number("a"), "kind")]), FIELD, "缺少 kind；请写 increment"),
    "a unit of two words": (in_field(unit="人 次"), f"{FIELD}.unit", "不能有空格"),
    "an unknown kind": (in_field(kind="total"), f"{FIELD}.kind", "'running_total'"),
    "a required that is a word": (in_field(required="是"), f"{FIELD}.required", "应为 true 或 false"),
    "a minimum of a text": (in_form(fields=[NOTE | {"min": 1}]), f"{FIELD}.min", "只用于 integer、decimal"),
    "a unit of a text": (in_form(fields=[NOTE | {"unit": "份"}]), f"{FIELD}.unit", "只用于 integer、decimal；"),
    "a minimum that is true": (in_field(min=True), f"{FIELD}.min", "应为数字"),
    "a minimum that is a word": (in_field(min="一"), f"{FIELD}.min", "应为数字"),
    "a minimum that is infinite": (in_field(min=float("inf")), f"{FIELD}.min", "应为数字"),
    "a maximum beyond all": (in_field(max=10**12 + 1), f"{FIELD}.max", "不能大于 1000000000000"),
    "a maximum below the minimum": (in_field(min=2, max=1), f"{FIELD}.max", "1 小于 min 2"),
    "a broken limit of whole numbers": (in_field(min=0.5), f"{FIELD}.min", "请改为整数"),
    "a broken maximum of whole numbers": (in_field(max=1.5), f"{FIELD}.max", "请改为整数"),
    "decimals of a whole number": (in_field(decimals=2), f"{FIELD}.decimals", "只用于 decimal"),
    "a choice without options": (in_form(fields=[without(CHOICE, "options")]), FIELD, "缺少 options"),
    "a table without columns": (
        in_form(fields=[without(form()["fields"][1], "columns")]),
        FIELD,
        "缺少 columns；请列出表格的栏",
    ),
    "a table without rows": (
        in_form(fields=[without(form()["fields"][1], "rows")]),
        FIELD,
        "缺少 rows；请写 free",
    ),
    "a table in a table": (
        in_form(fields=[form()["fields"][1] | {"columns": [{"id": "a", "title": "a", "type": "table"}]}]),
        f"{FIELD}.columns[0].type",
        "只能是",
    ),
    "a column with the name of a row's key": (
        in_form(fields=[form()["fields"][1] | {"columns": [number("key")]}]),
        f"{FIELD}.columns[0].id",
        "key 是表格每行自带的编号；请换一个名称，如 key_1",
    ),
    "a check of nothing": (in_form(checks=[{}]), "forms[0].checks[0]", "at_most: headcount"),
    "a check of both kinds": (
        in_form(checks=[{"field": "viewers", "at_most": "headcount", "equals": "viewers"}]),
        "forms[0].checks[0]",
        "请写成",
    ),
    "a check of no field": (
        in_form(checks=[{"field": "viewer", "at_most": "headcount"}]),
        "forms[0].checks[0].field",
        "没有数字栏 viewer；是否想写 viewers？",
    ),
    "a limit that is no field": (
        in_form(checks=[{"field": "viewers", "at_most": "heads"}]),
        "forms[0].checks[0].at_most",
        "没有数字栏 heads",
    ),
    "a part that is no number": (
        in_form(fields=[number("a"), NOTE], checks=[{"sum_of": ["note"], "equals": "a"}]),
        "forms[0].checks[0].sum_of[0]",
        "没有数字栏 note；可用的有 a",
    ),
    "a total that is no field": (
        in_form(checks=[{"sum_of": ["viewers"], "equals": "total"}]),
        "forms[0].checks[0].equals",
        "没有数字栏 total",
    ),
    "a part twice": (
        in_form(fields=[number("a"), number("b")], checks=[{"sum_of": ["b", "b"], "equals": "a"}]),
        "forms[0].checks[0].sum_of",
        "b 重复",
    ),
    "a total of itself": (
        in_form(checks=[{"sum_of": ["viewers"], "equals": "viewers"}]),
        "forms[0].checks[0].equals",
        "合计不能是自己的一部分",
    ),
    "a name that nobody has": (formula("daily.viewer / headcount"), FORMULA, "是否想写 daily.viewers？"),
    "a total that nobody keeps": (formula("recorded.checkin"), FORMULA, "是否想写 recorded.checkins？"),
    "a text in a formula": (formula("daily.note + 1"), FORMULA, "daily.note 是 text，不是数字"),
    "a column outside a sum": (formula("daily.sites.posters"), FORMULA, "请写成 sum(daily.sites.posters)"),
    "a name that nobody has in a sum": (formula("sum(daily.posters)"), FORMULA, "没有 daily.posters 这个名称"),
    "a column of texts in a sum": (
        {
            "forms": [form(fields=[form()["fields"][1] | {"columns": [number("posters"), NOTE]}])],
            "indicators": [indicator("sum(daily.sites.note)")],
        },
        FORMULA,
        "daily.sites.note 是 text，不是数字",
    ),
    "a minus before a column in a sum": (formula("sum(-daily.sites.posters)"), FORMULA, "请写成 sum"),
    "a column on the right in a sum": (formula("sum(2 * daily.sites.posters)"), FORMULA, "请写成 sum"),
    "a column in a product in a sum": (formula("sum(daily.sites.posters * 2)"), FORMULA, "请写成 sum"),
    "a power": (formula("headcount ** 2"), FORMULA, "四种运算"),
    "a power under a minus": (formula("-(headcount ** 2)"), FORMULA, "四种运算"),
    "a power on the left": (formula("headcount ** 2 + 1"), FORMULA, "四种运算"),
    "an unknown function": (formula("average(headcount)"), FORMULA, "没有函数 average"),
    "a condition": (formula("headcount if 1 else 2"), FORMULA, "公式里只能有"),
    "a call of an attribute": (formula("daily.viewers(1)"), FORMULA, "公式里只能有"),
    "no names": (formula("1 + 1"), FORMULA, "结果永远相同"),
    "half a formula": (formula("headcount /"), FORMULA, "不是有效的公式"),
    "a sum of nothing": (formula("headcount + sum()"), FORMULA, "sum 里没有数"),
    "two for 10,000": (formula("per_10k(headcount, 1)"), FORMULA, "per_10k 要有一个数"),
    "a number too long": (formula("headcount * 1e99"), FORMULA, "不是可用的数"),
    "a formula too long": (formula("headcount" + " " * 492 + "+1"), FORMULA, "最长 500 个字符"),
    "a formula of too many parts": (formula("-" * 480 + "headcount"), FORMULA, "公式太长"),
    "asking for the liaison daily": ({"forms": [form(asks="liaison")]}, "forms[0].asks", "只用于 every: once"),
    "asking for the liaison and a number": (
        {"forms": [form(asks="liaison", every="once", by="2024-07-01", fields=[number("people", required=True)])]},
        "forms[0].fields[0].required",
        "指定联络员时只填日期",
    ),
    "leaving before joining": (
        {"units": [unit("1", None, "city", joins_on="2024-07-02", leaves_on="2024-07-01")], "channels": {}},
        "units[0]",
        "早于 joins_on",
    ),
}


@pytest.mark.parametrize("mistake", MISTAKES)
def test_a_mistake_is_told_with_key_and_remedy_in_chinese(mistake: str) -> None:
    changes, at, remedy = MISTAKES[mistake]
    told = findings(**changes)
    assert any(finding.at == at and remedy in finding.message for finding in told), told
    assert not any("不符合要求：" in finding.message for finding in told)


def test_a_mistake_in_a_file_is_told_with_file_and_line(tmp_path: Path) -> None:
    content = campaign_content(**in_field(id="yes"), indicators=[indicator("headcont")])
    path = tmp_path / "c.yaml"
    path.write_text(yaml.safe_dump(content, allow_unicode=True))
    line = 1 + next(n for n, text in enumerate(path.read_text().splitlines()) if "id: 'yes'" in text)
    with pytest.raises(CampaignFileError) as refused:
        load(path)
    assert f"c.yaml 第 {line} 行 forms[0].fields[0].id（现为 'yes'）：yes 是保留字" in str(refused.value)


@pytest.mark.parametrize(
    "check",
    [
        {"at_most": "headcount"},
        {"field": "viewers"},
        {"field": "viewers", "at_most": "headcount", "sum_of": ["viewers"]},
        {"equals": "viewers"},
        {"sum_of": ["viewers"]},
        {"sum_of": ["told"], "equals": "viewers", "field": "viewers"},
        {"sum_of": ["told"], "equals": "viewers", "at_most": "headcount"},
    ],
)
def test_a_check_is_a_limit_or_a_total_and_a_whole_one(check: dict[str, Any]) -> None:
    told = findings(forms=[form(fields=[number("viewers"), number("told")], checks=[check])])
    assert [(finding.at, "请写成" in finding.message) for finding in told] == [("forms[0].checks[0]", True)]


@pytest.mark.parametrize(
    "word",
    [
        "on",
        "off",
        "yes",
        "no",
        "y",
        "n",
        "true",
        "false",
        "null",
        "none",
        "class",
        "headcount",
        "residents",
        "recorded",
        "sum",
        "min",
        "max",
        "per_10k",
    ],
)
def test_a_word_that_yaml_or_a_formula_reads_otherwise_is_no_id(word: str) -> None:
    told = findings(**in_field(id=word))
    assert [(finding.at, "保留字" in finding.message) for finding in told] == [(f"{FIELD}.id", True)]


FULL_WIDTH = dict(zip("（），＋－×＊÷／．。", "(),+-**//..", strict=True))


@pytest.mark.parametrize(("wrong", "right"), FULL_WIDTH.items())
def test_a_full_width_sign_is_told_with_the_one_to_write(wrong: str, right: str) -> None:
    assert [finding.message for finding in findings(**formula(f"headcount {wrong} 1"))] == [
        f"含有全角符号 {wrong}；请改为半角 {right}"
    ]


def deep(text: str, inner: int) -> str:
    """`text` inside nine sums of a function, which are 18 levels, and `inner` functions more."""
    text = "max(" * inner + text + ")" * inner
    for _ in range(9):
        text = f"max({text}) + 1"
    return text


@pytest.mark.parametrize(
    ("most", "too_much", "told"),
    [
        ("headcount" + "+1" * 199, "headcount" + "+1" * 200, "公式太长；最多 200 个数、名称和运算符"),
        ("max(" * 19 + "headcount" + ")" * 19, "max(" * 20 + "headcount" + ")" * 20, "嵌套太深；最多 20 层"),
        ("-" * 19 + "headcount", "-" * 20 + "headcount", "嵌套太深；最多 20 层"),
        ("1+(" * 19 + "headcount" + ")" * 19, "1+(" * 20 + "headcount" + ")" * 20, "嵌套太深；最多 20 层"),
        (deep("headcount", 1), deep("headcount", 2), "嵌套太深；最多 20 层"),
    ],
)
def test_a_formula_may_be_this_long_and_deep(most: str, too_much: str, told: str) -> None:
    campaign(**formula(most))
    assert [finding.message for finding in findings(**formula(too_much))] == [told]


TOTALS = ("checkins", "credited", "viewers", "certificates_issued", "certificates_claimed")


@pytest.mark.parametrize(
    "text",
    [
        "residents",
        "headcount",
        *(f"recorded.{total}" for total in TOTALS),
        *(f"{function}(daily.sites.posters)" for function in ("sum", "min", "max")),
    ],
)
def test_what_a_formula_may_name(text: str) -> None:
    assert campaign(**formula(text)).indicators[0].decimals == 2  # where it does not say


def test_residents_are_named_by_who_asks_for_10_000_of_them() -> None:
    assert names_in(parsed("per_10k(headcount)")) == [Named("residents", False), Named("headcount", False)]


def test_of_names_that_nobody_has_a_hundred_are_told() -> None:
    many = [Indicator.model_validate(indicator("daily.no", id=f"i{index}")) for index in range(150)]
    assert len(name_faults(many, ())) == 100


EVERY_KEY = [
    number("whole", min=1, max=1),
    number("least", min=1),
    number("most", max=10**12),
    number("range", min=1, max=2),
    {
        "id": "share",
        "title": "占比",
        "type": "decimal",
        "unit": "%",
        "kind": "level",
        "min": 0.5,
        "max": 99.5,
        "decimals": 6,
    },
    CHOICE,
    CHOICE | {"id": "which", "type": "choices"},
    *({"id": f"a_{type_}", "title": "填", "type": type_} for type_ in ("date", "text", "pictures", "file", "link")),
    form()["fields"][1],
]


def test_every_key_of_every_type_and_both_checks_are_taken() -> None:
    sums = [{"sum_of": ["least", "share"], "equals": "whole"}, {"field": "least", "at_most": "whole"}]
    [read] = campaign(forms=[form(fields=EVERY_KEY, checks=sums)]).forms
    assert read.model_dump(mode="json")["fields"] == EVERY_KEY
    assert read.model_dump(mode="json")["checks"] == sums


def test_what_holds_where_a_form_does_not_say() -> None:
    [read] = campaign(forms=[form()]).forms
    assert not read.fields[0].required
    deadline = (read.deadline.day, read.deadline.roll, read.deadline.grace_minutes, read.deadline.lock_after_days)
    assert deadline == ("next_working_day", "forward", 0, 30)


def test_limits_of_what_is_filled_in_are_those_of_the_document() -> None:
    assert (TABLE_ROWS_MAX, TEXT_MAX_CHARACTERS, PICTURES_MAX) == (2000, 2000, 9)  # docs/campaign-file.md


def numbers(count: int) -> list[dict[str, Any]]:
    return [number(f"n{index}") for index in range(count)]


def forms(count: int) -> dict[str, Any]:
    return {"forms": [form(id=f"f{index}") for index in range(count)]}


def table(columns: int) -> dict[str, Any]:
    return in_form(fields=[form()["fields"][1] | {"columns": numbers(columns)}])


def options(count: int) -> dict[str, Any]:
    return in_form(fields=[CHOICE | {"options": [{"id": f"o{index}", "title": "选"} for index in range(count)]}])


def checks(count: int) -> dict[str, Any]:
    return in_form(checks=[{"field": "viewers", "at_most": "headcount"}] * count)


def indicators(count: int) -> dict[str, Any]:
    return {"indicators": [indicator("headcount", id=f"i{index}") for index in range(count)]}


@pytest.mark.parametrize(
    ("most", "too_much"),
    [
        (forms(50), forms(51)),
        (in_form(fields=numbers(60)), in_form(fields=numbers(61))),
        (table(30), table(31)),
        (options(100), options(101)),
        (checks(60), checks(61)),
        (indicators(100), indicators(101)),
        (in_form(every="month", by_day=1), in_form(every="month", by_day=0)),
        (
            in_field(type="decimal", decimals=6),
            in_field(type="decimal", decimals=7),
        ),
        (in_field(unit="人" * 10), in_field(unit="人" * 11)),
        (in_form(filled_by={"units": ["1"] * 200}), in_form(filled_by={"units": ["1"] * 201})),
        (in_form(deadline={"lock_after_days": 366}), in_form(deadline={"lock_after_days": 367})),
    ],
)
def test_a_limit_lets_in_the_most_and_not_more(most: dict[str, Any], too_much: dict[str, Any]) -> None:
    campaign(**most)
    assert findings(**too_much)


def test_forms_have_room_in_one_event_of_their_own_and_take_none_of_the_rules() -> None:
    many = [form(id=f"f{index}", fields=numbers(30)) for index in range(50)]
    assert len(campaign(forms=many).rules()) == len(campaign().rules())
    told = findings(forms=[content | {"fields": numbers(60)} for content in many])
    assert [(finding.at, str(FORMS_MAX_BYTES) in finding.message) for finding in told] == [("forms", True)]


def test_a_form_at_its_defaults_says_nothing_of_them_and_survives_json() -> None:
    whole = campaign(forms=[form(deadline={"roll": "forward"}, approval="none")], indicators=[indicator("headcount")])
    assert whole.reported()["forms"] == [form()]
    assert whole.reported()["indicators"] == [indicator("headcount")]
    assert CampaignDefinition.model_validate_json(whole.model_dump_json()) == whole
    assert whole.content_hash() != campaign().content_hash()


@pytest.mark.parametrize(
    ("filled_by", "codes"),
    [
        ({"levels": ["county"]}, {"bureau", "school"}),
        ({"levels": ["county"], "kinds": ["bureau"]}, {"bureau"}),
        ({"kinds": ["bureau"]}, {"bureau"}),
        ({"levels": ["county"], "kinds": ["bureau"], "sectors": ["education"]}, set()),
        ({"sectors": ["education"]}, {"school"}),
        ({"units": ["root"]}, {"root"}),
        ({"kinds": ["bureau"], "units": ["root"]}, {"bureau", "root"}),
        ({"kinds": [], "sectors": [], "units": ["root"]}, {"root"}),
    ],
)
def test_all_lists_must_match_and_units_are_added(filled_by: dict[str, Any], codes: set[str]) -> None:
    units = [
        unit("root", None, "city"),
        unit("bureau", "root", "county", kind="bureau"),
        unit("school", "root", "county", kind="department", sector="education"),
    ]
    named = FilledBy.model_validate(filled_by)
    assert {row["unit_code"] for row in units if named.includes(Unit.model_validate(row))} == codes
