"""NATS: does acked mean stored, is there room, do the durables exist and are they read."""

import shutil
from collections.abc import Iterator, Mapping
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import httpx

from shared.bus import topology
from upkeep.check_services import clock_finding
from upkeep.deployment import Deployment
from upkeep.findings import Finding, ok, problem, warning

ANSWER_WITHIN_S = 5
VERSION_MIN = (2, 11)
STREAM_FULL = 0.8  # at 1.0 publishing is refused
LAG_MAX = 1_000  # messages of up to 500 rows each; a healthy consumer has a handful


async def check(deployment: Deployment) -> list[Finding]:
    if deployment.nats_monitoring is None:
        return [
            warning("nats", "NATS", "不知道监控地址，没有检查", "设置环境变量 NATS_MONITORING_URL，如 http://nats:8222")
        ]
    asked_at = datetime.now(UTC)
    try:
        async with httpx.AsyncClient(
            base_url=deployment.nats_monitoring, timeout=ANSWER_WITHIN_S, trust_env=False
        ) as http:
            health = (await http.get("/healthz")).json()
            server = (await http.get("/varz")).json()
            store = (await http.get("/jsz", params={"streams": "true", "consumers": "true", "config": "true"})).json()
    except (httpx.HTTPError, ValueError) as error:
        return [problem("nats", "NATS", f"没有回答：{type(error).__name__}", "看 NATS 是否在运行")]
    return [*judge_server(health, server, asked_at), *judge_store(store), *judge_streams(store)]


def judge_server(health: Mapping[str, Any], server: Mapping[str, Any], asked_at: datetime) -> Iterator[Finding]:
    if health.get("status") == "ok":
        yield ok("nats", "NATS", "正常")
    else:
        text = f"NATS 说自己不正常：{health.get('error', health.get('status'))}"
        yield problem("nats", "NATS", text, "磁盘满过的话，腾出空间以后要重启 NATS")
    yield clock_finding("NATS", datetime.fromisoformat(server["now"]), asked_at)
    version = tuple(int(part) for part in server["version"].split("-")[0].split(".")[:2])
    if version < VERSION_MIN:
        text = f"NATS {server['version']}，需要 {'.'.join(map(str, VERSION_MIN))} 或更新：旧版没有 sync_interval"
        yield problem("version", "NATS", text, "升级 nats-server")
    else:
        yield ok("version", "NATS", f"NATS {server['version']}")


def judge_store(store: Mapping[str, Any]) -> Iterator[Finding]:
    config = store.get("config", {})
    if config.get("sync_always"):
        yield ok("nats_settings", "NATS", "每条消息都写到磁盘")
    else:
        text = "sync_interval 不是 always：断电会丢失已确认的消息，甚至整个流"
        yield problem("nats_settings", "NATS", text, "用 deploy/nats/nats.conf 里的 jetstream 设置并重启 NATS")
    room = config.get("max_storage", 0)
    reserved = sum(stream["config"].get("max_bytes", 0) for stream in _streams(store))
    if reserved > room:
        text = f"各流上限之和 {_gib(reserved)} 超过 max_file_store {_gib(room)}"
        yield problem("nats_settings", "NATS", text, "加大 NATS_MAX_FILE，或减小 NATS_EVENTS_MAX_BYTES")
    folder = Path(config.get("store_dir", ""))
    if folder.is_dir():  # the data is on this machine
        free, left = shutil.disk_usage(folder).free, room - store.get("storage", 0)
        if free < left:
            text = f"磁盘只剩 {_gib(free)}，NATS 还打算用 {_gib(left)}"
            yield problem("disk", "NATS", text, "清理或扩大磁盘：磁盘真的满了以后，NATS 要重启才恢复")


def judge_streams(store: Mapping[str, Any]) -> Iterator[Finding]:
    streams = {stream["name"]: stream for stream in _streams(store)}
    for wanted in topology.STREAMS:
        if wanted.name not in streams:
            yield problem("topology", wanted.name, "流不存在", "运行 topology 任务，再 fanzha outbox republish")
            continue
        stream = streams[wanted.name]
        full = stream["state"]["bytes"] / max(stream["config"].get("max_bytes", 0), 1)
        if full > STREAM_FULL:
            yield problem(
                "stream_room", wanted.name, f"流已用 {full:.0%}，满了就拒绝发布", "加大上限，或缩短 NATS_MAX_AGE_DAYS"
            )
        else:
            yield ok("stream_room", wanted.name, f"流已用 {full:.0%}")
        for setting in _unsafe_settings(stream["config"]):
            yield problem("topology", wanted.name, setting, "运行 topology 任务")
    consumers = {
        consumer["name"]: consumer for stream in streams.values() for consumer in stream.get("consumer_detail") or []
    }
    for durable in topology.DURABLES:
        if durable.stream in streams:
            yield _consumer(durable.name, consumers.get(durable.name))


def _unsafe_settings(config: Mapping[str, Any]) -> Iterator[str]:
    if config.get("storage") != "file":
        yield "流不在磁盘上：重启就没有了"
    if config.get("discard") != "new":
        yield "流满时会丢弃旧消息，应当拒绝新消息"


def _consumer(name: str, consumer: Mapping[str, Any] | None) -> Finding:
    if consumer is None:
        return problem("topology", name, "消费者不存在：这些事件没有人处理", "运行 topology 任务")
    if consumer["num_pending"] > LAG_MAX:
        text = f"落后 {consumer['num_pending']:,} 条消息"
        return problem("lag", name, text, f"看 {topology.durable(name).service} 的日志和 CPU；补得上就会自己追上")
    return ok("lag", name, f"落后 {consumer['num_pending']:,} 条")


def _streams(store: Mapping[str, Any]) -> list[Any]:
    return [stream for account in store.get("account_details") or [] for stream in account.get("stream_detail") or []]


def _gib(size: float) -> str:
    return f"{size / 1024**3:.1f} GiB"
