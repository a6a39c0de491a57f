"""`fanzha clock`: every service has reached the time and has nothing left, or the operator is told which has not and why."""

import json
from collections.abc import Iterator
from datetime import datetime
from functools import partial
from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner, Result

from cli import clock_commands
from cli.clock_commands import NotSettled, settle
from shared.bus.topology import PRODUCERS_FIRST, SERVICES
from tests.support.json_server import JsonServer

EARLIER = "2024-06-29T19:00:00+08:00"
LATER = "2024-06-29T19:30:00+08:00"


class Stack:
    """Four services behind one server. Each gives its `answers` first, and then says that it is settled at `LATER`."""

    def __init__(self, server: JsonServer, url: str) -> None:
        self.server = server
        self.urls = {service: f"{url}/{service}" for service in SERVICES}
        self.answers: dict[str, list[tuple[int, Any]]] = {service: [] for service in SERVICES}
        for service in SERVICES:
            server.routes["POST", f"/{service}/health/settle"] = partial(self._answer, service)

    def _answer(self, service: str, _: object) -> tuple[int, Any]:
        waiting = self.answers[service]
        return waiting.pop(0) if waiting else (200, {"clock": "2024-06-29T11:30:00+00:00", "settled": True})

    def busy(self, service: str, times: int) -> None:
        self.answers[service] += [(200, {"clock": "2024-06-29T11:30:00+00:00", "settled": False})] * times

    @property
    def asked(self) -> list[str]:
        return [path.split("/")[1] for method, path, _ in self.server.calls if method == "POST"]


@pytest.fixture
def stack(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Iterator[Stack]:
    server = JsonServer()
    with server.running() as url:
        stack = Stack(server, url)
        monkeypatch.setenv("FANZHA_HOME", str(tmp_path))
        for service, address in stack.urls.items():
            monkeypatch.setenv(f"{service.upper()}_URL", address)
        yield stack


def wait(stack: Stack, **more: Any) -> None:
    settle(stack.urls, datetime.fromisoformat(LATER), pause_s=0, **more)


def test_two_whole_quiet_rounds_in_the_order_of_events(stack: Stack) -> None:
    wait(stack)
    assert stack.asked == [*PRODUCERS_FIRST] * 2


def test_work_found_in_the_second_round_starts_the_count_again(stack: Stack) -> None:
    stack.answers["reporting"].append((200, {"clock": "2024-06-29T11:30:00+00:00", "settled": True}))
    stack.busy("reporting", 1)
    wait(stack)
    assert stack.asked == [*PRODUCERS_FIRST] * 4


def test_a_service_that_is_behind_or_away_is_asked_again(stack: Stack) -> None:
    stack.answers["certificate"] += [
        (200, {"clock": "2024-06-29T11:00:00+00:00", "settled": True}),
        (503, {"title": "x"}),
        (200, "not json"),
    ]
    heard: list[str] = []
    wait(stack, tell=heard.append)
    assert [text.split()[0] for text in heard] == ["certificate"] * 3
    assert "时钟还在" in heard[0]


def test_the_laggard_is_named_with_what_its_readiness_says(stack: Stack) -> None:
    stack.busy("reporting", 1_000_000)
    stack.server.routes["GET", "/reporting/health/ready"] = lambda _: (
        503,
        {"checks": {"database": "ok", "bus": "not connected to NATS"}},
    )
    with pytest.raises(NotSettled, match=r"(?s)reporting 还有事没做完.*bus：not connected") as refused:
        wait(stack, within_s=0.3)
    assert "certificate" not in str(refused.value)


def test_wall_clock_services_cannot_settle(stack: Stack) -> None:
    stack.answers["checkin"].append((404, {"title": "x"}))
    with pytest.raises(NotSettled, match="CLOCK_AT"):
        wait(stack)


def run(*arguments: str) -> Result:
    return CliRunner().invoke(clock_commands.app, arguments)


def test_set_moves_the_clock_and_show_tells_it(stack: Stack, tmp_path: Path) -> None:
    clock = tmp_path / "clock"
    clock.write_text(EARLIER)
    done = run("set", LATER, "--json")
    assert done.exit_code == 0, done.output
    assert json.loads(done.stdout) == {"clock": LATER, "settled": True}
    assert datetime.fromisoformat(clock.read_text().strip()) == datetime.fromisoformat(LATER)
    assert json.loads(run("show", "--json").stdout) == {"clock": "2024-06-29T11:30:00+00:00"}


def test_the_clock_is_told_in_chinas_time_however_it_was_set(stack: Stack, tmp_path: Path) -> None:
    (tmp_path / "clock").write_text(EARLIER)
    assert "模拟时钟：2024-06-29 19:30:00+08:00，" in run("set", "2024-06-29T11:30:00Z").stdout
    assert run("show").stdout == "模拟时钟：2024-06-29 19:30:00+08:00\n"
    assert (
        "已是 2024-06-29 19:30:00+08:00，不能往回拨到 2024-06-29 19:00:00+08:00"
        in run("set", "2024-06-29T11:00:00Z").output
    )


@pytest.mark.parametrize(
    ("to", "says"),
    [("2024-06-29T18:00:00+08:00", "不能往回拨"), ("2024-06-29T19:30:00", "没有写时区"), ("tomorrow", "不是时间")],
)
def test_times_that_cannot_be_set(stack: Stack, tmp_path: Path, to: str, says: str) -> None:
    (tmp_path / "clock").write_text(EARLIER)
    done = run("set", to)
    assert done.exit_code == 1
    assert says in done.output
    assert (tmp_path / "clock").read_text() == EARLIER
    assert stack.asked == []


@pytest.mark.parametrize("command", [["set", LATER], ["show"]])
def test_without_a_simulated_clock_nothing_is_set(stack: Stack, command: list[str]) -> None:
    done = run(*command)
    assert done.exit_code == 1
    assert "CLOCK_AT" in done.output
