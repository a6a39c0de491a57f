"""`fanzha init`: writes `.env` and the secret files of a deployment, once. Then `docker compose up -d` is the only command.

With `--add-missing` it adds to an existing deployment what a newer version needs (upkeep/missing.py).
"""

import os
import re
import stat
from pathlib import Path
from typing import Annotated

import typer

from cli.client import fail
from devstack.home import write_whole
from shared.env_files import Ambiguous
from upkeep import missing, secret_files
from upkeep.secret_files import DeploymentSecrets

POSTGRES_MAX_CPUS = 4
ENV_MODE = 0o600
RESTORE = "fanzha restore 备份 --secrets-only（docs/operations/backup.md）"


def init(
    directory: Annotated[
        Path, typer.Option(help="部署目录：docker-compose.yml 所在的目录", file_okay=False, exists=True, writable=True)
    ] = Path("."),
    domain: Annotated[str, typer.Option(help="对外域名，例如 fanzha.example.gov.cn；不写则只在本机访问")] = "",
    add_missing: Annotated[
        bool, typer.Option("--add-missing", help="已有的部署：只添加新版本需要而没有的文件和变量，已有的不动")
    ] = False,
) -> None:
    """生成部署所需的 .env 和 secrets/（密钥、口令、证书）。已有的文件绝不覆盖。"""
    env, folder = directory / ".env", directory / "secrets"
    if add_missing:
        _add_missing(directory, env, folder, domain)
        return
    if kept := [str(path) for path in (env, folder) if path.exists()]:
        fail(
            f"{'、'.join(kept)} 已存在，没有改动任何文件。里面的密钥丢了，就读不出已存的姓名和电话、"
            "验不了已发的证书，所以绝不覆盖。升级后只添加缺少的：fanzha init --add-missing。"
            "确实要重新开始：先备份，再把它们移走"
        )
    secret_files.write_all(folder, secret_files.secret_files(DeploymentSecrets(), domain or "localhost"))
    write_whole(env, env_text(domain), ENV_MODE)
    secret_files.give_to_owner_of(directory, env, folder)
    typer.echo(next_steps(directory, domain))


# ---- an existing deployment, a newer version -------------------------------------------------------------------------


def _add_missing(directory: Path, env: Path, folder: Path, domain: str) -> None:
    """All is worked out before anything is written. Values are never shown, not even new ones."""
    if not folder.is_dir():
        fail(f"{folder} 不存在。新的部署：fanzha init；密钥丢了：{RESTORE}")
    try:
        kept = env.read_text() if env.exists() else ""
        domain = domain or _domain_of(kept)
        added = missing.additions(missing.read(folder), domain or "localhost")
    except OSError as error:
        fail(
            f"读不了 {error.filename}（{error.strerror}），没有改动任何文件。请用 root 运行（docs/operations/upgrade.md）"
        )
    except missing.Lost as error:
        fail(
            f"{folder} 里没有 {error}，没有改动任何文件。它不是新版本才有的，是丢了：换一个新的，就读不出已存的姓名和电话、"
            f"验不了已发的证书，或与别处不符。请从备份取回：{RESTORE}"
        )
    except Ambiguous as error:
        fail(f"{folder} 里有一行读不准，没有改动任何文件：{error}")
    except ValueError as error:
        fail(f"{folder} 里有文件读不懂（{type(error).__name__}），没有改动任何文件。请与备份核对")
    lines, keys = env_additions(kept, env_text(domain))
    for addition in added:
        secret_files.write(folder / addition.file, addition.text)
    if keys:
        _append_to_env(directory, env, kept, lines)
    told = [f"  {folder / addition.name}" for addition in added]
    told += [f"  {env}{'' if kept else '（新文件，请核对）'}：{'、'.join(keys)}"] if keys else []
    if not told:
        typer.echo("什么也不缺，没有改动")
        return
    copy = "  抄一份 secrets/ 存到别处，" if added else "  "
    typer.echo("\n".join(["已添加（原有的都没有动）：", *told, "接下来：", f"{copy}再 docker compose up -d"]))


def env_additions(kept: str, template: str) -> tuple[str, list[str]]:
    """The lines of `template`, with the comments above them, whose keys `kept` lacks; and those keys. Where there is a
    `.env`, it says which project this is and which parts run, also by saying nothing."""
    lines, keys, comments = "", [], ""
    for line in template.splitlines(keepends=True):
        if line.startswith("#"):
            comments += line
            continue
        for key in missing.keys_of(line) - missing.keys_of(kept):
            if not (kept and key.startswith("COMPOSE_")):
                lines += comments + line
                keys.append(key)
        comments = ""
    return lines, keys


