"""`fanzha erase`: forgets a viewer, somebody of the office, a unit's liaison, or everybody's names and phones of a campaign;
shows first, does it with `--yes`."""

import asyncio
import json
from collections.abc import Coroutine
from datetime import datetime
from pathlib import Path
from typing import Annotated, Any, TypeVar

import typer
from rich.console import Console
from rich.table import Table

from cli.backup_commands import this_deployment
from cli.client import fail
from cli.failures import way_reason, with_details
from shared.clock import CHINA, local_text
from upkeep.deployment import Deployment

T = TypeVar("T")

app = typer.Typer(
    no_args_is_help=True,
    rich_markup_mode=None,
    help="删除个人信息：一个人、一个单位的联络员、一个活动；到期自动删除的记录",
)

LOOK_FIRST = "fanzha doctor 会说是哪一部分；恢复以后再运行一次"
AFTERWARDS = f"已经删除的不会恢复，其余的还在：{LOOK_FIRST}，重复运行没有害处"
ACTOR_MAX_CHARS = 100
LOG_MAX = 100
TABLES = {
    "viewer": "签到账号",
    "enrolment": "报名",
    "live_room_action": "直播间互动",
    "uncounted": "未计入的事件",
    "make_good": "补记名单",
    "viewer_link_given": "打开个人页面的记录",
    "ledger": "账本里的事件",
    "certificate": "证书",
    "certificate_holder": "证书持有人",
    "completion": "结课",
    "contact": "姓名、手机号",
    "rendered": "证书 PDF 和图片",
    "viewer_move": "单位变更",
    "liaison": "联络员",
    "liaison_change": "联络员变更的原因",
    "liaison_code": "码条",
    "device": "联络员的手机",
    "liaison_contact": "联络员的姓名、电话",
    "liaison_reveal": "显示号码的原因",
    "picture": "上报的图片",
    "notification": "短信记录",
    "person": "办公人员",
    "person_change": "办公人员的变更记录",
    "session": "登录",
    "authenticator": "验证器",
    "recovery_code": "备用码",
    "campaign_revision": "活动定义的修改记录",
    "platform_count": "平台统计数的记录",
    "report": "报表",
    "obligation_change": "报表的处理记录",
    "cancelled": "取消未发的短信",
    "campaign_key": "活动密钥",
    "backup_key": "备份里的活动密钥",
    "deployment_key": "其中不受活动密钥保护的",
}

Yes = Annotated[bool, typer.Option("--yes", help="真的删除；不写只显示会删什么")]
Actor = Annotated[str, typer.Option("--by", help="谁要求、谁执行，写入记录，如“王工，工单 12”")]
AsJson = Annotated[bool, typer.Option("--json", help="输出 JSON，供脚本使用")]


@app.command()
def viewer(
    campaign_id: Annotated[str, typer.Argument(metavar="CAMPAIGN", help="活动 ID")],
    viewer_id: Annotated[str, typer.Argument(metavar="VIEWER", help="平台账号")],
    by: Actor = "",
    yes: Yes = False,
    rebuild_stream: Annotated[bool, typer.Option("--rebuild-stream", help="同时重建事件流（要重新发布账本）")] = False,
    as_json: AsJson = False,
) -> None:
    """忘记一个人：姓名、手机号删除，账号换成无法还原的代号。各项总数不变。"""
    from upkeep import forget

    _check_actor(by, yes)
    counts = _run(forget.viewer(this_deployment(), campaign_id, viewer_id, by, dry_run=not yes), deletes=yes)
    _tell(counts, yes, as_json)
    if yes:
        _empty_live()
    if yes and rebuild_stream:
        _rebuild()
    elif yes and not as_json:
        typer.echo(
            "事件流里的旧消息最多保留 60 天；要立即消除，加 --rebuild-stream。备份里的，见 docs/operations/erasure.md"
        )


@app.command()
def person(
    campaign_id: Annotated[str, typer.Argument(metavar="CAMPAIGN", help="活动 ID")],
    name: Annotated[str, typer.Argument(metavar="NAME", help="姓名或岗位，与 fanzha person list 一致")],
    by: Actor = "",
    yes: Yes = False,
    as_json: AsJson = False,
) -> None:
    """忘记一个办公人员：姓名、口令删除，不能再登录；操作记录里换成他的编号。"""
    from upkeep import forget

    _check_actor(by, yes)
    counts = _run(forget.person(this_deployment(), campaign_id, name, by, dry_run=not yes))
    _tell(counts, yes, as_json)
    if yes and not as_json:
        typer.echo("他的令牌（如有）要等到期。备份里的，见 docs/operations/erasure.md")


