"""Forgets what notification keeps of people. The record that something was sent stays, but not to whom."""

from datetime import datetime
from typing import ClassVar

from shared.database import Transaction
from shared.people import erasure
from shared.people.campaign_keys import AT_REST_PREFIX
from shared.people.erasure import NewName
from shared.people.forgetting import Counts, ServiceErasure

# Waiting texts are not sent any more. The certificate's row is deleted too, so that no later definition plans its text again.
CANCEL = (
    "UPDATE notification SET status = 'cancelled', reason = 'erased' "
    "WHERE campaign_id = $1 AND ($2::text IS NULL OR recipient = $2) AND status = 'queued'"
)
RENAME = "UPDATE notification SET recipient = $3 WHERE campaign_id = $1 AND recipient = $2"
DELETE = "DELETE FROM {table} WHERE campaign_id = $1 AND ($2::text IS NULL OR viewer_id = $2)"
UNDER_OTHER_KEYS = "SELECT count(*) FROM contact WHERE campaign_id = $1 AND position($2::bytea IN phone) <> 1"
LIAISONS_UNDER_OTHER_KEYS = (
    "SELECT count(*) FROM liaison_contact WHERE campaign_id = $1 AND position($2::bytea IN contacts) <> 1"
)
PEOPLE_DUE = (
    "SELECT (SELECT count(DISTINCT (campaign_id, viewer_id)) FROM contact WHERE retain_until <= $1) "
    "+ (SELECT count(*) FROM liaison_contact WHERE contacts IS NOT NULL AND retain_until <= $1)"
)
# The row stays with its revision, so that no earlier event brings the contacts back.
FORGET_LIAISONS = (
    "UPDATE liaison_contact SET contacts = NULL "
    "WHERE campaign_id = $1 AND ($2::text IS NULL OR unit_code = $2) AND contacts IS NOT NULL"
)
FORGET_REASONS = (
    "UPDATE liaison_reveal SET reason = '' "
    "WHERE campaign_id = $1 AND ($2::text IS NULL OR unit_code = $2) AND reason <> ''"
)


class Erasure(ServiceErasure):
    KNOWN_KEYS = ("notification",)
    ACTORS: ClassVar = {"liaison_reveal": "actor"}

    async def forget_viewer(self, tx: Transaction, campaign_id: str, viewer_id: str, name: NewName) -> Counts:
        counts = await _forget(tx, campaign_id, viewer_id)
        counts["notification"] = await tx.change(RENAME, campaign_id, viewer_id, name.account)
        return counts | {"ledger": await erasure.forget_in_ledger(tx, campaign_id, viewer_id, name)}

    async def forget_people(self, tx: Transaction, campaign_id: str) -> Counts:
        """Removes phones, claim codes, and names and phones of liaisons. Waiting texts are not sent any more."""
        counts = await _forget(tx, campaign_id, None) | await _forget_liaisons(tx, campaign_id, None)
        return counts | {"ledger": await erasure.forget_sealed_in_ledger(tx, campaign_id)}

    async def forget_liaison(self, tx: Transaction, campaign_id: str, unit_code: str) -> Counts:
        counts = await _forget_liaisons(tx, campaign_id, unit_code)
        return counts | {"ledger": await erasure.forget_unit_in_ledger(tx, campaign_id, unit_code)}

    async def under_deployment_keys(self, tx: Transaction, campaign_id: str) -> int:
        contacts = await tx.fetchval(UNDER_OTHER_KEYS, campaign_id, AT_REST_PREFIX)
        return int(contacts + await tx.fetchval(LIAISONS_UNDER_OTHER_KEYS, campaign_id, AT_REST_PREFIX))

    @staticmethod
    async def people_due(tx: Transaction, at: datetime) -> int:
        return int(await tx.fetchval(PEOPLE_DUE, at))


async def _forget(tx: Transaction, campaign_id: str, viewer_id: str | None) -> Counts:
    statements = {"cancelled": CANCEL} | {table: DELETE.format(table=table) for table in ("certificate", "contact")}
    return {what: await tx.change(sql, campaign_id, viewer_id) for what, sql in statements.items()}


async def _forget_liaisons(tx: Transaction, campaign_id: str, unit_code: str | None) -> Counts:
    """Of one unit, or of all. That somebody was shown a number stays; the reason, which may name people, goes."""
    return {
        "liaison_contact": await tx.change(FORGET_LIAISONS, campaign_id, unit_code),
        "liaison_reveal": await tx.change(FORGET_REASONS, campaign_id, unit_code),
    }
