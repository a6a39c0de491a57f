"""Histories of a campaign as checkin and certificate would publish them, and what the totals must be in the end.

`History` is the naive model: it remembers every check-in of every viewer and counts at the end, under the unit and group each
viewer has by then. The code under test knows neither viewers nor order.
"""

from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass, field
from datetime import UTC, date, datetime, timedelta
from typing import Any

from hypothesis import strategies as st

from shared.contracts.base import UNASSIGNED, Event
from shared.contracts.certificate import CertificateClaimedV1, CertificateIssuedV1, CertificateRevokedV1
from shared.contracts.checkin import CheckinRecordedV1, LessonMadeGoodV1, ViewerReassignedV1
from shared.ids import new_event_id

START = datetime(2024, 6, 29, 11, 30, tzinfo=UTC)
LESSONS = [date(2024, 6, 29), date(2024, 6, 30), date(2024, 7, 1)]
UNITS = ["111", "111-EDU", "112", "11", "not-in-tree", UNASSIGNED]
GROUPS = ["student", "general", UNASSIGNED]
VIEWERS = [f"v{number}" for number in range(6)]

Place = tuple[str, str]


@dataclass
class Checkin:
    lesson: date
    mode: str
    late: bool
    first_for_lesson: bool
    first_for_campaign: bool


@dataclass
class Viewer:
    place: Place = (UNASSIGNED, UNASSIGNED)
    enrolled: tuple[datetime, str] | None = None
    checkins: list[Checkin] = field(default_factory=list)
    made_good: list[date] = field(default_factory=list)
    place_at_completion: Place | None = None


@dataclass
class Certificate:
    viewer_id: str
    claimed: bool = False
    revoked: bool = False


