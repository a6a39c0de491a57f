"""The values of a report: what is kept of what somebody gives, and what it is told (DESIGN §5.2)."""

import json
from collections.abc import Mapping
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from services.reporting.obligations.values import (
    Checked,
    Difference,
    Facts,
    canonical,
    check,
    differing,
    field_of,
    from_form,
    ids_given,
    reasons_from,
)
from shared.contracts.campaign_checks import FAULTS_MAX
from shared.contracts.campaign_forms import Form
from tests.support import forms

DIGITS = "只写半角数字，如 1234；不要写单位、逗号、空格或其他符号"
NO_NUMBER = f"应为数字；{DIGITS}"
NOT_FILLED = "还没有填；没有就填 0"
LINK_ONLY = "请只粘贴以 https:// 开头的完整链接，前后不要带文字"
CONTROL = "含有看不见的控制字符；请删掉后重新输入，不要从别处粘贴"
A_DATE = "应为日期，如 2024-06-29；请填年、月、日"
OPTIONS = [{"id": "red", "title": "红"}, {"id": "green", "title": "绿"}]


def form_of(*fields: dict[str, Any], **more: Any) -> Form:
    return Form.model_validate(forms.form(fields=list(fields), **more))


def field(type_: str, **more: Any) -> dict[str, Any]:
    return {"id": "a", "title": "甲", "type": type_, **more}


def integer(field_id: str = "a", **more: Any) -> dict[str, Any]:
    return forms.number(field_id, **({"title": field_id.upper(), "max": 100_000} | more))


def table(rows: str = "free", *columns: dict[str, Any], **more: Any) -> dict[str, Any]:
    return field(
        "table", rows=rows, columns=list(columns) or [integer("k", title="数"), field("text", id="note")], **more
    )


def checked(form: Form, values: Mapping[str, Any], **facts: Any) -> Checked:
    return check(form, values, Facts(**facts))


def kept(form: Form, values: Mapping[str, Any], **facts: Any) -> Any:
    result = checked(form, values, **facts)
    assert result.faults == [], result.faults
    return result.values


def faults(form: Form, values: Mapping[str, Any], **facts: Any) -> list[tuple[str, str]]:
    return [(at, text) for at, text in checked(form, values, **facts).faults]


# ---- one answer ------------------------------------------------------------------------------------------------------

INTEGER = integer()
DECIMAL = field("decimal", unit="元", kind="increment", decimals=2, max=5.5)
CHOICE, CHOICES = field("choice", options=OPTIONS), field("choices", options=OPTIONS)


@pytest.mark.parametrize(
    ("asked", "value", "stays"),
    [
        (INTEGER, 0, 0),
        (INTEGER, "0", 0),
        (INTEGER, 12.0, 12),
        (INTEGER, -0.0, 0),
        (INTEGER, " 0012\u3000", 12),
        (INTEGER, 100_000, 100_000),
        (integer(min=-5), -5, -5),
        (integer(min=-5), "-5", -5),
        (integer(max=10**12), 10**12, 10**12),
        (DECIMAL, 1, "1"),
        (DECIMAL, 0.0, "0"),
        (DECIMAL, -0.0, "0"),
        (DECIMAL, "1.50", "1.5"),
        (DECIMAL, 5.5, "5.5"),
        (DECIMAL, "5.500", "5.5"),
        (DECIMAL | {"max": 1000}, "100", "100"),
        (DECIMAL | {"min": -1}, "-0.25", "-0.25"),
        (field("decimal", unit="元", kind="level"), 0.000001, "0.000001"),
        (CHOICE, "green", "green"),
        (CHOICES, ["green", "red", "green"], ["red", "green"]),
        (CHOICES, ["green"], ["green"]),
        (field("date"), "2024-06-29", "2024-06-29"),
        (field("date"), " 2024-6-9 ", "2024-06-09"),
        (field("date"), "2024/6/29", "2024-06-29"),
        (field("date"), "2024.6.29", "2024-06-29"),
        (field("date"), "2024年6月29日", "2024-06-29"),
        (field("date"), "2000-01-01", "2000-01-01"),
        (field("date"), "2099-12-31", "2099-12-31"),
        (field("text"), "  好 ", "好"),
        (field("text"), "e\u0301\r\nb\rc\td", "é\nb\nc\td"),
        (field("text"), "学得好👍", "学得好👍"),
        (field("text"), "=1+1", "=1+1"),
        (field("text"), "字" * 2000, "字" * 2000),
        (field("link"), " https://mp.weixin.qq.com/s?a=1#b ", "https://mp.weixin.qq.com/s?a=1#b"),
        (field("link"), "HTTPS://例子.中国/新闻", "HTTPS://例子.中国/新闻"),
        (field("pictures"), ["p-1", "p-2", "p-1"], ["p-1", "p-2"]),
        (field("pictures"), [f"p-{number}" for number in range(9)], [f"p-{number}" for number in range(9)]),
        (field("file"), "f-1", "f-1"),
    ],
)
def test_an_answer_is_kept_in_one_way_however_it_was_written(asked: dict[str, Any], value: Any, stays: Any) -> None:
    values = kept(form_of(asked | {"required": True}), {"a": value})
    assert (values, type(values["a"])) == ({"a": stays}, type(stays))


