"""`fanzha clock set TIME` and `fanzha clock show`: the simulated clock of a dev stack (DESIGN §4.6)."""

import json
import time
from collections.abc import Callable, Mapping
from datetime import datetime
from pathlib import Path
from typing import Annotated, Any

import httpx
import typer
from rich.console import Console

from cli.client import fail, setting
from devstack.home import Home
from shared.bus.topology import PRODUCERS_FIRST, SERVICES
from shared.clock import CHINA, local_text, read_clock, write_clock

app = typer.Typer(no_args_is_help=True, rich_markup_mode=None, help="模拟时钟：拨到某一刻、查看")

QUIET_ROUNDS = 2  # a service that has answered "settled" may get work from a service that is asked later
SETTLE_WITHIN_S = 120
PAUSE_S = 0.1
ASK_MIN_S = 1  # with less time left, the last request would only time out
READY_TIMEOUT_S = 5

AsJson = Annotated[bool, typer.Option("--json", help="输出 JSON，供脚本使用")]


class NotSettled(Exception):
    """The time was up, or a service has no simulated clock; the text names the service and says why."""


@app.command("set")
def set_clock(
    to: Annotated[str, typer.Argument(metavar="TIME", help="如 2024-06-29T19:30:00+08:00（RFC 3339，带时区）")],
    within_s: Annotated[int, typer.Option(min=1, max=3600, help="最多等各服务多少秒")] = SETTLE_WITHIN_S,
    as_json: AsJson = False,
) -> None:
    """把模拟时钟拨到 TIME，等四个服务做完到那一刻应做的事再返回。时钟不能往回拨。"""
    now = _moment(to)
    path = _simulated_clock()
    current = read_clock(path)
    if now < current:
        fail(f"模拟时钟已是 {_told(current)}，不能往回拨到 {_told(now)}。要重来：make down，清空数据后用 CLOCK_AT 启动")
    urls = {service: setting(f"{service.upper()}_URL") for service in SERVICES}
    write_clock(path, now)
    started = time.monotonic()
    try:
        with Console(stderr=True).status("等各服务做完") as status:
            settle(urls, now, within_s=within_s, tell=lambda text: status.update(f"等各服务做完：{text}"))
    except NotSettled as error:
        fail(f"时钟已拨到 {_told(now)}，但{error}")
    if as_json:
        typer.echo(json.dumps({"clock": now.isoformat(), "settled": True}))
    else:
        typer.echo(f"模拟时钟：{_told(now)}，各服务已就绪（{time.monotonic() - started:.1f} 秒）")


@app.command()
def show(as_json: AsJson = False) -> None:
    """显示模拟时钟。"""
    now = read_clock(_simulated_clock())
    typer.echo(json.dumps({"clock": now.isoformat()}) if as_json else f"模拟时钟：{_told(now)}")


def settle(
    urls: Mapping[str, str],
    now: datetime | None = None,
    *,
    within_s: float = SETTLE_WITHIN_S,
    tell: Callable[[str], None] = lambda _: None,
    pause_s: float = PAUSE_S,
) -> None:
    """Returns when no service has anything left to do at `now` (None: at its clock's time), which means that all services said so
    in two rounds in a row. A service that does not answer is asked again. Raises `NotSettled`.

    `urls`: service → base URL. `tell` hears what is being waited for.
    """
    give_up_at = time.monotonic() + within_s
    order = sorted(urls, key=PRODUCERS_FIRST.index)  # producers first, so that one round settles most
    waiting: dict[str, str | None] = dict.fromkeys(order, "还没有问到")  # service → what it said last
    quiet = 0
    with httpx.Client(trust_env=False) as http:
        while quiet < QUIET_ROUNDS:
            for service in order:
                left_s = give_up_at - time.monotonic()
                if left_s <= 0:
                    raise NotSettled(_complaint(http, urls, waiting, within_s))
                waiting[service] = _ask(http, service, urls[service], now, max(left_s, ASK_MIN_S))
            quiet = 0 if any(waiting.values()) else quiet + 1
            if not quiet:
                tell("；".join(f"{service} {why}" for service, why in waiting.items() if why))
                time.sleep(pause_s)


def _ask(http: httpx.Client, service: str, url: str, now: datetime | None, timeout_s: float) -> str | None:
    """What the service still has to do, or None. The request also makes it do what is due."""
    try:
        response = http.post(f"{url}/health/settle", timeout=timeout_s)
        if response.status_code in (404, 405):
            raise NotSettled(f"{service} 没有使用模拟时钟。请用 make down 和 make up CLOCK_AT=… 重新启动")
        answer: dict[str, Any] = response.raise_for_status().json()
    except httpx.HTTPStatusError as error:
        return f"回答 {error.response.status_code}"
    except (httpx.TransportError, ValueError) as error:
        return f"没有回答（{type(error).__name__}）"
    if now is not None and datetime.fromisoformat(answer["clock"]) < now:
        return f"的时钟还在 {answer['clock']}"
    return None if answer["settled"] else "还有事没做完"


def _complaint(http: httpx.Client, urls: Mapping[str, str], waiting: Mapping[str, str | None], within_s: float) -> str:
    lines = [f"在 {within_s:.0f} 秒内没有全部做完："]
    for service, why in waiting.items():
        if not why:
            continue
        lines.append(f"  - {service} {why}")
        lines += [f"      {name}：{text}" for name, text in _checks(http, urls[service]).items() if text != "ok"]
    lines.append("请看 fanzha outbox status、fanzha dead-letters list 和这些服务的日志；可加大 --within-s 重试")
    return "\n".join(lines)


def _checks(http: httpx.Client, url: str) -> dict[str, str]:
    """The service's readiness checks, which often say why it is not settled. Empty where it does not answer."""
    try:
        checks: dict[str, str] = http.get(f"{url}/health/ready", timeout=READY_TIMEOUT_S).json()["checks"]
    except (httpx.HTTPError, ValueError, KeyError, TypeError):
        return {}
    return checks


def _simulated_clock() -> Path:
    path = Home.from_environment().clock
    if not path.exists():
        fail(f"没有模拟时钟（{path} 不存在）。请用 make up CLOCK_AT=2024-06-29T19:00:00+08:00 启动")
    return path


def _moment(text: str) -> datetime:
    try:
        now = datetime.fromisoformat(text)
    except ValueError:
        fail(f"“{text}”不是时间。请写成 2024-06-29T19:30:00+08:00")
    if now.tzinfo is None:
        fail(f"“{text}”没有写时区。请写成 {text}+08:00")
    return now


def _told(at: datetime) -> str:
    """The clock is all campaigns'; its time is told in China's."""
    return local_text(at, CHINA)
