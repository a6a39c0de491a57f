"""Hashes and compares passphrases by argon2id: a tenth of a second and 64 MiB each, in threads, two at a time."""

import asyncio
from collections.abc import Callable

import nacl.exceptions
from nacl.pwhash import argon2id

from shared.service.refusals import Refused

AT_ONCE = 2  # of 64 MiB each; the container has 512
WAITING_MAX = 20  # two seconds of work; further requests are refused and told to come back
RETRY_AFTER_S = 2


class Passphrases:
    """Hashes and compares passphrases; a process has one. Callers limit the length of what they
    pass (`domain.passphrase_as_kept`)."""

    def __init__(self) -> None:
        self._places = asyncio.Semaphore(AT_ONCE)
        self._waiting = 0
        self._hash_of_nobody: str | None = None

    async def hash_to_keep(self, passphrase: str) -> str:
        """The hash to keep in place of the passphrase. Raises `Refused` where too many requests wait."""
        return await self._in_turn(_hash, passphrase)

    async def fits(self, passphrase: str, kept_hash: str | None) -> bool:
        """Whether the passphrase has this hash. Where there is no hash it is compared with another one, which takes as long: the
        time of the answer must not tell who is known here. Raises `Refused` where too many requests wait."""
        if kept_hash is None:
            self._hash_of_nobody = self._hash_of_nobody or await self.hash_to_keep("nobody signs in with this")
            await self._in_turn(_verify, passphrase, self._hash_of_nobody)
            return False
        return await self._in_turn(_verify, passphrase, kept_hash) == "yes"

    async def _in_turn(self, work: Callable[..., str], *arguments: str) -> str:
        if self._waiting >= WAITING_MAX:
            raise Refused("sign-in-busy", retry_after_s=RETRY_AFTER_S)
        self._waiting += 1
        try:
            async with self._places:
                return await asyncio.to_thread(work, *arguments)
        finally:
            self._waiting -= 1


def _hash(passphrase: str) -> str:
    return argon2id.str(
        passphrase.encode(), opslimit=argon2id.OPSLIMIT_INTERACTIVE, memlimit=argon2id.MEMLIMIT_INTERACTIVE
    ).decode()


def _verify(passphrase: str, kept_hash: str) -> str:
    """Whether the passphrase has this hash: `yes` or `no`."""
    try:
        argon2id.verify(kept_hash.encode(), passphrase.encode())
    except nacl.exceptions.InvalidkeyError:
        return "no"
    return "yes"
