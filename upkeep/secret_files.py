"""The files below `secrets/`: their contents, their owners, and the only code that writes them.

Each container mounts the one file that is meant for it (docker-compose.yml, `secrets`), so a file is owned by that
container's user. Only root can give files away; for anybody else the closed folder is what keeps other users out, and the
files in it are readable, since Docker mounts them one by one.
"""

import os
import re
from collections.abc import Iterable, Mapping
from datetime import UTC, datetime, timedelta
from ipaddress import IPv4Address
from pathlib import Path
from urllib.parse import quote

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID
from pydantic import Field

from devstack.home import write_whole
from devstack.secrets import Secrets, WebhookSource, password
from shared import env_files
from shared.bus.topology import SERVICES
from shared.service.tokens import ALL_CAMPAIGNS, create_token

ADMIN_TOKEN_VALID_FOR = timedelta(days=365)
TLS_VALID_FOR = timedelta(days=365)
FOLDER_MODE = 0o700
OWN_MODE, GIVEN_UP_MODE = 0o400, 0o444

# Who runs as what inside the containers; docker-compose.yml says the same, and a test compares them.
FANZHA, POSTGRES, NGINX, GRAFANA, NOBODY = 10001, 999, 101, 472, 65534
OWNERS = {
    **dict.fromkeys(("postgres_superuser", "provision.env"), POSTGRES),
    **dict.fromkeys(("nats.env", "topology.env", "operator.env"), FANZHA),
    **{f"{name}.env": FANZHA for service in SERVICES for name in (service, f"{service}_owner")},
    **dict.fromkeys(("reporting_reader", "grafana_admin"), GRAFANA),
    **dict.fromkeys(("tls_certificate.pem", "tls_key.pem"), NGINX),
    **dict.fromkeys(("postgres_exporter", "alerts.env"), NOBODY),
}


# For deploy/alertmanager/start.sh, empty until somebody writes them; those for `page` take the place of the others at night.
ALERT_RECEIVERS = (
    *("ALERT_WEBHOOK_URL", "ALERT_PAGE_WEBHOOK_URL", "ALERT_MAIL_TO", "ALERT_PAGE_MAIL_TO"),
    *("ALERT_MAIL_FROM", "ALERT_SMTP", "ALERT_SMTP_USER", "ALERT_SMTP_PASSWORD"),
)

SECRET_WORD = re.compile(r"[A-Za-z0-9+/]{16,}")  # a password, a key, a line of a PEM body; no name of a key or a host


class DeploymentSecrets(Secrets):
    """The secrets of a deployment: those of a dev stack, and those for monitoring and the proxies."""

    more_sources: dict[str, WebhookSource] = Field(default_factory=dict, description="`fanzha init --source` adds them")
    reporting_reader: str = Field(
        default_factory=password, description="Grafana's read-only role in reporting's database"
    )
    postgres_exporter: str = Field(default_factory=password)
    grafana_admin: str = Field(default_factory=password)


# ---- what is in them -------------------------------------------------------------------------------------------------


def secret_files(secrets: DeploymentSecrets, domain: str) -> dict[str, str]:
    """The text of every file of `secrets/`, by its name. A container gets its own file and no other."""
    certificate, key = self_signed(domain)
    nats = {_nats_variable(user): word for user, word in secrets.nats.items()}
    return {
        "postgres_superuser": secrets.postgres["postgres"],
        "provision.env": env_files.text_of(_role_passwords(secrets)),
        "nats.env": env_files.text_of(nats),
        "topology.env": env_files.text_of({"NATS_URL": _nats_url(secrets, "topology")}),
        **{f"{service}.env": _service_file(secrets, service) for service in SERVICES},
        **{f"{service}_owner.env": _owner_file(secrets, service) for service in SERVICES},
        "operator.env": env_files.text_of(_operator(secrets)),
        "postgres_exporter": secrets.postgres_exporter,
        "reporting_reader": secrets.reporting_reader,
        "grafana_admin": secrets.grafana_admin,
        "alerts.env": env_files.text_of(dict.fromkeys(ALERT_RECEIVERS, "")),
        "tls_certificate.pem": certificate,
        "tls_key.pem": key,
    }


def _service_file(secrets: Secrets, service: str) -> str:
    addresses = {
        "DATABASE_URL": _database_url(secrets, service, "app"),
        "NATS_URL": _nats_url(secrets, service),
    }
    return env_files.text_of(addresses | secrets.of(service))


