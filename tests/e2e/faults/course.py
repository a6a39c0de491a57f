"""The campaign of a run, and the viewers who take it, all drawn from the seed.

Three lessons whose windows have come, two credited days for a certificate, which may be claimed at once: so certificates are
issued, texted and claimed all the time. The campaign's time zone is one in which it is evening.
"""

import random
from dataclasses import dataclass
from datetime import UTC, datetime, time, timedelta
from typing import Any
from zoneinfo import ZoneInfo

from shared.contracts.campaign import CampaignDefinition

CAMPAIGN_ID = "faults"
LOCAL_HOUR = 18  # far from midnight
MODES = ("live", "replay")
HOURS = {"live": range(1, 12), "replay": range(12, 17)}  # over an hour ago: a clock that is slow refuses none as future
LESSONS, REQUIRED_DAYS = 3, 2
PLACES = ("111", "112", "111-EDU", "111-BANK")
GROUPS = ("student", "general")

VIEWERS_AT_ONCE = 40  # in the middle of their course
WITHOUT_PHONE, MOVES = 0.15, 0.4
SENT_AGAIN = 0.1  # of the check-ins: a second event about the same identity
NEVER_VALID = 0.03  # events that no stack may count: outside every window


@dataclass(frozen=True)
class Course:
    zone: str
    today: datetime  # local midnight, aware

    @classmethod
    def at(cls, now: datetime) -> "Course":
        hours = (LOCAL_HOUR - now.astimezone(UTC).hour + 12) % 24 - 12
        zone = f"Etc/GMT{-hours:+d}" if hours else "Etc/UTC"  # the sign of these names is the other way round
        return cls(zone, datetime.combine(now.astimezone(ZoneInfo(zone)).date(), time(), ZoneInfo(zone)))

    def lesson(self, index: int) -> datetime:
        return self.today - timedelta(days=LESSONS - 1 - index)

    def definition(self) -> dict[str, Any]:
        units = [
            ("1", None, "province"),
            ("11", "1", "city"),
            ("111", "11", "county"),
            ("112", "11", "county"),
            ("111-EDU", "111", "unit"),
            ("111-BANK", "111", "unit"),
        ]
        text = "证书编号 {serial}，领取码 {claim_code}，咨询请拨打 96110。"
        content = {
            "campaign_id": CAMPAIGN_ID,
            "title": "故障演练",
            "organiser": "反诈办",
            "time_zone": self.zone,
            "lessons": [
                {"date": self.lesson(index).date().isoformat(), "title": f"第{index + 1}课"} for index in range(LESSONS)
            ],
            "windows": {"live": [{"from": "00:00", "to": "12:00"}], "replay": [{"from": "12:00", "to": "24:00"}]},
            "credit": list(MODES),
            "required_days": REQUIRED_DAYS,
            "seal_after_hours": 720,
            "groups": [{"code": code, "name": code} for code in GROUPS],
            "certificate": {
                "claim_from": self.lesson(1).isoformat(),
                "title": "结课证书",
                "body": "参加“{campaign_title}”，累计签到{credited_days}天。",
                "issuer": "反诈办",
            },
            "messages": [{"event": "certificate_ready", "channel": "file", "template": text}],
            "units": [
                {"unit_code": code, "name": f"单位{code}", "parent_code": parent, "level": level, "kind": "node"}
                for code, parent, level in units
            ],
        }
        return CampaignDefinition.model_validate(content).model_dump(mode="json")


# ---- events ----------------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Event:
    """An event of the live platform, and the identity that it is about."""

    identity: str
    body: dict[str, Any]
    webhook_only: bool = False  # contact data does not belong on the bus


def viewer_id(number: int) -> str:
    return f"v{number}"


def phone(viewer: str) -> str:
    return f"139{int(viewer[1:]):08d}"


def tells_phone(enrolment_id: str) -> bool:
    return enrolment_id.endswith("-phone")


class Traffic:
    """Endless events; those of one viewer in any order."""

    def __init__(self, course: Course, rng: random.Random) -> None:
        self._course = course
        self._rng = rng
        self._event_numbers = iter(range(1, 10**9))
        self._viewer_numbers = iter(range(1, 10**8))
        self._scripts: list[list[Event]] = []

    def take(self, count: int, *, by_bus: bool = False) -> list[Event]:
        return [self._next(by_bus) for _ in range(count)]

    def _next(self, by_bus: bool) -> Event:
        while len(fit := self._fit(by_bus)) < VIEWERS_AT_ONCE:
            self._scripts.append(self._script(next(self._viewer_numbers)))
        script = self._rng.choice(fit)
        event = script.pop()
        if not script:
            self._scripts.remove(script)
        return event

    def _fit(self, by_bus: bool) -> list[list[Event]]:
        """Scripts whose next event may go this way."""
        return [script for script in self._scripts if not (by_bus and script[-1].webhook_only)]

    def _script(self, number: int) -> list[Event]:
        viewer, rng = viewer_id(number), self._rng
        events = [self._checkin(viewer, lesson, mode) for lesson in range(LESSONS) for mode in MODES]
        events += [self._again(event) for event in events if rng.random() < SENT_AGAIN]
        events.append(self._enrolment(viewer, with_phone=rng.random() >= WITHOUT_PHONE, minutes_ago=120))
        if rng.random() < MOVES:
            events.append(self._enrolment(viewer, with_phone=False, minutes_ago=60))
        if rng.random() < NEVER_VALID * len(events):
            events.append(self._outside(viewer))
        rng.shuffle(events)
        return events

    def _checkin(self, viewer: str, lesson: int, mode: str) -> Event:
        at = self._course.lesson(lesson).replace(hour=self._rng.choice(HOURS[mode]), minute=self._rng.randrange(60))
        return Event(f"checkin {viewer} {lesson} {mode}", self._body("viewer.checked_in", viewer, at))

    def _again(self, event: Event) -> Event:
        return Event(event.identity, {**event.body, "event_id": self._event_id()})

    def _outside(self, viewer: str) -> Event:
        at = self._course.today - timedelta(days=30)
        body = self._body("viewer.checked_in", viewer, at)
        return Event(f"outside {viewer} {body['event_id']}", body, webhook_only=True)

    def _enrolment(self, viewer: str, *, with_phone: bool, minutes_ago: int) -> Event:
        at = self._course.today + timedelta(hours=LOCAL_HOUR - 1, minutes=-minutes_ago)
        body = self._body("viewer.enrolled", viewer, at) | {
            "unit_code": self._rng.choice(PLACES),
            "group": self._rng.choice(GROUPS),
        }
        if with_phone:
            body |= {"event_id": f"{body['event_id']}-phone", "name": "王小明", "phone": phone(viewer)}
        return Event(f"enrolment {viewer} {body['event_id']}", body, webhook_only=True)

    def _body(self, kind: str, viewer: str, at: datetime) -> dict[str, Any]:
        return {
            "event_id": self._event_id(),
            "type": kind,
            "campaign_id": CAMPAIGN_ID,
            "viewer_id": viewer,
            "occurred_at": at.isoformat(),
        }

    def _event_id(self) -> str:
        return f"e{next(self._event_numbers)}"
