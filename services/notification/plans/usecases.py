"""Turns facts into plans, and planned messages into texts; the caller opens the transaction."""

from collections.abc import Collection, Mapping, Sequence
from datetime import datetime
from typing import NamedTuple

import structlog

from services.notification.plans import domain, store
from services.notification.plans.domain import Key
from services.notification.plans.kinds import KINDS
from services.notification.plans.secrets import Secrets, opened, readable
from shared.contracts.campaign import CampaignRules, read_rules, unknown_messages
from shared.contracts.checkin import CampaignDefinedV1, ViewerEnrolledV1
from shared.database import Transaction
from shared.definitions import Definitions, InForce
from shared.people import erasure
from shared.people.at_rest import lookup_hash
from shared.people.campaign_keys import Recipient
from shared.people.enrolments import latest_enrolments

log = structlog.get_logger()

PLANS_MAX = 500  # messages of one kind planned in one transaction
FORGET_MAX = 1000

# --- facts ------------------------------------------------------------------------------------------------------------


async def keep_definition(
    tx: Transaction, event: CampaignDefinedV1, definitions: Definitions[InForce], secrets: Secrets
) -> None:
    """Keeps the definition. The first one also makes the campaign's key, before anybody enrols."""
    if await definitions.keep(tx, event):
        if unknown := unknown_messages(event.rules):
            log.warning("message rules of a newer version are left out", campaign=event.campaign_id, rules=len(unknown))
        await store.retain_for(tx, event.campaign_id, read_rules(event.rules).retain_days)
        await secrets.recipient.keys(tx, event.campaign_id, event.occurred_at)


async def keep_contacts(tx: Transaction, event: ViewerEnrolledV1, secrets: Secrets) -> None:
    """Keeps each viewer's latest phone. An enrolment without a phone never clears it; one that withdraws it does. Messages to
    these viewers are planned again."""
    contacts = _withdrawn_contacts(event) if event.contacts_withdrawn else await _enrolled_contacts(tx, event, secrets)
    if newest := latest_enrolments(contacts, key=lambda contact: contact.viewer_id):
        await store.keep_contacts(tx, sorted(newest.values()))
        for kind in KINDS.values():
            await kind.plan_again_for(tx, [(event.campaign_id, viewer_id) for viewer_id in sorted(newest)])


def _withdrawn_contacts(event: ViewerEnrolledV1) -> list[store.ContactRow]:
    """Contacts without phones: these phones may not be kept. They replace what these and earlier enrolments told, in
    whatever order events arrive."""
    return [
        store.ContactRow(
            event.campaign_id,
            row.viewer_id,
            row.enrolled_at,
            row.enrolment_id,
            None,
            None,
            row.enrolled_at + domain.RETAIN_FOR,
        )
        for row in event.rows()
    ]


async def _enrolled_contacts(tx: Transaction, event: ViewerEnrolledV1, secrets: Secrets) -> list[store.ContactRow]:
    """The phones in the event, encrypted again for the database. Raises `Poison` where they cannot be read."""
    campaign_keys = await secrets.recipient.keys(tx, event.campaign_id, event.occurred_at)
    contacts = opened(event.contacts, event.viewer_ids, campaign_keys)
    phones = [None if contact is None else readable(domain.phone_in, contact) for contact in contacts]
    return [
        store.ContactRow(
            event.campaign_id,
            row.viewer_id,
            row.enrolled_at,
            row.enrolment_id,
            campaign_keys.vault.encrypt(phone, f"{event.campaign_id}/{row.viewer_id}"),
            lookup_hash(campaign_keys.lookup_key, phone),
            row.enrolled_at + domain.RETAIN_FOR,
        )
        for row, phone in zip(event.rows(), phones, strict=True)
        if phone is not None
    ]


# --- plans ------------------------------------------------------------------------------------------------------------


