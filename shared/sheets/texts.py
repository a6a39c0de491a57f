"""CSV files, streamed: UTF-8 (with or without BOM) or GB18030, which is what spreadsheets save on Chinese Windows."""

import csv
import re
from codecs import BOM_UTF8, BOM_UTF16_BE, BOM_UTF16_LE
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from functools import partial
from itertools import islice
from pathlib import Path
from typing import Any, TextIO

from shared.sheets.sheet import FileFault, Sheet, SheetRow

ENCODINGS = ("utf-8-sig", "gb18030")
LINE_MAX_CHARS = 64 * 1024
LINES_ABOVE_MAX = 20  # looked at for the delimiter, where titles stand above the header
_ENDS = " \r\n"
DELIMITERS = ",\t;"
_SEP = re.compile(r'"?sep=([,;\t|])"?', re.IGNORECASE)
LINE_MAX_BYTES = 4 * LINE_MAX_CHARS

_THREE_BYTES = "\u0800"  # in UTF-8, as Chinese takes; a pair of bytes may be UTF-8 by chance
_ONE_ENCODING = "多半是几个文件拼在了一起。请从平台重新导出，或在表格软件里改好这些行，另存为“CSV UTF-8”"
_QUOTES = "多半是一个引号没有配对：以引号开头的格也要以引号结束，格里的引号要写成两个。请改好后重新导入"


def encoding_of(path: Path) -> str:
    """The one of `ENCODINGS` that every line of the file is in. Raises `FileFault`, with the line, where there is none."""
    with path.open(encoding="latin-1", newline="") as file:  # each byte as one character: the encoding is not known yet
        lines = (line.encode("latin-1") for line in iter(partial(file.readline, LINE_MAX_BYTES), ""))
        return _encoding(lines, path.name)


def decoded(body: bytes) -> str | None:
    """The text of `body`, read in the one of `ENCODINGS` that all its lines are in; None where there is no such one."""
    try:
        return body.decode(_encoding(body.splitlines(keepends=True), ""))
    except FileFault:
        return None


def _encoding(lines: Iterable[bytes], name: str) -> str:
    """The encoding that most lines show. Lines that are not UTF-8 speak for GB18030, and lines that read as Chinese in UTF-8
    for UTF-8; other lines could be either."""
    marked = False
    utf_8, others, mistaken = _LinesOfOneKind(), _LinesOfOneKind(), _LinesOfOneKind()
    for number, line in enumerate(lines, start=1):
        if line.isascii():
            continue
        if number == 1 and line.startswith((BOM_UTF16_LE, BOM_UTF16_BE)):
            raise FileFault(f"{name} 是 UTF-16 编码（表格软件里叫“Unicode 文本”）。请另存为“CSV UTF-8”再导入")
        marked = marked or (number == 1 and line.startswith(BOM_UTF8))
        if len(line) == LINE_MAX_BYTES and not line.endswith(b"\n"):
            raise FileFault(f"第 {number} 行太长，多半是前面少了一个引号。请改好后重新导入")
        if (text := _read(line, "utf-8")) is None:
            others.add(number, readable=_read(line, "gb18030") is not None)
        elif any(char >= _THREE_BYTES for char in text):
            utf_8.add(number)
            if _read(text, "gb2312") and not _read(_read(line, "gb18030") or "", "gb2312"):
                mistaken.add(number)
    if not others.count:
        return "utf-8-sig"
    if marked or utf_8.count >= others.count:
        raise FileFault(f"{name} 是 UTF-8 编码，只有第 {others.first} 行不是（共 {others.count} 行）。{_ONE_ENCODING}")
    if others.unreadable:
        raise FileFault(f"{name} 的第 {others.unreadable} 行既不是 UTF-8 也不是 GB18030 编码。{_ONE_ENCODING}")
    if mistaken.count:
        raise FileFault(
            f"{name} 是 GB18030 编码，只有第 {mistaken.first} 行是 UTF-8（共 {mistaken.count} 行）。{_ONE_ENCODING}"
        )
    return "gb18030"


