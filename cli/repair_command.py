"""`fanzha repair`: corrects what `fanzha doctor` found to go beyond the ledgers; without `--yes` it only shows what it would
do."""

import asyncio
import json
from dataclasses import asdict
from typing import Annotated

import typer

from cli.backup_commands import this_deployment
from cli.client import fail


def repair(
    yes: Annotated[bool, typer.Option("--yes", help="真的处理；不写只显示会处理什么")] = False,
    as_json: Annotated[bool, typer.Option("--json", help="输出 JSON，供脚本使用")] = False,
) -> None:
    """以账本为准，改正多出来的：统计重新计算，证书不存在的短信不再发。先停所有服务。"""
    from shared.people.erasure import CannotForget
    from upkeep.repair import CannotRepair, Repaired
    from upkeep.repair import repair as run

    try:
        repaired: Repaired = asyncio.run(run(this_deployment(), dry_run=not yes))
    except (CannotRepair, CannotForget) as error:
        fail(str(error))
    if as_json:
        typer.echo(json.dumps(asdict(repaired) | {"done": yes and not repaired.nothing_wrong}, ensure_ascii=False))
        return
    if repaired.nothing_wrong:
        typer.echo("没有要改正的")
        return
    for durable, number in repaired.events.items():
        typer.echo(f"{durable}：{number:,} 个事件不在账本里，{'已不再算处理过' if yes else '将不再算处理过'}")
    typer.echo(f"统计比签到多 {repaired.surplus:,}，{'已清空' if yes else '将清空并'}由账本重新计算")
    typer.echo(
        f"{repaired.texts:,} 条短信的证书不存在" + (f"，取消了其中未发的 {repaired.cancelled:,} 条" if yes else "")
    )
    if yes:
        typer.echo(f"现在启动所有服务：它们会重新发布 {repaired.published:,} 个事件。发完以后再 fanzha doctor")
    else:
        typer.echo("只是显示；确定后先 fanzha backup，停止所有服务（只留 Postgres 和 NATS），加 --yes 再运行一次")
