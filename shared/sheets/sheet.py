"""An open sheet and its rows."""

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

from shared.sheets.cells import without_apostrophe


class FileFault(Exception):
    """The file cannot be read (further); the text (zh-Hans) says what is wrong and what to do."""


class SheetRow(NamedTuple):
    """`number`: as a spreadsheet shows it; of a CSV row that spans lines, the last one. `cells`: as they came. Empty rows are
    left out."""

    number: int
    cells: Sequence[Any]

    def values(self, places: Mapping[str, int]) -> dict[str, Any]:
        """By the names of `places`, trimmed; empty cells are left out. Formulas are plain text and stay so."""
        found = {name: value_of(self.cells[place]) for name, place in places.items() if place < len(self.cells)}
        return {name: value for name, value in found.items() if value != ""}


@dataclass(frozen=True)
class Sheet:
    """`rows` can be read once. `size` and `position()` are in one unit (bytes or rows), for a progress bar."""

    header: list[str]
    rows: Iterator[SheetRow]
    size: int
    position: Callable[[], int]

    def places(self, columns: Mapping[str, str] | None = None) -> dict[str, int]:
        """`columns`: name → column; without it, every column that has a name, under that name. Of two columns of one name the
        first counts."""
        wanted = {column: column for column in self.header if column} if columns is None else columns
        return {name: self.header.index(column) for name, column in wanted.items()}


def value_of(cell: Any) -> Any:
    """A cell as it was meant. Of a CSV file all are texts; a workbook has numbers, times and truths too."""
    return without_apostrophe(cell.strip()) if isinstance(cell, str) else cell
