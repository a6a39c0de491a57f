"""Names and phones leave a service only sealed (DESIGN §4.8).

A transaction makes one random key and seals it to each recipient's public key (123 µs); every box is encrypted under that key
with an AEAD that is bound to its row (12 µs). The sender keeps no key and cannot read its own boxes back.
"""

import base64
from collections.abc import Mapping, Sequence

import nacl.exceptions
import nacl.public
import nacl.secret
import nacl.utils

from shared.contracts.base import SealedColumn


class CannotOpen(Exception):
    """The column was not sealed for this recipient, or was altered."""


def seal(recipients: Mapping[str, str], secrets: Sequence[bytes | None], bound_to: Sequence[str]) -> SealedColumn:
    """Seals each secret for all recipients (name → public key, base64). `bound_to[i]` is row i's `viewer_id`."""
    key = nacl.utils.random(nacl.secret.Aead.KEY_SIZE)
    box = nacl.secret.Aead(key)
    return SealedColumn(
        keys={
            name: _text(nacl.public.SealedBox(nacl.public.PublicKey(base64.b64decode(public))).encrypt(key))
            for name, public in recipients.items()
        },
        boxes=[
            None if secret is None else _text(box.encrypt(secret, aad=row.encode()))
            for secret, row in zip(secrets, bound_to, strict=True)
        ],
    )


def unseal(column: SealedColumn, recipient: str, private_key: str, bound_to: Sequence[str]) -> list[bytes | None]:
    """Opens what was sealed for `recipient`; None where a row had no secret. Raises `CannotOpen`."""
    if recipient not in column.keys:
        raise CannotOpen(f"not sealed for {recipient}")
    try:
        sealed_box = nacl.public.SealedBox(nacl.public.PrivateKey(base64.b64decode(private_key)))
        box = nacl.secret.Aead(sealed_box.decrypt(base64.b64decode(column.keys[recipient])))
        return [
            None if sealed is None else box.decrypt(base64.b64decode(sealed), aad=row.encode())
            for sealed, row in zip(column.boxes, bound_to, strict=True)
        ]
    except (nacl.exceptions.CryptoError, ValueError) as error:
        raise CannotOpen(f"cannot be opened with the key of {recipient}") from error


def is_sealed_for(column: SealedColumn, recipient: str, private_key: str) -> bool:
    """Whether this key, of all that `recipient` may have, opens the column."""
    try:
        sealed_box = nacl.public.SealedBox(nacl.public.PrivateKey(base64.b64decode(private_key)))
        sealed_box.decrypt(base64.b64decode(column.keys[recipient]))
    except (nacl.exceptions.CryptoError, ValueError, KeyError):
        return False
    return True


def _text(data: bytes) -> str:
    return base64.b64encode(data).decode()
