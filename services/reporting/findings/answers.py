"""Findings as JSON and as a sheet."""

from collections.abc import Sequence
from datetime import datetime
from typing import Any

from pydantic import BaseModel, Field

from services.reporting.findings.domain import RULE_NAMES, STATE_NAMES, Rule, State
from services.reporting.findings.store import Kept
from services.reporting.findings.usecases import Wording
from shared.clock import local_text
from shared.sheets import Cell, Page


class FindingRow(BaseModel):
    id: int
    unit_code: str
    form: str
    period: str
    version: int = Field(description="of the report that was looked at")
    rule: Rule
    text: str = Field(description="what was seen (zh-Hans); never a verdict")
    reported: dict[str, Any] = Field(description="the report's numbers by field")
    against: dict[str, Any] = Field(
        description="numbers that they were held against: headcount, minutes, recorded, attributed (0 to 1, not for tokens of a "
        "unit), same, near"
    )
    state: State
    opened_at: datetime
    explained_at: datetime | None
    explained_by: str | None
    explanation: str | None
    closed_at: datetime | None
    closed_by: str | None = Field(description="`system` where the unit has reported a newer version")
    close_reason: str | None


class Findings(BaseModel):
    rows: list[FindingRow]
    counts: dict[State, int] = Field(description="of the same question, whatever state was asked for")
    next_cursor: str | None


def row_of(kept: Kept, wording: Wording) -> FindingRow:
    return FindingRow(
        id=kept.id,
        unit_code=kept.key.unit_code,
        form=kept.key.form,
        period=kept.key.period,
        version=kept.version,
        rule=kept.finding.rule,
        text=wording.text(kept),
        reported=dict(kept.finding.reported),
        against=wording.against(kept),
        state=kept.state,
        opened_at=kept.opened_at,
        explained_at=kept.explained_at,
        explained_by=kept.explained_by,
        explanation=kept.explanation,
        closed_at=kept.closed_at,
        closed_by=kept.closed_by,
        close_reason=kept.close_reason,
    )


def pages_of(findings: Findings, wording: Wording) -> Sequence[Page]:
    header = [
        "编号",
        "单位代码",
        "单位",
        "报表",
        "期次",
        "版本",
        "规则",
        "看到的",
        "状态",
        "发现时间",
        "说明",
        "核结原因",
    ]
    rows: list[list[Cell]] = [
        [
            row.id,
            row.unit_code,
            wording.names.get(row.unit_code),
            wording.names.get(row.form, row.form),
            row.period,
            row.version,
            RULE_NAMES[row.rule],
            row.text,
            STATE_NAMES[row.state],
            local_text(row.opened_at),
            row.explanation,
            row.close_reason,
        ]
        for row in findings.rows
    ]
    counts: list[list[Cell]] = [[STATE_NAMES[state], n] for state, n in findings.counts.items()]
    return Page("差异待核", header, rows), Page("数量", ["状态", "数量"], counts)
