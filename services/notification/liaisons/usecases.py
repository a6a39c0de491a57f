"""Keeps the latest contacts of each unit's liaison, and shows them to the office, with a reason. Callers open the transaction."""

from collections.abc import Callable, Mapping
from datetime import datetime, timedelta

from services.notification.liaisons import domain, store
from services.notification.liaisons.domain import Person
from shared.contracts.campaign import RETAIN_DAYS, CampaignRules
from shared.contracts.reporting import LiaisonNamedV1
from shared.database import Transaction
from shared.definitions import Definitions, InForce
from shared.failures import Poison
from shared.people import erasure
from shared.people.campaign_keys import CampaignKeys, Recipient
from shared.people.sealing import CannotOpen
from shared.service.refusals import Refused

RETAIN_FOR = timedelta(days=RETAIN_DAYS)  # after the naming, where the campaign's definition has not arrived
FORGET_MAX = 1000


async def keep_contacts(tx: Transaction, event: LiaisonNamedV1, recipient: Recipient) -> None:
    """Keeps whom each unit named last, encrypted under the campaign's key. Raises `Poison` for what cannot be opened or read."""
    campaign_keys = await recipient.keys(tx, event.campaign_id, event.occurred_at)
    try:
        opened = campaign_keys.open(event.contacts, event.unit_codes)
    except CannotOpen as error:
        raise Poison(f"contacts of liaisons: {error}") from None
    newest: dict[str, store.ContactRow] = {}
    for row, contacts in zip(event.rows(), opened, strict=True):
        known = newest.get(row.unit_code)
        if known is None or known.revision < row.revision:
            newest[row.unit_code] = _row(event, row.unit_code, row.revision, contacts, campaign_keys)
    await store.keep(tx, [newest[unit_code] for unit_code in sorted(newest)])


def _row(
    event: LiaisonNamedV1, unit_code: str, revision: int, contacts: bytes | None, campaign_keys: CampaignKeys
) -> store.ContactRow:
    if contacts is None:
        return store.ContactRow(event.campaign_id, unit_code, revision, None, None)
    try:
        domain.people_in(contacts)
    except domain.Unreadable as error:
        raise Poison(str(error)) from None
    kept = campaign_keys.vault.encrypt_bytes(contacts, _bound_to(event.campaign_id, unit_code))
    return store.ContactRow(event.campaign_id, unit_code, revision, kept, event.occurred_at + RETAIN_FOR)


async def reveal(
    tx: Transaction,
    recipient: Recipient,
    campaign_id: str,
    unit_code: str,
    *,
    actor: str,
    role: str,
    reason: str,
    now: datetime,
) -> Mapping[str, Person]:
    """The people of a unit by post, in clear, and a row that says who was shown them and why. Raises `Refused` where nobody is
    kept; then no row is written."""
    shown = await people(tx, recipient, campaign_id, unit_code)
    await store.record_reveal(tx, campaign_id, unit_code, actor=actor, role=role, reason=reason, now=now)
    return shown


async def people(tx: Transaction, recipient: Recipient, campaign_id: str, unit_code: str) -> Mapping[str, Person]:
    """The people of a unit by post, for a page that masks them. Refused as `no-liaison` where nobody is kept."""
    kept = await store.contacts(tx, campaign_id, unit_code)
    campaign_keys = await recipient.keys_to_read(tx, campaign_id)
    contacts = campaign_keys.decrypt(kept, _bound_to(campaign_id, unit_code))
    if contacts is None:
        raise Refused("no-liaison")
    return domain.people_in(contacts.encode())


async def forget(
    tx: Transaction,
    definitions: Definitions[InForce],
    kept_until: Callable[[CampaignRules], datetime],
    now: datetime,
) -> int:
    """Removes contacts whose time is over, or notes a later time where the campaign keeps people's data longer (`kept_until`).
    Handles up to `FORGET_MAX` units; returns how many."""
    units = await store.lock_to_forget(tx, now, FORGET_MAX)
    if not units:
        return 0
    in_force = await definitions.of(tx, {campaign_id for campaign_id, _ in units})
    until = {campaign_id: kept_until(definition.rules) for campaign_id, definition in in_force.items()}
    kept_longer = [(*unit, until[unit[0]]) for unit in units if until.get(unit[0], now) > now]
    expired = [unit for unit in units if until.get(unit[0], now) <= now]
    if kept_longer:
        await store.retain(tx, kept_longer)
    if expired:
        await store.forget(tx, expired)
        await erasure.record_retention(tx, {"liaison_contact": len(expired)}, now)
    return len(units)


def _bound_to(campaign_id: str, unit_code: str) -> str:
    """What encrypted contacts are bound to: they cannot be decrypted as those of another unit, or of a viewer."""
    return f"{campaign_id}/unit {unit_code}"
