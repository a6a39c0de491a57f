"""CSV files, streamed: UTF-8 (with or without BOM), else GB18030, which is what spreadsheets save on Chinese Windows."""

import csv
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from typing import Any, TextIO

from shared.sheets.sheet import FileFault, Sheet, SheetRow

ENCODINGS = ("utf-8-sig", "gb18030")
LINE_MAX_CHARS = 64 * 1024
READ_BYTES = 1024 * 1024

_QUOTES = "多半是一个引号没有配对：以引号开头的格也要以引号结束，格里的引号要写成两个。请改好后重新导入"


def encoding_of(path: Path) -> str:
    """The first of `ENCODINGS` that reads every byte of the file. Raises `FileFault` where none does."""
    for encoding in ENCODINGS:
        try:
            with path.open(encoding=encoding, newline="") as file:
                while file.read(READ_BYTES):
                    pass
        except UnicodeDecodeError:
            continue
        return encoding
    raise FileFault(f"{path.name} 既不是 UTF-8 也不是 GB18030 编码。请在表格软件里另存为“CSV UTF-8”")


def decoded(body: bytes) -> str | None:
    """A file's content, which is in memory already, as text; None where no encoding reads it."""
    for encoding in ENCODINGS:
        try:
            return body.decode(encoding)
        except UnicodeDecodeError:
            continue
    return None


@contextmanager
def open_csv(path: Path) -> Iterator[Sheet]:
    """Opens a CSV file. Its delimiter is the one that the first line has most of: comma, tab or semicolon."""
    with path.open(encoding=encoding_of(path), newline="") as file:
        first = file.readline(LINE_MAX_CHARS)
        file.seek(0)
        reader = csv.reader(_lines_of(file), delimiter=max(",\t;", key=first.count), strict=True)
        header = next(_rows(reader, 0), SheetRow(0, []))
        columns = [column.strip() for column in header.cells]
        yield Sheet(columns, _rows(reader, len(columns)), path.stat().st_size, bytes_read(file))


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
        yield line


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
            yield SheetRow(reader.line_num, cells)


def _has_rows(cell: str, delimiter: str, width: int) -> bool:
    return any(line.count(delimiter) >= width - 1 for line in cell.splitlines()[1:])