class History:
    """`events` is what was published, in order."""

    def __init__(self, campaign_id: str) -> None:
        self.campaign_id = campaign_id
        self.viewers = {viewer_id: Viewer() for viewer_id in VIEWERS}
        self.certificates: dict[str, Certificate] = {}
        self.events: list[Event] = []

    # ---- what happens ----

    def check_in(self, viewer_ids: Iterable[str], lesson: date, mode: str, late: Iterable[bool]) -> None:
        fresh = [
            (viewer_id, self.viewers[viewer_id], is_late)
            for viewer_id, is_late in zip(viewer_ids, late, strict=True)
            if not any(known.lesson == lesson and known.mode == mode for known in self.viewers[viewer_id].checkins)
        ]
        for _, viewer, is_late in fresh:
            first = not any(known.lesson == lesson for known in viewer.checkins)
            viewer.checkins.append(Checkin(lesson, mode, is_late, first, not viewer.checkins))
            viewer.place_at_completion = viewer.place_at_completion or viewer.place
        if fresh:
            self.publish(
                CheckinRecordedV1,
                lesson_date=lesson,
                mode=mode,
                viewer_ids=[viewer_id for viewer_id, _, _ in fresh],
                unit_codes=[viewer.place[0] for _, viewer, _ in fresh],
                groups=[viewer.place[1] for _, viewer, _ in fresh],
                checked_in_at=[START for _ in fresh],
                late=[viewer.checkins[-1].late for _, viewer, _ in fresh],
                first_for_lesson=[viewer.checkins[-1].first_for_lesson for _, viewer, _ in fresh],
                first_for_campaign=[viewer.checkins[-1].first_for_campaign for _, viewer, _ in fresh],
                credited_days=[0 for _ in fresh],
                credited_lessons=[None for _ in fresh],
            )

    def make_good(self, viewer_ids: Iterable[str], lesson: date) -> None:
        granted = [
            (viewer_id, self.viewers[viewer_id])
            for viewer_id in viewer_ids
            if lesson not in self.viewers[viewer_id].made_good
        ]
        for _, viewer in granted:
            viewer.made_good.append(lesson)
            viewer.place_at_completion = viewer.place_at_completion or viewer.place
        if granted:
            self.publish(
                LessonMadeGoodV1,
                lesson_date=lesson,
                make_good_id="mg-1",
                viewer_ids=[viewer_id for viewer_id, _ in granted],
                unit_codes=[viewer.place[0] for _, viewer in granted],
                groups=[viewer.place[1] for _, viewer in granted],
                credited_days=[1 for _ in granted],
                credited_lessons=[None for _ in granted],
            )

    def enrol(self, viewer_ids: Iterable[str], place: Place, enrolled_at: datetime, enrolment_id: str) -> None:
        """An enrolment older than the known one changes nothing (DESIGN §5.1)."""
        rows: list[dict[str, Any]] = []
        for viewer_id in viewer_ids:
            viewer = self.viewers[viewer_id]
            if viewer.enrolled is not None and viewer.enrolled >= (enrolled_at, enrolment_id):
                continue
            came_from, viewer.place = viewer.place, place
            viewer.enrolled = (enrolled_at, enrolment_id)
            if came_from == place:
                continue
            moved: list[dict[str, Any]] = [
                {
                    "lesson_dates": known.lesson,
                    "modes": known.mode,
                    "late": known.late,
                    "first_for_lesson": known.first_for_lesson,
                    "first_for_campaign": known.first_for_campaign,
                }
                for known in viewer.checkins
            ] + [
                {
                    "lesson_dates": lesson,
                    "modes": "made_good",
                    "late": False,
                    "first_for_lesson": False,
                    "first_for_campaign": False,
                }
                for lesson in viewer.made_good
            ]
            rows += [
                row
                | {
                    "viewer_ids": viewer_id,
                    "from_unit_codes": came_from[0],
                    "from_groups": came_from[1],
                    "to_unit_codes": place[0],
                    "to_groups": place[1],
                    "enrolled_at": enrolled_at,
                    "enrolment_ids": enrolment_id,
                }
                for row in moved
            ]
        if rows:
            self.publish(ViewerReassignedV1, **{column: [row[column] for row in rows] for column in rows[0]})

    def issue(self, viewer_ids: Iterable[str]) -> None:
        """Issues certificates to those of the viewers who have no valid one, under the unit at completion, which a viewer may
        have left."""
        holders = {holder.viewer_id for holder in self.certificates.values() if not holder.revoked}
        rows = []
        for viewer_id in viewer_ids:
            place = self.viewers[viewer_id].place_at_completion
            if place is not None and viewer_id not in holders:
                serial = f"S-{len(self.certificates)}"
                self.certificates[serial] = Certificate(viewer_id)
                rows.append((viewer_id, serial, *place))
        if rows:
            viewers, serials, units, groups = (list(column) for column in zip(*rows, strict=True))
            self.publish(
                CertificateIssuedV1,
                viewer_ids=viewers,
                serials=serials,
                unit_codes=units,
                groups=groups,
                issued_at=[START for _ in rows],
            )

    def claim(self, viewer_ids: Iterable[str]) -> None:
        serials = self._valid(viewer_ids)
        for serial in serials:
            self.certificates[serial].claimed = True
        if serials:
            self.publish(
                CertificateClaimedV1,
                viewer_ids=[self.certificates[serial].viewer_id for serial in serials],
                serials=serials,
                claimed_at=[START for _ in serials],
            )

    def revoke(self, viewer_ids: Iterable[str]) -> None:
        serials = self._valid(viewer_ids)
        for serial in serials:
            self.certificates[serial].revoked = True
        if serials:
            self.publish(
                CertificateRevokedV1,
                viewer_ids=[self.certificates[serial].viewer_id for serial in serials],
                serials=serials,
                revoked_at=[START for _ in serials],
                reasons=["name corrected" for _ in serials],
                reissued_as=[None for _ in serials],
            )

    def _valid(self, viewer_ids: Iterable[str]) -> list[str]:
        asked = set(viewer_ids)
        return [
            serial
            for serial, certificate in self.certificates.items()
            if certificate.viewer_id in asked and not certificate.revoked
        ]

    def publish(self, event: type[Event], **fields: Any) -> None:
        self.events.append(event(event_id=new_event_id(), occurred_at=START, campaign_id=self.campaign_id, **fields))

    # ---- what it comes to ----

    def totals(self) -> dict[tuple[date, str, str, str], Counter[str]]:
        """(lesson, mode, unit, group) → what is counted there, without zeros."""
        sums: dict[tuple[date, str, str, str], Counter[str]] = {}
        for viewer in self.viewers.values():
            for known in viewer.checkins:
                count = sums.setdefault((known.lesson, known.mode, *viewer.place), Counter())
                count["checkins"] += 1
                count.update(
                    flag for flag in ("late", "first_for_lesson", "first_for_campaign") if getattr(known, flag)
                )
            for lesson in viewer.made_good:
                sums.setdefault((lesson, "made_good", *viewer.place), Counter())["made_good"] += 1
        return sums

    def issued_and_claimed(self, part: int) -> dict[str, tuple[int, int]]:
        """(issued, claimed) by unit (part 0) or group (part 1)."""
        valid = [holder for holder in self.certificates.values() if not holder.revoked]
        issued = Counter(self.viewers[holder.viewer_id].place[part] for holder in valid)
        claimed = Counter(self.viewers[holder.viewer_id].place[part] for holder in valid if holder.claimed)
        return {key: (issued[key], claimed[key]) for key in issued}


some_viewers = st.lists(st.sampled_from(VIEWERS), min_size=1, max_size=4, unique=True)
places = st.tuples(st.sampled_from(UNITS), st.sampled_from(GROUPS))


@st.composite
def histories(draw: st.DrawFn, campaign_id: str) -> History:
    """Draws any events in any number; enrolments come out of order and at equal times."""
    history = History(campaign_id)
    for step in range(draw(st.integers(1, 25))):
        what = draw(
            st.sampled_from(["check in", "check in", "enrol", "enrol", "make good", "issue", "claim", "revoke"])
        )
        viewer_ids = draw(some_viewers)
        match what:
            case "check in":
                late = draw(st.lists(st.booleans(), min_size=len(viewer_ids), max_size=len(viewer_ids)))
                mode = draw(st.sampled_from(["live", "replay"]))
                history.check_in(viewer_ids, draw(st.sampled_from(LESSONS)), mode, late)
            case "enrol":
                enrolled_at = START + timedelta(seconds=draw(st.integers(0, 5)))
                history.enrol(viewer_ids, draw(places), enrolled_at, f"e{draw(st.integers(0, 9))}-{step}")
            case "make good":
                history.make_good(viewer_ids, draw(st.sampled_from(LESSONS)))
            case "issue":
                history.issue(viewer_ids)
            case "claim":
                history.claim(viewer_ids)
            case "revoke":
                history.revoke(viewer_ids)
    return history
