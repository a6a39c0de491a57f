"""The key under which codes and addresses are hashed, and those to which names and phones are sealed."""

import json
from collections.abc import Mapping, Sequence

from services.reporting.liaisons.domain import Contacts
from shared.contracts.base import SealedColumn
from shared.people.at_rest import lookup_hash
from shared.people.campaign_keys import PublicKeys, seal
from shared.service.refusals import Refused


class LiaisonKeys:
    """`liaison_key`: 32 bytes, base64; None where the deployment has none yet. `recipients`: service → its public key."""

    def __init__(self, liaison_key: str | None, recipients: Mapping[str, str]) -> None:
        self._liaison_key = liaison_key
        self._recipients = recipients

    def hash_of(self, what: str, text: str) -> bytes:
        """A hash of the text under the deployment's key, different for each `what`. Raises `Refused` without a key."""
        if self._liaison_key is None:
            raise Refused("no-liaison-key")
        return lookup_hash(self._liaison_key, f"{what} {text}")

    def sealed(
        self, campaign: PublicKeys, contacts: Sequence[Contacts | None], unit_codes: Sequence[str]
    ) -> SealedColumn | None:
        """The contacts of each unit, for notification. None where its key for the campaign is destroyed: then nobody keeps them.
        Raises `Refused` where the deployment has not said to which key."""
        if not self._recipients:
            raise Refused("no-liaison-key")
        return seal(self._recipients, campaign, [_encoded(unit) for unit in contacts], unit_codes)


def _encoded(contacts: Contacts | None) -> bytes | None:
    if contacts is None:
        return None
    return json.dumps({post: contact._asdict() for post, contact in contacts.items()}, ensure_ascii=False).encode()
