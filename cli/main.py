"""The command line `fanzha`. Each group of commands lives in a module of its own and is added here.

The dev stack is imported where it is used: it needs packages that only a development environment has.
"""

import os
import sys
from datetime import datetime
from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console

import shared
from cli import (
    backup_commands,
    campaign_commands,
    clock_commands,
    doctor_command,
    erase_commands,
    import_command,
    init_command,
    ledger_commands,
    liaison_commands,
    obligations_command,
    person_commands,
    platform_count_command,
    platforms_command,
    preflight_command,
    repair_command,
    token_commands,
    totals_command,
    viewer_commands,
)
from cli.client import fail
from cli.usage import Commands
from devstack.home import Home, StackError, read_env
from shared.env_files import Ambiguous

app = typer.Typer(cls=Commands, no_args_is_help=True, rich_markup_mode=None)
app.command("init")(init_command.init)
app.add_typer(campaign_commands.app, name="campaign")
app.command("import")(import_command.import_file)
app.command("totals")(totals_command.totals)
app.command("live-room")(totals_command.live_room)
app.command("obligations")(obligations_command.obligations)
app.command("rates")(obligations_command.rates)
app.add_typer(viewer_commands.app, name="viewer")
app.command("platform-count")(platform_count_command.platform_count)
app.command("platforms")(platforms_command.platforms)
app.add_typer(clock_commands.app, name="clock")
app.add_typer(token_commands.app, name="token")
app.add_typer(person_commands.app, name="person")
app.add_typer(liaison_commands.app, name="liaison")
app.add_typer(ledger_commands.outbox_app, name="outbox")
app.add_typer(ledger_commands.dead_letters_app, name="dead-letters")
app.command("backup")(backup_commands.backup)
app.command("restore")(backup_commands.restore)
app.command("preflight")(preflight_command.preflight)
app.command("doctor")(doctor_command.doctor)
app.command("repair")(repair_command.repair)
app.add_typer(erase_commands.app, name="erase")
console = Console(highlight=False)
complaints = Console(stderr=True, highlight=False)


def _say_version(asked: bool) -> None:
    if asked:
        typer.echo(f"fanzha {shared.__version__}")
        raise typer.Exit


@app.callback()
def run(
    show_version: Annotated[
        bool, typer.Option("--version", is_eager=True, callback=_say_version, help="显示版本后退出")
    ] = False,
) -> None:
    """全民反诈活动：定义、导入、数字、证书，以及部署的日常。"""
    # In a container: addresses and tokens come from its mounted secret, as the service's own settings do (shared/settings.py).
    if secrets := os.environ.get("SECRETS_FILE"):
        try:
            os.environ.update(read_env(Path(secrets)) | dict(os.environ))
        except Ambiguous as error:
            fail(str(error))


def _moment(text: str) -> datetime | None:
    try:
        return datetime.fromisoformat(text) if text else None
    except ValueError:
        raise typer.BadParameter(f"“{text}”不是时间，请写成 2024-06-29T19:00:00+08:00") from None


@app.command()
def up(
    clock_at: Annotated[
        str, typer.Option(envvar="CLOCK_AT", help="用模拟时钟，从这一刻开始（如 2024-06-29T19:00:00+08:00）")
    ] = "",
    ports: Annotated[str, typer.Option(envvar="PORTS", help="18000 表示用 18001 到 18007；auto 表示用空闲的")] = "",
    servers_only: Annotated[
        bool, typer.Option("--servers-only", help="只启动 Postgres 和 NATS，不启动服务：恢复备份时用")
    ] = False,
) -> None:
    """启动开发环境，就绪后返回。"""
    from devstack import main as devstack

    supervisor = (sys.executable, "-m", "upkeep.servers") if servers_only else devstack.SUPERVISOR
    try:
        devstack.up(Home.from_environment(), console, ports=ports, clock_at=_moment(clock_at), supervisor=supervisor)
    except StackError as error:
        complaints.print(str(error), markup=False, soft_wrap=True)
        raise typer.Exit(1) from None


@app.command()
def down() -> None:
    """停止开发环境；数据保留。"""
    from devstack import main as devstack

    home = Home.from_environment()
    try:
        with console.status("正在停止"):
            was_running = devstack.down(home)
    except StackError as error:
        complaints.print(str(error), markup=False, soft_wrap=True)
        raise typer.Exit(1) from None
    console.print("已停止" if was_running else "本来就没有运行")


@app.command()
def demo(
    viewers: Annotated[int, typer.Option(envvar="VIEWERS", min=50, max=99_999, help="观众人数")] = 20_000,
    seed: Annotated[int, typer.Option(envvar="SEED", help="同一个种子，流量相同")] = 20_240_629,
    keep: Annotated[bool, typer.Option(envvar="KEEP", help="结束后让环境继续运行")] = False,
    ports: Annotated[str, typer.Option(envvar="PORTS", help="同 up")] = "",
) -> None:
    """在全新的开发环境里演一遍 16 天的活动，逐个核对数字。"""
    from demo import main as play

    try:
        agreed = play.demo(Home.from_environment(), console, viewers=viewers, seed=seed, keep=keep, ports=ports)
    except StackError as error:
        complaints.print(str(error), markup=False, soft_wrap=True)
        raise typer.Exit(1) from None
    if not agreed:
        raise typer.Exit(1)


@app.command()
def status() -> None:
    """哪些在运行；没有全部就绪时退出码为 1。"""
    from devstack import main as devstack

    if not devstack.status(Home.from_environment(), console):
        raise typer.Exit(1)


if __name__ == "__main__":
    app()
