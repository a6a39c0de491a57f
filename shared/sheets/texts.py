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
        reader = csv.reader(_lines_of(file), delimiter=max(",\t;", key=first.count))
        header = [column.strip() for column in next(reader, [])]
        yield Sheet(header, _rows(reader), path.stat().st_size, bytes_read(file))


def bytes_read(file: TextIO) -> Callable[[], int]:
    """How far an open text file has been read."""
    return lambda: file.buffer.tell()  # the text layer forbids its own tell() while it is iterated


def _lines_of(file: TextIO) -> Iterator[str]:
    """The lines of a CSV file; none is read that is longer than a row can be."""
    for number, line in enumerate(iter(partial(file.readline, LINE_MAX_CHARS), ""), start=1):
        if len(line) == LINE_MAX_CHARS and not line.endswith("\n"):
            raise FileFault(f"第 {number} 行超过 {LINE_MAX_CHARS} 个字符，多半是前面少了一个引号。请改好后重新导入")
        yield line


def _rows(reader: Any) -> Iterator[SheetRow]:
    """Numbers the rows. A quoted cell may span lines; the row's number is then its last line."""
    while True:
        try:
            cells = next(reader, None)
        except csv.Error as error:
            raise FileFault(
                f"第 {reader.line_num} 行读不下去（{error}），多半是前面少了一个引号。请改好后重新导入"
            ) from error
        if cells is None:
            return
        if any(cells):
            yield SheetRow(reader.line_num, cells)
