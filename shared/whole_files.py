"""Writes files so that a reader sees a file whole or not at all, whatever becomes of the process that writes it.

A file is written in the folder `.new~` and then moved to its place. What a killed process left in `.new~` is removed by the first
write that comes more than `LEFT_OVER_AFTER_S` later.
"""

import os
import secrets
import time
from collections.abc import Iterable
from contextlib import suppress
from pathlib import Path

LEFT_OVER_AFTER_S = 60  # writing takes milliseconds; another process may just be at it
SCRATCH = ".new~"  # no id can be called so
PRIVATE_FOLDER = 0o700


class WholeFiles:
    """`formerly`: a glob for half-written files that earlier versions left among the others; they are looked for once."""

    def __init__(self, folder: Path, formerly: str) -> None:
        self._folder = folder
        self._formerly: str | None = formerly

    def write(self, path: Path, content: bytes) -> None:
        """Readable by the owner only; the folder of `path` must be there. Raises OSError, and then nothing of it stays."""
        folder = self._folder / SCRATCH
        folder.mkdir(mode=PRIVATE_FOLDER, parents=True, exist_ok=True)
        self._remove_left_overs(folder)
        scratch = folder / secrets.token_hex(8)
        try:
            with open(scratch, "xb", opener=_private) as file:
                file.write(content)
            scratch.replace(path)
        except BaseException:
            scratch.unlink(missing_ok=True)
            raise

    def _remove_left_overs(self, folder: Path) -> None:
        remove_older(folder.iterdir())
        if self._formerly is not None:
            remove_older(self._folder.glob(self._formerly))
            self._formerly = None


def remove_older(paths: Iterable[Path]) -> None:
    """Removes the files that nobody has written to for `LEFT_OVER_AFTER_S`."""
    oldest = time.time() - LEFT_OVER_AFTER_S
    for path in paths:
        with suppress(FileNotFoundError):
            if path.stat().st_mtime < oldest:
                path.unlink()


def _private(path: str, flags: int) -> int:
    return os.open(path, flags, 0o600)
