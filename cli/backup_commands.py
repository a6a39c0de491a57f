"""`fanzha backup` and `fanzha restore` (docs/operations/backup.md)."""

import asyncio
import json
import os
from datetime import UTC, datetime, time
from pathlib import Path
from time import sleep
from typing import Annotated, NoReturn

import structlog
import typer
from rich.console import Console

from cli.client import fail
from shared.clock import CHINA, local_text
from upkeep.deployment import Deployment, NotFound

KEEP_DEFAULT = 14

AsJson = Annotated[bool, typer.Option("--json", help="输出 JSON，供脚本使用")]
PassphraseFile = Annotated[
    Path | None, typer.Option("--passphrase-file", envvar="BACKUP_PASSPHRASE_FILE", help="第一行是加密密钥文件的口令")
]

progress = Console(stderr=True, highlight=False, markup=False)


def _time_of_day(text: str) -> time:
    try:
        return datetime.strptime(text, "%H:%M").time()
    except ValueError:
        raise typer.BadParameter(f"“{text}”不是时刻，例如 02:30") from None


def backup(
    to: Annotated[Path | None, typer.Option("--to", help="备份目录；不写则取 BACKUP_DIR")] = None,
    keep: Annotated[int, typer.Option(min=1, max=1000, help="保留最近几份")] = KEEP_DEFAULT,
    without_secrets: Annotated[bool, typer.Option("--without-secrets", help="不含密钥（须另行保管）")] = False,
    passphrase_file: PassphraseFile = None,
    daily_at: Annotated[
        time | None,
        typer.Option("--daily-at", metavar="HH:MM", parser=_time_of_day, help="不退出，每天在这个时刻（北京时间）备份"),
    ] = None,
    as_json: AsJson = False,
) -> None:
    """备份四个数据库、活动定义、密钥和 .env。服务照常运行；完成之前不会留下半份备份。"""
    from upkeep import backup as keeping

    if daily_at is not None:
        _daily(daily_at, to, keep, not without_secrets, passphrase_file)
    deployment = this_deployment()
    work = keeping.take(
        deployment,
        (to or deployment.backups).resolve(),
        keep=keep,
        with_secrets=not without_secrets,
        passphrase=_passphrase(passphrase_file),
        tell=progress.print,
    )
    try:
        path, manifest = asyncio.run(work)
    except (keeping.BackupFailed, OSError) as error:
        fail(f"备份没有完成，什么也没有留下：{error}")
    except Exception as error:
        fail(f"备份没有完成，什么也没有留下：{type(error).__name__}：{error}。请用 fanzha doctor 查看数据库是否正常")
    if as_json:
        answer = {"backup": str(path), "rows": manifest.rows, "campaigns": manifest.campaigns}
        answer |= {"secrets": bool(manifest.secrets), "encrypted": manifest.secrets_encrypted}
        typer.echo(json.dumps(answer | {"env": bool(manifest.env)}))
        return
    typer.echo(f"{path}：{manifest.rows:,} 行，{len(manifest.campaigns)} 个活动")
    typer.echo(_about_secrets(len(manifest.secrets), manifest.secrets_encrypted))


