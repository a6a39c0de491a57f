"""What a name, a passphrase and an invitation are, and when an invitation is still good. Pure (DESIGN §5.5)."""

import unicodedata
from collections.abc import Callable
from datetime import datetime, timedelta
from typing import Final

DrawBelow = Callable[[int], int]
"""Returns a random whole number from 0 up to, but without, its argument; `secrets.randbelow` outside tests."""

NAME_MAX_CHARS: Final = 100
PASSPHRASE_MIN_CHARS, PASSPHRASE_MAX_CHARS = 12, 128
PASSPHRASE_DIFFERENT_MIN: Final = 5  # different characters; 111111111111 is no passphrase
NOT_REPEATED: Final = "两次输入的口令不一样"
INVITATION_VALID_FOR: Final = timedelta(days=3)
CODE_ALPHABET: Final = "23456789ABCDEFGHJKMNPQRSTUVWXYZ"  # without 0, O, 1, I and L
CODE_LENGTH: Final = 16  # 79 bits
RECOVERY_CODES: Final = 8
RECOVERY_CODE_LENGTH: Final = 8  # 40 bits, and the passphrase is needed too
SECOND_STEP_WITHIN: Final = timedelta(minutes=5)  # after the passphrase


def name_as_kept(typed: str) -> str | None:
    """A name as it is kept and compared: full-width letters made plain, runs of blanks made one. None where it is empty, too long
    or cannot be printed."""
    name = " ".join(unicodedata.normalize("NFKC", typed).split())
    return name if 0 < len(name) <= NAME_MAX_CHARS and name.isprintable() else None


def passphrase_as_kept(typed: str) -> str:
    """A passphrase as it is hashed: full-width characters made plain, since the keyboard decides which kind somebody types. One
    that is far too long is cut off."""
    return unicodedata.normalize("NFKC", typed[: 2 * PASSPHRASE_MAX_CHARS])


def wrong_with_passphrase(passphrase: str, name: str) -> str | None:
    """Why a passphrase is refused (zh-Hans), or None. It must be long; it need not have any special characters."""
    if len(passphrase) < PASSPHRASE_MIN_CHARS:
        return f"口令至少 {PASSPHRASE_MIN_CHARS} 个字符，可以用一句只有自己知道的话"
    if len(passphrase) > PASSPHRASE_MAX_CHARS:
        return f"口令最多 {PASSPHRASE_MAX_CHARS} 个字符"
    if len(set(passphrase)) < PASSPHRASE_DIFFERENT_MIN:
        return "口令里重复的字符太多，请换一个"
    if name.casefold() in passphrase.casefold() and len(passphrase) - len(name) < PASSPHRASE_MIN_CHARS // 2:
        return "口令不要用自己的姓名，请换一个"
    return None


def new_code(draw: DrawBelow, length: int = CODE_LENGTH) -> str:
    """A random code; of 16 symbols, an invitation's, it is like `7K3M-9QXV-2HDN-P4RT`."""
    symbols = "".join(CODE_ALPHABET[draw(len(CODE_ALPHABET))] for _ in range(length))
    return "-".join(symbols[at : at + 4] for at in range(0, length, 4))


def code_as_kept(typed: str, length: int = CODE_LENGTH) -> str | None:
    """A code as it is kept, from what a person types: any case, full-width, with blanks or hyphens. None where it cannot be a
    code of this length."""
    plain = unicodedata.normalize("NFKC", typed[: 4 * length]).upper()
    symbols = "".join(symbol for symbol in plain if symbol.isalnum())
    fits = len(symbols) == length and all(symbol in CODE_ALPHABET for symbol in symbols)
    return symbols if fits else None


def is_invited(invitation_until: datetime | None, revoked_at: datetime | None, now: datetime) -> bool:
    """Whether a person's invitation can be used now."""
    return revoked_at is None and invitation_until is not None and now < invitation_until
