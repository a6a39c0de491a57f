"""What the office's pages ask and do. A person of one unit gets its subtree and nothing else."""

import json
from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import date, datetime
from functools import reduce
from operator import or_
from typing import Any

from services.checkin import store as store_of_checkin
from services.checkin import usecases
from services.checkin.campaigns import Catalogue
from services.checkin.domain import Campaign
from services.checkin.office import store
from services.checkin.office.domain import (
    MATCHED_MAX,
    Decision,
    LessonFigures,
    LinkGiven,
    Preview,
    Scope,
    ViewerFigures,
    reaches,
)
from services.checkin.usecases import Audience, GrantedPage, ViewerReport
from shared.contracts.base import UNASSIGNED
from shared.database import Transaction
from shared.service.refusals import Refused

CAMPAIGNS_SHOWN_MAX = 500
DECISIONS_SHOWN_MAX = 200
LINKS_SHOWN_MAX = 20

InTransaction = Callable[[Callable[[Transaction], Awaitable[GrantedPage]]], Awaitable[GrantedPage]]


# ---- the course ------------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class CourseReport:
    """A campaign and its figures: of all of it, or of one unit and what is below it. `heard`: source → when last."""

    campaign: Campaign
    unit: str | None
    lessons: list[LessonFigures]
    viewers: ViewerFigures
    heard: Mapping[str, datetime]


async def course_report(tx: Transaction, catalogue: Catalogue, campaign_id: str, unit: str | None) -> CourseReport:
    """Refused as `no-such-campaign` or `no-such-unit`."""
    campaign = await usecases.campaign_in_force(tx, catalogue, campaign_id)
    course = campaign.course
    codes = None if unit is None else usecases.subtree(campaign, unit)
    if codes is None:
        by_date = await store.lesson_figures(tx, campaign_id)
        lessons = [by_date.get(day, LessonFigures()) for day in course.lesson_dates]
    else:
        lessons = await store.lesson_figures_of(tx, campaign.no, codes, len(course.lesson_dates))
    viewers = await store.viewer_figures(tx, campaign.no, codes, course.credit, course.required_days)
    return CourseReport(campaign, unit, lessons, viewers, await store.heard(tx, campaign_id))


async def campaigns(tx: Transaction) -> Sequence[Mapping[str, Any]]:
    """`campaign_id` and `title` of every campaign, by id, at most `CAMPAIGNS_SHOWN_MAX`."""
    return await store_of_checkin.campaigns(tx, None, "", CAMPAIGNS_SHOWN_MAX)


async def keep_heard(tx: Transaction, heard: Mapping[tuple[str, str], datetime]) -> None:
    """`heard`: (campaign_id, source) → when an event of its feed was last taken."""
    await store.keep_heard(tx, heard)


# ---- one viewer ------------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class ViewerFile:
    """What the office sees of a viewer. `made_good`: lesson → the decisions that reached the viewer, by time."""

    report: ViewerReport
    made_good: Mapping[int, list[Decision]]
    links_given: list[LinkGiven]


async def viewer_file(
    tx: Transaction, catalogue: Catalogue, campaign_id: str, unit: str | None, viewer_id: str, now: datetime
) -> ViewerFile:
    """Refused as `no-such-viewer`, for somebody of a unit also where the viewer belongs to another one."""
    report = await visible_viewer(tx, catalogue, campaign_id, unit, viewer_id, now)
    lessons, course = report.viewer.lessons, report.campaign.course
    made_good: dict[int, list[Decision]] = {}
    for decision in await store.decisions_about(tx, campaign_id, viewer_id) if lessons.made_good else ():
        lesson = report.campaign.definition.index_of.get(decision.lesson_date)
        if lesson is None or not lessons.made_good >> lesson & 1:
            continue
        if reaches(decision, course.lesson_dates, lessons.any):
            made_good.setdefault(lesson, []).append(decision)
    return ViewerFile(report, made_good, await store.links_given(tx, campaign_id, viewer_id, LINKS_SHOWN_MAX))


async def visible_viewer(
    tx: Transaction, catalogue: Catalogue, campaign_id: str, unit: str | None, viewer_id: str, now: datetime
) -> ViewerReport:
    """Refused as `no-such-viewer`, for somebody of a unit also where the viewer belongs to another one."""
    if unit is None:
        return await usecases.viewer_report(tx, catalogue, campaign_id, viewer_id, now)
    return await usecases.unit_report(tx, catalogue, campaign_id, unit, viewer_id, now)