def _owner_file(secrets: Secrets, service: str) -> str:
    return env_files.text_of({"MIGRATION_DATABASE_URL": _database_url(secrets, service, "owner")})


def _operator(secrets: Secrets) -> dict[str, str]:
    """The file for the command line (`docker compose run --rm fanzha …`), also with what the live platform must be told."""
    token = create_token(
        secrets.token_private_key,
        subject="operator",
        role="admin",
        campaign=ALL_CAMPAIGNS,
        unit=None,
        valid_for=ADMIN_TOKEN_VALID_FOR,
    )
    return {
        "ADMIN_TOKEN": token,
        "TOKEN_SIGNING_KEY": secrets.token_private_key,
        "WEBHOOK_SECRET": secrets.webhook_secret,
        "NATS_URL": _nats_url(secrets, "operator"),
        "LIVE_NATS_URL": _nats_url(secrets, "live"),
    }


def _role_passwords(secrets: DeploymentSecrets) -> dict[str, str]:
    """The file for deploy/docker/provision.sh."""
    watchers = {"REPORTING_READER": secrets.reporting_reader, "POSTGRES_EXPORTER": secrets.postgres_exporter}
    roles = {role.upper(): word for role, word in secrets.postgres.items()} | watchers
    return {f"{role}_PASSWORD": word for role, word in roles.items()}


def _database_url(secrets: Secrets, service: str, role: str) -> str:
    name = f"{service}_{role}"
    return f"postgresql://{name}:{quote(secrets.postgres[name], safe='')}@postgres:5432/fanzha_{service}"


def _nats_url(secrets: Secrets, user: str) -> str:
    return f"nats://{user}:{secrets.nats[user]}@nats:4222"


def _nats_variable(user: str) -> str:
    return f"NATS_{user.upper()}_PASSWORD"


def self_signed(domain: str) -> tuple[str, str]:
    """Certificate and key (PEM) to begin with, so that the proxies start; to be replaced by a real one."""
    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, domain)])
    names = [_alternative(domain), x509.DNSName("localhost"), x509.IPAddress(IPv4Address("127.0.0.1"))]
    now = datetime.now(UTC)
    certificate = (
        x509.CertificateBuilder()
        .subject_name(name)
        .issuer_name(name)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - timedelta(hours=1))
        .not_valid_after(now + TLS_VALID_FOR)
        .add_extension(x509.SubjectAlternativeName(names), critical=False)
        .add_extension(x509.BasicConstraints(ca=True, path_length=None), critical=True)
        .sign(key, hashes.SHA256())
    )
    pkcs8, clear = serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    return (
        certificate.public_bytes(serialization.Encoding.PEM).decode(),
        key.private_bytes(serialization.Encoding.PEM, pkcs8, clear).decode(),
    )


def _alternative(host: str) -> x509.GeneralName:
    try:
        return x509.IPAddress(IPv4Address(host))
    except ValueError:
        return x509.DNSName(host)


def words(texts: Iterable[str]) -> set[str]:
    """The secret values in `texts`, which must not appear outside of secret files."""
    return {word for text in texts for word in SECRET_WORD.findall(text)}


# ---- owner and mode --------------------------------------------------------------------------------------------------


def write_all(folder: Path, files: Mapping[str, str]) -> None:
    """Texts by name, into a folder that must not exist yet."""
    folder.mkdir(mode=FOLDER_MODE)
    for name, text in files.items():
        write(folder / name, text)


def write(path: Path, text: str) -> None:
    """Writes a file whole or not at all. Its owner becomes the user of its container, where this process has the right to set
    it."""
    is_root = os.geteuid() == 0
    write_whole(path, text, OWN_MODE if is_root else GIVEN_UP_MODE)
    path.chmod(OWN_MODE if is_root else GIVEN_UP_MODE)  # whatever the umask
    if is_root:
        os.chown(path, OWNERS[path.name], OWNERS[path.name])


def give_to_owner_of(directory: Path, *paths: Path) -> None:
    """Gives files that the operator handles to the owner of the deployment's folder, where we are root (in a container, say)."""
    if os.geteuid() == 0:
        owner = directory.stat()
        for path in paths:
            os.chown(path, owner.st_uid, owner.st_gid)
