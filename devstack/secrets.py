"""Every secret of a dev stack: made on the first start, kept in `secrets.json` (0600) from then on."""

import base64
import json
import secrets as random
from collections.abc import Callable
from typing import Literal

from nacl.public import PrivateKey
from nacl.signing import SigningKey
from pydantic import BaseModel, ConfigDict, Field

from devstack.home import PRIVATE, Home, write_whole
from shared.bus.topology import SERVICES

NATS_USERS = (*SERVICES, "topology", "live", "operator")
POSTGRES_ROLES = ("postgres", *(f"{service}_{role}" for service in SERVICES for role in ("owner", "app")))
SEALED_TO = ("certificate", "notification")
KEY_BYTES = 32
Verifier = Literal["standard", "kuaishou", "douyin"]  # services/checkin/live_platform.py has what each of them does
STANDARD = "standard"  # the source that every deployment has; a post to /v1/live/events is of this source


def _key() -> str:
    return base64.b64encode(random.token_bytes(KEY_BYTES)).decode()


def password() -> str:
    # The letter in front keeps NATS from reading `$NATS_…_PASSWORD` as a number: its config parser sees the bare value.
    return "p" + random.token_hex(20)


def _passwords(names: tuple[str, ...]) -> Callable[[], dict[str, str]]:
    return lambda: {name: password() for name in names}


class WebhookSource(BaseModel):
    """Who may post, as checkin's setting WEBHOOK_SOURCES has it."""

    model_config = ConfigDict(frozen=True)

    verifier: Verifier
    secrets: list[str]

    @classmethod
    def new(cls, verifier: Verifier) -> "WebhookSource":
        return cls(verifier=verifier, secrets=[("whsec_" if verifier == "standard" else "") + _key()])


def _one_source_of_each_verifier() -> dict[str, WebhookSource]:
    return {"kuaishou": WebhookSource.new("kuaishou"), "douyin": WebhookSource.new("douyin")}


class Secrets(BaseModel):
    """All keys are raw bytes in base64. A field added later is filled in when an older file is read."""

    model_config = ConfigDict(frozen=True)

    webhook_secret: str = Field(default_factory=lambda: "whsec_" + _key(), description="of the source `standard`")
    more_sources: dict[str, WebhookSource] = Field(default_factory=_one_source_of_each_verifier)
    token_private_key: str = Field(default_factory=_key, description="Ed25519")
    session_signing_key: str = Field(default_factory=_key, description="Ed25519; a new one signs everybody out")
    liaison_key: str = Field(default_factory=_key, description="hashes liaisons' codes; a new one makes all slips void")
    certificate_signing_key: str = Field(default_factory=_key, description="Ed25519")
    link_key: str = Field(default_factory=_key)
    sealing_private_keys: dict[str, str] = Field(default_factory=lambda: {name: _key() for name in SEALED_TO})
    contact_keys: dict[str, dict[str, str]] = Field(
        default_factory=lambda: {name: {"k1": _key()} for name in SEALED_TO}
    )
    lookup_keys: dict[str, str] = Field(default_factory=lambda: {name: _key() for name in SEALED_TO})
    postgres: dict[str, str] = Field(default_factory=_passwords(POSTGRES_ROLES), description="password by role")
    nats: dict[str, str] = Field(default_factory=_passwords(NATS_USERS), description="password by user")

    @property
    def token_public_key(self) -> str:
        return _public_half(self.token_private_key)

    @property
    def webhook_sources(self) -> str:
        """JSON, as checkin's setting WEBHOOK_SOURCES has it."""
        standard = WebhookSource(verifier="standard", secrets=[self.webhook_secret])
        sources = {STANDARD: standard} | self.more_sources
        return json.dumps({name: source.model_dump() for name, source in sources.items()})

    def sealing_public_key(self, recipient: str) -> str:
        public = PrivateKey(base64.b64decode(self.sealing_private_keys[recipient])).public_key
        return base64.b64encode(bytes(public)).decode()

    def of(self, service: str) -> dict[str, str]:
        """The keys that a service is told, by setting; its database and bus addresses are not among them."""
        keys: dict[str, str] = {
            "TOKEN_PUBLIC_KEY": self.token_public_key,
            "SESSION_PUBLIC_KEY": _public_half(self.session_signing_key),
        }
        if service == "reporting":
            keys["SESSION_SIGNING_KEY"] = self.session_signing_key
            keys["LIAISON_KEY"] = self.liaison_key
            keys["SEALING_PUBLIC_KEYS"] = self._sealing_public_keys("notification")
        if service in SEALED_TO:
            keys["SEALING_PRIVATE_KEY"] = self.sealing_private_keys[service]
            keys["CONTACT_KEYS"] = json.dumps(self.contact_keys[service])
            keys["LOOKUP_KEY"] = self.lookup_keys[service]
        if service == "checkin":
            keys["WEBHOOK_SOURCES"] = self.webhook_sources
            keys["SEALING_PUBLIC_KEYS"] = self._sealing_public_keys(*SEALED_TO)
            keys["LINK_KEY"] = self.link_key
        if service == "certificate":
            keys["SEALING_PUBLIC_KEYS"] = self._sealing_public_keys("notification")
            keys["CERTIFICATE_SIGNING_KEY"] = self.certificate_signing_key
        return keys

    def _sealing_public_keys(self, *recipients: str) -> str:
        return json.dumps({name: self.sealing_public_key(name) for name in recipients})


def _public_half(private_key: str) -> str:
    """Of an Ed25519 key."""
    return base64.b64encode(bytes(SigningKey(base64.b64decode(private_key)).verify_key)).decode()


def load_or_create(home: Home) -> Secrets:
    kept = home.secrets.read_text() if home.secrets.exists() else "{}"
    secrets = Secrets.model_validate_json(kept)
    text = secrets.model_dump_json(indent=2) + "\n"
    if text != kept:
        write_whole(home.secrets, text, PRIVATE)
    return secrets
