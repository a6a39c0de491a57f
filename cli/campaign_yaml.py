"""Reads the YAML of a campaign file: its content, and where each key stands and how its value was written. What it refuses, it
refuses in zh-Hans, with line and column."""

import re
from typing import Any, NamedTuple

import yaml

from shared.contracts.campaign_errors import Finding, full_width

KEY_AND_FULL_WIDTH_COLON = re.compile(r"^[\s-]*([A-Za-z_]+)\s*：")
IN_BRACES = re.compile(r"[{｛,，]\s*([A-Za-z_]+)\s*：")  # flow style: { code: student, name: 学生 }
SIGNS = frozenset("：，｛｝［］【】“”‘’＂＇－")  # of YAML, as an input method types them

# What PyYAML 6.0 (scanner.py, parser.py, composer.py, constructor.py) complains of, as an author meets it. `%`: the first group.
PROBLEMS = {
    r"mapping values are not allowed here": "这里不能再有“键: 值”：多半是缩进不对；文字里有冒号加空格的，整段要加引号",
    r"mapping keys are not allowed here": "这里不能有“? ”：文字以问号开头时要加引号",
    r"sequence entries are not allowed here": "这里不能有“- ”列表项：多半是缩进不对，或者文字以“- ”开头，要加引号",
    r"could not find expected ':'": "键后面没有冒号：请写成“键: 值”，冒号后有一个空格",
    r"expected <block end>, but found.*": "与上面的行没有对齐，或者引号后面还有文字：请核对缩进和引号",
    r"expected ',' or '\]', but got.*": "方括号里少了逗号，或者没有以 ] 结束",
    r"expected ',' or '\}', but got.*": "花括号里少了逗号，或者没有以 } 结束",
    r"found unexpected end of stream": "到文件末尾也没有配对的引号",
    r"found unexpected document separator": "引号没有配对，就到了 --- 或 ...",
    r"found character '(.+)' that cannot start any token": "值不能以 % 开头：请加引号",
    r"found unknown escape character '(.+)'": "双引号里的 \\% 不是转义：请改用单引号，或者写成 \\\\%",
    r"expected escape sequence of \d+ hexadecimal.*": "双引号里的 \\x、\\u 后面应是十六进制数字：请改用单引号",
    r"expected (?:the node content|'<document start>'), but found.*": "这里缺少内容，或者多了一个标点",
    r"expected a comment or a line break, but found.*": "| 或 > 后面不能有文字：文字从下一行写起，并且缩进",
    r"expected (?:chomping or )?indentation indicator.*": "| 或 > 后面不能有文字：文字从下一行写起，并且缩进",
    r"expected alphabetic or numeric character, but found.*": "值不能以 & 或 * 开头，行不能以百分号开头：请加引号",
    r"but found another document": "一个文件里只能有一份活动：请删除 --- 和它后面的内容",
    r"(?:could not determine a constructor for the tag|found undefined tag handle|expected URI|expected ' ', but|found non-).*": (
        "值不能以 ! 开头：请加引号"
    ),
    r"found unhashable key": "键应为文字；文字以 { 或 [ 开头时要加引号",
    r"second occurrence": "不支持锚点（&）：文字以 & 开头时要加引号",
}


class NotReadable(Exception):
    """The text is no campaign file; `finding` says where (`line`, `column`, from 1; None: nowhere in particular) and why."""

    def __init__(self, message: str, line: int | None = None, column: int | None = None) -> None:
        super().__init__(message)
        self.message = message
        self.line = line
        self.column = column

    def finding(self, name: str) -> Finding:
        line = f" 第 {self.line} 行" if self.line else ""
        column = f"第 {self.column} 列" if self.column else ""
        return Finding(f"{name}{line}{column}", None, self.message)


class Written(NamedTuple):
    """Where a key or an item stands, and its value as the author wrote it; None where the value has parts."""

    line: int
    text: str | None


def content_of(text: str) -> dict[str, Any]:
    """The content of a YAML text, or `NotReadable`."""
    if not text.strip():
        raise NotReadable("文件是空的")
    try:
        content = yaml.load(text, Loader)  # noqa: S506 - a SafeLoader
    except _Refused as error:
        raise _at(error.problem_mark, str(error.problem)) from error
    except yaml.MarkedYAMLError as error:
        raise _not_yaml(text, error) from error
    except yaml.reader.ReaderError as error:
        above = text[: error.position].split("\n")
        character = f"U+{int(error.character):04X}"
        message = f"不是有效的 YAML：有看不见的控制字符 {character}；请删除"
        raise NotReadable(message, len(above), len(above[-1]) + 1) from error
    except RecursionError as error:
        raise NotReadable("嵌套太深；请核对缩进") from error
    if content is None:
        raise NotReadable("文件里没有内容，只有注释")
    if not isinstance(content, dict):
        raise _full_width_colon(text) or NotReadable("内容不是“键: 值”；请参照 campaigns/jinshan-2024.yaml")
    return content


