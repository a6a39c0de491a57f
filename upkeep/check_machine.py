"""This machine and its settings: secrets that others can read, settings that are only for a dev stack, disk, the last backup."""

import base64
import binascii
import json
import shutil
import stat
import sys
from collections.abc import Iterator, Mapping
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any
from urllib.parse import unquote, urlsplit

from shared.os_errors import os_reason
from upkeep import backup_names, missing
from upkeep.deployment import MEND_SECRETS, Deployment
from upkeep.findings import Finding, ok, problem, warning
from upkeep.secret_files import FANZHA

DISK_FREE_MIN = 0.10
DISK_FREE_MIN_BYTES = 5 * 1024**3
WEBHOOK_SECRET_MIN_BYTES = 24  # Standard Webhooks: 24 to 64
PASSWORD_MIN_CHARS = 16
COMMON_PASSWORDS = {"postgres", "password", "changeme", "fanzha", "admin", "secret", "123456"}
PYTHON_MIN = (3, 11)


async def check(deployment: Deployment) -> list[Finding]:
    now = datetime.now(UTC)
    return [
        *judge_python(sys.version_info[:2]),
        *judge_files(deployment.secret_files),
        *judge_missing(deployment.secrets_folder),
        *(
            finding
            for service, values in deployment.environments.items()
            for finding in judge_environment(service, values)
        ),
        *(judge_disk(folder, shutil.disk_usage(folder)) for folder in deployment.data_folders if folder.exists()),
        *judge_backups(deployment.backups, now),
    ]


def judge_python(version: tuple[int, ...]) -> Iterator[Finding]:
    text = f"Python {'.'.join(map(str, version))}"
    if version < PYTHON_MIN:
        yield problem("version", "本机", f"{text}，需要 3.11 或更新", "升级 Python")
    else:
        yield ok("version", "本机", text)


def judge_files(paths: tuple[Path, ...]) -> Iterator[Finding]:
    """A file that others may read is safe in a folder that others may not enter (`fanzha init` without root)."""
    for path in paths:
        try:
            file, parent = path.stat(), path.parent.stat()
        except OSError as error:
            yield problem(
                "secret_files",
                path.name,
                f"密钥文件读不到：{os_reason(error)}",
                f"恢复 {path}：fanzha restore --secrets-only",
            )
            continue
        mode, folder = stat.S_IMODE(file.st_mode), stat.S_IMODE(parent.st_mode)
        strangers = 0o007 if file.st_gid == parent.st_gid == FANZHA else 0o077  # our group: for the daily backup
        if mode & 0o022 or (mode & strangers and folder & strangers):
            text = f"密钥文件别人也能读（{mode:04o}，目录 {folder:04o}）"
            yield problem("secret_files", path.name, text, f"chmod 600 {path}；读过它的人可能已经拿到密钥，考虑更换")
        else:
            yield ok("secret_files", path.name, f"权限 {mode:04o}")


def judge_missing(folder: Path | None) -> Iterator[Finding]:
    for name in missing.missing(missing.read(folder)) if folder else ():
        yield problem("secrets", name, "这个版本需要它，secrets 里没有", MEND_SECRETS)


def judge_environment(service: str, values: Mapping[str, str]) -> Iterator[Finding]:
    """Settings that a dev stack may have and a deployment must not."""
    if values.get("ENVIRONMENT") == "production" and values.get("CLOCK_FILE"):
        yield problem("settings", service, "正式环境设了模拟时钟，服务会拒绝启动", "去掉 CLOCK_FILE")
    for key in ("DATABASE_URL", "NATS_URL", "MIGRATION_DATABASE_URL"):
        password = unquote(urlsplit(values.get(key, "")).password or "")
        if key in values and (len(password) < PASSWORD_MIN_CHARS or password.lower() in COMMON_PASSWORDS):
            yield problem(
                "settings", service, f"{key} 的口令太短或太常见", f"换成至少 {PASSWORD_MIN_CHARS} 位的随机口令"
            )
    yield from _webhook_secrets(service, values.get("WEBHOOK_SOURCES", "{}"))
    if values.get("ENVIRONMENT") == "production" and "PUBLIC_URL" in values:
        yield from _public_url(service, values["PUBLIC_URL"])


