"""Everything secret that certificate works with."""

import base64
from dataclasses import dataclass

from services.certificate.domain import SigningKey
from services.certificate.settings import Settings
from shared.contracts.certificate import CertificateKeyMadeV1
from shared.people.at_rest import Vault
from shared.people.campaign_keys import Recipient


@dataclass(frozen=True)
class Keys:
    """Everything secret that the use cases work with."""

    signing: SigningKey
    recipient: Recipient  # names and phone tails, by campaign
    lookup_key: str
    sealing_public_keys: dict[str, str]

    @property
    def vault(self) -> Vault:
        """Encrypts claim codes under the deployment's keys, so that certificates can be claimed after their campaign's keys were
        destroyed."""
        return self.recipient.vault

    @classmethod
    def of(cls, settings: Settings) -> "Keys":
        return cls(
            SigningKey(base64.b64decode(settings.certificate_signing_key)),
            Recipient(CertificateKeyMadeV1, settings.sealing_private_key, settings.contact_keys),
            settings.lookup_key,
            settings.sealing_public_keys,
        )


def bound_to(campaign_id: str, viewer_id: str) -> str:
    """What an encrypted name or phone tail is bound to: it cannot be decrypted as that of another viewer."""
    return f"{campaign_id}/{viewer_id}"
