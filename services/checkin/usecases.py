"""What the office does with campaigns and viewers. Recording events is in recording.py."""

import asyncio
import json
from bisect import bisect_right
from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass
from datetime import date, datetime
from functools import reduce
from operator import or_
from typing import Any, NamedTuple

import msgspec

from services.checkin import certificates, minors, store
from services.checkin.campaigns import Catalogue
from services.checkin.certificates import CertificateState
from services.checkin.deciding import WITHDRAWN, withdrawals
from services.checkin.domain import Campaign, Lessons, LessonView, lesson_view
from services.checkin.refusals import NO_SUCH_CAMPAIGN, NO_SUCH_VIEWER
from shared.bus import outbox
from shared.bus.outgoing import Outgoing, column_events
from shared.contracts.base import UNASSIGNED
from shared.contracts.campaign import CampaignDefinition
from shared.contracts.campaign_freeze import frozen_differences
from shared.contracts.checkin import (
    CampaignDefinedV1,
    FormsDefinedV1,
    LessonMadeGoodV1,
    ViewerEnrolledV1,
    ViewerReassignedV1,
)
from shared.database import Transaction
from shared.forms.changing import FormChange, changed_meanings, form_changes, has_opened
from shared.ids import new_event_id, new_public_id
from shared.service.refusals import Refused
from shared.tree import Tree

GRANTS_PER_TRANSACTION = 5_000
ATTRIBUTED_PER_TRANSACTION = 2_000
WITHDRAWN_PER_TRANSACTION = 2_000
UNCOUNTED_SHOWN_MAX = 50
NAMED_MAX = 1_000


# ---- campaigns -------------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Draft:
    """A definition that is to be put in force, with its hash and its JSON. Computing these takes up to 2 s for a large
    definition. So it is done in a thread and before the transaction, because all events wait for that transaction."""

    definition: CampaignDefinition
    content_hash: str
    content: str  # JSON

    @classmethod
    def of(cls, definition: CampaignDefinition) -> "Draft":
        return cls(definition, definition.content_hash(), definition.model_dump_json())


@dataclass(frozen=True)
class Applied:
    """What became of a definition, or would (`dry_run`): its revision, and from when its forms change."""

    revision: int
    changed: bool
    forms: list[FormChange]


async def define_campaign(
    tx: Transaction, draft: Draft, actor: str, now: datetime, *, dry_run: bool = False
) -> Applied:
    """Puts a definition in force. The same content again is the same revision, and publishes nothing.

    Refused as `campaign-frozen`, with the reasons, where the change would falsify the past. What takes up to 2 s for a large
    definition is done in threads. With `dry_run` nothing is kept.
    """
    definition, content_hash = draft.definition, draft.content_hash
    await store.change_definitions(tx)
    row = await store.definition(tx, definition.campaign_id)
    if row is not None and row["content_hash"] == content_hash:
        return Applied(row["revision"], False, [])
    old = None if row is None else await asyncio.to_thread(CampaignDefinition.model_validate_json, row["definition"])
    if old is not None:
        checked_in = await store.has_checkins(tx, definition.campaign_id)
        forms = [json.loads(forms) for forms in await store.forms_of_revisions(tx, definition.campaign_id)]
        refused = await asyncio.to_thread(_falsified, old, definition, now, checked_in, forms)
        if refused:
            raise Refused("campaign-frozen", reasons=refused)
    changes = await asyncio.to_thread(form_changes, old, definition, now)
    revision = 1 if row is None else row["revision"] + 1
    if not dry_run:
        await store.save_definition(tx, definition.campaign_id, revision, content_hash, draft.content, actor, now)
        await outbox.add(tx, *await asyncio.to_thread(_defined, definition, revision, now))
        await outbox.add(tx, *_forms_defined(old, definition, revision, now))
    return Applied(revision, True, changes)


def _falsified(
    old: CampaignDefinition, new: CampaignDefinition, now: datetime, checked_in: bool, earlier: list[Any]
) -> list[str]:
    reasons = frozen_differences(old, new, now, checked_in, owes_reports=has_opened(old, now))
    return reasons + changed_meanings(earlier, new)