@pytest.mark.parametrize(
    ("asked", "value", "text"),
    [
        *(
            (INTEGER, typed, DIGITS)
            for typed in ("１２", "1,234", "12人", "1e9", "+5", "1 2", "12.", "😀", "1\x00", "NaN")
        ),
        *((INTEGER, value, NO_NUMBER) for value in (True, float("nan"), float("inf"), [1], {"a": 1})),
        (INTEGER, -1, "不能小于 0；请核对后重填"),
        (INTEGER, "-1", "不能小于 0；请核对后重填"),
        (integer(min=3), 2, "不能小于 3；请核对后重填"),
        (INTEGER, 1e9, "不能大于 100000；请核对，是否多打了一位"),
        (INTEGER, 100_001, "不能大于 100000；请核对，是否多打了一位"),
        (integer(max=10**12), 10**12 + 1, "数字太大，最多 1000000000000；请核对"),
        (INTEGER, 10**400, "数字太大，最多 1000000000000；请核对"),
        (INTEGER, "9" * 40, "数字太大，最多 1000000000000；请核对"),
        (INTEGER, "9" * 41, "数字太长，最多 1000000000000；请核对"),
        (INTEGER, 12.5, "应为整数；请去掉小数"),
        (INTEGER, "12.5", "应为整数；请去掉小数"),
        (DECIMAL, "1.005", "最多 2 位小数；请四舍五入后再填"),
        (DECIMAL, 5.51, "不能大于 5.5；请核对，是否多打了一位"),
        (field("decimal", unit="元", kind="level"), "0.0000001", "最多 6 位小数；请四舍五入后再填"),
        (CHOICE, "blue", "没有这个选项；可选 红、绿"),
        (CHOICE, ["red"], "应选一项；请从选项中选择"),
        (CHOICES, "red", "应为选项的列表；请从选项中选择"),
        (CHOICES, ["red", 1], "应为选项的列表；请从选项中选择"),
        (CHOICES, ["red", "blue"], "有不认识的选项；可选 红、绿"),
        *(
            (field("date"), value, A_DATE)
            for value in ("6月29日", "2024-06", 20240629, "2024年6月29", "2024-6-29日", "今天")
        ),
        (field("date"), "2024-6/29", A_DATE),
        (field("date"), "２０２４-06-29", A_DATE),
        (field("date"), "2024-02-30", "没有这一天；请核对月和日"),
        (field("date"), "1999-12-31", "年份应在 2000 到 2099 之间；请核对"),
        (field("date"), "2100-01-01", "年份应在 2000 到 2099 之间；请核对"),
        (field("text"), "a\x00", CONTROL),
        (field("text"), "\x1f", CONTROL),
        (field("text"), "a\ud800", "含有不完整的字符；请删掉后重新输入"),
        (field("text"), "\udfffb", "含有不完整的字符；请删掉后重新输入"),
        (field("text"), 5, "应为文字；请重新填写"),
        (field("text"), "字" * 2001, "有 2001 个字，最多 2000 个；请缩短"),
        (field("text"), "字" * 4000, "有 4000 个字，最多 2000 个；请缩短"),
        (field("text"), "字" * 4001, "太长，最多 2000 个字；请缩短"),
        *(
            (field("link"), link, LINK_ONLY)
            for link in (
                "http://example.org/",
                "新闻 https://example.org/",
                "https://example.org/ 看",
                "https://localhost/",
                "https://a@example.org/",
                "https://example.org:0/",
                "https://[example.org/",
                "https://example.org:99999/",
                "javascript:alert(1)",
            )
        ),
        (field("pictures"), "p-1", "应为已上传的图片；请重新上传"),
        (field("pictures"), ["p-1", "../x"], "应为已上传的图片；请重新上传"),
        (field("pictures"), ["p\n"], "应为已上传的图片；请重新上传"),
        (field("pictures"), [["p"]], "应为已上传的图片；请重新上传"),
        (field("pictures"), [f"p-{number}" for number in range(10)], "最多 9 张图片，这里有 10 张；请删去一些"),
        (field("file"), ["f-1"], "应为已上传的文件；请重新上传"),
        (field("file"), "a b", "应为已上传的文件；请重新上传"),
    ],
)
def test_a_wrong_answer_is_told_beside_its_field(asked: dict[str, Any], value: Any, text: str) -> None:
    assert faults(form_of(asked), {"a": value}) == [("a", text)]


