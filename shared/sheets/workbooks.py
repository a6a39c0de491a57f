"""Workbooks, read by a process of its own (workbook_process.py) that may take no more than so much memory and time.

A sheet says how large it is, and the library makes room for all of it: one cell at XFD1048576 is 17 thousand million cells, and a
file of 1 MB can unpack to 1 GB. A child that goes beyond the limits is ended, whatever the format; the caller says so in words.
"""

import subprocess
import sys
import zipfile
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from multiprocessing import Pipe
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Any

from shared.sheets.sheet import FileFault, Merged, Sheet, SheetRow

_INSTEAD = "请在表格软件里另存为“CSV UTF-8”再导入"


@dataclass(frozen=True)
class WorkbookLimits:
    file_max_bytes: int = 64 * 1024 * 1024
    unpacked_max_bytes: int = 1024 * 1024 * 1024
    memory_max_bytes: int = 1024 * 1024 * 1024  # a million rows of seven columns take half of it
    cpu_max_s: int = 600  # a million rows take 20


@contextmanager
def open_workbook(path: Path, limits: WorkbookLimits, name: str | None = None, header_row: int = 1) -> Iterator[Sheet]:
    """The sheet called `name`, else the first that holds anything; its header is its first row from `header_row` on that
    does. Raises `FileFault`, also while rows are read."""
    _check_size(path, limits)
    with _cells(path, limits, name or "") as (names, height, ranges, rows):
        numbered = enumerate(rows, start=1)
        header_at, header = next(
            (
                (number, [str(cell).strip() for cell in cells])
                for number, cells in numbered
                if number >= header_row and any(str(cell).strip() for cell in cells)
            ),
            (0, []),
        )
        at = [0]

        def below() -> Iterator[SheetRow]:
            for number, cells in numbered:
                at[0] = number
                if any(cell != "" for cell in cells):
                    yield SheetRow(number, cells)

        read = name or next(iter(names), "")
        others = [other for other in names if other != read]
        merged = [
            Merged(place, first + 1, last + 1)
            for (first, left), (last, right) in ranges
            for place in range(left, right + 1)
            if header_at <= first and (first < last or left < place)
        ]
        yield Sheet(header, below(), height, lambda: at[0], read, others, merged)


def _check_size(path: Path, limits: WorkbookLimits) -> None:
    if path.stat().st_size > limits.file_max_bytes:
        raise FileFault(f"{path.name} 超过 {limits.file_max_bytes // 1024**2} MiB。{_INSTEAD}")
    with suppress(zipfile.BadZipFile), zipfile.ZipFile(path) as packed:  # XLS is no archive
        if sum(part.file_size for part in packed.infolist()) > limits.unpacked_max_bytes:
            raise FileFault(f"{path.name} 解压后超过 {limits.unpacked_max_bytes // 1024**2} MiB。{_INSTEAD}")


@contextmanager
def _cells(
    path: Path, limits: WorkbookLimits, name: str
) -> Iterator[tuple[list[str], int, list[Any], Iterator[Sequence[Any]]]]:
    """The sheets that hold anything; of the one to be read how many rows it has, what is merged (first cell, last cell), and the
    cells of each row from the top."""
    ours, theirs = Pipe(duplex=False)
    told = [str(path), str(theirs.fileno()), str(limits.memory_max_bytes), str(limits.cpu_max_s), name]
    child = subprocess.Popen(  # noqa: S603
        [sys.executable, "-m", "shared.sheets.workbook_process", *told],
        pass_fds=[theirs.fileno()],
        stdin=subprocess.DEVNULL,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,  # the library reports there where it ran out of memory
    )
    theirs.close()
    try:
        names, height, ranges = (_next(ours, path, limits) for _ in range(3))
        yield names, height, ranges, _rows(ours, path, limits)
    finally:
        ours.close()
        child.kill()
        child.wait()


def _rows(ours: Connection, path: Path, limits: WorkbookLimits) -> Iterator[Sequence[Any]]:
    while rows := _next(ours, path, limits):
        yield from rows


def _next(ours: Connection, path: Path, limits: WorkbookLimits) -> Any:
    try:
        answer = ours.recv()
    except EOFError:
        memory, seconds = limits.memory_max_bytes // 1024**2, limits.cpu_max_s
        raise FileFault(
            f"{path.name} 的有效区域太大，读它要用 {memory} MiB 以上的内存或 {seconds} 秒以上的时间。"
            "多半是很靠右或很靠下的地方有一个多余的单元格（在表格软件里按 Ctrl+End 会跳到那里）："
            f"删掉数据右边的列和下面的行再保存；或者{_INSTEAD}"
        ) from None
    if isinstance(answer, str):
        raise FileFault(answer)
    return answer
