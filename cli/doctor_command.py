"""`fanzha doctor`: what is wrong with a running deployment, in plain words. Exit code 1 when something is."""

import asyncio
import json
from collections.abc import Awaitable, Callable, Mapping
from typing import Annotated

import typer
from rich.console import Console

from cli.backup_commands import this_deployment
from upkeep.deployment import Deployment
from upkeep.findings import Finding, Level, problem

Check = Callable[[Deployment], Awaitable[list[Finding]]]

CHECK_WITHIN_S = 30
WITHIN_S = {"各服务之间": 600}  # reads all inboxes (agreement.py): minutes for a province on a slow disk
MARKS = {Level.OK: ("✓", "green"), Level.WARNING: ("!", "yellow"), Level.PROBLEM: ("✗", "red")}


def doctor(
    everything: Annotated[bool, typer.Option("--all", help="也列出没有问题的")] = False,
    as_json: Annotated[bool, typer.Option("--json", help="输出 JSON，供脚本使用")] = False,
) -> None:
    """检查运行中的系统：哪里不对、该做什么。有问题时退出码为 1。"""
    from upkeep import (
        check_agreement,
        check_databases,
        check_limits,
        check_machine,
        check_messages,
        check_nats,
        check_platforms,
        check_secrets,
        check_services,
    )

    checks = {
        "服务": check_services.check,
        "数据库": check_databases.check,
        "数据库连接的时限": check_limits.check,
        "各服务之间": check_agreement.check,
        "NATS": check_nats.check,
        "短信": check_messages.check,
        "平台": check_platforms.check,
        "密钥": check_secrets.check,
        "本机": check_machine.check,
    }
    report(asyncio.run(examine(this_deployment(), checks)), everything=everything, as_json=as_json)


def report(findings: list[Finding], *, everything: bool, as_json: bool) -> None:
    """Prints the findings; ends with exit code 1 when there is a problem."""
    if as_json:
        typer.echo(json.dumps([finding._asdict() for finding in findings], ensure_ascii=False))
    else:
        _print(findings, everything)
    if any(finding.level is Level.PROBLEM for finding in findings):
        raise typer.Exit(1)


async def examine(deployment: Deployment, checks: Mapping[str, Check]) -> list[Finding]:
    """Runs all checks at once. A check that fails or hangs becomes a finding itself and does not hide those of others."""
    by_check = await asyncio.gather(*(_run(name, check, deployment) for name, check in checks.items()))
    return [finding for findings in by_check for finding in findings]


async def _run(name: str, check: Check, deployment: Deployment) -> list[Finding]:
    within_s = WITHIN_S.get(name, CHECK_WITHIN_S)
    try:
        async with asyncio.timeout(within_s):
            return await check(deployment)
    except TimeoutError:
        return [problem("doctor", name, f"{within_s} 秒没有查完", "看那台机器是否过载、网络是否通")]
    except Exception as error:
        text = f"没有查成：{type(error).__name__}：{error}"
        return [problem("doctor", name, text, "这是检查程序自己的问题，请反馈；其余结果有效")]


def _print(findings: list[Finding], everything: bool) -> None:
    console = Console(highlight=False)
    for finding in findings:
        if finding.level is Level.OK and not everything:
            continue
        mark, colour = MARKS[finding.level]
        console.print(f"[{colour}]{mark}[/] ", end="")
        console.print(f"{finding.subject}：{finding.text}", markup=False, soft_wrap=True)
        if finding.remedy:
            console.print(f"    → {finding.remedy}", markup=False, soft_wrap=True)
    problems = sum(finding.level is Level.PROBLEM for finding in findings)
    warnings = sum(finding.level is Level.WARNING for finding in findings)
    console.print(f"查了 {len(findings)} 项：{problems} 个问题，{warnings} 个提醒")
