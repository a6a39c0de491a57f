"""The viewer's own page: what counts, why a day is missing, and what is still possible, in plain Chinese (FACTS A5).

Pure: a report and a time become HTML.
"""

from dataclasses import dataclass
from datetime import date, datetime
from pathlib import Path
from typing import Any

from services.checkin.domain import CHECKED_IN, LessonState, LessonView, Reason
from services.checkin.usecases import ViewerReport
from shared.contracts.campaign import CampaignDefinition
from shared.moments import Times, day_text
from shared.pages import Pages

PAGES = Pages(Path(__file__).with_name("templates"))

BEING_CHECKED = "正在核对"
MODE_NAMES = {"live": "首播", "replay": "重播"}
LABELS = {
    LessonState.CREDITED: "已计入",
    LessonState.MADE_GOOD: "已补记",
    LessonState.NOT_CREDITED: "未计入",
    LessonState.UPCOMING: "未开始",
    LessonState.OPEN: "可签到",
    LessonState.NOT_SEEN: "待核对",
    LessonState.MISSED: "未签到",
}


@dataclass(frozen=True)
class Outlook:
    """Whether the course can still be completed. `tone` chooses the colour: done, open, waiting or out_of_reach."""

    tone: str
    headline: str
    detail: str


@dataclass(frozen=True)
class LessonRow:
    """One lesson as the viewer reads it."""

    number: int
    day: str
    title: str
    tone: str  # chooses the colour: that of a state
    label: str
    reason: str
    earn_until: str | None


@dataclass(frozen=True)
class NextLesson:
    """The lesson to check in for now or next."""

    open: bool
    title: str
    when: str
    earn_until: str


def viewer(report: ViewerReport, now: datetime, claim_page_url: str | None = None) -> str:
    """The page of a viewer who is known."""
    definition = report.campaign.definition
    times = Times(definition.zone, now)
    required = report.campaign.course.required_days
    claim_from = definition.certificate.claim_from if definition.certificate else None
    return PAGES.html(
        "viewer.html",
        campaign=definition,
        viewer_id=report.viewer.viewer_id,
        unit=definition.unit_by_code.get(report.viewer.unit_code),
        credited=report.credited_days,
        required=required,
        outlook=outlook(report.credited_days, required, report.earnable_days, report.waiting_days),
        next=next_lesson(report, times),
        lessons=[lesson_row(report, view, times) for view in report.lessons],
        completed=report.campaign.course.is_completed_with(report.credited_days),
        claim_from=times.moment(claim_from) if claim_from else None,
        claimable=claim_from is not None and now >= claim_from,
        claim_page_url=claim_page_url,
        certificate=report.certificate,
        as_of=times.moment(now),
        beijing_time=definition.time_zone == "Asia/Shanghai",
    )


def unknown_link() -> str:
    """The page behind a link that is not genuine."""
    return PAGES.notice(
        "链接无效",
        "这个链接不完整或已失效。请从活动页面重新进入，或请发给您链接的人重新发送一次。",
    )


def nothing_yet() -> str:
    """The page of a viewer whose events have not arrived."""
    return PAGES.notice(
        "还没有您的记录",
        "目前没有收到您的报名或签到。签到后数据由直播平台传来，通常几分钟内就能查到；如果第二天仍查不到，请联系活动主办单位核实。",
    )


def outlook(credited: int, required: int, reachable: int, waiting: int) -> Outlook:
    """Says what is still possible. `reachable`: days credited if nothing is missed from now on; `waiting`: days whose hours are
    over and which are not sealed."""
    missing = required - credited
    if missing <= 0:
        return Outlook("done", "恭喜，您已完成学习", f"结课所需的 {required} 天已全部计入。")
    if reachable >= required:
        spare = reachable - required
        leeway = f"最多还可以漏 {spare} 天。" if spare else "从现在起每一天都要签到，一天也不能漏。"
        return Outlook("open", f"还差 {missing} 天，可以完成", leeway)
    if reachable + waiting >= required:
        detail = f"有 {waiting} 天还在等直播平台的签到名单；名单里有您，就会自动计入，仍可达到 {required} 天。"
        return Outlook("waiting", f"还差 {missing} 天，正在核对", detail)
    most = reachable + waiting
    if reachable > credited:
        return Outlook(
            "out_of_reach",
            f"每天都看也只能累计 {most} 天，无法达到 {required} 天",
            "已经错过的课程不能补签。仍然欢迎您继续收看：每一课都能帮您和家人识破一种骗局。",
        )
    if waiting:
        return Outlook(
            "out_of_reach",
            f"最多累计 {most} 天，无法达到 {required} 天",
            f"课程已经结束，还有 {waiting} 天在等直播平台的签到名单。",
        )
    return Outlook("out_of_reach", f"累计 {credited} 天，未达到 {required} 天", "课程已经结束。感谢您的参与！")


def next_lesson(report: ViewerReport, times: Times) -> NextLesson | None:
    """The lesson that can be earned now, else the one that opens next; None when nothing is ahead."""
    course = report.campaign.course
    ahead = [view for view in report.lessons if view.earn_until is not None]
    if not ahead:
        return None

    def opens(view: LessonView) -> datetime:
        windows = course.rules.opens_closes(view.lesson)
        return min(w.opens_at for w in windows if w.mode in course.credit and w.closes_at > times.now)

    view = min(ahead, key=opens)
    assert view.earn_until is not None  # noqa: S101 - filtered above
    return NextLesson(
        open=opens(view) <= times.now,
        title=report.campaign.definition.lessons[view.lesson].title,
        when=times.moment(opens(view)),
        earn_until=times.moment(view.earn_until, ends=True),
    )


