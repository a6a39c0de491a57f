"""Keeps who completed and what they are called; issues, claims, revokes and reissues certificates (DESIGN §5.4).

The caller opens the transaction."""

import base64
import json
from collections import defaultdict
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any, NamedTuple

import structlog

from services.certificate import domain, store, wrong_claims
from services.certificate.domain import CertificateContent, SigningKey
from services.certificate.settings import Settings
from shared.bus import outbox
from shared.contracts.campaign import RETAIN_DAYS, CampaignRules, read_rules
from shared.contracts.certificate import (
    CertificateClaimedV1,
    CertificateIssuedV1,
    CertificateKeyMadeV1,
    CertificateRevokedV1,
)
from shared.contracts.checkin import CampaignDefinedV1, CheckinRecordedV1, LessonMadeGoodV1, ViewerEnrolledV1
from shared.database import Transaction
from shared.definitions import Definitions
from shared.failures import Poison
from shared.ids import new_event_id
from shared.people import erasure, phones
from shared.people.at_rest import Vault, lookup_hash
from shared.people.campaign_keys import CampaignKeys, Recipient, public_keys, seal
from shared.people.enrolments import latest_enrolments
from shared.people.sealing import CannotOpen
from shared.service.refusals import Refused

log = structlog.get_logger()

ISSUE_ROWS_MAX = 500  # one event; signing takes 40 ms
CONTACT_RETENTION = timedelta(days=RETAIN_DAYS)  # after the enrolment, where the campaign does not say `retain_days`


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


# ---- facts -----------------------------------------------------------------------------------------------------------


async def keep_definition(
    tx: Transaction, event: CampaignDefinedV1, definitions: Definitions[CampaignRules], keys: Keys
) -> None:
    """Keeps the definition. The first one also makes the campaign's key, before anybody enrols."""
    if await definitions.keep(tx, event):
        await store.retain_for(tx, event.campaign_id, read_rules(event.rules).retain_days)
        await keys.recipient.keys(tx, event.campaign_id, event.occurred_at)


async def keep_completions(tx: Transaction, events: Sequence[CheckinRecordedV1 | LessonMadeGoodV1]) -> None:
    """Keeps a row for each check-in with which a viewer reached the required days, and none for the others."""
    completions: dict[str, list[store.Completion]] = defaultdict(list)
    for event in events:
        completions[event.campaign_id] += (
            store.Completion(row.viewer_id, row.unit_code, row.group, row.credited_lessons)
            for row in event.rows()
            if row.credited_lessons is not None
        )
    for campaign_id in sorted(completions):
        await store.keep_completions(tx, campaign_id, completions[campaign_id])


async def keep_contacts(tx: Transaction, event: ViewerEnrolledV1, keys: Keys) -> None:
    """Keeps names and phone tails. A certificate that was issued before its holder's name arrived gets the name, unless it has
    been claimed. A name that may not be kept any more is removed from claimed certificates, too."""
    campaign_keys = await keys.recipient.keys(tx, event.campaign_id, event.occurred_at)
    contacts = _withdrawn_contacts(event) if event.contacts_withdrawn else _latest_contacts(event, campaign_keys)
    if not contacts:
        return
    await store.one_issuer(tx, event.campaign_id)
    changed = await store.keep_contacts(tx, event.campaign_id, list(contacts.values()))
    named = [
        _named(
            row,
            campaign_keys.decrypt(contacts[row.viewer_id, "name"].value, _bound_to(row.campaign_id, row.viewer_id)),
            keys,
            campaign_keys,
        )
        for row in await store.open_to_names(tx, event.campaign_id, changed, also_claimed=event.contacts_withdrawn)
    ]
    if named:
        await keep_signing_key(tx, keys)
        await store.rename(tx, named)


def _withdrawn_contacts(event: ViewerEnrolledV1) -> dict[tuple[str, str], store.Contact]:
    """Contacts without values, by viewer and field: this name and phone may not be kept. They replace what these and
    earlier enrolments told, in whatever order events arrive."""
    fields: tuple[store.Field, ...] = ("name", "phone_tail")
    withdrawn = (
        store.Contact(
            row.viewer_id, field, row.enrolled_at, row.enrolment_id, None, row.enrolled_at + CONTACT_RETENTION
        )
        for row in event.rows()
        for field in fields
    )
    return latest_enrolments(withdrawn, key=lambda contact: (contact.viewer_id, contact.field))


