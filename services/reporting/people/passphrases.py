"""Passphrases as argon2id keeps them: 64 MiB and a tenth of a second each, off the event loop, few at a time."""

import asyncio
from collections.abc import Callable

import nacl.exceptions
from nacl.pwhash import argon2id

from shared.service.refusals import Refused

AT_ONCE = 2  # of 64 MiB each; the container has 512
WAITING_MAX = 20  # two seconds of work; beyond that one is told to come back
RETRY_AFTER_S = 2


class Passphrases:
    """Keeps and compares passphrases; one for a process. What they are given is short (domain.PASSPHRASE_MAX_CHARS)."""

    def __init__(self) -> None:
        self._places = asyncio.Semaphore(AT_ONCE)
        self._waiting = 0
        self._nobodys: str | None = None

    async def kept(self, passphrase: str) -> str:
        """The text to keep. Raises `Refused` where too many wait."""
        return await self._in_turn(_kept, passphrase)

    async def fits(self, passphrase: str, kept: str | None) -> bool:
        """Whether it is this one. Takes as long where there is none: nobody learns by the time who is known here."""
        if kept is None:
            self._nobodys = self._nobodys or await self.kept("nobody signs in with this")
            await self._in_turn(_fits, passphrase, self._nobodys)
            return False
        return await self._in_turn(_fits, passphrase, kept) == "yes"

    async def _in_turn(self, work: Callable[..., str], *arguments: str) -> str:
        if self._waiting >= WAITING_MAX:
            raise Refused("sign-in-busy", retry_after_s=RETRY_AFTER_S)
        self._waiting += 1
        try:
            async with self._places:
                return await asyncio.to_thread(work, *arguments)
        finally:
            self._waiting -= 1


def _kept(passphrase: str) -> str:
    return argon2id.str(
        passphrase.encode(), opslimit=argon2id.OPSLIMIT_INTERACTIVE, memlimit=argon2id.MEMLIMIT_INTERACTIVE
    ).decode()


def _fits(passphrase: str, kept: str) -> str:
    try:
        argon2id.verify(kept.encode(), passphrase.encode())
    except nacl.exceptions.InvalidkeyError:
        return "no"
    return "yes"
