"""Makes the secrets that this version needs and a deployment lacks, so that they fit the existing ones, which never change.

Every part of `DeploymentSecrets` stands in one or several files, and is read from whichever of them is left. A part that is in no
file is made up, unless stored data or somebody outside depends on it: such a part is lost, and only a backup has it.
"""

import json
import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from urllib.parse import unquote, urlsplit

from devstack.secrets import SEALED_TO, Verifier, WebhookSource
from shared.bus.topology import SERVICES
from shared.env_files import parse as parse_env
from shared.env_files import text_of
from upkeep.secret_files import OWNERS, DeploymentSecrets, secret_files

ASSIGNMENT = re.compile(r"^\s*(?:export\s+)?(\w+)\s*=")
CHECKIN, SOURCES = "checkin.env", "WEBHOOK_SOURCES"
TLS = ("tls_certificate.pem", "tls_key.pem")  # one without the other is of no use


class Lost(Exception):
    """`names`: files, or keys in files, that a new value could not replace."""

    def __init__(self, names: list[str]) -> None:
        super().__init__("、".join(names))
        self.names = names


class OtherVerifier(ValueError):
    """A source exists and is verified in another way than asked for; the text says how (zh-Hans)."""


@dataclass(frozen=True)
class Addition:
    """A file as it has to be: its old content with `keys` added below; without `keys` the whole file is new."""

    file: str
    keys: tuple[str, ...]
    text: str = field(repr=False)

    @property
    def name(self) -> str:
        return f"{self.file}（{'、'.join(self.keys)}）" if self.keys else self.file


def read(folder: Path) -> dict[str, str]:
    """The texts of the files below `folder` that this version knows, by name. Raises OSError."""
    return {name: (folder / name).read_text() for name in OWNERS if (folder / name).exists()}


def missing(texts: Mapping[str, str]) -> list[str]:
    """The files and keys that this version needs and `texts` has not."""
    return [addition.name for addition in _lacking(texts, secret_files(DeploymentSecrets(), "localhost"))]


def additions(texts: Mapping[str, str], domain: str) -> list[Addition]:
    """The files that must be written so that nothing is missing. Raises `Lost`, and ValueError for a file that cannot be
    read."""
    return list(_lacking(texts, secret_files(_completed(texts), domain)))


def more_sources(
    texts: Mapping[str, str], added: Sequence[Addition], verifiers: Mapping[str, Verifier]
) -> Addition | None:
    """`checkin.env`, with what was `added` to it, and those sources that it lacks, each with a new secret; None if it lacks none.
    What is there stays as it is. Raises `OtherVerifier`, and ValueError for a file that cannot be read."""
    text = {**texts, **{addition.file: addition.text for addition in added}}[CHECKIN]
    sources = json.loads(parse_env(text)[SOURCES])
    for name, verifier in verifiers.items():
        if name in sources and sources[name].get("verifier") != verifier:
            raise OtherVerifier(f"来源 {name} 已有，用 {sources[name].get('verifier')} 验签，不是 {verifier}")
    new = [name for name in verifiers if name not in sources]
    if not new:
        return None
    sources |= {name: WebhookSource.new(verifiers[name]).model_dump() for name in new}
    kept = "".join(line for line in text.splitlines(keepends=True) if keys_of(line) != {SOURCES})
    return Addition(
        CHECKIN, tuple(f"来源 {name}" for name in new), appended(kept, text_of({SOURCES: json.dumps(sources)}))
    )


def keys_of(text: str) -> set[str]:
    """The keys of `KEY=value` lines."""
    return {match[1] for line in text.splitlines() if (match := ASSIGNMENT.match(line))}


def appended(text: str, lines: str) -> str:
    return text + ("" if text.endswith("\n") or not text else "\n") + lines


def _lacking(texts: Mapping[str, str], wanted: Mapping[str, str]) -> Iterator[Addition]:
    for name, text in wanted.items():
        if name not in texts:
            yield Addition(name, (), text)
        elif name.endswith(".env"):
            old = texts[name]
            lines = [line for line in text.splitlines(keepends=True) if not keys_of(line) <= keys_of(old)]
            if lines:
                yield Addition(name, tuple(line.partition("=")[0] for line in lines), appended(old, "".join(lines)))