@pytest.mark.parametrize(
    "asked", [INTEGER, DECIMAL, CHOICE, CHOICES, *map(field, ("date", "text", "link", "pictures"))]
)
@pytest.mark.parametrize("nothing", [None, "", " \u3000\r\n\t", []])
def test_nothing_is_missing_and_never_zero(asked: dict[str, Any], nothing: Any) -> None:
    assert kept(form_of(asked), {"a": nothing}) == {}
    told = NOT_FILLED if asked["type"] in ("integer", "decimal") else "还没有填；这一栏必须填"
    assert faults(form_of(asked | {"required": True}), {"a": nothing}) == [("a", told)]
    assert faults(form_of(asked | {"required": True}), {}) == [("a", told)]


def test_many_options_are_not_all_named() -> None:
    options = [{"id": f"o{number}", "title": f"选{number}"} for number in range(11)]
    ten = "、".join(f"选{number}" for number in range(10))
    assert faults(form_of(field("choice", options=options)), {"a": "x"}) == [("a", f"没有这个选项；可选 {ten}……")]
    assert faults(form_of(field("choice", options=options[:10])), {"a": "x"}) == [("a", f"没有这个选项；可选 {ten}")]


def test_ids_of_pictures_are_found_in_whatever_was_sent() -> None:
    form = form_of(field("pictures"), field("file", id="b"), field("pictures", id="c"), field("text", id="d"))
    given = {"a": ["x", "y", 7, None, ["z"]], "b": "f", "c": "odd", "d": "text", "e": ["nobody asked"]}
    assert ids_given(form, given, "pictures") == {"x", "y", "odd"}
    assert ids_given(form, given, "file") == {"f"}
    assert ids_given(form, {"a": None, "c": {"x": "y"}}, "pictures") == frozenset()


def test_pictures_and_files_must_have_been_sent_up() -> None:
    form = form_of(field("pictures"), field("file", id="b"))
    assert kept(form, {"a": ["p"], "b": "f"}, sent_up=["p", "f"]) == {"a": ["p"], "b": "f"}
    assert kept(form, {"a": ["p"]}, sent_up={"p"}) == {"a": ["p"]}
    assert faults(form, {"a": ["p", "q"], "b": "f"}, sent_up={"p"}) == [
        ("a", "有图片还没有传上来；请重新上传后再提交"),
        ("b", "有文件还没有传上来；请重新上传后再提交"),
    ]