def _forms_defined(
    old: CampaignDefinition | None, new: CampaignDefinition, revision: int, now: datetime
) -> list[FormsDefinedV1]:
    """The event with the new forms; none for a campaign that neither has forms now nor had some before."""
    if not any(definition and (definition.forms or definition.indicators) for definition in (old, new)):
        return []
    return [
        FormsDefinedV1(
            event_id=new_event_id(),
            occurred_at=now,
            campaign_id=new.campaign_id,
            revision=revision,
            **new.reported(),
        )
    ]


def _defined(definition: CampaignDefinition, revision: int, now: datetime) -> list[CampaignDefinedV1]:
    pages = definition.unit_pages()
    return [
        CampaignDefinedV1(
            event_id=new_event_id(),
            occurred_at=now,
            campaign_id=definition.campaign_id,
            revision=revision,
            page=number,
            pages=len(pages),
            rules=definition.rules(),
            units=units,
        )
        for number, units in enumerate(pages, start=1)
    ]


class ViewersChanged(NamedTuple):
    """One page of a change to many viewers: how many it changed."""

    changed: int
    last: str | None  # the viewer after whom the next page starts; None: this was the last page


async def attribute_page(
    tx: Transaction, catalogue: Catalogue, campaign_id: str, after: str, now: datetime
) -> ViewersChanged:
    """Gives a unit to viewers who have none because their channel was unknown when they enrolled, and is known now; their
    check-ins move with them (DESIGN §4.5). Takes as many viewers as one transaction should hold, beginning after the viewer
    `after` (`""`: with the first).

    Viewers who have a unit keep it. So going through all pages again finishes what a crash interrupted and changes nothing
    else.
    """
    campaign = await campaign_in_force(tx, catalogue, campaign_id)
    page = await store.resolvable(tx, campaign.no, campaign.channels, after, ATTRIBUTED_PER_TRANSACTION)
    enrolments = {row.viewer_id: row for row in page}
    without_unit = await store.lock_viewers_without_unit(tx, campaign.no, enrolments)
    given = [
        store.UnitGiven(viewer.viewer_id, campaign.channels[row.channel], row.enrolled_at, row.enrolment_id)
        for viewer in without_unit
        for row in (enrolments[viewer.viewer_id],)
    ]
    if given:
        await store.set_units(tx, campaign.no, given)
        await outbox.add_outgoing(tx, _attributed(campaign, without_unit, given, now))
    return ViewersChanged(len(given), page[-1].viewer_id if len(page) == ATTRIBUTED_PER_TRANSACTION else None)


def _attributed(
    campaign: Campaign, viewers: list[store.ViewerWithoutUnit], given: list[store.UnitGiven], now: datetime
) -> list[Outgoing]:
    dates = campaign.lesson_texts
    rows = [
        (
            viewer.viewer_id, dates[was.lesson], was.mode, was.late, was.first_for_lesson, was.first_for_campaign,
            UNASSIGNED, viewer.group_code, unit.unit_code, viewer.group_code, unit.enrolled_at, unit.enrolment_id,
        )
        for viewer, unit in zip(viewers, given, strict=True)
        for was in viewer.lessons.checkins()
    ]  # fmt: skip
    return list(column_events(ViewerReassignedV1, campaign.id, now, rows))


async def withdraw_page(
    tx: Transaction, catalogue: Catalogue, campaign_id: str, after: str, now: datetime
) -> ViewersChanged:
    """Withdraws names and phones that were given without a guardian's consent before the viewer's group was one of minors.
    Takes as many viewers as one transaction should hold. Going through all pages again finishes what a crash interrupted and
    changes nothing else."""
    campaign = await campaign_in_force(tx, catalogue, campaign_id)
    if not campaign.minors:
        return ViewersChanged(0, None)
    page = await store.to_withdraw(tx, campaign.no, campaign.minors, after, WITHDRAWN_PER_TRANSACTION)
    await store.lock_viewers_by_id(tx, campaign.no, page)
    barred = minors.without_contact(await store.enrolments_of(tx, campaign.no, page), campaign.minors)
    withdrawn = minors.withdrawn(barred)
    if withdrawn:
        await store.forget_contacts(tx, campaign.no, [past.key for past in barred if past.has_contact])
        rows = withdrawals(withdrawn)
        await outbox.add_outgoing(tx, list(column_events(ViewerEnrolledV1, campaign.id, now, rows, **WITHDRAWN)))
    return ViewersChanged(len(withdrawn), page[-1] if len(page) == WITHDRAWN_PER_TRANSACTION else None)


