"""Makes a whole backup of every database, the campaigns' definitions and the secrets. It gets its final name when it is
complete."""

# ruff: noqa: ASYNC240 - a command runs nothing else in its event loop

import asyncio
import fcntl
import json
import os
import platform
import shutil
import stat
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path

from devstack.home import PRIVATE, write_whole
from shared import __version__
from shared.bus.topology import CONSUMERS_FIRST
from shared.os_errors import os_reason
from upkeep import campaign_keys, dump, expiry, keys, secret_files
from upkeep.backup_names import of_known_age, of_the_future, taken_at
from upkeep.deployment import Deployment
from upkeep.manifest import ENV, FORMAT, KEYS, MANIFEST, DatabaseDump, Manifest, SecretFile, write_sums

PARTIAL = ".partial"
METRICS = "backup.prom"
LOCK = ".lock"
FOLDER_MODE = 0o700

Tell = Callable[[str], None]


class BackupFailed(Exception):
    """The backup failed and left nothing behind; the text says what to do (zh-Hans)."""


async def take(
    deployment: Deployment,
    folder: Path,
    *,
    keep: int,
    with_secrets: bool = True,
    passphrase: str | None = None,
    tell: Tell = lambda _: None,
) -> tuple[Path, Manifest]:
    """Makes a new backup below `folder`, then removes the oldest beyond `keep`. Raises `BackupFailed`."""
    started = time.monotonic()
    folder.mkdir(mode=0o755, parents=True, exist_ok=True)  # the watcher reads metrics here; each backup is closed
    with only_one(folder):
        for left in folder.glob(f".*{PARTIAL}"):
            shutil.rmtree(left)
        while (final := folder / f"fanzha-{datetime.now(UTC):%Y%m%dT%H%M%SZ}").exists():  # noqa: ASYNC110
            await asyncio.sleep(0.1)  # the name of this second is taken, and nothing tells when the next one begins
        partial = folder / f".{final.name}{PARTIAL}"
        try:
            partial.mkdir(mode=FOLDER_MODE)
            manifest = await _fill(deployment, partial, with_secrets, passphrase, tell)
            secret_files.give_to_owner_of(folder, partial, *partial.rglob("*"), folder / LOCK)
            _sync(partial)
            partial.rename(final)
            _sync_folder(folder)
        except BaseException:
            shutil.rmtree(partial, ignore_errors=True)
            raise
        _write_metrics(folder, final, time.monotonic() - started)
        if deployment.secrets_folder:
            expiry.write_metrics(deployment.secrets_folder, folder)
        for old in _beyond(keep, folder, final):
            shutil.rmtree(old)
            tell(f"已删除旧备份 {old.name}")
        for odd in of_the_future(folder, taken_at(final)):
            tell(f"{odd.name} 的时间在未来，不知道它多旧：没有计入保留份数，也没有删除。请核对后自己处理")
    return final, manifest


def _beyond(keep: int, folder: Path, newest: Path) -> list[Path]:
    """The backups to remove once `newest` exists. `newest` itself is never among them, whatever times the others have in their
    names."""
    others = [backup for backup in of_known_age(folder, taken_at(newest)) if backup != newest]
    return others[: max(len(others) - (keep - 1), 0)]


async def _fill(
    deployment: Deployment, folder: Path, with_secrets: bool, passphrase: str | None, tell: Tell
) -> Manifest:
    started_at = datetime.now(UTC)
    dumps: dict[str, DatabaseDump] = {}
    # The ledgers in a backup then have every event that its consumers have applied, and publishing the ledgers again brings every
    # consumer up to date (DESIGN §4.2).
    for service in CONSUMERS_FIRST:
        dumps[service] = await dump.take(deployment.databases[service], folder / service, lambda *_: None)
        tell(f"{service}：{sum(table.rows for table in dumps[service].tables):,} 行")
    await campaign_keys.write(deployment.databases, folder / KEYS)
    campaigns = await _write_definitions(deployment.databases["checkin"], folder / "campaigns")
    secrets = _write_secrets(deployment, folder / "secrets", passphrase) if with_secrets else []
    manifest = Manifest(
        format=FORMAT,
        fanzha=__version__,
        python=platform.python_version(),
        postgres=await _postgres_version(deployment.databases["checkin"]),
        started_at=started_at,
        finished_at=datetime.now(UTC),
        databases=dumps,
        campaigns=campaigns,
        secrets=secrets,
        secrets_encrypted=passphrase is not None,
        env=_write_env(deployment, folder / ENV, tell),
        key_fingerprints=keys.fingerprints(deployment.environments),
    )
    (folder / MANIFEST).write_text(manifest.model_dump_json(indent=2) + "\n")
    write_sums(folder)
    return manifest


