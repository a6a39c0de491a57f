"""Do messages reach people: does this deployment have the channels that campaigns name?"""

import httpx
from prometheus_client.parser import text_string_to_metric_families

from upkeep.deployment import Deployment
from upkeep.findings import Finding, ok, problem

ANSWER_WITHIN_S = 10
WAITING = "fanzha_notification_without_channel"


async def check(deployment: Deployment) -> list[Finding]:
    if (url := deployment.services.get("notification")) is None:
        return []  # check_services reports it
    try:
        async with httpx.AsyncClient(timeout=ANSWER_WITHIN_S, trust_env=False) as http:
            return judge((await http.get(f"{url}/metrics")).text)
    except httpx.HTTPError:
        return []  # check_services reports it


def judge(page: str) -> list[Finding]:
    """`page`: what notification's /metrics says."""
    waiting = {
        sample.labels["channel"]: int(sample.value)
        for family in text_string_to_metric_families(page)
        if family.name == WAITING
        for sample in family.samples
        if sample.value > 0
    }
    if not waiting:
        return [ok("messages", "短信", "没有在等通道的消息")]
    return [
        problem(
            "messages",
            "短信",
            f"{n:,} 条消息在等通道 {channel}，这套部署没有它：谁也收不到",
            "接入能到人的通道，或改活动文件的 messages（deploy/runbooks/MessagesWithoutChannel.md）",
        )
        for channel, n in sorted(waiting.items())
    ]