def test_a_name_that_the_form_does_not_have_is_refused() -> None:
    form = form_of(integer("viewers"), table())
    assert faults(form, {"viewer": 1, "viewers": 2}) == [("viewer", "没有这一栏；是否想写 viewers？")]
    assert faults(form, {"a": [{"k": 1, "m": 2}]}) == [("a[0].m", "没有这一栏；可用的有 k、note")]
    [(at, _)] = faults(form, {"\x00" + "x" * 50: 1})
    assert at == "?" + "x" * 39 + "…"
    [(at, _)] = faults(form, {"x" * 40: 1})
    assert at == "x" * 40


# ---- tables ----------------------------------------------------------------------------------------------------------


def test_rows_of_a_free_table_are_kept_in_order_and_empty_ones_left_out() -> None:
    form = form_of(table())
    assert kept(form, {"a": [{"k": "2"}, {}, {"k": "", "note": " "}, {"note": "x"}]}) == {
        "a": [{"k": 2}, {"note": "x"}]
    }
    assert kept(form, {"a": [{"k": None}]}) == kept(form, {"a": []}) == kept(form, {"a": None}) == {}


def test_a_fault_in_a_table_names_the_row_as_it_was_given() -> None:
    form = form_of(table("free", integer("k", required=True), field("text", id="note")))
    assert faults(form, {"a": [{}, {"k": "x"}, {"note": "y"}]}) == [("a[1].k", DIGITS), ("a[2].k", NOT_FILLED)]


@pytest.mark.parametrize(
    ("rows", "told"),
    [
        ({"k": 1}, ("a", "应为表格的各行；请重新填写")),
        ("x", ("a", "应为表格的各行；请重新填写")),
        ([1], ("a[0]", "应为表格的一行；请重新填写")),
        ([{"k": 1}, None], ("a[1]", "应为表格的一行；请重新填写")),
        ([{"k": 1}] * 2001, ("a", "有 2001 行，最多 2000 行；请合并或删去一些")),
        ([{"key": "x"}], ("a[0].key", "没有这一栏；可用的有 k、note")),
    ],
)
def test_what_is_no_table_is_refused(rows: Any, told: tuple[str, str]) -> None:
    assert faults(form_of(table()), {"a": rows}) == [told]


def test_a_table_may_have_two_thousand_rows() -> None:
    assert len(kept(form_of(table()), {"a": [{"k": 1}] * 2000})["a"]) == 2000


def test_a_table_that_must_be_filled_in_has_a_row() -> None:
    form = form_of(table(required=True))
    assert faults(form, {"a": [{}]}) == faults(form, {}) == [("a", "还没有填；至少要有一行")]
    assert kept(form, {"a": [{"k": 0}]}) == {"a": [{"k": 0}]}


VILLAGES = {"a": {"v1": "东村", "v2": "西村"}}


def test_rows_filled_in_beforehand_are_all_there_in_their_order() -> None:
    form = form_of(table("villages"))
    rows = [{"key": "v2", "k": 2}, {"key": "v1"}]
    assert kept(form, {"a": rows}, rows=VILLAGES) == {"a": [{"key": "v1"}, {"key": "v2", "k": 2}]}
    assert kept(form, {"a": rows}) == {"a": [{"key": "v2", "k": 2}, {"key": "v1"}]}
    assert faults(form, {"a": rows[:1]}, rows=VILLAGES) == [("a", "少了 东村；请补上，没有就填 0")]


def test_of_many_missing_rows_the_first_are_named() -> None:
    form = form_of(table("villages"))
    names = {f"v{number}": f"村{number}" for number in range(12)}
    ten = "、".join(f"村{number}" for number in range(1, 11))
    rows = {"a": [{"key": "v0", "k": 1}]}
    assert faults(form, rows, rows={"a": names}) == [("a", f"少了 {ten} 等 11 行；请补上，没有就填 0")]
    del names["v11"]
    assert faults(form, rows, rows={"a": names}) == [("a", f"少了 {ten}；请补上，没有就填 0")]