def _latest_contacts(event: ViewerEnrolledV1, campaign_keys: CampaignKeys) -> dict[tuple[str, str], store.Contact]:
    """The latest contact data in the event, encrypted, by viewer and field. Raises `Poison` where it cannot be read."""
    contacts = (
        store.Contact(
            row.viewer_id,
            field,
            row.enrolled_at,
            row.enrolment_id,
            campaign_keys.vault.encrypt(text, _bound_to(event.campaign_id, row.viewer_id)),
            row.enrolled_at + CONTACT_RETENTION,
        )
        for row, opened in zip(event.rows(), _open_contacts(event, campaign_keys), strict=True)
        for field, text in _usable_fields(opened).items()
    )
    return latest_enrolments(contacts, key=lambda contact: (contact.viewer_id, contact.field))


def _open_contacts(event: ViewerEnrolledV1, campaign_keys: CampaignKeys) -> list[bytes | None]:
    """The contact of each row, opened; None for a row without one. Raises `Poison` where no key opens them."""
    try:
        return campaign_keys.open(event.contacts, event.viewer_ids)
    except CannotOpen as error:
        raise Poison(f"contacts: {error}") from error


def _usable_fields(opened: bytes | None) -> dict[store.Field, str]:
    """The name and phone tail in an opened contact, as far as they can be used. Raises `Poison` where it is not as promised."""
    if opened is None:
        return {}
    try:
        contact = json.loads(opened)
        fields: dict[store.Field, str | None] = {
            "name": _usable_name(contact["name"] or ""),
            "phone_tail": phones.phone_tail(contact["phone"] or ""),
        }
    except (ValueError, KeyError, TypeError, RecursionError):
        raise Poison("a sealed contact is not the JSON that its contract promises") from None
    return {field: text for field, text in fields.items() if text is not None}


def _usable_name(raw: str) -> str | None:
    """The name as it is printed; None where it cannot be printed. The log then says why, without the name or its owner."""
    try:
        return domain.normalise_name(raw)
    except domain.NameRefused as refused:
        log.warning("a name of an enrolment is not taken", reason=str(refused))
        return None


def _bound_to(campaign_id: str, viewer_id: str) -> str:
    """What an encrypted name or phone tail is bound to: it cannot be decrypted as that of another viewer."""
    return f"{campaign_id}/{viewer_id}"


# ---- issuing ---------------------------------------------------------------------------------------------------------


async def issue_due(tx: Transaction, definitions: Definitions[CampaignRules], keys: Keys, now: datetime) -> int:
    """Issues certificates to a portion of those who completed a campaign whose claim time has come; returns how many."""
    for rules in (await definitions.all(tx)).values():
        certificate_rules = rules.certificate  # None in a campaign without a course
        is_due = certificate_rules is not None and certificate_rules.claim_from <= now
        if is_due and (issued := await _issue(tx, rules, keys, now)):
            return issued
    return 0


async def _issue(tx: Transaction, rules: CampaignRules, keys: Keys, now: datetime) -> int:
    """Issues up to `ISSUE_ROWS_MAX` certificates of a campaign in one event; returns how many."""
    await store.one_issuer(tx, rules.campaign_id)
    completions = await store.to_issue(tx, rules.campaign_id, ISSUE_ROWS_MAX)
    if not completions:
        return 0
    campaign_keys = await keys.recipient.keys(tx, rules.campaign_id, now)
    contacts = await store.contacts(tx, rules.campaign_id, [completion.viewer_id for completion in completions])
    no_contact = store.KnownContact()
    issued = [
        _new_certificate(rules, completion, contacts.get(completion.viewer_id, no_contact), keys, campaign_keys, now)
        for completion in completions
    ]
    await keep_signing_key(tx, keys)
    await store.add_certificates(tx, [certificate.row for certificate in issued])
    await outbox.add(tx, await _issued_event(tx, rules.campaign_id, issued, keys, now))
    return len(issued)


class _Issued(NamedTuple):
    """A new certificate and its claim code in clear, which only the event carries, sealed."""

    row: store.Certificate
    claim_code: str


