"""Forgets one person, or the people of a campaign, in every service (docs/operations/erasure.md).

A dry run does everything and rolls it back, so it tells exactly what would go.
"""

import shutil
from collections import Counter
from collections.abc import Awaitable, Callable, Collection, Mapping, Sequence
from contextlib import ExitStack
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import asyncpg
import nats.errors
from tenacity import AsyncRetrying, retry_if_exception_type, stop_after_attempt, wait_random

import services.certificate.erasure
import services.checkin.erasure
import services.checkin.store
import services.notification.erasure
import services.reporting.erasure
from shared.bus import outbox
from shared.bus.topology import CONSUMERS_FIRST, PRODUCERS_FIRST
from shared.database import COLLISIONS, Transaction
from shared.people import erasure
from shared.people.campaign_keys import overwrite_destroyed
from shared.people.erasure import CannotForget
from shared.people.forgetting import ServiceErasure
from upkeep import backup, backup_names, campaign_keys, dump, stream
from upkeep.campaign_keys import RECIPIENTS
from upkeep.deployment import Deployment

ATTEMPTS = 5
ERASURES: Mapping[str, type[ServiceErasure]] = {
    "checkin": services.checkin.erasure.Erasure,
    "reporting": services.reporting.erasure.Erasure,
    "notification": services.notification.erasure.Erasure,
    "certificate": services.certificate.erasure.Erasure,
}

Counts = dict[str, dict[str, int]]
Work = Callable[[Transaction, str, ServiceErasure], Awaitable[dict[str, int]]]
"""What one service does, in its transaction. Returns rows changed, by table."""


class _DryRun(Exception):
    pass


async def viewer(deployment: Deployment, campaign_id: str, viewer_id: str, actor: str, *, dry_run: bool) -> Counts:
    """Forgets one viewer; returns rows changed, by service and table."""
    name = erasure.new_name()

    async def work(tx: Transaction, _: str, of: ServiceErasure) -> dict[str, int]:
        return await of.forget_viewer(tx, campaign_id, viewer_id, name)

    return await _everywhere(deployment, work, "viewer", campaign_id, actor, dry_run=dry_run)


async def person(deployment: Deployment, campaign_id: str, name: str, actor: str, *, dry_run: bool) -> Counts:
    """Forgets somebody of the office; where something was recorded of them, their id stands in place of the name. Returns rows
    changed, by service and table; nothing where the campaign has nobody of this name."""
    connection = await dump.connect(deployment.databases["reporting"])
    try:
        person_id = await services.reporting.erasure.person_named(Transaction(connection), campaign_id, name)
    finally:
        await connection.close()
    if person_id is None:
        return {}

    async def work(tx: Transaction, _: str, of: ServiceErasure) -> dict[str, int]:
        return await of.forget_actor(tx, name, person_id)

    # reporting comes last: it knows which name and id belong together, so that a second call goes on where the first stopped.
    order = (*(service for service in PRODUCERS_FIRST if service != "reporting"), "reporting")
    return await _everywhere(deployment, work, "person", campaign_id, actor, dry_run=dry_run, order=order)


async def liaison(deployment: Deployment, campaign_id: str, unit_code: str, actor: str, *, dry_run: bool) -> Counts:
    """Forgets who reports for a unit: names, phones, masks, codes and devices; returns rows changed, by service and table."""

    async def work(tx: Transaction, _: str, of: ServiceErasure) -> dict[str, int]:
        return await of.forget_liaison(tx, campaign_id, unit_code)

    return await _everywhere(deployment, work, "liaison", campaign_id, actor, dry_run=dry_run)


async def people(
    deployment: Deployment,
    campaign_id: str,
    actor: str,
    *,
    dry_run: bool,
    destroy_keys: bool = False,
    in_backups: Mapping[str, int] | None = None,
) -> Counts:
    """Forgets every name and phone of a campaign. Accounts, certificates and numbers stay.

    `destroy_keys`: also destroys the campaign's keys in the services, which then can open nothing of it any more. `in_backups`:
    number of key files by service, for the record.
    """
    private_keys = _deployment_keys(deployment)

    async def work(tx: Transaction, service: str, of: ServiceErasure) -> dict[str, int]:
        counts: dict[str, int] = {}
        if destroy_keys and of.KNOWN_KEYS:
            counts["campaign_key"] = await of.destroy_keys(tx, campaign_id, datetime.now(UTC))
            counts["backup_key"] = (in_backups or {}).get(service, 0)
        # Counts what older backups still open, because it was sealed or kept before the campaign had keys.
        sealed = await erasure.sealed_under(tx, campaign_id, private_keys)
        counts["deployment_key"] = sealed + await of.under_deployment_keys(tx, campaign_id)
        return counts | await of.forget_people(tx, campaign_id)

    return await _everywhere(deployment, work, "campaign", campaign_id, actor, dry_run=dry_run)


