"""What a unit owes: one form for one period, due at a minute; and what became of it (DESIGN §5.2). Pure."""

from collections.abc import Iterable, Mapping, Sequence
from datetime import datetime
from fractions import Fraction
from operator import add
from typing import Any, Literal, NamedTuple, get_args
from uuid import UUID

from shared.contracts.campaign_forms import Form
from shared.forms.formulas import rounded
from shared.tree import Tree

State = Literal["due", "on_time", "late", "missing", "returned", "excused"]
STATES: tuple[State, ...] = get_args(State)
Tallied = Literal["expected", "on_time", "late", "missing", "excused"]
Figure = Literal["expected", "reported", "on_time", "late", "missing", "excused", "due", "returned"]
Kind = Literal["submitted", "on_behalf", "corrected"]
RATE_DECIMALS = 4


class ObligationKey(NamedTuple):
    """`period`: `2024-06-29`, `2024-W27`, `2024-07` or `once`."""

    campaign_id: str
    form: str
    period: str
    unit_code: str


class Obligation(NamedTuple):
    """A form that a unit owes for a period. `version` is that of its last report, 0 where there is none; `submitted_at` is of the
    first report that stands, which decides timeliness. `returned_at` stands until the next report."""

    campaign_id: str
    form: str
    period: str
    unit_code: str
    forms_revision: int
    opened_at: datetime
    due_at: datetime
    on_time_until: datetime
    locks_at: datetime
    version: int
    submitted_at: datetime | None
    returned_at: datetime | None
    returned_empty: bool
    return_reason: str | None
    excused_at: datetime | None
    excuse_reason: str | None
    approved_at: datetime | None
    next_due_at: datetime

    @property
    def key(self) -> ObligationKey:
        return ObligationKey(*self[:4])

    def state(self, now: datetime) -> State:
        """A return is shown until the next report; a report that was returned as empty counts as none in the rates."""
        if self.excused_at is not None:
            return "excused"
        if self.returned_at is not None:
            return "returned"
        if self.submitted_at is not None:
            return timeliness(self.submitted_at, self.on_time_until)
        return "missing" if now > self.on_time_until else "due"

    def is_owed(self) -> bool:
        """Whether the unit still has to send something."""
        return self.excused_at is None and (self.submitted_at is None or self.returned_at is not None)


class Report(NamedTuple):
    """One version of a report, as it was received: it is never changed. `kind`: by the unit, on its behalf (代报) or corrected by
    the office, which gives a reason."""

    version: int
    submission_id: UUID
    number: str
    values: dict[str, Any]
    reasons: dict[str, str]
    sha256: bytes
    submitted_at: datetime
    due_at: datetime
    state: Literal["on_time", "late"]
    kind: Kind
    actor: str
    reason: str | None


class Change(NamedTuple):
    """A decision about an obligation: returned, excused, owed_again, approved or reopened."""

    changed_at: datetime
    what: str
    version: int
    actor: str
    reason: str | None
    due_at: datetime | None


class Owed(NamedTuple):
    """An obligation with the form as it was when its period opened."""

    obligation: Obligation
    form: Form


def timeliness(submitted_at: datetime, on_time_until: datetime) -> Literal["on_time", "late"]:
    """What arrives until the last minute of grace, that instant too, is on time."""
    return "on_time" if submitted_at <= on_time_until else "late"


# ---- how many ----------------------------------------------------------------------------------------------------------


class Tally(NamedTuple):
    """Obligations counted. `expected`: opened and not excused (免报 leaves the denominator); `missing`: past their time without
    a report that stands."""

    expected: int = 0
    on_time: int = 0
    late: int = 0
    missing: int = 0
    excused: int = 0

    def plus(self, other: "Tally") -> "Tally":
        return Tally(*map(add, self, other))

    @property
    def reported(self) -> int:
        return self.on_time + self.late

    @property
    def reporting_rate(self) -> float | None:
        return _rate(self.reported, self.expected)

    @property
    def on_time_rate(self) -> float | None:
        return _rate(self.on_time, self.expected)


def _rate(part: int, whole: int) -> float | None:
    """0 to 1 with four places; None without anything expected, which is not 0."""
    return float(rounded(Fraction(part, whole), RATE_DECIMALS)) if whole else None


def added(tallies: Iterable[Tally]) -> Tally:
    whole = Tally()
    for tally in tallies:
        whole = whole.plus(tally)
    return whole


def rolled_up(tallies: Iterable[tuple[str, Tally]], place: Mapping[str, str]) -> dict[str, Tally]:
    """The tallies by another key: `place` leads from one to the other; what it does not know is left where it is."""
    sums: dict[str, Tally] = {}
    for key, tally in tallies:
        at = place.get(key, key)
        sums[at] = sums.get(at, Tally()).plus(tally)
    return sums


def by_subtree(tallies: Iterable[tuple[str, Tally]], tree: Tree, root: str | None) -> dict[str, Tally]:
    """Each unit with all below it, so that rows overlap; up to `root`."""
    sums: dict[str, Tally] = {}
    for code, tally in tallies:
        for at in tree.upwards(code, root) or [code]:
            sums[at] = sums.get(at, Tally()).plus(tally)
    return sums


# ---- who may decide --------------------------------------------------------------------------------------------------


def is_above(tree: Tree, scope: str | None, unit_code: str) -> bool:
    """Whether somebody of `scope` (None: the whole campaign) stands above the unit, and so may approve or return its report."""
    return scope is None or (scope != unit_code and scope in tree.upwards(unit_code))


def still_owed(obligations: Sequence[Obligation]) -> list[Obligation]:
    """What still has to be sent, by when it is due: so what is overdue comes first."""
    owed = (obligation for obligation in obligations if obligation.is_owed())
    return sorted(owed, key=lambda obligation: (obligation.next_due_at, obligation.form, obligation.period))
