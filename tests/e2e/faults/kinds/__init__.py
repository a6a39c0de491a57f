"""Every kind of fault, by what it is done to."""

from tests.e2e.faults import small_disks
from tests.e2e.faults.kinds import bus, clocks, databases, disks, links, processes
from tests.e2e.faults.nemesis import Fault


def available() -> tuple[list[Fault], list[str]]:
    """What this machine can play, and in words what it cannot."""
    faults, left_out = [*processes.FAULTS, *links.FAULTS, *databases.FAULTS, *bus.FAULTS], []
    if small_disks.available():
        faults += disks.FAULTS
    else:
        left_out.append("full disks: only root may mount a small one")
    if clocks.LIBRARY:
        faults += clocks.FAULTS
    else:
        left_out.append("wrong clocks: libfaketime is not installed (Debian: faketime)")
    return faults, left_out