@pytest.mark.parametrize(
    ("key", "told"),
    [
        (None, "没有写明这一行是谁的；请用页面或模板上已有的行"),
        (7, "没有写明这一行是谁的；请用页面或模板上已有的行"),
        ("a\nb", "没有写明这一行是谁的；请用页面或模板上已有的行"),
        ("x" * 101, "没有写明这一行是谁的；请用页面或模板上已有的行"),
        ("v3", "没有 v3 这一行；请用页面或模板上已有的行"),
        ("v1", "v1 重复；请只留一行"),
    ],
)
def test_a_row_is_about_one_of_those_that_were_filled_in_beforehand(key: Any, told: str) -> None:
    rows = [{"key": "v1", "k": 1}, {"key": "v2", "k": 1}, {"key": key, "k": 1}]
    assert faults(form_of(table("villages")), {"a": rows}, rows=VILLAGES) == [("a[2].key", told)]


def test_rows_that_nobody_knows_may_have_any_key_of_a_hundred_characters() -> None:
    rows = [{"key": "x" * 100, "k": 1}]
    assert kept(form_of(table("sites")), {"a": rows}) == {"a": rows}


def test_a_table_filled_in_beforehand_may_be_left_alone() -> None:
    untouched = {"a": [{"key": "v1", "k": ""}, {"key": "v2"}]}
    columns = integer("k", required=True)
    assert kept(form_of(table("villages", columns)), untouched, rows=VILLAGES) == {}
    required = form_of(table("villages", columns, required=True))
    assert faults(required, untouched, rows=VILLAGES) == [("a", "还没有填；至少要有一行")]
    assert kept(required, {"a": []}, rows={"a": {}}) == {}  # a unit without villages


# ---- what must hold between answers ----------------------------------------------------------------------------------

TOTAL = form_of(
    integer("a", title="其中在职"), integer("b"), integer("whole"), checks=[{"sum_of": ["a", "b"], "equals": "whole"}]
)


@pytest.mark.parametrize(
    ("values", "told"),
    [
        ({"a": 1, "b": 2, "whole": 3}, []),
        ({"a": 0, "b": 3, "whole": 3}, []),
        ({"whole": 3}, []),
        ({"a": 1}, []),
        ({"a": 1, "b": 1, "whole": 3}, [("whole", "应等于 其中在职 + B，各部分加起来是 2，这里是 3；请核对")]),
        ({"a": 1, "whole": 3}, [("b", "还没有填，而“WHOLE”的其他部分已填；没有就填 0")]),
        ({"a": 1, "b": "x", "whole": 3}, [("b", DIGITS)]),
    ],
)
def test_parts_add_up_to_their_total(values: dict[str, Any], told: list[tuple[str, str]]) -> None:
    assert faults(TOTAL, values) == told


def test_decimals_add_up_exactly() -> None:
    asked = [field("decimal", unit="元", kind="level") | {"id": name} for name in ("a", "b", "whole")]
    form = form_of(*asked, checks=[{"sum_of": ["a", "b"], "equals": "whole"}])
    assert kept(form, {"a": 0.1, "b": 0.2, "whole": 0.3}) == {"a": "0.1", "b": "0.2", "whole": "0.3"}


def test_a_number_is_at_most_the_headcount_or_another_number() -> None:
    form = form_of(
        integer("a"), integer("b"), checks=[{"field": "a", "at_most": "headcount"}, {"field": "a", "at_most": "b"}]
    )
    assert kept(form, {"a": 5, "b": 5}, headcount=5) == {"a": 5, "b": 5}
    assert kept(form, {"a": 6}) == {"a": 6}  # the headcount is not known
    assert faults(form, {"a": 6, "b": 5}, headcount=0) == [
        ("a", "6 大于本单位人数 0；请核对"),
        ("a", "6 大于“B” 5；请核对"),
    ]


RUNNING = form_of(
    integer("a", kind="running_total"),
    integer("level", kind="level"),
    table("villages", integer("k", kind="running_total"), integer("m"), id="t"),
)


