"""How large a deployment has to be for the viewers expected (`fanzha init --viewers`; table in docs/operations/install.md).

From measured figures (docs/performance.md): 7 million viewers cost 1.95 times an empty table with 256 MB of shared buffers and
1.2 times with 4 GB; a viewer takes 233 bytes of table and index, an enrolment 166, a certificate 215; a check-in at most 34 bytes
of ledger and 101 of event. What is on disk twice, or not yet cleaned up, is inside the factor `ROOM`.
"""

import math
from dataclasses import dataclass

VIEWERS_DEFAULT = 1_000_000  # a city
VIEWERS_MAX = 100_000_000
LESSONS = 16

MIB, GIB = 1024**2, 1024**3
SHARED_BUFFERS_PER_VIEWER = 512 * MIB / 1_000_000
BYTES_PER_VIEWER = 233 + 166 + 215
LEDGER_BYTES = 34
EVENT_BYTES = 101
STREAM_FILL = 0.75  # an alert comes at 0.8
LIVE_STREAM_GIB = 1  # 512 MiB, rounded up
EVENTS_MIN_GIB, MAX_FILE_MIN_GIB = 12, 16
WAL_MIN_GIB, WAL_MAX_GIB = 2, 16
ROOM = 2
BACKUPS = 14
COMPRESSED = 0.5
OTHER_DISK_GIB = 25  # Prometheus (at most 20) and the images
DISK_MIN_GIB = 50
OTHER_MEMORY_GIB = 4  # services, NATS, proxies, Prometheus, Grafana


@dataclass(frozen=True)
class Sizes:
    viewers: int
    postgres_memory_gib: int
    shared_buffers_mib: int
    effective_cache_gib: int
    max_wal_gib: int
    events_max_bytes: int
    nats_max_file_gib: int
    memory_gib: int  # of the machine, at least
    disk_gib: int  # free before the first start, 14 backups included


def sizes(viewers: int, lessons: int = LESSONS) -> Sizes:
    shared_mib = _shared_buffers_mib(viewers)
    memory_gib = math.ceil(2 * shared_mib / 1024) + 1
    data = viewers * (BYTES_PER_VIEWER + LEDGER_BYTES * lessons)
    stream = viewers * lessons * EVENT_BYTES / STREAM_FILL
    wal_gib = min(
        max(WAL_MIN_GIB, math.ceil(8 * viewers / 7_000_000)), WAL_MAX_GIB
    )  # a province's evening: one checkpoint
    events_gib = max(EVENTS_MIN_GIB, math.ceil(stream / GIB))
    disk = (ROOM * data + stream + BACKUPS * COMPRESSED * data) / GIB + wal_gib + OTHER_DISK_GIB
    return Sizes(
        viewers=viewers,
        postgres_memory_gib=memory_gib,
        shared_buffers_mib=shared_mib,
        effective_cache_gib=memory_gib // 2,
        max_wal_gib=wal_gib,
        events_max_bytes=events_gib * GIB,
        nats_max_file_gib=max(MAX_FILE_MIN_GIB, events_gib + LIVE_STREAM_GIB),
        memory_gib=memory_gib + OTHER_MEMORY_GIB,
        disk_gib=max(DISK_MIN_GIB, math.ceil(disk / 10) * 10),
    )


def _shared_buffers_mib(viewers: int) -> int:
    """512 MiB for a city; beyond it whole GiB."""
    wanted = viewers * SHARED_BUFFERS_PER_VIEWER
    return 512 if wanted <= 512 * MIB else math.ceil(wanted / GIB) * 1024