async def give_link(
    tx: Transaction, catalogue: Catalogue, campaign_id: str, unit: str | None, viewer_id: str, given: LinkGiven
) -> None:
    """Records who is given the link to the viewer's own page, and why. Refused as `no-such-viewer`."""
    await visible_viewer(tx, catalogue, campaign_id, unit, viewer_id, given.given_at)
    await store.keep_link_given(tx, campaign_id, viewer_id, given)


# ---- lessons made good -----------------------------------------------------------------------------------------------


async def decisions(tx: Transaction, catalogue: Catalogue, campaign_id: str) -> tuple[Campaign, list[Decision]]:
    """The campaign and its decisions, the newest first, at most `DECISIONS_SHOWN_MAX`."""
    campaign = await usecases.campaign_in_force(tx, catalogue, campaign_id)
    return campaign, await store.decisions(tx, campaign_id, DECISIONS_SHOWN_MAX)


async def preview(
    tx: Transaction, catalogue: Catalogue, campaign_id: str, lesson_date: date, reason: str, scope: Scope
) -> Preview:
    """Whom the decision would reach. Refused as `no-such-campaign`, `no-such-lesson`, `no-such-unit`; as `make-good-for-nobody`
    where the scope names nobody; as `make-good-too-many` beyond `MATCHED_MAX`."""
    campaign = await usecases.campaign_in_force(tx, catalogue, campaign_id)
    if scope.is_nobody:
        raise Refused("make-good-for-nobody")
    wanted = store.Wanted(
        campaign.no,
        campaign_id,
        None if scope.unit is None else usecases.subtree(campaign, scope.unit),
        reduce(or_, (1 << lesson_of(campaign, day) for day in scope.days), 0),
        lesson_of(campaign, lesson_date),
        campaign.course.credit,
    )
    matched = await store.matched(tx, scope, wanted, MATCHED_MAX + 1)
    if len(matched) > MATCHED_MAX:
        raise Refused("make-good-too-many")
    return Preview(lesson_date, reason, scope, matched)


async def decide(
    tx: Transaction,
    catalogue: Catalogue,
    campaign_id: str,
    make_good_id: str,
    wanted: tuple[date, str, Scope],
    digest: str,
    actor: str,
    now: datetime,
) -> store_of_checkin.MakeGood:
    """Records the decision that a preview with this digest showed. The same `make_good_id` again gives the decision that it
    names, so that a second click decides nothing more.

    Refused as `preview` refuses; as `make-good-outdated` where a preview would show something else by now; as
    `make-good-nobody-left`.
    """
    lesson_date, reason, scope = wanted
    if (kept := await store.decided(tx, make_good_id)) is not None:
        decision = store_of_checkin.MakeGood(*kept)
        if (decision.campaign_id, decision.lesson_date, decision.reason) != (campaign_id, lesson_date, reason):
            raise Refused("make-good-id-used")
        return decision
    found = await preview(tx, catalogue, campaign_id, lesson_date, reason, scope)
    if found.digest != digest:
        raise Refused("make-good-outdated")
    if not found.to_grant:
        raise Refused("make-good-nobody-left")
    audience = {"viewer_ids": found.to_grant, "checked_in_on": [], "scope": scope.told()}
    decision = store_of_checkin.MakeGood(
        make_good_id, campaign_id, lesson_date, reason, actor, now, json.dumps(audience)
    )
    await store_of_checkin.add_make_good(tx, decision)
    return decision


async def grant(
    in_transaction: InTransaction, catalogue: Catalogue, decision: store_of_checkin.MakeGood, now: datetime
) -> None:
    """Grants the lesson page by page, each in a transaction of its own. Doing it again finishes what a crash interrupted."""
    audience, after = Audience.from_json(decision.audience), ""
    while True:
        page = await in_transaction(
            lambda tx, after=after: usecases.make_good_page(tx, catalogue, decision, audience, after, now)  # type: ignore[misc]
        )
        if page.last is None:
            return
        after = page.last


def lesson_of(campaign: Campaign, day: date) -> int:
    """Refused as `no-such-lesson`."""
    lesson = campaign.definition.index_of.get(day)
    if lesson is None:
        raise Refused("no-such-lesson", subject=day.isoformat())
    return lesson


def unit_name(campaign: Campaign, unit_code: str) -> str:
    """A unit's name and code as people read them; 未归属 where nobody has attributed the viewer."""
    if unit_code == UNASSIGNED:
        return "未归属"
    unit = campaign.definition.unit_by_code.get(unit_code)
    return f"{unit.name}（{unit_code}）" if unit else unit_code