async def plan(tx: Transaction, definitions: Definitions[InForce], secrets: Secrets, now: datetime) -> int:
    """Brings a portion of the messages in line with facts and definition. Messages that were sent, or may have been, stay
    unchanged."""
    planned = 0
    for kind in KINDS.values():
        if plans := await kind.plan(tx, definitions, PLANS_MAX):
            await store.follow(tx, {secrets.notification_id(key): plan for key, plan in plans.items()}, now)
            planned += len(plans)
    return planned


async def plan_again(tx: Transaction, keys: Collection[Key]) -> None:
    """Plans messages again that certainly were not sent: their facts may have changed while sending was tried."""
    for name, kind in KINDS.items():
        if of_this_kind := [key for key in keys if key.kind == name]:
            await kind.plan_again(tx, of_this_kind)


# --- what sending asks ------------------------------------------------------------------------------------------------


class Rendered(NamedTuple):
    """A message as it goes out. Never in a log."""

    to: str
    text: str


async def open_now(
    tx: Transaction,
    definitions: Definitions[InForce],
    due: Sequence[tuple[str, str]],
    channel: str,
    now: datetime,
) -> list[tuple[CampaignRules, str]]:
    """The rules and kind of each (campaign, kind) in `due` whose message rule lets messages go out now, through this channel."""
    in_force = await definitions.of(tx, {campaign_id for campaign_id, _ in due}) if due else {}
    return [
        (in_force[campaign_id].rules, kind)
        for campaign_id, kind in due
        if campaign_id in in_force and domain.may_send(now, in_force[campaign_id].rules, kind, channel)
    ]


async def render(
    tx: Transaction, secrets: Secrets, rules: CampaignRules, kind: str, keys: Sequence[Key], claim_page: str
) -> Mapping[Key, Rendered]:
    """Recipients and texts of these messages, whose kind `open_now` has returned. Messages that must not be sent are left out.

    Raises where a key of `CONTACT_KEYS` is missing: nothing is sent before it is put back.
    """
    campaign_keys = await secrets.recipient.keys_to_read(tx, rules.campaign_id)
    contents = await KINDS[kind].contents(tx, campaign_keys, keys)
    public = {"claim_page": claim_page}
    return {
        key: Rendered(content.phone, domain.text(rules, kind, public | dict(content.values)))
        for key, content in contents.items()
    }


async def phones(
    tx: Transaction, recipient: Recipient, campaign_id: str, viewer_ids: Collection[str]
) -> dict[str, str]:
    """The phones of the viewers that have one, as far as they can still be read."""
    campaign_keys = await recipient.keys_to_read(tx, campaign_id)
    encrypted = await store.phones(tx, campaign_id, sorted(viewer_ids))
    decrypted = {viewer: campaign_keys.decrypt(phone, f"{campaign_id}/{viewer}") for viewer, phone in encrypted.items()}
    return {viewer: phone for viewer, phone in decrypted.items() if phone is not None}


# --- retention --------------------------------------------------------------------------------------------------------


async def forget(tx: Transaction, definitions: Definitions[InForce], now: datetime) -> int:
    """Removes phones and claim codes whose time is over (PIPL: deleted on time), or notes a later time
    where the campaign keeps them longer (`domain.forget_at`). Handles up to `FORGET_MAX` viewers; returns how many."""
    viewers = await store.lock_contacts_to_forget(tx, now, FORGET_MAX)
    if not viewers:
        return 0
    in_force = await definitions.of(tx, {campaign_id for campaign_id, _ in viewers})
    until = {campaign_id: domain.forget_at(definition.rules) for campaign_id, definition in in_force.items()}
    kept_longer = [(*viewer, until[viewer[0]]) for viewer in viewers if until.get(viewer[0], now) > now]
    expired = [viewer for viewer in viewers if until.get(viewer[0], now) <= now]
    if kept_longer:
        await store.retain(tx, kept_longer)
    if expired:
        await store.forget(tx, expired)
        for kind in KINDS.values():
            await kind.forget(tx, expired)
        await erasure.record_retention(tx, {"contact": len(expired)}, now)
    return len(viewers)
