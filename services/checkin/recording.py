"""The use case behind all three ways in: a batch of events becomes verdicts, rows and facts in one transaction.

The ways in are webhook, bus and import. sorting.py and deciding.py decide; this module asks the database and writes to it.
Nothing waits for the bus: facts go into the outbox.
"""

import hmac
from collections.abc import Awaitable, Callable, Sequence
from datetime import datetime
from typing import Any

from services.checkin import minors, store
from services.checkin.deciding import Decisions, Fact, Stored, decide
from services.checkin.domain import Campaign
from services.checkin.sorting import Arrival, Digest, Part, sort_out
from shared.bus import outbox
from shared.bus.outgoing import Outgoing, column_events
from shared.contracts.base import SealedColumn
from shared.database import Transaction
from shared.people.campaign_keys import PublicKeys

Seal = Callable[[PublicKeys, Sequence[bytes | None], Sequence[str]], SealedColumn | None]
Record = Callable[
    [Transaction, Sequence[Arrival], dict[str, Campaign], datetime, Seal, Digest, int], Awaitable[Decisions]
]


def body_digest(link_key: str) -> Digest:
    """HMAC-SHA256 of an event's bytes under a key of the deployment; without the key nobody can find a phone by trying all."""
    key = hmac.digest(link_key.encode(), b"bodies of refused events", "sha256")
    return lambda raw: hmac.digest(key, raw, "sha256")


async def record(
    tx: Transaction,
    arrivals: Sequence[Arrival],
    campaigns: dict[str, Campaign],
    now: datetime,
    seal: Seal,
    digest: Digest,
    slot: int,
) -> Decisions:
    """Applies a batch and returns what became of each arrival. `campaigns`: the definitions held by `tx`."""
    refusals, parts = sort_out(arrivals, campaigns)
    stored = [(part, await _store(tx, part, arrivals, digest)) for part in parts]
    decisions = decide(arrivals, refusals, stored, digest)
    if decisions.uncounted:
        decisions.count_refusals(await store.keep_uncounted(tx, decisions.uncounted))
    if decisions.counts:
        await store.count_verdicts(tx, slot, decisions.counts)
    await store.count_credited_days(tx, slot, decisions.days)
    await outbox.add_outgoing(tx, [event for fact in decisions.facts for event in _events(fact, now, seal)])
    return decisions


async def _store(tx: Transaction, part: Part, arrivals: Sequence[Arrival], digest: Digest) -> Stored:
    """Writes the events that are new. Returns what the database answered: which of them were new, and what it had before."""
    no, stored = part.campaign.no, Stored()
    if part.enrolments:
        stored.enrolled = part.enrolled(await store.add_enrolments(tx, no, part.enrolment_rows(digest)))
    if changes := part.viewers(stored.enrolled):
        stored.viewers = await store.upsert_viewers(tx, no, changes)
    if repeats := part.repeats_in_files(stored.enrolled, arrivals, digest):
        replaced = await store.replaced_enrolments(tx, no, set(repeats.values()))
        stored.replaced = {position for position, said in repeats.items() if said in replaced}
    if stored.enrolled and part.campaign.minors:
        await _bar_contacts(tx, part.campaign, stored)
    if part.actions:
        stored.new_actions = await store.add_actions(tx, no, part.action_rows())
        stored.units = await store.attribution(tx, no, {viewer for viewer, _ in stored.new_actions})
    return stored


async def _bar_contacts(tx: Transaction, campaign: Campaign, stored: Stored) -> None:
    """Finds the contact data that may not be kept, from all enrolments of the viewers. This transaction has locked the viewers'
    rows."""
    history = await store.enrolments_of(tx, campaign.no, {enrolled.event.viewer_id for enrolled in stored.enrolled})
    barred = minors.without_contact(history, campaign.minors)
    new = {enrolled.enrolment.key for enrolled in stored.enrolled}
    stored.no_contact = {past.key for past in barred}
    stored.withdrawn = minors.withdrawn(past for past in barred if past.key not in new)
    if forgotten := [past.key for past in barred if past.has_contact]:
        await store.forget_contacts(tx, campaign.no, forgotten)


def _events(fact: Fact, now: datetime, seal: Seal) -> list[Outgoing]:
    """The fact as events with new ids and sealed contacts."""
    more: dict[str, Any] = {}
    if fact.contacts is not None:
        viewer_ids = [row[0] for row in fact.rows]
        sealed = seal(fact.campaign.public_keys, fact.contacts, viewer_ids) if any(fact.contacts) else None
        more = {"contacts": sealed and sealed.model_dump()}
    return list(column_events(fact.contract, fact.campaign.id, now, fact.rows, **fact.fields, **more))
