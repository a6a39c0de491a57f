"""Files of `KEY='value'` lines, which a POSIX shell, the services and the commands read alike.

A line that they could read differently (`$`, a backslash or a blank outside of quotes, an end of line from Windows) is refused
with the reason and never guessed at: the shell of a job sets a password, and a service comes with it.
"""

import re
import shlex
from collections.abc import Mapping
from pathlib import Path

ASSIGNMENT = re.compile(r"(?:export )?([A-Za-z_][A-Za-z0-9_]*)=(.*)")
PIECE = re.compile(r"""'([^']*)'|"([^"\\$`]*)"|([A-Za-z0-9_@%+=:,./^~!?*\[\]{}#-]+)""")
QUOTE_IT = "值要放在单引号里：KEY='…'；值里的单引号写成 '\"'\"'"


class Ambiguous(ValueError):
    """Says which line and why, in Chinese; never what the value is."""


def text_of(variables: Mapping[str, str]) -> str:
    """The lines of a file. Raises ValueError for a value of several lines."""
    for key, value in variables.items():
        if re.search(r"[\r\n\0]", value):
            raise ValueError(f"{key} holds more than one line")
    return "".join(f"{key}={shlex.quote(value)}\n" for key, value in variables.items())


def parse(text: str) -> dict[str, str]:
    """Raises `Ambiguous`."""
    variables = {}
    for number, line in enumerate(text.split("\n"), start=1):
        if not line.strip() or line.lstrip().startswith("#"):
            continue
        assignment = ASSIGNMENT.fullmatch(line.rstrip(" \t"))
        if assignment is None:
            raise Ambiguous(f"第 {number} 行{_why_no_assignment(line)}")
        variables[assignment[1]] = _value(assignment[2], f"第 {number} 行（{assignment[1]}）")
    return variables


def read(path: Path) -> dict[str, str]:
    """Raises OSError, and `Ambiguous` with the file's name."""
    with path.open(newline="") as file:  # an end of line from Windows stays what it is
        text = file.read()
    try:
        return parse(text)
    except Ambiguous as error:
        raise Ambiguous(f"{path} {error}") from None


def _value(written: str, where: str) -> str:
    value, at = "", 0
    while at < len(written):
        piece = PIECE.match(written, at)
        if piece is None:
            raise Ambiguous(f"{where}{_why(written[at])}")
        value += piece[1] or piece[2] or piece[3] or ""
        at = piece.end()
    return value


def _why(character: str) -> str:
    if character == "\r":
        return "以 Windows 的换行结尾，容器里会当成值的一部分：请存成 Unix 换行"
    if character in "'\"":
        return f"的引号里有 $、` 或反斜杠，或者引号没有合上，shell 和程序读法不同。{QUOTE_IT}"
    name = "空格" if character.isspace() else f"“{character}”"
    return f"的引号外有{name}，shell 和程序读法不同。{QUOTE_IT}"


def _why_no_assignment(line: str) -> str:
    return _why("\r") if line.endswith("\r") and "=" in line else "不是 KEY='值'（等号两边不能有空格）"
