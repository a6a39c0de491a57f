"""The unit tree of a campaign: what lies below a unit, and where its figures are counted at a level. Pure."""

from collections.abc import Iterable

from shared.contracts.base import UNASSIGNED
from shared.contracts.campaign import LEVELS, Level, Unit


class Tree:
    """The units of a campaign in administrative order (`units` comes in that order)."""

    def __init__(self, units: Iterable[Unit] = ()) -> None:
        self._units = {unit.unit_code: unit for unit in units}
        self._position = {code: position for position, code in enumerate(self._units)}
        self._below: dict[str, list[str]] = {}
        for code, unit in self._units.items():
            self._below.setdefault(unit.parent_code or "", []).append(code)

    def __contains__(self, code: str) -> bool:
        return code in self._units

    def unit(self, code: str) -> Unit | None:
        return self._units.get(code)

    def order(self, code: str) -> tuple[int, int, str]:
        """The sort key of a code: codes of the tree in the tree's order, then unknown codes, then `unassigned`."""
        return code == UNASSIGNED, self._position.get(code, len(self._position)), code

    def subtree(self, root: str) -> frozenset[str]:
        """Codes of a unit and everything below it. Takes as long as that is large, not as the tree is: each report asks."""
        inside: list[str] = [root] if root in self._units else []
        for code in inside:  # grows while it is read
            inside += self._below.get(code, ())
        return frozenset(inside)

    def codes(self, root: str | None = None) -> list[str]:
        """Codes in administrative order: all of them, or those of `root` and everything below it."""
        inside = None if root is None else self.subtree(root)
        return [code for code in self._units if inside is None or code in inside]

    def upwards(self, code: str, root: str | None = None) -> list[str]:
        """The unit and all above it, nearest first, up to `root`; nothing for a code that the tree does not have."""
        path = []
        unit = self._units.get(code)
        while unit is not None:
            path.append(unit.unit_code)
            unit = None if unit.unit_code == root else self._units.get(unit.parent_code or "")
        return path

    def rolled_up(self, level: Level, root: str | None = None) -> dict[str, str]:
        """Each code → the nearest unit, itself included, that is at `level` or above it; never above `root`.

        So what hangs beside the counties, such as a department of the city, is counted under the city's own code.
        """
        return {code: self._rolled_up(unit, LEVELS.index(level), root) for code, unit in self._units.items()}

    def covers(self, code: str, level: Level) -> bool:
        """Whether the unit's row covers the whole unit when figures are rolled up to `level`. The row of a unit above `level` has
        only what no row below it has."""
        unit = self._units.get(code)
        return unit is not None and LEVELS.index(unit.level) >= LEVELS.index(level)

    def _rolled_up(self, unit: Unit, level: int, root: str | None) -> str:
        while LEVELS.index(unit.level) > level and unit.unit_code != root:
            parent = self._units.get(unit.parent_code or "")
            if parent is None:
                break
            unit = parent
        return unit.unit_code
