"""Which changes of a definition would falsify the past, once viewers have checked in (DESIGN §5.1)."""

from datetime import datetime, timedelta
from typing import Any

from pydantic import BaseModel

from shared.contracts.campaign import CampaignDefinition

FUTURE_TOLERANCE = timedelta(seconds=60)  # checkin takes events up to 60 s from the future: a lesson freezes that early

FROZEN_KEYS = {
    "time_zone": "已有签到按原时区归入课程",
    "windows": "已有签到按原时段判定首播或重播",
    "live_grace_s": "已有签到按原宽限判定首播或重播",
    "credit": "已有签到按原政策计入，观众已被告知结果",
    "required_days": "观众已被告知结课所需天数，可能已有人结课",
    "seal_after_hours": "已有签到按原期限判定是否逾期",
}


def frozen_differences(
    old: CampaignDefinition,
    new: CampaignDefinition,
    now: datetime,
    has_checkins: bool,
    owes_reports: bool = False,
) -> list[str]:
    """Why `new` may not replace `old` at `now`; empty when it may. Each text names the key, old and new value, and the reason
    (zh-Hans). `owes_reports`: units owe reports of `old` already; then lessons that have opened, and units, stay as well.

    Units and groups that exist may change their name, place, or figures, because totals are kept under their code and
    joined at read; they may not disappear, because the code's totals would have nowhere to go.
    """
    if not (has_checkins or owes_reports):
        return []
    refused = [
        _refusal(key, getattr(old, key), getattr(new, key), reason)
        for key, reason in FROZEN_KEYS.items()
        if has_checkins and getattr(old, key) != getattr(new, key)
    ]
    if new.retain_days > old.retain_days:
        refused.append(
            _refusal("retain_days", old.retain_days, new.retain_days, "已告知观众到期删除，只能提前，不能推后")
        )
    refused += _lesson_refusals(old, new, now)
    refused += _missing("units", [u.unit_code for u in old.units], {u.unit_code for u in new.units})
    if has_checkins:
        refused += _missing("groups", [g.code for g in old.groups], {g.code for g in new.groups})
    return refused


def _lesson_refusals(old: CampaignDefinition, new: CampaignDefinition, now: datetime) -> list[str]:
    """Refusals of changes to lessons that have opened: their date, hours and position must stay. Their title may change, because
    nothing is counted by it. A lesson added before them would change their position."""
    refused: list[str] = []
    for index, lesson in enumerate(old.lessons):
        if old.opened_at(index) > now + FUTURE_TOLERANCE:
            break
        replacement = new.lessons[index] if index < len(new.lessons) else None
        if replacement is None or replacement.model_copy(update={"title": lesson.title}) != lesson:
            refused.append(
                _refusal(f"lessons[{index}]", lesson, replacement, "这节课已经开课，日期、时段和次序不能再改")
            )
    return refused


def _missing(key: str, old: list[str], new: set[str]) -> list[str]:
    gone = [code for code in old if code not in new]
    if not gone:
        return []
    shown = "、".join(gone[:10]) + (f" 等 {len(gone)} 个" if len(gone) > 10 else "")
    return [
        f"{key}：删除了 {shown}。原因：这些代码下可能已有签到或上报，删除后无处归属；请保留，不再参加的单位写 leaves_on"
    ]


def _refusal(key: str, old: Any, new: Any, reason: str) -> str:
    return f"{key}：原为 {_shown(old)}，改为 {_shown(new)}。原因：{reason}"


def _shown(value: Any) -> str:
    if value is None:
        return "（已删除）"
    if isinstance(value, BaseModel):
        return value.model_dump_json(by_alias=True)
    if isinstance(value, tuple):
        return "[" + ", ".join(map(str, value)) + "]"
    return str(value)
