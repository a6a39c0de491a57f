"""The liaison's pages: what is due on one screen, receipts, past reports. They are the only pages with a script (page.js), and
work without it. Pure: what is to be shown becomes HTML."""

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import datetime
from pathlib import Path

from services.reporting.liaison_page.domain import Task, Together, due_text, limits_text, together
from services.reporting.liaison_page.usecases import ReceiptShown, Reported, title_of
from shared.contracts.campaign_forms import PICTURES_MAX, TEXT_MAX_CHARACTERS
from shared.moments import Times
from shared.pages import Pages

TEMPLATES = Path(__file__).with_name("templates")
STATES = {
    "due": "待报",
    "on_time": "按时",
    "late": "迟报",
    "missing": "未报",
    "returned": "退回",
    "excused": "免报",
}


class LiaisonPages(Pages):
    """These pages allow the browser to send a referrer to our own server: without that it would not send a form's Origin."""

    STYLESHEETS = ("page.css", "liaison.css")
    SCRIPTS = ("page.js",)
    REFERRER = "same-origin"


PAGES = LiaisonPages(TEMPLATES)


@dataclass(frozen=True)
class Place:
    """A unit of a campaign that this phone reports for."""

    campaign_id: str
    unit_code: str
    name: str
    campaign: str
    due: int = 0  # reports to be sent

    @property
    def key(self) -> str:
        return f"{self.campaign_id}/{self.unit_code}"


@dataclass(frozen=True)
class Received:
    """A receipt as it is shown."""

    number: str
    title: str
    submitted_at: datetime
    state: str
    submission_id: str = ""
    recorded: str = ""  # the unit's own recorded check-ins, never before it has reported


@dataclass(frozen=True)
class Past:
    """A line of the list of reports that are in."""

    path: str
    title: str
    state: str
    submitted_at: datetime | None


@dataclass(frozen=True)
class Screen:
    """The first screen. `made_at` is wall time: the page says when it comes out of the phone's cache."""

    place: Place
    places: Sequence[Place]
    form_token: str
    tasks: Sequence[Task]
    now: datetime
    made_at: datetime
    times: Times
    received: Sequence[Received] = ()
    past: Sequence[Past] = ()
    notice: str = ""
    left_out: Sequence[str] = field(default_factory=tuple)  # titles of reports in which nothing was filled in

    @property
    def screens(self) -> list[Together]:
        return together(self.tasks, self.now)

    @property
    def wrong(self) -> list[Task]:
        return [task for screen in self.screens for task in screen.tasks if task.faults or task.refusal]

    def due_text(self, due_at: datetime) -> str:
        return due_text(due_at, self.times)

    def at(self, moment: datetime) -> str:
        return self.times.moment(moment)


def screen_html(screen: Screen) -> str:
    return PAGES.html(
        "screen.html",
        screen=screen,
        states=STATES,
        limits_text=limits_text,
        text_max=TEXT_MAX_CHARACTERS,
        pictures_max=PICTURES_MAX,
    )


def code_html(error: str = "") -> str:
    """The page of a phone that reports for nobody yet, or no more."""
    return PAGES.html("code.html", error=error)


def report_html(place: Place, reported: Reported, times: Times) -> str:
    return PAGES.html(
        "report.html", place=place, reported=reported, times=times, title=title_of(reported.owed), states=STATES
    )


def receipt_html(shown: ReceiptShown | None) -> str:
    return PAGES.html("receipt.html", shown=shown, states=STATES)


@dataclass(frozen=True)
class PersonShown:
    """A post of the unit: who has it, masked, and what was typed of who shall have it."""

    key: str
    title: str
    name: str = ""
    phone: str = ""
    typed_name: str = ""
    typed_phone: str = ""


@dataclass(frozen=True)
class People:
    place: Place
    form_token: str
    posts: Sequence[PersonShown]
    error: str = ""
    done: bool = False


def people_html(people: People) -> str:
    return PAGES.html("people.html", people=people)


def worker() -> str:
    """The service worker. Its text changes with each release of the page, so that no phone stays with an old one."""
    text = (TEMPLATES / "worker.js").read_text(encoding="utf-8")
    parts = [text, *(path.read_text(encoding="utf-8") for path in sorted(TEMPLATES.iterdir()))]
    return text.replace("RELEASE", hashlib.sha256("".join(parts).encode()).hexdigest()[:16], 1)
