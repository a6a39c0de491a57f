"""The keys of campaigns in backups. Each has a file of its own, so that it can be destroyed in every backup (DESIGN §4.8).

`keys/<service>/<campaign>.json` holds the private half as it stands in the service's table, encrypted under `CONTACT_KEYS`. Once
destroyed, the file stays and says so: a restore then knows that nothing is missing. A copy may be kept without `keys/`.
"""

import hashlib
from collections.abc import Collection, Iterable, Mapping
from datetime import UTC, datetime
from pathlib import Path
from uuid import UUID

from pydantic import Base64Bytes, BaseModel, ConfigDict

from devstack.home import PRIVATE, write_whole
from shared.bus import outbox
from shared.contracts.base import CampaignKeyMade
from shared.contracts.certificate import CertificateKeyMadeV1
from shared.contracts.notification import NotificationKeyMadeV1
from shared.database import Transaction
from upkeep import dump, secret_files
from upkeep.manifest import KEYS, SUMS, Damaged, recorded

FOLDER_MODE = 0o700
ANNOUNCEMENTS: Mapping[str, type[CampaignKeyMade]] = {
    event.OWNER: event for event in (CertificateKeyMadeV1, NotificationKeyMadeV1)
}
RECIPIENTS = tuple(ANNOUNCEMENTS)


class KeyFile(BaseModel):
    """A service's own key for a campaign. It is destroyed where `private_key` is missing."""

    model_config = ConfigDict(frozen=True)

    campaign_id: str
    announced_by: UUID | None
    public_key: str | None
    private_key: Base64Bytes | None
    destroyed_at: datetime | None


# ---- taking and putting back -----------------------------------------------------------------------------------------


async def write(databases: Mapping[str, str], folder: Path) -> None:
    """Writes the key files. Call it after all databases were dumped, so that no dump names a key that is not here."""
    for service in RECIPIENTS:
        service_folder = folder / service
        service_folder.mkdir(mode=FOLDER_MODE, parents=True)
        connection = await dump.connect(databases[service])
        try:
            rows = await connection.fetch(
                "SELECT campaign_id, announced_by, public_key, encode(private_key, 'base64') AS private_key, destroyed_at "
                "FROM campaign_key WHERE recipient = $1",
                service,
            )
        finally:
            await connection.close()
        for row in rows:
            _write(service_folder / f"{row['campaign_id']}.json", KeyFile(**row).model_dump_json())


async def put_back(tx: Transaction, service: str, backup: Path) -> set[str]:
    """Puts the service's own keys back, after its tables. Returns the campaigns whose keys are gone."""
    for path in sorted((backup / KEYS / service).glob("*.json")):
        await _put_back(tx, service, _read(path))
    rows = await tx.fetch(
        "UPDATE campaign_key SET destroyed_at = coalesce(destroyed_at, now()) WHERE recipient = $1 AND private_key IS NULL "
        "RETURNING campaign_id",
        service,
    )
    return {row["campaign_id"] for row in rows}


async def _put_back(tx: Transaction, service: str, key: KeyFile) -> None:
    new = await tx.fetchval(
        """
        INSERT INTO campaign_key AS k (campaign_id, recipient, announced_by, public_key, private_key, destroyed_at)
        VALUES ($1, $2, $3, $4, $5, $6)
        ON CONFLICT (campaign_id, recipient) DO UPDATE
        SET private_key = excluded.private_key, destroyed_at = excluded.destroyed_at
        RETURNING xmax = 0
        """,
        key.campaign_id,
        service,
        key.announced_by,
        key.public_key,
        key.private_key,
        key.destroyed_at,
    )
    if new and key.announced_by and key.public_key:  # made after the table was dumped, as was its announcement
        event = ANNOUNCEMENTS[service](
            event_id=key.announced_by,
            occurred_at=datetime.now(UTC),
            campaign_id=key.campaign_id,
            public_key=key.public_key,
        )
        await outbox.add(tx, event)


def missing(backup: Path) -> list[str]:
    """Key files that the backup was made with and that are missing now."""
    return [name for name in recorded(backup) if name.startswith(f"{KEYS}/") and not (backup / name).exists()]


# ---- destroying ------------------------------------------------------------------------------------------------------


def holding(backups: Iterable[Path], campaign_id: str) -> list[Path]:
    """The files that hold a key of the campaign. Raises `Damaged`."""
    paths = [backup / KEYS / service / f"{campaign_id}.json" for backup in backups for service in RECIPIENTS]
    return [path for path in paths if path.exists() and _read(path).private_key]


def destroy(paths: Collection[Path], now: datetime) -> None:
    """Destroys the keys in these files. Each file's checksum is changed first, so that after a crash the next try still finds the
    key and destroys it."""
    for path in paths:
        key = _read(path)
        text = key.model_copy(update={"private_key": None, "destroyed_at": now}).model_dump_json()
        backup = path.parents[2]
        sums = recorded(backup) | {str(path.relative_to(backup)): hashlib.sha256(text.encode()).hexdigest()}
        _write(backup / SUMS, "".join(f"{digest}  {name}\n" for name, digest in sums.items()))
        _write(path, text)


def _read(path: Path) -> KeyFile:
    try:
        return KeyFile.model_validate_json(path.read_bytes())
    except ValueError as error:
        raise Damaged(f"{path} 读不懂（{type(error).__name__}）") from error


def _write(path: Path, text: str) -> None:
    write_whole(path, text, PRIVATE)
    secret_files.give_to_owner_of(path.parent, path)
