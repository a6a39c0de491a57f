"""The totals that reporting must answer, added up from every viewer's own record."""

from collections import Counter, defaultdict
from collections.abc import Iterable
from typing import NamedTuple

from demo.campaign import Campaign
from demo.expectation import Expectation

BY = ("unit", "subtree", "county", "city", "group", "lesson", "mode", "platform")
COVERED = {
    "county": ("county", "unit"),
    "city": ("city", "county", "unit"),
}  # levels of which a row covers the whole unit


class Row(NamedTuple):
    checkins: int = 0
    late: int = 0
    made_good: int = 0
    credited: int = 0
    viewers: int = 0
    issued: int | None = None
    claimed: int | None = None
    per_10k: float | None = None


class Cell(NamedTuple):
    lesson: str
    mode: str
    unit: str
    group: str


class Sums:
    def __init__(self, expectation: Expectation, root: str | None = None) -> None:
        """`root`: the totals as a token of this unit sees them, which is its subtree only."""
        self._campaign: Campaign = expectation.campaign
        self._root = root
        within = None if root is None else self._campaign.below(root)
        self.checkins: Counter[Cell] = Counter()
        self.late: Counter[Cell] = Counter()
        self.made_good: Counter[Cell] = Counter()
        lessons: set[tuple[str, str, str, str]] = set()
        people: dict[str, tuple[str, str]] = {}
        for row in expectation.checkins():
            if within is not None and row.unit not in within:
                continue
            cell = Cell(row.day.isoformat(), row.mode, row.unit, row.group)
            if row.mode == "made_good":
                self.made_good[cell] += 1
                continue
            self.checkins[cell] += 1
            self.late[cell] += row.late
            lessons.add((row.viewer_id, cell.lesson, row.unit, row.group))
            people[row.viewer_id] = (row.unit, row.group)
        self._viewers_seen = expectation.viewers.values()
        self._by_lesson_and_mode: dict[tuple[str, str], list[Cell]] = defaultdict(list)
        for cell in self.checkins.keys() | self.made_good.keys():
            self._by_lesson_and_mode[cell.lesson, cell.mode].append(cell)
        self.lesson_viewers = Counter((lesson, unit, group) for _, lesson, unit, group in lessons)
        self.viewers = Counter(people.values())
        self.issued: Counter[tuple[str, str]] = Counter()
        self.claimed: Counter[tuple[str, str]] = Counter()
        for certificate in expectation.valid().values():
            holder = expectation.viewers[certificate.viewer_id]
            if within is None or holder.unit in within:
                self.issued[holder.unit, holder.group] += 1
                self.claimed[holder.unit, holder.group] += certificate.claimed

    def rows(self, by: str, lesson: str | None = None, mode: str | None = None) -> dict[str, Row]:
        """Rows as `GET …/totals?by=…[&lesson=…][&mode=…]` must answer them: every unit, group, lesson and platform, with 0
        where nothing came; other keys only where there is something."""
        if by == "platform":
            return self._platforms(lesson, mode)
        numbers: dict[str, list[int]] = defaultdict(lambda: [0] * 5)
        for cell in self._cells(lesson, mode):
            checkins, late, made_good = self.checkins[cell], self.late[cell], self.made_good[cell]
            for key in self._keys(by, cell.unit, cell.group, cell.lesson, cell.mode):
                row = numbers[key]
                row[0] += checkins
                row[1] += late
                row[2] += made_good
                row[3] += made_good + (checkins - late if cell.mode in self._campaign.credit else 0)
                if mode is not None or by == "mode":
                    row[4] += checkins
        if mode is None and by != "mode":
            for key, number in self._people(by, lesson):
                numbers[key][4] += number
        tells = lesson is None and mode is None and by not in ("lesson", "mode")
        issued: Counter[str] = Counter()
        claimed: Counter[str] = Counter()
        for (unit, group), number in self.issued.items() if tells else ():
            for key in self._keys(by, unit, group):
                issued[key] += number
                claimed[key] += self.claimed[unit, group]
        keys = {key for key, row in numbers.items() if any(row)} | issued.keys() | self._listed(by, lesson)
        return {key: self._row(by, key, numbers[key], issued[key], claimed[key], tells=tells) for key in keys}

    def _platforms(self, lesson: str | None, mode: str | None) -> dict[str, Row]:
        """The rows by platform. A viewer counts for the platform that sent the first of their check-ins (of the lesson, or of
        the campaign). Lessons granted by the office count for no platform."""
        numbers: dict[str, list[int]] = {source: [0] * 4 for source in self._campaign.platforms}
        for viewer in self._viewers_seen:
            people = 0
            for (index, how), source in viewer.sources.items():  # in the order in which they came
                counts = index in viewer.checkins(how)
                if not counts or lesson not in (None, self._campaign.days[index].isoformat()):
                    continue
                people += 1
                if mode not in (None, how):
                    continue
                row, late = numbers.setdefault(source, [0] * 4), viewer.checkins(how)[index]
                row[0] += 1
                row[1] += late
                row[2] += how in self._campaign.credit and not late
                row[3] += mode is not None or people == 1
        return {key: Row(row[0], row[1], 0, row[2], row[3]) for key, row in numbers.items()}

    def _row(self, by: str, key: str, numbers: list[int], issued: int, claimed: int, *, tells: bool) -> Row:
        checkins, late, made_good, credited, viewers = numbers
        per_10k = self._per_10k(by, key, viewers)
        if not tells:
            return Row(checkins, late, made_good, credited, viewers, per_10k=per_10k)
        return Row(checkins, late, made_good, credited, viewers, issued, claimed, per_10k)

    def _cells(self, lesson: str | None, mode: str | None) -> Iterable[Cell]:
        return [
            cell
            for (day, how), cells in self._by_lesson_and_mode.items()
            if lesson in (None, day) and mode in (None, how)
            for cell in cells
        ]

    def _people(self, by: str, lesson: str | None) -> Iterable[tuple[str, int]]:
        if lesson is None and by != "lesson":
            return [
                (key, number) for (unit, group), number in self.viewers.items() for key in self._keys(by, unit, group)
            ]
        return [
            (key, number)
            for (day, unit, group), number in self.lesson_viewers.items()
            if lesson in (None, day)
            for key in self._keys(by, unit, group, day)
        ]

    def _listed(self, by: str, lesson: str | None) -> set[str]:
        """The keys of the rows that are shown before anything came."""
        campaign = self._campaign
        units = set(campaign.units) if self._root is None else campaign.below(self._root)
        match by:
            case "unit" | "subtree":
                return units
            case "county" | "city":
                rolled_up = {self._key(by, unit, "") for unit in units}
                return {code for code in rolled_up if campaign.units[code].level in COVERED[by]}
            case "group":
                return set(campaign.groups)
            case "lesson":
                return {day.isoformat() for day in campaign.days if lesson in (None, day.isoformat())}
        return set()

    def _keys(self, by: str, unit: str, group: str, lesson: str = "", mode: str = "") -> list[str]:
        if by != "subtree":
            return [self._key(by, unit, group, lesson, mode)]
        path = self._campaign.path(unit)
        return path if self._root is None else path[: path.index(self._root) + 1]

    def _key(self, by: str, unit: str, group: str, lesson: str = "", mode: str = "") -> str:
        match by:
            case "unit":
                return unit
            case "county":
                return self._campaign.county(unit)
            case "city":
                return self._root or self._campaign.city(unit)
            case "group":
                return group
            case "lesson":
                return lesson
        return mode

    def _per_10k(self, by: str, key: str, viewers: int) -> float | None:
        unit = self._campaign.units.get(key) if by in ("unit", "subtree", "county", "city") else None
        if unit is None or unit.residents is None or (by in COVERED and unit.level not in COVERED[by]):
            return None
        return round(viewers * 10_000 / unit.residents, 2)

    def attributed_share(self) -> float:
        attributed = sum(number for (unit, _), number in self.viewers.items() if unit in self._campaign.units)
        return round(attributed / sum(self.viewers.values()), 4)
