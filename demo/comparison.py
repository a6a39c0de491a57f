"""One line of the table at the end: what was compared, and what differs."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any


@dataclass
class Check:
    """One line of the table. `expected` and `found` are sums for readers; only `differences` decides."""

    what: str
    expected: int = 0
    found: int = 0
    compared: int = 0
    differences: list[str] = field(default_factory=list)

    def equal(self, where: object, expected: object, found: object) -> None:
        self.compared += 1
        self.expected += expected if isinstance(expected, int) else 1
        self.found += found if isinstance(found, int) else int(expected == found)
        if expected != found:
            self.differences.append(f"{where}: expected {expected!r}, found {found!r}")

    def same(self, expected: Mapping[Any, Any], found: Mapping[Any, Any]) -> None:
        """Compares two mappings, in which an absent key is the same as 0."""
        for key in expected.keys() | found.keys():
            self.equal(key, expected.get(key, 0), found.get(key, 0))

    def at_least(self, where: object, expected: int, found: int) -> None:
        self.compared += 1
        self.expected, self.found = self.expected + expected, self.found + found
        if found < expected:
            self.differences.append(f"{where}: expected at least {expected}, found {found}")
