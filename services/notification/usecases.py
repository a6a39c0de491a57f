"""What notification does with facts, with due messages and with what channels report."""

import asyncio
import json
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Any, Final, TypeVar
from uuid import UUID

import structlog

from services.notification import domain, store
from services.notification.domain import (
    CERTIFICATE_READY,
    Channel,
    Key,
    Message,
    Outcome,
    Plan,
    Reference,
    Report,
    Status,
    UnreadableSecret,
)
from shared.contracts.base import SealedColumn
from shared.contracts.campaign import CampaignRules, unknown_messages
from shared.contracts.certificate import CertificateIssuedV1, CertificateRevokedV1
from shared.contracts.checkin import CampaignDefinedV1, ViewerEnrolledV1
from shared.database import Database, Transaction
from shared.definitions import Definitions, InForce
from shared.failures import Poison
from shared.people import erasure
from shared.people.at_rest import lookup_hash
from shared.people.campaign_keys import CampaignKeys, Recipient
from shared.people.sealing import CannotOpen

log = structlog.get_logger()

T = TypeVar("T")

PLANS_MAX = 500  # certificates planned in one transaction
BATCH_MAX = 200  # messages in one call of a channel; a crash leaves at most this many to be resolved
QUERIES_MAX = 500
SUPPRESS_MAX = 1000
FORGET_MAX = 1000
CHANNEL_TIMEOUT_S = 30  # then the whole batch is unknown
QUERY_EVERY: Final = timedelta(seconds=60)


@dataclass(frozen=True)
class Secrets:
    recipient: Recipient  # phones and claim codes, by campaign
    lookup_key: str = field(repr=False)

    def notification_id(self, key: Key) -> UUID:
        """The same for the same key in any database, so that a channel knows a message again; and no way back to the viewer."""
        return UUID(bytes=lookup_hash(self.lookup_key, json.dumps(key))[:16])


# --- facts ------------------------------------------------------------------------------------------------------------


async def keep_definition(
    tx: Transaction, event: CampaignDefinedV1, definitions: Definitions[InForce], secrets: Secrets
) -> None:
    """The campaign gets its key with its first definition, before anybody enrols."""
    if await definitions.keep(tx, event):
        if unknown := unknown_messages(event.rules):
            log.warning("message rules of a newer version are left out", campaign=event.campaign_id, rules=len(unknown))
        await secrets.recipient.keys(tx, event.campaign_id, event.occurred_at)


async def keep_contacts(tx: Transaction, event: ViewerEnrolledV1, secrets: Secrets) -> None:
    """Of each viewer the latest phone. An enrolment without one does not take back the one before."""
    own = await secrets.recipient.keys(tx, event.campaign_id, event.occurred_at)
    newest: dict[str, store.ContactRow] = {}
    for row, contact in zip(event.rows(), _open(event.contacts, event.viewer_ids, own), strict=True):
        phone = None if contact is None else _readable(domain.phone_in, contact)
        if phone is None:
            continue
        known = newest.get(row.viewer_id)
        if known is None or (known.enrolled_at, known.enrolment_id) < (row.enrolled_at, row.enrolment_id):
            newest[row.viewer_id] = store.ContactRow(
                event.campaign_id,
                row.viewer_id,
                row.enrolled_at,
                row.enrolment_id,
                own.vault.encrypt(phone, f"{event.campaign_id}/{row.viewer_id}"),
                lookup_hash(own.lookup_key, phone),
                row.enrolled_at + domain.RETAIN_FOR,
            )
    if newest:
        await store.keep_contacts(tx, sorted(newest.values()))


async def keep_issued(tx: Transaction, event: CertificateIssuedV1, secrets: Secrets) -> None:
    own = await secrets.recipient.keys(tx, event.campaign_id, event.occurred_at)
    codes = _open(event.claim_codes, event.viewer_ids, own)
    rows = {
        (row.viewer_id, row.serial): store.IssuedRow(
            event.campaign_id,
            row.viewer_id,
            row.serial,
            row.issued_at,
            _encrypted_claim_code(code, own, f"{event.campaign_id}/{row.viewer_id}/{row.serial}"),
            row.issued_at + domain.RETAIN_FOR,
        )
        for row, code in zip(event.rows(), codes, strict=True)
    }
    await store.keep_issued(tx, [rows[key] for key in sorted(rows)])


