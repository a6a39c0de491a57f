"""Parking has a brake (DESIGN §4.11): a wrong key or an older replica must not empty a stream into the dead letters.

A consumer that has parked `PARKED_MAX` different messages and applied none between stops at the next one: it keeps it, tries it
again with growing delay, and goes on when it is applied, or when an operator has it parked knowingly (`fanzha dead-letters
park`). The table `held_message` has what must survive a restart.
"""

import asyncio
from dataclasses import dataclass, field
from typing import Protocol

from shared.failures import ParkedMessage

PARKED_MAX = 5


class Parking(Protocol):
    """Where a consumer's poisonous messages go."""

    async def park(self, message: ParkedMessage) -> None:
        """Returns once it is stored; only then is the message given up."""

    async def hold(self, message: ParkedMessage) -> bool:
        """Records that the consumer has stopped at this message. Where an operator has allowed it, parks the message and
        returns True."""

    async def holds(self, durable: str) -> bool:
        """Whether the consumer had stopped at a message, by the last record."""

    async def release(self, durable: str) -> None:
        """Records that the consumer goes on."""


class Nowhere:
    """Stands in until `bus.on_park` is called: the message is not parked but retried."""

    async def park(self, message: ParkedMessage) -> None:
        raise RuntimeError("nowhere to park: call bus.on_park()")

    async def hold(self, message: ParkedMessage) -> bool:
        return False

    async def holds(self, durable: str) -> bool:
        return False

    async def release(self, durable: str) -> None:
        pass


@dataclass
class Brake:
    """The brake of one durable in this process."""

    durable: str
    applies: bool  # False where messages come from outside: one that we cannot read is its sender's mistake
    held: str | None = None  # why the consumer stands, for readiness
    _parked: set[int] = field(default_factory=set)  # stream numbers, since something was applied
    _turn: asyncio.Lock = field(default_factory=asyncio.Lock)
    _recorded: bool | None = None  # whether `held_message` has a row of this durable; None: not yet asked

    async def park(self, parking: Parking, message: ParkedMessage) -> bool:
        """Parks the message and returns True; or returns False, and then the consumer must stop at it. Handles one message at a
        time."""
        async with self._turn:
            if await self._is_on(parking, message.stream_seq):
                self._recorded = True
                if not await parking.hold(message):
                    self.held = f"stopped at message {message.stream_seq}, which it cannot understand: {message.reason}"
                    return False
            else:
                await parking.park(message)
            self.held = None
            self._parked.add(message.stream_seq)
            return True

    async def applied(self, parking: Parking) -> None:
        """Called when a message was applied: messages parked before it were exceptions, and counting begins anew."""
        self._parked.clear()
        self.held = None
        if self._recorded is not False and self.applies:
            await parking.release(self.durable)
            self._recorded = False

    async def _is_on(self, parking: Parking, stream_seq: int) -> bool:
        if not self.applies:
            return False
        if self._recorded is None:
            self._recorded = await parking.holds(self.durable)
        return self._recorded or len(self._parked - {stream_seq}) >= PARKED_MAX
