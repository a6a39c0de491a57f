"""What a backup says about itself: `manifest.json`, and `SHA256SUMS` over every file (`sha256sum -c` reads it too)."""

import hashlib
from datetime import datetime
from pathlib import Path

from pydantic import BaseModel, ConfigDict

FORMAT = 1
MANIFEST = "manifest.json"
ENV = "env"
SUMS = "SHA256SUMS"
KEYS = "keys"  # the folder of campaigns' keys (campaign_keys.py), which may be absent in a copy of a backup
READ_BYTES = 1024 * 1024


class Damaged(Exception):
    """A backup that must not be restored; the text says what is wrong with it (zh-Hans)."""


class TableDump(BaseModel):
    """One table as `COPY … TO STDOUT (FORMAT binary)`, gzipped."""

    name: str
    columns: list[str]
    rows: int
    file: str


class DatabaseDump(BaseModel):
    schema_revision: str
    taken_at: datetime
    tables: list[TableDump]
    sequences: dict[str, int]


class SecretFile(BaseModel):
    """A file below `secrets/`: its place and its owner. A container reads only files that its own user may read."""

    file: str
    path: str
    uid: int
    gid: int
    mode: int


class Manifest(BaseModel):
    model_config = ConfigDict(frozen=True)

    format: int
    fanzha: str
    python: str
    postgres: str
    started_at: datetime
    finished_at: datetime
    databases: dict[str, DatabaseDump]  # in the order in which they were taken
    campaigns: list[str]
    secrets: list[SecretFile]
    secrets_encrypted: bool
    env: str | None = None  # where `.env` was; its text is the file `env`
    key_fingerprints: dict[str, str]  # without these keys contacts and certificates cannot be read (keys.py)

    @property
    def rows(self) -> int:
        return sum(table.rows for dump in self.databases.values() for table in dump.tables)


def write_sums(folder: Path) -> None:
    lines = [f"{_sha256(path)}  {path.relative_to(folder)}\n" for path in _files(folder)]
    (folder / SUMS).write_text("".join(lines))


def recorded(folder: Path) -> dict[str, str]:
    """The checksum of every file, by its path below the backup's folder."""
    lines = (line.partition("  ") for line in (folder / SUMS).read_text().splitlines())
    return {name: digest for digest, _, name in lines}


def read(folder: Path) -> Manifest:
    """The manifest of a whole and unchanged backup. Raises `Damaged`."""
    if not (folder / SUMS).exists():
        raise Damaged(f"{folder} 不是备份：没有 {SUMS}")
    sums = recorded(folder)
    present = {str(path.relative_to(folder)): path for path in _files(folder)}
    for name in sorted(sums.keys() | present.keys()):
        if name not in present and name.startswith(f"{KEYS}/"):
            continue  # a copy may be kept without it: a restore asks for it
        if name not in present:
            raise Damaged(f"备份缺少文件 {name}")
        if name not in sums:
            raise Damaged(f"备份里多出文件 {name}，不在校验清单中")
        if _sha256(present[name]) != sums[name]:
            raise Damaged(f"备份文件 {name} 已损坏：校验和不符")
    try:
        manifest = Manifest.model_validate_json((folder / MANIFEST).read_text())
    except (OSError, ValueError) as error:
        raise Damaged(f"{MANIFEST} 读不懂（{type(error).__name__}）") from error
    if manifest.format != FORMAT:
        raise Damaged(f"备份格式是 {manifest.format}，本程序只认识 {FORMAT}。请用制作它的版本恢复")
    return manifest


def _files(folder: Path) -> list[Path]:
    return sorted(path for path in folder.rglob("*") if path.is_file() and path.name != SUMS)


def _sha256(path: Path) -> str:
    digest = hashlib.sha256()
    with path.open("rb") as file:
        while chunk := file.read(READ_BYTES):
            digest.update(chunk)
    return digest.hexdigest()
