"""When backups were taken, by their names, whatever the clock of the moment says. Stands on the standard library alone, because a
container's health asks it every half minute (upkeep/recent_backup.py)."""

import re
from datetime import UTC, datetime, timedelta
from pathlib import Path

NAME = re.compile(r"fanzha-\d{8}T\d{6}Z")
AGE_MAX = timedelta(hours=26)  # one a day, and time to run
CLOCK_STEP = timedelta(minutes=5)  # a clock that is put right by less does not make a backup one of the future


def existing(folder: Path) -> list[Path]:
    """Complete backups, by name. Nothing else in the folder is ever touched."""
    return sorted(path for path in folder.glob("fanzha-*") if path.is_dir() and NAME.fullmatch(path.name))


def of_known_age(folder: Path, now: datetime) -> list[Path]:
    """Complete backups, oldest first, without those that a wrong clock named: of these nobody knows how old they are."""
    return [backup for backup in existing(folder) if taken_at(backup) <= now + CLOCK_STEP]


def of_the_future(folder: Path, now: datetime) -> list[Path]:
    """Complete backups that are named by a time after `now`: the clock was wrong then, or it is now."""
    return [backup for backup in existing(folder) if taken_at(backup) > now + CLOCK_STEP]


def taken_at(backup: Path) -> datetime:
    return datetime.strptime(backup.name, "fanzha-%Y%m%dT%H%M%SZ").replace(tzinfo=UTC)
