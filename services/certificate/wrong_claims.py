"""The limits of wrong tries to claim, per code and per address; shared/service/wrong_tries.py counts them.

Only wrong tries count. The limit of an address refuses only wrong tries, so that of the many viewers who share a carrier's
address nobody can lock out another. The limit of a code refuses a right phone tail like a wrong one. How many guesses that
leaves, and how likely one of them is right: docs/decisions/claim-tries.md.
"""

from datetime import timedelta

from shared.addresses import network_of
from shared.people.at_rest import lookup_hash
from shared.service.wrong_tries import Limit

BY_CODE_MAX, BY_CODE_WITHIN = 5, timedelta(hours=1)  # whoever has a code needs 80 days for 10,000 phone tails
BY_ADDRESS_MAX, BY_ADDRESS_WITHIN = 60, timedelta(minutes=1)  # further wrong tries are told to wait


def by_code(key: str, claim_code: str) -> Limit:
    """The limit for a claim code. `key`: the service's lookup key (base64)."""
    who = lookup_hash(key, f"wrong claims of code {claim_code}")
    return Limit(who, BY_CODE_MAX, BY_CODE_WITHIN, "code-tried-too-often")


def by_address(key: str, address: str) -> Limit:
    """The limit for an address; all addresses of an IPv6 /64, which belongs to one subscriber, have one limit together."""
    who = lookup_hash(key, f"wrong claims from {network_of(address)}")
    return Limit(who, BY_ADDRESS_MAX, BY_ADDRESS_WITHIN, "address-tried-too-often")
