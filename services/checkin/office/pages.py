"""What the office's pages about courses, viewers and make-goods show, in plain Chinese. Pure."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from datetime import datetime
from pathlib import Path
from typing import Any, NamedTuple

from services.checkin.domain import CHECKED_IN, ENROLLED, Campaign, Reason
from services.checkin.office.domain import Decision, Preview, Scope, Stage, ViewerFigures, stage
from services.checkin.office.usecases import CourseReport, ViewerFile, unit_name
from services.checkin.pages import MODE_NAMES, LessonRow, lesson_row
from shared.contracts.base import UNASSIGNED
from shared.moments import Times, day_text
from shared.pages import OfficePages


class CampaignPages(OfficePages):
    STYLESHEETS = (*OfficePages.STYLESHEETS, "campaigns.css")


PAGES = CampaignPages(Path(__file__).with_name("templates"))
NAMED_MAX = 200  # accounts that a preview names of each kind; the numbers are exact

STAGES = {
    Stage.UPCOMING: "未开始",
    Stage.OPEN: "首播签到中",
    Stage.REPLAY: "重播签到中",
    Stage.WAITING: "等平台名单",
    Stage.SEALED: "已截止",
}
TYPES = {
    CHECKED_IN: "签到",
    ENROLLED: "报名",
    "quiz.answered": "答题",
    "prize.won": "中奖",
    "account.followed": "关注",
}
REASONS = {
    Reason.MALFORMED: "内容看不懂，没有收下",
    Reason.UNKNOWN_TYPE: "事件类型不认识，没有收下",
    Reason.UNKNOWN_CAMPAIGN: "活动编号不认识，没有收下",
    Reason.IN_FUTURE: "时间晚于收到的时刻（对方的钟不准），没有收下",
    Reason.OUTSIDE_WINDOW: "不在任何一课的签到时段内，不计入",
    Reason.NOT_OF_PLATFORM: "发来的平台在这个时段没有播出，不计入",
    Reason.REPLAY_NOT_CREDITED: "这种签到（重播）按规则不计入",
    Reason.LATE: "截止以后才收到，不计入",
    Reason.SUPERSEDED: "比已知的报名更早，按后来的为准",
    Reason.NO_GUARDIAN_CONSENT: "没有监护人同意，姓名、电话没有保存",
}


@dataclass(frozen=True)
class CourseLesson:
    number: int
    day: str
    title: str
    stage: str
    stage_name: str
    sealed_at: str
    live: int
    replay: int
    late: int
    made_good: int
    uncredited: int


@dataclass(frozen=True)
class Feed:
    """A platform of the campaign, or another source that has sent events. `heard`: when last, "" for never."""

    title: str
    source: str
    heard: str


@dataclass(frozen=True)
class CoursePage:
    title: str
    campaign_id: str
    revision: int
    organiser: str
    days: str
    rule: str  # when one completes, "" without a course
    unit: str  # whose figures these are, "" for the whole campaign
    lessons: list[CourseLesson]
    viewers: ViewerFigures
    feeds: list[Feed]
    as_of: str


class Uncounted(NamedTuple):
    type: str
    verdict: str
    reason: str
    occurred_at: str
    received_at: str


class MadeGood(NamedTuple):
    lesson: str
    reason: str
    actor: str
    decided_at: str


@dataclass(frozen=True)
class ViewerPage:
    viewer_id: str
    unit: str
    group: str
    channel: str
    enrolled_at: str
    credited_days: int
    required_days: int
    reachable_days: int
    certificate: str
    lessons: list[LessonRow]
    made_good: list[MadeGood]
    uncounted: list[Uncounted]
    links_given: list[MadeGood]  # `lesson` is empty
    may_open: bool  # the person who looks at the page may be given the link
    link: str = ""  # just given
    error: str = ""
    as_of: str = ""


class DecisionRow(NamedTuple):
    make_good_id: str
    lesson: str
    decided_at: str
    actor: str
    reason: str
    scope: str
    granted: int


@dataclass(frozen=True)
class Typed:
    """The fields of the form as they were typed, to be corrected or confirmed."""

    lesson: str = ""
    reason: str = ""
    from_at: str = ""
    until: str = ""
    unit: str = ""
    days: tuple[str, ...] = ()
    accounts: str = ""


@dataclass(frozen=True)
class MakeGoodsPage:
    title: str
    lessons: list[tuple[str, str]]  # date, and how it is shown
    rows: list[DecisionRow]
    all_shown: bool
    may_grant: bool
    typed: Typed = field(default_factory=Typed)
    done: DecisionRow | None = None
    error: str = ""


@dataclass(frozen=True)
class PreviewPage:
    title: str
    lesson: str
    scope: str
    matched: int
    already: int
    to_grant: int
    listed: int | None
    unmatched: list[str]
    unmatched_number: int
    malformed: list[str]
    already_named: list[str]
    typed: Typed
    digest: str
    make_good_id: str
    error: str = ""


# ---- the course ------------------------------------------------------------------------------------------------------


def course_page(report: CourseReport, now: datetime) -> CoursePage:
    campaign = report.campaign
    definition, times = campaign.definition, Times(campaign.definition.zone, now)
    return CoursePage(
        title=definition.title,
        campaign_id=campaign.id,
        revision=campaign.revision,
        organiser=definition.organiser,
        days=f"{definition.first_day} 至 {definition.last_day}",
        rule=_rule(campaign),
        unit="" if report.unit is None else unit_name(campaign, report.unit),
        lessons=[_course_lesson(report, index, times) for index in range(len(campaign.course.lesson_dates))],
        viewers=report.viewers,
        feeds=list(_feeds(report, times)),
        as_of=times.moment(now),
    )


def _rule(campaign: Campaign) -> str:
    if not campaign.course.lesson_dates:
        return ""
    credited = "、".join(name for mode, name in MODE_NAMES.items() if mode in campaign.course.credit)
    return f"{credited}签到计入，累计 {campaign.course.required_days} 天结课"


def _course_lesson(report: CourseReport, index: int, times: Times) -> CourseLesson:
    rules, figures = report.campaign.definition, report.lessons[index]
    stands = stage(rules, index, times.now)
    return CourseLesson(
        number=index + 1,
        day=day_text(rules.lessons[index].date),
        title=rules.lessons[index].title,
        stage=stands,
        stage_name=STAGES[stands],
        sealed_at=times.moment(rules.sealed_at(index)),
        live=figures.live,
        replay=figures.replay,
        late=figures.late,
        made_good=figures.made_good,
        uncredited=figures.uncredited(report.campaign.course.credit),
    )


def _feeds(report: CourseReport, times: Times) -> Iterable[Feed]:
    titles = {platform.source: platform.title for platform in report.campaign.definition.platforms}
    for source in dict.fromkeys([*titles, *report.heard]):
        at = report.heard.get(source)
        yield Feed(titles.get(source, source), source, times.moment(at) if at else "")


# ---- one viewer ------------------------------------------------------------------------------------------------------


def viewer_page(
    file: ViewerFile, now: datetime, *, may_open: bool, certificate: str = "", link: str = "", error: str = ""
) -> ViewerPage:
    report = file.report
    campaign, viewer, definition = report.campaign, report.viewer, report.campaign.definition
    times = Times(definition.zone, now)
    groups = {group.code: group.name for group in definition.groups}
    return ViewerPage(
        viewer_id=viewer.viewer_id,
        unit=unit_name(campaign, viewer.unit_code),
        group="未归属" if viewer.group_code == UNASSIGNED else groups.get(viewer.group_code, viewer.group_code),
        channel=viewer.channel or "",
        enrolled_at=times.moment(viewer.enrolled_at) if viewer.enrolled_at else "",
        credited_days=report.credited_days,
        required_days=campaign.course.required_days,
        reachable_days=report.reachable_days,
        certificate={"claimed": "已领取", "revoked": "已撤销"}.get(report.certificate or "", ""),
        lessons=[lesson_row(report, view, times, "该观众") for view in report.lessons],
        made_good=[
            MadeGood(_lesson_text(campaign, lesson), row.reason, row.actor, times.moment(row.decided_at))
            for lesson, rows in sorted(file.made_good.items())
            for row in rows
        ],
        uncounted=[_uncounted(row, times) for row in report.uncounted],
        links_given=[MadeGood("", row.reason, row.actor, times.moment(row.given_at)) for row in file.links_given],
        may_open=may_open,
        link=link,
        error=error,
        as_of=times.moment(now),
    )


def _uncounted(row: Mapping[str, Any], times: Times) -> Uncounted:
    return Uncounted(
        TYPES.get(row["type"], row["type"] or "不明"),
        "拒收" if row["verdict"] == "rejected" else "收下，不计入",
        REASONS.get(row["reason"], row["reason"]),
        times.moment(row["occurred_at"]) if row["occurred_at"] else "不明",
        times.moment(row["received_at"]),
    )


def _lesson_text(campaign: Campaign, lesson: int) -> str:
    named = campaign.definition.lessons[lesson]
    return f"第 {lesson + 1} 课 {day_text(named.date)} {named.title}"


# ---- lessons made good -----------------------------------------------------------------------------------------------


def make_goods_page(
    campaign: Campaign,
    decisions: list[Decision],
    now: datetime,
    *,
    may_grant: bool,
    shown_max: int,
    typed: Typed | None = None,
    done: str = "",
    error: str = "",
) -> MakeGoodsPage:
    times = Times(campaign.definition.zone, now)
    rows = [_decision_row(campaign, decision, times) for decision in decisions]
    return MakeGoodsPage(
        title=campaign.definition.title,
        lessons=[
            (day.isoformat(), _lesson_text(campaign, index)) for index, day in enumerate(campaign.course.lesson_dates)
        ],
        rows=rows,
        all_shown=len(rows) < shown_max,
        may_grant=may_grant and bool(campaign.course.lesson_dates),
        typed=typed or Typed(),
        done=next((row for row in rows if row.make_good_id == done), None),
        error=error,
    )


def _decision_row(campaign: Campaign, decision: Decision, times: Times) -> DecisionRow:
    index = campaign.definition.index_of.get(decision.lesson_date)
    lesson = decision.lesson_date.isoformat() if index is None else _lesson_text(campaign, index)
    told = decision.scope or {"listed": decision.listed, "days": [day.isoformat() for day in decision.checked_in_on]}
    return DecisionRow(
        decision.make_good_id,
        lesson,
        times.moment(decision.decided_at),
        decision.actor,
        decision.reason,
        scope_text(campaign, told, times),
        decision.granted,
    )


def scope_text(campaign: Campaign, told: Mapping[str, Any], times: Times) -> str:
    """`told`: what `Scope.told` says."""
    parts = []
    if told.get("from"):
        begins, ends = (times.moment(datetime.fromisoformat(told[key])) for key in ("from", "until"))
        parts.append(f"{begins} 至 {ends} 有未计入的签到")
    if told.get("unit"):
        parts.append(f"{unit_name(campaign, told['unit'])}及其下级")
    if told.get("days"):
        parts.append(f"{'、'.join(told['days'])} 都签到了")
    if told.get("listed") is not None:
        parts.append(f"名单 {told['listed']:,} 个账号")
    return "，并且".join(parts)


def preview_page(
    campaign: Campaign,
    preview: Preview,
    now: datetime,
    typed: Typed,
    *,
    malformed: tuple[str, ...],
    make_good_id: str,
    error: str = "",
) -> PreviewPage:
    times = Times(campaign.definition.zone, now)
    unmatched = preview.unmatched
    return PreviewPage(
        title=campaign.definition.title,
        lesson=_lesson_text(campaign, campaign.definition.index_of[preview.lesson_date]),
        scope=scope_text(campaign, preview.scope.told(), times),
        matched=len(preview.matched),
        already=len(preview.already),
        to_grant=len(preview.to_grant),
        listed=None if preview.scope.accounts is None else len(preview.scope.accounts),
        unmatched=unmatched[:NAMED_MAX],
        unmatched_number=len(unmatched),
        malformed=[entry[:64] for entry in malformed[:NAMED_MAX]],
        already_named=preview.already[:NAMED_MAX],
        typed=typed,
        digest=preview.digest,
        make_good_id=make_good_id,
        error=error,
    )


def typed_of(lesson_date: str, reason: str, scope: Scope, typed: Typed) -> Typed:
    """The fields that repeat what was read: the pasted and the uploaded list are one by now."""
    days = tuple(day.isoformat() for day in scope.days)
    accounts = "\n".join(scope.accounts or ())
    return Typed(lesson_date, reason, typed.from_at, typed.until, scope.unit or "", days, accounts)
