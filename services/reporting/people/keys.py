"""The keys of people, made from reporting's session key: one signs cookies, one hashes codes, names and addresses, one encrypts
what is kept or handed to a browser."""

import base64

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.kdf.hkdf import HKDF

from shared.people.at_rest import Vault, lookup_hash
from shared.service.refusals import Refused
from shared.service.sessions import SessionSigner


class PeopleKeys:
    """`session_signing_key`: Ed25519, raw, base64; None where the deployment has none yet, so that nobody can sign in."""

    def __init__(self, session_signing_key: str | None) -> None:
        self._signer = None if session_signing_key is None else SessionSigner(session_signing_key)
        self._lookup_key = None if session_signing_key is None else _derived(session_signing_key, "lookup")
        self._vault = None if session_signing_key is None else Vault({"s": _derived(session_signing_key, "at rest")})

    @property
    def signer(self) -> SessionSigner:
        """Raises `Refused` without a key."""
        if self._signer is None:
            raise Refused("no-session-key")
        return self._signer

    def hash_of(self, what: str, text: str) -> bytes:
        """A hash of the text under the deployment's key, different for each `what`. Raises `Refused` without a key."""
        if self._lookup_key is None:
            raise Refused("no-session-key")
        return lookup_hash(self._lookup_key, f"{what} {text}")

    def encrypt(self, text: str, bound_to: str) -> bytes:
        """Raises `Refused` without a key."""
        if self._vault is None:
            raise Refused("no-session-key")
        return self._vault.encrypt(text, bound_to)

    def decrypt(self, value: bytes, bound_to: str) -> str | None:
        """None for what was not encrypted under this key, or for something else than `bound_to`."""
        if self._vault is None:
            return None
        try:
            return self._vault.decrypt(value, bound_to)
        except (InvalidTag, KeyError, ValueError):
            return None


def _derived(private_key: str, use: str) -> str:
    """A key for one use, base64."""
    raw = base64.b64decode(private_key)
    info = f"fanzha people {use}".encode()
    return base64.b64encode(HKDF(SHA256(), 32, salt=None, info=info).derive(raw)).decode()
