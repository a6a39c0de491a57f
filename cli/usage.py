"""Says in zh-Hans what is wrong with a command line. What typer says about it is English."""

import re
import sys
from collections.abc import Sequence
from typing import Any

import typer
from typer.core import TyperGroup
from typer.exceptions import TyperException

_SIMILAR = "没有 {name} 这个选项，想写的可能是 {other}"
# What typer and pydantic say, and what we say instead. The first that matches the whole text counts.
_SAYS = (
    (r"Invalid value: (?P<why>.*)", "{why}"),
    (r"Invalid value for '?(?P<name>[^' (]+)'?(?: \(env var: '[^']*'\))?: (?P<why>.*)", "{name} 的值不对：{why}"),
    (r"Missing (argument|option|parameter) '?(?P<name>[^']+)'?\.?", "缺少 {name}"),
    (r"Missing command\.?", "没有写要做什么：后面要跟一个命令"),
    (r"No such command '(?P<name>.*)'\..*", "没有“{name}”这个命令"),
    (r"No such option:? '?(?P<name>[^' ]+?)'?\.? \(?(Possible options:|Did you mean) (?P<other>.*?)[?)]", _SIMILAR),
    (r"No such option:? '?(?P<name>[^' ]+?)'?\.?", "没有 {name} 这个选项"),
    (r"Option '(?P<name>.*)' requires an argument\.", "{name} 后面要写值"),
    (r"Option '(?P<name>.*)' requires (?P<count>\d+) arguments\.", "{name} 后面要写 {count} 个值"),
    (r"Option '(?P<name>.*)' does not take a value\.", "{name} 后面不写值"),
    (r"Got unexpected extra argument\(?s?\)? \((?P<name>.*)\)", "多写了“{name}”"),
    (r"Value error, '(?P<value>.*)' is not one of (?P<other>.*)\.", "“{value}”不行，只能是 {other} 之一"),
    (r"Input should be a valid integer.*", "应为整数"),
    (r"Input should be a valid number.*", "应为数字"),
    (r"Input should be a valid (date|datetime).*", "不是日期或时间，请写成 2024-06-29 或 2024-06-29T19:30:00+08:00"),
    (r"Input should be a valid boolean.*", "应为 true 或 false"),
    (r"Input should be greater than or equal to (?P<limit>.*)", "不能小于 {limit}"),
    (r"Input should be less than or equal to (?P<limit>.*)", "不能大于 {limit}"),
    (r"\w+ '(?P<path>.*)' does not exist\.", "没有 {path} 这个文件或文件夹"),
    (r"\w+ '(?P<path>.*)' is a directory\.", "{path} 是文件夹，应为文件"),
    (r"\w+ '(?P<path>.*)' is a file\.", "{path} 是文件，应为文件夹"),
    (r"\w+ '(?P<path>.*)' is not readable\.", "没有读 {path} 的权限"),
    (r"\w+ '(?P<path>.*)' is not writable\.", "没有写 {path} 的权限"),
)  # fmt: skip


class Commands(TyperGroup):
    """The commands of `fanzha`: a command line that can't be understood is refused in Chinese, with exit code 2."""

    def main(self, args: Sequence[str] | None = None, *, standalone_mode: bool = True, **more: Any) -> Any:  # type: ignore[override]
        if not standalone_mode:
            return super().main(args, standalone_mode=False, **more)
        try:
            code = super().main(args, standalone_mode=False, **more)
        except TyperException as error:
            sys.stderr.write(_complaint(error))
            sys.exit(error.exit_code)
        except typer.Abort:
            sys.stderr.write("已中止\n")
            sys.exit(1)
        sys.exit(code if isinstance(code, int) else 0)


def _complaint(error: TyperException) -> str:
    said = error.format_message()
    if said.startswith("Usage:"):  # a group without a command: its help
        return f"{said}\n"
    context = getattr(error, "ctx", None)
    return f"{in_chinese(said)}\n用法见 {context.command_path if context else 'fanzha'} --help\n"


def in_chinese(text: str) -> str:
    """Typer's message in zh-Hans. An unknown message is shown in English after a Chinese sentence."""
    for pattern, says in _SAYS:
        if matched := re.fullmatch(pattern, text, re.DOTALL):
            parts = {name: _readable(value) for name, value in matched.groupdict().items()}
            if "why" in parts:
                parts["why"] = parts["why"] if _speaks_chinese(parts["why"]) else in_chinese(parts["why"])
            return says.format_map(parts)
    return text if _speaks_chinese(text) else f"命令写得不对（{text}）"


def _speaks_chinese(text: str) -> bool:
    return re.search("[\u4e00-\u9fff]", text) is not None


def _readable(names: str) -> str:
    return names.replace("', '", "、").strip("'")
