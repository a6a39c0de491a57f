"""Has a service done something that no ledger supports: applied events that no ledger has, sums above checkin's counts, texts
without a certificate? Each finding says what to do about it."""

from collections import Counter, defaultdict
from collections.abc import Iterator, Mapping, Sequence

import asyncpg

from shared.bus.topology import SERVICES
from shared.database import DatabaseAway
from upkeep import agreement
from upkeep.agreement import Databases, Fact
from upkeep.deployment import Deployment
from upkeep.findings import Finding, ok, problem

LISTED_MAX = 3
RUNBOOK = "按 deploy/runbooks/LedgerExceeded.md 处理：先找回丢失的，再 fanzha repair"
UNSENT = ("queued",)
AWAY = (  # a database is away, lets nobody in, or has no tables yet
    OSError,
    asyncpg.InterfaceError,
    asyncpg.PostgresConnectionError,
    asyncpg.InvalidAuthorizationSpecificationError,
    asyncpg.UndefinedTableError,
    DatabaseAway,
)


async def check(deployment: Deployment) -> list[Finding]:
    try:
        async with agreement.opened(deployment) as databases:
            return [*await _events(databases), *await _sums(databases), *await _texts(databases)]
    except AWAY:
        return []  # check_databases says so


async def _events(databases: Databases) -> list[Finding]:
    number: Counter[str] = Counter()
    examples: dict[str, list[str]] = defaultdict(list)
    owners: dict[str, str] = {}
    async for unfounded in agreement.unfounded_events(databases):
        name = unfounded.durable.name
        number[name] += len(unfounded.event_ids)
        examples[name] += map(str, unfounded.event_ids[:LISTED_MAX])
        owners[name] = unfounded.owner
    return list(judge_events(number, examples, owners))


def judge_events(
    number: Mapping[str, int], examples: Mapping[str, Sequence[str]], owners: Mapping[str, str]
) -> Iterator[Finding]:
    """Findings about unfounded events. All mappings are by the name of the durable."""
    for durable, n in number.items():
        owner, listed = owners[durable], "、".join(examples[durable][:LISTED_MAX])
        text = (
            f"处理过 {n:,} 个事件，{owner} 的账本里没有（如 {listed}）：{owner} 答复过、发布过，却没有存下，"
            "或它的数据库恢复到了较早的状态"
        )
        yield problem("ledger", durable, text, RUNBOOK)
    if not number:
        yield ok("ledger", "、".join(SERVICES), "处理过的事件都在账本里")


async def _sums(databases: Databases) -> list[Finding]:
    return list(judge_sums(await agreement.surplus(databases)))


def judge_sums(surplus: Mapping[Fact, int]) -> Iterator[Finding]:
    by_campaign: dict[str, list[str]] = defaultdict(list)
    for (campaign_id, lesson, kind), more in sorted(surplus.items()):
        by_campaign[campaign_id].append(f"{lesson} {kind} 多 {more:,}")
    for campaign_id, lines in by_campaign.items():
        others = f" 等 {len(lines)} 处" if len(lines) > LISTED_MAX else ""
        text = f"统计比签到记录的还多：{'，'.join(lines[:LISTED_MAX])}{others}"
        yield problem("totals", campaign_id, text, RUNBOOK)
    if not surplus:
        yield ok("totals", "reporting", "统计没有超过签到")


async def _texts(databases: Databases) -> list[Finding]:
    unsent: Counter[str] = Counter()
    sent: Counter[str] = Counter()
    examples: dict[str, list[str]] = defaultdict(list)
    async for page in agreement.unfounded_texts(databases):
        for text in page:
            (unsent if text.status in UNSENT else sent)[text.campaign_id] += 1
            if len(examples[text.campaign_id]) < LISTED_MAX:
                examples[text.campaign_id].append(text.serial)
    return list(judge_texts(unsent, sent, examples))


def judge_texts(
    unsent: Mapping[str, int], sent: Mapping[str, int], examples: Mapping[str, Sequence[str]]
) -> Iterator[Finding]:
    """Findings about unfounded texts. All mappings are by campaign."""
    for campaign_id, serials in sorted(examples.items()):
        waiting, gone = unsent.get(campaign_id, 0), sent.get(campaign_id, 0)
        text = (
            f"{waiting + gone:,} 条领证短信写的证书并不存在（如 {'、'.join(serials)}）："
            f"{waiting:,} 条还没有发，{gone:,} 条已发出或正在发"
        )
        yield problem("texts", campaign_id, text, RUNBOOK)
    if not examples:
        yield ok("texts", "notification", "短信写的证书都存在")
