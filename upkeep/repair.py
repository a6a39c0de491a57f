"""Corrects what went beyond the ledgers (upkeep/agreement.py): the ledgers are true, and what was derived is made anew from them.

Every service must be stopped, so that no event is under way. The stream is emptied and published again from the ledgers, sums are
emptied and counted again, and texts of certificates that do not exist are not sent. The stream comes first, so that after a crash
the damage is still visible and the next run goes on. Lost events come back only from outside: by an import or a newer backup.
"""

from dataclasses import dataclass
from datetime import UTC, datetime

import services.notification.agreement
import services.reporting.agreement
from shared.bus import inbox
from shared.bus.topology import SERVICES
from shared.database import Limits
from upkeep import agreement, dump, forget
from upkeep.agreement import Databases
from upkeep.deployment import Deployment

REPAIRING = Limits(
    statement_s=3600,  # a million texts are looked through in pages, and a page on a slow disk takes minutes
    lock_s=60,  # the services are stopped
    idle_in_transaction_s=60,  # single statements
    transaction_s=0,
)


class CannotRepair(Exception):
    """Nothing was changed; the text says what has to be done first (zh-Hans)."""


@dataclass
class Repaired:
    """`events`: unfounded ones by durable. `surplus`: facts in sums beyond checkin's counts. `texts`: of certificates that do not
    exist; of these `cancelled` before they were sent. `published`: events that the services publish again once they run."""

    events: dict[str, int]
    surplus: int
    texts: int
    cancelled: int = 0
    published: int = 0

    @property
    def nothing_wrong(self) -> bool:
        return not (self.events or self.surplus or self.texts)


async def repair(deployment: Deployment, *, dry_run: bool) -> Repaired:
    """Repairs the deployment and returns what it found; a dry run only looks. Raises `CannotRepair`."""
    async with agreement.opened(deployment, dump.LOOKING if dry_run else REPAIRING) as databases:
        repaired = await _look(databases)
        if dry_run or repaired.nothing_wrong:
            return repaired
        await _check_stopped(deployment)
        repaired.published = await forget.rebuild_stream(deployment)
        await services.reporting.agreement.forget_everything_derived(databases["reporting"])
        async for unfounded in agreement.unfounded_events(databases):
            await inbox.forget(databases[unfounded.durable.service], unfounded.durable.name, unfounded.event_ids)
        async for page in agreement.unfounded_texts(databases):
            notification, now = databases["notification"], datetime.now(UTC)
            repaired.cancelled += await services.notification.agreement.cancel_texts(notification, page, now)
    return repaired


async def _look(databases: Databases) -> Repaired:
    events: dict[str, int] = {}
    async for unfounded in agreement.unfounded_events(databases):
        events[unfounded.durable.name] = events.get(unfounded.durable.name, 0) + len(unfounded.event_ids)
    surplus = sum((await agreement.surplus(databases)).values())
    texts = sum([len(page) async for page in agreement.unfounded_texts(databases)])
    return Repaired(events, surplus, texts)


async def _check_stopped(deployment: Deployment) -> None:
    if deployment.topology_url is None:
        raise CannotRepair("不知道 NATS 的地址，事件流不能重建")
    for service in SERVICES:
        if users := await dump.who_is_connected(deployment.databases[service]):
            raise CannotRepair(
                f"{service} 的数据库正在使用（{'、'.join(users)}）。请先停止所有服务，只留 Postgres 和 NATS"
            )