def _deployment_keys(deployment: Deployment) -> dict[str, str]:
    """The deployment's private keys that can be read from here, by recipient."""
    known = {name: deployment.environments.get(name, {}).get("SEALING_PRIVATE_KEY") for name in RECIPIENTS}
    return {name: key for name, key in known.items() if key}


async def with_keys(
    deployment: Deployment, campaign_id: str, actor: str, backups: Collection[Path], *, dry_run: bool
) -> Counts:
    """As `people`; also destroys the campaign's keys in the services, and in all backups below the folders `backups`.

    Nothing that is left of the campaign's people can then be opened, not even in copies of these backups, as far as their keys
    are destroyed too. Raises `CannotForget`, `BackupFailed` and `Damaged`. After a failure, a second call goes on where the first
    stopped.
    """
    if not await _is_defined(deployment, campaign_id):
        raise CannotForget(f"没有活动 {campaign_id}")
    with ExitStack() as held:
        for folder in backups:  # a backup that is being made would bring the keys back
            held.enter_context(backup.only_one(folder))
        files = campaign_keys.holding(
            [path for folder in backups for path in backup_names.existing(folder)], campaign_id
        )
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
        return await services.checkin.store.definition(Transaction(connection), campaign_id) is not None
    finally:
        await connection.close()


async def _overwrite(deployment: Deployment) -> None:
    for service in RECIPIENTS:
        connection = await dump.connect(deployment.databases[service], dump.ERASING)
        try:
            await overwrite_destroyed(Transaction(connection))
        finally:
            await connection.close()


async def empty_live(deployment: Deployment) -> int:
    """Removes what checkin has recorded from the live platform's stream; returns how many of its messages are not recorded
    yet."""
    if deployment.topology_url is None:
        raise CannotForget("数据库里已删除。不知道 NATS 的地址，直播平台发来的消息没有清除")
    try:
        return await stream.empty_live(deployment.topology_url)
    except (nats.errors.Error, OSError) as error:
        raise CannotForget("数据库里已删除。NATS 连不上，直播平台发来的消息没有清除：恢复以后再运行一次") from error


async def rebuild_stream(deployment: Deployment) -> int:
    """Makes the stream anew from the ledgers, so that nothing of forgotten people is left in it."""
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
    records = []
    for service in PRODUCERS_FIRST:
        connection = await dump.connect(deployment.databases[service])
        try:
            records += [{"service": service} | row for row in await erasure.recorded(Transaction(connection), limit)]
        finally:
            await connection.close()
    return sorted(records, key=lambda row: str(row["erased_at"]), reverse=True)[:limit]


async def due(deployment: Deployment, at: datetime) -> dict[str, int]:
    """How many people's contact data the retention jobs will have deleted at that time, by service."""
    counts = {}
    for service in CONSUMERS_FIRST:
        connection = await dump.connect(deployment.databases[service])
        try:
            due_there = await ERASURES[service].people_due(Transaction(connection), at)
        finally:
            await connection.close()
        if due_there is not None:
            counts[service] = due_there
    return counts


async def _everywhere(
    deployment: Deployment,
    work: Work,
    kind: str,
    campaign_id: str,
    actor: str,
    *,
    dry_run: bool,
    order: Sequence[str] = PRODUCERS_FIRST,
) -> Counts:
    """Runs `work` in all services. The producer comes first, so that its later events no longer name the account; what is kept
    outside databases comes last."""
    erasures = {service: ERASURES[service](deployment.environments.get(service, {})) for service in order}
    counts = {
        service: await _in_one(deployment, service, of, work, kind, campaign_id, actor, dry_run=dry_run)
        for service, of in erasures.items()
    }
    if not dry_run:
        for service, of in erasures.items():
            counts[service] |= of.committed()
    return counts


async def _in_one(
    deployment: Deployment,
    service: str,
    of: ServiceErasure,
    work: Work,
    kind: str,
    campaign_id: str,
    actor: str,
    *,
    dry_run: bool,
) -> dict[str, int]:
    """Runs `work` in one service, in a transaction that also writes the record. Repeats it where it collided with the running
    service."""
    counts: dict[str, int] = {}
    connection = await dump.connect(deployment.databases[service], dump.ERASING)
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
                        counts = await work(tx, service, of)
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
