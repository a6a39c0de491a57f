"""What a certificate's row is made of: codes, the name it says, the signature over its content; and reading it again."""

from datetime import datetime
from typing import NamedTuple
from zoneinfo import ZoneInfo

from services.certificate import domain, store
from services.certificate.domain import CertificateContent, SigningKey
from services.certificate.keys import Keys, bound_to
from shared.contracts.campaign import RETAIN_DAYS, CampaignRules
from shared.database import Transaction
from shared.definitions import Definitions
from shared.people.at_rest import lookup_hash
from shared.people.campaign_keys import CampaignKeys


class Issued(NamedTuple):
    """A new certificate and its claim code in clear, which only the event carries, sealed."""

    row: store.Certificate
    claim_code: str


def new_certificate(
    rules: CampaignRules,
    completion: store.Completion,
    contact: store.KnownContact,
    keys: Keys,
    campaign_keys: CampaignKeys,
    now: datetime,
) -> Issued:
    assert rules.certificate is not None  # noqa: S101 - else nothing is due
    issuer = rules.certificate.issuer
    name = campaign_keys.decrypt(contact.name, bound_to(rules.campaign_id, completion.viewer_id))
    return signed_certificate(
        rules.campaign_id, completion, rules.title, issuer, name, keys, campaign_keys, now.replace(microsecond=0)
    )


def signed_certificate(
    campaign_id: str,
    completion: store.Completion,
    title: str,
    issuer: str,
    name: str | None,
    keys: Keys,
    campaign_keys: CampaignKeys,
    issued_at: datetime,
) -> Issued:
    """A certificate with new serial and codes, signed."""
    # Among a million certificates two claim codes may be equal; the unique index then refuses, and the sweep draws again.
    claim_code, serial = domain.new_claim_code(), domain.new_serial()
    draft = store.Certificate(
        serial=serial,
        campaign_id=campaign_id,
        viewer_id=completion.viewer_id,
        code=domain.new_code(),
        claim_code=keys.vault.encrypt(claim_code, serial),
        claim_code_hash=lookup_hash(keys.lookup_key, claim_code),
        unit_code=completion.unit_code,
        group_code=completion.group_code,
        campaign_title=title,
        issuer=issuer,
        name=None,
        credited_lessons=completion.credited_lessons,
        issued_at=issued_at,
        key_id="",
        signature=b"",
    )
    return Issued(with_name(draft, name, keys, campaign_keys), claim_code)


def with_name(row: store.Certificate, name: str | None, keys: Keys, campaign_keys: CampaignKeys) -> store.Certificate:
    """The row with this name, and with a new signature over its content."""
    sealed = campaign_keys.vault.encrypt(name, bound_to(row.campaign_id, row.viewer_id)) if name else None
    return _signed(row._replace(name=sealed), name, keys.signing)


def _signed(row: store.Certificate, name: str | None, signing: SigningKey) -> store.Certificate:
    signature = signing.sign(_content(row, name))
    return row._replace(key_id=signature.key_id, signature=signature.value)


def without_name(row: store.Certificate, viewer_id: str, signing: SigningKey) -> store.Certificate:
    """The row of a holder who is forgotten: without a name, for the account `viewer_id`, signed anew."""
    return _signed(row._replace(viewer_id=viewer_id, name=None), None, signing)


def _content(row: store.Certificate, name: str | None) -> CertificateContent:
    return CertificateContent(
        serial=row.serial,
        campaign_id=row.campaign_id,
        campaign_title=row.campaign_title,
        issuer=row.issuer,
        viewer_id=row.viewer_id,
        name=name,
        credited_lessons=tuple(row.credited_lessons),
        issued_at=row.issued_at,
    )


def content_of(row: store.Certificate, campaign_keys: CampaignKeys) -> CertificateContent:
    """What the certificate's signature covers. `campaign_keys`: those of its campaign."""
    return _content(row, campaign_keys.decrypt(row.name, bound_to(row.campaign_id, row.viewer_id)))


def claim_code_of(row: store.Certificate, keys: Keys) -> str:
    return keys.vault.decrypt(row.claim_code, row.serial)


async def keep_signing_key(tx: Transaction, keys: Keys) -> int:
    """Keeps the public half of the signing key, so that what it signed can still be verified when another key has replaced it.

    It is kept even while nothing is signed, because an earlier version, which did not keep it, may have signed with it. Returns
    how many keys were new: 0 or 1."""
    return int(await store.keep_signing_key(tx, keys.signing.key_id, keys.signing.public_bytes))


class IssuedCertificate(NamedTuple):
    """A certificate that we have issued, with what is needed to read and show it."""

    row: store.Certificate
    campaign_keys: CampaignKeys
    rules: CampaignRules | None

    @property
    def content(self) -> CertificateContent:
        return content_of(self.row, self.campaign_keys)

    @property
    def revoked(self) -> bool:
        return self.row.revoked_at is not None

    @property
    def zone(self) -> ZoneInfo:
        """The campaign's zone."""
        return self.rules.zone if self.rules else ZoneInfo("Asia/Shanghai")

    @property
    def retain_days(self) -> int:
        return self.rules.retain_days if self.rules else RETAIN_DAYS


async def issued_certificate(
    tx: Transaction, definitions: Definitions[CampaignRules], keys: Keys, row: store.Certificate
) -> IssuedCertificate:
    rules = await definitions.in_force(tx, row.campaign_id)
    return IssuedCertificate(row, await keys.recipient.keys_to_read(tx, row.campaign_id), rules)
