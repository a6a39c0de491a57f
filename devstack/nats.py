"""A real nats-server from a Python wheel, with the same configuration file as production."""

import sys
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

from devstack.home import REPOSITORY, StackError
from devstack.processes import answers_200

CONFIG = REPOSITORY / "deploy" / "nats" / "nats.conf"
START = REPOSITORY / "deploy" / "nats" / "start.sh"


@dataclass(frozen=True)
class NatsServer:
    """A server on one data folder: run `command()` with `environment()`; it serves once `is_ready(pid)`."""

    data: Path
    port: int
    monitoring_port: int
    passwords: Mapping[str, str] = field(repr=False)  # by user
    config: Path = CONFIG

    def url(self, user: str) -> str:
        return f"nats://{user}:{self.passwords[user]}@127.0.0.1:{self.port}"

    def command(self) -> list[str]:
        address = ["-a", "127.0.0.1", "-p", str(self.port), "-m", str(self.monitoring_port)]
        return ["/bin/sh", str(START), str(self.data), _binary(), "-c", str(self.config), *address]

    def environment(self) -> dict[str, str]:
        passwords = {f"NATS_{user.upper()}_PASSWORD": password for user, password in self.passwords.items()}
        return {"NATS_MONITORING": f"127.0.0.1:{self.monitoring_port}"} | passwords

    def prepare(self) -> None:
        """Does nothing: nats-server makes its data folder and recovers by itself."""

    def is_ready(self, pid: int) -> bool:
        return answers_200(f"http://127.0.0.1:{self.monitoring_port}/healthz")


def _binary() -> str:
    path = Path(sys.executable).with_name("nats-server")
    if not path.exists():
        raise StackError("没有 nats-server：请先安装开发依赖（`make install`）")
    return str(path)