async def campaign_in_force(tx: Transaction, catalogue: Catalogue, campaign_id: str) -> Campaign:
    """The campaign in force. Refused as `no-such-campaign` where there is none."""
    campaigns = await catalogue.held(tx)
    if campaign_id not in campaigns:
        raise Refused(NO_SUCH_CAMPAIGN, f"没有活动 {campaign_id}；请先应用活动定义（fanzha campaign apply）")
    return campaigns[campaign_id]


# ---- one viewer ------------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class ViewerReport:
    """Everything that one viewer can be told about their course."""

    campaign: Campaign
    viewer: store.Viewer
    lessons: list[LessonView]
    uncounted: list[Any]
    certificate: CertificateState | None = None  # None: not known to be claimed

    @property
    def credited_days(self) -> int:
        return self.campaign.course.credited(self.viewer.lessons).bit_count()

    @property
    def earnable_days(self) -> int:
        """Credited days if the viewer misses nothing from now on, and no late check-in arrives any more."""
        return self.credited_days + sum(not view.final and view.earn_until is not None for view in self.lessons)

    @property
    def waiting_days(self) -> int:
        """How many lessons are over and not yet sealed, so that a check-in may still arrive."""
        return sum(not view.final and view.earn_until is None for view in self.lessons)

    @property
    def reachable_days(self) -> int:
        """The most credited days that are possible (a viewer who starts late is told honestly, FACTS A5)."""
        return self.earnable_days + self.waiting_days


async def viewer_report(
    tx: Transaction, catalogue: Catalogue, campaign_id: str, viewer_id: str, now: datetime
) -> ViewerReport:
    """What one viewer can be told. Refused as `no-such-campaign`, or as `no-such-viewer` where nothing of the viewer is known."""
    campaign = await campaign_in_force(tx, catalogue, campaign_id)
    viewer = await store.viewer(tx, campaign.no, viewer_id)
    uncounted = await store.uncounted_of(tx, campaign_id, viewer_id, UNCOUNTED_SHOWN_MAX)
    if viewer is None:
        if not uncounted:
            raise Refused(NO_SUCH_VIEWER, "这位观众没有报名，也没有签到")
        viewer = store.Viewer(viewer_id, "unassigned", "unassigned", None, None, Lessons())
    certificate = await certificates.state_of(tx, campaign_id, viewer_id)
    return ViewerReport(campaign, viewer, _views(campaign, viewer.lessons, now), uncounted, certificate)


async def unit_report(
    tx: Transaction, catalogue: Catalogue, campaign_id: str, unit_code: str, viewer_id: str, now: datetime
) -> ViewerReport:
    """As `viewer_report`, for a viewer of this unit or of one below it. Any other viewer is refused as `no-such-viewer`, so
    that the answer does not tell whether there is such a viewer."""
    campaign = await campaign_in_force(tx, catalogue, campaign_id)
    report = await viewer_report(tx, catalogue, campaign_id, viewer_id, now)
    if report.viewer.unit_code not in subtree(campaign, unit_code):
        raise Refused(NO_SUCH_VIEWER, "这位观众没有报名，也没有签到")
    return report


async def unit_viewers(
    tx: Transaction,
    catalogue: Catalogue,
    campaign_id: str,
    unit_code: str | None,
    after: str,
    limit: int,
    now: datetime,
) -> list[ViewerReport]:
    """Reports on the viewers of a unit and of the units below it (None: of all units), sorted by id; the page after `after`.
    The reports leave out refused events and certificates."""
    campaign = await campaign_in_force(tx, catalogue, campaign_id)
    codes = None if unit_code is None else subtree(campaign, unit_code)
    return [
        ViewerReport(campaign, viewer, _views(campaign, viewer.lessons, now), [])
        for viewer in await store.viewers_of(tx, campaign.no, codes, after, limit)
    ]


def subtree(campaign: Campaign, unit_code: str) -> frozenset[str]:
    """Codes of a unit and everything below it. Refused as `no-such-unit` where the campaign does not have it."""
    if unit_code not in campaign.definition.unit_by_code:
        raise Refused("no-such-unit")
    return Tree(campaign.definition.units).subtree(unit_code)


