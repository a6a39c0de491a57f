"""A small valid campaign to start from: two lessons, the windows of FACTS A2, a tree of one unit per level."""

from typing import Any

from shared.contracts.campaign import CampaignDefinition
from shared.contracts.campaign_parts import COURSE_KEYS

WITHOUT_COURSE: dict[str, Any] = dict.fromkeys(COURSE_KEYS) | {"starts_on": "2024-06-29", "ends_on": "2024-07-02"}
"""Changes that make a campaign one that has no course."""


def campaign_content(**changes: Any) -> dict[str, Any]:
    """The definition as JSON content; `changes` replace top-level keys, or leave them out where they are None."""
    content: dict[str, Any] = {
        "campaign_id": "small-2024",
        "title": "小活动",
        "organiser": "反诈办",
        "time_zone": "Asia/Shanghai",
        "lessons": [{"date": "2024-06-29", "title": "第一课"}, {"date": "2024-06-30", "title": "第二课"}],
        "windows": {
            "live": [{"from": "19:30", "to": "20:00"}],
            "replay": [{"from": "20:00", "to": "24:00"}, {"day": 1, "from": "08:00", "to": "19:00"}],
        },
        "credit": ["live"],
        "required_days": 2,
        "groups": [{"code": "student", "name": "学生"}, {"code": "general", "name": "其他群众"}],
        "certificate": {
            "claim_from": "2024-06-30T20:00:00+08:00",
            "title": "结课证书",
            "body": "参加“{campaign_title}”，累计签到{credited_days}天。",
            "issuer": "反诈办",
        },
        "messages": [
            {"event": "certificate_ready", "channel": "file", "template": "领取码 {claim_code}，咨询请拨打 96110。"}
        ],
        "units": [
            unit("1", None, "province"),
            unit("11", "1", "city"),
            unit("111", "11", "county"),
            unit("111-EDU", "111", "unit"),
        ],
        "channels": {"QR-1": "111-EDU"},
    }
    return {key: value for key, value in (content | changes).items() if value is not None}


def campaign(**changes: Any) -> CampaignDefinition:
    return CampaignDefinition.model_validate(campaign_content(**changes))


def unit(unit_code: str, parent_code: str | None, level: str, **more: Any) -> dict[str, Any]:
    return {
        "unit_code": unit_code,
        "name": f"单位{unit_code}",
        "parent_code": parent_code,
        "level": level,
        "kind": "node",
    } | more
