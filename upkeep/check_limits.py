"""Do limits hold for every client with a service's role? A client that stands still or is gone must not keep its locks for ever.

The check asks in a session of that role which sets nothing itself, so the answers are what any client would get.
"""

import asyncio
import re
from collections.abc import Iterator, Mapping

import asyncpg

from shared.bus.topology import SERVICES
from upkeep.deployment import Deployment
from upkeep.findings import Finding, ok, problem

CONNECT_TIMEOUT_S = 10

# deploy/postgres/provision.sql
OF_THE_ROLE = {
    "statement_timeout": "一条卡住的语句会一直占着连接",
    "lock_timeout": "等锁没有期限，后面的都跟着等",
    "idle_in_transaction_session_timeout": "停住的程序会一直锁着它改过的行",
    "transaction_timeout": "一个事务可以没有尽头",
}
# deploy/docker/postgresql.conf; what is not set there is the machine's: two hours of silence before anybody asks.
OF_THE_SERVER = {
    "tcp_keepalives_idle": "断了线的客户端两小时以后才会被发现",
    "tcp_user_timeout": "发不出去的数据要等一刻钟才断开",
    "client_connection_check_interval": "客户端已经走了，语句还继续跑",
}
KEEPALIVE_MAX_S = 300


async def check(deployment: Deployment) -> list[Finding]:
    urls = {service: deployment.environments.get(service, {}).get("DATABASE_URL") for service in SERVICES}
    known = {service: url for service, url in urls.items() if url}
    shown = await asyncio.gather(*(_show(url) for url in known.values()))
    return [
        finding
        for service, settings in zip(known, shown, strict=True)
        if settings is not None
        for finding in judge(service, settings)
    ]


async def _show(url: str) -> dict[str, str] | None:
    """The settings as `SHOW` gives them; None where the database cannot be opened, which check_databases reports."""
    try:
        connection = await asyncpg.connect(url, timeout=CONNECT_TIMEOUT_S)
    except (OSError, TimeoutError, asyncpg.PostgresError, asyncpg.InterfaceError):
        return None
    try:
        return {name: str(await connection.fetchval(f"SHOW {name}")) for name in (*OF_THE_ROLE, *OF_THE_SERVER)}
    finally:
        await connection.close()


def judge(service: str, settings: Mapping[str, str]) -> Iterator[Finding]:
    """`settings`: as `SHOW` gives them."""
    none = [name for name in settings if re.match(r"0\D*$", settings[name])]
    if "tcp_keepalives_idle" not in none and int(settings["tcp_keepalives_idle"]) > KEEPALIVE_MAX_S:
        none.append("tcp_keepalives_idle")
    for name in none:
        where = f"{service}_app" if name in OF_THE_ROLE else f"{service} 的 Postgres"
        text = f"{where} 的 {name} = {settings[name]}：{(OF_THE_ROLE | OF_THE_SERVER)[name]}"
        yield problem("limits", service, text, _REMEDY_ROLE if name in OF_THE_ROLE else _REMEDY_SERVER.format(name))
    if not none:
        yield ok("limits", service, "数据库连接的各项时限都在")


_REMEDY_ROLE = "重新运行 provision 任务（deploy/postgres/provision.sql）"
_REMEDY_SERVER = "按 deploy/docker/postgresql.conf 设置 {}，重新加载 Postgres 的配置"
