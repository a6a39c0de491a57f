"""Each service's database: can it be reached, is its schema right, are commits safe, who may do what, what waits in it?"""

import asyncio
import math
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

import asyncpg

from shared.bus.topology import SERVICES
from shared.database.migrate import is_enough, newest_schema
from upkeep import dump
from upkeep.check_services import clock_finding
from upkeep.deployment import Deployment
from upkeep.findings import Finding, ok, problem, warning

OUTBOX_OLD_S = 60  # published within seconds while NATS is there
POSTGRES_MIN = 180000

# What `SHOW` must answer for each setting, and what is lost otherwise.
SETTINGS = {
    "synchronous_commit": ("on", "断电会丢失已答复“已记录”的签到"),
    "fsync": ("on", "断电会损坏整个数据库"),
    "full_page_writes": ("on", "断电会损坏数据页"),
    "data_checksums": ("on", "磁盘损坏不会被发现"),
}
STATE = """
SELECT current_setting('server_version_num')::int AS version, clock_timestamp() AS now,
       has_schema_privilege($1, 'public', 'CREATE') AS app_creates_tables,
       has_database_privilege($1, current_database(), 'TEMP') AS app_creates_temporary,
       (SELECT rolsuper OR rolcreatedb OR rolcreaterole FROM pg_roles WHERE rolname = $1) AS app_is_powerful,
       (SELECT rolsuper FROM pg_roles WHERE rolname = current_user) AS owner_is_superuser,
       ARRAY(SELECT rolname::text FROM pg_roles WHERE rolname = ANY($2::text[])
             AND has_database_privilege(rolname, current_database(), 'CONNECT')) AS strangers
"""
WAITING = """
SELECT (SELECT count(*) FROM outbox_pending) AS pending,
       (SELECT coalesce(extract(epoch FROM now() - min(since)), 0)::float8 FROM outbox_pending) AS oldest_s,
       (SELECT count(*) FROM dead_letter WHERE replayed_at IS NULL) AS dead_letters,
       (SELECT string_agg(durable, '、' ORDER BY durable) FROM held_message) AS held
"""


@dataclass(frozen=True)
class State:
    """The findings about one database."""

    asked_at: datetime
    settings: dict[str, str]
    server: dict[str, Any]
    schema: str | None
    waiting: dict[str, Any] | None


async def check(deployment: Deployment) -> list[Finding]:
    by_service = await asyncio.gather(*(_check_one(service, deployment.databases[service]) for service in SERVICES))
    return [finding for findings in by_service for finding in findings]


async def _check_one(service: str, url: str) -> list[Finding]:
    try:
        state = await look(service, url)
    except (OSError, TimeoutError, asyncpg.PostgresError, asyncpg.InterfaceError) as error:
        return [
            problem(
                "database", service, f"连不上数据库：{type(error).__name__}", "看 Postgres 是否在运行、口令是否改过"
            )
        ]
    return [ok("database", service, "连得上"), *judge(service, state)]


async def look(service: str, url: str) -> State:
    connection = await dump.connect(url)
    try:
        asked_at = datetime.now(UTC)
        app = f"{service}_app"
        others = [f"{other}_{role}" for other in SERVICES if other != service for role in ("app", "owner")]
        server = dict(await connection.fetchrow(STATE, app, others))
        settings = {name: await connection.fetchval("SELECT current_setting($1)", name) for name in SETTINGS}
        migrated = await connection.fetchval("SELECT to_regclass('public.alembic_version') IS NOT NULL")
        schema = await connection.fetchval("SELECT version_num FROM alembic_version") if migrated else None
        waiting = dict(await connection.fetchrow(WAITING)) if schema else None
        return State(asked_at, settings, server, schema, waiting)
    finally:
        await connection.close()


def judge(service: str, state: State) -> Iterator[Finding]:
    yield clock_finding(f"{service} 的 Postgres", state.server["now"], state.asked_at)
    yield _version(service, state.server["version"])
    yield _schema(service, state.schema)
    for name, (wanted, loss) in SETTINGS.items():
        if state.settings[name] != wanted:
            yield problem(
                "postgres_settings",
                service,
                f"{name} = {state.settings[name]}：{loss}",
                f"把 {name} 设为 {wanted} 并重启 Postgres",
            )
    yield from _rights(service, state.server)
    if state.waiting:
        yield _outbox(service, state.waiting)
        yield _dead_letters(service, state.waiting["dead_letters"])
        if held := state.waiting["held"]:
            text = f"{held} 停在一条看不懂的消息上，后面的都没有处理"
            yield problem("held", service, text, "按 deploy/runbooks/ConsumerHeld.md 处理：多半是密钥不对或版本太旧")


def _version(service: str, version: int) -> Finding:
    if version < POSTGRES_MIN:
        text = f"Postgres {version // 10000}，需要 {POSTGRES_MIN // 10000} 或更新"
        return problem("version", service, text, "升级 Postgres：签到用到 RETURNING old/new")
    return ok("version", service, f"Postgres {version // 10000}.{version % 10000}")


def _schema(service: str, present: str | None) -> Finding:
    needed = newest_schema(service)
    if not is_enough(present, needed):
        text = f"库结构是 {present or '空的'}，程序需要 {needed}"
        return problem("schema", service, text, f"运行迁移任务 migrate-{service}")
    return ok("schema", service, f"库结构 {present}")


def _rights(service: str, server: dict[str, Any]) -> Iterator[Finding]:
    remedy = "重新运行 provision 任务（deploy/postgres/provision.sql）"
    if server["app_creates_tables"] or server["app_creates_temporary"]:
        yield problem("rights", service, f"{service}_app 能建表：它只应读写数据", remedy)
    if server["app_is_powerful"]:
        yield problem(
            "rights",
            service,
            f"{service}_app 有管理员权限",
            f"ALTER ROLE {service}_app NOSUPERUSER NOCREATEDB NOCREATEROLE",
        )
    if server["owner_is_superuser"]:
        yield problem("rights", service, "迁移用的角色是超级用户", f"MIGRATION_DATABASE_URL 应使用 {service}_owner")
    if server["strangers"]:
        yield problem("rights", service, f"别的服务的角色能进这个数据库：{'、'.join(server['strangers'])}", remedy)


def _outbox(service: str, waiting: dict[str, Any]) -> Finding:
    number, age = waiting["pending"], waiting["oldest_s"]
    if number and not math.isfinite(age):
        return warning("outbox", service, f"正在重新发布，还有 {number:,} 个事件", "等它发完：fanzha outbox status")
    if age > OUTBOX_OLD_S:
        text = f"{number:,} 个事件没有发布，最早的等了 {age:,.0f} 秒"
        return problem("outbox", service, text, f"看 {service} 是否在运行、连得上 NATS、事件流是否已满")
    return ok("outbox", service, "没有积压的事件")


def _dead_letters(service: str, number: int) -> Finding:
    if number:
        text = f"{number:,} 条消息处理不了，已停放"
        return problem("dead_letters", service, text, "fanzha dead-letters list 看原因，排除后 replay")
    return ok("dead_letters", service, "没有死信")
