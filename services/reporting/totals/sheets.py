"""Totals and live-room figures as sheets: the rows of the answer under Chinese headings. Pure.

A figure that is not known is an empty cell. `per_10k` stands beside the number of residents that it divides by, with year and
source (FACTS A).
"""

from collections.abc import Sequence
from datetime import date, datetime

from services.reporting.totals.answers import LiveRoom, Totals, TotalsRow
from shared.clock import local_text
from shared.contracts.base import Mode
from shared.sheets import Cell, Page

KEY_NAMES = {
    "unit": "单位",
    "subtree": "单位（含下级）",
    "county": "县（市、区）",
    "city": "市",
    "group": "人群",
    "lesson": "课程",
    "mode": "首播/重播",
    "platform": "平台",
    "item": "项目",
}
MODE_NAMES: dict[Mode | None, str] = {None: "首播和重播", "live": "首播", "replay": "重播"}
FIGURES = {
    "checkins": "签到人次",
    "late": "逾期",
    "made_good": "补记",
    "credited": "计入",
    "viewers": "人数",
    "certificates_issued": "已发证书",
    "certificates_claimed": "已领证书",
}
NOT_BY_PLATFORM = "不分平台，只在合计里"
ACTIONS = {"quiz_answered": "答题次数", "prize_won": "中奖次数", "account_followed": "关注次数"}


def totals_pages(totals: Totals) -> Sequence[Page]:
    header = ["代码", KEY_NAMES[totals.by], *FIGURES.values(), "每万人", "常住人口", "人口年份", "人口来源"]
    rows = [_totals_row(row) for row in totals.rows]
    rows.append(["合计", None, *(getattr(totals.sum, name) for name in FIGURES), None, None, None, None])
    about = [("首播/重播", MODE_NAMES[totals.mode])]
    if totals.withheld:
        about.append(("人数过少未列出的人群（已计入合计）", str(totals.withheld)))
    if totals.by == "platform" and totals.sum.made_good:
        about.append(("补记", NOT_BY_PLATFORM))
    return Page("汇总", header, rows), _about(totals.campaign_id, totals.by, totals.lesson, totals.as_of, about)


def live_room_pages(live_room: LiveRoom) -> Sequence[Page]:
    header = ["代码", KEY_NAMES[live_room.by], *ACTIONS.values()]
    rows: list[list[Cell]] = [
        [row.key, row.name, *(getattr(row, action) for action in ACTIONS)] for row in live_room.rows
    ]
    return Page("直播间", header, rows), _about(
        live_room.campaign_id, live_room.by, live_room.lesson, live_room.as_of, []
    )


def _totals_row(row: TotalsRow) -> list[Cell]:
    residents = row.residents
    divided_by: list[Cell] = [residents.count, residents.year, residents.source] if residents else [None, None, None]
    return [row.key, row.name, *(getattr(row, name) for name in FIGURES), row.per_10k, *divided_by]


def _about(campaign_id: str, by: str, lesson: date | None, as_of: datetime, more: list[tuple[str, str]]) -> Page:
    """The page that says what the figures cover, for readers who get the workbook without knowing what was asked."""
    rows = [
        ("活动", campaign_id),
        ("汇总方式", KEY_NAMES[by]),
        ("课程", str(lesson) if lesson else "全部"),
        *more,
        ("数据截至", local_text(as_of)),
    ]
    return Page("说明", ("项目", "内容"), rows)
