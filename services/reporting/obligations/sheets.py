"""Obligations and rates as sheets: the rows of the answer under Chinese headings. Pure."""

from collections.abc import Mapping, Sequence
from datetime import tzinfo

from services.reporting.obligations.answers import Obligations, RateRow, Rates
from services.reporting.obligations.domain import State
from shared.clock import local_text
from shared.sheets import Cell, Page

STATE_NAMES: dict[State, str] = {
    "due": "待报",
    "on_time": "按时",
    "late": "迟报",
    "missing": "未报",
    "returned": "退回",
    "excused": "免报",
}
KEY_NAMES = {
    "unit": "单位",
    "subtree": "单位（含下级）",
    "county": "县（市、区）",
    "city": "市",
    "form": "报表",
    "period": "期次",
}
FIGURES = {
    "expected": "应报",
    "reported": "已报",
    "on_time": "按时",
    "late": "迟报",
    "missing": "未报",
    "excused": "免报",
    "reporting_rate": "报送率",
    "on_time_rate": "按时率",
}


def obligation_pages(obligations: Obligations, names: Mapping[str, str], zone: tzinfo) -> Sequence[Page]:
    """`names`: of units by code and of forms by id. Times are in the campaign's `zone`."""
    header = ["单位代码", "单位", "报表", "期次", "截止时间", "状态", "首次报送时间", "版本", "说明"]
    rows: list[list[Cell]] = [
        [
            row.unit_code,
            names.get(row.unit_code),
            names.get(row.form, row.form),
            row.period,
            local_text(row.next_due_at, zone),
            STATE_NAMES[row.state],
            local_text(row.submitted_at, zone) if row.submitted_at else None,
            row.version,
            row.reason,
        ]
        for row in obligations.rows
    ]
    counts: list[list[Cell]] = [[STATE_NAMES[state], n] for state, n in obligations.counts.items()]
    return Page("报送", header, rows), Page("数量", ["状态", "数量"], counts)


def rate_pages(rates: Rates, by: str) -> Sequence[Page]:
    header = ["代码", KEY_NAMES[by], *FIGURES.values()]
    rows = [_rate_row(row) for row in [*rates.rows, rates.sum]]
    return Page("报送率", header, rows), Page("说明", ["项目", "内容"], [["数据截至", local_text(rates.as_of)]])


def _rate_row(row: RateRow) -> list[Cell]:
    return [row.key, row.name, *(getattr(row, name) for name in FIGURES)]
