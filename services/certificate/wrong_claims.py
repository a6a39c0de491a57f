"""How many wrong tries to claim are allowed, per code and per address, over all replicas.

Only wrong tries count. The limit of an address refuses only wrong tries, so that of the many viewers who share a carrier's
address nobody can lock out another. The limit of a code refuses a right phone tail like a wrong one. How many guesses that
leaves, and how likely one of them is right: docs/decisions/claim-tries.md.
"""

from collections.abc import Sequence
from datetime import timedelta
from typing import NamedTuple

from services.certificate import store
from services.certificate.domain import network_of
from shared.database import Transaction
from shared.people.at_rest import lookup_hash
from shared.service.refusals import Refused

BY_CODE_MAX, BY_CODE_WITHIN = 5, timedelta(hours=1)  # whoever has a code needs 80 days for 10,000 phone tails
BY_ADDRESS_MAX, BY_ADDRESS_WITHIN = 60, timedelta(minutes=1)  # further wrong tries are told to wait


class Limit(NamedTuple):
    """At most `most` wrong tries within a time. `who`: a keyed hash of the code or address, so that the table names neither."""

    who: bytes
    within: timedelta
    most: int
    refusal: str  # the refusal's name

    def refused(self) -> Refused:
        return Refused(self.refusal, retry_after_s=int(self.within.total_seconds()))


def by_code(key: str, claim_code: str) -> Limit:
    """The limit for a claim code. `key`: the service's lookup key (base64)."""
    who = lookup_hash(key, f"wrong claims of code {claim_code}")
    return Limit(who, BY_CODE_WITHIN, BY_CODE_MAX, "code-tried-too-often")


def by_address(key: str, address: str) -> Limit:
    """The limit for an address; all addresses of an IPv6 /64, which belongs to one subscriber, have one limit together."""
    who = lookup_hash(key, f"wrong claims from {network_of(address)}")
    return Limit(who, BY_ADDRESS_WITHIN, BY_ADDRESS_MAX, "address-tried-too-often")


async def check(tx: Transaction, limits: Sequence[Limit]) -> None:
    """Raises `Refused` where one of the limits is reached."""
    for limit in sorted(limits):
        if await store.too_many_wrong_claims(tx, limit.who, limit.within, limit.most):
            raise limit.refused()


async def count(tx: Transaction, limits: Sequence[Limit]) -> None:
    """Counts a wrong try. Raises `Refused` where a limit is reached; the caller then rolls back, and nothing is counted."""
    for limit in sorted(limits):
        if not await store.count_wrong_claim(tx, limit.who, limit.within, limit.most):
            raise limit.refused()


async def forget(tx: Transaction) -> int:
    """Deletes a portion of the tries that no longer count; returns how many rows."""
    return await store.delete_expired_wrong_claims(tx)
