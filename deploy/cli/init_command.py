"""`fanzha init`: writes `.env` and the secret files of a deployment, once. Then `docker compose up -d` is the only command.

Each container mounts the one file that is meant for it (docker-compose.yml, `secrets`), so a file is owned by that
container's user. Only root can give files away; for anybody else the closed folder is what keeps other users out, and the
files in it are readable, since Docker mounts them one by one.
"""

import os
import shlex
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from ipaddress import IPv4Address
from pathlib import Path
from typing import Annotated

import typer
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID
from pydantic import Field

from deploy.cli.client import fail
from deploy.devstack.home import SERVICES, write_whole
from deploy.devstack.secrets import Secrets, password
from shared.tokens import ALL_CAMPAIGNS, create_token

ADMIN_TOKEN_VALID_FOR = timedelta(days=365)
TLS_VALID_FOR = timedelta(days=365)
POSTGRES_MAX_CPUS = 4
FOLDER_MODE = 0o700
OWN_MODE, GIVEN_UP_MODE = 0o400, 0o444

# Who runs as what inside the containers; docker-compose.yml says the same, and a test compares them.
FANZHA, POSTGRES, NGINX, GRAFANA, NOBODY = 10001, 999, 101, 472, 65534


class DeploymentSecrets(Secrets):
    """What a deployment has besides a dev stack's secrets: those who watch, and the proxies."""

    reporting_reader: str = Field(
        default_factory=password, description="Grafana's read-only role in reporting's database"
    )
    postgres_exporter: str = Field(default_factory=password)
    grafana_admin: str = Field(default_factory=password)


@dataclass(frozen=True)
class SecretFile:
    name: str
    owner: int
    text: str


def init(
    directory: Annotated[
        Path, typer.Option(help="部署目录：docker-compose.yml 所在的目录", file_okay=False, exists=True, writable=True)
    ] = Path("."),
    domain: Annotated[str, typer.Option(help="对外域名，例如 fanzha.example.gov.cn；不写则只在本机访问")] = "",
) -> None:
    """生成部署所需的 .env 和 secrets/（密钥、口令、证书）。已有的文件绝不覆盖。"""
    env, folder = directory / ".env", directory / "secrets"
    if kept := [str(path) for path in (env, folder) if path.exists()]:
        fail(
            f"{'、'.join(kept)} 已存在，没有改动任何文件。里面的密钥丢了，就读不出已存的姓名和电话、"
            "验不了已发的证书，所以绝不覆盖。确实要重新开始：先备份，再把它们移走"
        )
    write_secrets(folder, DeploymentSecrets(), domain or "localhost")
    write_whole(env, env_text(domain), 0o600)
    _give_to_owner_of(directory, env, folder)
    typer.echo(next_steps(directory, domain))


def write_secrets(folder: Path, secrets: DeploymentSecrets, domain: str) -> None:
    """A folder that must not exist yet, with each file owned by the user of its container, as far as we may."""
    folder.mkdir(mode=FOLDER_MODE)
    for file in secret_files(secrets, domain):
        _write_secret(folder / file.name, file)


# ---- what is in them -------------------------------------------------------------------------------------------------


def secret_files(secrets: DeploymentSecrets, domain: str) -> list[SecretFile]:
    """Every file of `secrets/`. A container gets its own and no other."""
    certificate, key = self_signed(domain)
    return [
        SecretFile("postgres_superuser", POSTGRES, secrets.postgres["postgres"]),
        SecretFile("provision.env", POSTGRES, _assignments(_role_passwords(secrets))),
        SecretFile(
            "nats.env", FANZHA, _assignments({_nats_variable(user): word for user, word in secrets.nats.items()})
        ),
        SecretFile("topology.env", FANZHA, _assignments({"NATS_URL": _nats_url(secrets, "topology")})),
        *(_service_file(secrets, service) for service in SERVICES),
        *(_owner_file(secrets, service) for service in SERVICES),
        SecretFile("operator.env", FANZHA, _assignments(_operator(secrets))),
        SecretFile("postgres_exporter", NOBODY, secrets.postgres_exporter),
        SecretFile("reporting_reader", GRAFANA, secrets.reporting_reader),
        SecretFile("grafana_admin", GRAFANA, secrets.grafana_admin),
        SecretFile("tls_certificate.pem", NGINX, certificate),
        SecretFile("tls_key.pem", NGINX, key),
    ]


def _service_file(secrets: Secrets, service: str) -> SecretFile:
    addresses = {
        "DATABASE_URL": _database_url(secrets, service, "app"),
        "NATS_URL": _nats_url(secrets, service),
    }
    return SecretFile(f"{service}.env", FANZHA, _assignments(addresses | secrets.of(service)))


def _owner_file(secrets: Secrets, service: str) -> SecretFile:
    address = {"MIGRATION_DATABASE_URL": _database_url(secrets, service, "owner")}
    return SecretFile(f"{service}_owner.env", FANZHA, _assignments(address))


