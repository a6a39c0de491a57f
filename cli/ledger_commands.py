"""`fanzha outbox` and `fanzha dead-letters`: what each service still has to publish, and what it has given up on.

The commands use the services' databases: all of them in the dev stack, one inside a service's container.
"""

import asyncio
import json
import math
import os
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from contextlib import asynccontextmanager
from datetime import datetime
from functools import partial
from pathlib import Path
from typing import Annotated, Any, TypeVar
from urllib.parse import urlsplit

import typer
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn
from rich.table import Table

from cli.client import fail
from devstack.home import Home, read_env
from shared.bus import dead_letters, outbox
from shared.bus.topology import SERVICES
from shared.clock import CHINA, local_text
from shared.database import Database, DatabaseAway, Limits, Transaction

T = TypeVar("T")

outbox_app = typer.Typer(no_args_is_help=True, rich_markup_mode=None, help="发件箱：每个服务已提交、待发布的事件")
dead_letters_app = typer.Typer(no_args_is_help=True, rich_markup_mode=None, help="死信：重试也处理不了而停放的消息")

COMMAND_LIMITS = Limits(statement_s=600, transaction_s=600)  # the whole ledger of a province in one statement
REPUBLISH_WITHIN_S = 3600
REPLAY_WITHIN_S = 30
POLL_S = 0.3
LISTED_MAX = 500

OnlyService = Annotated[str | None, typer.Option("--service", help=f"只看一个服务：{'、'.join(SERVICES)}")]
AsJson = Annotated[bool, typer.Option("--json", help="输出 JSON，供脚本使用")]
WithinS = Annotated[int, typer.Option("--within-s", min=1, max=86_400, help="最多等多少秒")]


# ---- outbox ----------------------------------------------------------------------------------------------------------


@outbox_app.command("status")
def outbox_status(service: OnlyService = None, as_json: AsJson = False) -> None:
    """每个服务有多少事件待发布，最早的等了多久。"""
    depths = {name: _depth(*_in(url, outbox.pending)) for name, url in _databases(service).items()}
    if as_json:
        typer.echo(json.dumps(depths))
        return
    table = Table("服务", "待发布", "最早的等了")
    for name, depth in depths.items():
        table.add_row(name, f"{depth['pending']:,}", _age(depth))
    Console().print(table)


@outbox_app.command("republish")
def republish(service: OnlyService = None, within_s: WithinS = REPUBLISH_WITHIN_S, as_json: AsJson = False) -> None:
    """把账本里的全部事件重新发布（例如 NATS 的流丢失以后），等到发完。消费者知道自己处理过什么，不会重复计数。"""
    databases = _databases(service)
    marked = {name: _in(url, outbox.republish_all) for name, url in databases.items()}
    asyncio.run(_wait_published(databases, marked, time.monotonic() + within_s))
    if as_json:
        typer.echo(json.dumps({"republished": marked}))
        return
    for name, number in marked.items():
        typer.echo(f"{name}：已重新发布 {number:,} 个事件")


async def _wait_published(databases: dict[str, str], marked: dict[str, int], give_up_at: float) -> None:
    """Waits until the marked rows are published. Marked rows count as infinitely old, so all of them are published once the
    oldest waiting row has a finite age, however many new rows wait."""
    columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn())
    with Progress(*columns, console=Console(stderr=True), transient=True) as bar:
        for name, url in databases.items():
            task = bar.add_task(f"发布 {name}", total=marked[name])
            async with _open(url) as db:
                while True:
                    async with db.transaction() as tx:
                        depth, age_s = await outbox.pending(tx)
                    bar.update(task, completed=max(marked[name] - depth, 0))
                    if math.isfinite(age_s):
                        bar.update(task, completed=marked[name])
                        break
                    if time.monotonic() > give_up_at:
                        fail(
                            f"{name} 还有 {depth:,} 个事件没有发布。请确认 {name} 正在运行、连得上 NATS（make status 和日志）。"
                            "已标记的会继续自动发布，用 fanzha outbox status 查看"
                        )
                    await asyncio.sleep(POLL_S)


def _depth(pending: int, oldest_s: float) -> dict[str, Any]:
    """`oldest_s` is null while rows marked for republishing wait."""
    return {"pending": pending, "oldest_s": round(oldest_s, 1) if math.isfinite(oldest_s) else None}


def _age(depth: dict[str, Any]) -> str:
    if not depth["pending"]:
        return "—"
    return "正在重新发布" if depth["oldest_s"] is None else f"{depth['oldest_s']:,} 秒"


# ---- dead letters ----------------------------------------------------------------------------------------------------


