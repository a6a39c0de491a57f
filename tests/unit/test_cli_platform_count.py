"""`fanzha platform-count`: what is sent, what the office reads, and what a script gets."""

import json
from collections.abc import Iterator
from typing import Any

import pytest
import typer
from typer.testing import CliRunner, Result

from cli import platform_count_command
from tests.support.json_server import JsonServer

PATH = "/v1/campaigns/small-2024/lessons/2024-06-29/platform-count"


@pytest.fixture
def checkin(monkeypatch: pytest.MonkeyPatch) -> Iterator[JsonServer]:
    """Has counted 98,000 live check-ins and 1,200 of the replay."""
    ours = {"live": 98_000, "replay": 1_200}

    def answer(counts: Any) -> tuple[int, Any]:
        both = {mode: {"platform": n, "ours": ours[mode]} for mode, n in counts.items()}
        return 200, {"campaign_id": "small-2024", "lesson_date": "2024-06-29", "counts": both}

    server = JsonServer()
    server.routes["PUT", PATH] = answer
    with server.running() as url:
        monkeypatch.setenv("CHECKIN_URL", url)
        monkeypatch.setenv("ADMIN_TOKEN", "t")
        yield server


def run(*arguments: str) -> Result:
    app = typer.Typer()
    app.command()(platform_count_command.platform_count)
    return CliRunner().invoke(app, ["--campaign", "small-2024", *arguments])


def test_both_counts_are_told_and_what_to_do_about_a_gap(checkin: JsonServer) -> None:
    done = run("2024-06-29", "--live", "100000", "--replay", "1200")
    assert done.exit_code == 0, done.output
    live, replay = done.stdout.splitlines()
    assert "首播：平台 100,000，收到 98,000（98.00%）" in live
    assert "fanzha import" in live
    assert replay == "2024-06-29 重播：平台 1,200，收到 1,200（100.00%）"


def test_what_the_platform_does_not_tell_is_not_sent_and_zero_is_a_number(checkin: JsonServer) -> None:
    done = run("2024-06-29", "--replay", "0")
    assert done.stdout == "2024-06-29 重播：平台 0，收到 1,200\n"


def test_json_is_the_services_answer(checkin: JsonServer) -> None:
    assert json.loads(run("2024-06-29", "--live", "100000", "--json").stdout) == {
        "campaign_id": "small-2024",
        "lesson_date": "2024-06-29",
        "counts": {"live": {"platform": 100_000, "ours": 98_000}},
    }


def test_without_a_number_nothing_is_sent(checkin: JsonServer) -> None:
    done = run("2024-06-29")
    assert done.exit_code == 1
    assert "--live" in done.stderr
    assert checkin.calls == []


@pytest.mark.parametrize("arguments", [("2024-6", "--live", "1"), ("2024-06-29", "--live", "-1")])
def test_what_cannot_be_right_is_not_sent(checkin: JsonServer, arguments: tuple[str, ...]) -> None:
    assert run(*arguments).exit_code == 2
    assert checkin.calls == []


def test_a_refusal_is_told_in_its_words(checkin: JsonServer) -> None:
    checkin.routes["PUT", PATH] = lambda _: (422, {"title": "2024-06-29 没有课程", "detail": "…"})
    done = run("2024-06-29", "--live", "1")
    assert done.exit_code == 1
    assert "2024-06-29 没有课程" in done.stderr