async def keep_revoked(tx: Transaction, event: CertificateRevokedV1) -> None:
    await store.keep_revoked(
        tx, sorted({store.RevokedRow(event.campaign_id, row.viewer_id, row.serial) for row in event.rows()})
    )


def _open(column: SealedColumn | None, viewer_ids: list[str], own: CampaignKeys) -> list[bytes | None]:
    try:
        return own.open(column, viewer_ids)
    except CannotOpen as error:
        raise Poison(str(error)) from None


def _encrypted_claim_code(code: bytes | None, own: CampaignKeys, bound_to: str) -> bytes | None:
    return None if code is None else own.vault.encrypt(_readable(domain.claim_code_in, code), bound_to)


def _readable(read: Callable[[bytes], T], secret: bytes) -> T:
    try:
        return read(secret)
    except UnreadableSecret as error:
        raise Poison(str(error)) from None


# --- due work ---------------------------------------------------------------------------------------------------------


class ChannelFailed(Exception):
    """The channel gave no answer. What it was called for stays `sending`, and the next run asks what became of it."""


@dataclass(frozen=True)
class DueMessages:
    """The repeated work: each method does a bounded portion of what is due at `now` and returns how many rows that was."""

    db: Database
    definitions: Definitions[InForce]
    channels: Mapping[str, Channel]
    secrets: Secrets

    async def plan(self, now: datetime) -> int:
        """Lets notifications follow facts and definition. What was sent, or may have been, is history and stays."""
        return await self.db.in_transaction(lambda tx: _plan(tx, self.definitions, self.secrets, now))

    async def send(self, now: datetime) -> int:
        """Resolves what is open, ends what is too late, sends what is due; in this order, so that nothing is sent twice."""
        async with self.db.transaction() as tx:
            done = await store.orphans_become_unknown(tx, now)
        async with self.db.transaction() as tx:
            done += await store.suppress_expired(tx, now, SUPPRESS_MAX)
        for name in self.channels:
            done += await self._query(name, now)
            done += await self._send(name, now)
        return done

    async def forget(self, now: datetime) -> int:
        """Removes phones and claim codes whose time is over (PIPL: deleted on time)."""
        return await self.db.in_transaction(lambda tx: _forget(tx, self.definitions, now))

    async def _send(self, name: str, now: datetime) -> int:
        async with self.db.transaction() as tx:
            campaigns = await _campaigns_to_send(tx, self.definitions, name, now)
        return sum([await self._send_batch(name, rules, now) for rules in campaigns])

    async def _send_batch(self, name: str, rules: CampaignRules, now: datetime) -> int:
        async with store.attempt(self.db) as attempt:
            async with self.db.transaction() as tx:  # the intent is stored before the channel is called
                rows = await store.claim_certificate_ready(
                    tx, rules.campaign_id, name, now=now, attempt=attempt, limit=BATCH_MAX
                )
                own = await self.secrets.recipient.keys_to_read(tx, rules.campaign_id)
                messages = [_message(row, rules, own) for row in rows]
            if not messages:
                return 0
            answers = await _answers(name, self.channels[name].send(messages))
            sent = [message.reference.notification_id for message in messages]
            outcomes = {each: answers.get(each, Outcome(Report.UNKNOWN)) for each in sent}
            async with self.db.transaction() as tx:
                await record(tx, outcomes, dict.fromkeys(sent, attempt), now)
        return len(messages)

    async def _query(self, name: str, now: datetime) -> int:
        async with self.db.transaction() as tx:
            open_attempts = await store.to_query(tx, name, now, QUERIES_MAX)
        if not open_attempts:
            return 0
        answers = await _answers(name, self.channels[name].query(list(open_attempts)))
        attempts = {reference.notification_id: attempt for reference, attempt in open_attempts.items()}
        outcomes = {each: answers.get(each, Outcome(Report.UNKNOWN)) for each in attempts}
        async with self.db.transaction() as tx:
            await record(tx, outcomes, attempts, now)
        return len(open_attempts)


