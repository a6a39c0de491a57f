"""Which ports a dev stack listens on: the defaults, the ones it had before, or the ones asked for with PORTS."""

import json
import secrets
import socket
from collections.abc import Iterable
from dataclasses import asdict, dataclass, fields

import psutil

from devstack.home import Home, StackError, write_whole

# Below the range from which Linux picks the local port of an outgoing connection (32768 and up): a client that keeps dialling
# a dead server's port inside that range can connect to itself, and then the server cannot come back.
LOWEST, HIGHEST = 10_000, 32_000


@dataclass(frozen=True)
class Ports:
    checkin: int = 8001
    reporting: int = 8002
    notification: int = 8003
    certificate: int = 8004
    nats: int = 4222
    nats_monitoring: int = 8222
    postgres: int = 15432

    @classmethod
    def after(cls, base: int) -> "Ports":
        """PORTS=18000 means checkin 18001 … postgres 18007, in the order of the fields."""
        last = base + len(fields(cls))
        if not 0 < base < last <= 65535:
            raise StackError(f"PORTS={base} 之后放不下 {len(fields(cls))} 个端口，请改为例如 PORTS=18000")
        return cls(*range(base + 1, last + 1))


def is_free(port: int) -> bool:
    with socket.socket() as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind(("127.0.0.1", port))
        except OSError:
            return False
    return True


def free_port() -> int:
    return next(port for port in _at_random(1) if is_free(port))


def free_ports() -> Ports:
    """Free ports that follow each other."""
    candidates = (Ports.after(base) for base in _at_random(len(fields(Ports)) + 1))
    return next(ports for ports in candidates if not busy(ports))


def _at_random(room: int) -> Iterable[int]:
    while True:
        yield LOWEST + secrets.randbelow(HIGHEST - room - LOWEST)  # nobody's seed: two programs must not choose alike


def busy(ports: Ports) -> dict[str, int]:
    return {name: port for name, port in asdict(ports).items() if not is_free(port)}


def choose(home: Home, asked: str | None) -> Ports:
    """The ports to use from now on, kept in the home. Raises `StackError` if one is taken.

    `asked`: None or "" (as before, else the defaults), "auto" (as before if free, else any free ones), or a number.
    """
    ports = _asked_for(asked, kept(home))
    if taken := busy(ports):
        raise StackError(_explain(taken))
    write_whole(home.ports, json.dumps(asdict(ports)) + "\n")
    return ports


def kept(home: Home) -> Ports:
    """The ports this home had last, else the defaults."""
    return Ports(**json.loads(home.ports.read_text())) if home.ports.exists() else Ports()


def _asked_for(asked: str | None, before: Ports) -> Ports:
    if not asked:
        return before
    if asked == "auto":
        return free_ports() if busy(before) else before
    if not asked.isdecimal():
        raise StackError(f"PORTS={asked} 既不是数，也不是 auto。请写成例如 PORTS=18000")
    return Ports.after(int(asked))


def _explain(taken: dict[str, int]) -> str:
    lines = [f"{name} 要用的端口 {port} 已被占用{_holder(port)}" for name, port in taken.items()]
    return "\n".join([*lines, "换一组端口：`PORTS=18000 make up` 用 18001 到 18007，`PORTS=auto make up` 用空闲的"])


def _holder(port: int) -> str:
    """The program that listens there, where the system lets us see it."""
    try:
        for connection in psutil.net_connections(kind="tcp"):
            listens = connection.status == psutil.CONN_LISTEN and connection.laddr
            if listens and listens.port == port and connection.pid:
                process = psutil.Process(connection.pid)
                return f"（进程 {process.pid}：{' '.join(process.cmdline())[:80] or process.name()}）"
    except psutil.Error:
        pass
    return ""
