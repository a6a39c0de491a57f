"""The system's reasons in Chinese, as commands print them."""

import errno
from pathlib import Path

import pytest
from typer.testing import CliRunner

from cli.main import app
from shared.os_errors import os_reason


def test_the_usual_reasons_are_chinese_and_others_the_systems_own(tmp_path: Path) -> None:
    with pytest.raises(OSError, match="No such file") as missing:
        (tmp_path / "none").read_text()
    with pytest.raises(OSError, match="Is a directory") as folder:
        tmp_path.read_text()
    assert (os_reason(missing.value), os_reason(folder.value)) == ("没有这个文件或文件夹", "这是文件夹，不是文件")
    assert os_reason(OSError(errno.ENOTTY, "Inappropriate ioctl for device")) == "Inappropriate ioctl for device"


@pytest.mark.parametrize("command", [["preflight", "--directory", "."], ["campaign", "check", "none.yaml"]])
def test_a_command_that_finds_no_file_says_so_in_chinese(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, command: list[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    result = CliRunner().invoke(app, command)
    assert result.exit_code == 1
    assert "没有这个文件或文件夹" in result.output
