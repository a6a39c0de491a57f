"""Restores a backup: checks all of it before anything changes, puts each database back in one transaction, makes the stream
anew."""

import os
from collections.abc import Callable
from datetime import UTC, datetime
from functools import partial
from pathlib import Path
from typing import Any

from devstack.home import PRIVATE, write_whole
from services.notification.sending.usecases import distrust_queue
from services.reporting.people.usecases import sign_everybody_out
from shared.bus.topology import CONSUMERS_FIRST
from shared.database import Transaction
from shared.people.erasure import CannotForget
from upkeep import campaign_keys, dump, forget, keys, manifest, secret_files, stream
from upkeep.backup import FOLDER_MODE
from upkeep.deployment import Deployment
from upkeep.dump import CannotRestore
from upkeep.manifest import Damaged, Manifest, SecretFile

Tell = Callable[[str], None]

ACTOR = "fanzha restore"


async def restore(
    deployment: Deployment,
    backup: Path,
    *,
    wipe: bool = False,
    other_keys: bool = False,
    tell: Tell = lambda _: None,
) -> Manifest:
    """Replaces the databases. Raises `Damaged` or `CannotRestore`; then only what `tell` was told has changed."""
    description = manifest.read(backup)
    _check_schemas(description)
    if not other_keys:
        _check_keys(description, deployment)
        _check_campaign_keys(backup)
    for service in CONSUMERS_FIRST:
        await _check_database(service, deployment.databases[service], wipe)
    destroyed: set[str] = set()
    for service in CONSUMERS_FIRST:
        content = description.databases[service]
        afterwards = partial(_complete, service, backup, destroyed)
        await dump.put_back(
            service, deployment.databases[service], backup, content, lambda *_: None, afterwards=afterwards
        )
        tell(f"{service}：{sum(table.rows for table in content.tables):,} 行")
    for campaign_id in sorted(destroyed):
        await _forget(deployment, campaign_id, tell)
    if deployment.topology_url:
        await stream.begin_anew(deployment.topology_url, live=True)
        tell("NATS：事件流已重建")
    return description


def _check_schemas(description: Manifest) -> None:
    for service in CONSUMERS_FIRST:
        if service not in description.databases:
            raise Damaged(f"备份里没有 {service} 的数据库")
        revision = description.databases[service].schema_revision
        if not dump.knows(service, revision):
            raise CannotRestore(
                f"备份里 {service} 的库结构是 {revision}，本程序没有这个版本。"
                f"备份由更新的版本 {description.fanzha} 制作，请用那个版本恢复"
            )


def _check_keys(description: Manifest, deployment: Deployment) -> None:
    present = keys.fingerprints(deployment.environments)
    if not present:
        return  # the environments of the services cannot be read from here
    if lacking := keys.missing(description.key_fingerprints, present):
        raise CannotRestore(
            f"本部署的密钥与备份时不同：{'、'.join(lacking)}。这样恢复以后姓名、手机号和证书都读不出来。"
            "请先用 fanzha restore --secrets-only 取回备份里的密钥；确实不需要时加 --other-keys"
        )


async def _check_database(service: str, url: str, wipe: bool) -> None:
    if users := await dump.who_is_connected(url):
        raise CannotRestore(
            f"{service} 的数据库正在使用（{'、'.join(users)}）。请先停止所有服务，只留 Postgres 和 NATS"
        )
    if not wipe and await dump.rows_in(url):
        raise CannotRestore(f"{service} 的数据库里已有数据。确定要清空并用备份替换时，加 --wipe")


async def _complete(service: str, backup: Path, destroyed: set[str], connection: Any) -> None:
    """Restores what is not in the tables' dumps; adds the campaigns whose keys are gone to `destroyed`."""
    tx = Transaction(connection)
    if service == "notification":
        await distrust_queue(tx)  # channels are asked before texts are sent again
    if service == "reporting":
        await sign_everybody_out(tx, datetime.now(UTC))  # the backup does not know who signed out since
    if service in campaign_keys.RECIPIENTS:
        destroyed |= await campaign_keys.put_back(tx, service, backup)


def _check_campaign_keys(backup: Path) -> None:
    if lacking := campaign_keys.missing(backup):
        raise CannotRestore(
            f"备份里缺少活动的密钥：{'、'.join(lacking)}。请把 keys/ 放回备份再恢复；已经销毁的，加 --other-keys，"
            "这些活动的姓名、手机号将不再有"
        )


async def _forget(deployment: Deployment, campaign_id: str, tell: Tell) -> None:
    """Removes restored data of people whose campaign's keys are gone, which nobody can read."""
    try:
        await forget.people(deployment, campaign_id, ACTOR, dry_run=False, destroy_keys=True)
        tell(f"{campaign_id}：密钥已销毁，姓名、手机号没有恢复")
    except CannotForget as error:
        tell(f"{campaign_id}：密钥已销毁，请运行 fanzha erase campaign {campaign_id} --destroy-keys（{error}）")


def restore_secrets(backup: Path, into: Path | None, passphrase: str | None) -> list[Path]:
    """Writes the secret files back, to `into` or to where they were. Never over one that exists. Raises `Damaged`,
    `CannotRestore` or `WrongPassphrase`."""
    description = manifest.read(backup)
    if not description.secrets:
        raise CannotRestore("这个备份不含密钥（制作时用了 --without-secrets）")
    if description.secrets_encrypted and passphrase is None:
        raise CannotRestore("这个备份的密钥已加密，请用 --passphrase-file 给出口令")
    targets = {
        secret.file: into / Path(secret.path).name if into else Path(secret.path) for secret in description.secrets
    }
    if taken := [str(path) for path in targets.values() if path.exists()]:
        raise CannotRestore(f"{'、'.join(taken)} 已经存在，不会覆盖。请先移走，或用 --secrets-to 写到别处")
    for secret in description.secrets:
        content = (backup / "secrets" / secret.file).read_bytes()
        if description.secrets_encrypted:
            content = keys.unlock(content, passphrase or "")
        _write_secret(targets[secret.file], content, secret)
    return list(targets.values())


def restore_env(backup: Path, into: Path | None, *, replace: bool) -> tuple[Path, bool] | None:
    """Writes `.env` back, beside the folder `into` or to where it was. Answers with its path and whether it was written: one that
    exists stays, unless `replace`. None where the backup has none. Raises `Damaged`."""
    description = manifest.read(backup)
    if description.env is None:
        return None
    path = into.resolve().parent / ".env" if into else Path(description.env)
    if path.exists() and not replace:
        return path, False
    write_whole(path, (backup / manifest.ENV).read_text(), PRIVATE)
    secret_files.give_to_owner_of(path.parent, path)
    return path, True


def _write_secret(target: Path, content: bytes, was: SecretFile) -> None:
    """Writes a secret file as `fanzha init` would. A file that `init` does not know gets its old mode and, as root, its old
    owner."""
    if not target.parent.exists():
        target.parent.mkdir(mode=FOLDER_MODE, parents=True)
        secret_files.give_to_owner_of(target.parent.parent, target.parent)
    if target.name in secret_files.OWNERS:
        secret_files.write(target, content.decode())
        return
    descriptor = os.open(target, os.O_WRONLY | os.O_CREAT | os.O_EXCL, PRIVATE)
    with os.fdopen(descriptor, "wb") as file:
        file.write(content)
    target.chmod(was.mode)
    if os.geteuid() == 0:
        os.chown(target, was.uid, was.gid)