def test_a_running_total_does_not_fall_without_a_reason() -> None:
    last = {"a": 9, "level": 9}
    told = "累计数 5 小于上次的 9；请核对，确实减少的请写明原因"
    assert kept(RUNNING, {"a": 9, "level": 1}, last_totals=last) == {"a": 9, "level": 1}
    assert kept(RUNNING, {}, last_totals=last) == {}
    assert faults(RUNNING, {"a": 5}, last_totals=last) == [("a", told)]
    assert faults(RUNNING, {"a": 5}, last_totals=last, reasons={"a": " "}) == [("a", told)]
    assert faults(RUNNING, {"a": 5}, last_totals=last, reasons={"a": "\x00"}) == [("a", f"减少的原因{CONTROL}")]
    with_reason = checked(RUNNING, {"a": 5}, last_totals=last, reasons={"a": " 上次多报 ", "level": "x"})
    assert with_reason == ({"a": 5}, [], {"a": "上次多报"})


def test_running_totals_of_a_table_are_compared_under_the_same_key() -> None:
    last = {"t": [{"key": "v1", "k": 4, "m": 4}, {"key": "v2", "k": 7}, {"k": 9}]}
    rows = [{"key": "v2", "k": 6}, {"key": "v1", "k": 4, "m": 1}, {"key": "v3", "k": 1}]
    known = {"t": {"v1": "东村", "v2": "西村", "v3": "南村"}}
    told = "累计数 6 小于上次的 7；请核对，确实减少的请写明原因"
    assert faults(RUNNING, {"t": rows}, last_totals=last, rows=known) == [("t[0].k", told)]
    assert checked(RUNNING, {"t": rows}, last_totals=last, rows=known, reasons={"t": "拆分"}).reasons == {"t": "拆分"}


def test_faults_come_in_the_order_of_the_form_and_are_not_endless() -> None:
    form = form_of(
        integer("a"), table("free", integer("k"), id="t"), integer("b"), checks=[{"field": "a", "at_most": "b"}]
    )
    result = faults(form, {"x": 1, "b": 1, "t": [{"k": "x"}], "a": 2})
    assert [at for at, _ in result] == ["a", "t[0].k", "x"]
    assert len(faults(form, {"t": [{"k": "x"}] * 2000})) == FAULTS_MAX
    assert len(faults(form, {f"x{number}": 1 for number in range(200)})) == FAULTS_MAX


# ---- as it is hashed; a page without script; versions ----------------------------------------------------------------


def test_what_is_hashed_is_the_same_for_ever() -> None:
    form = form_of(
        integer("b"),
        field("text"),
        table("free", integer("k"), field("decimal", id="d", unit="元", kind="level"), id="t"),
    )
    values = kept(form, {"t": [{"k": 1, "d": 2.50}], "a": "好\n", "b": "007"})
    assert canonical(values) == '{"a":"好","b":7,"t":[{"d":"2.5","k":1}]}'.encode()
    with pytest.raises(ValueError, match="JSON"):
        canonical({"a": float("nan")})  # no value that was kept


def test_an_html_form_gives_what_json_gives() -> None:
    form = form_of(
        integer("viewers"),
        CHOICES,
        field("pictures", id="photos"),
        table("free", integer("posters"), field("choices", id="c", options=OPTIONS), id="sites"),
        table("villages", id="villages"),
    )
    items = [
        ("_csrf", "x"),
        ("_reason.viewers", "上次多报"),
        ("_reason.sites", " "),
        ("viewers", "7"),
        ("viewers.0", "8"),
        ("a", "green"),
        ("a", ""),
        ("a", "red"),
        ("photos", ""),
        ("sites.10.posters", "2"),
        ("sites.9.posters", "1"),
        ("sites.9.c", "red"),
        ("sites.9.c", "green"),
        ("sites.x.posters", "1"),
        ("sites.9999999.posters", "1"),
        ("sites", "1"),
        ("villages.0.key", "v1"),
        ("villages.0.k", "3"),
    ]
    read = from_form(form, items)
    assert read == {
        "viewers": "7",
        "a": ["green", "red"],
        "sites": [{"posters": "1", "c": ["red", "green"]}, {"posters": "2"}],
        "villages": [{"key": "v1", "k": "3"}],
    }
    assert kept(form, read)["sites"][0] == {"posters": 1, "c": ["red", "green"]}
    assert reasons_from(items) == {"viewers": "上次多报"}


