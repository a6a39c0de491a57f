"""What the dev stack consists of, in the order it starts, and the environment of each part."""

import signal
import sys
from datetime import timedelta
from functools import partial

from devstack.home import Home, write_env
from devstack.nats import NatsServer
from devstack.ports import Ports
from devstack.postgres import PostgresServer
from devstack.processes import answers_200
from devstack.secrets import Secrets
from devstack.supervisor import Child, Job, Plan
from shared.bus.topology import SERVICES
from shared.service.tokens import ALL_CAMPAIGNS, create_token

ADMIN_TOKEN_VALID_FOR = timedelta(days=365)


class Stack:
    """One home's servers and services, described; `plan` starts them."""

    def __init__(self, home: Home, ports: Ports, secrets: Secrets) -> None:
        self._home = home
        self._ports = ports
        self._secrets = secrets
        self.postgres = PostgresServer(home.postgres_data, ports.postgres, secrets.postgres["postgres"])
        self.nats = NatsServer(home.nats_data, ports.nats, ports.nats_monitoring, secrets.nats)

    def url(self, service: str) -> str:
        return f"http://127.0.0.1:{getattr(self._ports, service)}"

    def plan(self) -> Plan:
        return [
            [self._postgres_child()],
            [self._nats_child(), *(self._provision_job(service) for service in SERVICES)],
            [self._topology_job(), *(self._migrate_job(service) for service in SERVICES)],
            [self._service_child(service) for service in SERVICES],
        ]

    def promised_environment(self) -> dict[str, str]:
        """The keys of DESIGN §8, for whoever drives the stack from outside."""
        token = create_token(
            self._secrets.token_private_key,
            subject="devstack",
            role="admin",
            campaign=ALL_CAMPAIGNS,
            unit=None,
            valid_for=ADMIN_TOKEN_VALID_FOR,
        )
        urls = {f"{service.upper()}_URL": self.url(service) for service in SERVICES}
        bus = {"NATS_URL": self.nats.url("operator"), "LIVE_NATS_URL": self.nats.url("live")}
        webhook = {"WEBHOOK_SECRET": self._secrets.webhook_secret, "WEBHOOK_SOURCES": self._secrets.webhook_sources}
        return {**urls, **bus, **webhook, "ADMIN_TOKEN": token}

    def service_environment(self, service: str) -> dict[str, str]:
        common = {
            "ENVIRONMENT": "dev",
            "HOST": "127.0.0.1",
            "PORT": str(getattr(self._ports, service)),
            "DATABASE_URL": self.database_url(service, "app"),
            "NATS_URL": self.nats.url(service),
            "PUBLIC_URL": self.url(service),
        }
        by_service = {
            "checkin": {"CLAIM_PAGE_URL": self.claim_page},
            "certificate": {"PDF_DIR": str(self._home.certificates)},
            "notification": {"CLAIM_PAGE_URL": self.claim_page, "FILE_CHANNEL_DIR": str(self._home.messages)},
        }
        clock = {"CLOCK_FILE": str(self._home.clock)} if self._home.clock.exists() else {}
        return common | clock | self._secrets.of(service) | by_service.get(service, {})

    @property
    def claim_page(self) -> str:
        """The same address for everybody."""
        return f"{self.url('certificate')}/claim"

    def write_service_environments(self) -> None:
        """Writes the services' environments for the command line, which runs parts of a service itself."""
        for service in SERVICES:
            owner = {"MIGRATION_DATABASE_URL": self.database_url(service, "owner")}
            write_env(self._home.service_env(service), self.service_environment(service) | owner)

    def database_url(self, service: str, role: str) -> str:
        name = f"{service}_{role}"
        return self.postgres.url(name, self._secrets.postgres[name], f"fanzha_{service}")

    def _postgres_child(self) -> Child:
        server = self.postgres
        return Child(
            "postgres",
            server.command(),
            server.is_ready,
            prepare=server.prepare,
            stop_signal=signal.SIGINT,  # "fast": ends sessions, keeps every commit
            ready_within_s=180,  # recovery after a crash reads the log of up to max_wal_size
            first_tries=5,  # "shared memory block is still in use": the last of a killed server's processes is just leaving
        )

    def _nats_child(self) -> Child:
        return Child("nats", self.nats.command(), self.nats.is_ready, self.nats.environment(), stop_within_s=10)

    def _provision_job(self, service: str) -> Job:
        command, variables = self.postgres.provisioning(service, self._secrets.postgres)
        return Job(f"provision-{service}", command, variables)

    def _topology_job(self) -> Job:
        return Job("topology", [sys.executable, "-m", "shared.bus"], {"NATS_URL": self.nats.url("topology")})

    def _migrate_job(self, service: str) -> Job:
        variables = {"MIGRATION_DATABASE_URL": self.database_url(service, "owner")}
        return Job(f"migrate-{service}", [sys.executable, "-m", "shared.database", service], variables)

    def _service_child(self, service: str) -> Child:
        command = [sys.executable, "-m", f"services.{service}"]
        ready = partial(_is_service_ready, f"{self.url(service)}/health/ready")
        return Child(service, command, ready, self.service_environment(service))


def _is_service_ready(url: str, pid: int) -> bool:
    return answers_200(url)
