"""What a deployment consists of, for commands that look at all of it.

`SECRETS_DIR` names the folder that `fanzha init` wrote; the other addresses then come from the environment. Without it, the
deployment is the dev stack of `FANZHA_HOME`.
"""

import json
import os
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime
from pathlib import Path

from devstack.home import Home, read_env
from shared.bus.topology import SERVICES
from shared.clock import clock_from
from shared.env_files import Ambiguous
from shared.os_errors import os_reason

MEND_SECRETS = "缺的文件和变量用 fanzha init --add-missing 添加，丢失的用 fanzha restore --secrets-only 取回"


class NotFound(Exception):
    """The deployment, or a part of it, is not known; the text says which key or file names it (zh-Hans)."""


@dataclass(frozen=True)
class Deployment:
    """`databases`: owner URL by service. `environments`: the services' settings, as far as they can be read from here."""

    databases: Mapping[str, str] = field(repr=False)
    services: Mapping[str, str] = field(default_factory=dict)
    topology_url: str | None = field(default=None, repr=False)
    nats_monitoring: str | None = None
    secret_files: tuple[Path, ...] = ()
    environments: Mapping[str, Mapping[str, str]] = field(default_factory=dict, repr=False)
    backups: Path = Path("backups")
    data_folders: tuple[Path, ...] = ()
    secrets_folder: Path | None = None  # None in a dev stack
    env_file: Path | None = None  # None in a dev stack

    def now(self) -> datetime:
        """The time by the clock that the services follow. Raises OSError or ValueError where a simulated clock cannot be
        read."""
        named = next(
            (environment["CLOCK_FILE"] for environment in self.environments.values() if environment.get("CLOCK_FILE")),
            None,
        )
        return clock_from(Path(named) if named else None).now()

    @classmethod
    def from_environment(cls) -> "Deployment":
        """Raises `NotFound`."""
        if folder := os.environ.get("SECRETS_DIR"):
            return _production(Path(folder))
        return _dev_stack(Home.from_environment())


def _production(folder: Path) -> Deployment:
    def variables(name: str) -> dict[str, str]:
        path = folder / f"{name}.env"
        try:
            return read_env(path)
        except OSError as error:
            raise NotFound(
                f"读不了 {path}（{os_reason(error)}）：SECRETS_DIR 应是 fanzha init 写的 secrets 目录。{MEND_SECRETS}"
            ) from error
        except Ambiguous as error:
            raise NotFound(str(error)) from error

    def variable(name: str, key: str) -> str:
        try:
            return variables(name)[key]
        except KeyError as error:
            raise NotFound(f"{folder / name}.env 里没有 {key}。{MEND_SECRETS}") from error

    shared = {key: value for key in ("ENVIRONMENT", "CLOCK_FILE") if (value := os.environ.get(key))}
    databases = {service: variable(f"{service}_owner", "MIGRATION_DATABASE_URL") for service in SERVICES}
    return Deployment(
        databases,
        {service: url for service in SERVICES if (url := os.environ.get(f"{service.upper()}_URL"))},
        variable("topology", "NATS_URL"),
        os.environ.get("NATS_MONITORING_URL"),
        tuple(sorted(path for path in folder.iterdir() if path.is_file())),
        {service: shared | variables(service) | _public_url(service) for service in SERVICES},
        Path(os.environ.get("BACKUP_DIR") or "backups"),
        tuple(Path(name) for name in os.environ.get("DATA_DIRS", "").split(":") if name),
        secrets_folder=folder,
        env_file=Path(env) if (env := os.environ.get("ENV_FILE")) else None,
    )


def _public_url(service: str) -> dict[str, str]:
    url = os.environ.get(f"{service.upper()}_PUBLIC_URL")
    return {"PUBLIC_URL": url} if url else {}


def _dev_stack(home: Home) -> Deployment:
    lacking = next((path for path in map(home.service_env, SERVICES) if not path.exists()), None)
    if lacking is not None:
        raise NotFound(
            f"不知道部署在哪里：环境变量 SECRETS_DIR 没有设置，{lacking} 也不存在。"
            "请先运行 make up，或设置环境变量（见 docs/operations/backup.md）"
        )
    environments = {service: read_env(home.service_env(service)) for service in SERVICES}
    ports = json.loads(home.ports.read_text())
    password = json.loads(home.secrets.read_text())["nats"]["topology"]
    return Deployment(
        {service: environment["MIGRATION_DATABASE_URL"] for service, environment in environments.items()},
        {service: environment["PUBLIC_URL"] for service, environment in environments.items()},
        f"nats://topology:{password}@127.0.0.1:{ports['nats']}",
        f"http://127.0.0.1:{ports['nats_monitoring']}",
        (home.secrets,),
        environments,
        Path(os.environ.get("BACKUP_DIR") or home.root / "backups"),
        (home.root,),
    )
