"""Formulas of an XLSX sheet that no spreadsheet has ever worked out: a program wrote them, and the cell holds nothing to read."""

import posixpath
import re
import zipfile
from collections.abc import Iterator
from pathlib import Path
from xml.parsers import expat  # it runs in the process of workbook_process.py, whose memory and time are limited

_PART_BYTES = 256 * 1024
_FORMULA = re.compile(rb"<(?:\w+:)?f[\s/>]")
_REFERENCE = re.compile(r"([A-Z]{1,3})([0-9]{1,7})")

Element = tuple[str, dict[str, str]]


def uncalculated(path: Path, sheet: str) -> Iterator[tuple[int, int]]:
    """Row (from 1) and place in the row (from 0) of each such cell, from the top. Nothing of a file that is no XLSX."""
    try:
        with zipfile.ZipFile(path) as book:
            part = _part_of(book, sheet)
            if part is not None and _has_formulas(book, part):
                yield from _cells(book, part)
    except (zipfile.BadZipFile, KeyError, expat.ExpatError):
        return


def _part_of(book: zipfile.ZipFile, sheet: str) -> str | None:
    """The part of the archive that holds the sheet."""
    identifier = next(
        (row.get("id") for tag, row in _elements(book, "xl/workbook.xml") if row.get("name") == sheet), None
    )
    relations = (row for _, row in _elements(book, "xl/_rels/workbook.xml.rels"))
    target = next((row["Target"] for row in relations if row.get("Id") == identifier and "Target" in row), None)
    return target and posixpath.join("/xl", target)[1:]


def _elements(book: zipfile.ZipFile, part: str) -> list[Element]:
    """The elements of a small part with their attributes, both without prefixes."""
    elements: list[Element] = []
    parser = expat.ParserCreate()
    parser.StartElementHandler = lambda tag, attributes: elements.append(
        (_local(tag), {_local(key): value for key, value in attributes.items()})
    )
    parser.Parse(book.read(part), True)
    return [element for element in elements if part.endswith(".rels") or element[0] == "sheet"]


def _has_formulas(book: zipfile.ZipFile, part: str) -> bool:
    before = b""
    with book.open(part) as file:
        while content := file.read(_PART_BYTES):
            if _FORMULA.search(before + content):
                return True
            before = content[-32:]
    return False


def _cells(book: zipfile.ZipFile, part: str) -> Iterator[tuple[int, int]]:
    seen = _Seen()
    parser = expat.ParserCreate()
    parser.StartElementHandler, parser.EndElementHandler = seen.start, seen.end
    parser.CharacterDataHandler = seen.text
    with book.open(part) as file:
        while content := file.read(_PART_BYTES):
            parser.Parse(content, False)
            yield from seen.cells
            seen.cells.clear()


class _Seen:
    """What the parser met: `cells` with a formula and without a value. A formula whose value is the empty text has t="str"."""

    def __init__(self) -> None:
        self.cells: list[tuple[int, int]] = []
        self._cell: dict[str, str] = {}
        self._formula = self._value = self._in_value = False

    def start(self, tag: str, attributes: dict[str, str]) -> None:
        match _local(tag):
            case "c":
                self._cell, self._formula, self._value = attributes, False, attributes.get("t") == "str"
            case "f":
                self._formula = True
            case "v":
                self._in_value = True

    def text(self, text: str) -> None:
        self._value = self._value or (self._in_value and bool(text))

    def end(self, tag: str) -> None:
        match _local(tag):
            case "v":
                self._in_value = False
            case "c" if self._formula and not self._value:
                if match := _REFERENCE.fullmatch(self._cell.get("r", "")):
                    self.cells.append((int(match[2]), _place(match[1])))


def _local(name: str) -> str:
    return name.rpartition(":")[2]


def _place(letters: str) -> int:
    """`A` → 0, `AA` → 26."""
    number = 0
    for letter in letters:
        number = number * 26 + ord(letter) - ord("A") + 1
    return number - 1