def _views(campaign: Campaign, lessons: Lessons, now: datetime) -> list[LessonView]:
    return [lesson_view(campaign.course, lessons, index, now) for index in range(len(campaign.lesson_texts))]


# ---- lessons made good -----------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Audience:
    """Whom a lesson is made good for: listed viewers, and those of them (or of all) who checked in on all these days.

    Both are sets: the order of a list, and repeats in it, make no difference.
    """

    viewer_ids: list[str] | None
    checked_in_on: list[date]

    @classmethod
    def of(cls, viewer_ids: Iterable[str] | None, checked_in_on: Iterable[date]) -> "Audience":
        return cls(None if viewer_ids is None else sorted(set(viewer_ids)), sorted(set(checked_in_on)))

    @property
    def is_a_list(self) -> bool:
        """Whether the audience is a list without any condition, which also reaches viewers who have never been seen."""
        return self.viewer_ids is not None and not self.checked_in_on

    @classmethod
    def from_json(cls, text: str) -> "Audience":
        """Reads what `as_json` wrote, or what an earlier version wrote, which kept lists as they were sent."""
        kept = json.loads(text)
        return cls.of(kept["viewer_ids"], map(date.fromisoformat, kept["checked_in_on"]))

    def as_json(self) -> str:
        days = [day.isoformat() for day in self.checked_in_on]
        return json.dumps({"viewer_ids": self.viewer_ids, "checked_in_on": days}, sort_keys=True)


class GrantedPage(NamedTuple):
    matched: int
    granted: int  # how many of those matched did not have the lesson credited yet
    last: str | None  # the viewer after whom the next page starts; None: this was the last page


async def make_good_page(
    tx: Transaction, catalogue: Catalogue, decision: store.MakeGood, audience: Audience, after: str, now: datetime
) -> GrantedPage:
    """Grants a lesson to the viewers of an outage, as many as one transaction should hold, beginning after the viewer `after`
    (`""`: with the first). Going through the pages of the same decision again finishes what a crash interrupted.

    Refused as `no-such-campaign`, `no-such-lesson`, or `make-good-id-used` where the id is another decision's.
    """
    campaign = await campaign_in_force(tx, catalogue, decision.campaign_id)
    lesson = _lesson(campaign, decision.lesson_date)
    await _same_decision(tx, decision)
    page = await _page_of(tx, campaign, audience, after)
    viewers = await store.lock_viewers(tx, campaign.no, page)
    without = [viewer.viewer_id for viewer in viewers if not campaign.course.credited(viewer.lessons) >> lesson & 1]
    new = await store.grant(tx, campaign.no, decision.make_good_id, lesson, without)
    await store.count_credited_days(tx, 0, _days_moved(campaign, lesson, new))
    await outbox.add_outgoing(tx, _made_good(campaign, decision, lesson, new, now))
    return GrantedPage(len(page), len(new), page[-1] if len(page) == GRANTS_PER_TRANSACTION else None)


async def make_good_preview(
    tx: Transaction, catalogue: Catalogue, campaign_id: str, lesson_date: date, audience: Audience
) -> dict[str, Any]:
    """How many viewers a decision would reach, and the ids of those who are not simply granted the lesson, up to `NAMED_MAX` of
    each kind.

    `already`: the lesson is credited to them, so nothing changes. `unseen`: listed, and no event of theirs has ever arrived;
    they are granted the lesson too. `unmatched`: listed, but absent on one of the days, so they get nothing.
    """
    campaign = await campaign_in_force(tx, catalogue, campaign_id)
    lesson = _lesson(campaign, lesson_date)
    all_of, listed = _all_of(campaign, audience), audience.viewer_ids
    course = campaign.course
    named = {
        "already": await store.in_audience_with_lesson(
            tx, campaign.no, all_of, listed, lesson, course.credit, NAMED_MAX
        )
    }
    if audience.is_a_list:
        named["unseen"] = await store.unseen(tx, campaign.no, listed or [], NAMED_MAX)
        return {"matched": len(listed or []), **named}
    size = await store.audience_size(tx, campaign.no, all_of, listed)
    if listed is not None:
        named["unmatched"] = await store.outside_audience(tx, campaign.no, all_of, listed, NAMED_MAX)
    return {"matched": size, **named}


