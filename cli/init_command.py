"""`fanzha init`: writes `.env` and the secret files of a deployment, once. Then `docker compose up -d` is the only command.

With `--add-missing` it adds to an existing deployment what a newer version needs (upkeep/missing.py).
"""

import os
import re
import stat
from pathlib import Path
from typing import Annotated, get_args

import typer

from cli import public_address
from cli.client import fail
from cli.init_texts import env_text, next_steps
from cli.public_address import PublicAddress
from devstack.home import write_whole
from devstack.secrets import STANDARD, Verifier, WebhookSource
from shared.contracts.base import ID_PATTERN
from shared.env_files import Ambiguous
from shared.os_errors import os_reason
from upkeep import missing, secret_files
from upkeep.secret_files import DeploymentSecrets
from upkeep.sizing import VIEWERS_DEFAULT, VIEWERS_MAX, Sizes, sizes

ENV_MODE = 0o600
NOT_BY_WEBHOOK = ("bus", "import")
RESTORE = "fanzha restore 备份 --secrets-only（docs/operations/backup.md）"


def init(
    directory: Annotated[
        Path, typer.Option(help="部署目录：docker-compose.yml 所在的目录", file_okay=False, exists=True, writable=True)
    ] = Path("."),
    domain: Annotated[str, typer.Option(help="对外域名，例如 fanzha.example.gov.cn；不写则只在本机访问")] = "",
    viewers: Annotated[
        int, typer.Option(min=1, max=VIEWERS_MAX, help="预计多少名观众，决定数据库内存和事件流大小；7 百万写 7000000")
    ] = VIEWERS_DEFAULT,
    source: Annotated[
        list[str] | None,
        typer.Option(
            metavar="名字[=验签]",
            help="多加一个推送来源，一个平台一个，可以写几次，如 --source douyin=douyin；"
            "验签 standard（不写就是它）、kuaishou、douyin。来源 standard 总是有",
        ),
    ] = None,
    add_missing: Annotated[
        bool, typer.Option("--add-missing", help="已有的部署：只添加新版本需要而没有的文件和变量，已有的不动")
    ] = False,
) -> None:
    """生成部署所需的 .env 和 secrets/（密钥、口令、证书）。已有的文件绝不覆盖。"""
    env, folder = directory / ".env", directory / "secrets"
    public, needs, verifiers = _public(domain), sizes(viewers), _verifiers(source or [])
    if add_missing:
        _add_missing(directory, env, folder, public, needs, verifiers)
        return
    if kept := [str(path) for path in (env, folder) if path.exists()]:
        fail(
            f"{'、'.join(kept)} 已存在，没有改动任何文件。里面的密钥丢了，就读不出已存的姓名和电话、"
            "验不了已发的证书，所以绝不覆盖。升级后只添加缺少的：fanzha init --add-missing。"
            "确实要重新开始：先备份，再把它们移走"
        )
    sources = {name: WebhookSource.new(verifier) for name, verifier in verifiers.items()}
    secret_files.write_all(folder, secret_files.secret_files(DeploymentSecrets(more_sources=sources), _host(public)))
    write_whole(env, env_text(public, needs), ENV_MODE)
    secret_files.give_to_owner_of(directory, env, folder)
    typer.echo(next_steps(directory, public, needs))


def _public(domain: str) -> PublicAddress | None:
    try:
        return public_address.parse(domain) if domain else None
    except ValueError as error:
        fail(f"--domain {error}")


def _verifiers(asked: list[str]) -> dict[str, Verifier]:
    """How each source is verified, by its name."""
    verifiers: dict[str, Verifier] = {}
    for text in asked:
        name, _, verifier = text.partition("=")
        if not re.fullmatch(ID_PATTERN, name) or not name.strip(".") or name in NOT_BY_WEBHOOK:
            fail(
                f"--source {text}：名字是 1–64 个字母、数字或 . _ : -，不能是 {'、'.join(NOT_BY_WEBHOOK)}（总线和导入的文件）"
            )
        if (verifier or STANDARD) not in get_args(Verifier):
            fail(f"--source {text}：验签只有 {'、'.join(get_args(Verifier))}")
        if name == STANDARD and verifier not in ("", STANDARD):
            fail(f"--source {text}：来源 {STANDARD} 总是用 {STANDARD} 验签，别的验签另起名字")
        verifiers[name] = verifier or STANDARD  # type: ignore[assignment]
    verifiers.pop(STANDARD, None)
    return verifiers


def _host(public: PublicAddress | None) -> str:
    return public.host if public else "localhost"


# ---- an existing deployment, a newer version -------------------------------------------------------------------------


def _add_missing(
    directory: Path,
    env: Path,
    folder: Path,
    public: PublicAddress | None,
    needs: Sizes,
    verifiers: dict[str, Verifier],
) -> None:
    """Works out everything before it writes anything. Values are never shown, not even new ones."""
    if not folder.is_dir():
        fail(f"{folder} 不存在。新的部署：fanzha init；密钥丢了：{RESTORE}")
    try:
        kept = env.read_text() if env.exists() else ""
        public = public or _public_of(kept)
        texts = missing.read(folder)
        added = missing.additions(texts, _host(public))
        sources = missing.more_sources(texts, added, verifiers)
    except OSError as error:
        fail(
            f"读不了 {error.filename}（{os_reason(error)}），没有改动任何文件。请用 root 运行（docs/operations/upgrade.md）"
        )
    except missing.Lost as error:
        fail(
            f"{folder} 里没有 {error}，没有改动任何文件。它不是新版本才有的，是丢了：换一个新的，就读不出已存的姓名和电话、"
            f"验不了已发的证书，或与别处不符。请从备份取回：{RESTORE}"
        )
    except Ambiguous as error:
        fail(f"{folder} 里有一行读不准，没有改动任何文件：{error}")
    except missing.OtherVerifier as error:
        fail(f"{error}，没有改动任何文件。换验签方式：改 {folder / missing.CHECKIN} 的 {missing.SOURCES}")
    except ValueError as error:
        fail(f"{folder} 里有文件读不懂（{type(error).__name__}），没有改动任何文件。请与备份核对")
    lines, keys = env_additions(kept, env_text(public, needs))
    added += [sources] if sources else []
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
    steps = [f"{copy}再 docker compose up -d"]
    if sources:
        steps.append("  docker compose up -d --force-recreate checkin，让它认识新来源")
        steps.append("  docker compose run --rm keeper platforms：交给平台的地址和密钥")
    typer.echo("\n".join(["已添加（原有的都没有动）：", *told, "接下来：", *steps]))


def env_additions(kept: str, template: str) -> tuple[str, list[str]]:
    """The lines of `template` whose keys `kept` lacks, with the comments above them; and these keys. Keys `COMPOSE_…` are never
    added to an existing `.env`: they would change the name of the project and the parts that run."""
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


def _public_of(env: str) -> PublicAddress | None:
    """The address that `--domain` gave when `.env` was written; None where `.env` has none."""
    match = re.search(r"^(?:CHECKIN|CERTIFICATE)_PUBLIC_URL=['\"]?(https://[\w.:-]+)", env, re.MULTILINE)
    try:
        return public_address.parse(match[1]) if match else None
    except ValueError:
        return None
