"""Codes that people copy, type and read aloud: without look-alikes, some with a check symbol that tells a slip. Pure."""

import re
import secrets
import unicodedata
from collections.abc import Callable
from typing import Final

DrawBelow = Callable[[int], int]
"""Returns a random whole number from 0 up to, but without, its argument; `secrets.randbelow` outside tests."""

ALPHABET: Final = "23456789ABCDEFGHJKMNPQRSTUVWXYZ"
"""The symbols of codes, without 0, O, 1, I and L. They are 31, a prime, so that a check symbol notices any wrong or exchanged
symbol (`_check_symbol`)."""

_SEPARATORS: Final = re.compile(r"[\W_]+")  # spaces, hyphens, and the punctuation that is copied along with a code


def random_symbols(length: int, draw: DrawBelow = secrets.randbelow) -> str:
    """Draws all symbols at once: a draw per symbol is a system call, and together they were 40 % of the cost of issuing."""
    number, symbols = draw(len(ALPHABET) ** length), []
    for _ in range(length):
        number, digit = divmod(number, len(ALPHABET))
        symbols.append(ALPHABET[digit])
    return "".join(symbols)


def with_check_symbol(length: int, draw: DrawBelow = secrets.randbelow) -> str:
    """`length` random symbols and one that checks them."""
    body = random_symbols(length, draw)
    return body + _check_symbol(body)


def valid_check_symbol(symbols: str) -> bool:
    """True for what `with_check_symbol` makes; false after any one wrong symbol or any two exchanged ones. Up to 30 symbols."""
    return _check_symbol(symbols[:-1]) == symbols[-1]


def grouped(symbols: str) -> str:
    """In fours, as people read them: `7K3M-9QXV-2HDN`."""
    return "-".join(symbols[at : at + 4] for at in range(0, len(symbols), 4))


def normalised(typed: str, length: int) -> str | None:
    """`length` symbols as a person types them: any case, full-width, with spaces, hyphens or punctuation; None where the text
    cannot be that."""
    if len(typed) > 4 * length:  # enough for separators, and a bound on the work
        return None
    # NFKC turns full-width letters into plain ones. Upper-casing may lengthen ("ß"), so the length is checked last.
    symbols = _SEPARATORS.sub("", unicodedata.normalize("NFKC", typed)).upper()
    return symbols if len(symbols) == length and all(symbol in ALPHABET for symbol in symbols) else None


def _check_symbol(body: str) -> str:
    """Weights 1, 2, 3 … modulo the prime 31, as in ISBN-10.

    The whole then satisfies sum(weight * value) ≡ 0 with weights that are distinct and not 0 modulo 31, so a changed symbol
    changes the sum by weight * difference ≠ 0, and two exchanged ones by (weight - weight') * difference ≠ 0.
    """
    weighted = sum(weight * ALPHABET.index(symbol) for weight, symbol in enumerate(body, start=1))
    inverse_of_last_weight = pow(len(body) + 1, -1, len(ALPHABET))
    return ALPHABET[-weighted * inverse_of_last_weight % len(ALPHABET)]
