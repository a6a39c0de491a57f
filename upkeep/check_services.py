"""Do the services answer, are they ready, what time do they think it is."""

import asyncio
from collections.abc import Iterator
from dataclasses import dataclass, field
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime
from typing import Any

import httpx

from shared.bus.topology import SERVICES
from shared.clock import CHINA, local_text
from upkeep.deployment import Deployment
from upkeep.findings import Finding, ok, problem, warning

ANSWER_WITHIN_S = 5
SKEW_MAX_S = 5  # signatures allow 300 s; logs and windows do not
SIMULATED_BEYOND_S = 5


@dataclass(frozen=True)
class Answer:
    """What a service said about itself. `error`: why it gave no answer."""

    status: int = 0
    body: dict[str, Any] = field(default_factory=dict)
    sent_at: datetime | None = None  # the Date header: that machine's wall clock, in whole seconds
    asked_at: datetime | None = None
    error: str | None = None


async def check(deployment: Deployment) -> list[Finding]:
    async with httpx.AsyncClient(timeout=ANSWER_WITHIN_S, trust_env=False) as http:
        known = [service for service in SERVICES if service in deployment.services]
        answers = await asyncio.gather(*(_ask(http, deployment.services[service]) for service in known))
    findings = [finding for service, answer in zip(known, answers, strict=True) for finding in judge(service, answer)]
    unknown = [service for service in SERVICES if service not in deployment.services]
    return findings + [
        warning("services", service, "不知道地址，没有检查", f"设置环境变量 {service.upper()}_URL")
        for service in unknown
    ]


async def _ask(http: httpx.AsyncClient, url: str) -> Answer:
    asked_at = datetime.now(UTC)
    try:
        response = await http.get(f"{url}/health/ready")
        body = response.json()
    except (httpx.HTTPError, ValueError) as error:
        return Answer(error=f"{type(error).__name__}（{url}）")
    date = response.headers.get("date")
    return Answer(response.status_code, body, parsedate_to_datetime(date) if date else None, asked_at)


def judge(service: str, answer: Answer) -> Iterator[Finding]:
    if answer.error:
        yield problem("services", service, f"没有回答：{answer.error}", "看它是否在运行，日志里最后说了什么")
        return
    status, checks = answer.body.get("status"), answer.body.get("checks", {})
    wrong = "；".join(f"{_PARTS.get(part, part)}：{text}" for part, text in checks.items() if text != "ok")
    if status == "ready":
        yield ok("services", service, "就绪")
    elif status == "degraded":
        yield warning("services", service, f"能工作，但不完整：{wrong}", "恢复那一部分；之后会自动补上")
    else:
        yield problem(
            "services", service, f"没有就绪：{wrong or answer.status}", "恢复那一部分；服务会自动回来，不用重启"
        )
    yield from _clock(service, answer)


_PARTS = {"database": "数据库", "bus": "NATS"}


def _clock(service: str, answer: Answer) -> Iterator[Finding]:
    if answer.sent_at is None or answer.asked_at is None:
        return
    skew = skew_s(answer.sent_at, answer.asked_at)
    if skew > SKEW_MAX_S:
        yield problem("clock", service, f"它的时钟与本机相差 {skew:.0f} 秒", _SYNCHRONISE)
    now = answer.body.get("clock")
    if now and abs((datetime.fromisoformat(now) - answer.sent_at).total_seconds()) > SIMULATED_BEYOND_S:
        stands_at = local_text(datetime.fromisoformat(now), CHINA)
        yield warning(
            "simulated_clock", service, f"用的是模拟时钟：{stands_at}", "演示和测试才这样；正式活动去掉 CLOCK_FILE"
        )


_SYNCHRONISE = "打开时间同步（chrony 或 systemd-timesyncd）：签到时段、截止时间都按时钟判断"


def skew_s(theirs: datetime, ours: datetime) -> float:
    return abs((theirs - ours).total_seconds())


def clock_finding(subject: str, theirs: datetime, ours: datetime) -> Finding:
    skew = skew_s(theirs, ours)
    if skew > SKEW_MAX_S:
        return problem("clock", subject, f"时钟与本机相差 {skew:.0f} 秒", _SYNCHRONISE)
    return ok("clock", subject, f"时钟与本机相差不到 {SKEW_MAX_S} 秒")
