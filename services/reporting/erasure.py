"""What reporting keeps under an account, and how it is forgotten: the account is renamed, every sum stays."""

# ruff: noqa: S608 - SQL is put together of constants

from shared.database import Transaction
from shared.people import erasure
from shared.people.erasure import event_name_sql

# $1 campaign, $2 account, $3 its new name.
RENAMES = {
    "certificate_holder": "UPDATE certificate_holder SET viewer_id = $3 WHERE campaign_id = $1 AND viewer_id = $2",
    "viewer_move": f"UPDATE viewer_move SET viewer_id = $3, enrolment_id = {event_name_sql('enrolment_id')} "
    "WHERE campaign_id = $1 AND viewer_id = $2",
}


async def forget_viewer(tx: Transaction, campaign_id: str, viewer_id: str, name: str) -> dict[str, int]:
    """Rows changed, by table."""
    counts = {table: await tx.change(sql, campaign_id, viewer_id, name) for table, sql in RENAMES.items()}
    return counts | {"ledger": await erasure.forget_in_ledger(tx, campaign_id, viewer_id, name)}


async def forget_people(tx: Transaction, campaign_id: str) -> dict[str, int]:
    """Reporting knows nobody by name or phone."""
    return {"ledger": await erasure.forget_sealed_in_ledger(tx, campaign_id)}