class _Known:
    """The values that the files hold. `lost`: values that are in no file and that a new value cannot replace."""

    def __init__(self, texts: Mapping[str, str]) -> None:
        self._texts = texts
        self._variables = {name: parse_env(text) for name, text in texts.items() if name.endswith(".env")}
        self.lost: list[str] = []

    def whole(self, name: str) -> str | None:
        return self._texts.get(name, "").strip() or None

    def value(self, name: str, key: str) -> str | None:
        return self._variables.get(f"{name}.env", {}).get(key)

    def password(self, name: str, key: str) -> str | None:
        return unquote(urlsplit(self.value(name, key) or "").password or "") or None

    def needed(self, name: str, key: str, elsewhere: str | None = None) -> str:
        value = self.value(name, key) or elsewhere
        if not value:
            self.lost.append(f"{name}.env（{key}）")
        return value or ""

    def postgres_password(self, role: str) -> str | None:
        service, _, kind = role.rpartition("_")
        url = (service, "DATABASE_URL") if kind == "app" else (role, "MIGRATION_DATABASE_URL")
        return self.value("provision", f"{role.upper()}_PASSWORD") or self.password(*url)

    def nats_password(self, user: str) -> str | None:
        url = ("operator", "LIVE_NATS_URL") if user == "live" else (user, "NATS_URL")
        return self.value("nats", f"NATS_{user.upper()}_PASSWORD") or self.password(*url)


def _completed(texts: Mapping[str, str]) -> DeploymentSecrets:
    known, fresh = _Known(texts), DeploymentSecrets()
    if sum(name in texts for name in TLS) == 1:
        known.lost += [name for name in TLS if name not in texts]
    superuser = known.needed("provision", "POSTGRES_PASSWORD", known.whole("postgres_superuser"))
    webhook_secret = _first_webhook_secret(known.value("checkin", SOURCES))
    completed = DeploymentSecrets(
        webhook_secret=known.needed("operator", "WEBHOOK_SECRET", webhook_secret),
        token_private_key=known.needed("operator", "TOKEN_SIGNING_KEY"),
        session_signing_key=_session_key(known) or fresh.session_signing_key,
        liaison_key=known.value("reporting", "LIAISON_KEY") or fresh.liaison_key,
        certificate_signing_key=known.needed("certificate", "CERTIFICATE_SIGNING_KEY"),
        link_key=known.needed("checkin", "LINK_KEY"),
        sealing_private_keys={name: known.needed(name, "SEALING_PRIVATE_KEY") for name in SEALED_TO},
        contact_keys={name: json.loads(known.needed(name, "CONTACT_KEYS") or "{}") for name in SEALED_TO},
        lookup_keys={name: known.needed(name, "LOOKUP_KEY") for name in SEALED_TO},
        postgres={role: known.postgres_password(role) or word for role, word in fresh.postgres.items()}
        | {"postgres": superuser},
        nats={user: known.nats_password(user) or word for user, word in fresh.nats.items()},
        reporting_reader=known.whole("reporting_reader")
        or known.value("provision", "REPORTING_READER_PASSWORD")
        or fresh.reporting_reader,
        postgres_exporter=known.whole("postgres_exporter")
        or known.value("provision", "POSTGRES_EXPORTER_PASSWORD")
        or fresh.postgres_exporter,
        grafana_admin=known.whole("grafana_admin") or fresh.grafana_admin,
    )
    if known.lost:
        raise Lost(known.lost)
    return completed


def _session_key(known: _Known) -> str | None:
    """The key that signs sessions. Where a service has its public half already, the existing private half is needed, because a
    new key would not fit."""
    if any(known.value(service, "SESSION_PUBLIC_KEY") for service in SERVICES):
        return known.needed("reporting", "SESSION_SIGNING_KEY")
    return known.value("reporting", "SESSION_SIGNING_KEY")


def _first_webhook_secret(sources: str | None) -> str | None:
    standard = json.loads(sources or "{}").get("standard", {})
    return next(iter(standard.get("secrets", [])), None)
