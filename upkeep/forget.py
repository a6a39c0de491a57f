"""One person, or the people of a campaign, forgotten in every service (docs/operations/erasure.md).

A dry run does everything and rolls it back, so it tells exactly what would go.
"""

import base64
import os
import shutil
from collections import Counter
from collections.abc import Awaitable, Callable, Collection, Mapping
from contextlib import ExitStack
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import asyncpg
import nats.errors
from tenacity import AsyncRetrying, retry_if_exception_type, stop_after_attempt, wait_random

import services.certificate.erasure
import services.checkin.erasure
import services.notification.erasure
import services.reporting.erasure
from services.certificate.domain import SigningKey
from services.checkin.store import change_definitions
from shared.bus import outbox
from shared.bus.topology import PRODUCERS_FIRST
from shared.database import COLLISIONS, Transaction
from shared.people import erasure
from shared.people.campaign_keys import KEY_ID, destroy
from upkeep import backup, campaign_keys, dump, stream
from upkeep.deployment import Deployment

ATTEMPTS = 5
# Whose keys for a campaign a service knows: its own, and those it seals to.
KNOWN_KEYS = {
    "checkin": campaign_keys.RECIPIENTS,
    "certificate": campaign_keys.RECIPIENTS,
    "notification": ("notification",),
}
# $1 campaign, $2 how a value begins that is under the campaign's key.
AT_REST = {
    "certificate": "SELECT (SELECT count(*) FROM contact WHERE campaign_id = $1 AND position($2::bytea IN value) <> 1) "
    "+ (SELECT count(*) FROM certificate WHERE campaign_id = $1 AND position($2::bytea IN name) <> 1)",
    "notification": "SELECT count(*) FROM contact WHERE campaign_id = $1 AND position($2::bytea IN phone) <> 1",
}

Counts = dict[str, dict[str, int]]
Work = Callable[[Transaction, str], Awaitable[dict[str, int]]]


class CannotForget(Exception):
    """Nothing was changed; the text says what is missing (zh-Hans)."""


class _DryRun(Exception):
    pass


async def viewer(deployment: Deployment, campaign_id: str, viewer_id: str, actor: str, *, dry_run: bool) -> Counts:
    """Rows changed, by service and table."""
    name = erasure.new_name()
    forgetting = _Certificates(deployment)

    async def work(tx: Transaction, service: str) -> dict[str, int]:
        match service:
            case "checkin":
                return await services.checkin.erasure.forget_viewer(tx, campaign_id, viewer_id, name)
            case "reporting":
                return await services.reporting.erasure.forget_viewer(tx, campaign_id, viewer_id, name)
            case "notification":
                return await services.notification.erasure.forget_viewer(tx, campaign_id, viewer_id, name)
            case _:
                return await forgetting.viewer(tx, campaign_id, viewer_id, name)

    counts = await _everywhere(deployment, work, "viewer", campaign_id, actor, dry_run=dry_run)
    return counts if dry_run else forgetting.remove_rendered(counts)


async def people(
    deployment: Deployment,
    campaign_id: str,
    actor: str,
    *,
    dry_run: bool,
    destroy_keys: bool = False,
    in_backups: Mapping[str, int] | None = None,
) -> Counts:
    """Every name and phone of a campaign. Accounts, certificates and numbers stay.

    `destroy_keys`: the services can open nothing of the campaign any more. `in_backups`: key files by service, for the record.
    """
    forgetting = _Certificates(deployment)

    async def work(tx: Transaction, service: str) -> dict[str, int]:
        counts: dict[str, int] = {}
        if destroy_keys and service in KNOWN_KEYS:
            counts["campaign_key"] = await _destroy(tx, service, campaign_id)
            counts["backup_key"] = (in_backups or {}).get(service, 0)
        counts["deployment_key"] = await _under_deployment_keys(tx, service, campaign_id, deployment.environments)
        match service:
            case "checkin":
                return counts | await services.checkin.erasure.forget_people(tx, campaign_id)
            case "reporting":
                return counts | await services.reporting.erasure.forget_people(tx, campaign_id)
            case "notification":
                return counts | await services.notification.erasure.forget_people(tx, campaign_id)
            case _:
                return counts | await forgetting.people(tx, campaign_id)

    counts = await _everywhere(deployment, work, "campaign", campaign_id, actor, dry_run=dry_run)
    return counts if dry_run else forgetting.remove_rendered(counts)


