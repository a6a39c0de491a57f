"""Names and phone tails: kept encrypted, put on certificates that came before them, deleted when their time is over."""

import json
from datetime import datetime, timedelta

import structlog

from services.certificate import store
from services.certificate.certificates import keep_signing_key, with_name
from services.certificate.keys import Keys, bound_to
from shared.contracts.campaign import RETAIN_DAYS
from shared.contracts.checkin import ViewerEnrolledV1
from shared.database import Transaction
from shared.failures import Poison
from shared.people import erasure, phones
from shared.people.campaign_keys import CampaignKeys
from shared.people.enrolments import latest_enrolments
from shared.people.names import NameRefused, normalise_name
from shared.people.sealing import CannotOpen

log = structlog.get_logger()

CONTACT_RETENTION = timedelta(days=RETAIN_DAYS)  # after the enrolment, where the campaign does not say `retain_days`


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
        with_name(
            row,
            campaign_keys.decrypt(contacts[row.viewer_id, "name"].value, bound_to(row.campaign_id, row.viewer_id)),
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
            campaign_keys.vault.encrypt(text, bound_to(event.campaign_id, row.viewer_id)),
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
        return normalise_name(raw)
    except NameRefused as refused:
        log.warning("a name of an enrolment is not taken", reason=str(refused))
        return None


async def forget_expired(tx: Transaction, now: datetime) -> int:
    """Deletes a portion of the contact data whose time is over (PIPL: deleted on time); returns how many rows."""
    deleted = await store.delete_expired_contacts(tx, now)
    if deleted:
        await erasure.record_retention(tx, {"contact": deleted}, now)
    return deleted
