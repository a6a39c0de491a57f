"""`fanzha platforms`: the address and the secret to give to each platform."""

import asyncio
import json
from typing import TYPE_CHECKING, Annotated, Any

import typer

from cli.backup_commands import this_deployment
from cli.client import fail

if TYPE_CHECKING:  # packages that only services have are imported where they are used
    from upkeep.platforms import Sender

MODE_NAMES = {"live": "首播", "replay": "重播"}
SIGNED_HOW = {
    "standard": "standard：Standard Webhooks，请求头 webhook-id、webhook-timestamp、webhook-signature",
    "kuaishou": "kuaishou：请求头 kwaisign = md5(内容 + 密钥)（未经平台确认）",
    "douyin": "douyin：请求头 X-Douyin-Signature = sha1(密钥 + 内容)（未经平台确认）",
}
WHERE = "secrets/checkin.env 的 WEBHOOK_SOURCES"
WHERE_IN_A_DEV_STACK = "开发环境的 env 文件的 WEBHOOK_SOURCES"


def platforms(
    campaign_id: Annotated[str, typer.Option("--campaign", help="只列这个活动的平台；不写就列全部来源")] = "",
    as_json: Annotated[bool, typer.Option("--json", help="输出 JSON，供脚本使用")] = False,
) -> None:
    """列出每个平台的推送地址、验签方式和密钥，交给平台用。密钥会显示在屏幕上，不写进日志。"""
    from upkeep import platforms as known
    from upkeep.check_agreement import AWAY

    deployment = this_deployment()
    public_url = deployment.environments["checkin"].get("PUBLIC_URL", "")
    try:
        named = asyncio.run(known.named(deployment))
    except AWAY as error:
        if campaign_id:
            fail(
                f"连不上签到服务的数据库（{type(error).__name__}），不知道活动有哪些平台。请先启动系统，或不写 --campaign"
            )
        typer.echo("连不上签到服务的数据库，没有列出活动。", err=True)
        named = []
    if campaign_id:
        named = [platform for platform in named if platform.campaign_id == campaign_id]
        if not named:
            fail(f"活动 {campaign_id} 没有写 platforms，或系统里没有这个活动。不写 --campaign 列出全部来源")
    senders = [sender for sender in known.senders(deployment, named) if sender.named_by or not campaign_id]
    rows = [_row(sender, known.address(sender.source, public_url)) for sender in senders]
    if as_json:
        typer.echo(json.dumps({"rows": rows}, ensure_ascii=False))
        return
    where = WHERE if deployment.secrets_folder else WHERE_IN_A_DEV_STACK
    typer.echo("\n\n".join(_text(row, where) for row in rows))


def _row(sender: "Sender", address: str) -> dict[str, Any]:
    campaigns = [platform._asdict() for platform in sender.named_by]
    for campaign in campaigns:
        del campaign["source"]
    return {
        "source": sender.source,
        "address": address if sender.can_send else None,
        "verifier": sender.verifier,
        "secrets": sender.secrets,
        "campaigns": campaigns,
    }


def _text(row: dict[str, Any], where: str) -> str:
    lines = [f"来源 {row['source']}"]
    for campaign in row["campaigns"]:
        modes = "、".join(MODE_NAMES[mode] for mode in campaign["modes"])
        lines.append(f"  活动 {campaign['campaign_id']}：{campaign['title']}，{modes}")
    if row["verifier"]:
        lines += [f"  地址 {row['address']}", f"  验签 {SIGNED_HOW[row['verifier']]}"]
        lines += [f"  密钥 {secret}" for secret in row["secrets"]]
        lines.append(f"  密钥在 {where}")
    elif row["address"]:
        lines.append(f"  地址 {row['address']}，用户和口令在 secrets/operator.env 的 LIVE_NATS_URL")
    else:
        lines.append(f"  没有密钥，推送不了；要推送：fanzha init --add-missing --source {row['source']}")
    return "\n".join(lines)
