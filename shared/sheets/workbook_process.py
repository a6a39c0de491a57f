"""The process that reads a workbook for workbooks.py and may be ended by a limit: `python -m shared.sheets.workbook_process`."""

import resource
import sys
from collections.abc import Sequence
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Any

import python_calamine

ROWS_AT_ONCE = 1_000


def read(path: str, to: Connection, memory_max_bytes: int, cpu_max_s: int) -> None:
    """Sends the number of rows, then the rows in portions, then an empty portion. Where something is wrong it sends a text
    instead, or a limit ends the process."""
    resource.setrlimit(resource.RLIMIT_AS, (memory_max_bytes, memory_max_bytes))
    resource.setrlimit(resource.RLIMIT_CPU, (cpu_max_s, cpu_max_s))
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
    _path, _descriptor, _memory_max_bytes, _cpu_max_s = sys.argv[1:]
    read(_path, Connection(int(_descriptor), readable=False), int(_memory_max_bytes), int(_cpu_max_s))