def _new_certificate(
    rules: CampaignRules,
    completion: store.Completion,
    contact: store.KnownContact,
    keys: Keys,
    campaign_keys: CampaignKeys,
    now: datetime,
) -> _Issued:
    assert rules.certificate is not None  # noqa: S101 - else nothing is due
    issuer = rules.certificate.issuer
    name = campaign_keys.decrypt(contact.name, _bound_to(rules.campaign_id, completion.viewer_id))
    return _certificate(
        rules.campaign_id, completion, rules.title, issuer, name, keys, campaign_keys, now.replace(microsecond=0)
    )


def _certificate(
    campaign_id: str,
    completion: store.Completion,
    title: str,
    issuer: str,
    name: str | None,
    keys: Keys,
    campaign_keys: CampaignKeys,
    issued_at: datetime,
) -> _Issued:
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
    return _Issued(_named(draft, name, keys, campaign_keys), claim_code)


def _named(row: store.Certificate, name: str | None, keys: Keys, campaign_keys: CampaignKeys) -> store.Certificate:
    """The row with this name, and with a new signature over its content."""
    sealed = campaign_keys.vault.encrypt(name, _bound_to(row.campaign_id, row.viewer_id)) if name else None
    return _signed(row._replace(name=sealed), name, keys.signing)


def _signed(row: store.Certificate, name: str | None, signing: SigningKey) -> store.Certificate:
    signature = signing.sign(_content(row, name))
    return row._replace(key_id=signature.key_id, signature=signature.value)


async def keep_signing_key(tx: Transaction, keys: Keys) -> int:
    """Keeps the public half of the signing key, so that what it signed can still be verified when another key has replaced it.

    It is kept even while nothing is signed, because an earlier version, which did not keep it, may have signed with it. Returns
    how many keys were new: 0 or 1."""
    return int(await store.keep_signing_key(tx, keys.signing.key_id, keys.signing.public_bytes))


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
    return _content(row, campaign_keys.decrypt(row.name, _bound_to(row.campaign_id, row.viewer_id)))


def claim_code_of(row: store.Certificate, keys: Keys) -> str:
    return keys.vault.decrypt(row.claim_code, row.serial)


async def _issued_event(
    tx: Transaction, campaign_id: str, issued: Iterable[_Issued], keys: Keys, now: datetime
) -> CertificateIssuedV1:
    recipients = await public_keys(tx, campaign_id)
    certificates = sorted(issued, key=lambda certificate: certificate.row.viewer_id)
    viewer_ids = [certificate.row.viewer_id for certificate in certificates]
    claim_codes = [certificate.claim_code.encode() for certificate in certificates]
    return CertificateIssuedV1(
        event_id=new_event_id(),
        occurred_at=now,
        campaign_id=campaign_id,
        viewer_ids=viewer_ids,
        serials=[certificate.row.serial for certificate in certificates],
        unit_codes=[certificate.row.unit_code for certificate in certificates],
        groups=[certificate.row.group_code for certificate in certificates],
        issued_at=[certificate.row.issued_at for certificate in certificates],
        claim_codes=seal(keys.sealing_public_keys, recipients, claim_codes, viewer_ids),
    )


# ---- claiming --------------------------------------------------------------------------------------------------------


async def claim(
    tx: Transaction, keys: Keys, claim_code: str, phone_tail: str | None, address: str, now: datetime
) -> store.Certificate | Refused:
    """Marks the certificate claimed (领取), once; claiming again answers the same.

    For a wrong code, a wrong phone tail or a revoked certificate the refusal is returned and not raised, because the counted
    wrong try must be committed. After too many wrong tries the refusal is raised, and nothing is counted.
    """
    code = domain.normalise_claim_code(claim_code)
    address_limit = wrong_claims.by_address(keys.lookup_key, address)
    row = None if code is None else await store.by_claim_code(tx, lookup_hash(keys.lookup_key, code))
    if row is None or code is None:
        # What cannot be a code is a typing mistake and no guess, so it must not use up the tries of others at this address.
        await (wrong_claims.check if code is None else wrong_claims.count)(tx, [address_limit])
        return Refused("wrong-claim-code")
    code_limit = wrong_claims.by_code(keys.lookup_key, code)
    limits = [address_limit, code_limit]
    if row.revoked_at is not None:
        await wrong_claims.count(tx, limits)
        return Refused("claim-of-revoked")
    expected_tail = await _phone_tail(tx, row, keys)
    if expected_tail is not None and (phone_tail is None or phones.normalise_phone_tail(phone_tail) != expected_tail):
        # A caller who leaves the tail out has guessed nothing, and only learns that it is needed.
        await (wrong_claims.count if (phone_tail or "").strip() else wrong_claims.check)(tx, limits)
        return Refused("wrong-phone-tail")
    # Whoever knows the code, and the tail where there is one, is the holder: wrong tries from the same address do not matter.
    await wrong_claims.check(tx, [code_limit])
    if row.claimed_at is None:
        await store.claim(tx, row.serial, now)
        await outbox.add(tx, _claimed_event(row, now))
    return row


