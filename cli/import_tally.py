"""What became of the rows of a file, and what is odd about them: numbers for people and for scripts."""

from collections import Counter
from dataclasses import dataclass, field
from typing import Any, NamedTuple

from cli.import_events import Outcome
from shared.sheets import SHEET_DIGITS

UNKNOWN_MAX = 1000  # how many different unknown codes are listed
REASONS_MAX = 100  # how many reasons are counted apart: some quote the cell, so there is no end to them
LINES_NAMED_MAX = 5
OTHER_REASONS = "其他原因"
ACTIONS = ("quiz.answered", "prize.won", "account.followed")
ON_THE_MINUTE_BY_CHANCE = 3  # fewer of them are no sign
ZEROS_BY_CHANCE = 3  # fewer of them are no sign: one account in ten ends in 0
NOT_SENT = "not_sent"


class Fault(NamedTuple):
    """Why rows were refused, and because of which field ("" where the reason is no field, or checkin names none)."""

    verdict: str
    reason: str
    field: str


@dataclass
class Places:
    """How many rows, and the numbers of the first ones."""

    rows: int = 0
    first: list[int] = field(default_factory=list)

    def add(self, number: int) -> None:
        self.rows += 1
        if len(self.first) < LINES_NAMED_MAX:
            self.first.append(number)


@dataclass
class Tally:
    """What became of the rows so far. `next_row` is the row from which to go on after an interruption."""

    counts: Counter[tuple[str, str]] = field(default_factory=Counter)
    next_row: int = 0
    long_ids: int = 0  # accounts of more digits than a spreadsheet keeps
    unknown: Counter[tuple[str, str]] = field(default_factory=Counter)  # field and code that the campaign does not have
    faults: dict[Fault, Places] = field(default_factory=dict)  # refused rows
    unused: Counter[tuple[str, str]] = field(default_factory=Counter)  # type and field that it has no use for
    actions: int = 0
    actions_on_the_minute: int = 0
    contacts_dropped: int = 0  # enrolments of minors without consent: kept, without name and phone
    _lost_digits: int = 0
    _kept_digits: int = 0

    def see_account(self, viewer_id: str) -> None:
        more = viewer_id[SHEET_DIGITS:] if viewer_id.isdecimal() else ""
        self.long_ids += bool(more)
        self._lost_digits += more.count("0")
        self._kept_digits += len(more) - more.count("0")

    def see(self, outcome: Outcome) -> None:
        """Takes note of what is odd about a row that is sent."""
        event = outcome.event or {}
        for unknown in outcome.unknown:
            if len(self.unknown) < UNKNOWN_MAX or unknown in self.unknown:
                self.unknown[unknown] += 1
        self.unused.update((event["type"], unused) for unused in outcome.unused)
        if event["type"] in ACTIONS:
            self.actions += 1
            self.actions_on_the_minute += event["occurred_at"][16:19] == ":00"
        self.see_account(event.get("viewer_id", ""))

    def refuse(self, number: int, verdict: str, reason: str, at_field: str = "") -> None:
        """Counts a refused row."""
        if len(self.faults) >= REASONS_MAX and Fault(verdict, reason, at_field) not in self.faults:
            reason, at_field = OTHER_REASONS, ""
        self.counts[verdict, reason] += 1
        self.faults.setdefault(Fault(verdict, reason, at_field), Places()).add(number)

    @property
    def without_seconds(self) -> int:
        """How many actions probably lack their seconds, so that they are not recognised as repeats of what the platform sent.
        That is assumed where all actions are on the minute."""
        return (
            self.actions
            if self.actions >= ON_THE_MINUTE_BY_CHANCE and self.actions == self.actions_on_the_minute
            else 0
        )

    @property
    def rounded_ids(self) -> int:
        """How many accounts a spreadsheet has probably rounded. That is assumed where all long accounts end in zeros."""
        return 0 if self._kept_digits or self._lost_digits < ZEROS_BY_CHANCE else self.long_ids

    @property
    def rows(self) -> int:
        return sum(self.counts.values())

    @property
    def refused(self) -> int:
        return sum(number for (verdict, _), number in self.counts.items() if verdict in ("rejected", NOT_SENT))

    def as_json(self) -> dict[str, Any]:
        verdicts: Counter[str] = Counter()
        reasons: dict[str, dict[str, int]] = {}
        for (verdict, reason), number in sorted(self.counts.items()):
            verdicts[verdict] += number
            if reason:
                reasons.setdefault(verdict, {})[reason] = number
        warnings: dict[str, Any] = {"rounded_ids": self.rounded_ids} if self.rounded_ids else {}
        if self.contacts_dropped:
            warnings["contacts_dropped"] = self.contacts_dropped
        if self.without_seconds:
            warnings["without_seconds"] = self.without_seconds
        for (name, code), number in sorted(self.unknown.items()):
            warnings.setdefault("unknown_codes", {}).setdefault(name, {})[code] = number
        for (event_type, name), number in sorted(self.unused.items()):
            warnings.setdefault("unused_fields", {}).setdefault(event_type, {})[name] = number
        if self.faults:
            warnings["refused"] = [
                fault._asdict() | {"field": fault.field or None, "rows": places.rows, "first_rows": places.first}
                for fault, places in sorted(self.faults.items())
            ]
        return {"rows": self.rows, "verdicts": dict(verdicts), "reasons": reasons} | warnings