def restore(
    path: Annotated[Path, typer.Argument(metavar="BACKUP", help="备份，如 /backups/fanzha-20240701T020000Z")],
    wipe: Annotated[bool, typer.Option("--wipe", help="清空已有数据，换成备份")] = False,
    verify_only: Annotated[bool, typer.Option("--verify", help="只检查备份是否完好")] = False,
    secrets_only: Annotated[
        bool, typer.Option("--secrets-only", help="只取回密钥文件和 .env（新机器的第一步）")
    ] = False,
    secrets_to: Annotated[
        Path | None, typer.Option("--secrets-to", help="密钥文件写到这个目录，.env 写在它旁边，而不是原处")
    ] = None,
    replace_env: Annotated[
        bool, typer.Option("--replace-env", help="与 --secrets-only 同用：已有的 .env 也换成备份里的")
    ] = False,
    other_keys: Annotated[
        bool, typer.Option("--other-keys", help="密钥不同也恢复：姓名、手机号、证书将读不出")
    ] = False,
    passphrase_file: PassphraseFile = None,
    as_json: AsJson = False,
) -> None:
    """恢复备份。先停止各服务。

    只留 Postgres 和 NATS；恢复后启动服务，再运行 fanzha outbox republish。
    """
    from upkeep import dump, keys, manifest
    from upkeep import restore as keeping

    try:
        if secrets_only:
            written = keeping.restore_secrets(path, secrets_to, _passphrase(passphrase_file))
            env = keeping.restore_env(path, secrets_to, replace=replace_env)
            typer.echo("\n".join(["已取回密钥：", *map(str, written), _about_env(env)]))
            return
        if verify_only:
            description = manifest.read(path)
        else:
            work = keeping.restore(this_deployment(), path, wipe=wipe, other_keys=other_keys, tell=progress.print)
            description = asyncio.run(work)
    except keys.WrongPassphrase:
        fail("口令不对，打不开备份里的密钥")
    except (manifest.Damaged, dump.CannotRestore) as error:
        fail(str(error))
    except Exception as error:
        fail(
            f"恢复没有完成：{type(error).__name__}：{error}。每个数据库要么已全部恢复，要么没有改动；排除原因后重新运行"
        )
    if as_json:
        typer.echo(json.dumps({"backup": str(path), "rows": description.rows, "restored": not verify_only}))
    elif verify_only:
        typer.echo(f"备份完好：{description.rows:,} 行，{local_text(description.finished_at, CHINA)} 完成")
    else:
        typer.echo(
            f"已恢复 {description.rows:,} 行。下一步：启动各服务，然后运行 fanzha outbox republish，等它报告发完"
        )


def _daily(at: time, to: Path | None, keep: int, with_secrets: bool, passphrase_file: Path | None) -> NoReturn:
    """Takes a backup every day and logs as services do. It reads all settings anew each time: a password may have been
    changed."""
    from shared.service.logging import configure_logging
    from upkeep import backup as keeping
    from upkeep import daily, keys

    configure_logging("daily-backup", os.environ.get("LOG_LEVEL", "INFO"))
    log = structlog.get_logger()

    def take() -> None:
        deployment = Deployment.from_environment()
        passphrase = keys.read_passphrase(passphrase_file) if passphrase_file else None
        folder = (to or deployment.backups).resolve()
        work = keeping.take(
            deployment, folder, keep=keep, with_secrets=with_secrets, passphrase=passphrase, tell=log.info
        )
        asyncio.run(work)

    folder = (to or this_deployment().backups).resolve()
    daily.keep_going(folder, at, take, now=lambda: datetime.now(UTC), sleep=sleep)


def this_deployment() -> Deployment:
    try:
        return Deployment.from_environment()
    except NotFound as error:
        fail(str(error))


def _passphrase(path: Path | None) -> str | None:
    from upkeep import keys

    if path is None:
        return None
    try:
        return keys.read_passphrase(path)
    except (OSError, ValueError) as error:
        fail(f"口令文件不能用：{error}")


def _about_env(restored: tuple[Path, bool] | None) -> str:
    if restored is None:
        return "备份里没有 .env"
    path, written = restored
    if written:
        return f"已取回 {path}。请核对本机的地址、端口和 POSTGRES_CPUS"
    return f"{path} 已存在，没有改动。要换成备份里的，先移走密钥，再加 --replace-env；或直接复制备份里的文件 env"


def _about_secrets(secrets: int, encrypted: bool) -> str:
    if not secrets:
        return "不含密钥：没有密钥，姓名、手机号和证书都读不出来。请另行保管密钥文件"
    if encrypted:
        return f"含 {secrets} 个密钥文件，已用口令加密。口令请与备份分开保管"
    return (
        f"含 {secrets} 个密钥文件，没有加密：谁拿到这份备份，谁就能读全部数据。请限制访问，或用 --passphrase-file 加密"
    )