async def _phone_tail(tx: Transaction, row: store.Certificate, keys: Keys) -> str | None:
    """The phone tail that the holder must know besides the code; None where no phone is known."""
    contact = (await store.contacts(tx, row.campaign_id, [row.viewer_id])).get(row.viewer_id, store.KnownContact())
    if contact.phone_tail is None:
        return None
    campaign_keys = await keys.recipient.keys_to_read(tx, row.campaign_id)
    return campaign_keys.decrypt(contact.phone_tail, _bound_to(row.campaign_id, row.viewer_id))


def _claimed_event(row: store.Certificate, now: datetime) -> CertificateClaimedV1:
    return CertificateClaimedV1(
        event_id=new_event_id(),
        occurred_at=now,
        campaign_id=row.campaign_id,
        viewer_ids=[row.viewer_id],
        serials=[row.serial],
        claimed_at=[now],
    )


# ---- revoking and reissuing ------------------------------------------------------------------------------------------


async def revoke(tx: Transaction, campaign_id: str, viewer_id: str, actor: str, reason: str, now: datetime) -> str:
    """Revokes the viewer's valid certificate; returns its serial. Refused as `no-certificate` or `already-revoked`."""
    row = await _valid_certificate(tx, campaign_id, viewer_id)
    await store.revoke(tx, row.serial, now, actor, reason, None)
    await outbox.add(tx, _revoked_event(row, reason, None, now))
    return row.serial


async def reissue(
    tx: Transaction,
    keys: Keys,
    campaign_id: str,
    viewer_id: str,
    name: str,
    actor: str,
    reason: str,
    now: datetime,
    request_id: str | None = None,
) -> str:
    """Replaces the viewer's certificate by one with the corrected name; returns the new serial. A claimed certificate stays
    claimed.

    The same `request_id` again returns the same serial and changes nothing. Refused as `name-refused`, `campaign-erased`,
    `no-certificate`, `already-revoked`, or `request-id-used` where that id came with another viewer or name before."""
    try:
        corrected = domain.normalise_name(name)
    except domain.NameRefused as error:
        raise Refused("name-refused", str(error)) from error
    if corrected is None:
        raise Refused("name-refused", "姓名里没有看得见的字")
    campaign_keys = await keys.recipient.keys(tx, campaign_id, now)
    if campaign_keys.destroyed:
        raise Refused("campaign-erased")
    if request_id and (
        serial := await _reissued_before(tx, campaign_keys, campaign_id, request_id, viewer_id, corrected)
    ):
        return serial
    old = await _valid_certificate(tx, campaign_id, viewer_id)
    completion = store.Completion(viewer_id, old.unit_code, old.group_code, old.credited_lessons)
    issued_at = now.replace(microsecond=0)
    new = _certificate(
        campaign_id, completion, old.campaign_title, old.issuer, corrected, keys, campaign_keys, issued_at
    )
    row = new.row._replace(corrected=True, claimed_at=old.claimed_at, reissue_request=request_id)
    await store.revoke(tx, old.serial, now, actor, reason, row.serial)
    await keep_signing_key(tx, keys)
    await store.add_certificates(tx, [row])
    events: list[Any] = [_revoked_event(old, reason, row.serial, now)]
    events.append(await _issued_event(tx, campaign_id, [new], keys, now))
    if old.claimed_at is not None:
        events.append(_claimed_event(row, old.claimed_at))
    await outbox.add(tx, *events)
    return row.serial