@dead_letters_app.command("list")
def list_dead_letters(service: OnlyService = None, as_json: AsJson = False) -> None:
    """停放的消息和原因。"""
    letters = [
        {"service": name} | letter
        for name, url in _databases(service).items()
        for letter in _in(url, dead_letters.listed)
    ]
    if as_json:
        typer.echo(json.dumps(letters, ensure_ascii=False))
        return
    _print_held(_databases(service))
    if not letters:
        typer.echo("没有死信")
        return
    table = Table("服务", "编号", "消费者", "原因", "停放时间", "可重放")
    for letter in letters[:LISTED_MAX]:
        table.add_row(
            letter["service"],
            str(letter["id"]),
            letter["durable"],
            letter["reason"],
            local_text(datetime.fromisoformat(letter["parked_at"]), CHINA),
            "是" if letter["replayable"] else "否",
        )
    console = Console(markup=False)
    console.print(table)
    if len(letters) > LISTED_MAX:
        console.print(f"只列出前 {LISTED_MAX} 条，共 {len(letters):,} 条")
    console.print(
        "排除原因后：可重放的用 fanzha dead-letters replay；其余的请发送方重新发送（本系统的服务用 fanzha outbox republish，"
        "直播平台重发或 fanzha import），再用 fanzha dead-letters close 关闭"
    )


def _print_held(databases: dict[str, str]) -> None:
    for url in databases.values():
        for message in _in(url, dead_letters.held):
            where = f"{message['durable']} 停在第 {message['stream_seq']:,} 条消息上：{message['reason']}"
            typer.echo(f"{where}。先核对密钥和版本，改正后它自己继续；确认永远处理不了，再 fanzha dead-letters park")


@dead_letters_app.command("park")
def park_knowingly(
    durable: Annotated[str, typer.Argument(help="停住的消费者，见 list")],
    count: Annotated[int, typer.Option("--count", min=1, max=10_000, help="让它停放接下来的多少条")] = 1,
    service: OnlyService = None,
) -> None:
    """让停住的消费者把看不懂的消息停放起来，继续往下处理。先核对密钥和版本：那才是常见的原因。"""
    if not any(
        _in(url, partial(dead_letters.let_park, durable=durable, number=count)) for url in _databases(service).values()
    ):
        fail(f"{durable} 没有停住。停住的消费者见 fanzha dead-letters list")
    typer.echo(f"{durable} 下一次尝试时（最多 30 秒后）停放，最多 {count:,} 条")


@dead_letters_app.command()
def replay(
    service: OnlyService = None,
    ids: Annotated[
        list[int] | None, typer.Option("--id", help="只重放这个编号，可写多次；需要同时写 --service")
    ] = None,
    within_s: WithinS = REPLAY_WITHIN_S,
    as_json: AsJson = False,
) -> None:
    """请运行中的服务再处理一次停放的消息，并等结果。先排除原因。"""
    databases = _databases(service)
    if ids and len(databases) != 1:
        fail("编号只在一个服务里有意义。请同时写明 --service")
    outcome = {"requested": 0, "replayed": 0, "refused_again": 0, "waiting": 0, "not_replayable": 0}
    for url in databases.values():
        for key, number in asyncio.run(_replay(url, ids, time.monotonic() + within_s)).items():
            outcome[key] += number
    if as_json:
        typer.echo(json.dumps(outcome))
    else:
        typer.echo(_told(outcome))
    if outcome["refused_again"] or outcome["waiting"]:
        raise typer.Exit(1)


@dead_letters_app.command("close")
def close_dead_letters(
    why: Annotated[str, typer.Option("--reason", help="为什么可以关闭，例如“平台已重发”；请勿写姓名和手机号")],
    ids: Annotated[
        list[int] | None, typer.Option("--id", min=1, help="编号，见 list，可写多次；需要同时写 --service")
    ] = None,
    durable: Annotated[str | None, typer.Option("--durable", help="这个消费者的全部")] = None,
    parked_for: Annotated[str | None, typer.Option("--parked-for", help="原因里有这段文字的全部")] = None,
    everything: Annotated[bool, typer.Option("--all", help="全部")] = False,
    yes: Annotated[bool, typer.Option("--yes", help="不按编号时：真的关闭；不写只显示会关闭多少条")] = False,
    service: OnlyService = None,
) -> None:
    """把已用别的办法处理好的死信关闭：按编号，或按消费者、原因，或全部。记录和原因保留，不再列出，不再告警。"""
    if not why.strip():
        fail("请用 --reason 写明为什么可以关闭")
    if bool(ids) + bool(durable or parked_for) + everything != 1:
        fail("请写明关闭哪些：--id（可写多次），或 --durable、--parked-for，或 --all")
    databases = _databases(service)
    if ids and len(databases) != 1:
        fail("编号只在一个服务里有意义。请同时写明 --service")
    chosen = partial(_is_chosen, ids=ids, durable=durable, parked_for=parked_for)
    for name, url in databases.items():
        number = _in(url, partial(_close, name=name, ids=ids, chosen=chosen, why=why.strip(), dry_run=not (ids or yes)))
        typer.echo(
            f"{name}：已关闭 {number:,} 条死信" if ids or yes else f"{name}：将要关闭 {number:,} 条死信（没有动）"
        )
    if not (ids or yes):
        typer.echo("确定后加 --yes")


