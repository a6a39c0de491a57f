"""Whose name and phone may not be kept: minors', without a guardian's consent (FACTS, "Viewers and the law").

Pure: all enrolments of some viewers go in, so that the answer does not depend on the order in which they came.
"""

from collections import defaultdict
from collections.abc import Collection, Iterable
from datetime import datetime
from typing import NamedTuple

from services.checkin.sorting import Key
from shared.contracts.base import UNASSIGNED


class Past(NamedTuple):
    """One enrolment of a viewer, as it is stored. `has_contact`: its name or phone was published, or may have been."""

    viewer_id: str
    enrolled_at: datetime
    enrolment_id: str
    unit_code: str
    group_code: str
    guardian_consent: bool
    has_contact: bool

    @property
    def key(self) -> Key:
        return self.viewer_id, self.enrolment_id


def without_contact(history: Iterable[Past], minors: Collection[str]) -> list[Past]:
    """The enrolments whose name and phone may not be kept, by viewer and time.

    These are the enrolments without consent of viewers who are in a group of minors then or later. An enrolment that names no
    group leaves the viewer in the group of the enrolment before it. So if the group of a child becomes known late, earlier
    names and phones are dropped; if a mistaken group is corrected, names and phones given after the correction are kept.
    """
    by_viewer: dict[str, list[Past]] = defaultdict(list)
    for past in sorted(history):
        by_viewer[past.viewer_id].append(past)
    return [past for enrolments in by_viewer.values() for past in _of_one(enrolments, minors)]


def _of_one(enrolments: list[Past], minors: Collection[str]) -> list[Past]:
    group, last_as_minor = UNASSIGNED, -1
    for index, past in enumerate(enrolments):
        group = past.group_code if past.group_code != UNASSIGNED else group
        if group in minors:
            last_as_minor = index
    return [past for past in enrolments[: last_as_minor + 1] if not past.guardian_consent]


def withdrawn(barred: Iterable[Past]) -> list[Past]:
    """For each viewer the latest barred enrolment whose contact data other services may have. They must drop all contact data
    of the viewer up to it."""
    return list({past.viewer_id: past for past in barred if past.has_contact}.values())