def _append_to_env(directory: Path, env: Path, kept: str, lines: str) -> None:
    was = env.stat() if kept else None
    write_whole(env, missing.appended(kept, lines), ENV_MODE)
    if was is None:
        secret_files.give_to_owner_of(directory, env)
        return
    env.chmod(stat.S_IMODE(was.st_mode))
    if os.geteuid() == 0:
        os.chown(env, was.st_uid, was.st_gid)


def _domain_of(env: str) -> str:
    """What `--domain` was, as far as `.env` tells."""
    found = re.search(r"^(?:CHECKIN|CERTIFICATE)_PUBLIC_URL=['\"]?https://([\w.-]+)", env, re.MULTILINE)
    return found[1] if found else ""


# ---- what it says ----------------------------------------------------------------------------------------------------


def env_text(domain: str) -> str:
    """`.env`: what an operator may change. Nothing secret stands here."""
    public, profiles = (f"https://{domain}", "monitoring,proxy") if domain else ("", "monitoring")
    return f"""\
# fanzha init 生成。这里没有密钥（密钥在 secrets/）；改完运行 docker compose up -d 生效。
COMPOSE_PROJECT_NAME=fanzha
# production：证书有效、拒绝模拟时钟；dev：证书上印“演示样证”
ENVIRONMENT=production
# 可选部分：monitoring（Prometheus、Alertmanager、Grafana、exporter），proxy（TLS 反向代理），backup（每天的备份）
COMPOSE_PROFILES={profiles}

# 观众和平台看到的地址，结尾不带斜杠：写进证书二维码和个人页链接
CHECKIN_PUBLIC_URL={public or "http://127.0.0.1:8001"}
CERTIFICATE_PUBLIC_URL={public or "http://127.0.0.1:8004"}

# 所有端口默认只在本机。要让别的机器访问，只改代理的两个地址
PUBLIC_ADDRESS=127.0.0.1
OFFICE_ADDRESS=127.0.0.1
PUBLIC_PORT=443
OFFICE_PORTS=8441-8445
# 多开实例时（docker compose up -d --scale checkin=3），端口要写成范围，例如 CHECKIN_PORT=8101-8109
CHECKIN_PORT=8001
REPORTING_PORT=8002
NOTIFICATION_PORT=8003
CERTIFICATE_PORT=8004

# 数据库最多用几个核（不能多于本机）、多少内存
POSTGRES_CPUS={min(os.cpu_count() or 1, POSTGRES_MAX_CPUS)}.0
POSTGRES_MEMORY=2g

# 每天几点备份（北京时间）、保留几份；COMPOSE_PROFILES 里加上 backup 才会定时备份（docs/operations/backup.md）
BACKUP_AT=02:30
BACKUP_KEEP=14
"""


def next_steps(directory: Path, domain: str) -> str:
    tls = "现在的自签证书只够试用" if domain else "TLS 代理没有启用（--domain）；启用时"
    return f"""\
已写好 {directory / ".env"} 和 {directory / "secrets"}/。
{_ownership_note()}
接下来：
  1. 抄一份 secrets/ 存到别处。密钥丢失，已存的姓名电话无法读出，已发的证书无法再验证。
  2. 启动：docker compose up -d        查看：docker compose ps
  3. 导入活动：docker compose run --rm fanzha campaign apply campaigns/jinshan-2024.yaml
     检查：docker compose run --rm keeper doctor        备份：docker compose run --rm keeper backup
     每天自动备份：.env 的 COMPOSE_PROFILES 加上 backup
  4. 把推送地址和签名密钥交给直播平台：secrets/operator.env 里的 WEBHOOK_SECRET
  5. Grafana：http://127.0.0.1:3000 ，用户 admin，口令在 secrets/grafana_admin
  6. {tls}：换成正式的 secrets/tls_certificate.pem 和 tls_key.pem，
     再 docker compose up -d --force-recreate public-proxy office-proxy"""


def _ownership_note() -> str:
    if os.geteuid() == 0:
        return "每个文件归读它的容器用户所有，权限 0400；目录 0700。"
    return "不是 root，不能把文件交给容器用户：文件 0444，但目录 0700，其他用户进不来。用 root 运行 fanzha init 可得 0400。"