def _is_chosen(
    letter: Mapping[str, Any], *, ids: list[int] | None, durable: str | None, parked_for: str | None
) -> bool:
    return (
        (not ids or letter["id"] in ids)
        and durable in (None, letter["durable"])
        and (parked_for is None or parked_for in letter["reason"])
    )


async def _close(
    tx: Transaction,
    *,
    name: str,
    ids: list[int] | None,
    chosen: Callable[[Mapping[str, Any]], bool],
    why: str,
    dry_run: bool,
) -> int:
    """Closes the chosen messages unless it is a dry run, and returns their number. A message parked meanwhile stays, because
    nobody has seen it."""
    chosen_ids = [letter["id"] for letter in await dead_letters.listed(tx) if chosen(letter)]
    if unknown := sorted(set(ids or ()) - set(chosen_ids)):
        fail(f"{name} 没有编号为 {'、'.join(map(str, unknown))} 的死信，或已处理。见 fanzha dead-letters list")
    return len(chosen_ids) if dry_run else len(await dead_letters.close(tx, chosen_ids, why))


async def _replay(url: str, ids: list[int] | None, give_up_at: float) -> dict[str, int]:
    async with _open(url) as db:
        async with db.transaction() as tx:
            asked = {letter["id"] for letter in await dead_letters.listed(tx) if ids is None or letter["id"] in ids}
            if unknown := sorted(set(ids or ()) - asked):
                fail(f"没有编号为 {'、'.join(map(str, unknown))} 的死信，或已重放。见 fanzha dead-letters list")
            requested = await dead_letters.request_replay(tx, ids)
        while True:
            async with db.transaction() as tx:
                left = {letter["id"]: letter for letter in await dead_letters.listed(tx) if letter["id"] in asked}
            waiting = sum(letter["replay_requested_at"] is not None for letter in left.values())
            if not waiting or time.monotonic() > give_up_at:
                break
            await asyncio.sleep(POLL_S)
    not_replayable = len(asked) - requested
    return {
        "requested": requested,
        "replayed": len(asked) - len(left),
        "refused_again": len(left) - waiting - not_replayable,
        "waiting": waiting,
        "not_replayable": not_replayable,
    }


def _told(outcome: dict[str, int]) -> str:
    if not any(outcome.values()):
        return "没有死信"
    lines = [f"已重放 {outcome['replayed']} 条"]
    if outcome["refused_again"]:
        lines.append(f"{outcome['refused_again']} 条再次失败，原因见 fanzha dead-letters list")
    if outcome["waiting"]:
        lines.append(f"{outcome['waiting']} 条还在等服务处理：它在运行吗？恢复后会自动继续")
    if outcome["not_replayable"]:
        lines.append(
            f"{outcome['not_replayable']} 条没有保存内容，不能重放：请发送方重新发送，再用 fanzha dead-letters close 关闭"
        )
    return "\n".join(lines)


# ---- databases -------------------------------------------------------------------------------------------------------


def _databases(only: str | None) -> dict[str, str]:
    """Service → DATABASE_URL: the environment's own (in a service's container), those of `fanzha init` (in the keeper's), or
    those of the dev stack."""
    if only is not None and only not in SERVICES:
        fail(f"没有服务 {only}。可以是：{'、'.join(SERVICES)}")
    if url := os.environ.get("DATABASE_URL"):
        name = urlsplit(url).path.removeprefix("/").removeprefix("fanzha_")
        if only not in (None, name):
            fail(f"DATABASE_URL 是 {name} 的数据库。请到 {only} 的容器里运行，或去掉 --service")
        return {name: url}
    folder, home = os.environ.get("SECRETS_DIR"), Home.from_environment()
    paths = {name: Path(folder) / f"{name}.env" if folder else home.service_env(name) for name in SERVICES}
    wanted = {name: path for name, path in paths.items() if only in (None, name)}
    missing = next((path for path in wanted.values() if not path.exists()), None)
    if missing is not None:
        fail(
            f"不知道数据库在哪里：环境变量 DATABASE_URL 没有设置，{missing} 也不存在。请先运行 make up，或在服务的容器里运行"
        )
    return {name: read_env(path)["DATABASE_URL"] for name, path in wanted.items()}


@asynccontextmanager
async def _open(url: str) -> AsyncIterator[Database]:
    """Opens a database. Ends the command where it cannot be reached."""
    db = Database(url, pool_size=1, application_name="fanzha-cli", limits=COMMAND_LIMITS)
    try:
        yield db
    except DatabaseAway as error:
        where = urlsplit(url)
        fail(f"连不上数据库 {where.hostname}:{where.port}{where.path}（{error}）。请确认它在运行：make status")
    finally:
        await db.close()


def _in(url: str, work: Callable[[Transaction], Awaitable[T]]) -> T:
    """Runs `work` in one transaction of the database at `url`."""

    async def run() -> T:
        async with _open(url) as db, db.transaction() as tx:
            return await work(tx)

    return asyncio.run(run())
