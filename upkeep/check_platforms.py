"""Do campaigns and this deployment know the same platforms?"""

from collections.abc import Iterator, Sequence

from upkeep import platforms
from upkeep.check_agreement import AWAY
from upkeep.deployment import Deployment
from upkeep.findings import Finding, ok, warning
from upkeep.platforms import Sender

ADD_SOURCE = "fanzha init --add-missing --source"


async def check(deployment: Deployment) -> list[Finding]:
    try:
        named = await platforms.named(deployment)
    except AWAY:
        return []  # check_databases says so
    return list(judge(platforms.senders(deployment, named)))


def judge(senders: Sequence[Sender]) -> Iterator[Finding]:
    """Where no campaign names platforms, every source may send, and there is nothing to compare."""
    limited = any(sender.named_by for sender in senders)
    for sender in senders:
        if not sender.can_send:
            told = "、".join(f"{platform.campaign_id}（{platform.title}）" for platform in sender.named_by)
            yield warning(
                "platforms",
                sender.source,
                f"活动 {told} 的平台，这套部署没有它的密钥：它的推送一律 404，停了也不报警",
                f"{ADD_SOURCE} {sender.source}，再 fanzha platforms 看交给它的地址和密钥；只交导出文件的平台不用理会",
            )
        elif limited and not sender.named_by:
            yield warning(
                "platforms",
                sender.source,
                "有推送密钥，没有一个活动的 platforms 写它：它发来的不限方式和时段，停了也不单独报警",
                "写进活动文件的 platforms；不用的从 secrets/checkin.env 的 WEBHOOK_SOURCES 去掉",
            )
        else:
            yield ok(
                "platforms", sender.source, "平台与密钥相符" if sender.named_by else "活动没有写 platforms，不限来源"
            )