def _message(row: store.Row, rules: CampaignRules, own: CampaignKeys) -> Message:
    """A text that cannot be made, because a key of `CONTACT_KEYS` is missing, takes the claim back, loudly."""
    rule = domain.rule_for(rules, row["kind"])
    assert rule is not None  # noqa: S101 - _campaigns_to_send names only campaigns that have it
    serial, code, viewer = row["period"], row["claim_code"], f"{rules.campaign_id}/{row['recipient']}"
    decrypt = own.vault.decrypt
    return Message(
        Reference(rules.campaign_id, row["kind"], row["id"]),
        to=decrypt(row["phone"], viewer),
        text=domain.text(
            rule,
            campaign_title=rules.title,
            serial=serial,
            claim_code=None if code is None else decrypt(code, f"{viewer}/{serial}"),
        ),
    )


async def _answers(name: str, call: Awaitable[Mapping[UUID, Outcome]]) -> Mapping[UUID, Outcome]:
    try:
        async with asyncio.timeout(CHANNEL_TIMEOUT_S):
            return await call
    except Exception as error:
        raise ChannelFailed(f"{name}: {type(error).__name__}") from error


async def record(
    tx: Transaction, outcomes: Mapping[UUID, Outcome], attempts: Mapping[UUID, int], now: datetime
) -> None:
    """Applies what a channel reported about these attempts, in whatever order and however often it reports."""
    changes = [
        change
        for row in await store.lock_attempted(tx, attempts)
        if (change := _change(row, outcomes[row["id"]], now)) is not None
    ]
    if changes:
        await store.change_statuses(tx, changes, now)
    if queued := [change.id for change in changes if change.status is Status.QUEUED]:
        await store.plan_again(tx, queued)


def _change(row: Any, outcome: Outcome, now: datetime) -> store.StatusChange | None:
    before = Status(row["status"])
    status = domain.after(before, outcome.report)
    if status is before and status is not Status.UNKNOWN:
        return None
    return store.StatusChange(
        row["id"],
        status,
        outcome.reason if status is Status.FAILED else None,
        query_at=now + QUERY_EVERY if status is Status.UNKNOWN else None,
        retry_at=now + domain.retry_delay(row["attempts"]) if status is Status.QUEUED else None,
    )


async def _plan(tx: Transaction, definitions: Definitions[InForce], secrets: Secrets, now: datetime) -> int:
    keys = await store.lock_certificates_to_plan(tx, PLANS_MAX)
    if not keys:
        return 0
    in_force = await definitions.of(tx, {campaign_id for campaign_id, _, _ in keys})
    plans: dict[UUID, Plan | None] = {}
    for certificate in await store.certificates(tx, keys):
        rules = in_force[certificate.campaign_id].rules
        plans[secrets.notification_id(certificate.key)] = domain.plan(certificate, rules)
    await store.follow(tx, plans, now)
    await store.mark_planned(tx, {key: in_force[key[0]].revision for key in keys})
    return len(keys)


async def _campaigns_to_send(
    tx: Transaction, definitions: Definitions[InForce], channel: str, now: datetime
) -> list[CampaignRules]:
    """Campaigns with due messages whose rule says that they may go out now, through this channel."""
    due = await store.campaigns_due(tx, channel, CERTIFICATE_READY, now)
    found = await definitions.of(tx, due) if due else {}
    return [each.rules for each in found.values() if domain.may_send(now, each.rules, CERTIFICATE_READY, channel)]


async def _forget(tx: Transaction, definitions: Definitions[InForce], now: datetime) -> int:
    viewers = await store.lock_contacts_to_forget(tx, now, FORGET_MAX)
    if not viewers:
        return 0
    in_force = await definitions.of(tx, {campaign_id for campaign_id, _ in viewers})
    until = {campaign_id: domain.forget_at(each.rules) for campaign_id, each in in_force.items()}
    kept = [(*viewer, until[viewer[0]]) for viewer in viewers if until.get(viewer[0], now) > now]
    gone = [viewer for viewer in viewers if until.get(viewer[0], now) <= now]
    if kept:
        await store.retain(tx, kept)
    if gone:
        await store.forget(tx, gone)
        await erasure.record_retention(tx, {"contact": len(gone)}, now)
    return len(viewers)
