"""An open sheet and its rows."""

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

from shared.sheets.cells import without_apostrophe


class FileFault(Exception):
    """The file cannot be read (further); the text (zh-Hans) says what is wrong and what to do."""


class SheetRow(NamedTuple):
    """`number` is the row's number in a spreadsheet, or the last line of a CSV row that spans lines. `cells` are as they came.
    Empty rows are left out. `begins`: the first line of a CSV row, else 0."""

    number: int
    cells: Sequence[Any]
    begins: int = 0

    def values(self, places: Mapping[str, int]) -> dict[str, Any]:
        """The row's values by the names of `places`, trimmed, without empty cells. Formulas are plain text and stay so."""
        values = {name: value_of(self.cells[place]) for name, place in places.items() if place < len(self.cells)}
        return {name: value for name, value in values.items() if value != ""}

    def beyond(self, header: Sequence[str]) -> list[Any]:
        """The cells to the right of the header's last column, if one of them holds anything: no column, so nobody reads them."""
        more = list(self.cells[len(header) :])
        return more if any(more) else []


class Merged(NamedTuple):
    """Merged cells of one column. Only their first row, in the first of the merged columns, has the value."""

    place: int
    first_row: int
    last_row: int


@dataclass(frozen=True)
class Sheet:
    """`rows` can be read once. `size` and `position()` are in one unit (bytes or rows), for a progress bar. `others`: the sheets
    of the workbook that hold something and are not this one, by name, hidden ones too."""

    header: list[str]
    rows: Iterator[SheetRow]
    size: int
    position: Callable[[], int]
    name: str = ""
    others: Sequence[str] = ()
    merged: Sequence[Merged] = ()  # below the header

    def places(self, columns: Mapping[str, str] | None = None) -> dict[str, int]:
        """Name → place of the column. `columns` maps names to column titles; without it every column goes by its title, and
        untitled ones are left out. Of two columns with one title the first counts."""
        wanted = {column: column for column in self.header if column} if columns is None else columns
        return {name: self.header.index(column) for name, column in wanted.items()}


def value_of(cell: Any) -> Any:
    """A cell's value. Cells of a CSV file are texts; a workbook has numbers, times and booleans too."""
    return without_apostrophe(cell.strip()) if isinstance(cell, str) else cell
