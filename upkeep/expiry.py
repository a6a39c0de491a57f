"""When what stands in `secrets/` runs out: the public TLS certificate, and the tokens that the deployment itself uses.

Tokens that were given to people are not known here; `fanzha token create` says how long each of them lasts.
"""

from collections.abc import Iterator, Mapping
from datetime import UTC, datetime
from pathlib import Path
from typing import NamedTuple

import jwt
from cryptography import x509

from devstack.home import write_whole
from shared import env_files
from upkeep import secret_files

METRICS = "expiry.prom"
TLS_CERTIFICATE = "tls_certificate.pem"


class Expiry(NamedTuple):
    kind: str  # tls, token
    name: str  # the file, and the key in it
    at: datetime


def expiries_in(folder: Path) -> list[Expiry]:
    """When each certificate and token below `folder` runs out. Files that cannot be read are left out; doctor names them."""
    expiries = [*_certificate(folder / TLS_CERTIFICATE)]
    for path in sorted(folder.glob("*.env")):
        try:
            expiries += _tokens(path.name, env_files.read(path))
        except (OSError, env_files.Ambiguous):
            continue
    return expiries


def _certificate(path: Path) -> Iterator[Expiry]:
    """The expiry of the certificate; in a chain, of the one that runs out first. Nothing where the file cannot be read."""
    try:
        chain = x509.load_pem_x509_certificates(path.read_bytes())
    except (OSError, ValueError):
        return
    yield Expiry("tls", path.name, min(certificate.not_valid_after_utc for certificate in chain))


def _tokens(file: str, variables: Mapping[str, str]) -> Iterator[Expiry]:
    for key, value in variables.items():
        if not key.endswith("_TOKEN"):
            continue
        try:
            ends = jwt.decode(value, options={"verify_signature": False}).get("exp")
        except jwt.InvalidTokenError:
            continue
        if isinstance(ends, int):
            yield Expiry("token", f"{file}（{key}）", datetime.fromtimestamp(ends, UTC))


def write_metrics(secrets: Path, folder: Path) -> None:
    """For Prometheus' textfile collector, at each backup; the alerts TlsExpiring and TokenExpiring read it."""
    name = "fanzha_expires_timestamp_seconds"
    samples = [
        f'{name}{{kind="{expiring.kind}",name="{expiring.name}"}} {expiring.at.timestamp():.0f}\n'
        for expiring in expiries_in(secrets)
    ]
    head = f"# HELP {name} when the certificate or token in secrets/ runs out\n# TYPE {name} gauge\n"
    write_whole(folder / METRICS, head + "".join(samples), 0o644)
    secret_files.give_to_owner_of(folder, folder / METRICS)