class _LinesOfOneKind:
    """Lines of one kind: how many, the number of the first, and the number of the first that cannot be read."""

    def __init__(self) -> None:
        self.count = self.first = self.unreadable = 0

    def add(self, number: int, readable: bool = True) -> None:
        self.count += 1
        self.first = self.first or number
        self.unreadable = self.unreadable or (0 if readable else number)


def _read(line: bytes | str, encoding: str) -> str | None:
    """The text of a line in that encoding, or `line` itself where it is a text that can be written in it; None where neither
    works."""
    try:
        return line.decode(encoding) if isinstance(line, bytes) else line if line.encode(encoding) else ""
    except UnicodeError:
        return None


@contextmanager
def open_csv(path: Path, header_row: int = 1) -> Iterator[Sheet]:
    """The header is the first row from `header_row` on that holds anything."""
    with path.open(encoding=encoding_of(path), newline="") as file:
        delimiter = _delimiter(list(islice(iter(partial(file.readline, LINE_MAX_CHARS), ""), LINES_ABOVE_MAX)))
        file.seek(0)
        rows = csv_rows(file, delimiter, header_row)
        columns = [column.strip() for column in next(rows, SheetRow(0, [])).cells]
        yield Sheet(columns, rows, path.stat().st_size, bytes_read(file))


def csv_rows(file: TextIO, delimiter: str = ",", header_row: int = 1) -> Iterator[SheetRow]:
    """The header, which is the first row from `header_row` on that holds anything, and the rows below it. Raises `FileFault`."""
    reader = csv.reader(_lines_of(file), delimiter=delimiter, strict=True)
    above = _rows(reader, 0)
    header = next((row for row in above if row.number >= header_row and any(map(str.strip, row.cells))), None)
    if header is not None:
        yield header
        yield from _rows(reader, len(header.cells))


def _delimiter(lines: Sequence[str]) -> str:
    """The one that the first line names (`sep=;`, for spreadsheets), else the most frequent in the first line that has any."""
    if lines and (told := _SEP.fullmatch(lines[0].strip(_ENDS))):
        return told[1]
    return next((max(DELIMITERS, key=line.count) for line in lines if any(map(line.count, DELIMITERS))), ",")


def bytes_read(file: TextIO) -> Callable[[], int]:
    """How far an open text file has been read."""
    return lambda: file.buffer.tell()  # the text layer forbids its own tell() while it is iterated


def _lines_of(file: TextIO) -> Iterator[str]:
    """The lines of a CSV file; none is read that is longer than a row can be, or that was damaged on its way."""
    for number, line in enumerate(iter(partial(file.readline, LINE_MAX_CHARS), ""), start=1):
        if len(line) == LINE_MAX_CHARS and not line.endswith("\n"):
            raise FileFault(f"第 {number} 行超过 {LINE_MAX_CHARS} 个字符，多半是前面少了一个引号。请改好后重新导入")
        if "\0" in line:
            raise FileFault(f"第 {number} 行有空字节（NUL），文件多半在传送时损坏了。请从平台重新导出")
        yield "\n" if number == 1 and _SEP.fullmatch(line.strip(_ENDS)) else line


def _rows(reader: Any, width: int) -> Iterator[SheetRow]:
    """A quoted cell may span lines; the row's number is then its last line. `width`: how many columns the header has.

    A quote that is never closed would take the rows below it into its cell, so a cell that spans lines and looks like rows is no
    cell, and whatever else is no CSV ends the file with the line at which it begins."""
    while True:
        begins = reader.line_num + 1
        try:
            cells = next(reader, None)
        except csv.Error as error:
            raise FileFault(f"第 {begins} 行起读不下去。{_QUOTES}") from error
        if cells is None:
            return
        if (
            width > 1
            and reader.line_num > begins
            and any(_has_rows(cell, reader.dialect.delimiter, width) for cell in cells)
        ):
            raise FileFault(f"第 {begins} 行有一格把后面的行（到第 {reader.line_num} 行）也包了进去。{_QUOTES}")
        if any(cells):
            yield SheetRow(reader.line_num, cells, begins)


def _has_rows(cell: str, delimiter: str, width: int) -> bool:
    return any(line.count(delimiter) >= width - 1 for line in cell.splitlines()[1:])
