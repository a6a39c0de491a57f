"""Forgets what reporting keeps under an account: the account is renamed, and every sum stays."""

# ruff: noqa: S608 - SQL is put together of constants

from shared.database import Transaction
from shared.people import erasure
from shared.people.erasure import NewName, event_name_sql
from shared.people.forgetting import Counts, ServiceErasure

# $1 campaign, $2 account, $3 its new name, $4 the key that names its events.
RENAME_HOLDER = "UPDATE certificate_holder SET viewer_id = $3 WHERE campaign_id = $1 AND viewer_id = $2"
RENAME_MOVE = (
    f"UPDATE viewer_move SET viewer_id = $3, enrolment_id = {event_name_sql('enrolment_id')}, "
    f"group_enrolment_id = {event_name_sql('group_enrolment_id')} "
    "WHERE campaign_id = $1 AND viewer_id = $2"
)


class Erasure(ServiceErasure):
    async def forget_viewer(self, tx: Transaction, campaign_id: str, viewer_id: str, name: NewName) -> Counts:
        return {
            "certificate_holder": await tx.change(RENAME_HOLDER, campaign_id, viewer_id, name.account),
            "viewer_move": await tx.change(RENAME_MOVE, campaign_id, viewer_id, *name),
            "ledger": await erasure.forget_in_ledger(tx, campaign_id, viewer_id, name),
        }

    async def forget_people(self, tx: Transaction, campaign_id: str) -> Counts:
        """Changes nothing: reporting knows nobody by name or phone."""
        return {"ledger": await erasure.forget_sealed_in_ledger(tx, campaign_id)}
