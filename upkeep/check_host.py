"""Whether a machine can hold a deployment, before anything of it runs (`fanzha preflight`): engine, memory, disk, ports."""

import errno
import re
import socket
from collections.abc import Iterator, Mapping
from pathlib import Path

from shared.os_errors import os_reason
from upkeep.findings import Finding, ok, problem, warning
from upkeep.sizing import GIB, VIEWERS_DEFAULT, Sizes, sizes

ENGINE_MIN = (20, 10)
COMPOSE_MIN = (1, 29)
MEMORY_SLACK = 0.9  # a machine of 8 GB shows 7.6 GiB
HERE = "127.0.0.1"
FIXED = {  # what docker-compose.yml publishes where `.env` says nothing: key, default, profile
    "CHECKIN_PORT": ("8001", ""),
    "REPORTING_PORT": ("8002", ""),
    "NOTIFICATION_PORT": ("8003", ""),
    "CERTIFICATE_PORT": ("8004", ""),
    "NATS_PORT": ("4222", ""),
    "PROMETHEUS_PORT": ("9090", "monitoring"),
    "ALERTMANAGER_PORT": ("9093", "monitoring"),
    "GRAFANA_PORT": ("3000", "monitoring"),
    "PUBLIC_PORT": ("443", "proxy"),
    "OFFICE_PORT": ("8440", "proxy"),
    "OFFICE_PORTS": ("8441-8445", "proxy"),
}


def env_settings(text: str) -> dict[str, str]:
    """`KEY=value` lines of a `.env`, as far as they are needed here; Compose itself reads much more."""
    assignments = re.findall(r"^\s*([A-Z_]+)\s*=\s*(.*?)\s*$", text, re.MULTILINE)
    return {key: re.sub(r"\s+#.*$", "", value).strip("'\"") for key, value in assignments}


def needs(env: Mapping[str, str]) -> Sizes:
    viewers = env.get("VIEWERS_EXPECTED", "")
    return sizes(int(viewers) if viewers.isdigit() and int(viewers) else VIEWERS_DEFAULT)


# ---- the engine ------------------------------------------------------------------------------------------------------


def judge_engine(version: str | None) -> Finding:
    remedy = "装 Docker 引擎 20.10 以上（docs/operations/install.md），并确认能用：docker version"
    return _version("engine", "Docker 引擎", version, ENGINE_MIN, remedy)


def judge_compose(version: str | None) -> Finding:
    remedy = "装 docker compose v2（插件），或 docker-compose 1.29"
    return _version("compose", "Docker Compose", version, COMPOSE_MIN, remedy)


def _version(check: str, subject: str, version: str | None, at_least: tuple[int, int], remedy: str) -> Finding:
    wanted = ".".join(map(str, at_least))
    version_match = re.match(r"v?(\d+)\.(\d+)", version or "")
    if not version_match:
        return problem(check, subject, f"没有，或不知道版本；需要 {wanted} 以上", remedy)
    if (int(version_match[1]), int(version_match[2])) < at_least:
        return problem(check, subject, f"是 {version}，需要 {wanted} 以上", remedy)
    return ok(check, subject, f"{version}")


# ---- the machine -----------------------------------------------------------------------------------------------------


def judge_memory(total: int, wanted: Sizes) -> Finding:
    text = f"{total / GIB:.1f} GiB，{wanted.viewers:,} 名观众需要 {wanted.memory_gib} GiB"
    if total < wanted.memory_gib * GIB * MEMORY_SLACK:
        remedy = "加内存；或人数写多了，就改小 .env 的 VIEWERS_EXPECTED 和 POSTGRES_ 各项（install.md 有表）"
        return problem("memory", "内存", text, remedy)
    return ok("memory", "内存", text)


def judge_cpus(count: int, env: Mapping[str, str]) -> Finding:
    wanted = float(env.get("POSTGRES_CPUS") or 1)
    if wanted > count:
        text = f"{count} 核，而 .env 的 POSTGRES_CPUS={wanted:g}"
        return problem("cpus", "处理器", text, "改小 POSTGRES_CPUS：引擎不允许多于本机，postgres 起不来")
    return ok("cpus", "处理器", f"{count} 核")


def judge_disk(folder: Path, free: int, wanted: Sizes) -> Finding:
    text = f"{folder} 所在磁盘空闲 {free / GIB:.0f} GiB，{wanted.viewers:,} 名观众需要 {wanted.disk_gib} GiB（含 14 份备份）"
    if free < wanted.disk_gib * GIB:
        remedy = "清理或扩容；备份放到另一块盘（.env 的 BACKUPS），或少留几份（BACKUP_KEEP）"
        return problem("disk", "磁盘", text, remedy)
    return ok("disk", "磁盘", text)


# ---- ports -----------------------------------------------------------------------------------------------------------


def ports(env: Mapping[str, str]) -> Iterator[tuple[str, str, int]]:
    """Key, address and number of each port that `up` would publish."""
    profiles = env.get("COMPOSE_PROFILES", "").split(",")
    addresses = {"PUBLIC": env.get("PUBLIC_ADDRESS") or HERE, "OFFICE": env.get("OFFICE_ADDRESS") or HERE}
    for key, (default, profile) in FIXED.items():
        first, _, last = (env.get(key) or default).partition("-")
        if (profile and profile not in profiles) or not first.isdigit():
            continue
        address = addresses.get(key.partition("_")[0], HERE)
        for number in range(int(first), int(last if last.isdigit() else first) + 1):
            yield key, address, number


def judge_ports(env: Mapping[str, str], visible: bool) -> Iterator[Finding]:
    """`visible`: whether this process sees the machine's own ports; a container with a network of its own does not."""
    if not visible:
        yield warning("ports", "端口", "在容器里，看不到本机的端口", "docker run 加 --network host 再查一次")
        return
    wrong = [finding for key, address, number in ports(env) if (finding := _judge_port(key, address, number))]
    yield from wrong or [ok("ports", "端口", f"{len(list(ports(env)))} 个都空着")]


def _judge_port(key: str, address: str, number: int) -> Finding | None:
    with socket.socket() as attempt:
        attempt.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            attempt.bind((address, number))
        except OSError as error:
            return _port_finding(key, address, number, error)
    return None


def _port_finding(key: str, address: str, number: int, error: OSError) -> Finding:
    where = f"{address}:{number}（{key}）"
    if error.errno == errno.EADDRINUSE:
        remedy = f"看是谁：ss -ltnp 'sport = :{number}'；停掉它，或在 .env 里改 {key}。本系统已经在运行就不用管"
        return problem("ports", where, "已被占用", remedy)
    if error.errno == errno.EADDRNOTAVAIL:
        return problem(
            "ports", where, "本机没有这个地址", f".env 里 {key.partition('_')[0]}_ADDRESS 写成本机网卡的地址（ip addr）"
        )
    return warning("ports", where, f"没有查成：{os_reason(error)}", "用 root 再查一次")