async def refuse_minor(
    tx: Transaction, definitions: Definitions[CampaignRules], campaign_id: str, viewer_id: str
) -> None:
    """Refuses, as `guardian-consent-needed`, a viewer in a group of minors, or one whose name was withdrawn as a minor's."""
    rules, row = await definitions.in_force(tx, campaign_id), await store.last_of(tx, campaign_id, viewer_id)
    minors = {group.code for group in rules.groups if group.minors} if rules else set()
    if (row is not None and row.group_code in minors) or await store.is_withdrawn(tx, campaign_id, viewer_id):
        raise Refused("guardian-consent-needed")


async def _reissued_before(
    tx: Transaction, campaign_keys: CampaignKeys, campaign_id: str, request_id: str, viewer_id: str, name: str
) -> str | None:
    """The serial that an earlier request with this id has made; None where there was none. Requests at the same time take turns.
    Refused as `request-id-used` where that request was for another viewer or name."""
    await store.one_issuer(tx, campaign_id)
    row = await store.by_reissue_request(tx, campaign_id, request_id)
    if row is None:
        return None
    known_name = None if row.name is None else campaign_keys.decrypt(row.name, _bound_to(campaign_id, row.viewer_id))
    if (row.viewer_id, known_name) != (viewer_id, name):
        raise Refused("request-id-used")
    return row.serial


async def _valid_certificate(tx: Transaction, campaign_id: str, viewer_id: str) -> store.Certificate:
    """The viewer's valid certificate, locked. Refused as `no-certificate` or `already-revoked`."""
    await store.one_issuer(tx, campaign_id)
    row = await store.last_of(tx, campaign_id, viewer_id, lock=True)
    if row is None:
        raise Refused("no-certificate")
    if row.revoked_at is not None:
        raise Refused("already-revoked")
    return row


def _revoked_event(row: store.Certificate, reason: str, reissued_as: str | None, now: datetime) -> CertificateRevokedV1:
    return CertificateRevokedV1(
        event_id=new_event_id(),
        occurred_at=now,
        campaign_id=row.campaign_id,
        viewer_ids=[row.viewer_id],
        serials=[row.serial],
        revoked_at=[now],
        reasons=[reason],
        reissued_as=[reissued_as],
    )


async def certificate_shown(tx: Transaction, campaign_id: str, serial: str, request_id: str | None) -> str:
    """The viewer whose certificate a page of the office showed when somebody there decided to change it.

    Refused as `no-certificate`, or as `replaced-meanwhile` when the viewer has got another certificate since, unless this same
    request made that one."""
    await store.one_issuer(tx, campaign_id)
    row = await store.by_serial(tx, serial)
    if row is None or row.campaign_id != campaign_id:
        raise Refused("no-certificate")
    last = await store.last_of(tx, campaign_id, row.viewer_id)
    if last is not None and last.serial != serial and (request_id is None or last.reissue_request != request_id):
        raise Refused("replaced-meanwhile")
    return row.viewer_id


# ---- questions -------------------------------------------------------------------------------------------------------


async def look_up(tx: Transaction, keys: Keys, campaign_id: str, typed: str) -> store.Certificate | None:
    """The campaign's certificate with this serial or claim code, else the last one of the account with this id; None if none."""
    row: store.Certificate | None = None
    if (serial := domain.normalise_serial(typed)) is not None:
        row = await store.by_serial(tx, serial)
    elif (claim_code := domain.normalise_claim_code(typed)) is not None:
        row = await store.by_claim_code(tx, lookup_hash(keys.lookup_key, claim_code))
    if row is None and (viewer_id := typed.strip()):
        row = await store.last_of(tx, campaign_id, viewer_id)
    return row if row is not None and row.campaign_id == campaign_id else None


async def why_none(
    tx: Transaction, definitions: Definitions[CampaignRules], campaign_id: str, viewer_id: str, now: datetime
) -> str:
    """Why a viewer has no certificate yet: `not_completed`, `claim_time_not_come` or `about_to_be_issued`."""
    if not await store.completed(tx, campaign_id, viewer_id):
        return "not_completed"
    rules = await definitions.in_force(tx, campaign_id)
    if rules is None or rules.certificate is None or now < rules.certificate.claim_from:
        return "claim_time_not_come"
    return "about_to_be_issued"


async def forget_expired(tx: Transaction, now: datetime) -> int:
    """Deletes a portion of the contact data whose time is over (PIPL: deleted on time); returns how many rows."""
    deleted = await store.delete_expired_contacts(tx, now)
    if deleted:
        await erasure.record_retention(tx, {"contact": deleted}, now)
    return deleted
