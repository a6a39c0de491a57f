"""A command line that can't be understood is refused in Chinese, with what to do."""

import re

import pytest
from typer.testing import CliRunner

from cli.main import app
from cli.usage import in_chinese


@pytest.mark.parametrize(
    ("command", "said"),
    [
        ("totals --by foo", "--by 的值不对：“foo”不行，只能是 unit、subtree、county、city、group、lesson、mode、platform 之一"),
        ("init --viewers 700万", "--viewers 的值不对：应为整数"),
        ("init --viewers 0", "--viewers 的值不对：不能小于 1"),
        ("demo --viewers 3", "--viewers 的值不对：不能小于 50"),
        ("token create --role x", "--role 的值不对：“x”不行，只能是 admin、office、auditor、liaison 之一"),
        ("import", "缺少 FILE"),
        ("nope", "没有“nope”这个命令"),
        ("token nope", "没有“nope”这个命令"),
        ("totals --nope", "没有 --nope 这个选项，想写的可能是 --mode"),
        ("status --x=3", "没有 --x 这个选项"),
        ("totals --campaign", "--campaign 后面要写值"),
        ("totals x", "多写了“x”"),
        ("up --clock-at x", "“x”不是时间，请写成 2024-06-29T19:00:00+08:00"),
    ],
)  # fmt: skip
def test_a_usage_error_is_chinese(command: str, said: str) -> None:
    done = CliRunner().invoke(app, command.split())
    assert (done.exit_code, done.stdout) == (2, "")
    first, second = done.stderr.splitlines()
    assert first == said
    assert re.fullmatch(r"用法见 [a-z -]+ --help", second)


def test_what_is_not_known_is_not_lost() -> None:
    assert in_chinese("Something new") == "命令写得不对（Something new）"


def test_a_group_without_a_command_shows_its_help() -> None:
    done = CliRunner().invoke(app, ["token"])
    assert "签发令牌" in done.output
    assert "用法见" not in done.output