async def _write_definitions(url: str, folder: Path) -> list[str]:
    """Writes the definitions in force so that they can be applied again. The database has them, too; these files are for
    people."""
    folder.mkdir(mode=FOLDER_MODE)
    connection = await dump.connect(url)
    try:
        rows = await connection.fetch("SELECT campaign_id, definition FROM campaign ORDER BY 1")
    finally:
        await connection.close()
    for campaign_id, definition in rows:
        readable = json.dumps(json.loads(definition), ensure_ascii=False, indent=1)
        (folder / f"{campaign_id}.json").write_text(readable + "\n", encoding="utf-8")
    return [row["campaign_id"] for row in rows]


def _write_secrets(deployment: Deployment, folder: Path, passphrase: str | None) -> list[SecretFile]:
    """Writes the secret files under numbers, since two may have the same name."""
    folder.mkdir(mode=FOLDER_MODE)
    kept = []
    for number, path in enumerate(deployment.secret_files):
        content, status = path.read_bytes(), path.stat()
        stored = folder / f"{number}-{path.name}"
        descriptor = os.open(stored, os.O_WRONLY | os.O_CREAT | os.O_EXCL, PRIVATE)
        with os.fdopen(descriptor, "wb") as file:
            file.write(content if passphrase is None else keys.lock(content, passphrase))
        mode = stat.S_IMODE(status.st_mode)
        kept.append(SecretFile(file=stored.name, path=str(path), uid=status.st_uid, gid=status.st_gid, mode=mode))
    return kept


def _write_env(deployment: Deployment, target: Path, tell: Tell) -> str | None:
    """Copies `.env` and returns where it was. A copy stays readable even where secrets are encrypted, so a `.env` that holds a
    secret is left out."""
    path = deployment.env_file
    if path is None:
        return None
    try:
        text = path.read_text()
    except OSError as error:
        tell(f"没有备份 .env：读不了（{os_reason(error)}）")
        return None
    if any(
        word in text
        for word in secret_files.words(file.read_text(errors="replace") for file in deployment.secret_files)
    ):
        tell("没有备份 .env：里面写着 secrets/ 里的密钥。请从 .env 删掉")
        return None
    target.write_text(text)
    target.chmod(PRIVATE)
    return str(path)


async def _postgres_version(url: str) -> str:
    connection = await dump.connect(url)
    try:
        return str(await connection.fetchval("SHOW server_version"))
    finally:
        await connection.close()


@contextmanager
def only_one(folder: Path) -> Iterator[None]:
    """Inside the block no other process makes a backup below `folder`. Raises `BackupFailed` where one is being made."""
    with (folder / LOCK).open("a") as file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError as error:
            raise BackupFailed(f"另一个备份正在写入 {folder}。请等它完成") from error
        yield


def _sync(folder: Path) -> None:
    """Writes all files through to the disk before the backup gets its final name, so that after a power cut no incomplete
    backup looks complete."""
    for path in folder.rglob("*"):
        descriptor = os.open(path, os.O_RDONLY)
        try:
            os.fsync(descriptor)
        finally:
            os.close(descriptor)


def _sync_folder(folder: Path) -> None:
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def _write_metrics(folder: Path, backup: Path, seconds: float) -> None:
    """For Prometheus' textfile collector; the alert on a backup's age reads it."""
    size = sum(path.stat().st_size for path in backup.rglob("*") if path.is_file())
    samples = {
        "last_success_timestamp_seconds": ("when the newest complete backup was finished", f"{time.time():.0f}"),
        "last_duration_seconds": ("how long it took", f"{seconds:.1f}"),
        "last_size_bytes": ("how large it is", str(size)),
    }
    text = "".join(
        f"# HELP fanzha_backup_{name} {help_text}\n# TYPE fanzha_backup_{name} gauge\nfanzha_backup_{name} {value}\n"
        for name, (help_text, value) in samples.items()
    )
    write_whole(folder / METRICS, text, 0o644)
    secret_files.give_to_owner_of(folder, folder / METRICS)