def test_two_versions_differ_field_by_field_and_row_by_row() -> None:
    form = form_of(
        integer("k", title="观看"), CHOICES, table("villages", title="各村", id="v"), table(title="点位", id="t")
    )
    before = {"k": 1, "v": [{"key": "v1", "k": 1}, {"key": "v2", "k": 2}], "t": [{"k": 1}]}
    after = {
        "k": 0,
        "a": ["red", "green"],
        "v": [{"key": "v2", "k": 5}, {"key": "v3", "k": 3}],
        "t": [{"k": 1}, {"note": "x"}],
    }
    assert differing(form, before, after) == [
        Difference("k", "观看", "1", "0"),
        Difference("a", "甲", None, "红、绿"),
        Difference("v[0].k", "各村 v2 数", "2", "5"),
        Difference("v[1].k", "各村 v3 数", None, "3"),
        Difference("v[0].k", "各村 v1 数", "1", None),
        Difference("t[1].note", "点位 第 2 行 甲", None, "x"),
    ]
    assert differing(form, after, after) == []


# ---- whatever comes --------------------------------------------------------------------------------------------------

JSON = st.recursive(
    st.none()
    | st.booleans()
    | st.integers()
    | st.floats()
    | st.text()
    | st.sampled_from(["red", "0", "12.5", "2024/6/29"]),
    lambda inner: (
        st.lists(inner, max_size=4) | st.dictionaries(st.sampled_from(["key", "k", "note", "x"]), inner, max_size=4)
    ),
    max_leaves=12,
)
FIELDS = (
    integer("i", kind="running_total"),
    field("decimal", id="d", unit="元", kind="level"),
    field("choice", id="c", options=OPTIONS),
    field("choices", id="cs", options=OPTIONS),
    field("date", id="day"),
    field("text", id="text"),
    field("link", id="link"),
    field("pictures", id="pictures"),
    field("file", id="file"),
    table(id="free"),
    table("villages", id="villages"),
)
EVERYTHING = form_of(*FIELDS, checks=[{"field": "i", "at_most": "headcount"}, {"sum_of": ["i"], "equals": "d"}])
LIKELY: dict[str, list[Any]] = {
    "i": [0, "5", 7.0, None, 11],
    "d": ["0", "5.0", 7, 1.25],
    "c": ["red", ""],
    "cs": [["green", "red"], []],
    "day": ["2024年6月29日"],
    "text": [" e\u0301\r\n", "x"],
    "link": ["https://example.org/ "],
    "pictures": [["p", "p"]],
    "file": ["f"],
    "free": [[{}, {"k": "7", "note": " y "}], []],
    "villages": [[{"key": "v2", "k": 1}, {"key": " v1 "}], [{"key": "v1"}, {"key": "v2"}], [{"key": "v2", "k": 1}]],
}
ANYTHING = {name: st.sampled_from(likely) | JSON for name, likely in LIKELY.items()}


@settings(suppress_health_check=[HealthCheck.too_slow], deadline=None)
@given(st.fixed_dictionaries({}, optional=ANYTHING | {"unknown": JSON, "\ud800": JSON}))
def test_no_json_breaks_it_and_what_is_kept_is_accepted_again_unchanged(values: dict[str, Any]) -> None:
    rows = {"villages": {"v1": "东村", "v2": "西村"}}
    facts = Facts(headcount=10, last_totals={"i": 6}, reasons={"i": "多报"}, rows=rows)
    result = check(EVERYTHING, values, facts)
    "".join(at + text for at, text in result.faults).encode()  # it can be answered
    wrong = {field_of(at) for at, _ in result.faults}
    right = {name: value for name, value in result.values.items() if name not in wrong}
    assert check(EVERYTHING, json.loads(canonical(right)), facts).values == right


def test_every_likely_answer_is_kept_unchanged() -> None:
    form = form_of(*FIELDS)
    facts = Facts(rows={"villages": {"v1": "东村", "v2": "西村"}})
    result = check(form, {name: likely[0] for name, likely in LIKELY.items()}, facts)
    assert (list(result.values), result.faults) == (list(LIKELY), [])
    assert check(form, json.loads(canonical(result.values)), facts) == result