@app.command()
def liaison(
    campaign_id: Annotated[str, typer.Argument(metavar="CAMPAIGN", help="活动 ID")],
    unit_code: Annotated[str, typer.Argument(metavar="UNIT", help="单位代码")],
    by: Actor = "",
    yes: Yes = False,
    rebuild_stream: Annotated[bool, typer.Option("--rebuild-stream", help="同时重建事件流（要重新发布账本）")] = False,
    as_json: AsJson = False,
) -> None:
    """忘记一个单位的联络员、副联络员、分管领导：姓名、电话删除，码条作废，手机退出。上报的数字不变。"""
    from upkeep import forget

    _check_actor(by, yes)
    counts = _run(forget.liaison(this_deployment(), campaign_id, unit_code, by, dry_run=not yes))
    _tell(counts, yes, as_json)
    if yes and rebuild_stream:
        _rebuild()
    elif yes and not as_json:
        typer.echo(
            "事件流里的旧消息（加密的）最多保留 60 天；要立即消除，加 --rebuild-stream。备份里的，见 docs/operations/erasure.md"
        )


@app.command()
def campaign(
    campaign_id: Annotated[str, typer.Argument(metavar="CAMPAIGN", help="活动 ID")],
    by: Actor = "",
    yes: Yes = False,
    destroy_keys: Annotated[
        bool,
        typer.Option(
            "--destroy-keys", help="同时销毁这个活动的密钥：以前的备份里也再读不出。此后报名的姓名、手机号不再保存"
        ),
    ] = False,
    backups: Annotated[
        list[Path] | None,
        typer.Option("--backups", help="备份目录，可写多次；不写则取 BACKUP_DIR。与 --destroy-keys 同用"),
    ] = None,
    as_json: AsJson = False,
) -> None:
    """忘记一个活动里所有人的姓名、手机号、领取码，并重建事件流。签到、证书和总数不变。"""
    from upkeep import forget

    _check_actor(by, yes)
    deployment = this_deployment()
    if destroy_keys:
        folders = _backup_folders(deployment, backups)
        counts = _run(forget.with_keys(deployment, campaign_id, by, folders, dry_run=not yes), deletes=yes)
    else:
        counts = _run(forget.people(deployment, campaign_id, by, dry_run=not yes), deletes=yes)
    _tell(counts, yes, as_json)
    if yes:
        _empty_live()
        _rebuild()
        if not as_json:
            typer.echo(_about_backups(counts, destroy_keys))


@app.command()
def due(
    at: Annotated[str, typer.Option("--at", help="到哪一刻为止（RFC 3339）；不写是现在（模拟时钟则以它为准）")] = "",
    as_json: AsJson = False,
) -> None:
    """到期自动删除：到那一刻，各服务会删除多少人的姓名、手机号。"""
    from upkeep import forget

    deployment = this_deployment()
    moment = _moment(at) if at else _now(deployment)
    counts = _run(forget.due(deployment, moment))
    if as_json:
        typer.echo(json.dumps(counts))
        return
    for service, number in counts.items():
        typer.echo(
            f"{service}：{number:,} 人（活动还没有结束的，会顺延到结束后 180 天）" if number else f"{service}：没有"
        )


@app.command("log")
def show_log(as_json: AsJson = False) -> None:
    """删除记录：谁、何时、删了多少。记录里没有个人信息。"""
    from upkeep import forget

    rows = _run(forget.log(this_deployment(), LOG_MAX))
    if as_json:
        typer.echo(json.dumps(rows, ensure_ascii=False))
        return
    table = Table("时间", "服务", "种类", "活动", "执行人", "数量")
    kinds = {
        "viewer": "一个人",
        "person": "办公人员",
        "liaison": "一个单位的联络员",
        "campaign": "整个活动",
        "retention": "到期",
    }
    for row in rows:
        table.add_row(
            local_text(datetime.fromisoformat(row["erased_at"]), CHINA),
            row["service"],
            kinds.get(row["kind"], row["kind"]),
            row["campaign_id"] or "—",
            row["actor"],
            _counted(row["counts"]),
        )
    Console(markup=False).print(table)