def _public_url(service: str, url: str) -> Iterator[Finding]:
    key = f"{service.upper()}_PUBLIC_URL"
    if urlsplit(url).hostname in ("127.0.0.1", "localhost"):
        text = f"对外地址是 {url}：证书上的二维码和个人页链接指向本机，别人的手机打不开"
        yield problem("settings", service, text, f".env 里 {key} 改成 https://域名；已发的证书不会变")
    elif not url.startswith("https://"):
        yield problem("settings", service, f"对外地址没有加密：{url}", f"经 TLS 代理，.env 里 {key} 改成 https://域名")
    elif "://" in url.removeprefix("https://") or url.endswith("/"):
        yield problem("settings", service, f"对外地址写错了：{url}", f".env 里 {key} 改成 https://域名，结尾不带斜杠")


def _webhook_secrets(service: str, sources: str) -> Iterator[Finding]:
    for name, source in json.loads(sources).items():
        if any(_secret_bytes(source, secret) < WEBHOOK_SECRET_MIN_BYTES for secret in source.get("secrets", [])):
            text = f"推送来源 {name} 的签名密钥不足 {WEBHOOK_SECRET_MIN_BYTES} 字节，可能被猜出"
            yield problem("settings", service, text, "换一个随机密钥，并告诉直播平台；新旧可以并用一段时间")


def _secret_bytes(source: Mapping[str, Any], secret: str) -> int:
    if source.get("verifier") != "standard":
        return len(secret.encode())
    try:
        return len(base64.b64decode(secret.removeprefix("whsec_"), validate=True))
    except binascii.Error:
        return 0


def judge_disk(folder: Path, usage: Any) -> Finding:
    free = f"{folder} 所在磁盘剩 {usage.free / 1024**3:.1f} GiB（{usage.free / usage.total:.0%}）"
    if usage.free < DISK_FREE_MIN_BYTES or usage.free / usage.total < DISK_FREE_MIN:
        return problem("disk", str(folder), free, "清理或扩容：满了以后签到写不进数据库，NATS 要重启才恢复")
    return ok("disk", str(folder), free)


def judge_backups(folder: Path, now: datetime) -> Iterator[Finding]:
    """Judges the age of the newest backup. One that a wrong clock named is passed over: it must not hide that all others are too
    old."""
    for odd in backup_names.of_the_future(folder, now) if folder.is_dir() else []:
        yield warning(
            "backup_clock",
            odd.name,
            "备份的时间在未来：做它的时候时钟不对，或者现在的时钟不对",
            "核对时钟（timedatectl）；时钟没错就给它改名，或移走。它不计入保留份数，也不会自动删除",
        )
    yield _age_of_the_newest(folder, now)


def _age_of_the_newest(folder: Path, now: datetime) -> Finding:
    taken = backup_names.of_known_age(folder, now) if folder.is_dir() else []
    if not taken:
        return warning(
            "backup", str(folder), "没有备份", "fanzha backup，并打开每天的备份（docs/operations/backup.md）"
        )
    age = max(now - backup_names.taken_at(taken[-1]), timedelta(0))
    hours = age.total_seconds() / 3600
    if age > backup_names.AGE_MAX:
        return problem(
            "backup",
            str(folder),
            f"最近的备份是 {hours:,.0f} 小时前",
            "看每天的备份为什么没有成功（docker compose logs daily-backup）；现在先 fanzha backup",
        )
    return ok("backup", str(folder), f"最近的备份是 {hours:.1f} 小时前，共 {len(taken)} 份")
