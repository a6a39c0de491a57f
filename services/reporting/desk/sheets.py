"""The desk's tables as sheets to download, with the figures that the page shows. Pure."""

from collections.abc import Sequence
from datetime import datetime, tzinfo

from services.reporting.desk.domain import FIGURE_NAMES, STATE_NAMES, local_minute
from services.reporting.desk.units import UnitShown
from services.reporting.desk.usecases import By, Owing, Row
from services.reporting.obligations.domain import Figure, Tally
from shared.sheets import Cell, Page

BY_NAMES: dict[By, str] = {"county": "县（市、区）", "unit": "单位", "form": "报表", "period": "期次"}
TABLED: tuple[Figure, ...] = ("expected", "reported", "on_time", "late", "missing", "excused")


def rates_page(by: By, rows: Sequence[Row], whole: Tally) -> Page:
    header = ["代码", BY_NAMES[by], *(FIGURE_NAMES[figure] for figure in TABLED), "报送率", "按时率"]
    lines = [(row.key, row.name, row.tally) for row in rows] + [("", "合计", whole)]
    return Page("报送率", header, [[key, name, *_figures(tally)] for key, name, tally in lines])


def _figures(tally: Tally) -> list[Cell]:
    return [*(getattr(tally, figure) for figure in TABLED), tally.reporting_rate, tally.on_time_rate]


def owing_page(rows: Sequence[Owing], now: datetime, zone: tzinfo, left_out: int) -> Page:
    """`left_out`: how many more there are than one file holds."""
    header = ["单位代码", "单位", "报表", "期次", "截止时间", "状态", "首次报送时间", "版本", "说明"]
    lines: list[list[Cell]] = [
        [
            row.obligation.unit_code,
            row.unit,
            row.form,
            row.obligation.period,
            local_minute(row.obligation.next_due_at, zone),
            STATE_NAMES[row.obligation.state(now)],
            local_minute(row.obligation.submitted_at, zone) or None,
            row.obligation.version,
            row.obligation.excuse_reason if row.obligation.excused_at else row.obligation.return_reason,
        ]
        for row in rows
    ]
    if left_out:
        lines.append(["", f"还有 {left_out} 行没有列出：请按报表、期次或县筛选后再下载", *[None] * (len(header) - 2)])
    return Page("报送", header, lines)


def lessons_page(shown: UnitShown) -> Page:
    """What is recorded of the unit's people beside what the unit has reported, by lesson."""
    recorded = ["系统记录 人次", "系统记录 人数", "归属率（全活动）"]
    header = ["课程", *recorded, *(f"单位上报 {column.title}" for column in shown.columns)]
    rows: list[list[Cell]] = [
        [lesson.period, lesson.checkins, lesson.viewers, lesson.attributed, *lesson.reported]
        for lesson in shown.lessons
    ]
    return Page("系统记录与单位上报", header, rows)


def without_liaison_page(units: Sequence[tuple[str, str, str]]) -> Page:
    return Page("没有联络员", ["单位代码", "单位", "县（市、区）"], [list(unit) for unit in units])
