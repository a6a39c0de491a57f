"""Time is an input (DESIGN §4.6). Domain functions take `now`; only this module asks what it is.

The simulated clock is a file with one RFC 3339 time, shared by all processes of a dev stack. It stands still until
`fanzha clock set` replaces the file, and never goes back. Signature and token expiry always use wall time.
"""

import os
from datetime import UTC, datetime, tzinfo
from pathlib import Path
from typing import Protocol
from zoneinfo import ZoneInfo

CHINA = ZoneInfo("Asia/Shanghai")  # for times that belong to no campaign; those of a campaign are shown in its own zone


class Clock(Protocol):
    @property
    def simulated(self) -> bool: ...

    def now(self) -> datetime:
        """The current time, aware, in UTC."""
        ...


class WallClock:
    simulated = False

    def now(self) -> datetime:
        return datetime.now(UTC)


class SimulatedClock:
    """Reads the file again whenever it was replaced; while it is missing or unreadable, the last known time holds."""

    simulated = True

    def __init__(self, path: Path) -> None:
        self._path = path
        self._seen: tuple[int, int] = (0, 0)
        self._now = read_clock(path)

    def now(self) -> datetime:
        try:
            status = os.stat(self._path)
            seen = (status.st_mtime_ns, status.st_ino)
            if seen != self._seen:
                self._now = max(self._now, read_clock(self._path))
                self._seen = seen
        except (OSError, ValueError):
            pass
        return self._now


def read_clock(path: Path) -> datetime:
    """The time in the file; raises OSError or ValueError."""
    now = datetime.fromisoformat(path.read_text().strip())
    if now.tzinfo is None:
        raise ValueError(f"{path}: a time needs an offset, such as 2024-06-29T19:00:00+08:00")
    return now.astimezone(UTC)


def write_clock(path: Path, now: datetime) -> None:
    """Sets the simulated clock; refuses to go back. Replaces the file whole, so no reader sees half of it."""
    if path.exists() and (current := read_clock(path)) > now:
        raise ValueError(f"the clock stands at {current.isoformat()} and never goes back to {now.isoformat()}")
    scratch = path.with_suffix(".new")
    scratch.write_text(now.isoformat() + "\n")
    scratch.replace(path)


def clock_from(path: Path | None) -> Clock:
    return WallClock() if path is None else SimulatedClock(path)


def local_text(at: datetime, zone: tzinfo | None = None) -> str:
    """A time as people read it, `2024-06-29 19:30:05+08:00`: in `zone`, or else in the zone of `at` itself."""
    local = at if zone is None else at.astimezone(zone)
    return local.isoformat(sep=" ", timespec="seconds")
