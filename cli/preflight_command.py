"""`fanzha preflight`: whether this machine can hold the deployment, before `docker compose up`. Exit code 1 when it cannot."""

import os
import shutil
import subprocess
from pathlib import Path
from typing import Annotated

import typer

from cli.client import fail
from cli.doctor_command import report
from shared.os_errors import os_reason

DOCKER = (("docker", "version", "--format", "{{.Server.Version}}"),)
COMPOSE = (("docker", "compose", "version", "--short"), ("docker-compose", "version", "--short"))
ANSWER_WITHIN_S = 20
DOCKER_DATA = Path("/var/lib/docker")


def preflight(
    directory: Annotated[
        Path, typer.Option(help="部署目录：fanzha init 写了 .env 的目录", file_okay=False, exists=True)
    ] = Path("."),
    engine: Annotated[str, typer.Option(help="Docker 引擎的版本；不写就自己问 docker")] = "",
    compose: Annotated[str, typer.Option(help="Compose 的版本；不写就自己问")] = "",
    everything: Annotated[bool, typer.Option("--all", help="也列出没有问题的")] = False,
    as_json: Annotated[bool, typer.Option("--json", help="输出 JSON，供脚本使用")] = False,
) -> None:
    """启动以前检查本机：Docker、内存、磁盘、端口够不够。不够时退出码为 1。"""
    from upkeep import check_host

    try:
        env = check_host.env_settings((directory / ".env").read_text())
    except OSError as error:
        fail(f"读不了 {error.filename}：{os_reason(error)}。先运行 fanzha init")
    wanted = check_host.needs(env)
    folders = [directory.resolve(), DOCKER_DATA if DOCKER_DATA.is_dir() else Path("/")]
    findings = [
        check_host.judge_engine(engine or _ask(DOCKER)),
        check_host.judge_compose(compose or _ask(COMPOSE)),
        check_host.judge_memory(os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE"), wanted),
        check_host.judge_cpus(os.cpu_count() or 1, env),
        *(check_host.judge_disk(folder, shutil.disk_usage(folder).free, wanted) for folder in folders),
        *check_host.judge_ports(env, _sees_the_machines_ports()),
    ]
    report(findings, everything=everything, as_json=as_json)


def _ask(commands: tuple[tuple[str, ...], ...]) -> str | None:
    """The output of the first command that succeeds; None where all fail."""
    for command in commands:
        try:
            done = subprocess.run(command, capture_output=True, text=True, timeout=ANSWER_WITHIN_S)  # noqa: S603
        except (OSError, subprocess.TimeoutExpired):
            continue
        if done.returncode == 0 and done.stdout.strip():
            return done.stdout.strip()
    return None


def _sees_the_machines_ports() -> bool:
    """Whether this process sees the machine's own ports. In a container it does with `--network host`: then the engine's bridge
    is among the interfaces."""
    return not Path("/.dockerenv").exists() or Path("/sys/class/net/docker0").exists()
