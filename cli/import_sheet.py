"""Spreadsheets as rows, read in a process of its own that may take no more than so much memory and time.

A sheet says how large it is, and the library makes room for all of it: one cell at XFD1048576 is 17 thousand million cells, and a
file of 1 MB can unpack to 1 GB. What goes beyond the limits ends the child, whatever the format; the caller says so in words.
"""

import resource
import subprocess
import sys
import zipfile
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from multiprocessing import Pipe
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Any

import python_calamine

FILE_MAX_BYTES = 64 * 1024 * 1024
UNPACKED_MAX_BYTES = 1024 * 1024 * 1024
MEMORY_MAX_BYTES = 1024 * 1024 * 1024  # a million rows of seven columns take half of it
CPU_MAX_S = 600  # a million rows take 20
ROWS_AT_ONCE = 1_000

_INSTEAD = "请在表格软件里另存为“CSV UTF-8”再导入"


class SheetFault(Exception):
    """The sheet cannot be read; the text says what is wrong and what to do."""


@contextmanager
def open_sheet(path: Path) -> Iterator[tuple[int, Iterator[Sequence[Any]]]]:
    """How many rows the first sheet has, and its rows from the top. Raises `SheetFault`, also while rows are read."""
    _check_size(path)
    ours, theirs = Pipe(duplex=False)
    child = subprocess.Popen(  # noqa: S603
        [sys.executable, "-m", __name__, str(path), str(theirs.fileno()), str(MEMORY_MAX_BYTES)],
        pass_fds=[theirs.fileno()],
        stdin=subprocess.DEVNULL,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,  # the library reports there where it ran out of memory
    )
    theirs.close()
    try:
        yield _next(ours, path), _rows(ours, path)
    finally:
        ours.close()
        child.kill()
        child.wait()


def _check_size(path: Path) -> None:
    if path.stat().st_size > FILE_MAX_BYTES:
        raise SheetFault(f"{path.name} 超过 {FILE_MAX_BYTES // 1024**2} MiB。{_INSTEAD}")
    with suppress(zipfile.BadZipFile), zipfile.ZipFile(path) as packed:  # XLS is no archive
        if sum(part.file_size for part in packed.infolist()) > UNPACKED_MAX_BYTES:
            raise SheetFault(f"{path.name} 解压后超过 {UNPACKED_MAX_BYTES // 1024**2} MiB。{_INSTEAD}")


def _rows(ours: Connection, path: Path) -> Iterator[Sequence[Any]]:
    while rows := _next(ours, path):
        yield from rows


def _next(ours: Connection, path: Path) -> Any:
    try:
        found = ours.recv()
    except EOFError:
        raise SheetFault(
            f"{path.name} 的有效区域太大，读它要用 {MEMORY_MAX_BYTES // 1024**2} MiB 以上的内存或 {CPU_MAX_S} 秒以上的时间。"
            "多半是很靠右或很靠下的地方有一个多余的单元格（在表格软件里按 Ctrl+End 会跳到那里）："
            f"删掉数据右边的列和下面的行再保存；或者{_INSTEAD}"
        ) from None
    if isinstance(found, str):
        raise SheetFault(found)
    return found


# ---- the child -------------------------------------------------------------------------------------------------------


def _read(path: str, to: Connection, memory_max_bytes: int) -> None:
    """Sends the number of rows, the rows in portions, and an empty portion; or, as text, what is wrong; or a limit ends it."""
    resource.setrlimit(resource.RLIMIT_AS, (memory_max_bytes, memory_max_bytes))
    resource.setrlimit(resource.RLIMIT_CPU, (CPU_MAX_S, CPU_MAX_S))
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    try:
        sheet = python_calamine.CalamineWorkbook.from_path(path).get_sheet_by_index(0)
        to.send(sheet.total_height)
        portion: list[Sequence[Any]] = []
        for row in sheet.iter_rows():
            portion.append(row)
            if len(portion) == ROWS_AT_ONCE:
                to.send(portion)
                portion = []
        if portion:
            to.send(portion)
        to.send([])
    except (python_calamine.CalamineError, OSError) as error:
        name = Path(path).name
        to.send(f"{name} 打不开（{error}）。请在表格软件里打开，另存为 XLSX 或“CSV UTF-8”")


if __name__ == "__main__":
    _path, _descriptor, _memory_max_bytes = sys.argv[1:]
    _read(_path, Connection(int(_descriptor), readable=False), int(_memory_max_bytes))