async def _page_of(tx: Transaction, campaign: Campaign, audience: Audience, after: str) -> list[str]:
    """The audience's next viewers, by id. A list without any condition also reaches viewers who have never been seen."""
    if not audience.is_a_list:
        all_of = _all_of(campaign, audience)
        return await store.audience(tx, campaign.no, all_of, audience.viewer_ids, after, GRANTS_PER_TRANSACTION)
    listed = audience.viewer_ids or []
    page = listed[bisect_right(listed, after) :][:GRANTS_PER_TRANSACTION]
    await store.add_viewers(tx, campaign.no, page)
    return page


def _all_of(campaign: Campaign, audience: Audience) -> int:
    """The days as a bit set of lessons. They are joined by OR, because in a sum a day listed twice would become another day."""
    return reduce(or_, (1 << _lesson(campaign, day) for day in audience.checked_in_on), 0)


def _lesson(campaign: Campaign, day: date) -> int:
    index = campaign.definition.index_of.get(day)
    if index is None:
        raise Refused("no-such-lesson", "lesson_date 应为该活动一节课的日期", subject=day.isoformat())
    return index


async def _same_decision(tx: Transaction, decision: store.MakeGood) -> None:
    kept = await store.add_make_good(tx, decision)
    if (kept["campaign_id"], kept["lesson_date"], Audience.from_json(kept["audience"])) != (
        decision.campaign_id,
        decision.lesson_date,
        Audience.from_json(decision.audience),
    ):
        raise Refused("make-good-id-used")


def _without(viewer: store.Viewer, lesson: int) -> Lessons:
    """The viewer's lessons before this one was made good."""
    return msgspec.structs.replace(viewer.lessons, made_good=viewer.lessons.made_good & ~(1 << lesson))


def _days_moved(campaign: Campaign, lesson: int, viewers: list[store.Viewer]) -> dict[tuple[str, int], int]:
    moves: Counter[tuple[str, int]] = Counter()
    for viewer in viewers:
        before, after = (
            campaign.course.credited(was).bit_count() for was in (_without(viewer, lesson), viewer.lessons)
        )
        if before != after:
            moves[campaign.id, before] -= 1
            moves[campaign.id, after] += 1
    return moves


def _made_good(
    campaign: Campaign, decision: store.MakeGood, lesson: int, viewers: list[store.Viewer], now: datetime
) -> list[Outgoing]:
    course = campaign.course
    rows = []
    for viewer in viewers:
        credited = course.credited(viewer.lessons)
        dates = course.dates(credited) if course.reaches(_without(viewer, lesson), credited) else None
        rows.append((viewer.viewer_id, viewer.unit_code, viewer.group_code, credited.bit_count(), dates))
    fields = {"lesson_date": decision.lesson_date, "make_good_id": decision.make_good_id}
    return list(column_events(LessonMadeGoodV1, campaign.id, now, rows, **fields))


# ---- questions -------------------------------------------------------------------------------------------------------


async def what_if(tx: Transaction, catalogue: Catalogue, campaign_id: str, credit: list[str]) -> dict[str, Any]:
    """How many viewers have the required days now, and would under another credit policy. Changes nothing."""
    campaign = await campaign_in_force(tx, catalogue, campaign_id)
    course = campaign.course

    async def completing(modes: Iterable[str]) -> int:
        required = course.required_days
        return await store.completing(tx, campaign.no, list(modes), required) if course.lesson_dates else 0

    return {
        "credit": sorted(set(credit)),
        "required_days": course.required_days,
        "completing": await completing(credit),
        "current_credit": sorted(course.credit),
        "completing_now": await completing(course.credit),
    }


async def state_platform_counts(
    tx: Transaction,
    catalogue: Catalogue,
    campaign_id: str,
    lesson_date: date,
    counts: dict[str, int],
    actor: str,
    now: datetime,
) -> dict[str, dict[str, int]]:
    """Keeps what the platform says it counted, and answers with both counts by mode.

    Refused as `no-such-campaign` or `no-such-lesson`.
    """
    campaign = await campaign_in_force(tx, catalogue, campaign_id)
    _lesson(campaign, lesson_date)
    await store.state_platform_counts(tx, campaign_id, lesson_date, counts, actor, now)
    ours = await store.accepted_checkins(tx, campaign_id, lesson_date)
    return {mode: {"platform": n, "ours": ours.get(mode, 0)} for mode, n in counts.items()}


def new_make_good_id() -> str:
    return new_public_id("mg")
