"""People's data in a recipient's database: AES-GCM under a named key; found again by a keyed hash (DESIGN §4.8)."""

import base64
import hashlib
import hmac
import secrets
from collections.abc import Mapping

from cryptography.hazmat.primitives.ciphers.aead import AESGCM

NONCE_BYTES = 12


class Vault:
    """Encrypts under the last of `keys` (id → 32 bytes, base64) and decrypts under whichever a value names."""

    def __init__(self, keys: Mapping[str, str]) -> None:
        if not keys:
            raise ValueError("CONTACT_KEYS needs at least one key")
        self._keys = {name: AESGCM(base64.b64decode(key)) for name, key in keys.items()}
        self._current = list(keys)[-1]

    def encrypt(self, text: str, bound_to: str) -> bytes:
        """`key id : nonce ciphertext`; only decrypts with the same `bound_to` (the row's identity)."""
        return self.encrypt_bytes(text.encode(), bound_to)

    def decrypt(self, value: bytes, bound_to: str) -> str:
        return self.decrypt_bytes(value, bound_to).decode()

    def encrypt_bytes(self, data: bytes, bound_to: str) -> bytes:
        nonce = secrets.token_bytes(NONCE_BYTES)
        sealed = self._keys[self._current].encrypt(nonce, data, bound_to.encode())
        return self._current.encode() + b":" + nonce + sealed

    def decrypt_bytes(self, value: bytes, bound_to: str) -> bytes:
        name, _, sealed = bytes(value).partition(b":")
        key = self._keys[name.decode()]
        return key.decrypt(sealed[:NONCE_BYTES], sealed[NONCE_BYTES:], bound_to.encode())


def lookup_hash(key: str, text: str) -> bytes:
    """Finds an encrypted value again without decrypting: HMAC-SHA256 under the service's own key (base64)."""
    return hmac.new(base64.b64decode(key), text.encode(), hashlib.sha256).digest()