def _operator(secrets: Secrets) -> dict[str, str]:
    """For the command line: `docker compose run --rm fanzha …`; also what the live platform must be told."""
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
    """For deploy/docker/provision.sh."""
    watchers = {"REPORTING_READER": secrets.reporting_reader, "POSTGRES_EXPORTER": secrets.postgres_exporter}
    roles = {role.upper(): word for role, word in secrets.postgres.items()} | watchers
    return {f"{role}_PASSWORD": word for role, word in roles.items()}


def _database_url(secrets: Secrets, service: str, role: str) -> str:
    name = f"{service}_{role}"
    return f"postgresql://{name}:{secrets.postgres[name]}@postgres:5432/fanzha_{service}"


def _nats_url(secrets: Secrets, user: str) -> str:
    return f"nats://{user}:{secrets.nats[user]}@nats:4222"


def _nats_variable(user: str) -> str:
    return f"NATS_{user.upper()}_PASSWORD"


def _assignments(variables: Mapping[str, str]) -> str:
    return "".join(f"{key}={shlex.quote(value)}\n" for key, value in variables.items())


def self_signed(domain: str) -> tuple[str, str]:
    """Certificate and key (PEM) to begin with, so that the proxies start; to be replaced by a real one."""
    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, domain)])
    names = [x509.DNSName(domain), x509.DNSName("localhost"), x509.IPAddress(IPv4Address("127.0.0.1"))]
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


def env_text(domain: str) -> str:
    """`.env`: what an operator may change. Nothing secret stands here."""
    public, profiles = (f"https://{domain}", "monitoring,proxy") if domain else ("", "monitoring")
    return f"""\
# fanzha init 生成。这里没有密钥（密钥在 secrets/）；改完运行 docker compose up -d 生效。
COMPOSE_PROJECT_NAME=fanzha
# production：证书有效、拒绝模拟时钟；dev：证书上印“演示样证”
ENVIRONMENT=production
# 可选部分：monitoring（Prometheus、Alertmanager、Grafana、exporter），proxy（TLS 反向代理）
COMPOSE_PROFILES={profiles}

# 观众和平台看到的地址，结尾不带斜杠：写进证书二维码和个人页链接
CHECKIN_PUBLIC_URL={public or "http://127.0.0.1:8001"}
CERTIFICATE_PUBLIC_URL={public or "http://127.0.0.1:8004"}

# 所有端口默认只在本机。要让别的机器访问，只改代理的两个地址
PUBLIC_ADDRESS=127.0.0.1
OFFICE_ADDRESS=127.0.0.1
PUBLIC_PORT=443
OFFICE_PORTS=8441-8445
# 多开实例时（docker compose up -d --scale checkin=3），端口要写成范围，例如 CHECKIN_PORT=8101-8109
CHECKIN_PORT=8001
REPORTING_PORT=8002
NOTIFICATION_PORT=8003
CERTIFICATE_PORT=8004

# 数据库最多用几个核（不能多于本机）、多少内存
POSTGRES_CPUS={min(os.cpu_count() or 1, POSTGRES_MAX_CPUS)}.0
POSTGRES_MEMORY=2g
"""


def next_steps(directory: Path, domain: str) -> str:
    tls = "现在的自签证书只够试用" if domain else "TLS 代理没有启用（--domain）；启用时"
    return f"""\
已写好 {directory / ".env"} 和 {directory / "secrets"}/。
{_ownership_note()}
接下来：
  1. 抄一份 secrets/ 存到别处。密钥丢失，已存的姓名电话无法读出，已发的证书无法再验证。
  2. 启动：docker compose up -d        查看：docker compose ps
  3. 导入活动：docker compose run --rm fanzha campaign apply campaigns/jinshan-2024.yaml
     每天备份：docker compose run --rm keeper backup        检查：docker compose run --rm keeper doctor
  4. 把推送地址和签名密钥交给直播平台：secrets/operator.env 里的 WEBHOOK_SECRET
  5. Grafana：http://127.0.0.1:3000 ，用户 admin，口令在 secrets/grafana_admin
  6. {tls}：换成正式的 secrets/tls_certificate.pem 和 tls_key.pem，
     再 docker compose up -d --force-recreate public-proxy office-proxy"""


# ---- owner and mode --------------------------------------------------------------------------------------------------


def _ownership_note() -> str:
    if os.geteuid() == 0:
        return "每个文件归读它的容器用户所有，权限 0400；目录 0700。"
    return "不是 root，不能把文件交给容器用户：文件 0444，但目录 0700，其他用户进不来。用 root 运行 fanzha init 可得 0400。"


def _write_secret(path: Path, file: SecretFile) -> None:
    is_root = os.geteuid() == 0
    write_whole(path, file.text, OWN_MODE if is_root else GIVEN_UP_MODE)
    path.chmod(OWN_MODE if is_root else GIVEN_UP_MODE)  # whatever the umask
    if is_root:
        os.chown(path, file.owner, file.owner)


def _give_to_owner_of(directory: Path, *paths: Path) -> None:
    """As root (in a container, say), what the operator handles belongs to whom the deployment's folder belongs to."""
    if os.geteuid() == 0:
        owner = directory.stat()
        for path in paths:
            os.chown(path, owner.st_uid, owner.st_gid)
