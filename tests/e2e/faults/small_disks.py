"""Small disks: a tmpfs for Postgres, one for NATS, one for files of certificate. Full means that it may not grow any more."""

import os
import subprocess
from pathlib import Path

from devstack.home import Home

SIZE = "3g"  # a limit; memory is taken only for what is written
POSTGRES, NATS, CERTIFICATES = "postgres", "nats", "certificates"


def available() -> bool:
    """Whether this process may mount."""
    probe = ["unshare", "--mount", "mount", "-t", "tmpfs", "tmpfs", "/mnt"]
    return os.geteuid() == 0 and subprocess.run(probe, capture_output=True).returncode == 0


class Disks:
    def __init__(self, home: Home) -> None:
        # NATS' disk lies in Postgres', whose data folder cannot itself be a mount: it is made by renaming.
        self._folders = {
            POSTGRES: home.postgres_data.parent,
            NATS: home.nats_data,
            CERTIFICATES: home.certificates,
        }

    def mount(self) -> None:
        for folder in self._folders.values():
            folder.mkdir(exist_ok=True)
            subprocess.run(["mount", "-t", "tmpfs", "-o", f"size={SIZE},mode=755", "tmpfs", str(folder)], check=True)

    def unmount(self) -> None:
        for folder in reversed(self._folders.values()):
            subprocess.run(["umount", "--lazy", str(folder)], check=False, capture_output=True)

    def fill(self, which: str) -> None:
        """From now on nothing more fits: the size becomes what is used."""
        folder = self._folders[which]
        for _ in range(50):  # it may just have grown
            if self._resize(folder, str(_used_bytes(folder))):
                return
        raise RuntimeError(f"{folder} could not be made full")

    def empty(self) -> None:
        for folder in self._folders.values():
            self._resize(folder, SIZE)

    def _resize(self, folder: Path, size: str) -> bool:
        done = subprocess.run(["mount", "-o", f"remount,size={size}", str(folder)], capture_output=True)
        return done.returncode == 0


def _used_bytes(folder: Path) -> int:
    status = os.statvfs(folder)
    return max((status.f_blocks - status.f_bfree) * status.f_frsize, 4096)
