"""The deployment's secrets in a backup: they are encrypted under a passphrase, and recognised by fingerprints that give nothing
away."""

import hashlib
import json
from collections.abc import Mapping
from pathlib import Path

import nacl.exceptions
import nacl.pwhash
import nacl.secret
import nacl.utils

# The keys without which restored rows are gibberish. Passwords are not among them: those may change.
READING_KEYS = ("SEALING_PRIVATE_KEY", "CONTACT_KEYS", "LOOKUP_KEY", "CERTIFICATE_SIGNING_KEY", "LINK_KEY")
FINGERPRINT_CHARS = 16
PASSPHRASE_MIN_CHARS = 12


class WrongPassphrase(Exception):
    """The passphrase does not open the secrets of this backup."""


def fingerprints(environments: Mapping[str, Mapping[str, str]]) -> dict[str, str]:
    """`service/KEY[/id]` → the start of a hash. The keys are 32 random bytes, so nobody finds one from its hash."""
    digests = {}
    for service, environment in environments.items():
        for key in READING_KEYS:
            for name, value in _values(key, environment.get(key)):
                digest = hashlib.sha256(b"fanzha key fingerprint " + value.encode()).hexdigest()
                digests[f"{service}/{name}"] = digest[:FINGERPRINT_CHARS]
    return dict(sorted(digests.items()))


def _values(key: str, value: str | None) -> list[tuple[str, str]]:
    if not value:
        return []
    if not value.startswith("{"):
        return [(key, value)]
    return [(f"{key}/{name}", secret) for name, secret in json.loads(value).items()]


def missing(needed: Mapping[str, str], present: Mapping[str, str]) -> list[str]:
    """Keys that the backup's rows need and the deployment does not have. Keys beyond those are allowed."""
    return [name for name, fingerprint in needed.items() if present.get(name) != fingerprint]


def lock(secret: bytes, passphrase: str) -> bytes:
    """Encrypts a secret: a salt, then a box under a key that Argon2id makes of the passphrase (64 MiB, about a tenth of a
    second)."""
    salt = nacl.utils.random(nacl.pwhash.argon2id.SALTBYTES)
    return salt + nacl.secret.SecretBox(_key(passphrase, salt)).encrypt(secret)


def unlock(locked: bytes, passphrase: str) -> bytes:
    salt, box = locked[: nacl.pwhash.argon2id.SALTBYTES], locked[nacl.pwhash.argon2id.SALTBYTES :]
    try:
        return nacl.secret.SecretBox(_key(passphrase, salt)).decrypt(box)
    except (nacl.exceptions.CryptoError, ValueError) as error:
        raise WrongPassphrase from error


def read_passphrase(path: Path) -> str:
    """The first line of the file. Raises ValueError where it is too short to protect anything."""
    passphrase = (path.read_text().splitlines() or [""])[0].strip()
    if len(passphrase) < PASSPHRASE_MIN_CHARS:
        raise ValueError(f"{path}: 口令至少 {PASSPHRASE_MIN_CHARS} 个字符")
    return passphrase


def _key(passphrase: str, salt: bytes) -> bytes:
    return nacl.pwhash.argon2id.kdf(
        nacl.secret.SecretBox.KEY_SIZE,
        passphrase.encode(),
        salt,
        opslimit=nacl.pwhash.argon2id.OPSLIMIT_INTERACTIVE,
        memlimit=nacl.pwhash.argon2id.MEMLIMIT_INTERACTIVE,
    )
