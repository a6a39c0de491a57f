"""Half-written files: none where files are read, and none that stays (shared/whole_files.py)."""

import os
import time
from pathlib import Path
from uuid import UUID

import pytest

from devstack.home import write_whole
from services.notification.channels.domain import Message, Reference
from services.notification.channels.file import FileChannel
from shared.whole_files import LEFT_OVER_AFTER_S, SCRATCH, WholeFiles


def left_over(path: Path, age_s: float = LEFT_OVER_AFTER_S + 1) -> Path:
    """A file left by a process that was killed `age_s` ago."""
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text("To: 139")
    at = time.time() - age_s
    os.utime(path, (at, at))
    return path


def below(folder: Path) -> list[str]:
    return sorted(str(path.relative_to(folder)) for path in folder.rglob("*") if path.is_file())


def test_what_a_killed_process_left_goes_and_what_another_is_writing_stays(tmp_path: Path) -> None:
    files = WholeFiles(tmp_path, formerly="*.half")
    left_over(tmp_path / SCRATCH / "dead")
    left_over(tmp_path / "old.half")
    alive = left_over(tmp_path / SCRATCH / "alive", age_s=5)
    files.write(tmp_path / "whole", b"content")
    assert below(tmp_path) == [str(alive.relative_to(tmp_path)), "whole"]
    assert (tmp_path / "whole").stat().st_mode & 0o077 == 0


def test_a_write_that_fails_leaves_nothing(tmp_path: Path) -> None:
    with pytest.raises(OSError, match="No such file"):
        WholeFiles(tmp_path, formerly="*.half").write(tmp_path / "missing" / "whole", b"content")
    (tmp_path / "folder").mkdir()
    with pytest.raises(OSError, match="directory"):
        write_whole(tmp_path / "folder", "text")
    assert below(tmp_path) == []


async def test_the_file_channel_leaves_no_half_messages(tmp_path: Path) -> None:
    reference = Reference("c", "certificate_ready", UUID(int=1))
    left_over(tmp_path / "c" / "certificate_ready" / f"{UUID(int=1)}.4711.new")  # as earlier versions called it
    left_over(tmp_path / SCRATCH / "dead")
    await FileChannel(tmp_path).send([Message(reference, "13900000001", "text")])
    assert below(tmp_path) == [f"c/certificate_ready/{UUID(int=1)}.txt"]


def test_the_dev_stack_leaves_no_half_secrets(tmp_path: Path) -> None:
    left_over(tmp_path / "secrets.json.4711.new")
    other = left_over(tmp_path / "secrets.json.bak")
    write_whole(tmp_path / "secrets.json", "{}")
    assert below(tmp_path) == ["secrets.json", other.name]
