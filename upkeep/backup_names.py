"""When backups were taken, by their names, whatever the clock of the moment says. Uses only the standard library, because a
container's health asks it every half minute (upkeep/recent_backup.py)."""

import re
from datetime import UTC, datetime, timedelta
from pathlib import Path

NAME = re.compile(r"fanzha-\d{8}T\d{6}Z")
AGE_MAX = timedelta(hours=26)  # one a day, and time to run
CLOCK_STEP = timedelta(minutes=5)  # a backup dated in the future by less than this is a corrected clock and no fault


def existing(folder: Path) -> list[Path]:
    """Complete backups, by name. Nothing else in the folder is ever touched."""
    return sorted(path for path in folder.glob("fanzha-*") if path.is_dir() and NAME.fullmatch(path.name))


def of_known_age(folder: Path, now: datetime) -> list[Path]:
    """Complete backups, oldest first. Those that were named while the clock was wrong are left out, because their age is not
    known."""
    return [backup for backup in existing(folder) if taken_at(backup) <= now + CLOCK_STEP]


def of_the_future(folder: Path, now: datetime) -> list[Path]:
    """Complete backups that are named by a time after `now`: the clock was wrong then, or it is now."""
    return [backup for backup in existing(folder) if taken_at(backup) > now + CLOCK_STEP]


def taken_at(backup: Path) -> datetime:
    return datetime.strptime(backup.name, "fanzha-%Y%m%dT%H%M%SZ").replace(tzinfo=UTC)
