"""A backup every day at a set time, for as long as the process lives (docker-compose.yml, `daily-backup`).

The newest backup in the folder decides when the next is due: a backup that was missed while the machine was off is taken at once,
and one that somebody took by hand counts.
"""

from collections.abc import Callable
from datetime import datetime, time, timedelta
from pathlib import Path
from typing import NoReturn

import structlog

from shared.clock import CHINA
from upkeep.backup_names import of_known_age, taken_at

RETRY_AFTER = timedelta(minutes=10)  # a database that restarts is back; six tries an hour fill no log
LOOK_EVERY_S = 60  # the machine may sleep, and its clock may be set

log = structlog.get_logger()


def next_after(moment: datetime, at: time) -> datetime:
    """The first `at`, China's time, that is later than `moment`."""
    local = moment.astimezone(CHINA)
    today = datetime.combine(local.date(), at, CHINA)
    return today if today > local else today + timedelta(days=1)


def keep_going(
    folder: Path, at: time, take: Callable[[], None], *, now: Callable[[], datetime], sleep: Callable[[float], None]
) -> NoReturn:
    """Calls `take` when a backup is due in `folder`, and again after `RETRY_AFTER` while it raises. `sleep`: for seconds."""
    not_before = now()
    while True:
        taken = of_known_age(folder, now())
        due = max(next_after(taken_at(taken[-1]), at), not_before) if taken else not_before
        if (wait_s := (due - now()).total_seconds()) > 0:
            sleep(min(wait_s, LOOK_EVERY_S))
            continue
        try:
            take()
        except Exception as error:
            not_before = now() + RETRY_AFTER
            reason = str(error) or type(error).__name__
            log.error("backup failed", reason=reason, error=type(error).__name__, again_at=_text(not_before))
        else:
            log.info("backup taken", next_at=_text(next_after(now(), at)))


def _text(moment: datetime) -> str:
    return moment.astimezone(CHINA).isoformat(timespec="seconds")
