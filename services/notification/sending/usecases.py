"""Sends messages that are due, and keeps what channels report about them."""

import asyncio
from collections.abc import Awaitable, Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Final
from uuid import UUID

from services.notification.channels.domain import Channel, Message, Outcome, Reference, Report
from services.notification.plans import usecases as plans
from services.notification.plans.secrets import Secrets
from services.notification.sending import domain, store
from services.notification.sending.domain import Status
from shared.contracts.campaign import MESSAGE_EVENTS, CampaignRules
from shared.database import Database, Transaction
from shared.definitions import Definitions, InForce

BATCH_MAX = 200  # messages in one call of a channel; a crash leaves at most this many to be resolved
QUERIES_MAX = 500
SUPPRESS_MAX = 1000
CHANNEL_TIMEOUT_S = 30  # then the whole batch is unknown
QUERY_EVERY: Final = timedelta(seconds=60)


class ChannelFailed(Exception):
    """The channel gave no answer. The messages stay `sending`, and the next run asks what became of them."""


@dataclass(frozen=True)
class Sender:
    """The repeated work of sending. `channels`: by the name that message rules use."""

    db: Database
    definitions: Definitions[InForce]
    channels: Mapping[str, Channel]
    secrets: Secrets
    claim_page: str  # what texts say for {claim_page}

    async def send(self, now: datetime) -> int:
        """Resolves open attempts, ends messages that are too late, then sends those that are due. In this order no message goes
        out twice.

        Handles a bounded number of messages, and returns how many.
        """
        async with self.db.transaction() as tx:
            done = await store.orphans_become_unknown(tx, now)
        async with self.db.transaction() as tx:
            done += await store.suppress_expired(tx, list(self.channels), now, SUPPRESS_MAX)
        for channel in self.channels:
            done += await self._query(channel, now)
            done += await self._send(channel, now)
        return done

    async def _send(self, channel: str, now: datetime) -> int:
        async with self.db.transaction() as tx:
            due = await store.due(tx, channel, MESSAGE_EVENTS, now)
            open_now = await plans.open_now(tx, self.definitions, due, channel, now)
        return sum([await self._send_batch(channel, rules, kind, now) for rules, kind in open_now])

    async def _send_batch(self, channel: str, rules: CampaignRules, kind: str, now: datetime) -> int:
        async with store.attempt(self.db) as attempt:
            async with self.db.transaction() as tx:  # the intent is stored before the channel is called
                messages = await claim(
                    tx, self.secrets, rules, kind, channel, claim_page=self.claim_page, attempt=attempt, now=now
                )
            if not messages:
                return 0
            answers = await _answers(channel, self.channels[channel].send(messages))
            attempts = {message.reference.notification_id: attempt for message in messages}
            async with self.db.transaction() as tx:
                await record(tx, _outcomes(answers, attempts), attempts, now)
        return len(messages)

    async def _query(self, channel: str, now: datetime) -> int:
        async with self.db.transaction() as tx:
            open_attempts = await store.to_query(tx, channel, now, QUERIES_MAX)
        if not open_attempts:
            return 0
        answers = await _answers(channel, self.channels[channel].query(list(open_attempts)))
        attempts = {reference.notification_id: attempt for reference, attempt in open_attempts.items()}
        async with self.db.transaction() as tx:
            await record(tx, _outcomes(answers, attempts), attempts, now)
        return len(open_attempts)


async def claim(
    tx: Transaction,
    secrets: Secrets,
    rules: CampaignRules,
    kind: str,
    channel: str,
    *,
    claim_page: str,
    attempt: int,
    now: datetime,
) -> list[Message]:
    """Takes up to `BATCH_MAX` due messages of a campaign and kind for this attempt.

    Messages that must not be sent are passed over and left to plans. They never keep later messages from being sent.
    """
    after: store.DueMessage | None = None
    while due := await store.lock_due(tx, rules.campaign_id, kind, channel, now=now, after=after, limit=BATCH_MAX):
        rendered = await plans.render(tx, secrets, rules, kind, [message.key for message in due], claim_page)
        if sendable := [message for message in due if message.key in rendered]:
            await store.claim(tx, [message.id for message in sendable], attempt, now)
            return [
                Message(Reference(rules.campaign_id, kind, message.id), *rendered[message.key]) for message in sendable
            ]
        after = due[-1]
    return []


async def _answers(channel: str, call: Awaitable[Mapping[UUID, Outcome]]) -> Mapping[UUID, Outcome]:
    """What the channel answers. Raises `ChannelFailed` where it fails or takes too long."""
    try:
        async with asyncio.timeout(CHANNEL_TIMEOUT_S):
            return await call
    except Exception as error:
        raise ChannelFailed(f"{channel}: {type(error).__name__}") from error


def _outcomes(answers: Mapping[UUID, Outcome], attempts: Mapping[UUID, int]) -> dict[UUID, Outcome]:
    """An outcome for every message that was asked about; those that the channel left out are unknown."""
    return {notification_id: answers.get(notification_id, Outcome(Report.UNKNOWN)) for notification_id in attempts}


async def record(
    tx: Transaction, outcomes: Mapping[UUID, Outcome], attempts: Mapping[UUID, int], now: datetime
) -> None:
    """Applies what a channel reported about these attempts, in whatever order and however often it reports."""
    rows = {row["id"]: row for row in await store.lock_attempted(tx, attempts)}
    changes = [
        change
        for notification_id, row in rows.items()
        if (change := _change(row, outcomes[notification_id], now)) is not None
    ]
    if changes:
        await store.change_statuses(tx, changes, now)
    if not_sent := [store.key_of(rows[change.id]) for change in changes if change.status is Status.QUEUED]:
        await plans.plan_again(tx, not_sent)


def _change(row: store.Row, outcome: Outcome, now: datetime) -> store.StatusChange | None:
    """The change that an outcome makes; None where it changes nothing."""
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


async def distrust_queue(tx: Transaction) -> int:
    """After a restore: waiting messages may have been sent since the backup, so the channel is asked first. Returns how many."""
    return await store.distrust_queue(tx)
