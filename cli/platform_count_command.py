"""`fanzha platform-count`: states what the live platform itself counted for a lesson, and compares it with ours (runbook
FeedIncomplete)."""

import json
from datetime import datetime
from typing import Annotated

import typer

from cli.campaign_commands import chosen_campaign
from cli.client import client, fail

MODE_NAMES = {"live": "首播", "replay": "重播"}
COMPLETE_FROM = 0.99  # below it, alert FeedIncomplete


def platform_count(
    lesson: Annotated[datetime, typer.Argument(metavar="LESSON", formats=["%Y-%m-%d"], help="课程日期，如 2024-06-29")],
    live: Annotated[int | None, typer.Option(min=0, help="平台统计的首播签到人次")] = None,
    replay: Annotated[int | None, typer.Option(min=0, help="平台统计的重播签到人次")] = None,
    campaign_id: Annotated[str | None, typer.Option("--campaign", help="活动 ID；系统里只有一个活动时可以不写")] = None,
    as_json: Annotated[bool, typer.Option("--json", help="输出 JSON，供脚本使用")] = False,
) -> None:
    """填报平台自己统计的某课签到人次，与收到的比较。更正了再填一次，以最后一次为准。"""
    counts = {mode: n for mode, n in (("live", live), ("replay", replay)) if n is not None}
    if not counts:
        fail("请写明平台统计的人次：--live 首播，--replay 重播，或两个都写")
    campaign_id = chosen_campaign(campaign_id)
    with client("checkin") as checkin:
        answer = checkin.put(f"/v1/campaigns/{campaign_id}/lessons/{lesson:%Y-%m-%d}/platform-count", counts)
    if as_json:
        typer.echo(json.dumps(answer, ensure_ascii=False))
        return
    for mode, numbers in answer["counts"].items():
        typer.echo(f"{lesson:%Y-%m-%d} {MODE_NAMES[mode]}：{_compared(numbers['platform'], numbers['ours'])}")


def _compared(platform: int, ours: int) -> str:
    text = f"平台 {platform:,}，收到 {ours:,}"
    if not platform:
        return text
    text += f"（{ours / platform:.2%}）"
    if ours / platform < COMPLETE_FROM:
        text += "。少收了：向平台要这一课的导出文件，fanzha import（deploy/runbooks/FeedIncomplete.md）"
    return text