def lesson_row(report: ViewerReport, view: LessonView, times: Times, whom: str = "您") -> LessonRow:
    """`whom`: what the viewer is called: 您 on the viewer's own page."""
    lesson = report.campaign.definition.lessons[view.lesson]
    return LessonRow(
        number=view.lesson + 1,
        day=day_text(lesson.date),
        title=lesson.title,
        tone=LessonState.NOT_SEEN if _is_being_checked(view) else view.state,
        label=BEING_CHECKED if _is_being_checked(view) else LABELS[view.state],
        reason=_reason(report, view, times, whom),
        earn_until=times.moment(view.earn_until, ends=True)
        if view.earn_until and view.state != LessonState.UPCOMING
        else None,
    )


def _hours(report: ViewerReport, view: LessonView, times: Times) -> str:
    """The local hours in which a check-in is credited."""
    course = report.campaign.course
    windows = [w for w in course.rules.opens_closes(view.lesson) if w.mode in course.credit]
    return "、".join(f"{times.clock(w.opens_at)}–{times.clock(w.closes_at, ends=True)}" for w in windows)


def _reason(report: ViewerReport, view: LessonView, times: Times, whom: str) -> str:
    """Why the lesson stands as it does."""
    definition = report.campaign.definition
    match view.state:
        case LessonState.CREDITED:
            modes = [name for mode, name in MODE_NAMES.items() if report.viewer.lessons.has(view.lesson, mode)]  # type: ignore[arg-type]
            return f"{'、'.join(modes)}已签到"
        case LessonState.MADE_GOOD:
            return f"因故没有收到签到，{definition.organiser}核实后已补记"
        case LessonState.NOT_CREDITED if view.reason == Reason.LATE:
            return _late(report, view, times)
        case LessonState.NOT_CREDITED:
            credited, other = _credited_and_other(definition)
            if not view.final:
                return f"目前只收到{other}签到；{credited}签到才计入。{_still_to_come(definition, view, times, whom, credited)}"
            return f"只有{other}签到，不计入；{credited}签到才计入"
        case LessonState.UPCOMING:
            return f"签到时段 {_hours(report, view, times)}"
        case LessonState.OPEN:
            return f"还没有收到{whom}的签到"
        case LessonState.NOT_SEEN:
            still_to_come = f"暂时没有收到签到；{_still_to_come(definition, view, times, whom)}"
            return _refused(report, view, times) or still_to_come
        case LessonState.MISSED:
            return _refused(report, view, times) or "没有收到签到"


def _still_to_come(definition: CampaignDefinition, view: LessonView, times: Times, whom: str, mode: str = "") -> str:
    sealed_at = times.moment(definition.sealed_at(view.lesson))
    return f"直播平台的名单在 {sealed_at} 前送到并有{whom}{f'的{mode}签到' if mode else ''}，就会自动计入"


def _is_being_checked(view: LessonView) -> bool:
    """A check-in came that does not count, and one that does may be on its way."""
    return view.state == LessonState.NOT_CREDITED and not view.final


def _late(report: ViewerReport, view: LessonView, times: Times) -> str:
    sealed_at = times.moment(report.campaign.course.rules.sealed_at(view.lesson))
    received = [
        row["received_at"]
        for row in report.uncounted
        if row["reason"] == Reason.LATE and _lesson_of(report, row) == view.lesson
    ]
    arrived = f"（{times.moment(min(received))} 才收到）" if received else ""
    return f"签到记录来得太晚{arrived}，{sealed_at} 已截止，不计入"


def _refused(report: ViewerReport, view: LessonView, times: Times) -> str | None:
    """Names a refused check-in of that day, which explains more than "none arrived"."""
    for row in report.uncounted:
        if row["type"] != CHECKED_IN or row["occurred_at"] is None:
            continue
        at = times.moment(row["occurred_at"])
        if row["reason"] == Reason.OUTSIDE_WINDOW and times.day(row["occurred_at"]) == _day(report, view):
            return f"收到的签到是 {at} 的，不在签到时段内，不计入"
        if row["reason"] == Reason.NOT_OF_PLATFORM and _lesson_of(report, row) == view.lesson:
            return f"收到的签到是 {at} 的，发来的平台在这个时段没有播出，不计入"
        if row["reason"] == Reason.IN_FUTURE and _lesson_of(report, row) == view.lesson:
            return f"收到的签到时间有误（{at}，晚于收到的时刻），不计入"
    return None


def _credited_and_other(definition: CampaignDefinition) -> tuple[str, str]:
    credited = [name for mode, name in MODE_NAMES.items() if mode in definition.credit]
    other = [name for mode, name in MODE_NAMES.items() if mode not in definition.credit]
    return "、".join(credited), "、".join(other)


def _lesson_of(report: ViewerReport, row: Any) -> int | None:
    slot = report.campaign.course.locate(row["occurred_at"].timestamp()) if row["occurred_at"] else None
    return slot.lesson if slot else None


def _day(report: ViewerReport, view: LessonView) -> date:
    return report.campaign.course.lesson_dates[view.lesson]