async def with_keys(
    deployment: Deployment, campaign_id: str, actor: str, backups: Collection[Path], *, dry_run: bool
) -> Counts:
    """`people`, and the campaign's keys destroyed: in the services, and in all backups below the folders `backups`.

    Then what is left of the campaign's people anywhere opens no more, old copies of these backups included as far as their keys
    are gone too. Raises `CannotForget`, `BackupFailed` and `Damaged`. Again, after a failure, it goes on where it was.
    """
    if not await _is_defined(deployment, campaign_id):
        raise CannotForget(f"没有活动 {campaign_id}")
    with ExitStack() as held:
        for folder in backups:  # a backup that is being made would bring the keys back
            held.enter_context(backup.only_one(folder))
        files = campaign_keys.holding([found for folder in backups for found in backup.existing(folder)], campaign_id)
        number = Counter(path.parent.name for path in files)
        counts = await people(
            deployment, campaign_id, actor, dry_run=dry_run, destroy_keys=True, in_backups=dict(number)
        )
        if not dry_run:
            campaign_keys.destroy(files, datetime.now(UTC))
            for left in (left for folder in backups for left in folder.glob(f".*{backup.PARTIAL}")):
                shutil.rmtree(left)
            await _overwrite(deployment)
    return counts


async def _is_defined(deployment: Deployment, campaign_id: str) -> bool:
    connection = await dump.connect(deployment.databases["checkin"])
    try:
        sql = "SELECT EXISTS (SELECT FROM campaign WHERE campaign_id = $1)"
        return bool(await connection.fetchval(sql, campaign_id))
    finally:
        await connection.close()


async def _destroy(tx: Transaction, service: str, campaign_id: str) -> int:
    if service == "checkin":
        await change_definitions(tx)  # what is being recorded with the old keys is recorded before
    return await destroy(tx, campaign_id, KNOWN_KEYS[service], datetime.now(UTC))


async def _under_deployment_keys(
    tx: Transaction, service: str, campaign_id: str, environments: Mapping[str, Mapping[str, str]]
) -> int:
    """What a backup from before still opens, since it was sealed or kept before the campaign had keys."""
    known = {name: environments.get(name, {}).get("SEALING_PRIVATE_KEY") for name in campaign_keys.RECIPIENTS}
    private_keys = {name: key for name, key in known.items() if key}
    number = await erasure.sealed_under(tx, campaign_id, private_keys)
    if service in AT_REST:
        number += await tx.fetchval(AT_REST[service], campaign_id, f"{KEY_ID}:".encode())
    return number


async def _overwrite(deployment: Deployment) -> None:
    """The rows as they were with their keys, which Postgres would keep until it needs the room."""
    for service in campaign_keys.RECIPIENTS:
        connection = await dump.connect(deployment.databases[service], dump.ERASING)
        try:
            await connection.execute("VACUUM (FULL) campaign_key")
        finally:
            await connection.close()


async def empty_live(deployment: Deployment) -> int:
    """Removes what checkin has recorded from the live platform's stream; how many messages there are not recorded yet."""
    if deployment.topology_url is None:
        raise CannotForget("数据库里已删除。不知道 NATS 的地址，直播平台发来的消息没有清除")
    try:
        return await stream.empty_live(deployment.topology_url)
    except (nats.errors.Error, OSError) as error:
        raise CannotForget("数据库里已删除。NATS 连不上，直播平台发来的消息没有清除：恢复以后再运行一次") from error


async def rebuild_stream(deployment: Deployment) -> int:
    """Publishes the ledgers, in which nothing is left of whom was forgotten, into a stream that never held more."""
    if deployment.topology_url is None:
        raise CannotForget("不知道 NATS 的地址，事件流没有重建")
    try:
        await stream.begin_anew(deployment.topology_url)
    except nats.errors.Error as error:
        raise CannotForget("数据库里已删除。NATS 连不上，事件流没有重建：恢复以后再运行一次") from error
    marked = 0
    for service in PRODUCERS_FIRST:
        connection = await dump.connect(deployment.databases[service], dump.ERASING)
        try:
            async with connection.transaction():
                marked += await outbox.republish_all(Transaction(connection))
        finally:
            await connection.close()
    return marked