def _moment(text: str) -> datetime:
    try:
        moment = datetime.fromisoformat(text)
    except ValueError:
        fail(f"--at “{text}”不是时间，例如 2025-01-01T00:00:00+08:00")
    if moment.tzinfo is None:
        fail("--at 要写时区，例如 2025-01-01T00:00:00+08:00")
    return moment


def _now(deployment: Deployment) -> datetime:
    try:
        return deployment.now()
    except (OSError, ValueError) as error:
        fail(with_details("模拟时钟读不了。请用 --at 写明时刻", error))


def _backup_folders(deployment: Deployment, named: list[Path] | None) -> list[Path]:
    if lacking := [str(folder) for folder in named or [] if not folder.is_dir()]:
        fail(f"没有目录 {'、'.join(lacking)}")
    return [folder.resolve() for folder in named or [deployment.backups] if folder.is_dir()]


def _about_backups(counts: dict[str, dict[str, int]], destroyed: bool) -> str:
    replace = "运行 fanzha backup --keep 1 换成新的，并销毁异地副本"
    if not destroyed:
        return f"备份里还有：{replace}"
    if number := sum(tables.get("deployment_key", 0) for tables in counts.values()):
        return f"{number:,} 项不受活动密钥保护（早于活动密钥），以前的备份里还能读出：{replace}"
    return "以前的备份里也读不出了。异地副本里若有 keys/，在那里删掉 keys/，或用 --backups 指明目录再运行一次"


def _check_actor(by: str, yes: bool) -> None:
    if yes and (not by.strip() or len(by) > ACTOR_MAX_CHARS or not by.isprintable()):
        fail(f"删除要写明 --by 谁要求、谁执行（最多 {ACTOR_MAX_CHARS} 个字符），记录里会保留")


def _tell(counts: dict[str, dict[str, int]], done: bool, as_json: bool) -> None:
    if as_json:
        typer.echo(json.dumps({"done": done, "counts": counts}))
        return
    if not any(number for tables in counts.values() for number in tables.values()):
        typer.echo("没有找到要删除的内容")
        return
    typer.echo("已删除：" if done else "将要删除（没有动）：")
    for service, tables in counts.items():
        typer.echo(f"  {service}：{_counted(tables)}")
    if not done:
        typer.echo("确定后加 --yes --by 执行人。删除不能撤销")


def _counted(counts: dict[str, int]) -> str:
    return "，".join(f"{TABLES.get(table, table)} {number:,}" for table, number in counts.items() if number) or "没有"


def _empty_live() -> None:
    from upkeep import forget

    if left := _run(forget.empty_live(this_deployment()), deletes=True):
        typer.echo(f"直播平台发来的消息还有 {left:,} 条没有处理，里面可能有他：等 checkin 处理完，再运行一次", err=True)


def _rebuild() -> None:
    from upkeep import forget

    marked = _run(forget.rebuild_stream(this_deployment()), deletes=True)
    typer.echo(f"事件流已重建，{marked:,} 个事件正在重新发布：fanzha outbox status", err=True)


def _run(work: Coroutine[Any, Any, T], deletes: bool = False) -> T:
    """`deletes`: it takes something away, so that a failure may leave it half done."""
    import asyncpg

    from shared.database import DatabaseAway
    from shared.people.erasure import CannotForget
    from upkeep.backup import BackupFailed
    from upkeep.manifest import Damaged

    try:
        return asyncio.run(work)
    except (CannotForget, BackupFailed, Damaged) as error:
        fail(str(error))
    except (OSError, asyncpg.PostgresError, asyncpg.InterfaceError, asyncpg.InternalClientError, DatabaseAway) as error:
        fail(with_details(f"{_not_finished(error, deletes)}。{AFTERWARDS if deletes else LOOK_FIRST}", error))


def _not_finished(error: Exception, deletes: bool) -> str:
    import asyncpg

    outcome = "没有删完" if deletes else "没有查成，什么也没有改"
    refused = asyncpg.InvalidAuthorizationSpecificationError  # a wrong password, too
    return f"{outcome}：数据库{'不让登录' if isinstance(error, refused) else way_reason(error)}"
