"""What is said of a text that is no YAML: in Chinese, with line and column, and where what is wrong begins."""

import pytest

from cli.campaign_yaml import NotReadable, content_of, written_in


def complaint(text: str) -> str:
    with pytest.raises(NotReadable) as refused:
        content_of(text)
    return str(refused.value.finding("c.yaml"))


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("a: 1\nb: c: d\n", "第 2 行第 5 列：不是有效的 YAML：这里不能再有“键: 值”"),
        ("a: 1\n  b: 2\n", "第 2 行第 4 列：不是有效的 YAML：这里不能再有“键: 值”"),
        ("a: 1\nb\nc: 2\n", "第 3 行第 1 列：不是有效的 YAML：键后面没有冒号"),
        ("a: - b\n", "第 1 行第 4 列：不是有效的 YAML：这里不能有“- ”列表项"),
        ("a: b\n- c\n", "第 2 行第 1 列：不是有效的 YAML：与上面的行没有对齐"),
        ('a: "b" c\n', "第 1 行第 8 列：不是有效的 YAML：与上面的行没有对齐，或者引号后面还有文字"),
        ("a: [b\nc: d\n", "方括号里少了逗号，或者没有以 ] 结束（从第 1 行第 4 列开始）"),
        ("a: {b: c\nd: e: f\n", "花括号里少了逗号，或者没有以 } 结束（从第 1 行第 4 列开始）"),
        ('a: 1\nb: "c\nd: e\n', "到文件末尾也没有配对的引号（从第 2 行第 4 列开始）"),
        ("a: 'b\n--- \nc: d\n", "引号没有配对，就到了 --- 或 ...（从第 1 行第 4 列开始）"),
        ("a: @b\n", "第 1 行第 4 列：不是有效的 YAML：值不能以 @ 开头：请加引号"),
        ("a: `b\n", "值不能以 ` 开头：请加引号"),
        ("a: %b\n", "值不能以 % 开头：请加引号"),
        ("a: & b\n", "值不能以 & 或 * 开头"),
        ("a: !b c\n", "值不能以 ! 开头：请加引号"),
        ("a: !b!c d\n", "值不能以 ! 开头：请加引号"),
        ('a: "C:\\Users"\n', "双引号里的 \\x、\\u 后面应是十六进制数字：请改用单引号"),
        ('a: "b\\c"\n', "双引号里的 \\c 不是转义：请改用单引号，或者写成 \\\\c"),
        ("a: | b\n", "| 或 > 后面不能有文字"),
        ("a: b\n---\nc: d\n", "一个文件里只能有一份活动"),
        ("a: {[b]: c}\n", "键应为文字"),
        ("a: &b 1\nc: &b 2\n", "不支持锚点（&）"),
        ("a: ]\n", "这里缺少内容，或者多了一个标点"),
        ("a: !!float x\n", "x 不是有效的日期或数字"),
    ],
)
def test_what_is_no_yaml_is_told_in_chinese(text: str, expected: str) -> None:
    told = complaint(text)
    assert expected in told
    assert told.startswith("c.yaml 第 ")
    assert "（" not in told or "从第" in told, "an English original is left for what is unknown"


def test_what_is_unknown_keeps_the_original_in_brackets() -> None:
    assert complaint("a: 1\n%YAML 3.0\n---\n").endswith(
        "（found incompatible YAML document (version 1.* is required)）"
    )


def test_every_key_is_found_with_its_line_and_its_words() -> None:
    written = written_in("# x\na: no\nb:\n- {c: 0137, d: [1_0]}\n")
    assert {at: tuple(value) for at, value in written.items()} == {
        "": (2, None),
        "a": (2, "no"),
        "b": (3, None),
        "b[0]": (4, None),
        "b[0].c": (4, "0137"),
        "b[0].d": (4, None),
        "b[0].d[0]": (4, "1_0"),
    }