async def log(deployment: Deployment, limit: int) -> list[dict[str, Any]]:
    """The records of all services, newest first."""
    found = []
    for service in PRODUCERS_FIRST:
        connection = await dump.connect(deployment.databases[service])
        try:
            found += [{"service": service} | row for row in await erasure.recorded(Transaction(connection), limit)]
        finally:
            await connection.close()
    return sorted(found, key=lambda row: str(row["erased_at"]), reverse=True)[:limit]


async def due(deployment: Deployment, at: datetime) -> dict[str, int]:
    """How many people's contact data the retention jobs will have deleted at that time, by service."""
    counts = {}
    for service in ("notification", "certificate"):
        connection = await dump.connect(deployment.databases[service])
        try:
            sql = "SELECT count(DISTINCT (campaign_id, viewer_id)) FROM contact WHERE retain_until <= $1"
            counts[service] = await connection.fetchval(sql, at)
        finally:
            await connection.close()
    return counts


async def _everywhere(
    deployment: Deployment, work: Work, kind: str, campaign_id: str, actor: str, *, dry_run: bool
) -> Counts:
    """The producer first: what it publishes from then on no longer names the account."""
    return {
        service: await _in_one(deployment.databases[service], service, work, kind, campaign_id, actor, dry_run=dry_run)
        for service in PRODUCERS_FIRST
    }


async def _in_one(
    url: str, service: str, work: Work, kind: str, campaign_id: str, actor: str, *, dry_run: bool
) -> dict[str, int]:
    """In one transaction, which also writes the record; again where it collided with the running service."""
    counts: dict[str, int] = {}
    connection = await dump.connect(url, dump.ERASING)
    try:
        async for attempt in AsyncRetrying(
            retry=retry_if_exception_type(COLLISIONS),
            stop=stop_after_attempt(ATTEMPTS),
            wait=wait_random(0, 0.5),
            reraise=True,
        ):
            with attempt:
                try:
                    async with connection.transaction():
                        tx = Transaction(connection)
                        counts = await work(tx, service)
                        if dry_run:
                            raise _DryRun
                        if any(counts.values()):
                            now = datetime.now(UTC)
                            await erasure.record(
                                tx, kind=kind, campaign_id=campaign_id, actor=actor, counts=counts, now=now
                            )
                except _DryRun:
                    pass
    except asyncpg.UndefinedTableError as error:
        raise CannotForget(f"{service} 的库结构太旧：先运行迁移任务 migrate-{service}") from error
    finally:
        await connection.close()
    return counts


class _Certificates:
    """Certificates are signed anew without their holder's name, which needs the service's key; their PDFs go last."""

    def __init__(self, deployment: Deployment) -> None:
        environment = deployment.environments.get("certificate", {})
        self._signing = _signing_key(environment)
        folder = os.environ.get("PDF_DIR") or environment.get("PDF_DIR")
        self._rendered = Path(folder) if folder else None
        self._serials: list[str] = []

    async def viewer(self, tx: Transaction, campaign_id: str, viewer_id: str, name: str) -> dict[str, int]:
        done = await services.certificate.erasure.forget_viewer(tx, self._signing, campaign_id, viewer_id, name)
        self._serials = done.serials
        return done.counts

    async def people(self, tx: Transaction, campaign_id: str) -> dict[str, int]:
        done = await services.certificate.erasure.forget_people(tx, self._signing, campaign_id)
        self._serials = done.serials
        return done.counts

    def remove_rendered(self, counts: Counts) -> Counts:
        if self._rendered is not None:
            removed = services.certificate.erasure.remove_rendered(self._rendered, self._serials)
            counts["certificate"]["rendered"] = removed
        return counts


def _signing_key(environment: Mapping[str, str]) -> SigningKey:
    try:
        return SigningKey(base64.b64decode(environment["CERTIFICATE_SIGNING_KEY"]))
    except KeyError as error:
        raise CannotForget(f"读不到 certificate 的 {error}：去掉姓名以后证书要重新签名") from None