def written_in(text: str) -> dict[str, Written]:
    """Path of every key and item (`windows.live[0].from`), and "" for the whole → how it is written. `text` is valid."""
    places: dict[str, Written] = {}

    def add(path: str, mark: yaml.Mark, node: yaml.Node) -> None:
        places[path] = Written(mark.line + 1, node.value if isinstance(node, yaml.ScalarNode) else None)
        if isinstance(node, yaml.MappingNode):
            for key, value in node.value:
                if isinstance(key, yaml.ScalarNode):
                    add(f"{path}.{key.value}".removeprefix("."), key.start_mark, value)
        elif isinstance(node, yaml.SequenceNode):
            for index, item in enumerate(node.value):
                add(f"{path}[{index}]", item.start_mark, item)

    if root := yaml.compose(text, Loader):
        add("", root.start_mark, root)
    return places


class _Refused(yaml.MarkedYAMLError):
    """Valid YAML that would mislead; `problem` is a text for the operator."""


class Loader(yaml.SafeLoader):
    """Refuses what would silently mean something else: a key written twice, and aliases."""

    def compose_node(self, parent: yaml.Node | None, index: int) -> yaml.Node | None:
        if self.check_event(yaml.AliasEvent):
            mark = self.get_mark()
            raise _Refused(None, None, "不支持锚点引用（*）；请写出完整内容", mark)
        return super().compose_node(parent, index)

    def construct_mapping(self, node: yaml.MappingNode, deep: bool = False) -> dict[Any, Any]:
        seen: dict[str, int] = {}
        for key in (key for key, _ in node.value if isinstance(key, yaml.ScalarNode)):
            if key.value in seen:
                message = f"键 {key.value} 重复（第 {seen[key.value]} 行已有）；请删除其中一个"
                raise _Refused(None, None, message, key.start_mark)
            seen[key.value] = key.start_mark.line + 1
        return super().construct_mapping(node, deep)

    def construct_object(self, node: yaml.Node, deep: bool = False) -> Any:
        try:
            return super().construct_object(node, deep)
        except (
            ValueError,
            LookupError,
            AttributeError,
        ) as error:  # what PyYAML's own constructors raise: 2024-02-30, !!int x
            message = f"{str(node.value)[:40]} 不是有效的日期或数字；请改正，是文字的请加引号"
            raise _Refused(None, None, message, node.start_mark) from error


def _at(mark: yaml.Mark | None, message: str) -> NotReadable:
    return NotReadable(message, mark.line + 1, mark.column + 1) if mark else NotReadable(message)


def _not_yaml(text: str, error: yaml.MarkedYAMLError) -> NotReadable:
    """The fault in words for its author. For tabs and full-width signs, which PyYAML reports in another place and in other
    words, it names the place where they stand; for anything else it is the translated message of PyYAML."""
    mark, begin = error.problem_mark, error.context_mark
    problem = str(error.problem)
    if mark is not None and r"'\t'" in problem:
        return NotReadable("用制表符（Tab）缩进；请改为空格", mark.line + 1)
    lines = sorted({place.line for place in (begin, mark) if place})
    complained = {number + 1: "".join(text.splitlines()[number : number + 1]) for number in lines}
    for number, line in complained.items():
        if key := IN_BRACES.search(line):
            return _colon_after(key[1], number)
    if colon := _full_width_colon(text):
        return colon
    message = f"不是有效的 YAML：{_in_chinese(problem)}"
    if mark and begin and begin.line < mark.line and "block" not in str(error.context):
        message += f"（从第 {begin.line + 1} 行第 {begin.column + 1} 列开始）"
    for number, line in complained.items():
        if signs := full_width("".join(sign for sign in line if sign in SIGNS)):
            message += f"。第 {number} 行有{signs}：不是文字里的标点，就请改为半角"
    return _at(mark, message)


def _in_chinese(problem: str) -> str:
    for pattern, meaning in PROBLEMS.items():
        if known := re.fullmatch(pattern, problem, re.DOTALL):
            return meaning.replace("%", known[1]) if known.groups() else meaning
    return f"读不下去，请核对缩进、冒号和引号（{problem}）"


def _full_width_colon(text: str) -> NotReadable | None:
    """The first line that begins with a key and a full-width colon."""
    for number, line in enumerate(text.splitlines(), start=1):
        if key := KEY_AND_FULL_WIDTH_COLON.search(line):
            return _colon_after(key[1], number)
    return None


def _colon_after(key: str, line: int) -> NotReadable:
    return NotReadable(f"{key} 后面是全角冒号；请改为半角冒号加一个空格", line)
