"""`python -m upkeep.recent_backup FOLDER`: status 0 while the newest backup of known age is recent (docker-compose.yml)."""

import sys
from datetime import UTC, datetime
from pathlib import Path

from upkeep.backup_names import AGE_MAX, of_known_age, taken_at


def is_recent(folder: Path, now: datetime) -> bool:
    taken = of_known_age(folder, now)
    return bool(taken) and now - taken_at(taken[-1]) <= AGE_MAX


if __name__ == "__main__":
    sys.exit(not is_recent(Path(sys.argv[1]), datetime.now(UTC)))
